"""What the stages from mask to hairs hand to one another: courses of hairs and openings, all in pixels of the image as given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class HairPath:
    """One distinct hair.

    Attributes:
        points: float64 (n, 2), x and y along the centre line at ≤ 8 px from one to the next, from the root where it is known.
        widths_px: float64 (n,), apparent width at each point, NaN where it could not be had (crossing, flake, neighbour).
        diameter_px: the hair's diameter, a robust median of its widths; NaN where none could be had.
        diameter_px_std: standard error of it; NaN where unknown.
        diameter_px_max: where only "thinner than" is known; NaN elsewhere.
        length_px: visible length.
        rooted: the hair's ostium lies in the frame.
        confidence: 0…1, how surely this is one hair.
    """

    points: NDArray[np.float64]
    widths_px: NDArray[np.float64]
    diameter_px: float
    diameter_px_std: float
    length_px: float
    rooted: bool
    confidence: float
    diameter_px_max: float = float("nan")


@dataclass(frozen=True, eq=False)
class Ostium:
    """One follicle opening at (x, y), with the indices of the hairs that grow from it (empty for an empty opening)."""

    x: float
    y: float
    hairs: tuple[int, ...]
