"""Whether hair is so curled and so dense that its pieces cannot be put together to whole hairs: then the count is one of pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.analysis.hairs import HairPath
from runtime.analysis.measurement import Quality
from runtime.analysis.skeleton import Floats

REASON = "hair too curled to count"
TURN, COVERAGE = 4.0, 0.25
"""Radians that hair turns on a way as long as the picture, and share of hair in it, from which hairs are found in pieces. Rendered coils
turn by 4.4 to 5.4 and cover 0.30 to 0.42 (found to true hairs 1.7 to 2.5); all other frames at hand turn less or are sparse."""
EVERY = 3  # points: from one to the next noise turns more than hair does
FEWEST_POINTS = 2 * EVERY + 1


def turn(paths: Sequence[HairPath], side_px: int) -> float:
    """How many radians the hairs of a picture turn, on average, on a way of its longest side, `side_px`; 0 where none is long enough."""
    turned, length = 0.0, 0.0
    for path in paths:
        if len(path.points) >= FEWEST_POINTS:
            steps = np.diff(path.points[::EVERY], axis=0)
            turned += float(np.abs(_between(steps)).sum())
            length += float(np.sqrt((steps**2).sum(1)).sum())
    return turned / length * side_px if length > 0 else 0.0


def _between(steps: Floats) -> Floats:
    """Angles from each of the steps, float64 (n, 2), to the next, float64 (n - 1,)."""
    (x, y), (u, v) = steps[:-1].T, steps[1:].T
    return np.asarray(np.arctan2(x * v - y * u, x * u + y * v))


def with_tangles(quality: Quality, paths: Sequence[HairPath], side_px: int) -> Quality:
    """`quality` with the reason added where the hairs found cannot be whole."""
    if quality.hair_coverage < COVERAGE or turn(paths, side_px) < TURN:
        return quality
    return quality.model_copy(update={"ok": False, "reasons": [*quality.reasons, REASON]})
