"""Severity grades against truth: accuracy, F1, kappa, confusion, calibration, and the baseline that always gives the most frequent one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from export.errors import EvaluationError

GRADES = 4
BINS = 10

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SeverityScores:
    """Figures of graded frames; F1 of a grade that neither is nor was given counts as 0.

    Attributes:
        weighted_f1, macro_f1: means of the grades' F1, by their frequency and evenly.
        kappa: Cohen's, quadratically weighted: a grade missed by two costs four times as much as by one.
        within_one: share of frames at most one grade off.
        brier: mean squared distance of the probabilities from the truth, summed over the grades (0 best, 2 worst).
        calibration_error: mean distance of the stated probability of the answer from the share of right answers, over BINS bins.
    """

    frames: int
    accuracy: float
    weighted_f1: float
    macro_f1: float
    kappa: float
    within_one: float
    brier: float
    calibration_error: float

    def to_dict(self) -> dict[str, float]:
        """Plain values, rounded to four digits."""
        return {key: round(float(value), 4) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers whose stated probability lies in one tenth: how many, what they stated on average, how many were right."""

    answers: int
    stated: float
    right: float


def score(probabilities: NDArray[np.floating], truth: Sequence[int] | Ints) -> SeverityScores:
    """Scores of `probabilities`, float (n, 4), against the true grades (n,).

    Raises:
        EvaluationError: nothing to compare, or the two do not fit.
    """
    stated, true = _checked(probabilities, truth)
    answer = stated.argmax(axis=1)
    table = confusion(answer, true)
    frequency = table.sum(axis=1) / len(true)
    f1 = 2 * np.diag(table) / np.maximum(table.sum(axis=0) + table.sum(axis=1), 1)
    bins = reliability(stated, true)
    return SeverityScores(
        frames=len(true),
        accuracy=float(np.mean(answer == true)),
        weighted_f1=float(f1 @ frequency),
        macro_f1=float(f1.mean()),
        kappa=_kappa(table),
        within_one=float(np.mean(np.abs(answer - true) <= 1)),
        brier=float(np.mean(np.sum((stated - np.eye(GRADES)[true]) ** 2, axis=1))),
        calibration_error=float(sum(b.answers * abs(b.stated - b.right) for b in bins) / len(true)),
    )


def confusion(answer: Ints, truth: Ints) -> Ints:
    """int (4, 4): frames of each true grade (row) by the grade given (column)."""
    return np.bincount(GRADES * np.asarray(truth) + np.asarray(answer), minlength=GRADES * GRADES).reshape(GRADES, GRADES)


def reliability(probabilities: NDArray[np.floating], truth: Sequence[int] | Ints) -> list[ReliabilityBin]:
    """How often answers are right by how sure they were said to be; bins without an answer are left out."""
    stated, true = _checked(probabilities, truth)
    sure, right = stated.max(axis=1), stated.argmax(axis=1) == true
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    return [
        ReliabilityBin(int(np.sum(place == b)), float(sure[place == b].mean()), float(right[place == b].mean()))
        for b in range(BINS)
        if np.any(place == b)
    ]


def majority(learnt: Sequence[int] | Ints, count: int) -> Floats:
    """What always answering the most frequent grade of `learnt` states for `count` frames: float64 (count, 4), the grades' shares."""
    shares = np.bincount(np.asarray(learnt, np.int64), minlength=GRADES) / max(len(learnt), 1)
    return np.tile(shares, (count, 1))


def markdown(rows: dict[str, SeverityScores]) -> str:
    """A table of scores, one row for each name."""
    lines = [
        "| | frames | accuracy | weighted F1 | macro F1 | kappa | within one | Brier | calibration error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, s in rows.items():
        figures = (s.accuracy, s.weighted_f1, s.macro_f1, s.kappa, s.within_one, s.brier, s.calibration_error)
        lines.append(f"| {name} | {s.frames} | " + " | ".join(f"{value:.3f}" for value in figures) + " |")
    return "\n".join(lines)


def _kappa(table: Ints) -> float:
    """1 where everything is right, 0 for chance; also 0 where all frames are of one grade and chance cannot err."""
    grade = np.arange(GRADES)
    weight = (grade[:, None] - grade) ** 2
    chance = table.sum(axis=1)[:, None] * table.sum(axis=0) / table.sum()
    expected = float((weight * chance).sum())
    return 1 - float((weight * table).sum()) / expected if expected else 0.0


def _checked(probabilities: NDArray[np.floating], truth: Sequence[int] | Ints) -> tuple[Floats, Ints]:
    stated, true = np.asarray(probabilities, np.float64), np.asarray(truth, np.int64)
    if not len(true):
        raise EvaluationError("severity: nothing to compare: give frames with a grade")
    if stated.shape != (len(true), GRADES) or not np.isfinite(stated).all():
        raise EvaluationError(f"severity: probabilities {stated.shape} for {len(true)} frames: finite (frames, {GRADES}) is wanted")
    if true.min() < 0 or true.max() >= GRADES:
        raise EvaluationError(f"severity: a grade of {true.min()} or {true.max()}: grades are 0 to {GRADES - 1}")
    return stated, true
