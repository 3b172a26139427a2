"""Whether a frame is fit to be measured: light, focus and how much hair there is; with reasons in words that an operator can act on.

A frame that fails is still measured. No hair is not a failure: a bald scalp is a finding. The limits are set wide, so that only
frames which a person would retake are refused: every practice frame and every real frame at hand passes.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.measurement import Quality
from runtime.analysis.segmentation import Mask

REDUCED = 640
"""Longest side, px, at which focus is judged, so that cameras of different resolution are held to one measure."""
REACH = 7
"""Pixels (reduced) to either side of a border in which its two levels are looked for: more than twice the blur that is refused."""
LEAST_STEP = 16
"""Grey levels; borders of less contrast tell more of noise than of focus."""
LEAST_BORDER = 64
"""Pixels of border needed to judge focus by; a frame with fewer has nothing to be sharp."""
BLURRED = 0.26
"""Sharpness below which hairs of usual width run into one another: an edge spread of 3.8 px in 640. The softest practice frame has 0.29."""
ALMOST_BLACK, TOO_DARK, TOO_BRIGHT = 0.03, 0.12, 0.93
"""Mean grey, 0 to 1. Below 0.12 eight grey levels of contrast are lost in a camera's noise; dark skin well lit lies above 0.2."""
CLIPPED_LEVEL, CLIPPED_SHARE = 250, 0.30
"""A field of which this share is at or above this grey level has lost its skin."""
TOO_MUCH_HAIR = 0.60
"""Share of hair above which too little skin is left between hairs to tell them apart by; practice frames have up to 0.40."""
SHARPEST_PERCENT = 75


def assess(
    image: NDArray[np.uint8], segmentation_mask: Mask, field_mask: Mask | None = None, share: NDArray[np.float32] | None = None
) -> Quality:
    """The quality of `image`, uint8 (height, width, 3) BGR, of which `segmentation_mask` (bool, the same size) is hair.

    `field_mask` (bool, the same size) is the usable picture; everything where None. `share` (float32, the same size) is the share of hair
    in each pixel where the segmenter gives one; should it not be a number everywhere, that is a reason to take another picture.
    `sharpness` is the reciprocal of the spread (sigma) of the borders in px of a frame 640 px long: slope over step, times sqrt(2π) for
    a border blurred by a Gaussian; 0 where there is nothing to be sharp. Without hair it is the skin's texture that is judged, and no
    frame is refused for it.
    """
    grey: NDArray[Any] = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if field_mask is not None and not field_mask.any():
        field_mask = None
    inside = grey if field_mask is None else grey[field_mask]
    hair = segmentation_mask if field_mask is None else segmentation_mask[field_mask]
    exposure = min(1.0, float(cv2.mean(inside)[0]) / 255)  # its sum may round up; NumPy takes twenty times as long
    coverage = float(np.count_nonzero(hair)) / hair.size
    sharpness = border_sharpness(grey, segmentation_mask, field_mask)
    reasons = []
    if exposure < ALMOST_BLACK:
        reasons.append("almost black")
    elif exposure < TOO_DARK:
        reasons.append("too dark")
    if exposure > TOO_BRIGHT or np.count_nonzero(inside >= CLIPPED_LEVEL) > CLIPPED_SHARE * inside.size:
        reasons.append("over-exposed")
    if coverage > 0 and 0 < sharpness < BLURRED:  # without hair, smooth skin and a blurred picture look the same
        reasons.append("blurred")
    if coverage > TOO_MUCH_HAIR:
        reasons.append("too much hair to count")
    if share is not None and not np.isfinite(cv2.sumElems(share)[0]):  # one pixel that is not finite makes the sum so
        reasons.append("hair mask incomplete")
    return Quality(ok=not reasons, reasons=reasons, sharpness=round(sharpness, 4), exposure=exposure, hair_coverage=coverage)


def border_sharpness(grey: NDArray[Any], mask: Mask, field_mask: Mask | None = None) -> float:
    """Reciprocal of the borders' spread, 1/px at 640 px; `grey` uint8 and `mask` bool (height, width). 0 without borders."""
    factor = min(1.0, REDUCED / max(grey.shape))
    hair: NDArray[Any] = mask.astype(np.uint8)
    field: NDArray[Any] | None = None if field_mask is None else field_mask.astype(np.uint8)
    if factor < 1:
        size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        hair = cv2.resize(hair, size, interpolation=cv2.INTER_NEAREST)
        field = None if field is None else cv2.resize(field, size, interpolation=cv2.INTER_NEAREST)
    if min(grey.shape) < 3:
        return 0.0
    window = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    step = cv2.subtract(cv2.dilate(grey, window), cv2.erode(grey, window))
    # a border lies within a pixel of where the mask puts it: both sides are looked at
    border = cv2.morphologyEx(hair, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    if np.count_nonzero(border) < LEAST_BORDER:
        border = np.ones(grey.shape, np.bool_)
    border &= step >= LEAST_STEP
    if field is not None:
        border &= field > 0
    at = np.flatnonzero(border[1:-1, 1:-1])
    if at.size < LEAST_BORDER:
        return 0.0
    differences = (cv2.absdiff(grey[1:-1, 2:], grey[1:-1, :-2]), cv2.absdiff(grey[2:, 1:-1], grey[:-2, 1:-1]))
    across, down = (np.asarray(difference).ravel()[at].astype(np.float32) for difference in differences)
    slope = np.sqrt(across * across + down * down) / (2 * step[1:-1, 1:-1].ravel()[at].astype(np.float32))
    # the steepest quarter: the rest lies beside the border's middle, or is hair out of the plane of focus
    place = (slope.size - 1) * SHARPEST_PERCENT // 100
    return float(np.partition(slope, place)[place] * np.sqrt(2 * np.pi))
