"""Raw colour to comparable colour, by what a calibration profile knows of the light: flat field, grey balance, colour matrix.

Profiles hold one `Light` for each distance at which a white target was seen; the nearest serves. Without a profile the levels are taken as
the camera gives them, and what is read from their colour is relative to that camera and its white balance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.light import ColourMatrix, FlatField, GreyBalance, balance, correct_colour, even_out
from calib.profile_parts import Light

Image = NDArray[np.uint8]
Levels = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ColourCorrection:
    """How the levels of one camera, under its own light, become comparable; each part may be missing, not all of them."""

    field: FlatField | None
    grey: GreyBalance | None
    matrix: ColourMatrix | None


def correction_of(light: Sequence[Light], distance_mm: float | None = None) -> ColourCorrection | None:
    """What a profile's `light` corrects at a distance: by the entry nearest to it that knows grey.

    Args:
        light: of a calibration profile, in any order.
        distance_mm: of the frame; None takes the first entry that knows grey.

    Returns:
        None where no entry has a grey balance: without one, colours cannot be compared.
    """
    known = [entry for entry in light if entry.grey_gains is not None]
    if not known:
        return None
    best = known[0] if distance_mm is None else min(known, key=lambda entry: abs(entry.distance_mm - distance_mm))
    assert best.grey_gains is not None
    return ColourCorrection(
        None if best.flat_field is None else FlatField(np.asarray(best.flat_field, np.float64)),
        GreyBalance(best.grey_gains),
        None if best.colour_matrix is None else ColourMatrix(best.colour_matrix, best.colour_residual or 0.0),
    )


def corrected(image: Image, colour: ColourCorrection | None) -> Levels:
    """Levels of `image`, uint8 (height, width, 3) BGR, as shares of 255: float32 of the same shape, 0 up to somewhat above 1.

    In the order of `calib.light`: flat field, grey balance, matrix.
    """
    if colour is None:
        return np.asarray(np.multiply(image, np.float32(1 / 255), dtype=np.float32), np.float32)
    levels: Levels = image.astype(np.float32) if colour.field is None else even_out(image, colour.field)
    if colour.grey is not None:
        levels = balance(levels, colour.grey)
    if colour.matrix is not None:
        levels = correct_colour(levels, colour.matrix)
    return np.asarray(np.clip(levels, 0, 510) * np.float32(1 / 255), np.float32)
