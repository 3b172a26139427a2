"""What of the mask the hairs found so far do not explain: hair that a first pass over the skeleton has lost in fans and tangles.

A skeleton shows one line where several hairs run into one another. Once the hairs that were found are taken out of the mask, each with
its own width, the others stand free and can be followed in the same way.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from runtime.analysis.hairs import HairPath
from runtime.analysis.sections import MIN_SECTIONS, mask_edges, normals, rough_widths
from runtime.analysis.skeleton import Floats

COVER_WIDTHS = 1.15  # a hair takes so much of its width out of the mask: courses are a little off
THIN_WIDTHS = 0.6  # of the usual hair's width: what is left and thinner than this is the rim of a hair that was found
OWN_PERCENTILE = 25.0  # of a hair's sections: the mask is only ever wider than its hair
USUAL_PERCENTILE = 60.0  # of the hairs' widths: the frame's usual terminal hair, vellus hair left below
GROWN_WIDTHS = 1.4  # what is wider than this many of the frame's usual hairs is taken for several of them
LOOK_WIDTHS = 2.5  # sections reach this many hair widths to either side
LOOK_STEP_PX = 1.0
SUBPIXEL_BITS = 3


def unexplained(paths: tuple[HairPath, ...], mask: NDArray[np.bool_], min_extent_px: float) -> tuple[NDArray[np.bool_], float]:
    """(the mask, bool (height, width), less the hairs of `paths` and less what could be no hair, the frame's usual hair width in px).

    Pieces of it whose bounding box has a diagonal of less than `min_extent_px` are left out.
    """
    own = _own_widths(paths, mask)
    usual = float(np.percentile(own, USUAL_PERCENTILE))
    own = np.where(own > GROWN_WIDTHS * usual, usual, own)
    rest = mask.astype(np.uint8)
    for path, width in zip(paths, own, strict=True):
        course = np.rint(path.points * 2**SUBPIXEL_BITS).astype(np.int32)
        cv2.polylines(rest, [course], False, 0, max(1, round(COVER_WIDTHS * float(width))), cv2.LINE_8, SUBPIXEL_BITS)
    size = max(2, round(THIN_WIDTHS * usual))
    rest = np.asarray(cv2.morphologyEx(rest, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))), np.uint8)
    _, labels, box, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    long = np.hypot(box[:, cv2.CC_STAT_WIDTH], box[:, cv2.CC_STAT_HEIGHT]) >= min_extent_px
    long[0] = False
    return np.asarray(long[labels], np.bool_), usual


def ends_near(points: Floats, paths: tuple[HairPath, ...], near_px: float) -> bool:
    """Whether one of `paths` ends within `near_px` of the course `points` (n, 2): then that hair goes on there."""
    tips = np.concatenate([[path.points[0], path.points[-1]] for path in paths])
    return bool((cKDTree(points).query(tips)[0] < near_px).any())


def _own_widths(paths: tuple[HairPath, ...], mask: NDArray[np.bool_]) -> Floats:
    """Each hair's own width in the mask, px, float64 (paths,): that of its thinner sections."""
    counts = np.array([len(path.points) for path in paths])
    owner = np.repeat(np.arange(len(paths)), counts)
    points = np.concatenate([path.points for path in paths])
    own = rough_widths(paths)
    half = LOOK_WIDTHS * np.maximum(own, float(np.percentile(own, USUAL_PERCENTILE)))[owner]
    left, right = mask_edges(points, normals(points, owner), half, mask.astype(np.float32), LOOK_STEP_PX)
    width, stops = right - left, np.cumsum(counts)
    for k, stop in enumerate(stops):
        mine = width[stop - counts[k] : stop]
        mine = mine[np.isfinite(mine)]
        if len(mine) >= MIN_SECTIONS:
            own[k] = min(own[k], float(np.percentile(mine, OWN_PERCENTILE)))
    return np.maximum(own, 1.0)
