"""Hairs that lie side by side: where the mask is wider than the hairs found in it, another hair runs along, and is split off.

Two hairs from one ostium often leave the skin together and part slowly, or one ends beside another: the skeleton then shows one
line. What tells them apart is width: hair keeps its width over a frame, so a stretch that is wider than its own hair, and not by
hairs already found, holds another.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.breadth import MIN_SECTIONS, Breadth, single_widths, usual_width
from runtime.analysis.courses import Courses, runs
from runtime.analysis.hairs import HairPath
from runtime.analysis.skeleton import Floats, Ints

Box = tuple[float, float, float, float]  # left, top, right, bottom

EXCESS_IRREGULAR = 4.0  # the share is larger by this many times the mask's irregularity
EXCESS_WIDTHS = 0.6  # a stretch wider than its hair by more than this share of a hair's width holds another
EXCESS_MIN_PX = 2.5  # … and this much: the mask's edges jump by a pixel each
THIN_SHARE = 0.8  # a thin hair's neighbour is most likely a hair of the usual width
STRETCH_WIDTHS = 2.5  # shorter stretches are where hairs cross or touch
OWN_PERCENTILE = 15.0  # of a hair's sections: the mask is only ever wider than its hair
GAP_SECTIONS = 2  # a stretch may be interrupted by so many sections
ABREAST_PX = 3.0  # courses are points some pixels apart
PAIR_WIDTHS = 1.5  # two hairs side by side are wider together than this many usual hairs
OUTSIDE_SHARE = 0.5  # of a stretch that may lie outside the picture
CLAIM_WIDTHS = 1.0  # an end of another hair within this many hair widths of a stretch: that hair goes on there
CELL_PX = 16.0  # points are looked up by square cells of this size
LEAP_PX = 8.0  # between points of a course, which are about 4 px apart
ROUGH_WIDTHS = 0.15  # mean departure from a smooth course, in hair widths


def running_beside(paths: tuple[HairPath, ...], breadth: Breadth, shape: tuple[int, ...], min_length_px: float) -> tuple[HairPath, ...]:
    """The hairs that run beside those of `paths`, whose sections are `breadth`, over at least `min_length_px`.

    `shape` is the picture's height and width.
    """
    hairs, width = breadth.hairs, breadth.width
    own = breadth.own(OWN_PERCENTILE)
    usual = usual_width(own)
    own = single_widths(own, usual)
    share = EXCESS_WIDTHS + EXCESS_IRREGULAR * breadth.irregularity()
    least = np.maximum(share * np.maximum(own, THIN_SHARE * usual), EXCESS_MIN_PX)[hairs.owner]
    excess = np.nan_to_num(width - own[hairs.owner])
    length = max(min_length_px, STRETCH_WIDTHS * usual)
    # other hairs only ever make a stretch shorter: they are asked for only where one is long enough without them
    wide = (excess > least) & (width > PAIR_WIDTHS * usual)
    candidates = _stretches(*_long_runs(wide, hairs, length))[0]
    candidates = candidates[wide[candidates]]
    if not len(candidates):
        return ()
    excess[candidates] -= _others(candidates, breadth, own)
    wide[:] = False
    wide[candidates] = excess[candidates] > least[candidates]
    found: list[HairPath] = []
    boxes: list[Box] = []
    tips = hairs.points[np.stack([hairs.offsets[:-1], hairs.offsets[1:] - 1], axis=1).ravel()]
    for k, points in _beside(*_long_runs(wide, hairs, length), breadth, own, np.array([shape[1] - 1, shape[0] - 1])):
        near = CLAIM_WIDTHS * float(own[k])
        ends = _within(tips, points, near)
        if _goes_on(points, tips[ends[ends // 2 != k]], near) or _known(points, found, boxes, near):
            continue
        steps = np.hypot(*np.diff(points, axis=0).T)
        if steps.max() > LEAP_PX:  # on the outside of a sharp bend the sections fan out: no hair bends so
            continue
        along = float(steps.sum())
        boxes.append(_box(points))
        found.append(replace(paths[k], points=points, widths_px=np.full(len(points), own[k]), diameter_px=float(own[k]), length_px=along))
    return tuple(found)


def _long_runs(wide: NDArray[np.bool_], hairs: Courses, length_px: float) -> tuple[Ints, Ints]:
    """(first, last) point of each stretch of `wide` points of at least `length_px`."""
    first, last = runs(wide, hairs.owner, GAP_SECTIONS)
    long = (last - first + 1) * hairs.spacing_px[hairs.owner[first]] >= length_px
    return first[long], last[long]


def _stretches(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """(the points of all stretches, the stretch each belongs to)."""
    size = last - first + 1
    which = np.repeat(np.arange(len(first)), size)
    return np.arange(len(which)) + (first - np.cumsum(size) + size)[which], which


def _goes_on(points: Floats, tips: Floats, near: float) -> bool:
    """Whether the stretch is where another hair, of which one of `tips` (n, 2) is the end, goes on unseen."""
    return bool((_distances(points, tips) < near).any())


def _known(points: Floats, found: list[HairPath], boxes: list[Box], near: float) -> bool:
    """Whether most of the stretch is one that was found from the other side; `boxes` are those around the courses of `found`."""
    left, top, right, bottom = _box(points)
    for path, (first, upper, last, lower) in zip(found, boxes, strict=True):
        apart = first - near >= right or left >= last + near or upper - near >= bottom or top >= lower + near
        if not apart and (_distances(points, path.points).min(1) < near).mean() > 0.5:
            return True
    return False


def _box(points: Floats) -> Box:
    """Left, top, right and bottom of the upright box around `points` (n, 2)."""
    return (*points.min(0).tolist(), *points.max(0).tolist())


def _within(places: Floats, points: Floats, near: float) -> Ints:
    """Which of `places` (m, 2) lie in the upright box around `points` and `near` px more: what is elsewhere need not be measured."""
    return np.flatnonzero(((places > points.min(0) - near) & (places < points.max(0) + near)).all(1))


def _distances(one: Floats, other: Floats) -> Floats:
    """From each of the points `one` (n, 2) to each of `other` (m, 2), float64 (n, m)."""
    return np.asarray(np.hypot(one[:, None, 0] - other[:, 0], one[:, None, 1] - other[:, 1]))


def _others(sections: Ints, breadth: Breadth, own: Floats) -> Floats:
    """Widths together, px, of the other hairs found in the run of mask of each of `sections`, wherever in it their courses were laid."""
    owner = breadth.hairs.owner
    left, right = breadth.left[sections], breadth.right[sections]
    x, y = np.ascontiguousarray(breadth.hairs.points.T)
    across_x, across_y = np.ascontiguousarray(breadth.normal[sections].T)
    here_x, here_y = x[sections], y[sections]
    reach = own / 2 + ABREAST_PX
    # the upright box around each run of mask, so wide as the widest hair asks for
    middle, half, most = (left + right) / 2, (right - left) / 2, float(reach.max())
    middle_x, half_x = here_x + across_x * middle, np.abs(across_x) * half + np.abs(across_y) * most
    middle_y, half_y = here_y + across_y * middle, np.abs(across_y) * half + np.abs(across_x) * most
    row, b = _in_boxes(x, y, (middle_x - half_x, middle_y - half_y), (middle_x + half_x, middle_y + half_y))
    foreign = owner[sections][row] != owner[b]
    row, b = row[foreign], b[foreign]
    ahead, aside, normal_x, normal_y = x[b] - here_x[row], y[b] - here_y[row], across_x[row], across_y[row]
    across = ahead * normal_x + aside * normal_y
    present = (across > left[row]) & (across < right[row]) & (np.abs(ahead * normal_y - aside * normal_x) <= reach[owner[b]])
    met = np.zeros((len(sections), len(own)), np.bool_)
    met[row[present], owner[b[present]]] = True
    section, hair = np.nonzero(met)
    return np.asarray(np.bincount(section, own[hair], minlength=len(sections)), float)


def _in_boxes(x: Floats, y: Floats, low: tuple[Floats, Floats], high: tuple[Floats, Floats]) -> tuple[Ints, Ints]:
    """(box, point) of at least all pairs in which the point, `x` and `y` (n,), lies in the upright box from `low` to `high`, (m,) each."""
    left, top = int(x.min() // CELL_PX), int(y.min() // CELL_PX)
    column, row = (x // CELL_PX).astype(np.int64) - left, (y // CELL_PX).astype(np.int64) - top
    columns, rows = int(column.max()) + 1, int(row.max()) + 1
    cell = row * columns + column
    order = np.argsort(cell, kind="stable")
    begins = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=columns * rows))])
    first, last = (np.clip((edge[0] // CELL_PX).astype(np.int64) - left, 0, columns - 1) for edge in (low, high))
    above, below = (np.clip((edge[1] // CELL_PX).astype(np.int64) - top, 0, rows - 1) for edge in (low, high))
    # the cells of a box in one row lie one after the other, and so do the points in them
    line, box = _stretches(above, below)
    line *= columns
    place, which = _stretches(begins[line + first[box]], begins[line + last[box] + 1] - 1)
    return box[which], order[place]


def _beside(first: Ints, last: Ints, breadth: Breadth, own: Floats, corner: Ints) -> list[tuple[int, Floats]]:
    """(hair, the course, float64 (n, 2), of the one beside it) for each of the stretches of sections in which such a course can be laid.

    `corner` is the x and y of the picture's last pixel.
    """
    at, which = _stretches(first, last)
    left, right, owner = breadth.left[at], breadth.right[at], breadth.hairs.owner[at]
    count, size = len(first), last - first + 1
    known = np.isfinite(left)
    to_right = np.bincount(which[known], (right + left)[known], minlength=count) > 0
    middle = np.where(to_right[which], right - own[owner] / 2, left + own[owner] / 2)
    # a hair beside a hair parts from it smoothly, as a parabola; the rim of a thicket does not
    along = 2.0 * (at - first[which]) / np.maximum(size - 1, 1)[which] - 1.0
    powers = np.stack([np.ones_like(along), along, along**2])
    sums = [np.bincount(which[known], (along**k)[known], minlength=count) for k in range(5)]
    normal = np.stack([np.stack([sums[i + j] for j in range(3)], axis=1) for i in range(3)], axis=1)
    target = np.stack([np.bincount(which[known], (power * middle)[known], minlength=count) for power in powers], axis=1)
    fitted = sums[0] >= MIN_SECTIONS
    normal[~fitted] = np.eye(3)
    coefficients = np.linalg.solve(normal, target[:, :, None])[:, :, 0]
    fit = (coefficients[which].T * powers).sum(0)
    departure = np.bincount(which[known], np.abs(middle - fit)[known], minlength=count)
    smooth = fitted & (departure <= ROUGH_WIDTHS * own[breadth.hairs.owner[first]] * sums[0])
    points = breadth.hairs.points[at] + breadth.normal[at] * fit[:, None]
    # along the border the mask is continued outwards, and seems wide
    outside = np.bincount(which, ((points < 0) | (points > corner)).any(1), minlength=count)
    stops = np.cumsum(size)
    return [
        (int(owner[stops[k] - 1]), np.clip(points[stops[k] - size[k] : stops[k]], 0, corner))
        for k in np.flatnonzero(smooth & (outside <= OUTSIDE_SHARE * size)).tolist()
    ]
