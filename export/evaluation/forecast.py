"""What a forecast is worth, beside its baselines: the paper's Table 1 with intervals, calibration, and what the second branch adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from export.errors import EvaluationError

Floats = NDArray[np.float64]

PAPER_TABLE = {
    "hybrid CNN–LSTM": "85 % / 82 % / 88 % / 85 %, 0.91",
    "CNN alone": "AUC 0.85",
    "LSTM alone": "AUC 0.87",
    "random forest": "AUC 0.80",
}
"""The paper's Table 1 (accuracy / precision / recall / F1, ROC-AUC), on data that nobody has: beside ours, never against ours."""
DRAWS, BINS, LEVEL = 400, 10, 0.95


@dataclass(frozen=True)
class Interval:
    """A figure, its standard error, and the interval of 95 % of its bootstrap draws."""

    value: float
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Figures:
    """One method on one set of persons. Of more than two labels the means over labels (macro), and one against the rest."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    auc: Interval
    brier: float
    calibration_error: float
    persons: int


def area_under_curve(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """ROC-AUC (Mann and Whitney); ties count half.

    Raises:
        EvaluationError: persons of one label only.
    """
    count = int(positive.sum())
    if not 0 < count < len(positive):
        raise EvaluationError("all persons have the same label: there is nothing to tell apart: take more persons")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


def mean_area(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """AUC of the second of two labels, or the mean over labels of each against the rest."""
    if probabilities.shape[1] == 2:
        return area_under_curve(probabilities[:, 1], labels == 1)
    return float(np.mean([area_under_curve(probabilities[:, k], labels == k) for k in range(probabilities.shape[1])]))


def figures(probabilities: Floats, labels: NDArray[np.int64], *, seed: int = 0) -> Figures:
    """Of probabilities float64 (n, labels) against true labels int64 (n,).

    Raises:
        EvaluationError: as area_under_curve; a label that nobody has among them.
    """
    _same_length(probabilities, labels)
    told = probabilities.argmax(1)
    counted = range(probabilities.shape[1]) if probabilities.shape[1] > 2 else (1,)
    precision = [_share((told == k) & (labels == k), told == k) for k in counted]
    recall = [_share((told == k) & (labels == k), labels == k) for k in counted]
    f1 = [2 * p * r / (p + r) if p + r else 0.0 for p, r in zip(precision, recall, strict=True)]
    hot = np.eye(probabilities.shape[1])[labels]
    brier = float(np.mean(np.sum((probabilities - hot) ** 2, 1))) / 2
    drawn = [mean_area(probabilities[rows], labels[rows]) for rows in _draws(labels, seed)]
    return Figures(
        accuracy=float(np.mean(told == labels)),
        precision=float(np.mean(precision)),
        recall=float(np.mean(recall)),
        f1=float(np.mean(f1)),
        auc=_interval(mean_area(probabilities, labels), drawn),
        brier=brier,
        calibration_error=calibration_error(probabilities, labels),
        persons=len(labels),
    )


def gain(mine: Floats, theirs: Floats, labels: NDArray[np.int64], *, seed: int = 0) -> Interval:
    """AUC of `mine` less that of `theirs` on the same persons, with a paired bootstrap."""
    _same_length(mine, labels)
    _same_length(theirs, labels)
    drawn = [mean_area(mine[rows], labels[rows]) - mean_area(theirs[rows], labels[rows]) for rows in _draws(labels, seed)]
    return _interval(mean_area(mine, labels) - mean_area(theirs, labels), drawn)


@dataclass(frozen=True)
class CalibrationBin:
    """Persons with a like probability: its mean, the share of them who have the label, and how many they are."""

    told: float
    true: float
    persons: int


def calibration(probabilities: Floats, labels: NDArray[np.int64]) -> list[CalibrationBin]:
    """Bins of equally many persons by the probability of the last label (of two: "high"), rising."""
    told, true = probabilities[:, -1], labels == probabilities.shape[1] - 1
    order = np.argsort(told, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return [CalibrationBin(float(told[part].mean()), float(true[part].mean()), len(part)) for part in parts]


def calibration_error(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Mean distance of told from true over the bins, by their persons (expected calibration error)."""
    bins = calibration(probabilities, labels)
    return float(np.average([abs(b.told - b.true) for b in bins], weights=[b.persons for b in bins]))


def table(rows: Mapping[str, Figures]) -> str:
    """Methods as a Markdown table, the paper's figures beside."""
    heads = (
        "method",
        "accuracy",
        "precision",
        "recall",
        "F1",
        "ROC-AUC (95 %)",
        "Brier",
        "calibration error",
        "the paper's, on data nobody has",
    )
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for name, row in rows.items():
        auc = f"{row.auc.value:.3f} ({row.auc.low:.3f}–{row.auc.high:.3f})"
        shares = [f"{100 * v:.1f} %" for v in (row.accuracy, row.precision, row.recall, row.f1)]
        lines.append(
            "| " + " | ".join([name, *shares, auc, f"{row.brier:.3f}", f"{row.calibration_error:.3f}", PAPER_TABLE.get(name, "–")]) + " |"
        )
    return "\n".join(lines)


def gains_table(rows: Mapping[str, Interval]) -> str:
    """Differences of AUC as a Markdown table."""
    lines = ["| AUC of the hybrid less that of … | difference | standard error | 95 % |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {v.value:+.3f} | {v.error:.3f} | {v.low:+.3f} … {v.high:+.3f} |" for name, v in rows.items()]
    return "\n".join(lines)


def as_plain(rows: Mapping[str, Figures], gains: Mapping[str, Interval]) -> dict[str, Any]:
    """Everything that was measured, as plain values for JSON."""
    return {
        "schema": "trichoscope/forecast-evaluation/1",
        "methods": {name: asdict(row) for name, row in rows.items()},
        "gains": {name: asdict(row) for name, row in gains.items()},
        "paper": PAPER_TABLE,
    }


def _interval(value: float, drawn: Sequence[float]) -> Interval:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(np.std(drawn)), float(low), float(high))


def _draws(labels: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """Persons drawn with replacement within each label, so that every draw has all of them."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    return [np.concatenate([rng.choice(group, len(group)) for group in groups]) for _ in range(DRAWS)]


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else 0.0


def _same_length(probabilities: Floats, labels: NDArray[np.int64]) -> None:
    if len(probabilities) != len(labels) or not len(labels):
        raise EvaluationError(f"{len(probabilities)} forecasts for {len(labels)} persons: there is nothing to compare")
