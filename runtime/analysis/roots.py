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
FIRST_HALO, FIRST_MEETING = 0.12, 0.7  # log odds by which, beside taper, hairs vote for that direction where no heat map tells openings
VOTE_DOUBT = 2.0  # hairs' worth of doubt in the common direction of growth

# measured on rendered frames, so that the sum over a frame's openings is as near as can be to how many there are
EVIDENCE = ("opening", "opening near", "growth", "width", "meeting", "halo", "arms", "beyond", "other end inside")
WEIGHTS, PRIOR = np.array([0.27, 1.30, 4.04, 1.92, -0.72, 0.012, 0.28, 0.16, 0.10]), -2.53
WEIGHTS_UNSEEN, PRIOR_UNSEEN = np.array([0.0, 0.0, 3.90, 1.56, 0.05, 0.002, -0.24, 0.13, -0.46]), -0.90  # where no heat map tells openings


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
    odds = evidence @ WEIGHTS + PRIOR if heat is not None else evidence @ WEIGHTS_UNSEEN + PRIOR_UNSEEN
    likely = np.where(ends.inside, np.exp(np.clip(odds, -30.0, 30.0)), 0.0).reshape(-1, 2)
    return np.asarray((likely / (1.0 + likely.sum(1, keepdims=True))).ravel())


def root_evidence(ends: HairEnds, image: NDArray[np.uint8], mask: Mask, heat: Heat | None) -> Floats:
    """What speaks for each end being a root, float64 (ends, EVIDENCE); arguments as for `root_probability`."""
    other = np.arange(len(ends.width)) ^ 1
    halo = darkening(ends, image)
    meeting, beyond = _neighbours(ends)
    if heat is None:
        opening = around = np.zeros(len(ends.width))
        taper = np.log(ends.width / ends.width[other])
        first = FIRST_HALO * halo + taper + FIRST_MEETING * np.minimum(meeting, 1.0)
    else:
        opening, around = heat.odds_ahead(ends.position, ends.outward, ends.width), heat.odds_around(ends.position, ends.usual_px)
        first = opening
    evidence = (
        opening,
        around,
        _with_growth(ends, first),
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


def _with_growth(ends: HairEnds, odds: Floats) -> Floats:
    """How far each end points where the roots of the frame do, −1…1, float64 (ends,): every hair votes once, by its likelier root."""
    other = np.arange(len(ends.width)) ^ 1
    vote = np.where(ends.inside, np.tanh((odds + 1.0) / 2), 0.0)
    vote = np.where(vote >= vote[other], np.maximum(vote, 0.0), 0.0)
    common = (vote[:, None] * ends.outward).sum(0) / (vote.sum() + VOTE_DOUBT)
    return np.asarray(ends.outward @ common)


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
