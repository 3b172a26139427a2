"""Which of the hairs that were found are seen plainly enough to count: those whose body differs from the skin by 8 grey levels or more.

Grey and white hair on bright skin is found by its gloss, its dark rims and its shadow, even where its body is just as bright as the skin;
such hair does not count (design, section 3). A hair's brightness is therefore freed of what the lamps mirrored in it add, and compared
with the skin around it but for the shadow that it casts there. A hair is judged as a whole, so that hairs that cross it stay whole too.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.contrast import GRID, reduced, shape_of, shape_within
from runtime.analysis.courses import Courses, courses_of
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.sections import normals, profiles
from runtime.analysis.segmentation import Mask, Segmentation
from runtime.analysis.skeleton import Floats

COUNTED_CONTRAST = 8.0  # grey levels (design, section 3)
# the lamps' mirror image covers this share of a hair's width and is as bright as that: on rendered hair whose bodies are known, both
# renderers at hand ask for a share of 0.1 … 0.2
GLOSS_SHARE, LAMP_GREY = 0.13, 200.0
ACROSS = np.linspace(-1.1, 1.1, 9)
"""Where a section is looked at, in halves of its width: to just beyond its edges, where a width that is a little off matters least."""
MIN_SECTIONS = 4  # of known width; a hair that has fewer is looked at all along, as wide as it is in the mask
SKIN_SPREAD = 3.0
"""Sigma, on the grid, of the blur that gives the skin's level: wider than a shadow, narrower than the light's fall to the corners."""
SHADOW = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
"""What lies so near to hair on the grid may be its shadow."""
LEAST_HAIR = 25
"""Of 255: the share of hair from which a pixel of the grid shows hair."""
LEAST_SKIN = 0.02
"""The share of skin around a point below which its level is not known."""
OPENING_PX, OPENING_FIELD_PX = 9, 640
"""Hair so near to an opening, of pictures 640 px wide, may grow from it."""
COVER = 1.3
"""So many widths are taken for the hair itself: courses are a little off."""
RELIABLE = 0.84
"""In a mask that is to be relied on less, widths and skin are in doubt too: of pale hair on hard rendered frames, where that is so, more
would be dropped wrongly than rightly."""


def visible_hairs(paths: tuple[HairPath, ...], image: NDArray[np.uint8], segmentation: Segmentation) -> tuple[HairPath, ...]:
    """Those of `paths`, their widths measured, that are seen plainly enough to count.

    Nothing is dropped where a hair's contrast is not known, from a given mask (it holds hair that counts) and from a mask in doubt.

    Args:
        image: uint8 (height, width, 3) BGR.
    """
    if not paths or segmentation.probability is None or not segmentation.reliability >= RELIABLE:
        return paths
    hair = segmentation.mask if segmentation.faint is None else segmentation.mask | segmentation.faint
    alike = np.abs(body_contrasts(paths, image, hair)) < COUNTED_CONTRAST
    return tuple(path for path, drop in zip(paths, alike.tolist(), strict=True) if not drop)


def empty_or_counted(ostia: tuple[Ostium, ...], paths: tuple[HairPath, ...], segmentation: Segmentation) -> tuple[Ostium, ...]:
    """`ostia` without those where hair is seen that does not count: they are not empty, and no hair of `paths` grows from them.

    `paths` are the hairs that count.
    """
    empty = [ostium for ostium in ostia if not ostium.hairs]
    if not empty:
        return ostia
    other = segmentation.mask.astype(np.uint8)
    if segmentation.faint is not None:
        other |= segmentation.faint.view(np.uint8)
    for path in paths:
        width = path.diameter_px if np.isfinite(path.diameter_px) else OPENING_PX
        cv2.polylines(other, [np.rint(path.points).astype(np.int32)], False, 0, round(COVER * width) + 2)
    reach = round(OPENING_PX * max(1.0, max(other.shape) / OPENING_FIELD_PX))
    total = cv2.integral(other)
    at = np.rint([(ostium.x, ostium.y) for ostium in empty]).astype(np.int64)
    limit = np.array([other.shape[1], other.shape[0]])
    (x0, y0), (x1, y1) = np.clip(at - reach, 0, limit).T, np.clip(at + reach + 1, 0, limit).T
    seen = (total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]) >= reach
    grown = {id(ostium) for ostium, hair in zip(empty, seen.tolist(), strict=True) if hair}
    return tuple(ostium for ostium in ostia if id(ostium) not in grown)


def body_contrasts(paths: tuple[HairPath, ...], image: NDArray[np.uint8], hair: Mask) -> Floats:
    """By how many grey levels the skin is brighter than each hair's body, float64 (hairs,); negative where it is darker.

    With a share g of the width mirroring a lamp of grey level L, a body of level B looks (1 - g) B + g L bright. NaN where no skin is seen.

    Args:
        image: uint8 (height, width, 3) BGR.
        hair: bool (height, width), all hair, also what does not count.
    """
    if not paths:
        return np.empty(0)
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    hairs = courses_of(paths)
    known = np.isfinite(hairs.widths_px)
    width = np.where(known, hairs.widths_px, hairs.rough_widths()[hairs.owner])
    seen = profiles(grey, hairs.points, normals(hairs.points, hairs.owner), width[:, None] / 2.0 * ACROSS).mean(1)
    used = known | (np.bincount(hairs.owner[known], minlength=len(hairs)) < MIN_SECTIONS)[hairs.owner]
    brightness = _means(np.where(used, seen, np.nan), hairs)
    body = (brightness - GLOSS_SHARE * LAMP_GREY) / (1.0 - GLOSS_SHARE)
    return np.asarray(_means(_skin_levels(grey, hair, hairs.points), hairs) - body)


def _means(values: Floats, hairs: Courses) -> Floats:
    """The mean of the finite `values` (n,) of each hair, float64 (hairs,); NaN for hairs without any."""
    finite = np.isfinite(values)
    count = np.bincount(hairs.owner[finite], minlength=len(hairs))
    total = np.bincount(hairs.owner[finite], values[finite], minlength=len(hairs))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _skin_levels(grey: NDArray[np.uint8], hair: Mask, points: Floats) -> Floats:
    """The grey level of the skin around each of `points` (n, 2), shadows left out, float64 (n,); NaN where none is seen."""
    shape = shape_within(shape_of(grey), GRID)
    covered = cv2.dilate(reduced(hair.view(np.uint8) * np.uint8(255), shape), SHADOW)
    skin = np.where(covered <= LEAST_HAIR, np.float32(1), np.float32(0))
    size = (0, 0)  # as the spread asks for
    share = np.asarray(cv2.GaussianBlur(skin, size, SKIN_SPREAD))
    level = np.asarray(cv2.GaussianBlur(reduced(grey, shape) * skin, size, SKIN_SPREAD))
    level = np.where(share >= LEAST_SKIN, level / np.maximum(share, np.float32(LEAST_SKIN)), np.float32(np.nan))
    at = np.rint((points + 0.5) * [shape[1] / grey.shape[1], shape[0] / grey.shape[0]] - 0.5).astype(np.int64)
    return np.asarray(level[np.clip(at[:, 1], 0, shape[0] - 1), np.clip(at[:, 0], 0, shape[1] - 1)], np.float64)
