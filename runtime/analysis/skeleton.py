"""From a mask of hair to its skeleton as a graph: ordered centre lines between the places where strands meet.

The mask is thinned to one pixel, pixels where three or more branches meet become nodes, and what lies between becomes segments
whose pixels are put in order by one depth-first walk over all of them at once. Everything is held in flat arrays with offsets,
so that later stages work on all segments in one operation.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, depth_first_order

from runtime.analysis.pieces import small_gaps
from runtime.analysis.thinning import thinned

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FREE, BORDER = -1, -2
"""What a segment's end is when it is no node: an end inside the picture, or one where the skeleton meets the border."""

PADDING_PX = 16  # the mask is continued outwards by this much, so that hair cut by the border does not fork at it
ALONG_WIDTHS = 6.0  # hair that meets the border over more than this many widths runs along it
SMOOTHING_PX = 3  # half window of the moving mean over the pixel staircase
PINHOLE_WIDTHS = 0.5  # a hole smaller than a square of this many hair widths is glint or noise, not skin

# the eight neighbours in reading order, as (dy, dx), and which of them follow one another round the pixel
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_RING = (1, 2, 4, 7, 6, 5, 3, 0)
ROOT_BRANCHES = 64  # SciPy's walk looks at all branches of a node again after each


@dataclass(frozen=True, eq=False)
class SkeletonGraph:
    """Segments of centre line and the nodes where they meet.

    Attributes:
        shape: height and width of the mask, px.
        points: float64 (n, 2), x and y of all segments' pixels in order, segment after segment, smoothed along the segment.
        radius_px: float64 (n,), half the mask's width at each point.
        arc_px: float64 (n,), arc length along the segment from its first point.
        offsets: int64 (segments + 1,), segment k is points[offsets[k]:offsets[k + 1]].
        end_nodes: int64 (segments, 2), the node at the first and at the last point, or FREE, or BORDER.
        nodes: float64 (nodes, 2), x and y.
        node_radius_px: float64 (nodes,), radius of the largest disc in the mask about the node.
    """

    shape: tuple[int, int]
    points: Floats
    radius_px: Floats
    arc_px: Floats
    offsets: Ints
    end_nodes: Ints
    nodes: Floats
    node_radius_px: Floats

    @property
    def lengths_px(self) -> Floats:
        """float64 (segments,), arc length of each segment."""
        return self.arc_px[self.offsets[1:] - 1] if len(self.offsets) > 1 else np.zeros(0)


def skeleton_graph(mask: NDArray[np.bool_]) -> SkeletonGraph:
    """The skeleton of `mask`, bool (height, width), as a graph. An empty mask gives an empty graph; never raises for a 2-D array."""
    shape = mask.shape
    (top, bottom), (left, right) = (_span(np.asarray(mask.any(axis))) for axis in (1, 0))
    if top >= bottom:
        return _empty(shape)
    # what lies beyond all hair is not looked at; the picture's borders are where they were
    hair = np.ascontiguousarray(mask[top:bottom, left:right], dtype=np.uint8)
    hair = fill_pinholes(hair)
    padded = continued_outwards(hair)
    inside = (slice(PADDING_PX, -PADDING_PX),) * 2
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[inside]
    # a strip of width w has distances 0.5 … w/2 + 0.5 (pixel centres to the first background pixel's centre): half width is d - 0.5
    rows, columns = np.divmod(np.flatnonzero(thinned(padded.view(np.bool_))[inside]), hair.shape[1])
    if not len(rows):
        return _empty(shape)
    # without any background OpenCV's distances are infinite: no strand is wider than the picture
    radius = np.clip(distance[rows, columns].astype(np.float64) - 0.5, 0.5, min(shape) / 2 + 0.5)
    return _graph(rows + top, columns + left, radius, shape)


def _span(has: NDArray[np.bool_]) -> tuple[int, int]:
    """Where what is wanted begins and ends, one more line on either side; (0, 0) where nothing is."""
    at = np.flatnonzero(has)
    return (max(0, int(at[0]) - 1), min(len(has), int(at[-1]) + 2)) if len(at) else (0, 0)


def fill_pinholes(hair: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`hair` (0/1) with background spots far smaller than a hair's width filled: each would become a ring of skeleton."""
    limit = (PINHOLE_WIDTHS * mean_width(hair)) ** 2
    if limit < 1:
        return hair
    gaps = small_gaps(hair.view(np.bool_), limit)
    at = np.flatnonzero(gaps)
    if not at.size:
        return hair
    count, labels = cv2.connectedComponentsWithAlgorithm(gaps.view(np.uint8), 4, cv2.CV_32S, cv2.CCL_GRANA)
    small = np.bincount(labels.ravel()[at], minlength=count) <= limit
    small[labels[0]] = small[labels[:, 0]] = False  # notches at the upper and the left border stay
    filled: NDArray[np.uint8] = hair.copy()
    filled.ravel()[at[small[labels.ravel()[at]]]] = 1
    return filled


def continued_outwards(hair: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`hair` (0/1) with PADDING_PX around it, into which hair that leaves the picture goes on; hair that runs along a border does not."""
    padded = cv2.copyMakeBorder(hair, *(PADDING_PX,) * 4, cv2.BORDER_REPLICATE)
    padded[:PADDING_PX, :PADDING_PX] = padded[:PADDING_PX, -PADDING_PX:] = 0
    padded[-PADDING_PX:, :PADDING_PX] = padded[-PADDING_PX:, -PADDING_PX:] = 0
    limit = ALONG_WIDTHS * mean_width(hair)
    inside = slice(PADDING_PX, -PADDING_PX)
    padded[:PADDING_PX, inside][:, _long_runs(hair[0], limit)] = 0
    padded[-PADDING_PX:, inside][:, _long_runs(hair[-1], limit)] = 0
    padded[inside, :PADDING_PX][_long_runs(hair[:, 0], limit)] = 0
    padded[inside, -PADDING_PX:][_long_runs(hair[:, -1], limit)] = 0
    return np.asarray(padded, np.uint8)


def mean_width(hair: NDArray[np.uint8]) -> float:
    """Width of the strands in `hair` (0/1), px: twice its area over the length of its outline."""
    edge = np.count_nonzero(hair[1:] != hair[:-1]) + np.count_nonzero(hair[:, 1:] != hair[:, :-1])
    outline = edge * np.pi / 4  # a digital outline is too long by 4/π on average over directions
    return float(2.0 * np.count_nonzero(hair) / max(outline, 1.0))


def _long_runs(line: NDArray[np.uint8], limit: float) -> NDArray[np.bool_]:
    """Pixels of a 0/1 line that lie in runs of ones longer than `limit`."""
    change = np.diff(line.astype(np.int8), prepend=0, append=0)
    begin, end = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    long = end - begin > limit
    cover = np.zeros(len(line) + 1, np.int64)
    np.add.at(cover, begin[long], 1)
    np.add.at(cover, end[long], -1)
    return np.cumsum(cover)[:-1] > 0


def _empty(shape: tuple[int, ...]) -> SkeletonGraph:
    none, no_point = np.zeros(0), np.zeros((0, 2))
    return SkeletonGraph((shape[0], shape[1]), no_point, none, none, np.zeros(1, np.int64), np.zeros((0, 2), np.int64), no_point, none)


def _tables() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each of the 256 neighbourhoods, bit 7 - k being neighbour k: (whether it makes a junction, the neighbours that are linked to).

    bool (256,) and (256, 8); a diagonal is linked to only where no straight way round exists.
    """
    there = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.bool_)
    ring = there[:, _RING]
    before, after = np.roll(ring, 1, axis=1), np.roll(ring, -1, axis=1)
    # four branches may meet in a block of 2×2 in which no single pixel sees more than two of them
    block = (ring & after & np.roll(ring, -2, axis=1))[:, ::2].any(1) & (there.sum(1) >= 4)
    linked = np.zeros_like(there)
    straight = np.arange(8) % 2 == 0
    linked[:, _RING] = ring & (straight | ~(before | after))
    return ((ring & ~before).sum(1) >= 3) | block, linked


_JUNCTIONS, _LINKS = _tables()


def _graph(rows: Ints, columns: Ints, radius: Floats, shape: tuple[int, ...]) -> SkeletonGraph:
    n, (height, width) = len(rows), shape[:2]
    lattice = np.full((height + 2) * (width + 2), -1, np.int32)
    at = (rows + 1) * (width + 2) + columns + 1
    lattice[at] = np.arange(n)
    around = lattice[at[:, None] + np.array([dy * (width + 2) + dx for dy, dx in _AROUND])]
    code = np.packbits(around >= 0, axis=1)[:, 0]
    junction = _JUNCTIONS[code]
    # whatever is not there is linked to nothing; index -1 is never asked for
    linked = _LINKS[code] & ~junction[:, None] & ~junction[around]
    order, offsets = _walk(around, linked, junction)
    count = len(offsets) - 1

    node_of, nodes, node_radius = _nodes(rows, columns, radius, junction, around)
    ends = np.full((count, 2), FREE, np.int64)
    if count:
        tips = np.stack([order[offsets[:-1]], order[offsets[1:] - 1]], axis=1)
        for side in (0, 1):
            ends[:, side] = _attached(tips[:, side], around, node_of, last=side == 1)
        single = (tips[:, 0] == tips[:, 1]) & (ends[:, 0] == ends[:, 1])
        ends[single, 1] = FREE
        on_border = (rows[tips] <= 0) | (rows[tips] >= height - 1) | (columns[tips] <= 0) | (columns[tips] >= width - 1)
        ends[on_border & (ends == FREE)] = BORDER
    values = smoothed(np.stack([columns[order], rows[order], radius[order]], axis=1), offsets, SMOOTHING_PX)
    points = np.ascontiguousarray(values[:, :2])
    arc = arc_lengths(points, offsets)
    return SkeletonGraph((height, width), points, values[:, 2].copy(), arc, offsets, ends, nodes, node_radius)


def _rows(entries: NDArray[np.int32], wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(heads, begin of each row's) of links in compressed rows, as SciPy's walks take them without converting; rows are ascending."""
    return entries[wanted], np.concatenate([[0], np.cumsum(wanted.sum(1))]).astype(np.int32)


def _matrix(heads: NDArray[np.int32], begins: NDArray[np.int32]) -> csr_matrix:
    size = len(begins) - 1
    return csr_matrix((np.ones(len(heads)), heads, begins), shape=(size, size))


def _walk(around: NDArray[np.int32], linked: NDArray[np.bool_], junction: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """(pixels in order along each segment, segment after segment; where each segment begins and the last ends, int64 (segments + 1,)).

    Virtual roots are tied to the segments' ends: one depth-first walk from them then runs along one segment after the other.
    """
    heads, begins = _rows(around, linked)
    free = np.flatnonzero((np.diff(begins) < 2) & ~junction)
    order, starts = _walked(heads, begins, free)
    if len(order) < np.count_nonzero(~junction):  # what is left are closed rings, begun anywhere
        rest = ~junction
        rest[order] = False
        _, label = connected_components(_matrix(heads, begins), directed=False)
        ring = np.flatnonzero(rest)
        order, starts = _walked(heads, begins, np.concatenate([free, ring[np.unique(label[ring], return_index=True)[1]]]))
    return order, np.append(np.flatnonzero(starts), len(order)).astype(np.int64)


def _walked(heads: NDArray[np.int32], begins: NDArray[np.int32], begin: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """(pixels in the order of a depth-first walk from the pixels `begin`, whether each is where the walk began anew)."""
    n, roots = len(begins) - 1, -(-len(begin) // ROOT_BRANCHES)
    if not roots:
        return np.zeros(0, np.int64), np.zeros(0, np.bool_)
    # each root leads to some of the segments and then to the next root
    branches = np.full((roots, ROOT_BRANCHES + 1), -1, np.int32)
    branches[:, :-1] = np.append(begin, np.full(roots * ROOT_BRANCHES - len(begin), -1)).reshape(roots, -1)
    branches[:-1, -1] = n + 1 + np.arange(roots - 1)
    tied, tied_begins = _rows(branches, branches >= 0)
    walk = _matrix(np.concatenate([heads, tied]), np.concatenate([begins, begins[-1] + tied_begins[1:]]))
    order, before = depth_first_order(walk, n, directed=True, return_predecessors=True)
    order = order[order < n].astype(np.int64)
    return order, before[order] >= n


def _nodes(
    rows: Ints, columns: Ints, radius: Floats, junction: NDArray[np.bool_], around: NDArray[np.int32]
) -> tuple[Ints, Floats, Floats]:
    """(node of each pixel or -1, nodes' positions, nodes' radii); touching junction pixels are one node."""
    node_of = np.full(len(rows), -1, np.int64)
    where = np.flatnonzero(junction)
    if not len(where):
        return node_of, np.zeros((0, 2)), np.zeros(0)
    number = np.full(len(rows) + 1, -1, np.int32)  # what is not there has the last place
    number[where] = np.arange(len(where))
    near = number[around[where]]
    count, mine = connected_components(_matrix(*_rows(near, near >= 0)), directed=False)
    node_of[where] = mine
    size = np.bincount(mine, minlength=count)
    centre = np.stack([np.bincount(mine, columns[where]), np.bincount(mine, rows[where])], axis=1) / size[:, None]
    largest = np.zeros(count)
    np.maximum.at(largest, mine, radius[where])
    return node_of, centre, largest


def _attached(tips: Ints, around: NDArray[np.int32], node_of: Ints, *, last: bool) -> Ints:
    """The node beside each tip pixel, FREE where there is none; of two, the first or the last in circular order."""
    near = around[tips][:, _RING]
    beside = np.where(near >= 0, node_of[near], -1)
    if last:
        beside = beside[:, ::-1]
    return np.where((beside >= 0).any(1), beside[np.arange(len(tips)), (beside >= 0).argmax(1)], FREE)


def smoothed(values: Floats, offsets: Ints, half_window: int) -> Floats:
    """Moving mean of float64 (n, k) within each segment, the window shrinking symmetrically towards the segment's ends."""
    n = len(values)
    if n == 0:
        return values
    size, index = np.diff(offsets), np.arange(n)
    place = index - np.repeat(offsets[:-1], size)
    reach = np.minimum(half_window, np.minimum(place, np.repeat(size - 1, size) - place))
    first, stop, window = index - reach, index + reach + 1, 2 * reach + 1
    means, total = np.empty_like(values), np.zeros(n + 1)
    for column in range(values.shape[1]):
        np.cumsum(values[:, column], out=total[1:])
        means[:, column] = (total[stop] - total[first]) / window
    return means


def arc_lengths(points: Floats, offsets: Ints) -> Floats:
    """Arc length of each point from its segment's first point, float64 (n,)."""
    if not len(points):
        return np.zeros(0)
    x, y = points[:, 0], points[:, 1]
    step_x, step_y = x[1:] - x[:-1], y[1:] - y[:-1]
    along = np.zeros(len(points))
    np.cumsum(np.sqrt(step_x * step_x + step_y * step_y), out=along[1:])  # a tenth of np.hypot's time, and nothing here is large
    return np.asarray(along - np.repeat(along[offsets[:-1]], np.diff(offsets)))
