"""The connected pieces of a mask and how long, wide and strong each is: what tells a hair from a flake, a pore or a glint.

Only the mask's own pixels are looked at once they are labelled: hair covers a tenth of most frames, and OpenCV's statistics, which
walk over the whole frame, take four times as long as its labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.segmentation import Mask

CROWDED_RUNS = 300_000
"""Runs along rows, of a mask of noise, from which its gaps are labelled: the time to order outlines grows with the square of them."""
CROWD_ROWS = 16  # of which one is looked at for that


@dataclass(frozen=True, eq=False)
class Pieces:
    """The connected pieces of a mask; index 0 stands for what lies outside it. Lengths in pixels.

    Attributes:
        shape: height and width of the mask.
        at: int64 (m,), flat index of each of the mask's pixels.
        label: int32 (m,), the piece that pixel belongs to.
        area: float64 (n,), pixels of each piece.
        width: float64 (n,), of each piece where it is widest.
        length: float64 (n,), area over that width.
        extent: float64 (n,), diagonal of the upright box around each.
        mean: float64 (n,), the value within each.
    """

    shape: tuple[int, int]
    at: NDArray[np.int64]
    label: NDArray[np.int32]
    area: NDArray[np.float64]
    width: NDArray[np.float64]
    length: NDArray[np.float64]
    extent: NDArray[np.float64]
    mean: NDArray[np.float64]

    def touched_by(self, mask: Mask) -> NDArray[np.bool_]:
        """Whether some pixel of each piece is in `mask`, bool (n,)."""
        touched = np.zeros(self.width.size, np.bool_)
        touched[self.label[mask.ravel()[self.at]]] = True
        return touched

    def where(self, wanted: NDArray[np.bool_]) -> Mask:
        """The pixels of the `wanted` pieces, bool (n,)."""
        found = np.zeros(self.shape, np.bool_)
        found.ravel()[self.at[wanted[self.label]]] = True
        return found


def pieces(mask: Mask, values: NDArray[Any], connectivity: int) -> Pieces:
    """The pieces of `mask`, bool (height, width), with their mean of `values`, float32 (height, width).

    Pixels touching by a corner are one piece with `connectivity` 8 and two with 4.
    """
    labels, count = _labels(mask, connectivity)
    at = np.flatnonzero(mask)
    inside = labels.ravel()[at]
    first, last = _runs(mask, at)
    run = inside[first]
    area = np.asarray(np.bincount(run, last - first + 1, minlength=count), np.float64)
    box = _boxes(run, at[first], last - first, mask.shape[1], count)
    extent = np.hypot(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
    depth = np.asarray(cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, 3), np.float32).ravel()[at]
    radius = np.zeros(count)
    if first.size:
        # without any outside, depth is endless
        np.maximum.at(radius, run, np.minimum(np.maximum.reduceat(depth, first), max(mask.shape)))
    width = 2 * radius + 1e-3
    mean = np.bincount(inside, values.ravel()[at], minlength=count) / np.maximum(area, 1)
    return Pieces((mask.shape[0], mask.shape[1]), at, inside, area, width, area / width, extent, mean)


def boxed(mask: Mask, connectivity: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The piece each pixel of `mask`, bool (height, width), belongs to, int32 of that shape, and the upright box around each piece.

    Boxes are int64 (n, 4): left, top, and right and bottom, which lie just outside. Piece 0 is what is not in the mask; its box is empty.
    """
    labels, count = _labels(mask, connectivity)
    at = np.flatnonzero(mask)
    first, last = _runs(mask, at)
    return labels, _boxes(labels.ravel()[at[first]], at[first], last - first, mask.shape[1], count)


def _labels(mask: Mask, connectivity: int) -> tuple[NDArray[np.int32], int]:
    # the algorithm is named for speed: up to twice that of the default
    count, labels = cv2.connectedComponentsWithAlgorithm(mask.view(np.uint8), connectivity, cv2.CV_32S, cv2.CCL_GRANA)
    return np.asarray(labels, np.int32), count


def _runs(mask: Mask, at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the mask's pixels, flat indices `at`, are the first and the last of a run along a row: what runs share is looked at once."""
    begins = np.diff(at, prepend=-2) != 1
    begins[np.searchsorted(at, np.flatnonzero(mask[:, 0]) * mask.shape[1])] = True
    first = np.flatnonzero(begins)
    return first, np.append(first[1:], at.size)[: first.size] - 1


def _boxes(piece: NDArray[np.int32], begin: NDArray[np.int64], reach: NDArray[np.int64], columns: int, count: int) -> NDArray[np.int64]:
    """Left, top, right and bottom, int64 (count, 4), of pieces whose runs begin at the flat indices `begin` and reach so many pixels on."""
    rows, left = np.divmod(begin, columns)
    box = np.zeros((count, 4), np.int64)
    box[piece, :2] = np.iinfo(np.int64).max
    np.minimum.at(box[:, 0], piece, left)
    np.minimum.at(box[:, 1], piece, rows)
    np.maximum.at(box[:, 2], piece, left + reach + 1)
    np.maximum.at(box[:, 3], piece, rows + 1)
    return box


def small_gaps(mask: Mask, largest: float) -> Mask:
    """The gaps in `mask`, bool (height, width), of at most `largest` pixels; some of up to twice as many may be among them.

    A gap is a piece of what `mask` leaves, pixels touching by a corner being apart; the picture's border closes it. They are found by
    their outlines, which costs less than labelling all that is not hair. Gaps that lie within a gap are left out.
    """
    crowd = mask[::CROWD_ROWS]
    if CROWD_ROWS * np.count_nonzero(crowd[:, 1:] > crowd[:, :-1]) > CROWDED_RUNS:
        labels, count = _labels(~mask, 4)
        few = np.bincount(labels.ravel(), minlength=count) <= largest
        few[0] = False
        return np.asarray(few[labels])
    walled = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    outlines, tree = cv2.findContours(walled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(-1, -1))
    found = np.zeros(mask.shape, np.uint8)
    # of an outline's four links the last is the outline it lies in
    holes = np.flatnonzero(np.asarray(tree, np.int32).reshape(-1, 4)[:, 3] >= 0).tolist()
    # an outline runs through the pixels around the gap: by Pick's theorem it encloses less than twice the gap's area
    small = [outlines[hole] for hole in holes if cv2.contourArea(outlines[hole]) <= 2 * largest]
    cv2.drawContours(found, small, -1, 1, cv2.FILLED)
    return found.view(np.bool_) & ~mask
