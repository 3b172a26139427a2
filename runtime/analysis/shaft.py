"""Hair shafts in the picture itself: a blurred bar fitted across each hair at places where it lies alone.

The mask says where to look; the picture says, between pixels, where the shaft ends. Each hair is looked at in its own colour against
the skin beside it, so that dark, grey and blond shafts are all bars of height one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.bar import BarFit, fit_bars
from runtime.analysis.sections import REMAP_ROWS
from runtime.analysis.skeleton import Floats, Ints

FITS_PER_HAIR = 4  # more say little more: neighbouring sections see the same streaks and the same shadow
ROWS_PER_FIT = 3  # odd: neighbouring sections averaged for one fit: less noise, and the pixel grid evens out
SIDE_SAMPLES = 9  # samples of a profile on either side of its middle
FLANK_PX = 4.0  # a profile shows so much of the shaft inside its edges
EDGE_RIM_PX = 1.0  # what lies nearer to an edge is neither all hair nor all skin
THIN_SPREADS = 4.0  # of a hair narrower than this many σ width and blur can hardly be told apart
MIN_SPREADS = 4  # so many fits tell the frame's σ
MOST_MOVED_SHARE = 0.15  # of its width: an edge that the picture moves by so much more than it may belongs to something else
LARGEST_RESIDUAL = 0.12  # of the contrast
ITERATIONS = 4
LEAST_CONTRAST = 4.0  # grey levels
SHARP_SHARE = 0.3  # of the contrast: colour is seen less sharply than grey, and serves where shading is stronger than this


@dataclass(frozen=True)
class Look:
    """How a picture is looked at across hairs.

    Attributes:
        skin_px: a profile shows so much of the skin on either side: farther out lie shadows and other hairs.
        spread_px, spread_doubt: σ of the point spread, pixel included, and the standard deviation of its logarithm.
        most_moved_px: an edge that the picture moves by more belongs to something else.
    """

    skin_px: float
    spread_px: float
    spread_doubt: float
    most_moved_px: float


FOCUSED = Look(skin_px=2.5, spread_px=0.95, spread_doubt=0.4, most_moved_px=1.5)
BLURRED = Look(skin_px=8.0, spread_px=2.5, spread_doubt=0.5, most_moved_px=4.0)


@dataclass(frozen=True, eq=False)
class ShaftFits:
    """Bars fitted across hairs.

    Attributes:
        section: int64 (m,), the points that the fits are centred on.
        fit: m bars, offsets from the middle of the mask.
        trusted: bool (m,), fits that settled near the mask's edges and describe what is seen.
        spread_px: σ of the frame's point spread, pixel included: the middle of hairs wide enough to show it.
        masked_px: float64 (m,), how wide the mask is there.
        lighter: float64 (hairs,), by how many grey levels each hair is lighter than its skin in blue; 0 where nothing was fitted.
    """

    section: Ints
    fit: BarFit
    trusted: NDArray[np.bool_]
    spread_px: float
    masked_px: Floats
    lighter: Floats


def fit_shafts(
    image: NDArray[np.uint8],
    points: Floats,
    normal: Floats,
    owner: Ints,
    left: Floats,
    right: Floats,
    usable: NDArray[np.bool_],
    hairs: int,
    edge_doubt_px: float,
    look: Look = FOCUSED,
) -> ShaftFits:
    """Bars fitted to the picture where sections are usable, evenly spread over each hair.

    Args:
        image: uint8 (height, width, 3) BGR.
        points, normal: float64 (n, 2), where each section lies and its direction.
        owner: int64 (n,), the hair of each, 0…hairs - 1, ascending.
        left, right: float64 (n,), the mask's edges along the normal, px.
        usable: bool (n,), sections that show one hair.
        hairs: how many there are.
        edge_doubt_px: standard deviation of the mask's edges about the true ones.
        look: at hairs in focus, or far out of it.
    """
    rows = _chosen(usable, owner, hairs)
    centre = rows[:, ROWS_PER_FIT // 2]
    a, b = np.sort(left[rows], axis=1)[:, ROWS_PER_FIT // 2], np.sort(right[rows], axis=1)[:, ROWS_PER_FIT // 2]
    half = (b - a) / 2
    # samples lie about both edges; of a wide shaft the middle is not looked at
    inner = np.minimum(half, FLANK_PX)
    reach = np.linspace(0.0, 1.0, SIDE_SAMPLES) * (inner + look.skin_px)[:, None] + (half - inner)[:, None]
    offsets = np.concatenate([-reach[:, ::-1], reach], axis=1)
    seen = _colours(image, points, normal, (left + right) / 2, rows, offsets)
    beyond = np.abs(offsets) - half[:, None]
    inside = (beyond < -np.minimum(EDGE_RIM_PX, half / 3)[:, None]) & (beyond > -FLANK_PX)
    outside = beyond > EDGE_RIM_PX
    view, lighter = _views(seen, inside, outside, owner[centre], hairs)
    levels = np.asarray((seen @ view[owner[centre]][:, :, None])[:, :, 0], np.float32)
    fit = fit_bars(
        offsets,
        levels,
        -half,
        half,
        look.spread_px,
        edge_prior_px=edge_doubt_px,
        spread_prior=look.spread_doubt,
        flank_px=FLANK_PX,
        iterations=ITERATIONS,
    )
    wide = fit.ok & (fit.width_px > THIN_SPREADS * fit.spread_px)
    spread = float(np.median(fit.spread_px[wide])) if np.count_nonzero(wide) >= MIN_SPREADS else look.spread_px
    moved = np.maximum(np.abs(fit.left_px + half), np.abs(fit.right_px - half))
    trusted = fit.ok & (moved < look.most_moved_px + MOST_MOVED_SHARE * 2 * half)
    trusted &= fit.residual < LARGEST_RESIDUAL * np.maximum(np.abs(fit.left_step + fit.right_step) / 2, 1)
    return ShaftFits(centre, fit, trusted, spread, 2 * half, lighter)


def _chosen(usable: NDArray[np.bool_], owner: Ints, hairs: int) -> Ints:
    """Rows of ROWS_PER_FIT usable points each, int64 (m, ROWS_PER_FIT), at most FITS_PER_HAIR of one hair, spread over it."""
    index = np.flatnonzero(usable)
    size = np.bincount(owner[index], minlength=hairs)
    begin = np.cumsum(size) - size
    groups = np.minimum(size // ROWS_PER_FIT, FITS_PER_HAIR)
    which = np.repeat(np.arange(hairs), groups)
    nth = np.arange(len(which)) - (np.cumsum(groups) - groups)[which]
    middle = ((nth + 0.5) * size[which] / np.maximum(groups[which], 1)).astype(np.int64)
    spread = np.arange(ROWS_PER_FIT) - ROWS_PER_FIT // 2
    place = np.clip(middle[:, None] + spread, 0, np.maximum(size[which] - 1, 0)[:, None])
    return np.asarray(index[begin[which][:, None] + place], np.int64)


def _colours(image: NDArray[np.uint8], points: Floats, normal: Floats, middle: Floats, rows: Ints, offsets: Floats) -> NDArray[np.float32]:
    """BGR along the sections of each fit, averaged, float32 (m, k, 3)."""
    m, k = offsets.shape
    if m == 0:
        return np.zeros((0, k, 3), np.float32)
    at = rows.ravel()
    start = points[at] + normal[at] * middle[at][:, None]
    along = np.repeat(offsets, rows.shape[1], axis=0).astype(np.float32)
    x = start[:, :1].astype(np.float32) + normal[at, :1].astype(np.float32) * along
    y = start[:, 1:].astype(np.float32) + normal[at, 1:].astype(np.float32) * along
    parts = [
        cv2.remap(image, x[r : r + REMAP_ROWS], y[r : r + REMAP_ROWS], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for r in range(0, len(x), REMAP_ROWS)
    ]
    return np.asarray(np.concatenate(parts).reshape(m, rows.shape[1], k, 3).mean(1, dtype=np.float32), np.float32)


def _views(
    seen: NDArray[np.float32], inside: NDArray[np.bool_], outside: NDArray[np.bool_], owner: Ints, hairs: int
) -> tuple[NDArray[np.float32], Floats]:
    """The mixture of B, G and R in which each hair stands out most from its skin as a bar of height one, float32 (hairs, 3).

    Also by how much each is lighter in blue, the colour that pigment takes away first, float64 (hairs,).

    Fisher's discriminant: gloss and shading change a pale hair's grey by more than it differs from skin, but not its colour.
    """
    share = np.stack([inside, outside], axis=1).astype(np.float32)
    share /= np.maximum(share.sum(2), 1.0)[:, :, None]
    mean = share @ seen
    apart = mean[:, 0] - mean[:, 1]
    scatter = np.zeros((len(seen), 3, 3), np.float32)
    for side in (0, 1):
        off = (seen - mean[:, side, None]) * np.sqrt(share[:, side, :, None])
        scatter += off.transpose(0, 2, 1) @ off / 2
    count = np.maximum(np.bincount(owner, minlength=hairs), 1)
    of_hair = np.stack([np.bincount(owner, apart[:, c], minlength=hairs) for c in range(3)], axis=1) / count[:, None]
    within = np.stack([np.bincount(owner, scatter[:, r, c], minlength=hairs) for r in range(3) for c in range(3)], axis=1)
    spread = (within / count[:, None]).reshape(hairs, 3, 3)
    strength = np.maximum((of_hair**2).sum(1), LEAST_CONTRAST**2)
    spread += (SHARP_SHARE**2 * strength)[:, None, None] * np.eye(3)
    view = np.linalg.solve(spread, of_hair[:, :, None])[:, :, 0]
    height = (view * of_hair).sum(1)
    return np.asarray(view / np.where(height > 0, height, 1.0)[:, None], np.float32), np.asarray(of_hair[:, 0])
