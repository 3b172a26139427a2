"""How far each pixel stands out from the skin around it: logarithmic colour planes, the skin's level in them, and where hair ends.

In logarithms a shadow and a brighter lamp add the same to all three colours, so a weighted sum whose weights are small in total hardly
sees them. The skin's level is a black-hat background on a coarse grid, refined by a blur that leaves out the hair found with it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.segmentation import Mask

Plane = NDArray[Any]  # float32 (height, width); OpenCV's annotations are wider
Shape = tuple[int, int]
Weights = tuple[float, float, float]

GRID = 160
"""Longest side of the grid on which levels are found: 4 px of a 640×480 frame each."""
OFFSET = 10.0
"""Added to grey levels before the logarithm, so that the noise of black pixels is not blown up."""
LOGARITHM = np.log(np.arange(256, dtype=np.float32) + np.float32(OFFSET))
LEVEL_SMOOTHING = 2.0
"""Sigma, on the grid, that takes the steps out of the black-hat's background."""
SKIN_SPREAD = 8.0
"""Sigma, on the grid, of the blur that gives the skin's level between hairs."""
CORE_SPREAD = 2.5
"""Sigma, on the grid, of the neighbourhood in which a hair is compared with itself."""
BORDER = 0.55
"""Share of the core's contrast at which a hair ends: half, and a little because blur takes more from the core's mean than from a border."""
WEAK = 0.5
"""Share of the frame's threshold below which no hair is looked for."""


def shape_of(plane: NDArray[Any]) -> Shape:
    """(height, width)."""
    return plane.shape[0], plane.shape[1]


def shape_within(shape: Shape, longest: int) -> Shape:
    """(height, width) of a picture of `shape` reduced so that its longest side is `longest`; never enlarged."""
    factor = min(1.0, longest / max(shape))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def reduced(plane: Plane, shape: Shape) -> Plane:
    """`plane` averaged over the pixels of the smaller (height, width) `shape`."""
    return cv2.resize(plane, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)


def enlarged(plane: Plane, shape: Shape) -> Plane:
    """`plane` interpolated to the larger (height, width) `shape`."""
    return cv2.resize(plane, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def logarithms(image: NDArray[Any]) -> NDArray[Any]:
    """Natural logarithms, float32 (height, width, 3), of an uint8 picture's grey levels plus OFFSET."""
    return cv2.LUT(image, LOGARITHM)


def weighted(colours: NDArray[Any], weights: Weights) -> Plane:
    """The plane that weighs log blue, green and red."""
    return cv2.transform(colours, np.array([weights], np.float32))


def otsu(contrast: Plane, span: float) -> float:
    """Otsu's threshold (IEEE Trans. SMC 9, 1979) of the contrasts between 0 and `span`."""
    levels = contrast * np.float32(255 / span)
    levels = np.clip(levels, np.float32(0), np.float32(255), out=levels).astype(np.uint8)
    return float(cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)[0]) * span / 255


def over_skin(plane: Plane, *, closing: int, floor: float, span: float, other: Mask | None = None) -> tuple[Plane, float]:
    """How far `plane` rises over the skin's level, and the frame's threshold for hair; both in logarithms.

    Args:
        plane: float32 (height, width) in which hair lies above skin.
        closing: diameter of the black-hat on the grid, wider than a bundle of hair.
        floor: the least threshold, above the skin's texture.
        span: contrasts beyond this are all alike to Otsu.
        other: bool, of the plane's size: hair of another kind, which is not skin either. The black-hat, which would be misled by it,
            is then left out.
    """
    shape = shape_of(plane)
    coarse = reduced(plane, shape_within(shape, GRID))
    grid = shape_of(coarse)
    if other is None:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (closing, closing))
        level = cv2.GaussianBlur(cv2.dilate(cv2.erode(cv2.medianBlur(coarse, 3), disc), disc), (0, 0), LEVEL_SMOOTHING)
    else:
        level = skin_level(coarse, reduced(other.astype(np.float32), grid), np.full(grid, np.median(coarse), np.float32))
    contrast = plane - enlarged(level, shape)
    hair = contrast > max(otsu(contrast, span), floor)
    if other is not None:
        hair |= other
    # the black-hat's level leans to the extreme; between the hairs the skin itself says its level
    contrast = plane - enlarged(skin_level(coarse, reduced(hair.astype(np.float32), grid), level), shape)
    return contrast, max(otsu(contrast, span), floor)


def skin_level(coarse: Plane, hair: Plane, without: Plane) -> Plane:
    """The blurred level of `coarse` where no `hair` (share of each pixel) is, leading over to `without` where no skin is near."""
    skin = (cv2.dilate(hair, np.ones((3, 3), np.uint8)) < 0.1).astype(np.float32)
    weight = np.float32(1e-2)
    total = np.asarray(cv2.GaussianBlur(skin, (0, 0), SKIN_SPREAD)) + weight
    level: Plane = (np.asarray(cv2.GaussianBlur(coarse * skin, (0, 0), SKIN_SPREAD)) + weight * without) / total
    return level


def hair_border(contrast: Plane, threshold: float, *, floor: float, span: float) -> Plane:
    """The contrast at which hair ends, of the size of `contrast`: about half that of the hair nearby.

    So dark and fair hairs of one frame are both as wide as they are. The hair nearby is the mean of the contrasts above the
    least, weighed by their cube so that the core of a hair counts and its borders do not.
    """
    least = max(WEAK * threshold, floor)
    found = cv2.threshold(contrast, least, 0, cv2.THRESH_TOZERO)[1]
    found = np.minimum(found, np.float32(span), out=found)
    coarse = reduced(found, shape_within(shape_of(contrast), GRID))
    weight = coarse * coarse * coarse
    total = np.asarray(cv2.GaussianBlur(weight, (0, 0), CORE_SPREAD)) + np.float32(1e-5)
    core = np.asarray(cv2.GaussianBlur(weight * coarse, (0, 0), CORE_SPREAD)) / total
    border = enlarged(BORDER * core, shape_of(contrast))
    np.maximum(border, np.float32(least), out=border)
    return border
