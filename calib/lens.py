"""How a lens bends the picture: radial distortion about a centre, undone for coordinates; images are never resampled.

With u the offset of a pixel from the centre and ρ its length in half diagonals of the picture, the undistorted offset is
u·(1 + k₁ρ² + k₂ρ⁴) (Brown 1971, his model of correction). At ρ = 0 nothing changes: the scale at the centre is that of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RadialLens:
    """The distortion of a picture of `width_px` × `height_px`.

    Attributes:
        centre_px: x and y of the centre of distortion.
        k1, k2: displacement at one half diagonal, by its second and fourth power, as a share of the half diagonal.
    """

    width_px: int
    height_px: int
    centre_px: tuple[float, float]
    k1: float = 0.0
    k2: float = 0.0

    @property
    def half_diagonal_px(self) -> float:
        """The unit of ρ."""
        return math.hypot(self.width_px, self.height_px) / 2

    @property
    def middle_px(self) -> tuple[float, float]:
        """x and y of the middle of the picture, where scales are stated."""
        return (self.width_px - 1) / 2, (self.height_px - 1) / 2

    def undistort(self, pixels: NDArray[np.floating]) -> Floats:
        """Where points (n, 2) of the picture would lie without distortion, px, float64 (n, 2)."""
        offset = np.asarray(pixels, np.float64) - self.centre_px
        square = np.sum(offset * offset, -1, keepdims=True) / self.half_diagonal_px**2
        return np.asarray(offset * (1 + square * (self.k1 + self.k2 * square)) + self.centre_px, np.float64)

    def stretch(self, pixels: NDArray[np.floating]) -> Floats:
        """How much larger a small piece of the picture at points (n, 2) becomes when undistorted, float64 (n,).

        The square root of the area's ratio: across a radius it is 1 + k₁ρ² + k₂ρ⁴, along it 1 + 3k₁ρ² + 5k₂ρ⁴.
        """
        offset = np.asarray(pixels, np.float64) - self.centre_px
        square = np.sum(offset * offset, -1) / self.half_diagonal_px**2
        across = 1 + square * (self.k1 + self.k2 * square)
        along = 1 + square * (3 * self.k1 + 5 * self.k2 * square)
        return np.asarray(np.sqrt(np.maximum(across * along, 1e-6)), np.float64)


def straight_lens(width_px: int, height_px: int) -> RadialLens:
    """A lens that bends nothing."""
    return RadialLens(width_px, height_px, ((width_px - 1) / 2, (height_px - 1) / 2))
