"""Strands: stretches of centre line that belong to one hair each, as flat arrays, and how their ends point.

Near a meeting of strands the skeleton bends away from the hairs' true centre lines, within about the largest disc that fits there.
Strands are therefore cut back to outside that disc. Direction and curvature at an end are the mean of what the centre line shows
and of what is known of hair beforehand: that it bends no more than hair in this frame does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.courses import percentiles
from runtime.analysis.skeleton import BORDER, FREE, Floats, Ints, SkeletonGraph, arc_lengths

STEP_PX = 2.0  # spacing of a strand's points
TRIM_RADII = 1.5  # cut back by this many node radii: the notch between two diverging strands lies within it
PAIR_TRIM_RADII = 0.75  # where only two strands meet
FREE_TRIM_RADII = 1.5  # the skeleton of a blunt end, or of one cut off aslant by what lies over it, runs into its sharper corner
SHORTEST_RADII = 1.0  # what is left of a segment between two nodes counts as strand from this length on
SPUR_RADII = 0.8  # a branch that stands out of its node's disc by less is a bump in the mask's outline
SPUR_MIN_PX = 3.0
LONE_MIN_PX = 5.0  # a strand without any neighbour is a speck below this length
MAX_STRANDS = 2000  # a mask of noise has tens of thousands: only the longest are looked at

CORNER_TURN = np.radians(50.0)  # a turn of this much within …
CORNER_RADII, CORNER_MIN_STEPS = 1.5, 4  # … so many half widths on either side is no bend of one hair

FIT_WIDTHS = 8.0  # ends are fitted over this many hair widths …
FIT_MIN_PX = 40.0  # … and at least this many pixels
FIT_SAMPLES = 20
NOISE_PX = 0.5  # sideways error of a centre line …
NOISE_WIDTHS = 0.04  # … and what each hair width adds: highlights, uneven edges
CORRELATION_PX = 5.0  # errors nearer to one another than this are the same error
TIP_PX = 4.0  # how far within its end a strand's width is first read
FIT_SHARES = np.linspace(0.0, 1.0, FIT_SAMPLES)
FIT_DESIGN = np.stack([FIT_SHARES**k for k in range(3)], axis=1)
FIT_INVERSE = np.linalg.inv(FIT_DESIGN.T @ FIT_DESIGN)
FIT_PROJECTION = FIT_INVERSE @ FIT_DESIGN.T
BEND_LIMITS = (5e-4, 1e-2)  # spread of curvature in a frame, rad per px: straight cut hair … curls
BEND_STRAND_PX = 50.0  # strands from this length on tell how much hair bends here


@dataclass(frozen=True, eq=False)
class Strands:
    """Stretches of centre line.

    Attributes:
        points: float64 (n, 2), x and y, strand after strand.
        radius_px: float64 (n,), half the mask's width.
        arc_px: float64 (n,), arc length from the strand's first point.
        offsets: int64 (strands + 1,).
        node: int64 (2·strands,), what each end meets: a node of the skeleton, FREE or BORDER. End 2k is where strand k begins,
            end 2k + 1 where it stops.
    """

    points: Floats
    radius_px: Floats
    arc_px: Floats
    offsets: Ints
    node: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths_px(self) -> Floats:
        """float64 (strands,)."""
        return self.arc_px[self.offsets[1:] - 1] if len(self) else np.zeros(0)


@dataclass(frozen=True, eq=False)
class Ends:
    """Where and how each end of each strand points, arrays over 2·strands ends.

    Attributes:
        position: float64 (ends, 2).
        direction: float64 (ends, 2), unit vector out of the strand.
        curvature: float64 (ends,), rad per px by which the way out turns, positive from x towards y.
        turn_variance: float64 (ends,), of the direction, rad².
        curvature_variance: float64 (ends,), rad²/px².
        width_px: float64 (ends,).
        strand_px: float64 (ends,), length of the end's strand.
    """

    position: Floats
    direction: Floats
    curvature: Floats
    turn_variance: Floats
    curvature_variance: Floats
    width_px: Floats
    strand_px: Floats


def strands_of(graph: SkeletonGraph) -> Strands:
    """The segments of `graph` cut back at their nodes; spurs, specks and the inner pieces of crossings left out."""
    lengths = graph.lengths_px
    at_node = graph.end_nodes >= 0
    radius = np.zeros(at_node.shape)
    radius[at_node] = graph.node_radius_px[graph.end_nodes[at_node]]
    largest = radius.max(1, initial=0.0)
    spur = (at_node.sum(1) == 1) & (lengths - radius.sum(1) < np.maximum(SPUR_RADII * largest, SPUR_MIN_PX))
    # what still meets at each node once its spurs are gone: one strand is an end, two are one strand or a corner
    meeting = np.bincount(graph.end_nodes[~spur][at_node[~spur]], minlength=len(graph.nodes))
    met = np.append(meeting, [0, 0])[graph.end_nodes]  # FREE and BORDER index the zeros
    node = np.where(at_node & (met <= 1), FREE, graph.end_nodes)
    back = np.where(met >= 3, TRIM_RADII, PAIR_TRIM_RADII)
    typical = percentiles(graph.radius_px, np.repeat(np.arange(len(lengths)), np.diff(graph.offsets)), len(lengths), 50.0)
    trim = np.where(node >= 0, back * radius, np.where(node == FREE, FREE_TRIM_RADII * typical[:, None], 0.0))
    inner = (node >= 0).all(1) & (lengths - trim.sum(1) < np.maximum(SHORTEST_RADII * largest, 1.0))
    speck = (node < 0).all(1) & (lengths < LONE_MIN_PX)
    keep = np.flatnonzero(~inner & ~spur & ~speck)
    if len(keep) > MAX_STRANDS:
        keep = np.sort(keep[np.argsort(-lengths[keep], kind="stable")[:MAX_STRANDS]])
    lengths, trim = lengths[keep], trim[keep]
    # a short strand cannot lose more than three quarters of itself
    trim = trim / np.maximum(trim.sum(1) / np.maximum(0.75 * lengths, 1e-9), 1.0)[:, None]
    spans = np.stack([trim[:, 0], lengths - trim[:, 1]], axis=1)
    return without_corners(
        resampled(np.column_stack([graph.points, graph.radius_px]), graph.arc_px, graph.offsets, keep, spans, node[keep].ravel())
    )


def without_corners(strands: Strands) -> Strands:
    """`strands` parted where they turn sharply: two hairs that meet at their roots or tips leave one skeleton with a corner."""
    n = len(strands.points)
    if n == 0:
        return strands
    which = np.repeat(np.arange(len(strands)), np.diff(strands.offsets))
    index = np.arange(n)
    reach = np.maximum(np.rint(CORNER_RADII * strands.radius_px / STEP_PX).astype(np.int64), CORNER_MIN_STEPS)
    behind = strands.points - strands.points[np.maximum(index - reach, strands.offsets[which])]
    ahead = strands.points[np.minimum(index + reach, strands.offsets[which + 1] - 1)] - strands.points
    turn = np.abs(np.arctan2(behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0], (behind * ahead).sum(1)))
    inner = (index > strands.offsets[which]) & (index < strands.offsets[which + 1] - 1)
    corner = inner & (turn > CORNER_TURN)
    if not corner.any():
        return strands
    stays = ~corner
    piece = np.cumsum(np.diff(np.where(stays, which, -1), prepend=-2) != 0)[stays]
    first = np.flatnonzero(np.diff(piece, prepend=-1))
    stop = np.append(first[1:], len(piece))
    long = stop - first >= 2
    kept = np.flatnonzero(stays)
    begins, ends = kept[first[long]], kept[stop[long] - 1]
    none = np.zeros(0, np.int64)
    take = np.concatenate([none, *(np.arange(a, b + 1) for a, b in zip(begins, ends, strict=True))])
    offsets = np.concatenate([[0], np.cumsum(ends - begins + 1)])
    node = np.full((len(begins), 2), FREE, np.int64)
    own = which[begins]
    at_start, at_stop = begins == strands.offsets[own], ends == strands.offsets[own + 1] - 1
    node[at_start, 0] = strands.node[2 * own[at_start]]
    node[at_stop, 1] = strands.node[2 * own[at_stop] + 1]
    points = strands.points[take]
    return Strands(points, strands.radius_px[take], arc_lengths(points, offsets), offsets, node.ravel())


def resampled(values: Floats, arc: Floats, offsets: Ints, keep: Ints, spans: Floats, node: Ints) -> Strands:
    """Strands of evenly spaced points: `spans` (kept, 2) of arc length of the pieces `keep` of a flat course.

    `values` is float64 (n, 3): x, y, half width; `arc` and `offsets` are the flat course's.
    """
    counts = np.maximum(np.rint((spans[:, 1] - spans[:, 0]) / STEP_PX).astype(np.int64) + 1, 2)
    starts = np.concatenate([[0], np.cumsum(counts)])
    which = np.repeat(np.arange(len(keep)), counts)
    share = (np.arange(starts[-1]) - starts[which]) / (counts[which] - 1)
    arcs = spans[which, 0] + share * (spans[which, 1] - spans[which, 0])
    got = sample(values, arc, offsets, keep[which], arcs)
    points = got[:, :2]
    return Strands(points, got[:, 2], arc_lengths(points, starts), starts, node)


def sample(values: Floats, arc: Floats, offsets: Ints, pieces: Ints, arcs: Floats) -> Floats:
    """`values`, float64 (n, k), at arc lengths along the given pieces of a flat course, linear: float64 (m, k)."""
    if not len(pieces):
        return np.zeros((0, values.shape[1]))
    # one ascending axis for all pieces: a gap of 1 px between each and the next
    begin, stop = offsets[:-1], offsets[1:]
    lengths = arc[stop - 1]
    shift = np.concatenate([[0.0], np.cumsum(lengths + 1.0)])[:-1]
    axis = arc + np.repeat(shift, stop - begin)
    at, first = np.clip(arcs, 0.0, lengths[pieces]) + shift[pieces], begin[pieces]
    right = np.clip(np.searchsorted(axis, at), first, stop[pieces] - 1)
    left = np.maximum(right - 1, first)
    behind = axis[left]
    gap = axis[right] - behind
    return _between(values, left, right, np.where(gap > 0, (at - behind) / np.where(gap > 0, gap, 1.0), 0.0))


def _between(values: Floats, left: Ints, right: Ints, share: Floats) -> Floats:
    """`values`, float64 (n, k), from those at `left` (m,) to those at `right` by `share`: float64 (m, k). Rows are taken, not indexed."""
    low, step = values.take(left, axis=0), values.take(right, axis=0)
    step -= low
    step *= share[:, None]
    step += low
    return step


def along(values: Floats, offsets: Ints, strands: Ints, share: Floats) -> Floats:
    """`values`, float64 (n, k), of evenly spaced points, at these shares (m,) of the given strands' length: float64 (m, k)."""
    first = offsets[strands]
    last = offsets[strands + 1] - first - 1
    place = share * last
    before = np.minimum(place.astype(np.int64), np.maximum(last - 1, 0))
    at = first + before
    return _between(values, at, np.minimum(at + 1, len(values) - 1), place - before)


def fit_ends(strands: Strands, bend: float) -> Ends:
    """Position, direction and curvature of every end: a parabola through the last stretch, its curvature held to the frame's `bend`."""
    course, reach, width = _last_stretches(strands)
    length = np.maximum(reach, 1.0)
    noise = (NOISE_PX + NOISE_WIDTHS * width) ** 2 * np.maximum(1.0, FIT_SAMPLES * CORRELATION_PX / length)
    # least squares without the bend's constraint, the same for all ends …
    free = (FIT_PROJECTION @ course.reshape(-1, FIT_SAMPLES).T).reshape(3, 2, -1)
    # … and what the constraint adds, on one of the three unknowns only (Sherman and Morrison): the parabola's second coefficient
    # over the unit interval is half the curvature times the length squared
    hold = noise / (bend * length**2 / 2.0) ** 2
    pull = hold / (1.0 + hold * FIT_INVERSE[2, 2])
    position, first, second = free - FIT_INVERSE[:, 2, None, None] * (pull * free[2])
    slope_variance = FIT_INVERSE[1, 1] - pull * FIT_INVERSE[1, 2] ** 2
    bend_variance = FIT_INVERSE[2, 2] - pull * FIT_INVERSE[2, 2] ** 2
    speed = np.maximum(np.hypot(first[0], first[1]), 1e-9)
    cross = first[0] * second[1] - first[1] * second[0]
    # walking out of the strand instead of into it reverses the direction and the sense in which it turns
    return Ends(
        position=np.ascontiguousarray(position.T),
        direction=np.ascontiguousarray((-first / speed).T),
        curvature=-2.0 * cross / speed**3,
        turn_variance=noise * slope_variance / length**2,
        curvature_variance=4.0 * noise * bend_variance / length**4,
        width_px=width,
        strand_px=np.repeat(strands.lengths_px, 2),
    )


def _last_stretches(strands: Strands) -> tuple[Floats, Floats, Floats]:
    """(x and y, (2, ends, FIT_SAMPLES), of each end's way inwards, its length (ends,), the strand's width there (ends,))."""
    lengths = np.maximum(np.repeat(strands.lengths_px, 2), 1e-9)
    which = np.repeat(np.arange(len(strands)), 2)
    start, inward = np.tile([0.0, 1.0], len(strands)), np.tile([1.0, -1.0], len(strands))
    near = start + inward * np.minimum(TIP_PX / lengths, 1.0)
    tip = along(strands.radius_px[:, None], strands.offsets, which, near)[:, 0]
    reach = np.minimum(lengths, np.maximum(FIT_WIDTHS * 2.0 * tip, FIT_MIN_PX))
    share = start[:, None] + (inward * reach / lengths)[:, None] * FIT_SHARES
    first, last = strands.offsets[which, None], np.diff(strands.offsets)[which, None] - 1
    place = share * last
    before = np.minimum(place.astype(np.int64), np.maximum(last - 1, 0))
    rest = place - before
    before += first
    after = np.minimum(before + 1, len(strands.points) - 1)
    course = np.empty((2, *share.shape))
    for axis, values in enumerate(strands.points.T):
        low = values[before]
        course[axis] = low + (values[after] - low) * rest
    half = FIT_SAMPLES // 2  # the width is the median of the outer half: an even number of samples
    low = strands.radius_px[before[:, :half]]
    radius = np.sort(low + (strands.radius_px[after[:, :half]] - low) * rest[:, :half], axis=1)
    return course, reach, np.maximum(radius[:, half // 2 - 1] + radius[:, half // 2], 1.0)


def frame_bend(strands: Strands) -> float:
    """Spread of the curvature of this frame's hair, rad per px: from the sagitta of its longer strands' middle stretches."""
    long = np.flatnonzero(strands.lengths_px >= BEND_STRAND_PX)
    low, high = BEND_LIMITS
    if len(long) < 3:
        return float(np.sqrt(low * high))
    at = along(strands.points, strands.offsets, np.repeat(long, 3), np.tile([0.05, 0.5, 0.95], len(long))).reshape(-1, 3, 2)
    chord = at[:, 2] - at[:, 0]
    sagitta = at[:, 1] - (at[:, 0] + at[:, 2]) / 2.0
    span = np.maximum(np.hypot(chord[:, 0], chord[:, 1]), 1.0)
    curvature = 8.0 * np.hypot(sagitta[:, 0], sagitta[:, 1]) / span**2
    # the spread of a normal law is 1.48 times the median of its absolute values
    return float(np.clip(1.48 * np.median(curvature), low, high))


def is_open(node: Ints) -> NDArray[np.bool_]:
    """Ends at which a hair may go on: all but those at the picture's border."""
    return np.asarray(node != BORDER)
