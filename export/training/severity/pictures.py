"""Pictures of a severity training, as PNG: confusion, importances, and how far the stated probabilities can be believed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.evaluation.severity import ReliabilityBin
from export.severity_scenes import LABELS

BLUE, ORANGE, GREY = "#1b6ca8", "#b9770e", "#888888"
DOTS_PER_INCH = 110


def confusion_png(tables: Mapping[str, NDArray[np.int64]]) -> bytes:
    """Frames of each true grade (row) by the grade given (column), a chart for each name."""
    figure, places = _figure(len(tables), 4.2)
    for axes, (name, counts) in zip(places, tables.items(), strict=True):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            axes.text(column, row, str(count), ha="center", va="center", color="white" if shares[row, column] > 0.5 else "black")
        labels = [f"{grade} {label}" for grade, label in enumerate(LABELS)]
        axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel("given")
        axes.set_ylabel("true")
        axes.set_title(name)
    return _png(figure)


def importances_png(sets: Mapping[str, Mapping[str, tuple[float, float]]]) -> bytes:
    """How much accuracy falls when a figure is shuffled, the most important above, a chart for each set of figures."""
    figure, places = _figure(len(sets), 5.6)
    for axes, (name, falls) in zip(places, sets.items(), strict=True):
        ordered = sorted(falls.items(), key=lambda item: item[1][0])
        axes.barh([k for k, _ in ordered], [v[0] for _, v in ordered], xerr=[v[1] for _, v in ordered], color=BLUE, ecolor=GREY)
        axes.set_xlabel("accuracy lost when shuffled")
        axes.set_title(name)
    return _png(figure)


def reliability_png(curves: Mapping[str, Sequence[ReliabilityBin]]) -> bytes:
    """Share of right answers over the probability that they stated; on the diagonal it can be believed."""
    figure, (axes,) = _figure(1, 4.8)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="believable")
    for (name, bins), colour in zip(curves.items(), (BLUE, ORANGE), strict=False):
        axes.plot([b.stated for b in bins], [b.right for b in bins], color=colour, marker="o", label=name)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("stated probability of the answer")
    axes.set_ylabel("share of right answers")
    axes.legend(loc="upper left")
    return _png(figure)


def _figure(charts: int, side: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(side * charts, side), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, charts)))


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return out.getvalue()
