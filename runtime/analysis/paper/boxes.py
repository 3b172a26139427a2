"""ScalpVision's boxes: one centred at each skeleton pixel, thinned by non-maximum suppression, each with its principal axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.paper.skeleton import Mask

BOX_PX = 20  # for widths; the prompts of the segmentation use 10
OVERLAP = 0.1

_HALF = BOX_PX // 2


@dataclass(frozen=True, eq=False)
class Axes:
    """The principal component of the pixels in each of n boxes.

    Attributes:
        x, y: float64 (n,), mean of the pixels' coordinates.
        along_x, along_y: float64 (n,), unit vector of the first principal component.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    along_x: NDArray[np.float64]
    along_y: NDArray[np.float64]


def suppress(skeleton: Mask, box_px: int = BOX_PX) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Centres (y, x) of the boxes that non-maximum suppression leaves, in the order in which it takes them.

    `skeleton` is bool (height, width); boxes are `box_px` wide and high. As published: no box has a score, the lowest in
    the picture comes first (in a row, the rightmost), and takes with it all boxes of which it covers more than `OVERLAP`;
    corners count inclusively, so a box of 20 px is 21 px wide here. Equal boxes overlap or not by the distance of their
    centres alone, so taking one means clearing one fixed stamp around it. Each step depends on the one before; a step
    costs one stamp, whatever the number of skeleton pixels.
    """
    side = box_px + 1
    height, width = skeleton.shape
    shared = side - np.abs(np.arange(1 - side, side))
    spared = np.outer(shared, shared) <= OVERLAP * side * side
    # turned by 180°, the order of the scan is the order in memory
    alive = np.pad(skeleton[::-1, ::-1], box_px)
    row_px = alive.shape[1]
    scan = alive.reshape(-1)
    taken = []
    at = int(scan.argmax())
    while scan[at]:
        taken.append(at)
        y, x = divmod(at, row_px)
        alive[y - box_px : y + side, x - box_px : x + side] &= spared
        at += int(scan[at:].argmax())
    rows, columns = np.divmod(np.asarray(taken, np.intp), row_px)
    return height - 1 - (rows - box_px), width - 1 - (columns - box_px)


def principal_axes(pixels: Mask, y: NDArray[np.intp], x: NDArray[np.intp]) -> Axes:
    """The principal axis of the set pixels of `pixels`, bool (height, width), in the box around each centre (y, x).

    A box reaches from 10 px before its centre to 9 px after it, cut by the picture's border; every box must hold at least
    its centre. All boxes are done at once from their sums of 1, x, y, x², xy and y². Where no direction is preferred
    (a single pixel, an even cross) the axis is vertical, as the published code has it.
    """
    padded = np.pad(pixels, _HALF)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (BOX_PX, BOX_PX))[y, x]
    offset = np.arange(BOX_PX, dtype=np.float64) - _HALF
    dy, dx = (grid.reshape(-1) for grid in np.meshgrid(offset, offset, indexing="ij"))
    terms = np.column_stack((np.ones_like(dx), dx, dy, dx * dx, dx * dy, dy * dy))
    n, sx, sy, sxx, sxy, syy = (windows.reshape(len(y), BOX_PX * BOX_PX).astype(np.float64) @ terms).T
    # n² times the covariances: integers, so that ties are exact
    xx, xy, yy = n * sxx - sx * sx, n * sxy - sx * sy, n * syy - sy * sy
    angle = np.where((xy == 0) & (xx <= yy), np.pi / 2, 0.5 * np.arctan2(2 * xy, xx - yy))
    return Axes(x=x + sx / n, y=y + sy / n, along_x=np.cos(angle), along_y=np.sin(angle))
