"""The scale of single pictures of targets against the truth, and how long the seeing takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from calib.errors import TargetNotFoundError
from calib.view import look_at
from runtime.bench.calibration.errors import ErrorFigures, figures_of
from runtime.bench.calibration.pictures import any_picture


@dataclass(frozen=True)
class TargetFigures:
    """One kind of target; `bars` are the median and 95th percentile that are asked for, %."""

    scale: ErrorFigures
    bars_percent: tuple[float, float]
    ms_p50: float


BARS_PERCENT = {"charuco": (0.05, 0.2), "checker": (0.05, 0.2), "dots": (0.05, 0.2), "micrometer": (0.2, 0.8)}


def measure_targets(kind: str, seeds: Sequence[int], advance: Callable[[], None]) -> TargetFigures:
    """Look at a picture for each seed; `advance` is called after each."""
    found, stds, true, took, refused = [], [], [], [], 0
    for seed in seeds:
        picture = any_picture(kind, seed)
        began = time.perf_counter()
        try:
            view = look_at(picture.image, picture.target)
        except TargetNotFoundError:
            refused += 1
        else:
            found.append(view.um_per_px)
            stds.append(view.um_per_px_std)
            true.append(picture.um_per_px)
        took.append(1e3 * (time.perf_counter() - began))
        advance()
    return TargetFigures(figures_of(found, stds, true, refused), BARS_PERCENT[kind], round(float(np.median(took)), 1))
