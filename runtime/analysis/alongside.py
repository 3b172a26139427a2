"""Hairs that lie side by side: where the mask is wider than the hairs found in it, another hair runs along, and is split off.

Two hairs from one ostium often leave the skin together and part slowly, or one ends beside another: the skeleton then shows one
line. What tells them apart is width: hair keeps its width over a frame, so a stretch that is wider than its own hair, and not by
hairs already found, holds another.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from runtime.analysis.hairs import HairPath
from runtime.analysis.sections import MIN_SECTIONS, irregularity, mask_edges, normals, rough_widths
from runtime.analysis.skeleton import Floats, Ints

LOOK_STEP_PX = 1.0
LOOK_WIDTHS = 2.5  # sections reach this many hair widths to either side
EXCESS_IRREGULAR = 4.0  # the share is larger by this many times the mask's irregularity
EXCESS_WIDTHS = 0.5  # a stretch wider than its hair by more than this share of a hair's width holds another
EXCESS_MIN_PX = 2.5  # … and this much: the mask's edges jump by a pixel each
THIN_SHARE = 0.8  # a thin hair's neighbour is most likely a hair of the usual width
STRETCH_WIDTHS = 2.5  # shorter stretches are where hairs cross or touch
GROWN_WIDTHS = 1.4  # what is wider than this many of the frame's usual hairs is taken for several of them
OWN_PERCENTILE = 15.0  # of a hair's sections: the mask is only ever wider than its hair
USUAL_PERCENTILE = 60.0  # of the hairs' widths: the frame's usual terminal hair, vellus hair left below
GAP_SECTIONS = 2  # a stretch may be interrupted by so many sections
ABREAST_PX = 3.0  # courses are points some pixels apart
PAIR_WIDTHS = 1.5  # two hairs side by side are wider together than this many usual hairs
OUTSIDE_SHARE = 0.5  # of a stretch that may lie outside the picture
CLAIM_WIDTHS = 1.0  # an end of another hair within this many hair widths of a stretch: that hair goes on there
ROUGH_WIDTHS = 0.15  # mean departure from a smooth course, in hair widths


def parted(paths: tuple[HairPath, ...], mask: NDArray[np.bool_], min_length_px: float) -> tuple[HairPath, ...]:
    """`paths` with the hairs added that run beside them over at least `min_length_px`; `mask` is bool (height, width)."""
    if not paths:
        return ()
    counts = np.array([len(path.points) for path in paths])
    stops = np.cumsum(counts)
    owner = np.repeat(np.arange(len(paths)), counts)
    points = np.concatenate([path.points for path in paths])
    normal = normals(points, owner)
    rough = rough_widths(paths)
    usual = float(np.percentile(rough, USUAL_PERCENTILE))
    own = rough.copy()
    half = LOOK_WIDTHS * np.maximum(own, usual)[owner]
    left, right = mask_edges(points, normal, half, mask.astype(np.float32), LOOK_STEP_PX)
    width = right - left
    for k, stop in enumerate(stops):
        mine = width[stop - counts[k] : stop]
        mine = mine[np.isfinite(mine)]
        if len(mine) >= MIN_SECTIONS:
            own[k] = min(own[k], float(np.percentile(mine, OWN_PERCENTILE)))
    usual = float(np.percentile(own, USUAL_PERCENTILE))
    own = np.maximum(np.where(own > GROWN_WIDTHS * usual, usual, own), 1.0)
    share = EXCESS_WIDTHS + EXCESS_IRREGULAR * irregularity(width, stops, counts)
    excess = np.nan_to_num(width - own[owner])
    candidates = np.flatnonzero(excess > EXCESS_MIN_PX)
    excess[candidates] -= _others(candidates, points, normal, owner, own, left, right)
    found: list[HairPath] = []
    tips = np.concatenate([[path.points[0], path.points[-1]] for path in paths])
    for k, stop in enumerate(stops):
        span = slice(stop - counts[k], stop)
        least = max(share * max(float(own[k]), THIN_SHARE * usual), EXCESS_MIN_PX)
        wide = (excess[span] > least) & (width[span] > PAIR_WIDTHS * usual)
        length = max(min_length_px, STRETCH_WIDTHS * usual)
        others = np.delete(tips, [2 * k, 2 * k + 1], axis=0)
        for points in _beside(paths[k], float(own[k]), wide, left[span], right[span], normal[span], length):
            last = np.array([mask.shape[1] - 1, mask.shape[0] - 1])
            if ((points < 0) | (points > last)).any(1).mean() > OUTSIDE_SHARE:
                continue  # along the border the mask is continued outwards, and seems wide
            points = np.clip(points, 0, last)
            if _goes_on(points, others, CLAIM_WIDTHS * float(own[k])) or _known(points, found, float(own[k])):
                continue
            widths = np.full(len(points), own[k])
            along = float(np.hypot(*np.diff(points, axis=0).T).sum())
            found.append(replace(paths[k], points=points, widths_px=widths, diameter_px=float(own[k]), length_px=along))
    return (*paths, *found)


def _goes_on(points: Floats, tips: Floats, near: float) -> bool:
    """Whether the stretch is where another hair, of which one of `tips` (n, 2) is the end, goes on unseen."""
    return bool(len(tips)) and bool((cKDTree(points).query(tips)[0] < near).any())


def _known(points: Floats, found: list[HairPath], near: float) -> bool:
    """Whether most of the stretch is one that was found from the other side."""
    return any((cKDTree(path.points).query(points)[0] < near).mean() > 0.5 for path in found)


def _others(sections: Ints, points: Floats, normal: Floats, owner: Ints, own: Floats, left: Floats, right: Floats) -> Floats:
    """Widths together, px, of the other hairs found in the run of mask of each of `sections`, wherever in it their courses were laid."""
    if not len(sections):
        return np.zeros(0)
    reach = float(np.maximum(right[sections], -left[sections]).max()) + ABREAST_PX
    near = cKDTree(points[sections]).sparse_distance_matrix(cKDTree(points), reach, output_type="coo_matrix")
    row, b = near.row.astype(np.int64), near.col.astype(np.int64)
    a = sections[row]
    delta = points[b] - points[a]
    across = (delta * normal[a]).sum(1)
    along = np.abs(delta[:, 0] * normal[a, 1] - delta[:, 1] * normal[a, 0])
    present = (across > left[a]) & (across < right[a]) & (along <= own[owner[b]] / 2 + ABREAST_PX) & (owner[a] != owner[b])
    met = np.unique(row[present] * len(own) + owner[b[present]])
    return np.asarray(np.bincount(met // len(own), own[met % len(own)], minlength=len(sections)), float)


def _beside(
    path: HairPath, own: float, wide: NDArray[np.bool_], left: Floats, right: Floats, normal: Floats, min_length_px: float
) -> list[Floats]:
    """Courses, float64 (n, 2), of the hairs that run beside one path where its sections are `wide`."""
    index = np.flatnonzero(wide)
    if len(index) < 2:
        return []
    step = path.length_px / max(len(path.points) - 1, 1)
    breaks = np.flatnonzero(np.diff(index) > GAP_SECTIONS + 1)
    begins, ends = index[np.concatenate([[0], breaks + 1])], index[np.concatenate([breaks, [len(index) - 1]])]
    courses = []
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        if (end - begin + 1) * step < min_length_px:
            continue
        stretch = slice(begin, end + 1)
        to_right = np.nan_to_num(right[stretch]).sum() > -np.nan_to_num(left[stretch]).sum()
        middle = right[stretch] - own / 2 if to_right else left[stretch] + own / 2
        known = np.flatnonzero(np.isfinite(middle))
        if len(known) < MIN_SECTIONS:
            continue
        # a hair beside a hair parts from it smoothly; the rim of a thicket does not
        fit = np.polynomial.Polynomial.fit(known, middle[known], 2)
        if np.abs(middle[known] - fit(known)).mean() > ROUGH_WIDTHS * own:
            continue
        courses.append(path.points[stretch] + normal[stretch] * fit(np.arange(end - begin + 1))[:, None])
    return courses
