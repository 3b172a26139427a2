"""How likely each end of each hair is its root.

No single cue decides. Openings that the segmenter sees, skin darkened by a hair that goes on below the surface, a hair's width, other
ends that meet there, hair that goes on beyond, and the direction in which the neighbours grow each give evidence, which a logistic
regression weighs. A hair has at most one root.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from runtime.analysis.courses import Courses, percentiles
from runtime.analysis.openings import Heat, arms, sampled
from runtime.analysis.segmentation import Mask
from runtime.analysis.skeleton import Floats

BORDER_WIDTHS = 0.75  # an end nearer to the border than this is taken to leave the picture
BORDER_PX = 3.0
LEAST_WIDTH_PX = 4.0
END_POINTS = 5  # the points at each end over which its direction and width are taken
HALO_AHEAD, HALO_ACROSS, HALO_BESIDE = (
    (1.0, 1.3, 1.6),
    0.25,
    (2.0, 2.5, 3.0),
)  # where, in widths, skin beyond an end is compared with skin beside
GREY = np.array([0.114, 0.587, 0.299])  # ITU-R BT.601, of blue, green and red
HALO_LIMIT = 30.0  # grey levels; larger differences are other hair
MEETING_WIDTHS, MEETING_COSINE, MEETING_MOST = 7.0, 0.3, 4
BEYOND_WIDTHS, BEYOND_COSINE, BEYOND_SLOPE = 12.0, -0.85, 0.15  # an end that faces this one, so far off, may be the same hair's
RING_WIDTHS = 5.0  # on a ring of this radius around an end the hairs that it is a meeting of are told apart
# log odds by which halo (per grey level) and meetings, beside the heat map or taper, vote at first for the common direction of growth;
# the network takes clean cuts on real skin for openings, where the halo does not err
FIRST_HALO, FIRST_MEETING = 0.2, 0.7
GROWTH_DOUBT = 2.0  # roots' worth of doubt in the common direction of growth
ROUNDS = 3  # hairs that are surer of their roots by the direction of growth tell it better
ODDS_LIMIT = 30.0

# measured on rendered frames, so that the sum over a frame's openings is as near as can be to how many there are
EVIDENCE = ("opening", "opening near", "growth", "width", "meeting", "halo", "arms", "beyond", "other end inside")
GROWTH = EVIDENCE.index("growth")
WEIGHTS, PRIOR = np.array([0.529, 0.966, 3.355, 1.407, -0.363, 0.020, 0.158, 0.213, -0.104]), -2.988
# where no heat map tells openings
WEIGHTS_UNSEEN, PRIOR_UNSEEN = np.array([0.0, 0.0, 2.802, 1.295, -0.047, 0.012, -0.336, 0.190, -0.214]), -1.665


@dataclass(frozen=True, eq=False)
class HairEnds:
    """Both ends of every hair, first its first, then its last: arrays over 2·hairs.

    Attributes:
        position, outward: float64 (ends, 2), pixel coordinates and unit vectors away from the hair.
        width: float64 (ends,), px.
        inside: bool (ends,), the end does not lie at the border.
        usual_px: the median width of all ends, LEAST_WIDTH_PX at least.
    """

    position: Floats
    outward: Floats
    width: Floats
    inside: NDArray[np.bool_]
    usual_px: float


def hair_ends(hairs: Courses, width: int, height: int) -> HairEnds:
    """The ends of `hairs` in a picture of width × height px."""
    first, last, hair = hairs.offsets[:-1], hairs.offsets[1:] - 1, np.arange(len(hairs))
    reach = np.minimum(END_POINTS, last - first)
    ends = np.stack([first, last], axis=1).ravel()
    way = hairs.points[ends] - hairs.points[np.stack([first + reach, last - reach], axis=1).ravel()]
    outward = way / np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-9)[:, None]
    steps = np.arange(2 * END_POINTS)
    near = np.stack([first[:, None] + steps, last[:, None] - steps], axis=1)
    outside = steps > (last - first)[:, None, None]
    widths = np.where(outside, np.nan, hairs.widths_px[np.where(outside, 0, near)])
    group = np.repeat(np.arange(2 * len(hairs)), len(steps))
    wide = percentiles(widths.ravel(), group, 2 * len(hairs), 50.0)
    wide = np.where(np.isfinite(wide), wide, hairs.rough_widths()[np.repeat(hair, 2)])
    margin = np.maximum(BORDER_WIDTHS * wide, BORDER_PX)
    at = hairs.points[ends]
    x, y = at[:, 0], at[:, 1]
    inside = (x > margin) & (x < width - 1 - margin) & (y > margin) & (y < height - 1 - margin)
    return HairEnds(at, outward, wide, inside, max(float(np.median(wide)), LEAST_WIDTH_PX))


def root_probability(ends: HairEnds, image: NDArray[np.uint8], mask: Mask, heat: Heat | None) -> Floats:
    """Probability of every end being a root, float64 (ends,); 0 for those at the border.

    `image` is uint8 (height, width, 3) BGR, `mask` bool (height, width), `heat` the openings that the segmenter sees, None where it cannot.
    """
    evidence = root_evidence(ends, image, mask, heat)
    weights, prior = (WEIGHTS_UNSEEN, PRIOR_UNSEEN) if heat is None else (WEIGHTS, PRIOR)
    likely = at_most_one(evidence @ weights + prior, ends.inside)
    for _ in range(ROUNDS):
        evidence[:, GROWTH] = with_growth(ends, likely)
        likely = at_most_one(evidence @ weights + prior, ends.inside)
    return likely


def at_most_one(odds: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Probabilities of ends with log `odds` (ends,), of which each hair has one root at most and none at the border, float64 (ends,)."""
    weight = np.where(inside, np.exp(np.clip(odds, -ODDS_LIMIT, ODDS_LIMIT)), 0.0).reshape(-1, 2)
    return np.asarray((weight / (1.0 + weight.sum(1, keepdims=True))).ravel())


def with_growth(ends: HairEnds, likely: Floats) -> Floats:
    """How far each end points where the roots of the frame do, −1…1, float64 (ends,), by how `likely` each is a root."""
    return np.asarray(ends.outward @ growth_direction(ends, likely))


def growth_direction(ends: HairEnds, likely: Floats) -> Floats:
    """Where the roots of the frame point in common, float64 (2,): the shorter, the more they differ or are in doubt."""
    return np.asarray((likely @ ends.outward) / (likely.sum() + GROWTH_DOUBT))


def root_evidence(ends: HairEnds, image: NDArray[np.uint8], mask: Mask, heat: Heat | None) -> Floats:
    """What speaks for each end being a root, float64 (ends, EVIDENCE); arguments as for `root_probability`."""
    other = np.arange(len(ends.width)) ^ 1
    meeting, beyond = _neighbours(ends)
    halo = darkening(ends, image)
    if heat is None:
        opening = around = np.zeros(len(ends.width))
        first = np.log(ends.width / ends.width[other]) + FIRST_MEETING * np.minimum(meeting, 1.0) - 1.0
    else:
        opening, around = heat.odds_ahead(ends.position, ends.outward, ends.width), heat.odds_around(ends.position, ends.usual_px)
        first = opening + 1.0
    evidence = (
        opening,
        around,
        with_growth(ends, at_most_one(first + FIRST_HALO * halo, ends.inside)),
        np.log(np.maximum(ends.width, 1.0) / ends.usual_px),
        meeting,
        halo,
        arms(mask, ends.position, RING_WIDTHS * ends.usual_px).count,
        beyond,
        ends.inside[other],
    )
    return np.stack(evidence, axis=1).astype(np.float64)


def darkening(ends: HairEnds, image: NDArray[np.uint8]) -> Floats:
    """By how many grey levels the skin just beyond each end is darker than that beside it, float64 (ends,)."""
    wide = np.maximum(ends.width, LEAST_WIDTH_PX)[:, None, None]
    side = np.stack([-ends.outward[:, 1], ends.outward[:, 0]], axis=1)[:, None] * wide
    beyond = ends.position[:, None] + ends.outward[:, None] * wide * np.array(HALO_AHEAD)[:, None]
    ahead = np.concatenate([beyond + side * across for across in (-HALO_ACROSS, 0.0, HALO_ACROSS)], axis=1)
    beside = ends.position[:, None] + side * np.array([s * far for s in (-1.0, 1.0) for far in HALO_BESIDE])[:, None]
    darker = np.median(_grey(image, beside), axis=1) - np.median(_grey(image, ahead), axis=1)
    return np.asarray(np.clip(darker, -HALO_LIMIT, HALO_LIMIT))


def _grey(image: NDArray[np.uint8], points: Floats) -> Floats:
    return np.asarray(sampled(image, points) @ GREY)


def _neighbours(ends: HairEnds) -> tuple[Floats, Floats]:
    """Of other hairs, float64 (ends,) each: how many ends meet here, and how many widths off one goes on beyond, BEYOND_WIDTHS for none."""
    count = len(ends.width)
    wide = np.maximum(ends.width, LEAST_WIDTH_PX)
    reach = max(MEETING_WIDTHS, BEYOND_WIDTHS) * ends.usual_px
    pairs = cKDTree(ends.position).query_pairs(reach, output_type="ndarray")
    pairs = pairs[(pairs[:, 0] // 2 != pairs[:, 1] // 2) & ends.inside[pairs].all(1)]
    a, b = np.concatenate([pairs, pairs[:, ::-1]]).T
    way = ends.position[b] - ends.position[a]
    apart, common = np.hypot(way[:, 0], way[:, 1]), (ends.outward[a] * ends.outward[b]).sum(1)
    broad = np.maximum(wide[a], wide[b])
    meeting = np.bincount(a[(apart < MEETING_WIDTHS * broad) & (common > MEETING_COSINE)], minlength=count)
    along = (way * ends.outward[a]).sum(1)
    across = np.abs(way[:, 1] * ends.outward[a, 0] - way[:, 0] * ends.outward[a, 1])
    facing = (common < BEYOND_COSINE) & (along > -1.5 * wide[a]) & (across < np.maximum(1.2 * wide[a], BEYOND_SLOPE * along))
    beyond = np.full(count, BEYOND_WIDTHS)
    np.minimum.at(beyond, a[facing], np.maximum(along[facing], 0.0) / wide[a[facing]])
    return np.minimum(meeting, MEETING_MOST).astype(np.float64), beyond
