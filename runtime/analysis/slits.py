"""Slits that gloss leaves in the mask: the bright line along a dark hair, taken for skin, parts its two flanks into two hairs.

Narrow gaps between hairs look the same in the mask. What tells a slit is that the segmenter doubts it and that it is no darker than
skin: between two hairs little light falls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.pieces import pieces, small_gaps
from runtime.analysis.segmentation import Mask
from runtime.analysis.skeleton import mean_width

LARGEST_WIDTHS = 15.0  # a slit covers at most so many squares of a hair's width
WIDEST_WIDTHS, WIDEST_PX = 0.6, 1.2  # … and is at most this wide
DOUBTED = 0.25  # mean probability of hair in a slit: skin between hairs has less
DARKEST = -8.0  # grey levels from the skin: what is darker lies in the shade of two hairs
FILLED = 0.9  # the probability that a slit is given
GREY = (0.114, 0.587, 0.299)  # weights of blue, green and red (ITU-R BT.601)
SPARSE = 4  # of the skin every so many pixels are looked at


def without_slits(mask: Mask, soft: NDArray[np.float32], image: NDArray[np.uint8]) -> tuple[Mask, NDArray[np.float32]]:
    """(`mask`, `soft`) with the slits of gloss filled; the arguments stay as they are.

    Args:
        mask: bool (height, width).
        soft: float32 (height, width), probability of hair; a gap in which it is no number somewhere stays.
        image: uint8 (height, width, 3) BGR.
    """
    width = mean_width(mask.view(np.uint8))
    gaps = small_gaps(mask, LARGEST_WIDTHS * width**2)
    if not gaps.any():
        return mask, soft
    found = pieces(gaps, soft, 4)
    few = (slice(None, None, SPARSE),) * 2
    skin = image[few][~mask[few]]
    if not len(skin):
        return mask, soft
    grey = image.reshape(-1, 3)[found.at] @ np.array(GREY)
    light = np.bincount(found.label, grey, minlength=len(found.area)) / np.maximum(found.area, 1) - np.median(skin @ np.array(GREY))
    slit = (found.width <= WIDEST_WIDTHS * width + WIDEST_PX) & (found.mean > DOUBTED) & (light > DARKEST)
    row, column = np.divmod(found.at, mask.shape[1])
    edge = (row == 0) | (row == mask.shape[0] - 1) | (column == 0) | (column == mask.shape[1] - 1)
    slit[found.label[edge]] = slit[0] = False  # one that the border closes is none
    at = found.at[slit[found.label]]
    if not len(at):
        return mask, soft
    filled, sure = mask.copy(), soft.copy()
    filled.ravel()[at] = True
    sure.ravel()[at] = np.maximum(sure.ravel()[at], np.float32(FILLED))
    return filled, sure
