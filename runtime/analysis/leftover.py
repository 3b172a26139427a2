"""What of the mask the hairs found so far do not explain: hair that a first pass over the skeleton has lost in fans and tangles.

A skeleton shows one line where several hairs run into one another. Once the hairs that were found are taken out of the mask, each with
its own width, the others stand free and can be followed in the same way.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from runtime.analysis.breadth import single_widths, usual_width
from runtime.analysis.courses import courses_of
from runtime.analysis.hairs import HairPath
from runtime.analysis.pieces import boxed
from runtime.analysis.skeleton import Floats

COVER_WIDTHS = 1.15  # a hair takes so much of its width out of the mask: courses are a little off
THIN_WIDTHS = 0.6  # of the usual hair's width: what is left and thinner than this is the rim of a hair that was found
THIN_MOST_PX = 72.0  # no hair is wider than 120 px at these magnifications, and the time to look grows with the square of this
SUBPIXEL_BITS = 3


def unexplained(paths: tuple[HairPath, ...], own: Floats, mask: NDArray[np.bool_], min_extent_px: float) -> tuple[NDArray[np.bool_], float]:
    """(the mask, bool (height, width), less the hairs of `paths` and less what could be no hair, the frame's usual hair width in px).

    `own` are the hairs' own widths in the mask, px, float64 (paths,). Pieces of what is left whose bounding box has a diagonal of less
    than `min_extent_px` are left out.
    """
    usual = usual_width(own)
    rest = mask.astype(np.uint8)
    for path, width in zip(paths, np.rint(COVER_WIDTHS * single_widths(own, usual)).astype(int).tolist(), strict=True):
        course = np.rint(path.points * 2**SUBPIXEL_BITS).astype(np.int32)
        cv2.polylines(rest, [course], False, 0, max(1, width), cv2.LINE_8, SUBPIXEL_BITS)
    size = max(2, round(min(THIN_WIDTHS * usual, THIN_MOST_PX)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    thick = np.asarray(cv2.morphologyEx(rest, cv2.MORPH_OPEN, disc), np.uint8).view(np.bool_)
    labels, box = boxed(thick, 8)
    long = np.hypot(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]) >= min_extent_px
    long[0] = False
    left = np.zeros(mask.shape, np.bool_)
    if long.any():
        at = np.flatnonzero(thick)
        left.ravel()[at[long[labels.ravel()[at]]]] = True
    return left, usual


def where_hairs_end(paths: tuple[HairPath, ...], tips: Floats, near_px: float) -> NDArray[np.bool_]:
    """Of `paths`, at least one, whether one of `tips` (m, 2), where other hairs end, lies within `near_px` of its course: there that hair
    goes on; bool (paths,).
    """
    hairs = courses_of(paths)
    apart = cKDTree(tips).query(hairs.points, distance_upper_bound=near_px)[0]
    return np.asarray(np.bincount(hairs.owner[np.isfinite(apart)], minlength=len(hairs)) > 0)
