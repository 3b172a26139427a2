"""Flake coverage: scale and flakes of about 0.1 mm and more, found as pale patches that are neither glints nor hair.

A flake is keratin that scatters white light: pale through and through, at least a tenth of a millimetre wide, seldom as white as a
mirrored lamp. Smaller pale grains are on every skin (keratin of pores, glints), so they are not counted; nor are films so thin that skin
shows through unchanged. The threshold rises with how uneven the skin itself is.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.scalp.patches import patches_of
from runtime.analysis.scalp.skin import Skin, sample

GRAIN_UM = 10.0  # smoothing: finer grains than this are noise
PALER = 0.13  # than the median of the skin, at the least
UNEVEN = 1.5  # times the distance from the median to the 84th percentile
MOST_UNEVEN = 0.3  # flakes themselves make a skin uneven: beyond this it may be them
LEAST_UM2 = 7854.0  # 0.1 mm across
GLINT_PALE, GLINT_UM2 = 0.55, 40_000.0  # a patch as white as this and not larger mirrors a lamp

Mask = NDArray[np.bool_]


def flake_threshold(view: Skin, smoothed: NDArray[np.float32]) -> float:
    """Paleness from which on a pixel of this skin stands out."""
    low, high = np.percentile(sample(smoothed[view.skin]), (50, 84))
    return float(low + PALER + min(UNEVEN * (high - low), MOST_UNEVEN))


def smooth_paleness(view: Skin) -> NDArray[np.float32]:
    """The paleness averaged over skin within GRAIN_UM, float32 (height, width)."""
    sigma = max(0.5, GRAIN_UM / view.um_per_px)
    weight = view.skin.astype(np.float32)
    total = np.asarray(cv2.GaussianBlur(view.pale * weight, (0, 0), sigma), np.float32)
    return np.asarray(total / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), np.float32(0.2)), np.float32)


def find_flakes(view: Skin, smoothed: NDArray[np.float32], threshold: float) -> Mask:
    """Where flakes lie, bool (height, width) of the working picture."""
    found = patches_of(view.skin & (smoothed > threshold), view.pale, view.um_per_px)
    glint = (found.paleness > GLINT_PALE) & (found.area_um2 < GLINT_UM2)
    return found.mask_of((found.area_um2 > LEAST_UM2) & ~glint & ~found.like_hair)
