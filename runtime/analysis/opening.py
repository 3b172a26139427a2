"""The hood's opening in the picture: only what is seen through it is skin, and only hair within it is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.segmentation import Mask, Segmentation

FRACTION_BITS = 4
FINER = 4  # samples a side of each cell whose open share is asked for

Polygon = Sequence[tuple[float, float]]


def opening_mask(polygon: Polygon, width: int, height: int) -> Mask:
    """bool (height, width), the pixels within a polygon of points x, y in px."""
    drawn = np.zeros((height, width), np.uint8)
    reach = 8 * max(width, height)  # OpenCV's fixed point must not overflow; nothing is seen so far out
    points = np.clip(np.asarray(polygon, np.float64), -reach, reach)
    fixed = np.rint(points * (1 << FRACTION_BITS)).astype(np.int32)
    cv2.fillPoly(drawn, [fixed.reshape(-1, 1, 2)], 1, cv2.LINE_8, FRACTION_BITS)
    return np.asarray(drawn, np.bool_)


def open_shares(polygon: Polygon, width: int, height: int, cells: tuple[int, int]) -> NDArray[np.float64]:
    """The share of each cell of an even grid of (rows, columns) over a picture of width × height that lies within the polygon."""
    mask = opening_mask(polygon, width, height).astype(np.float32)
    rows, columns = cells
    fine = cv2.resize(mask, (columns * FINER, rows * FINER), interpolation=cv2.INTER_AREA)
    return np.asarray(fine.reshape(rows, FINER, columns, FINER).mean((1, 3)), np.float64)


def within(found: Segmentation, field: Mask) -> Segmentation:
    """The segmentation of what lies in the field, bool (height, width); a ring's dots and the hood's wall are no hair."""
    outside = ~field

    def cut(soft: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        if soft is None:
            return None
        return np.where(outside, np.float32(0), soft)

    return replace(
        found,
        mask=found.mask & field,
        probability=cut(found.probability),
        ostium_probability=cut(found.ostium_probability),
        faint=None if found.faint is None else found.faint & field,
        others=tuple(within(other, field) for other in found.others),
    )
