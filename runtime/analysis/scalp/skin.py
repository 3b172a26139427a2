"""The skin between the hairs, made ready for the indices: which pixels it is, its colour all around, and how pale each pixel is beside it.

All at a working size of at most 640 px a side: flakes and glints are some pixels wide there. Light that falls off slowly, the tint of a
white balance and shadows of hair cancel out, because every pixel is compared with the skin about it and not with a fixed colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.scalp.colour import ColourCorrection, corrected

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

WORK_PX = 640  # longer side of the working picture
TYPICAL_FIELD_UM = 4500.0  # width of a field at the usual distances: tells small from large where no scale is known, and nothing else
COARSE = 8  # the colour around is computed at an eighth of the size
NEAR_PX, FAR_PX = 20.0, 64.0  # spreads of the neighbourhoods whose skin a pixel is compared with, at the working size
HAIR_MARGIN_PX = 2  # a hair's flank and its fringes of colour reach so far beyond its mask
ROUNDS = 3
PALER = 0.06  # cells paler than their surroundings by this are flakes and glare rather than skin
SHADED = 0.85  # cells darker than this share of their surroundings lie in a hair's shadow
LEAST_HEADROOM = 0.25  # between skin and white, so that noise on bright skin is not taken for paleness
LEAST_HUE = 0.15  # ln(R/B) of skin by which a loss of colour is reckoned
GREYISH = 0.2  # ln(R/B) below which skin has too little colour to lose any: then brightness alone decides
BLACK = 0.02  # added to levels before a logarithm

CLIPPED = 253  # level from which on a channel is at the end of its scale, JPEG's noise allowed for

BLUE, GREEN, RED = range(3)

_Any = TypeVar("_Any", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Skin:
    """The working picture.

    Attributes:
        levels: float32 (height, width, 3) BGR, shares of 255, smoothed by 0.8 px.
        skin: bool (height, width), neither hair nor outside the field.
        around: float32 (height, width, 3), the colour of the skin about each pixel.
        pale: float32 (height, width): 0 as the skin around, 1 white; below 0 darker. Both brighter and less coloured, or it is not pale.
        um_per_px: of the working picture, for telling small from large; guessed from its width where no scale is known.
        clipped: share of the skin's pixels whose red (the first to go) is at the end of the scale.
        exposed: median over the skin of the brightest channel, 0…1, as the camera gave it.
        field_px: pixels of the usable field.
    """

    levels: Floats
    skin: Mask
    around: Floats
    pale: Floats
    um_per_px: float
    clipped: float
    exposed: float
    field_px: int


def view_skin(
    image: NDArray[np.uint8], hair: Mask, field: Mask | None, colour: ColourCorrection | None, um_per_px: float | None
) -> Skin | None:
    """The working picture of an image, uint8 (height, width, 3) BGR, with masks of its size; None where no pixel of skin is left."""
    height, width = image.shape[:2]
    shrink = min(1.0, WORK_PX / max(height, width))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    covered = hair if field is None else hair | ~field
    open_ = np.ones((size[1], size[0]), np.bool_) if field is None else field
    if shrink < 1:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        covered = np.asarray(cv2.resize(covered.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 0, np.bool_)
        if field is not None:
            open_ = np.asarray(cv2.resize(field.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0, np.bool_)
    disc = np.ones((2 * HAIR_MARGIN_PX + 1,) * 2, np.uint8)
    skin = np.asarray(cv2.dilate(covered.astype(np.uint8), disc) == 0, np.bool_)
    if not skin.any():
        return None
    raw = sample(np.flatnonzero(skin))
    seen = image.reshape(-1, 3)[raw]
    clipped = float(np.mean(seen[:, RED] >= CLIPPED))
    exposed = float(np.median(seen.max(axis=1))) / 255
    levels = np.asarray(cv2.GaussianBlur(corrected(image, colour), (0, 0), 0.8), np.float32)
    around = _around(levels, skin)
    known = um_per_px / shrink if um_per_px is not None else TYPICAL_FIELD_UM / size[0]
    return Skin(levels, skin, around, _paleness(levels, around), known, clipped, exposed, int(np.count_nonzero(open_)))


def sample(values: NDArray[_Any], most: int = 40_000) -> NDArray[_Any]:
    """Evenly picked entries of an array along its first axis, at most about twice `most`: enough for a percentile."""
    return values[:: max(1, len(values) // most)]


def _around(levels: Floats, skin: Mask) -> Floats:
    """The skin's own colour about each pixel, float32 (height, width, 3): a mean over near skin, where there is none over farther skin.

    What turns out paler than its surroundings, or shaded, is left out of the mean in the next round.
    """
    height, width = skin.shape
    cells = max(1, width // COARSE), max(1, height // COARSE)
    share = np.asarray(cv2.resize(skin.astype(np.float32), cells, interpolation=cv2.INTER_AREA), np.float32)
    only = cv2.copyTo(levels, skin.view(np.uint8))
    summed = np.asarray(cv2.resize(only, cells, interpolation=cv2.INTER_AREA), np.float32)
    mean = summed / np.maximum(share, np.float32(1e-3))[..., None]
    weight = share
    near = mean
    for round_ in range(ROUNDS):
        whole = np.tensordot(weight, mean, 2) / max(float(weight.sum()), 1e-6)
        far = _spread(mean, weight, FAR_PX / COARSE, whole.astype(np.float32))
        near = _spread(mean, weight, NEAR_PX / COARSE, far)
        if round_ < ROUNDS - 1:
            headroom = np.maximum(1 - near[..., :RED], np.float32(LEAST_HEADROOM))
            paler = ((mean - near)[..., :RED] / headroom).mean(axis=2)
            kept = (paler < PALER) & (mean[..., GREEN] > SHADED * far[..., GREEN])
            weight = share * (kept + np.float32(1e-4))
    return np.asarray(cv2.resize(near, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _spread(mean: Floats, weight: Floats, sigma: float, otherwise: Floats) -> Floats:
    """The weighted mean of cells under a Gaussian, drawn to `otherwise` where there is next to no weight."""
    total = np.asarray(cv2.GaussianBlur(mean * weight[..., None], (0, 0), sigma), np.float32)
    by = np.asarray(cv2.GaussianBlur(weight, (0, 0), sigma), np.float32)[..., None]
    return np.asarray((total + np.float32(0.02) * otherwise) / (by + np.float32(0.02)), np.float32)


def _paleness(levels: Floats, around: Floats) -> Floats:
    """How far each pixel has gone from the skin around to white, float32 (height, width).

    By brightness: how much of the way from the skin to white blue and green, which skin absorbs, have risen. By colour: how much of the
    skin's ln(R/B) is lost. The lesser counts: lit skin between two shadows is brighter and as red, a shadow is less red and darker.
    """
    blue, green, red = (np.ascontiguousarray(levels[..., k]) for k in range(3))
    skin_blue, skin_green, skin_red = (np.ascontiguousarray(around[..., k]) for k in range(3))
    least = np.float32(LEAST_HEADROOM)
    brighter = ((blue - skin_blue) / np.maximum(1 - skin_blue, least) + (green - skin_green) / np.maximum(1 - skin_green, least)) / 2
    black = np.float32(BLACK)
    hue = np.asarray(cv2.log((skin_red + black) / (skin_blue + black)), np.float32)
    lost = (hue - np.asarray(cv2.log((red + black) / (blue + black)), np.float32)) / np.maximum(hue, np.float32(LEAST_HUE))
    greyish = np.clip(1 - hue / np.float32(GREYISH), 0, 1)
    return np.asarray(np.minimum(brighter, np.maximum(lost, greyish)), np.float32)
