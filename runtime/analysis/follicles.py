"""Where hair grows from: which openings of the skin (ostia) a frame shows, and which hairs grow from each.

Roots that lie near one another share one opening. Where a hair covers another's root no end tells of it, only the segmenter's heat map
does. How many openings there are is the sum of what each place is likely to be one, for what is lost on the one side is found on the
other; the likeliest places are taken for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from runtime.analysis.courses import Courses, courses_of
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.openings import Heat, arms, log_odds
from runtime.analysis.roots import HairEnds, growth_direction, hair_ends, root_probability
from runtime.analysis.segmentation import Mask, Segmentation
from runtime.analysis.skeleton import Floats, Ints

UNIT_WIDTHS = 5.0  # a follicular unit of 0.3 mm is 4 widths of terminal hair; an end found may lie a width from its root, on either side
ROOT_LEAST = 0.08  # ends less likely to be roots than this are none
MEMBER_LEAST = 0.01  # beside an opening that other hairs show, an end is a root from this probability on
PEAK_LEAST = 0.08
PEAK_WIDTHS = 3.5  # nearer to an end that may be a root, a peak of the heat map is that root's
PASSING_WIDTHS = 3.0  # hair that passes a peak so near may hide a root there; farther from any hair it is an empty opening
PEAK_RING_WIDTHS = 2.5
HAIRS_MOST = 100  # the more hairs, the more roots they hide; frames with more than that were not measured
PEAK_EVIDENCE = ("heat", "hair around", "hairs", "hair along growth", "spread")
PEAK_WEIGHTS, PEAK_PRIOR = np.array([1.676, 3.915, 1.219, 2.233, -0.225]), -5.280  # measured together with those of roots.py
SPREAD_LEAST, SPREAD_SCALE = 0.1, 20.0
EMPTY_LEAST = 0.5  # probability of an opening that no hair grows from


@dataclass(frozen=True, eq=False)
class _Places:
    """Where an opening may be: arrays over places. `unit` int64 (ends,) is the place each end belongs to, −1 for none."""

    position: Floats
    probability: Floats
    hair: Ints  # the hair that passes a place that no end tells of, −1 elsewhere
    unit: Ints


@dataclass(frozen=True, eq=False)
class Peaks:
    """Peaks of the heat map of openings, strongest first: arrays over peaks.

    Attributes:
        position: float64 (n, 2), x and y in pixels.
        odds: float64 (n,), log odds of an opening.
        apart: float64 (n,), distance to the nearest hair, px, infinite where there is none.
        hair: int64 (n,), that hair.
    """

    position: Floats
    odds: Floats
    apart: Floats
    hair: Ints


def find_follicles(
    paths: tuple[HairPath, ...], image: NDArray[np.uint8], segmentation: Segmentation
) -> tuple[tuple[HairPath, ...], tuple[Ostium, ...]]:
    """Hairs with their courses turned to begin at the root and `rooted` set, and the openings they grow from.

    `image` is uint8 (height, width, 3) BGR. Hair `i` of the result is hair `i` of `paths`. Openings without a hair are found where
    the segmenter tells openings, and come last.
    """
    heat = None if segmentation.ostium_probability is None else Heat.of(segmentation.ostium_probability)
    if not paths:
        return (), () if heat is None else _empty(peaks_of(heat, None), 0.0)
    height, width = segmentation.mask.shape
    courses = courses_of(paths)
    ends = hair_ends(courses, width, height)
    likely = root_probability(ends, image, segmentation.mask, heat)
    places = _units(ends, likely)
    empty: tuple[Ostium, ...] = ()
    if heat is not None:
        peaks = peaks_of(heat, courses)
        empty = _empty(peaks, ends.usual_px)
        peaks, evidence = passed(peaks, ends, likely, places.unit, heat, segmentation.mask)
        places = _with_passed(places, peaks, evidence)
    chosen, root = _chosen(places, ends, likely)
    both = ends.inside.reshape(-1, 2)
    turn = np.where(root >= 0, root % 2 == 1, both[:, 0] & ~both[:, 1])
    turned = tuple(
        replace(path, points=path.points[::way], widths_px=path.widths_px[::way], rooted=rooted)
        for path, way, rooted in zip(paths, np.where(turn, -1, 1).tolist(), (root >= 0).tolist(), strict=True)
    )
    return turned, _ostia(places, chosen, ends, root) + empty


def _ostia(places: _Places, chosen: Ints, ends: HairEnds, root: Ints) -> tuple[Ostium, ...]:
    """The `chosen` places in reading order, each rooted hair in its own place, or else in the nearest one."""
    if not len(chosen):
        return ()
    hairs = np.flatnonzero(root >= 0)
    own = places.unit[root[hairs]]
    passing = np.full(len(root), -1)
    passing[places.hair[chosen[places.hair[chosen] >= 0]]] = chosen[places.hair[chosen] >= 0]
    nearest = chosen[cKDTree(places.position[chosen]).query(ends.position[root[hairs]])[1]]
    at = np.where(passing[hairs] >= 0, passing[hairs], np.where(np.isin(own, chosen), own, nearest))
    found = zip(chosen.tolist(), places.position[chosen].tolist(), strict=True)
    ostia = [Ostium(x, y, tuple(hairs[at == place].tolist())) for place, (x, y) in found]
    return tuple(sorted(ostia, key=lambda o: (o.y, o.x)))


def peaks_of(heat: Heat, courses: Courses | None) -> Peaks:
    """The peaks of `heat` and the hair near them; `courses` is None where there is no hair."""
    position, odds = heat.peaks(PEAK_LEAST)
    if courses is None or not len(position):
        return Peaks(position, odds, np.full(len(position), np.inf), np.full(len(position), -1))
    # a tree that is asked so little is better built quickly than balanced
    apart, point = cKDTree(courses.points, compact_nodes=False, balanced_tree=False).query(position)
    return Peaks(position, odds, apart, courses.owner[point])


def _empty(peaks: Peaks, usual_px: float) -> tuple[Ostium, ...]:
    """Openings that no hair is near to, in reading order."""
    bare = (peaks.odds >= np.log(EMPTY_LEAST / (1 - EMPTY_LEAST))) & (peaks.apart > PASSING_WIDTHS * usual_px)
    return tuple(Ostium(x, y, ()) for x, y in sorted(peaks.position[bare].tolist(), key=lambda at: (at[1], at[0])))


def _units(ends: HairEnds, likely: Floats) -> _Places:
    """Ends that may be roots, those within one follicular unit's size of one another taken together."""
    few = np.flatnonzero(likely > ROOT_LEAST)
    unit = np.full(len(likely), -1)
    if not len(few):
        return _Places(np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.int64), unit)
    position, wide = ends.position[few], np.maximum(ends.width[few], ends.usual_px)
    pairs = cKDTree(position).query_pairs(UNIT_WIDTHS * float(wide.max()), output_type="ndarray")
    size = UNIT_WIDTHS * np.minimum(wide[pairs[:, 0]], wide[pairs[:, 1]])
    pairs = pairs[np.hypot(*(position[pairs[:, 0]] - position[pairs[:, 1]]).T) <= size]
    n = len(few)
    count, own = connected_components(coo_matrix((np.ones(len(pairs)), pairs.T), shape=(n, n)), directed=False)
    weight = np.bincount(own, likely[few], minlength=count)
    middle = [np.bincount(own, likely[few] * position[:, axis], minlength=count) / weight for axis in (0, 1)]
    none = np.exp(np.bincount(own, np.log1p(-np.minimum(likely[few], 0.999)), minlength=count))
    unit[few] = own
    return _Places(np.stack(middle, axis=1), 1.0 - none, np.full(count, -1), unit)


def _with_passed(places: _Places, peaks: Peaks, evidence: Floats) -> _Places:
    """`places` and those of `peaks`, with what speaks for each."""
    odds = evidence @ PEAK_WEIGHTS + PEAK_PRIOR
    return _Places(
        np.concatenate([places.position, peaks.position]),
        np.concatenate([places.probability, 1.0 / (1.0 + np.exp(-odds))]),
        np.concatenate([places.hair, peaks.hair]),
        places.unit,
    )


def passed(peaks: Peaks, ends: HairEnds, likely: Floats, unit: Ints, heat: Heat, mask: Mask) -> tuple[Peaks, Floats]:
    """Those peaks that hair passes and no end tells of, and what speaks for each being an opening, float64 (n, PEAK_EVIDENCE).

    `likely` and `unit` are those of `ends`: probability of being a root, and the place to which it belongs (−1: none).
    """
    usual = ends.usual_px
    free = peaks.apart <= PASSING_WIDTHS * usual
    if free.any() and (unit >= 0).any():
        free &= cKDTree(ends.position[unit >= 0]).query(peaks.position)[0] > PEAK_WIDTHS * usual
    peaks = Peaks(peaks.position[free], peaks.odds[free], peaks.apart[free], peaks.hair[free])
    around = arms(mask, peaks.position, PEAK_RING_WIDTHS * usual)
    growth = growth_direction(ends, likely)
    spread = float(log_odds(np.array([SPREAD_SCALE * heat.spread(SPREAD_LEAST)]))[0])
    n = len(peaks.odds)
    evidence = (peaks.odds, around.share, np.full(n, np.log(min(len(likely) // 2, HAIRS_MOST))), -(around.way @ growth), np.full(n, spread))
    return peaks, np.stack(evidence, axis=1)


def _chosen(places: _Places, ends: HairEnds, likely: Floats) -> tuple[Ints, Ints]:
    """(the places taken for openings, int64 (n,); the end of each hair that is rooted in one of them, int64 (hairs,), −1 for none).

    A hair that passes an opening that no end tells of is rooted there, by the end that is nearer to it.
    """
    wanted = round(float(places.probability.sum()))
    root = np.full(len(likely) // 2, -1)
    taken: list[int] = []
    for place in np.argsort(-places.probability, kind="stable").tolist():
        if len(taken) == wanted:
            break
        hair = int(places.hair[place])
        if hair < 0:
            here = np.flatnonzero(places.unit == place)
            order = likely[here]
        else:
            here = np.array([2 * hair, 2 * hair + 1])
            order = -np.hypot(*(ends.position[here] - places.position[place]).T)
        # of both ends of a hair the likelier, or nearer, one comes last and stays
        here = here[np.argsort(order, kind="stable")]
        here = here[root[here // 2] < 0]
        if not len(here):
            continue
        root[here // 2] = here
        taken.append(place)
    chosen = np.array(taken, np.int64)
    # hairs of which less speaks for a root share an opening that others have shown
    more = np.flatnonzero((likely > MEMBER_LEAST) & (root[np.arange(len(likely)) // 2] < 0))
    if len(more) and len(chosen):
        reach = UNIT_WIDTHS * np.maximum(ends.width[more], ends.usual_px)
        more = more[cKDTree(places.position[chosen]).query(ends.position[more])[0] <= reach]
        more = more[np.argsort(likely[more], kind="stable")]
        root[more // 2] = more
    return chosen, root
