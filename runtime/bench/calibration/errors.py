"""Errors as figures: how large they are, and how often they stay within what was stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ErrorFigures:
    """Errors of n figures; percentages of the true value; shares 0…1, None where nothing was had.

    Attributes:
        n: figures that were had; `refused` how many were not given.
        bias_percent: mean error, signed.
    """

    n: int
    refused: int
    median_percent: float | None
    p95_percent: float | None
    worst_percent: float | None
    bias_percent: float | None
    within_1_std: float | None
    within_2_std: float | None


def figures_of(found: Sequence[float], stds: Sequence[float], true: Sequence[float], refused: int = 0) -> ErrorFigures:
    """The figures of `found` with the stated `stds` against `true`."""
    if not len(found):
        return ErrorFigures(0, refused, None, None, None, None, None, None)
    values, std, truth = (np.asarray(v, np.float64) for v in (found, stds, true))
    relative = 100 * (values / truth - 1)
    size = np.abs(relative)
    within = np.abs(values - truth) / np.maximum(std, 1e-12)
    return ErrorFigures(
        n=len(values),
        refused=refused,
        median_percent=round(float(np.median(size)), 4),
        p95_percent=round(float(np.percentile(size, 95)), 4),
        worst_percent=round(float(size.max()), 4),
        bias_percent=round(float(relative.mean()), 4),
        within_1_std=round(float((within <= 1).mean()), 3),
        within_2_std=round(float((within <= 2).mean()), 3),
    )
