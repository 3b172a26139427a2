"""The openings of the skin (ostia) as the segmentation network sees them: a heat map beside the mask, of evidence and of peaks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.skeleton import Floats

AHEAD_WIDTHS = (-0.5, 0.0, 0.5, 1.0)  # along the course from a hair's end: the visible end lies a little before the opening, or in it
LEAST_WIDTH_PX = 4.0
CERTAIN = 1e-3  # probabilities nearer to 0 or 1 are not believed
PEAK_SPACING_PX = 10  # of pictures 640 px wide: two openings are not nearer
PEAK_FIELD_PX = 640


def opening_odds(heat: NDArray[np.float32], position: Floats, outward: Floats, width: Floats) -> Floats:
    """Log odds, by the heat map, of an opening at each end of a hair, float64 (ends,).

    Args:
        heat: float32 (height, width), probability of an opening; what is no number counts as none.
        position, outward: float64 (ends, 2), pixel coordinates and unit vectors away from the hair; `width` float64 (ends,) px.
    """
    reach = np.maximum(width, LEAST_WIDTH_PX)[:, None] * np.array(AHEAD_WIDTHS)
    at = position[:, None] + outward[:, None] * reach[:, :, None]
    columns = np.clip(np.rint(at[..., 0]).astype(np.int64), 0, heat.shape[1] - 1)
    rows = np.clip(np.rint(at[..., 1]).astype(np.int64), 0, heat.shape[0] - 1)
    seen = np.nan_to_num(heat[rows, columns].astype(np.float64), nan=0.0).max(1, initial=0.0)
    p = np.clip(seen, CERTAIN, 1 - CERTAIN)
    return np.asarray(np.log(p / (1 - p)))


def opening_peaks(heat: NDArray[np.float32], least: float) -> Floats:
    """Where the heat map has a peak of at least `least`, float64 (n, 2): x, y in pixels, strongest first.

    Args:
        heat: float32 (height, width), probability of an opening.
    """
    few = np.asarray(cv2.blur(np.nan_to_num(np.ascontiguousarray(heat[::2, ::2]), nan=0.0), (3, 3)), np.float32)
    side = 2 * round(PEAK_SPACING_PX / 2 * max(1.0, max(heat.shape) / PEAK_FIELD_PX)) + 1
    rows, columns = np.nonzero((few >= cv2.dilate(few, np.ones((side, side), np.uint8))) & (few >= least))
    order = np.argsort(-few[rows, columns], kind="stable")
    found = np.stack([columns, rows], axis=1)[order].astype(np.float64) * 2
    # a plateau has many equal peaks: the first of those within the spacing stands for it
    kept: list[int] = []
    for index in range(len(found)):
        if all(np.abs(found[index] - found[k]).max() > side for k in kept):
            kept.append(index)
    return found[kept]
