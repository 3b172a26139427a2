"""From a skeleton's segments to distinct hairs: strands are joined end to end where one hair continues, and what is left
over as a piece of hairs already found, or too short to count, is dropped.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.continuation import continuations
from runtime.analysis.ends import Ends, sample, trimmed_ends
from runtime.analysis.hairs import HairPath
from runtime.analysis.skeleton import BORDER, Floats, Ints, SkeletonGraph

SPACING_PX = 4.0
MIN_VISIBLE_PX = 24.0  # a hair counts from this visible length on (design, section 3)
COLOUR_SAMPLES = 9


def trace_hairs(graph: SkeletonGraph, mask: NDArray[np.bool_], image: NDArray[np.uint8]) -> tuple[HairPath, ...]:
    """The distinct hairs of a frame, longest first, with the mask's rough widths.

    `graph` is the skeleton of `mask`, bool (height, width); `image` uint8 (height, width, 3) BGR tells hairs of different colour apart.
    """
    if not len(graph.lengths_px):
        return ()
    ends = trimmed_ends(graph)
    if not len(ends.segments):
        return ()
    partner = continuations(ends, strand_colours(graph, ends, image), mask)
    courses = [_course(graph, ends, chain) for chain in _chains(partner)]
    return _distinct(courses, mask.shape)


def strand_colours(graph: SkeletonGraph, ends: Ends, image: NDArray[np.uint8]) -> Floats:
    """Median colour along each strand's centre line, float64 (ends, 3); both ends of a strand have the same."""
    arcs = ends.spans[:, :1] + (ends.spans[:, 1:] - ends.spans[:, :1]) * np.linspace(0.0, 1.0, COLOUR_SAMPLES)
    at = np.rint(sample(graph, graph.points, np.repeat(ends.segments, COLOUR_SAMPLES), arcs.ravel())).astype(np.int64)
    seen = image[np.clip(at[:, 1], 0, image.shape[0] - 1), np.clip(at[:, 0], 0, image.shape[1] - 1)]
    colour = np.median(seen.reshape(len(ends.segments), COLOUR_SAMPLES, -1).astype(np.float64), axis=1)
    return np.repeat(colour, 2, axis=0)


def _chains(partner: Ints) -> list[list[int]]:
    """Ends in the order in which each hair passes them: in by one end of a strand, out by the other, on to its partner."""
    used = np.zeros(len(partner) // 2, bool)
    chains: list[list[int]] = []
    # hairs begin at ends without partner; what is left after those are closed rings, begun anywhere
    for begin in [*np.flatnonzero(partner < 0).tolist(), *range(len(partner))]:
        if used[begin // 2]:
            continue
        chain, at = [], begin
        while at >= 0 and not used[at // 2]:
            used[at // 2] = True
            chain += [at, at ^ 1]
            at = int(partner[at ^ 1])
        chains.append(chain)
    return chains


def _course(graph: SkeletonGraph, ends: Ends, chain: list[int]) -> tuple[Floats, bool]:
    """The points (x, y, half width) of one hair at SPACING_PX, and whether it begins or stops at the border."""
    pieces = []
    for enter in chain[::2]:
        kept = enter // 2
        first, last = ends.spans[kept]
        arcs = np.linspace(first, last, max(2, round((last - first) / SPACING_PX) + 1))
        if enter % 2:
            arcs = arcs[::-1]
        values = np.column_stack([graph.points, graph.radius_px])
        pieces.append(sample_one(graph, values, int(ends.segments[kept]), arcs))
    points = np.concatenate(pieces)
    points = _resampled(points)
    return points, bool((ends.node[[chain[0], chain[-1]]] == BORDER).any())


def sample_one(graph: SkeletonGraph, values: Floats, segment: int, arcs: Floats) -> Floats:
    """`values`, float64 (n, k) per point of the graph, at arc lengths along one segment."""
    low, high = graph.offsets[segment], graph.offsets[segment + 1]
    axis = graph.arc_px[low:high]
    return np.column_stack([np.interp(arcs, axis, values[low:high, k]) for k in range(values.shape[1])])


def _resampled(points: Floats) -> Floats:
    """The same course with even steps of about SPACING_PX."""
    step = np.hypot(*np.diff(points[:, :2], axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(step)])
    keep = np.concatenate([[True], step > 1e-6])
    along, points = along[keep], points[keep]
    even = np.linspace(0.0, along[-1], max(2, round(along[-1] / SPACING_PX) + 1))
    return np.column_stack([np.interp(even, along, points[:, k]) for k in range(points.shape[1])])


def _distinct(courses: list[tuple[Floats, bool]], shape: tuple[int, ...]) -> tuple[HairPath, ...]:
    """Courses that show MIN_VISIBLE_PX of hair not already explained by longer ones."""
    lengths = np.array([np.hypot(*np.diff(points[:, :2], axis=0).T).sum() for points, _ in courses])
    claimed = np.zeros(shape[:2], np.uint8)
    hairs = []
    for k in np.argsort(-lengths, kind="stable"):
        points, border = courses[k]
        if lengths[k] + 2.0 * points[[0, -1], 2].mean() < MIN_VISIBLE_PX:
            continue
        columns = np.clip(np.rint(points[:, 0]).astype(np.int64), 0, shape[1] - 1)
        rows = np.clip(np.rint(points[:, 1]).astype(np.int64), 0, shape[0] - 1)
        new = claimed[rows, columns] == 0
        if new.mean() * lengths[k] < MIN_VISIBLE_PX / 2:
            continue
        width = max(1, round(2.0 * float(np.median(points[:, 2])) * 0.7))
        cv2.polylines(claimed, [np.rint(points[:, :2]).astype(np.int32)], False, 1, width)
        widths = 2.0 * points[:, 2]
        diameter = float(np.median(widths))
        hairs.append(HairPath(points[:, :2], widths, diameter, float("nan"), float(lengths[k]), False, 1.0, border))
    return tuple(hairs)
