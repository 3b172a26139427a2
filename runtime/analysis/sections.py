"""Sections across hairs: grey and mask profiles along the normals of all hairs' courses, sampled in one operation."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.skeleton import Floats, Ints

SAMPLE_PX = 0.5  # step along a section
TANGENT_STEPS = 2
WIDE_SHARE = 1.6  # of the usual reach
REMAP_ROWS = 32000  # remap's tables may not have more than 32767 rows


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
    left, right = np.empty(len(points)), np.empty(len(points))
    # every section is sampled as often as the widest: a few very wide ones are looked at by themselves
    wide = half > WIDE_SHARE * np.median(half)
    for some in (wide, ~wide) if wide.any() else (slice(None),):
        left[some], right[some] = _edges(points[some], normal[some], half[some], share, step_px)
    return left, right


def _edges(points: Floats, normal: Floats, half: Floats, share: NDArray[np.float32], step_px: float) -> tuple[Floats, Floats]:
    steps = int(np.ceil(half.max() / step_px))
    value = profiles(share, points, normal, half[:, None] * np.linspace(-1.0, 1.0, 2 * steps + 1))
    on_hair = value[:, steps] >= 0.5
    left, right = (np.where(on_hair, _first_below(value[:, steps::way], 0.5) * half / steps, np.nan) for way in (-1, 1))
    return -left, right


def _first_below(value: NDArray[np.float32], level: float) -> Floats:
    """How many steps along its row a profile, float32 (n, k), first falls below `level`, between samples; its last sample where not."""
    below = value < level
    first = below.argmax(1)
    rows = np.arange(len(value))
    ends = ~below[rows, first]
    first[ends] = value.shape[1] - 1
    before = np.maximum(first - 1, 0)
    high, low = value[rows, before], value[rows, first]
    share = np.clip((high - level) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    return np.asarray(np.where(ends, first, before + share), float)
