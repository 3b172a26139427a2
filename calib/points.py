"""Points of a target found in a picture, and where they lie on the target: what every finder gives and every fit takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TargetPoints:
    """n points of one target in one picture.

    Attributes:
        pixels: float64 (n, 2), x and y in px of the image as given, pixel centres at integers.
        target_mm: float64 (n, 2), X and Y on the target; NaN where a coordinate is not fixed (Y of a ruled line's points).
            X, Y may have any origin, and be turned or mirrored as a whole where the target does not tell.
        std_px: float64 (n,), about the standard error of each point; relative weights matter, the fit finds the level.
        line: int64 (n,), points of one line (a ruled line) have the same number, so that errors that they share can be told; else a
            number of its own for each point.
    """

    pixels: Floats
    target_mm: Floats
    std_px: Floats
    line: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pixels)


def points_of(pixels: Floats, target_mm: Floats, std_px: float = 0.05) -> TargetPoints:
    """Points with one standard error for all, each for itself."""
    n = len(pixels)
    return TargetPoints(
        np.asarray(pixels, np.float64).reshape(n, 2),
        np.asarray(target_mm, np.float64).reshape(n, 2),
        np.full(n, std_px),
        np.arange(n, dtype=np.int64),
    )
