"""Where hair grows from: which end of each hair is its root, and which roots share one opening of the skin (ostium).

No single cue decides. A root is dark and blurred because the hair goes on below the surface, hairs of one follicular unit meet
there, a hair is thicker at its root than at its tip, and neighbouring hairs lean the same way. Each cue gives evidence as
log odds; hairs that are sure tell the others the common direction of growth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from runtime.analysis.courses import Courses, courses_of, percentiles
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.openings import opening_odds, opening_peaks
from runtime.analysis.segmentation import Segmentation
from runtime.analysis.skeleton import Floats, Ints

# a follicular unit of 0.3 mm is 4 widths of terminal hair; an end found may lie a width from its root, on either side
UNIT_WIDTHS = 7.0
JOIN_WIDTHS = 15.0  # how far from its root a hair may be run into by another of its unit …
JOIN_COSINE = 0.9  # … heading the same way: such hairs leave the skin together
BORDER_WIDTHS = 0.75  # an end nearer to the border than this is taken to leave the picture
BORDER_PX = 3.0
END_POINTS = 5  # the points at each end over which its direction and width are taken
HALO_WEIGHT = 0.12  # log odds per grey level by which the skin beyond the end is darker than beside it
HALO_LIMIT = 3.0
HALO_BLUR_PX = 1.5
TAPER_WEIGHT = 1.5  # per unit of the logarithm of width at this end over width at the other
TAPER_LIMIT = 1.5
MEETING_ODDS = 2.0  # ends of other hairs meet here
GROWTH_WEIGHT = 3.0  # how much a wholly common direction of growth counts
PRIOR_ODDS = -1.0
# where the segmenter tells openings: logistic regression of "is a root" on rendered frames; taper, opening here, opening at the other end
OPENING_WEIGHTS = np.array([0.4, 1.2, -0.2])
OPENING_GROWTH, OPENING_PRIOR = 3.1, 1.2  # a prior for balanced counts: of two roots near together both may hide, of one neither
EMPTY_LEAST = 0.5  # probability of an opening that no hair grows from
EMPTY_WIDTHS = 2.0  # and how many usual widths it is away from any hair
NO_HAIR_WIDTH_PX = 8.0  # the usual width where there is no hair


@dataclass(frozen=True, eq=False)
class _HairEnds:
    """Both ends of every hair, first its first, then its last: arrays over 2·hairs."""

    position: Floats
    outward: Floats
    width: Floats
    inside: NDArray[np.bool_]


def find_follicles(
    paths: tuple[HairPath, ...], image: NDArray[np.uint8], segmentation: Segmentation
) -> tuple[tuple[HairPath, ...], tuple[Ostium, ...]]:
    """Hairs with their courses turned to begin at the root and `rooted` set, and the openings they grow from.

    `image` is uint8 (height, width, 3) BGR. Hair `i` of the result is hair `i` of `paths`. Openings without a hair are found where
    the segmenter tells openings, and come last.
    """
    heat = segmentation.ostium_probability
    if not paths:
        return (), () if heat is None else _empty(heat, np.zeros((0, 2)), NO_HAIR_WIDTH_PX)
    height, width = segmentation.mask.shape
    courses = courses_of(paths)
    ends = _ends(courses, width, height)
    empty = () if heat is None else _empty(heat, courses.points, float(np.median(ends.width)))
    odds = _odds(ends, image) if heat is None else _odds_by_openings(ends, heat)
    both = ends.inside.reshape(-1, 2)
    mine = np.where(both, odds.reshape(-1, 2), -np.inf)
    root_side = mine.argmax(1)
    rooted = mine.max(1) > 0
    turn = np.where(rooted, root_side == 1, both[:, 0] & ~both[:, 1])
    turned = []
    for path, way, root in zip(paths, np.where(turn, -1, 1).tolist(), rooted.tolist(), strict=True):
        turned.append(replace(path, points=path.points[::way], widths_px=path.widths_px[::way], rooted=root))
    roots = np.flatnonzero(rooted)
    if not len(roots):
        return tuple(turned), empty
    chosen = 2 * roots + root_side[roots]
    rooted_hairs = courses_of([turned[k] for k in roots.tolist()])
    return tuple(turned), _ostia(ends.position[chosen], ends.outward[chosen], ends.width[chosen], roots, rooted_hairs) + empty


def _empty(heat: NDArray[np.float32], hair: Floats, usual_px: float) -> tuple[Ostium, ...]:
    """Openings that no hair is near to, in reading order. `hair` is float64 (n, 2), all points of all hairs."""
    peaks = opening_peaks(heat, EMPTY_LEAST)
    if len(peaks) and len(hair):
        peaks = peaks[cKDTree(hair).query(peaks, distance_upper_bound=EMPTY_WIDTHS * usual_px)[0] == np.inf]
    return tuple(Ostium(float(x), float(y), ()) for x, y in sorted(peaks.tolist(), key=lambda at: (at[1], at[0])))


def _ends(hairs: Courses, width: int, height: int) -> _HairEnds:
    first, last, hair = hairs.offsets[:-1], hairs.offsets[1:] - 1, np.arange(len(hairs))
    reach = np.minimum(END_POINTS, last - first)
    ends = np.stack([first, last], axis=1).ravel()
    way = hairs.points[ends] - hairs.points[np.stack([first + reach, last - reach], axis=1).ravel()]
    outward = way / np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-9)[:, None]
    steps = np.arange(2 * END_POINTS)
    near = np.stack([first[:, None] + steps, last[:, None] - steps], axis=1)
    beyond = steps > (last - first)[:, None, None]
    widths = np.where(beyond, np.nan, hairs.widths_px[np.where(beyond, 0, near)])
    group = np.repeat(np.arange(2 * len(hairs)), len(steps))
    wide = percentiles(widths.ravel(), group, 2 * len(hairs), 50.0)
    wide = np.where(np.isfinite(wide), wide, hairs.rough_widths()[np.repeat(hair, 2)])
    margin = np.maximum(BORDER_WIDTHS * wide, BORDER_PX)
    at = hairs.points[ends]
    x, y = at[:, 0], at[:, 1]
    inside = (x > margin) & (x < width - 1 - margin) & (y > margin) & (y < height - 1 - margin)
    return _HairEnds(at, outward, wide, inside)


def _odds(ends: _HairEnds, image: NDArray[np.uint8]) -> Floats:
    """Log odds of every end being a root, float64 (ends,)."""
    other = np.arange(len(ends.width)) ^ 1
    taper = np.clip(TAPER_WEIGHT * np.log(ends.width / ends.width[other]), -TAPER_LIMIT, TAPER_LIMIT)
    odds = PRIOR_ODDS + halo_odds(ends.position, ends.outward, ends.width, image) + taper
    odds = odds + MEETING_ODDS * _meeting(ends)
    return np.asarray(odds + GROWTH_WEIGHT * _with_growth(ends, odds))


def _odds_by_openings(ends: _HairEnds, heat: NDArray[np.float32]) -> Floats:
    """As `_odds`, where the segmenter says how likely an opening is at each pixel: that is worth more than all other cues together."""
    other = np.arange(len(ends.width)) ^ 1
    taper = np.clip(np.log(ends.width / ends.width[other]), -TAPER_LIMIT, TAPER_LIMIT)
    opening = opening_odds(heat, ends.position, ends.outward, ends.width)
    odds = np.stack([taper, opening, opening[other]], axis=1) @ OPENING_WEIGHTS + OPENING_PRIOR
    return np.asarray(odds + OPENING_GROWTH * _with_growth(ends, odds))


def _with_growth(ends: _HairEnds, odds: Floats) -> Floats:
    """How far each end points where the roots of the frame do, −1…1, float64 (ends,): every hair votes once, by its likelier root."""
    other = np.arange(len(ends.width)) ^ 1
    vote = np.where(ends.inside, np.tanh(odds / 2), 0.0)
    vote = np.where(vote >= vote[other], np.maximum(vote, 0.0), 0.0)
    common = (vote[:, None] * ends.outward).sum(0) / (vote.sum() + 2.0)  # two hairs' worth of doubt
    return np.asarray(ends.outward @ common)


def halo_odds(position: Floats, outward: Floats, width: Floats, image: NDArray[np.uint8]) -> Floats:
    """Evidence from the skin just beyond each end: dark where the hair goes on below the surface."""
    grey = np.asarray(cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (0, 0), HALO_BLUR_PX), np.uint8)
    side = np.stack([-outward[:, 1], outward[:, 0]], axis=1)
    ahead = np.array([1.0, 1.3, 1.6])
    beyond = position[:, None] + outward[:, None] * (ahead * np.maximum(width, 4.0)[:, None])[:, :, None]
    beside = np.concatenate(
        [
            position[:, None] + side[:, None] * s * np.maximum(width, 4.0)[:, None, None] * np.array([2.0, 3.0])[:, None]
            for s in (-1.0, 1.0)
        ],
        axis=1,
    )
    darker: Floats = np.median(_at(grey, beside), axis=1) - np.median(_at(grey, beyond), axis=1)
    return np.asarray(np.clip(HALO_WEIGHT * (darker - 6.0), -HALO_LIMIT, HALO_LIMIT))


def _at(grey: NDArray[np.uint8], points: Floats) -> Floats:
    columns = np.clip(np.rint(points[..., 0]).astype(np.int64), 0, grey.shape[1] - 1)
    rows = np.clip(np.rint(points[..., 1]).astype(np.int64), 0, grey.shape[0] - 1)
    return np.asarray(grey[rows, columns].astype(np.float64))


def _meeting(ends: _HairEnds) -> NDArray[np.bool_]:
    """Ends inside the picture at which another hair's end is near, pointing a similar way."""
    met = np.zeros(len(ends.width), bool)
    pairs = cKDTree(ends.position).query_pairs(UNIT_WIDTHS * float(ends.width.max()), output_type="ndarray")
    a, b = pairs[:, 0], pairs[:, 1]
    near = np.hypot(*(ends.position[a] - ends.position[b]).T) < UNIT_WIDTHS * np.maximum(ends.width[a], ends.width[b])
    near &= (a // 2 != b // 2) & ends.inside[a] & ends.inside[b]
    near &= (ends.outward[a] * ends.outward[b]).sum(1) > 0.3
    met[a[near]] = True
    met[b[near]] = True
    return met


def _ostia(position: Floats, outward: Floats, width: Floats, hairs: Ints, courses: Courses) -> tuple[Ostium, ...]:
    """Openings, in reading order: root ends within one follicular unit's size of one another, or that run into one another."""
    n = len(hairs)
    pairs = cKDTree(position).query_pairs(UNIT_WIDTHS * float(width.max()), output_type="ndarray")
    size = UNIT_WIDTHS * np.maximum(float(np.median(width)), np.minimum(width[pairs[:, 0]], width[pairs[:, 1]]))
    pairs = pairs[np.hypot(*(position[pairs[:, 0]] - position[pairs[:, 1]]).T) <= size]
    joins, into = _running_into(position, outward, width, courses)
    first, second = np.concatenate([pairs[:, 0], joins]), np.concatenate([pairs[:, 1], into])
    count, unit = connected_components(coo_matrix((np.ones(len(first)), (first, second)), shape=(n, n)), directed=False)
    # a hair that runs into another is lost before its root: the opening is where the others end
    ending = np.ones(n, np.bool_)
    ending[joins] = False
    ending |= np.bincount(unit[ending], minlength=count)[unit] == 0
    middle = [np.bincount(unit[ending], position[ending, axis], minlength=count) for axis in (0, 1)] / np.bincount(
        unit[ending], minlength=count
    )
    members = np.split(hairs[np.argsort(unit, kind="stable")], np.cumsum(np.bincount(unit, minlength=count))[:-1])
    ostia = [Ostium(x, y, tuple(own.tolist())) for x, y, own in zip(*middle.tolist(), members, strict=True)]
    return tuple(sorted(ostia, key=lambda o: (o.y, o.x)))


def _running_into(position: Floats, outward: Floats, width: Floats, courses: Courses) -> tuple[Ints, Ints]:
    """(hairs, the hairs into which they run towards the root): their root ends lie on another's course and head for its root."""
    points, owner, index = courses.points, courses.owner, np.arange(len(courses.points))
    along = points[np.minimum(index + 1, courses.offsets[owner + 1] - 1)] - points[np.maximum(index - 1, courses.offsets[owner])]
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    arc = (index - courses.offsets[owner]) * courses.spacing_px[owner]
    # only what lies near a root is run into
    low = np.flatnonzero(arc <= JOIN_WIDTHS * width[owner])
    near = cKDTree(position).sparse_distance_matrix(cKDTree(points[low]), float(width.max()), output_type="ndarray")
    a, b = near["i"], low[near["j"]]
    onto = (owner[b] != a) & (near["v"] <= np.maximum(width[a], width[owner[b]]))
    onto &= (outward[a] * -along[b]).sum(1) > JOIN_COSINE
    return a[onto], owner[b[onto]]
