"""Redness: haemoglobin by the logarithm of red over green, pigment taken off by that of green over blue.

Blood absorbs green and hardly red; melanin and carotene absorb the more the shorter the wavelength (Diffey, Oliver and Farr 1984;
Takiwaki 1998 for cameras). ln(R/G) − ½ ln(G/B) rises with blood and less with pigment. A brightness common to the channels, as light
that falls off, cancels. A white balance shifts all of a picture alike: so the index is the median, plus twice the span from the palest
to the reddest twentieth of the skin, which no white balance moves. Erythema is blotched; even redness shows in the median alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.scalp.skin import GREEN, RED, Skin, sample

PIGMENT = 0.5
SPAN_WEIGHT = 2.0
SMOOTH_PX = 1.5  # at half the working size
PALE, SHADED = 0.12, 0.8  # left out: paler than the skin around, or darker than this share of it
LEAST_LEVEL = 0.01
LEAST_PIXELS = 100

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Redness:
    """What was read.

    Attributes:
        index: 100 · (median + 2 · span).
        red_level: median red of the skin, 0…1: what melanin darkens and blood does not.
        colour: 95th percentile over the skin of the difference between its channels, 0…1.
        map: float32 (height, width) of the working picture, 100 · (ln(R/G) − ½ ln(G/B)); NaN where no skin was read.
    """

    index: float
    red_level: float
    colour: float
    map: Floats


def read_redness(view: Skin) -> Redness | None:
    """The redness of the skin; None where too little bare skin is seen."""
    height, width = view.skin.shape
    bare = view.skin & (view.pale < PALE) & (view.levels[..., GREEN] > SHADED * view.around[..., GREEN])
    half = max(1, width // 2), max(1, height // 2)
    weight = bare.astype(np.float32)
    share = np.asarray(cv2.GaussianBlur(cv2.resize(weight, half, interpolation=cv2.INTER_AREA), (0, 0), SMOOTH_PX), np.float32)
    cells = np.asarray(cv2.resize(cv2.copyTo(view.levels, bare.view(np.uint8)), half, interpolation=cv2.INTER_AREA), np.float32)
    cells = np.asarray(cv2.GaussianBlur(cells, (0, 0), SMOOTH_PX), np.float32)
    known = share > 0.3
    if np.count_nonzero(known) * 4 < LEAST_PIXELS:
        return None
    mean = np.maximum(cells / np.maximum(share, np.float32(0.05))[..., None], np.float32(LEAST_LEVEL))
    blue, green, red = (np.asarray(cv2.log(np.ascontiguousarray(mean[..., k])), np.float32) for k in range(3))
    redness = 100 * (red - green - np.float32(PIGMENT) * (green - blue))
    low, middle, high = np.percentile(sample(redness[known]), (5, 50, 95))
    skin = sample(mean[known])
    grown = np.asarray(
        cv2.resize(np.where(known, redness, np.float32(middle)), (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )
    seen = cv2.resize(known.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return Redness(
        float(middle + SPAN_WEIGHT * (high - low)),
        float(np.median(skin[:, RED])),
        float(np.percentile(skin.max(axis=1) - skin.min(axis=1), 95)),
        np.where(seen & view.skin, grown, np.float32(np.nan)),
    )
