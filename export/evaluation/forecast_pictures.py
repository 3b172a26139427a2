"""Curves and calibration of forecasts as SVG pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from export.evaluation.forecast import CalibrationBin

Points = Sequence[tuple[float, float]]


def calibration_svg(title: str, methods: Mapping[str, Sequence[CalibrationBin]]) -> bytes:
    """Share of persons who are "high" against the probability that they were told, one line a method; honest ones follow the diagonal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 6))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#999", linestyle="--", linewidth=1)
    for name, bins in methods.items():
        axes.plot([b.told for b in bins], [b.true for b in bins], marker="o", markersize=4, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability told", ylabel="share of persons", title=title)
    axes.legend(loc="upper left", fontsize=8)
    return _svg(figure)


def curves_svg(title: str, loss: Mapping[str, Points], quality: Mapping[str, Points]) -> bytes:
    """Training loss above, quality on the persons that are watched below, over the steps; one line a network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, lines, name in ((above, loss, "training loss"), (below, quality, "AUC, persons not learnt from")):
        for label, points in lines.items():
            axes.plot([x for x, _ in points], [y for _, y in points], label=label, linewidth=1.2)
        axes.set_ylabel(name)
    above.set_title(title)
    below.set_xlabel("step")
    below.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
    return _svg(figure)


def _svg(figure: object) -> bytes:
    import matplotlib

    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "trichoscope"}):  # the same picture for the same figures
        figure.savefig(out, format="svg", metadata={"Date": None})  # type: ignore[attr-defined]
    return out.getvalue()
