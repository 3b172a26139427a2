"""How wide each hair is: sections across its course, all of a frame in one go, and one robust diameter for each hair.

A section is the profile of the soft mask (the share of hair in each pixel) along the normal; the hair's edges lie where that share
is one half, between pixels. Half-way in grey between shaft and skin was tried too: gloss and cast shadows made it 0.45 px too wide.
Sections beside other hairs and at crossings measure something else than one hair and are left out (NaN).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from runtime.analysis.hairs import HairPath
from runtime.analysis.sections import SAMPLE_PX, mask_edges, normals, rough_widths
from runtime.analysis.segmentation import Segmentation
from runtime.analysis.skeleton import Floats, Ints

MARGIN_PX = 4.0  # a section reaches this far beyond the mask's edge
MAX_HALF_PX = 60.0  # sections of wider strands are cut off: no hair at these magnifications is wider
CLEAR_PX = 2.0  # skin that must lie between a section and the next hair
MAD_TO_SD = 1.4826
# an edge is off by this share of the width times the square of the mask's doubt: with it 66 to 80 % of the widths of each kind lay within
# one standard error (classical masks of 120 rendered frames of device.simulated, 2026-11-22)
EDGE_DOUBT = 2.0
TIP_SHARE = 0.15  # the share of a hair's sections next to each end that tapers or rises out of the skin


def measure_widths(paths: tuple[HairPath, ...], image: NDArray[np.uint8], segmentation: Segmentation) -> tuple[HairPath, ...]:
    """`paths` with `widths_px`, `diameter_px` and `diameter_px_std` filled.

    `paths` carry the mask's rough widths in `widths_px` (or NaN); `image` is uint8 (height, width, 3) BGR.
    """
    if not paths:
        return ()
    counts = np.array([len(path.points) for path in paths])
    owner = np.repeat(np.arange(len(paths)), counts)
    points = np.concatenate([path.points for path in paths])
    normal = normals(points, owner)
    rough = rough_widths(paths)
    profile_half = np.minimum(0.75 * rough[owner] + MARGIN_PX, MAX_HALF_PX)
    left, right = mask_edges(points, normal, profile_half, _share_of_hair(segmentation))
    width = right - left
    width[width >= 2 * profile_half - SAMPLE_PX] = np.nan
    alone = ~_beside_others(points, owner, rough)
    usable = alone & np.isfinite(width)
    typical = _typical(width, owner, usable, rough)
    usable &= (width < 1.5 * typical[owner]) & (width > 0.4 * typical[owner])
    widths = np.where(usable, width, np.nan)
    out = []
    for k, (low, high) in enumerate(zip(np.cumsum(counts) - counts, np.cumsum(counts), strict=True)):
        mine = widths[low:high]
        diameter, std = _diameter(mine, float(typical[k]))
        std = float(np.hypot(std, EDGE_DOUBT * (1.0 - segmentation.reliability) ** 2 * diameter))
        out.append(replace(paths[k], widths_px=mine, diameter_px=diameter, diameter_px_std=std))
    return tuple(out)


def _beside_others(points: Floats, owner: Ints, rough: Floats) -> NDArray[np.bool_]:
    """Points to which another hair's course comes so near that the section would show both, bool (n,)."""
    beside = np.zeros(len(points), bool)
    reach = float(np.percentile(rough, 95)) + CLEAR_PX
    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray")
    a, b = pairs[:, 0], pairs[:, 1]
    foreign = owner[a] != owner[b]
    a, b = a[foreign], b[foreign]
    gap = np.hypot(*(points[a] - points[b]).T) - (rough[owner[a]] + rough[owner[b]]) / 2
    close = gap < CLEAR_PX
    beside[a[close]] = True
    beside[b[close]] = True
    return beside


def _typical(width: Floats, owner: Ints, usable: NDArray[np.bool_], rough: Floats) -> Floats:
    """A first robust width of each hair, px, float64 (hairs,)."""
    typical = rough.copy()
    for k in range(len(rough)):
        mine = width[(owner == k) & usable]
        if len(mine) >= 3:
            typical[k] = np.median(mine)
    return np.asarray(np.maximum(typical, 1.0))


def _share_of_hair(segmentation: Segmentation) -> NDArray[np.float32]:
    """The share of hair in each pixel, float32 (height, width); where the segmenter gives none, or no number, its mask stands in."""
    mask = segmentation.mask.astype(np.float32)
    soft = segmentation.probability
    return mask if soft is None else np.where(np.isfinite(soft), soft, mask).astype(np.float32)


def _diameter(widths: Floats, typical: float) -> tuple[float, float]:
    """(diameter, its standard error) from one hair's sections; without enough of them the rough width, its error unknown."""
    n = len(widths)
    body = widths[round(TIP_SHARE * n / 2) : n - round(TIP_SHARE * n / 2)]
    body = body[np.isfinite(body)]
    if len(body) < 3:
        body = widths[np.isfinite(widths)]
    if len(body) < 3:
        return typical, float("nan")
    middle = float(np.median(body))
    spread = MAD_TO_SD * float(np.median(np.abs(body - middle)))
    # neighbouring sections share pixels and texture: about one in three is independent; the median's error is 1.25 that of the mean
    independent = max(1.0, len(body) / 3.0)
    return middle, float(np.hypot(1.25 * spread / np.sqrt(independent), 0.02 * middle + 0.1))
