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

from runtime.analysis.courses import Courses, courses_of, percentiles, runs
from runtime.analysis.hairs import HairPath
from runtime.analysis.sections import MIN_SECTIONS, mask_edges, normals
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
PIXEL_JUMP_PX = 0.5  # the width of a perfect mask jumps by as much
MAD_TO_SD = 1.48


def parted(paths: tuple[HairPath, ...], mask: NDArray[np.bool_], min_length_px: float) -> tuple[HairPath, ...]:
    """`paths` with the hairs added that run beside them over at least `min_length_px`; `mask` is bool (height, width)."""
    if not paths:
        return ()
    hairs = courses_of(paths)
    points, owner = hairs.points, hairs.owner
    normal = normals(points, owner)
    rough = hairs.rough_widths()
    usual = float(np.percentile(rough, USUAL_PERCENTILE))
    left, right = mask_edges(points, normal, LOOK_WIDTHS * np.maximum(rough, usual)[owner], mask.astype(np.float32), LOOK_STEP_PX)
    width = right - left
    own = own_widths(width, hairs, rough, OWN_PERCENTILE)
    usual = float(np.percentile(own, USUAL_PERCENTILE))
    own = np.maximum(np.where(own > GROWN_WIDTHS * usual, usual, own), 1.0)
    share = EXCESS_WIDTHS + EXCESS_IRREGULAR * irregularity(width, owner, len(hairs))
    least = np.maximum(share * np.maximum(own, THIN_SHARE * usual), EXCESS_MIN_PX)[owner]
    excess = np.nan_to_num(width - own[owner])
    length = max(min_length_px, STRETCH_WIDTHS * usual)
    # other hairs only ever make a stretch shorter: they are asked for only where one is long enough without them
    wide = (excess > least) & (width > PAIR_WIDTHS * usual)
    first, last = _long_runs(wide, hairs, length)
    if not len(first):
        return paths
    index = np.concatenate([np.arange(a, b + 1) for a, b in zip(first.tolist(), last.tolist(), strict=True)])
    candidates = index[wide[index]]
    excess[candidates] -= _others(candidates, points, normal, owner, own, left, right)
    wide[:] = False
    wide[candidates] = excess[candidates] > least[candidates]
    found: list[HairPath] = []
    tips = points[np.stack([hairs.offsets[:-1], hairs.offsets[1:] - 1], axis=1)]
    corner = np.array([mask.shape[1] - 1, mask.shape[0] - 1])
    for begin, end in zip(*_long_runs(wide, hairs, length), strict=True):
        k, stretch = int(owner[begin]), slice(int(begin), int(end) + 1)
        beside = _beside(points[stretch], float(own[k]), left[stretch], right[stretch], normal[stretch])
        if beside is None or ((beside < 0) | (beside > corner)).any(1).mean() > OUTSIDE_SHARE:
            continue  # along the border the mask is continued outwards, and seems wide
        beside = np.clip(beside, 0, corner)
        others = np.delete(tips, k, axis=0).reshape(-1, 2)
        if _goes_on(beside, others, CLAIM_WIDTHS * float(own[k])) or _known(beside, found, float(own[k])):
            continue
        widths = np.full(len(beside), own[k])
        along = float(np.hypot(*np.diff(beside, axis=0).T).sum())
        found.append(replace(paths[k], points=beside, widths_px=widths, diameter_px=float(own[k]), length_px=along))
    return (*paths, *found)


def own_widths(width: Floats, hairs: Courses, rough: Floats, percent: float) -> Floats:
    """Each hair's own width in the mask, px, float64 (hairs,): this percentile of its sections' `width` (n,), at most its `rough` one.

    A hair of which fewer than MIN_SECTIONS sections have a width keeps its rough one.
    """
    known = np.bincount(hairs.owner[np.isfinite(width)], minlength=len(hairs)) >= MIN_SECTIONS
    return np.where(known, np.fmin(rough, percentiles(width, hairs.owner, len(hairs), percent)), rough)


def irregularity(width: Floats, owner: Ints, hairs: int) -> float:
    """By how much of itself the mask's width jumps from section to section: the middle hair's robust spread of differences."""
    known = np.isfinite(width)
    width, owner = width[known], owner[known]
    same = owner[2:] == owner[:-2]
    jump = percentiles(np.abs(width[2:] - width[:-2])[same], owner[2:][same], hairs, 50.0)
    middle = percentiles(width, owner, hairs, 50.0)
    enough = np.bincount(owner, minlength=hairs) >= MIN_SECTIONS
    spread = np.maximum(MAD_TO_SD * jump[enough] - PIXEL_JUMP_PX, 0.0) / middle[enough]
    return float(np.median(spread)) if len(spread) else 0.0


def _long_runs(wide: NDArray[np.bool_], hairs: Courses, length_px: float) -> tuple[Ints, Ints]:
    """(first, last) point of each stretch of `wide` points of at least `length_px`."""
    first, last = runs(wide, hairs.owner, GAP_SECTIONS)
    long = (last - first + 1) * hairs.spacing_px[hairs.owner[first]] >= length_px
    return first[long], last[long]


def _goes_on(points: Floats, tips: Floats, near: float) -> bool:
    """Whether the stretch is where another hair, of which one of `tips` (n, 2) is the end, goes on unseen."""
    return bool((_distances(points, tips) < near).any())


def _known(points: Floats, found: list[HairPath], near: float) -> bool:
    """Whether most of the stretch is one that was found from the other side."""
    return any((_distances(points, path.points).min(1) < near).mean() > 0.5 for path in found)


def _distances(one: Floats, other: Floats) -> Floats:
    """From each of the points `one` (n, 2) to each of `other` (m, 2), float64 (n, m)."""
    return np.asarray(np.hypot(one[:, None, 0] - other[:, 0], one[:, None, 1] - other[:, 1]))


def _others(sections: Ints, points: Floats, normal: Floats, owner: Ints, own: Floats, left: Floats, right: Floats) -> Floats:
    """Widths together, px, of the other hairs found in the run of mask of each of `sections`, wherever in it their courses were laid."""
    reach = float(np.maximum(right[sections], -left[sections]).max()) + ABREAST_PX
    near = cKDTree(points[sections]).sparse_distance_matrix(cKDTree(points), reach, output_type="coo_matrix")
    row, b = near.row.astype(np.int64), near.col.astype(np.int64)
    foreign = owner[sections][row] != owner[b]
    row, b = row[foreign], b[foreign]
    a = sections[row]
    delta = points[b] - points[a]
    across = (delta * normal[a]).sum(1)
    along = np.abs(delta[:, 0] * normal[a, 1] - delta[:, 1] * normal[a, 0])
    present = (across > left[a]) & (across < right[a]) & (along <= own[owner[b]] / 2 + ABREAST_PX)
    met = np.unique(row[present] * len(own) + owner[b[present]])
    return np.asarray(np.bincount(met // len(own), own[met % len(own)], minlength=len(sections)), float)


def _beside(points: Floats, own: float, left: Floats, right: Floats, normal: Floats) -> Floats | None:
    """The course, float64 (n, 2), of the hair that runs beside a hair's stretch `points` (n, 2), or None where none can be laid."""
    to_right = np.nan_to_num(right).sum() > -np.nan_to_num(left).sum()
    middle = right - own / 2 if to_right else left + own / 2
    known = np.isfinite(middle)
    if np.count_nonzero(known) < MIN_SECTIONS:
        return None
    # a hair beside a hair parts from it smoothly; the rim of a thicket does not
    along = np.linspace(-1.0, 1.0, len(middle))
    design = np.stack([np.ones_like(along), along, along**2], axis=1)
    seen = design[known]
    fit = design @ np.linalg.solve(seen.T @ seen, seen.T @ middle[known])
    if np.abs(middle[known] - fit[known]).mean() > ROUGH_WIDTHS * own:
        return None
    return np.asarray(points + normal * fit[:, None])
