"""How well stages are told: quadratic kappa, exact and adjacent grades, confusion, by the number of views; beside the majority class."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.simulated.head_pattern import STAGES
from device.simulated.head_shape import VIEWS
from export.errors import EvaluationError
from export.training.norwood.heads import Heads

GRADES = len(STAGES)
BATCH = 16  # persons at a time
SCHEMA = "trichoscope/stage-evaluation/1"

Grades = NDArray[np.int64]
Stager = Callable[[NDArray[np.uint8], NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""From pictures (n, views, side, side, 3) and present (n, views) to probabilities (n, GRADES) and attention (n, views)."""


@dataclass(frozen=True, eq=False)
class StageScore:
    """How one number of views did.

    Attributes:
        views: how many each person had; 0 for the majority class, which looks at none.
        confusion: int64 (GRADES, GRADES), rows are true, columns found grades.
        kappa: quadratic (Cohen 1968); None where all persons are of one grade.
        exact, within_one: shares of persons; `mean_error` in grades.
        recall: by grade; None where no person has it.
        attention: mean over persons by view.
    """

    views: int
    persons: int
    confusion: Grades
    kappa: float | None
    exact: float
    within_one: float
    mean_error: float
    recall: dict[str, float | None]
    attention: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "confusion": self.confusion.tolist()}


def quadratic_kappa(true: NDArray[Any], found: NDArray[Any]) -> float:
    """Cohen's kappa with squared weights (Cohen 1968) of grades 1…GRADES; 0 where chance itself could not disagree.

    Raises:
        ValueError: nothing to compare, or different numbers of grades.
    """
    return _kappa(_confusion(true, found)) or 0.0


def views_of_each(present: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Which views are shown where each person shows at most `count` of those that are there, drawn anew for each; float32 as `present`."""
    drawn = np.where(present > 0, rng.random(present.shape), 2)
    rank = drawn.argsort(axis=1).argsort(axis=1)
    return np.asarray((rank < count) & (present > 0), np.float32)


def evaluate(
    stager: Stager,
    heads: Heads,
    *,
    counts: Sequence[int] = (5, 4, 3, 2, 1),
    seed: int = 0,
    advance: Callable[[int], None] = lambda done: None,
) -> list[StageScore]:
    """The majority class, then `stager` with each number of views; persons who have fewer views than asked for are left out.

    Raises:
        EvaluationError: nobody to evaluate.
    """
    if not len(heads):
        raise EvaluationError("nobody to evaluate: name a data set with persons whose grade is known, or more --persons")
    usual = int(np.bincount(heads.grades, minlength=GRADES + 1).argmax())
    scores = [_score(0, heads.grades, np.full(len(heads), usual, np.int64), None)]
    for count in counts:
        enough = np.flatnonzero(heads.present.sum(axis=1) >= count)
        if not len(enough):
            continue
        present = views_of_each(heads.present[enough], count, np.random.default_rng([seed, 46, count]))
        found, attention = [], []
        for at in range(0, len(enough), BATCH):
            part = slice(at, at + BATCH)
            shares, weights = stager(heads.pictures[enough[part]], present[part])
            found.append(median_grade(shares))
            attention.append(weights)
            advance(len(shares))
        scores.append(_score(count, heads.grades[enough], np.concatenate(found), np.concatenate(attention)))
    return scores


def median_grade(shares: NDArray[np.float32]) -> Grades:
    """The middle grade 1…GRADES of probabilities (n, GRADES): half of them lie below or in it. It is what ordinal logits decide at 0."""
    return np.asarray(1 + (np.cumsum(shares, axis=1)[:, :-1] < 0.5).sum(axis=1), np.int64)


def _confusion(true: NDArray[Any], found: NDArray[Any]) -> Grades:
    if len(true) != len(found) or not len(true):
        raise ValueError(f"{len(true)} true and {len(found)} found grades: give as many of both, and at least one")
    table = np.zeros((GRADES, GRADES), np.int64)
    np.add.at(table, (np.asarray(true) - 1, np.asarray(found) - 1), 1)
    return table


def _kappa(confusion: Grades) -> float | None:
    away = (np.arange(GRADES)[:, None] - np.arange(GRADES)) ** 2
    by_chance = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / confusion.sum()
    expected = float((away * by_chance).sum())
    return None if expected == 0 else 1 - float((away * confusion).sum()) / expected


def _score(views: int, true: Grades, found: Grades, attention: NDArray[np.float32] | None) -> StageScore:
    confusion = _confusion(true, found)
    error = np.abs(true - found)
    rows = confusion.sum(axis=1)
    return StageScore(
        views=views,
        persons=len(true),
        confusion=confusion,
        kappa=_kappa(confusion),
        exact=float(np.mean(error == 0)),
        within_one=float(np.mean(error <= 1)),
        mean_error=float(np.mean(error)),
        recall={name: float(confusion[i, i] / rows[i]) if rows[i] else None for i, name in enumerate(STAGES)},
        attention={} if attention is None else {view: float(v) for view, v in zip(VIEWS, attention.mean(axis=0), strict=True)},
    )


def as_json(name: str, scores: Sequence[StageScore], about: dict[str, Any]) -> str:
    """All figures as one JSON object; `about` says what was evaluated."""
    return json.dumps({"schema": SCHEMA, "model": name, **about, "scores": [s.to_dict() for s in scores]}, allow_nan=False)


def markdown(scores: Sequence[StageScore]) -> str:
    """A row for each number of views as a Markdown table."""
    lines = ["| views | persons | quadratic kappa | exact | within one grade | mean error |", "|" + " --- |" * 6]
    for s in scores:
        kappa = "–" if s.kappa is None else f"{s.kappa:.3f}"
        views = "majority class" if s.views == 0 else str(s.views)
        lines.append(f"| {views} | {s.persons} | {kappa} | {s.exact:.3f} | {s.within_one:.3f} | {s.mean_error:.2f} |")
    return "\n".join(lines)


def confusion_png(scores: Sequence[StageScore], title: str) -> bytes:
    """The confusion matrices side by side as a picture, counts in the cells and shares of each true grade as shade."""
    from matplotlib.figure import Figure  # slow to import, and wanted for pictures only

    shown = [s for s in scores if s.views]
    figure = Figure(figsize=(4.2 * len(shown), 4.6), layout="constrained")
    figure.suptitle(title)
    for axes, s in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        shares = s.confusion / np.maximum(1, s.confusion.sum(axis=1, keepdims=True))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.argwhere(s.confusion):
            axes.text(j, i, str(s.confusion[i, j]), ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
        axes.set_xticks(range(GRADES), STAGES)
        axes.set_yticks(range(GRADES), STAGES)
        axes.set_xlabel("found")
        axes.set_ylabel("true")
        kappa = "–" if s.kappa is None else f"{s.kappa:.3f}"
        axes.set_title(f"{s.views} view{'s' if s.views > 1 else ''}: kappa {kappa}, within one {s.within_one:.3f}", fontsize=9)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100)
    return out.getvalue()


def write_confusion(path: Path, scores: Sequence[StageScore], title: str) -> None:
    """Write the picture of the confusion matrices, whole or not at all.

    Raises:
        EvaluationError: it cannot be written.
    """
    from runtime.commands.files import write_atomically
    from runtime.errors import TrichoscopeError

    try:
        write_atomically(path, confusion_png(scores, title))
    except TrichoscopeError as problem:
        raise EvaluationError(str(problem)) from problem
