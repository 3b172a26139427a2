"""ScalpVision's hair thickness: the width of the mask across the principal axis in each box, and its statistics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.measurement import PaperThickness
from runtime.analysis.paper.boxes import principal_axes, suppress
from runtime.analysis.paper.skeleton import Mask, drop_small, morphological_skeleton

Floats = NDArray[np.float64]

SPECK_PX = 5  # skeleton components below this are dropped before boxes are laid
STEPS_PER_PX = 100  # the published search walks outwards in steps of 1/100 px …
REACH_PX = 50  # … and gives up at this distance

_WHISKERS = 1.5  # times the interquartile range: beyond it, an outlier


def section_widths(mask: Mask) -> Floats:
    """Width in px of the hair at each box that meets the mask's edge on both sides, float64 (n,), in the boxes' order.

    `mask` is bool (height, width), small components dropped already. The definition is that of the paper's 3.2: the line
    through a box's mean point along the second principal component meets the edge at two points; their distance is the
    thickness. Where the paper and the published code differ:

    * The paper takes the components of the hair pixels in the box, the code those of the skeleton pixels. We follow the
      code: its values are the published ones, and where a hair is as wide as the box its pixels fill the box evenly and
      have no direction.
    * The code drops skeleton components under 5 px, of which the paper says nothing. We follow the code. (This skeleton
      is not always connected: a straight hair with smooth edges near 30° or 60° falls to crumbs and may lose all its sections.)
    * The code finds the edge by steps of 1/100 px, the last step inside on either side being the point, and looks no
      farther than 50 px. We follow it, so that values are equal and not 0.01 px larger; a pixel (i, j) is the square
      from (i, j) to (i+1, j+1) there, though means are taken of pixel indices.
    * The code has no section where the hair is exactly horizontal (its slope divides by zero), none in boxes that reach
      over the left or top border (a negative index empties them), and never takes row or column 0 for hair. This loses
      up to one section in ten by the way the picture is turned, so here we follow the paper, which knows no such
      exceptions; all other sections are the published ones.

    Sections without both edge points (the mean point lies off the hair) are dropped, as published.
    """
    skeleton = drop_small(morphological_skeleton(mask), SPECK_PX)
    axes = principal_axes(skeleton, *suppress(skeleton))
    across_x, across_y = -axes.along_y, axes.along_x
    forth = _reach(mask, axes.x, axes.y, across_x, across_y)
    back = _reach(mask, axes.x, axes.y, -across_x, -across_y)
    widths: Floats = (forth + back)[(forth > 0) & (back > 0)]
    return widths


def thickness_statistics(widths: Floats) -> PaperThickness:
    """Number, mean and median of `widths`, float64 (n,) in px, with and without outliers; null where there are none.

    Outliers lie more than 1.5 interquartile ranges below the first or above the third quartile. The published script
    writes 0 where a picture has no section; that is no thickness, so null here.
    """
    if not len(widths):
        return PaperThickness(n=0, mean=None, median=None, mean_iqr=None, median_iqr=None)
    low, high = np.quantile(widths, (0.25, 0.75))
    margin = _WHISKERS * (high - low)
    usual = widths[(widths >= low - margin) & (widths <= high + margin)]
    return PaperThickness(
        n=len(widths),
        mean=float(widths.mean()),
        median=float(np.median(widths)),
        mean_iqr=float(usual.mean()),
        median_iqr=float(np.median(usual)),
    )


def _reach(mask: Mask, x: Floats, y: Floats, ux: Floats, uy: Floats) -> Floats:
    """How far one can walk from each (x, y) along the unit vector (ux, uy) over hair, in whole steps of 1/100 px.

    Between two pixel borders the mask does not change, so a ray is cut where it crosses a column or row border, and the
    pixel of each piece asked for once: about 100 look-ups in place of up to 5,000 steps. A piece too short to hold a
    step (a corner barely touched) is passed over, as by the published walk.
    """
    height, width = mask.shape
    cuts = np.concatenate((np.zeros((len(x), 1)), _crossings(x, ux), _crossings(y, uy)), axis=1)
    cuts.sort(axis=1)
    before, after = cuts[:, :-1], cuts[:, 1:]
    middle = (before + after) / 2
    column = np.floor(x[:, None] + middle * ux[:, None]).astype(np.intp)
    row = np.floor(y[:, None] + middle * uy[:, None]).astype(np.intp)
    within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    hair = within & mask[row.clip(0, height - 1), column.clip(0, width - 1)]
    first_step = np.maximum(np.floor(before * STEPS_PER_PX) + 1, 1)
    last_step = np.ceil(after * STEPS_PER_PX) - 1
    off = ~hair & (last_step >= first_step)
    stop = np.where(off, first_step, REACH_PX * STEPS_PER_PX).min(axis=1)
    steps: Floats = (stop - 1) / STEPS_PER_PX
    return steps


def _crossings(start: Floats, speed: Floats) -> Floats:
    """Distances at which rays of this component cross pixel borders, (n, REACH_PX + 1), never beyond REACH_PX."""
    border = np.where(speed > 0, np.floor(start) + 1, np.ceil(start) - 1)
    with np.errstate(divide="ignore", over="ignore"):
        first, pitch = np.abs(border - start) / np.abs(speed), 1 / np.abs(speed)
    first, pitch = np.minimum(first, REACH_PX), np.minimum(pitch, REACH_PX)
    return np.minimum(first[:, None] + pitch[:, None] * np.arange(REACH_PX + 1), REACH_PX)
