"""The two things ScalpVision does to a mask first: small components dropped, and the morphological skeleton of the rest."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_BYTE_FULL = 255  # where the 8-bit distance transform saturates


def drop_small(mask: Mask, min_area_px: int) -> Mask:
    """`mask`, bool (height, width), without its 8-connected components of fewer than `min_area_px` pixels; a new array."""
    source = np.ascontiguousarray(mask, np.uint8)
    # fewer pixels than 16-bit labels can never run out of labels; the narrow type takes a third of the time
    labelled = cv2.CV_16U if cv2.countNonZero(source) < np.iinfo(np.uint16).max else cv2.CV_32S
    _, labels, stats, _ = cv2.connectedComponentsWithStats(source, connectivity=8, ltype=labelled)
    small = stats[:, cv2.CC_STAT_AREA] < min_area_px
    kept: Mask = np.array(mask, np.bool_, order="C")
    at = np.flatnonzero(kept)
    kept.reshape(-1)[at[small[labels.reshape(-1)[at]]]] = False
    return kept


def morphological_skeleton(mask: Mask) -> Mask:
    """The skeleton of the paper's Algorithm 1, step 1, of `mask`, bool (height, width); same shape and type.

    The paper repeats opening, difference and erosion with a cross of 3×3 until nothing is left. Eroding n times leaves
    the pixels whose city-block distance D to the background exceeds n, and a pixel of those is lost by the opening just
    when none of its four neighbours survives the next erosion. The union of the differences is therefore the set of
    pixels whose D no neighbour exceeds: one distance transform and one dilation give the same pixels.

    The picture's border is no background, as in OpenCV's erosion. A mask without any background would never erode to
    nothing (the published code guards one script against it and hangs in the other); here its skeleton is empty.
    """
    if not mask.any() or mask.all():
        return np.zeros(mask.shape, np.bool_)
    source = mask.astype(np.uint8)
    distance = cv2.distanceTransform(source, cv2.DIST_L1, 3, dstType=cv2.CV_8U)
    if distance.max() == _BYTE_FULL:
        distance = cv2.distanceTransform(source, cv2.DIST_L1, 3, dstType=cv2.CV_32F)
    ridge: Mask = cv2.dilate(distance, _CROSS) == distance
    return ridge & mask
