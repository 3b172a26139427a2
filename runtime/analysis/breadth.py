"""How far the mask reaches to either side of each hair's course: where one hair's width ends and another hair's begins."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.courses import Courses, courses_of, percentile, percentiles
from runtime.analysis.hairs import HairPath
from runtime.analysis.sections import REMAP_ROWS, normals
from runtime.analysis.skeleton import Floats, Ints

LOOK_STEP_PX = 1.0
LOOK_WIDTHS = 2.5  # sections reach this many hair widths to either side …
LOOK_MOST_PX = 300.0  # … of hair up to 120 px wide: of a blob, which is none, every section of the frame would be as long
USUAL_PERCENTILE = 60.0  # of the hairs' widths: the frame's usual terminal hair, vellus hair left below
GROWN_WIDTHS = 1.6  # what is wider than this many of the frame's usual hairs is taken for several of them
MIN_SECTIONS = 4  # fewer tell nothing of a hair
PIXEL_JUMP_PX = 0.5  # the width of a perfect mask jumps by as much
MAD_TO_SD = 1.48
FULL = 255  # what stands for hair in a mask that is interpolated


@dataclass(frozen=True, eq=False)
class Breadth:
    """Sections through the mask across hairs' courses, one at each of their points.

    Attributes:
        hairs: the courses.
        normal: float64 (n, 2), unit normals.
        left, right: float64 (n,), offsets along the normal, px, at which the section leaves the mask (left ≤ 0 ≤ right); NaN where the
            point itself lies outside it.
    """

    hairs: Courses
    normal: Floats
    left: Floats
    right: Floats

    @property
    def width(self) -> Floats:
        """float64 (n,), px."""
        return self.right - self.left

    def own(self, percent: float) -> Floats:
        """Each hair's own width in the mask, px, float64 (hairs,): this percentile of its sections, at most its rough width.

        The mask is only ever wider than a hair. One of fewer than MIN_SECTIONS sections keeps its rough width.
        """
        rough, width = self.hairs.rough_widths(), self.width
        enough = np.bincount(self.hairs.owner[np.isfinite(width)], minlength=len(self.hairs)) >= MIN_SECTIONS
        return np.where(enough, np.fmin(rough, percentiles(width, self.hairs.owner, len(self.hairs), percent)), rough)

    def irregularity(self) -> float:
        """By how much of itself the mask's width jumps from section to section: the middle hair's robust spread of differences."""
        known = np.isfinite(self.width)
        width, owner, hairs = self.width[known], self.hairs.owner[known], len(self.hairs)
        same = owner[2:] == owner[:-2]
        jump = percentiles(np.abs(width[2:] - width[:-2])[same], owner[2:][same], hairs, 50.0)
        enough = np.bincount(owner, minlength=hairs) >= MIN_SECTIONS
        spread = np.maximum(MAD_TO_SD * jump[enough] - PIXEL_JUMP_PX, 0.0) / percentiles(width, owner, hairs, 50.0)[enough]
        return float(np.median(spread)) if len(spread) else 0.0


def breadth_of(paths: tuple[HairPath, ...], mask: NDArray[np.bool_]) -> Breadth:
    """The sections of `paths`, at least one, through `mask`, bool (height, width)."""
    hairs = courses_of(paths)
    normal = normals(hairs.points, hairs.owner)
    rough = hairs.rough_widths()
    half = np.minimum(LOOK_WIDTHS * np.maximum(rough, usual_width(rough)), LOOK_MOST_PX)[hairs.owner]
    left, right = mask_reach(hairs.points, normal, half, mask)
    return Breadth(hairs, normal, left, right)


def usual_width(own: Floats) -> float:
    """The width of the frame's usual terminal hair, px, by the hairs' own widths (hairs,)."""
    return percentile(own, USUAL_PERCENTILE)


def single_widths(own: Floats, usual: float) -> Floats:
    """The hairs' own widths, those that must be of several hairs replaced by the `usual` one; float64 (hairs,), at least 1 px."""
    return np.maximum(np.where(own > GROWN_WIDTHS * usual, usual, own), 1.0)


def mask_reach(points: Floats, normal: Floats, half: Floats, mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Offsets along the normal, px, at which each section leaves the mask on either side: (left ≤ 0, right ≥ 0), NaN off the mask.

    `half` (sections,) is how far to look; an edge beyond it is put there.
    """
    steps = int(np.ceil(half.max() / LOOK_STEP_PX))
    full = np.multiply(mask.view(np.uint8), FULL, dtype=np.uint8)
    unit = np.linspace(-1.0, 1.0, 2 * steps + 1, dtype=np.float32)
    value = np.empty((len(points), len(unit)), np.uint8)
    place, way = points.astype(np.float32), (normal * half[:, None]).astype(np.float32)
    for first in range(0, len(points), REMAP_ROWS):
        some = slice(first, first + REMAP_ROWS)
        x, y = place[some, :1] + way[some, :1] * unit, place[some, 1:] + way[some, 1:] * unit
        value[some] = cv2.remap(full, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    on_hair = value[:, steps] > FULL // 2
    left, right = (_leaving(value[:, steps::way]) * half / steps for way in (-1, 1))
    return np.where(on_hair, -left, np.nan), np.where(on_hair, right, np.nan)


def _leaving(side: NDArray[np.uint8]) -> Floats:
    """After how many steps, interpolated, each row (n, steps + 1) first falls below one half; all of them where it never does."""
    below = side <= FULL // 2
    first: Ints = below.argmax(1)
    row = np.arange(len(side))
    never = ~below[row, first]
    high, low = side[row, np.maximum(first - 1, 0)].astype(np.float64), side[row, first].astype(np.float64)
    share = (high - FULL / 2) / np.maximum(high - low, 1.0)
    return np.where(never, side.shape[1] - 1, first - 1 + share)
