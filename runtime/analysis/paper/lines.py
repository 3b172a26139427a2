"""ScalpVision's hair count: straight segments in the skeleton at three resolutions, duplicates merged away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from runtime.analysis.paper.skeleton import Mask, drop_small, morphological_skeleton

Segments = NDArray[np.float64]

RHO_PX = 5
THETA = np.pi / 180
COSINE = 0.9
END_DISTANCE_PX = 40

_FIRST_BLOCK = 64


@dataclass(frozen=True)
class HoughPass:
    """One probabilistic Hough transform; lengths and areas in pixels of the resized mask.

    Attributes:
        scale: size of the mask in this pass over that of the mask as given.
        votes, min_length_px, max_gap_px: OpenCV's threshold, minLineLength and maxLineGap.
        min_area_px: mask components below this are dropped after resizing.
        speck_px: skeleton components below this are dropped.
    """

    scale: float
    votes: int = 90
    min_length_px: int = 5
    max_gap_px: int = 10
    min_area_px: int = 0
    speck_px: int = 10


PAPER_PASSES = (HoughPass(1.0), HoughPass(0.5), HoughPass(2.0))


def find_segments(mask: Mask, passes: Sequence[HoughPass] = PAPER_PASSES) -> Segments:
    """Straight segments of the mask's skeleton, float64 (n, 4) as x1, y1, x2, y2 in px of `mask`, bool (height, width).

    The mask is resized and its skeleton taken anew in each pass, as in the published code: a resized skeleton would be
    broken or two pixels wide. OpenCV draws the points of the transform from a generator that it seeds itself at each
    call, so the same mask gives the same segments, and the process-wide seed is neither read nor set.
    """
    found: list[Segments] = [np.empty((0, 4))]
    for one in passes:
        if min(mask.shape) * one.scale < 1:
            continue  # nothing left of so narrow a mask
        skeleton = drop_small(morphological_skeleton(_resized(mask, one)), one.speck_px)
        lines = cv2.HoughLinesP(
            skeleton.astype(np.uint8),
            RHO_PX,
            THETA,
            one.votes,
            minLineLength=one.min_length_px,
            maxLineGap=one.max_gap_px,
        )
        if lines is not None:
            found.append(lines.reshape(-1, 4).astype(np.float64) / one.scale)
    return np.concatenate(found)


def distinct_segments(segments: Segments, end_distance_px: float = END_DISTANCE_PX) -> NDArray[np.bool_]:
    """Which of `segments`, float64 (n, 4) of positive length, are no shorter duplicate of another: bool (n,).

    Two are duplicates when |cos| between them exceeds 0.9 and their nearest ends lie less than `end_distance_px` apart;
    the shorter goes, of two of one length the later. One that goes takes others with it all the same, as published.
    The longest are compared with all others first, in blocks that double: a few long segments account for most of a
    crowd, so that pairs, and with them time and memory, stay in proportion to the segments even on a mask of noise.
    """
    # longest first, of one length the earliest first: each goes if any before it is like it
    order = np.argsort(-np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1]), kind="stable")
    ends = segments[order].reshape(-1, 2, 2)
    course = ends[:, 1] - ends[:, 0]
    course /= np.hypot(course[:, 0], course[:, 1])[:, None]
    kept = np.ones(len(segments), np.bool_)
    start, stop = 0, _FIRST_BLOCK
    while start < len(segments):
        rest = start + np.flatnonzero(kept[start:])
        tree = cKDTree(ends[rest].reshape(-1, 2))
        near = cKDTree(ends[start:stop].reshape(-1, 2)).sparse_distance_matrix(tree, end_distance_px, output_type="ndarray")
        near = near[near["v"] < end_distance_px]
        longer, other = start + near["i"] // 2, rest[near["j"] // 2]
        alike = np.abs((course[longer] * course[other]).sum(axis=1)) > COSINE
        kept[other[alike & (longer < other)]] = False
        start, stop = stop, 2 * stop
    distinct = np.empty_like(kept)
    distinct[order] = kept
    return distinct


def line_count(mask: Mask) -> int:
    """ScalpVision's hair count: the number of distinct segments in `mask`, bool (height, width), small components dropped.

    The paper's constants (rho 5, theta 1°, 90 votes, length 5, gap 10, ends within 40 px, at all three resolutions) are
    the defaults of the published functions, but the published script overrides them: other votes, lengths, gaps and areas
    at each resolution, ends within 30 px, and segments that are exactly upright or level at the left or top border left
    out. We follow the paper, whose values are stated once and mean the same at every border.
    """
    return int(distinct_segments(find_segments(mask)).sum())


def _resized(mask: Mask, one: HoughPass) -> Mask:
    if one.scale != 1:
        grey = cv2.resize(mask.astype(np.uint8) * 255, None, fx=one.scale, fy=one.scale, interpolation=cv2.INTER_LINEAR)
        mask = grey > 127
    return drop_small(mask, one.min_area_px) if one.min_area_px else mask
