"""How well grades of 0 to 3 agree with the true ones, beside always answering the commonest grade; and the confusion as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import EvaluationError
from export.networks.conditions import CONDITIONS, GRADES

Table = tuple[tuple[int, ...], ...]
CELL, LEFT, TOP, GAP = 54, 70, 64, 90


@dataclass(frozen=True)
class GradeFigures:
    """Agreement of one set of answers. What has no meaning (a recall of a grade without example) is None.

    Attributes:
        macro_f1: mean of the grades' F1 over the grades that have examples or were answered.
        recall: of each grade.
        kappa: Cohen's, weighted by the square of the distance; None where truth and answers are of one grade only.
    """

    accuracy: float
    macro_f1: float
    recall: tuple[float | None, ...]
    kappa: float | None


@dataclass(frozen=True)
class ConditionScore:
    """One condition over a set of pictures: the network's grades beside the commonest grade's, and whether it is there at all.

    Attributes:
        confusion: rows are true grades, columns answers.
        presence_accuracy, presence_f1: of the head that only says whether the condition is there; None where it was not asked.
        without_example: grades that no picture has.
    """

    name: str
    pictures: int
    confusion: Table
    figures: GradeFigures
    majority: GradeFigures
    majority_grade: int
    presence_accuracy: float | None
    presence_f1: float | None
    without_example: tuple[int, ...]

    @property
    def macro_f1(self) -> float:
        """Of the network."""
        return self.figures.macro_f1

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **{k: v for k, v in vars(self).items() if k not in ("figures", "majority")},
            "network": vars(self.figures),
            "majority": vars(self.majority),
        }


def confusion_table(true: NDArray[np.int64], found: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 (GRADES, GRADES): how often each true grade (row) was answered as each (column); both int64 (n,), 0…3.

    Raises:
        EvaluationError: nothing to compare, lengths that differ, or a grade out of range.
    """
    if len(true) == 0 or len(true) != len(found):
        raise EvaluationError(f"{len(true)} true grades against {len(found)} answers: nothing can be compared")
    both = np.concatenate([true, found])
    if both.min() < 0 or both.max() >= GRADES:
        raise EvaluationError(f"grades from {both.min()} to {both.max()}: 0 to {GRADES - 1} are known")
    return np.asarray(np.bincount(true * GRADES + found, minlength=GRADES * GRADES).reshape(GRADES, GRADES), np.int64)


def figures_of(confusion: NDArray[np.int64]) -> GradeFigures:
    """The figures of a confusion table."""
    total = confusion.sum()
    right, true, found = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    met = (true + found) > 0
    f1 = 2 * right[met] / (true + found)[met]
    at = np.arange(GRADES)
    distance = (at[:, None] - at[None, :]) ** 2
    by_chance = float((distance * np.outer(true, found)).sum() / total)
    return GradeFigures(
        accuracy=float(right.sum() / total),
        macro_f1=float(f1.mean()),
        recall=tuple(float(r / t) if t else None for r, t in zip(right, true, strict=True)),
        kappa=1 - float((distance * confusion).sum()) / by_chance if by_chance > 0 else None,
    )


def score_conditions(
    true: NDArray[np.int64], probabilities: NDArray[Any], presence: NDArray[Any] | None = None
) -> tuple[ConditionScore, ...]:
    """The three conditions' scores.

    Args:
        true: int64 (n, 3).
        probabilities: float (n, 3, GRADES).
        presence: float (n, 3), probability that the condition is there.

    Raises:
        EvaluationError: as `confusion_table`.
    """
    scores = []
    for index, name in enumerate(CONDITIONS):
        grade = true[:, index]
        confusion = confusion_table(grade, np.asarray(np.argmax(probabilities[:, index], 1), np.int64))
        counts = confusion.sum(1)
        commonest = int(np.argmax(counts))
        accuracy, f1 = (None, None) if presence is None else _presence(grade > 0, presence[:, index] >= 0.5)
        scores.append(
            ConditionScore(
                name=name,
                pictures=len(grade),
                confusion=tuple(tuple(int(v) for v in row) for row in confusion),
                figures=figures_of(confusion),
                majority=figures_of(confusion_table(grade, np.full(len(grade), commonest, np.int64))),
                majority_grade=commonest,
                presence_accuracy=accuracy,
                presence_f1=f1,
                without_example=tuple(int(g) for g in np.flatnonzero(counts == 0)),
            )
        )
    return tuple(scores)


def _presence(true: NDArray[np.bool_], found: NDArray[np.bool_]) -> tuple[float, float | None]:
    both = int(true.sum() + found.sum())
    return float(np.mean(true == found)), 2 * int((true & found).sum()) / both if both else None


def mean_macro_f1(scores: Sequence[ConditionScore]) -> float:
    """Mean over the conditions of the macro-F1 over grades."""
    return float(np.mean([score.macro_f1 for score in scores]))


def markdown(scores: Sequence[ConditionScore]) -> str:
    """The scores as a Markdown table, the commonest grade's figures behind each of the network's."""
    lines = [
        "| condition | pictures | accuracy (majority) | macro-F1 (majority) | recall 0 / 1 / 2 / 3 | quadratic κ | presence accuracy, F1 |",
        "|" + " --- |" * 7,
    ]
    for score in scores:
        f, m = score.figures, score.majority
        recall = " / ".join(_number(value) for value in f.recall)
        lines.append(
            f"| {score.name} | {score.pictures} | {f.accuracy:.3f} ({m.accuracy:.3f}) | {f.macro_f1:.3f} ({m.macro_f1:.3f}) "
            f"| {recall} | {_number(f.kappa)} | {_number(score.presence_accuracy)}, {_number(score.presence_f1)} |"
        )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def confusions_svg(title: str, scores: Sequence[ConditionScore]) -> str:
    """The conditions' confusion matrices beside each other, darker for a greater share of the true grade."""
    wide = LEFT + GRADES * CELL
    width, height = GAP // 2 + len(scores) * (wide + GAP // 2), TOP + GRADES * CELL + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/><text x="16" y="22" font-size="15">{escape(title)}</text>',
    ]
    for place, score in enumerate(scores):
        x0 = GAP // 2 + place * (wide + GAP // 2) + LEFT - 30
        parts.append(f'<text x="{x0}" y="{TOP - 14}">{escape(score.name)}: macro-F1 {score.macro_f1:.3f}, n {score.pictures}</text>')
        parts += _matrix(score, x0)
    return "\n".join([*parts, "</svg>"])


def _matrix(score: ConditionScore, x0: int) -> list[str]:
    parts = []
    for row in range(GRADES):
        total, y = max(1, sum(score.confusion[row])), TOP + row * CELL
        parts.append(f'<text x="{x0 - 8}" y="{y + CELL / 2 + 5}" text-anchor="end">{"true " if row == 0 else ""}{row}</text>')
        for column in range(GRADES):
            count, x = score.confusion[row][column], x0 + column * CELL
            share = count / total
            ink, box = "white" if share > 0.55 else "#222", f'x="{x}" y="{y}" width="{CELL - 2}" height="{CELL - 2}"'
            parts.append(f'<rect {box} fill="#1b6ca8" fill-opacity="{share:.3f}" stroke="#ddd"/>')
            parts.append(f'<text x="{x + CELL / 2 - 1}" y="{y + CELL / 2 + 5}" text-anchor="middle" fill="{ink}">{count}</text>')
    below = TOP + GRADES * CELL + 18
    for column in range(GRADES):
        text = f"{'answered ' if column == 0 else ''}{column}"
        parts.append(f'<text x="{x0 + column * CELL + CELL / 2}" y="{below}" text-anchor="middle">{text}</text>')
    return parts
