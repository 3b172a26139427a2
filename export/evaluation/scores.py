"""How well a mask agrees with the true one: areas, borders, centre lines."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize

from runtime.analysis.segmentation import Mask

TOLERANCE_PX = 2


@dataclass(frozen=True)
class MaskScore:
    """One mask against the truth. What has no meaning on a frame without hair is None there, and `false_area` is None elsewhere.

    Attributes:
        true_positive, found, true: pixels.
        f1_2px: harmonic mean of the shares of found pixels within 2 px of true ones and the other way round.
        boundary_f1: the same of the masks' border pixels.
        centre_recall: share of the true mask's skeleton that the found mask covers.
        false_area: share of a frame without hair that was taken for hair.
    """

    true_positive: int
    found: int
    true: int
    dice: float | None
    jaccard: float | None
    f1_2px: float | None
    boundary_f1: float | None
    centre_recall: float | None
    false_area: float | None


def score(found: Mask, true: Mask) -> MaskScore:
    """The score of a mask; both bool (height, width).

    Raises:
        ValueError: the sizes differ.
    """
    if found.shape != true.shape:
        raise ValueError(f"a mask of {found.shape} against one of {true.shape}")
    both, f, t = int(np.count_nonzero(found & true)), int(np.count_nonzero(found)), int(np.count_nonzero(true))
    if t == 0:
        return MaskScore(0, f, 0, None, None, None, None, None, f / true.size)
    return MaskScore(
        both,
        f,
        t,
        2 * both / (f + t),
        both / (f + t - both),
        _near_f1(found, true),
        _near_f1(_border(found), _border(true)),
        float(np.mean(found[_centre_lines(true)])),
        None,
    )


def _border(mask: Mask) -> Mask:
    """The mask's pixels that touch its outside; the picture's edge is no border."""
    eroded = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1.0)
    return np.asarray(mask & (eroded == 0), np.bool_)


def _centre_lines(mask: Mask) -> Mask:
    return np.asarray(skeletonize(mask), np.bool_)  # type: ignore[no-untyped-call]


def _near_f1(found: Mask, true: Mask) -> float:
    if not found.any() or not true.any():
        return float(not found.any() and not true.any())
    precision = float(np.mean(_distance_to(true)[found] <= TOLERANCE_PX))
    recall = float(np.mean(_distance_to(found)[true] <= TOLERANCE_PX))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _distance_to(mask: Mask) -> NDArray[np.float32]:
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
