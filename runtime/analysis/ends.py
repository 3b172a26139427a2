"""Where strands end: the trimmed ends of a skeleton's segments, each with a position, a direction and its uncertainty.

Near a meeting of strands the skeleton bends away from the hairs' true centre lines, within about the largest disc that fits
there. Ends are therefore cut back to outside that disc, and their direction is fitted over a length of a few hair widths beyond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.skeleton import BORDER, FREE, Floats, Ints, SkeletonGraph

TRIM_RADII = 1.5  # cut back by this many node radii: the notch between two diverging strands lies within it
FIT_WIDTHS = 3.0  # directions are fitted over this many hair widths …
FIT_MIN_PX = 16.0  # … and at least this many pixels, or the staircase of a thin hair's skeleton shows
FIT_SAMPLES = 16
SHORTEST_RADII = 1.0  # what is left of a segment between two nodes counts as strand from this length on
SPUR_RADII = 0.8  # a branch that stands out of its node's disc by less is a bump in the mask's outline
SPUR_MIN_PX = 3.0
LONE_MIN_PX = 5.0  # a strand without any neighbour is a speck below this length
MAX_STRANDS = 2000  # a mask of noise has tens of thousands: only the longest are looked at


@dataclass(frozen=True, eq=False)
class Ends:
    """Both ends of every kept segment: end 2k is where kept segment k begins, end 2k + 1 where it stops.

    Attributes:
        segments: int64 (kept,), index of each kept segment in the graph.
        spans: float64 (kept, 2), arc lengths between which it is kept.
        node: int64 (2·kept,), the node at each end, FREE or BORDER.
        position: float64 (2·kept, 2), x and y of the trimmed end.
        direction: float64 (2·kept, 2), unit vector out of the segment.
        fit_px: float64 (2·kept,), length over which the direction was fitted.
        width_px: float64 (2·kept,), the strand's width there.
    """

    segments: Ints
    spans: Floats
    node: Ints
    position: Floats
    direction: Floats
    fit_px: Floats
    width_px: Floats


def trimmed_ends(graph: SkeletonGraph) -> Ends:
    """The ends of `graph`'s segments, spurs and the inner pieces of crossings left out."""
    lengths = graph.lengths_px
    at_node = graph.end_nodes >= 0
    radius = np.zeros(at_node.shape)
    radius[at_node] = graph.node_radius_px[graph.end_nodes[at_node]]
    trim = np.where(at_node, TRIM_RADII * radius, 0.0)
    left = lengths - trim.sum(1)

    largest = radius.max(1, initial=0.0)
    inner = at_node.all(1) & (left < np.maximum(SHORTEST_RADII * largest, 1.0))
    spur = (at_node.sum(1) == 1) & (lengths - radius.sum(1) < np.maximum(SPUR_RADII * largest, SPUR_MIN_PX))
    speck = (at_node.sum(1) == 0) & (lengths < LONE_MIN_PX)
    keep = np.flatnonzero(~inner & ~spur & ~speck)
    if len(keep) > MAX_STRANDS:
        keep = np.sort(keep[np.argsort(-lengths[keep], kind="stable")[:MAX_STRANDS]])
    lengths, trim, node = lengths[keep], trim[keep], graph.end_nodes[keep]
    # a short strand cannot lose more than three quarters of itself
    excess = trim.sum(1) / np.maximum(0.75 * lengths, 1e-9)
    trim = trim / np.maximum(excess, 1.0)[:, None]
    spans = np.stack([trim[:, 0], lengths - trim[:, 1]], axis=1)

    owner = np.repeat(np.arange(len(keep)), 2)
    side = np.tile([0, 1], len(keep))
    inward = np.where(side == 0, 1.0, -1.0)
    available = (spans[:, 1] - spans[:, 0])[owner]
    start = spans[owner, side]
    near_width = 2.0 * sample(graph, graph.radius_px[:, None], keep[owner], start + inward * np.minimum(available, 4.0))[:, 0]
    fit = np.minimum(available, np.maximum(FIT_WIDTHS * near_width, FIT_MIN_PX))
    along = np.linspace(0.0, 1.0, FIT_SAMPLES)
    arcs = start[:, None] + inward[:, None] * fit[:, None] * along
    which = np.repeat(keep[owner], FIT_SAMPLES)
    course = sample(graph, np.column_stack([graph.points, graph.radius_px]), which, arcs.ravel())
    course = course.reshape(len(owner), FIT_SAMPLES, 3)
    width = 2.0 * np.median(course[:, :, 2], axis=1)
    centre = course[:, :, :2].mean(1)
    weight = along - along.mean()
    slope = np.einsum("k,nkd->nd", weight, course[:, :, :2]) / (weight @ weight)
    norm = np.hypot(slope[:, 0], slope[:, 1])
    direction = -slope / np.maximum(norm, 1e-9)[:, None]
    position = centre + direction * (norm / 2.0)[:, None]
    return Ends(keep, spans, node.ravel(), position, direction, fit, width)


def sample(graph: SkeletonGraph, values: Floats, segments: Ints, arcs: Floats) -> Floats:
    """`values`, float64 (n, k) per point of the graph, at arc lengths along the given segments: float64 (m, k)."""
    if not len(segments):
        return np.zeros((0, values.shape[1]))
    # one ascending axis for all segments: a gap of 1 px between each and the next
    lengths = graph.lengths_px
    shift = np.concatenate([[0.0], np.cumsum(lengths + 1.0)])[:-1]
    axis = graph.arc_px + np.repeat(shift, np.diff(graph.offsets))
    at = np.clip(arcs, 0.0, lengths[segments]) + shift[segments]
    right = np.clip(np.searchsorted(axis, at), graph.offsets[segments] + 1, np.maximum(graph.offsets[segments + 1] - 1, 0))
    right = np.maximum(np.minimum(right, graph.offsets[segments + 1] - 1), graph.offsets[segments])
    left = np.maximum(right - 1, graph.offsets[segments])
    gap = axis[right] - axis[left]
    share = np.where(gap > 0, (at - axis[left]) / np.where(gap > 0, gap, 1.0), 0.0)[:, None]
    return np.asarray(values[left] * (1.0 - share) + values[right] * share)


def is_open(node: Ints) -> NDArray[np.bool_]:
    """Ends at which a hair may go on: all but those at the picture's border."""
    return np.asarray(node != BORDER)


def is_free(node: Ints) -> NDArray[np.bool_]:
    """Ends where the strand stops inside the picture without meeting another."""
    return np.asarray(node == FREE)
