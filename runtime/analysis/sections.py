"""Sections across hairs: grey and mask profiles along the normals of all hairs' courses, sampled in one operation."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.hairs import HairPath
from runtime.analysis.skeleton import Floats, Ints

SAMPLE_PX = 0.5  # step along a section
TANGENT_STEPS = 2
REMAP_ROWS = 32000  # remap's tables may not have more than 32767 rows
ROUGH_PERCENTILE = 35.0
PIXEL_JUMP_PX = 0.5  # the width of a perfect mask jumps by as much
MIN_SECTIONS = 4  # fewer tell nothing of a hair
NO_WIDTH_PX = 4.0  # stands in for a hair of which nothing is known


def rough_widths(paths: tuple[HairPath, ...]) -> Floats:
    """The lower half's middle of each path's rough widths, px, float64 (paths,): where hairs merge the mask is only ever wider."""
    rough = [path.widths_px[np.isfinite(path.widths_px)] for path in paths]
    return np.array([float(np.percentile(w, ROUGH_PERCENTILE)) if len(w) else NO_WIDTH_PX for w in rough])


def normals(points: Floats, owner: Ints) -> Floats:
    """Unit normals of each hair's course, float64 (n, 2); `owner` (n,) says which points belong together, in order."""
    n = len(points)
    index = np.arange(n)
    ahead, behind = np.minimum(index + TANGENT_STEPS, n - 1), np.maximum(index - TANGENT_STEPS, 0)
    for _ in range(TANGENT_STEPS):
        ahead = np.where(owner[ahead] == owner, ahead, ahead - 1)
        behind = np.where(owner[behind] == owner, behind, behind + 1)
    tangent = points[ahead] - points[behind]
    length = np.hypot(tangent[:, 0], tangent[:, 1])
    tangent = np.where(length[:, None] > 0, tangent / np.maximum(length, 1e-9)[:, None], [1.0, 0.0])
    return np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)


def profiles(picture: NDArray[np.uint8] | NDArray[np.float32], points: Floats, normal: Floats, offsets: Floats) -> NDArray[np.float32]:
    """A one-channel picture at `offsets` (sections, k) px along each section's normal, bilinear: float32 (sections, k)."""
    if not len(points):
        return np.zeros(offsets.shape, np.float32)
    along = offsets.astype(np.float32)
    x = points[:, :1].astype(np.float32) + normal[:, :1].astype(np.float32) * along
    y = points[:, 1:].astype(np.float32) + normal[:, 1:].astype(np.float32) * along
    parts = [
        cv2.remap(picture, x[k : k + REMAP_ROWS], y[k : k + REMAP_ROWS], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for k in range(0, len(x), REMAP_ROWS)
    ]
    return np.concatenate(parts).astype(np.float32, copy=False)


def mask_edges(
    points: Floats, normal: Floats, half: Floats, share: NDArray[np.float32], step_px: float = SAMPLE_PX
) -> tuple[Floats, Floats]:
    """Offsets along the normal, px, at which each section leaves the hair on either side: (left ≤ 0, right ≥ 0), NaN off the hair.

    `share` float32 (height, width) is the share of hair in each pixel; the edge lies where it is one half.

    `half` (sections,) is how far to look; an edge beyond it is put there.
    """
    steps = int(np.ceil(half.max() / step_px))
    unit = np.linspace(-1.0, 1.0, 2 * steps + 1)
    offsets = half[:, None] * unit
    value = profiles(share, points, normal, offsets)
    left, right = crossings(value, offsets, steps, 0.5)
    on_hair = value[:, steps] >= 0.5
    left = np.where(on_hair, np.where(np.isfinite(left), left, -half), np.nan)
    return left, np.where(on_hair, np.where(np.isfinite(right), right, half), np.nan)


def crossings(value: NDArray[np.float32], offsets: Floats, middle: int, level: float | Floats) -> tuple[Floats, Floats]:
    """Where a profile first falls below `level` on either side of its middle, interpolated; NaN where it does not."""
    threshold = np.broadcast_to(np.asarray(level, float), (len(value),))[:, None]
    edges = []
    for direction in (-1, 1):
        side = value[:, middle::direction]
        where = offsets[:, middle::direction]
        below = side < threshold
        first = np.where(below.any(1), below.argmax(1), 0)
        rows = np.arange(len(value))
        previous = np.maximum(first - 1, 0)
        high, low = side[rows, previous], side[rows, first]
        share = np.where(high > low, (high - threshold[:, 0]) / np.where(high > low, high - low, 1.0), 0.0)
        edge = where[rows, previous] + share * (where[rows, first] - where[rows, previous])
        edges.append(np.where(below.any(1) & (first > 0), edge, np.nan))
    return edges[0], edges[1]


def irregularity(width: Floats, stops: Ints, counts: Ints) -> float:
    """By how much of itself the mask's width jumps from section to section: the middle hair's robust spread of differences."""
    spread = []
    for stop, count in zip(stops, counts, strict=True):
        mine = width[stop - count : stop]
        mine = mine[np.isfinite(mine)]
        if len(mine) >= MIN_SECTIONS:
            jump = max(1.48 * float(np.median(np.abs(mine[2:] - mine[:-2]))) - PIXEL_JUMP_PX, 0.0)
            spread.append(jump / float(np.median(mine)))
    return float(np.median(spread)) if spread else 0.0
