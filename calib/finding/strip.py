"""Where a straight bar lies in a picture: a wire, or one line of a ruling.

The mean brightness along parallel lines, for all angles (the Radon transform), changes most abruptly, and in opposite directions, at the
two edges of a bar seen along itself.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from calib.errors import TargetNotFoundError

Floats = NDArray[np.float64]

LOOK_PX = 320  # longer side of the picture in which the bar is looked for
LOOK_WIDTH_PX, LARGEST_LOOK_PX = 4.0, 960  # but a bar of known width is to be so wide in it
LIKELY = 1.6  # factor by which a bar may be wider or narrower than expected
ANGLES = 180
LEAST_CHORD = 0.35  # of the shorter side: lines through a corner are too short to say anything
GROUND_SPREAD = 0.2  # of the shorter side, over which uneven light is taken out
TRACE_STD = 6.0  # an edge stands out from the other changes of brightness so many times
ALIKE = 2.5  # a bar's edges are alike within this factor
GROUND_SHARE = 0.42  # free ground that a bar has on each side, of its width: more than the lines of a ruling leave its gaps
OFF_MIDDLE = 0.5  # how much less a bar counts where it lies half the picture off the middle
LARGEST_SHARE = 0.5  # of the picture's shorter side


@dataclass(frozen=True)
class Strip:
    """About where a bar lies: the angle of its normal, its edges' offsets along that from the picture's middle, and the free ground
    beside it, px."""

    normal_rad: float
    left_px: float
    right_px: float
    ground_px: float


def find_strip(green: NDArray[np.uint8], expected_px: float | None) -> Strip:
    """The strip whose edges stand out most, nearest the middle.

    Args:
        green: uint8 (height, width).
        expected_px: about the bar's width, where it is known: others, by more than a factor LIKELY, are passed over.

    Raises:
        TargetNotFoundError: no two edges stand out that could be a bar's.
    """
    height, width = green.shape
    look = LOOK_PX if expected_px is None else min(max(LOOK_PX, LOOK_WIDTH_PX / expected_px * max(width, height)), LARGEST_LOOK_PX)
    shrink = min(1.0, look / max(width, height))
    small = cv2.resize(green, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA).astype(np.float32)
    side = min(small.shape)
    small -= cv2.GaussianBlur(small, (0, 0), GROUND_SPREAD * side)
    changes, offsets = _changes_across(small)
    least = TRACE_STD * 1.4826 * float(np.median(np.abs(changes[np.isfinite(changes)])))
    widths = (0.0, LARGEST_SHARE * side)
    if expected_px is not None:
        # the turned picture is coarse and smeared: a narrow bar looks wider in it than it is
        widths = shrink * expected_px / LIKELY, shrink * expected_px * LIKELY + 3.0
    best, best_score = None, 0.0
    for k, change in enumerate(changes):
        found, score = _best_pair(change, offsets, least, widths, side / 2)
        if found is not None and score > best_score:
            left, right, ground = (value / shrink for value in found)
            best, best_score = Strip(math.pi * k / ANGLES, left, right, ground), score
    if best is None:
        wanted = "" if expected_px is None else f", about {expected_px:.0f} px wide,"
        raise TargetNotFoundError(
            f"no straight bar was seen: expected one wire or ruled line{wanted} across the picture, with free ground on both sides; "
            "lay it through the middle, and focus on it"
        )
    return best


def _changes_across(small: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """How the mean brightness along parallel lines changes from line to line.

    Returns:
        float64 (ANGLES, m), NaN where a line is too short; and the lines' offsets (m,) from the picture's middle, px along the normal,
        which stands at k·180°/ANGLES.
    """
    height, width = small.shape
    half = math.ceil(math.hypot(height, width) / 2)
    offsets = np.arange(-half, half + 1, dtype=np.float64)
    seen = np.stack([small, np.ones_like(small)], 2)
    changes = np.full((ANGLES, len(offsets)), np.nan)
    for k in range(ANGLES):
        c, s = math.cos(math.pi * k / ANGLES), math.sin(math.pi * k / ANGLES)
        # column j of the turned picture is the line at offset j − half along the normal
        turn = np.array([[c, -s, (width - 1) / 2 - half * c + half * s], [s, c, (height - 1) / 2 - half * s - half * c]])
        turned = cv2.warpAffine(seen, turn, (len(offsets), len(offsets)), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        total = turned.sum(0, dtype=np.float64)
        long = total[:, 1] > LEAST_CHORD * min(height, width)
        mean = np.where(long, total[:, 0] / np.maximum(total[:, 1], 1.0), 0.0)
        changes[k] = np.where(long, gaussian_filter1d(mean, 1.0, order=1, mode="nearest"), np.nan)
        border = np.flatnonzero(np.diff(long.astype(int)))  # what the filter saw of beyond is no change of brightness
        for b in border:
            changes[k, max(0, b - 3) : b + 5] = np.nan
    return changes, offsets


def _best_pair(
    change: Floats, offsets: Floats, least: float, widths: tuple[float, float], reach: float
) -> tuple[tuple[float, float, float] | None, float]:
    """((left edge, right edge, free ground), score) of the bar among one angle's changes; None without one."""
    size = np.nan_to_num(np.abs(change))
    peaks = np.flatnonzero((size[1:-1] >= size[:-2]) & (size[1:-1] > size[2:]) & (size[1:-1] > least)) + 1
    best, best_score = None, 0.0
    seen = np.flatnonzero(np.isfinite(change))
    for a, b in itertools.pairwise(peaks):
        weak, strong = sorted((size[a], size[b]))
        bar = offsets[b] - offsets[a]
        if np.sign(change[a]) == np.sign(change[b]) or strong > ALIKE * weak or not widths[0] <= bar <= widths[1]:
            continue
        others = peaks[size[peaks] > strong / ALIKE]
        before, after = others[others < a], others[others > b]
        ground = min(
            offsets[a] - offsets[before[-1] if len(before) else seen[0]], offsets[after[0] if len(after) else seen[-1]] - offsets[b]
        )
        score = weak * (1 - OFF_MIDDLE * min(1.0, abs(offsets[a] + offsets[b]) / 2 / reach))
        if ground > GROUND_SHARE * bar and score > best_score:
            best, best_score = (float(offsets[a]), float(offsets[b]), float(ground)), float(score)
    return best, best_score
