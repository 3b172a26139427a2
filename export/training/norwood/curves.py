"""Loss and quadratic kappa over the steps of a training, as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

Points = Sequence[tuple[float, float]]


def curves_png(title: str, loss: Points, kappa: Mapping[str, Points]) -> bytes:
    """Two charts above each other over the steps: the loss, and the validation's kappa by number of views. Points are (step, value)."""
    from matplotlib.figure import Figure  # slow to import, and wanted at checkpoints only

    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    figure.suptitle(title)
    if loss:
        upper.plot(*zip(*loss, strict=True), linewidth=1)
    upper.set_ylabel("loss")
    for name, points in kappa.items():
        if points:
            lower.plot(*zip(*points, strict=True), marker=".", label=f"{name}: {points[-1][1]:.3f}")
    lower.set_ylim(min(0.0, *(y for points in kappa.values() for _, y in points), 0.0), 1.0)
    lower.set_ylabel("quadratic kappa")
    lower.set_xlabel("step")
    lower.grid(alpha=0.3)
    lower.legend(loc="lower right")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100)
    return out.getvalue()
