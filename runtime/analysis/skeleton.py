"""From a mask of hair to its skeleton as a graph: ordered centre lines between the places where strands meet.

The mask is thinned to one pixel, pixels where three or more branches meet become nodes, and what lies between becomes segments
whose pixels are put in order by one breadth-first walk over all of them at once. Everything is held in flat arrays with offsets,
so that later stages work on all segments in one operation.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

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

# the eight neighbours in circular order, as (dy, dx)
_RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


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
        hair_width_px: typical width of the mask's strands.
    """

    shape: tuple[int, int]
    points: Floats
    radius_px: Floats
    arc_px: Floats
    offsets: Ints
    end_nodes: Ints
    nodes: Floats
    node_radius_px: Floats
    hair_width_px: float

    @property
    def lengths_px(self) -> Floats:
        """float64 (segments,), arc length of each segment."""
        return self.arc_px[self.offsets[1:] - 1] if len(self.offsets) > 1 else np.zeros(0)


def skeleton_graph(mask: NDArray[np.bool_]) -> SkeletonGraph:
    """The skeleton of `mask`, bool (height, width), as a graph. An empty mask gives an empty graph; never raises for a 2-D array."""
    hair = np.ascontiguousarray(mask, dtype=np.uint8)
    if hair.size == 0 or not hair.any():
        return _empty(hair.shape)
    hair = fill_pinholes(hair)
    padded = continued_outwards(hair)
    inside = (slice(PADDING_PX, -PADDING_PX),) * 2
    # without any background OpenCV's distances are infinite: no strand is wider than the picture
    distance = np.minimum(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[inside], min(hair.shape) / 2 + 1)
    # a strip of width w has distances 0.5 … w/2 + 0.5 (pixel centres to the first background pixel's centre): half width is d - 0.5
    rows, columns = np.divmod(np.flatnonzero(thinned(padded.view(np.bool_))[inside]), hair.shape[1])
    if not len(rows):
        return _empty(hair.shape)
    radius = np.maximum(distance[rows, columns].astype(np.float64) - 0.5, 0.5)
    return _graph(rows, columns, radius, hair.shape)


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
    return SkeletonGraph((shape[0], shape[1]), no_point, none, none, np.zeros(1, np.int64), np.zeros((0, 2), np.int64), no_point, none, 0.0)


def _graph(rows: Ints, columns: Ints, radius: Floats, shape: tuple[int, ...]) -> SkeletonGraph:
    n, (height, width) = len(rows), shape[:2]
    lattice = np.full((height + 2, width + 2), -1, np.int32)
    lattice[rows + 1, columns + 1] = np.arange(n)
    around = np.stack([lattice[rows + 1 + dy, columns + 1 + dx] for dy, dx in _RING], axis=1)
    there = around >= 0
    branches = (there & ~np.roll(there, 1, axis=1)).sum(1)
    # four branches may meet in a block of 2×2 in which no single pixel sees more than two of them
    block = np.stack([there[:, k] & there[:, k + 1] & there[:, (k + 2) % 8] for k in (0, 2, 4, 6)], axis=1).any(1)
    junction = (branches >= 3) | (block & (there.sum(1) >= 4))

    first, second = _links(around, there, junction)
    labels, order = _walk(first, second, n, junction)
    segment_of = labels[order]
    count = int(segment_of[-1]) + 1 if len(order) else 0
    offsets = np.searchsorted(segment_of, np.arange(count + 1)).astype(np.int64)

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
    raw = np.stack([columns[order], rows[order]], axis=1).astype(np.float64)
    points = smoothed(raw, offsets, SMOOTHING_PX)
    half = smoothed(radius[order][:, None], offsets, SMOOTHING_PX)[:, 0]
    typical = 2.0 * float(np.median(radius))
    return SkeletonGraph((height, width), points, half, arc_lengths(points, offsets), offsets, ends, nodes, node_radius, typical)


def _links(around: NDArray[np.int32], there: NDArray[np.bool_], junction: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Pairs of neighbouring pixels outside junctions, each pair once; a diagonal only where no straight way round exists."""
    index = np.arange(len(around))
    firsts, seconds = [], []
    for k in (2, 3, 4, 5):
        use = there[:, k] & ~junction
        if k % 2:
            use &= ~there[:, k - 1] & ~there[:, (k + 1) % 8]
        a, b = index[use], around[use, k].astype(np.int64)
        keep = ~junction[b]
        firsts.append(a[keep])
        seconds.append(b[keep])
    return np.concatenate(firsts), np.concatenate(seconds)


def _linked(tails: Ints, heads: Ints, n: int) -> csr_matrix:
    """Links between n pixels as SciPy's walks take them without converting: float64, rows compressed, each row's heads ascending."""
    links = np.sort(tails * n + heads)
    begins = np.searchsorted(links, np.arange(n + 1) * n)
    return csr_matrix((np.ones(len(links)), (links % n).astype(np.int32), begins.astype(np.int32)), shape=(n, n))


def _walk(first: Ints, second: Ints, n: int, junction: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """(label per pixel, pixels ordered along each segment and grouped by label).

    A virtual root is tied to one end of every segment: one breadth-first walk from it then meets each segment's pixels in order.
    """
    pixels = np.flatnonzero(~junction)
    _, labels = connected_components(_linked(first, second, n), directed=False)
    degree = np.bincount(first, minlength=n) + np.bincount(second, minlength=n)
    # where to begin: an end if there is one, any pixel of a closed ring
    rank = pixels[np.lexsort((pixels, np.minimum(degree[pixels], 2), labels[pixels]))]
    _, leading = np.unique(labels[rank], return_index=True)
    begin = rank[leading]
    rings = begin[degree[begin] >= 2]
    if len(rings):  # cut each ring open beside its first pixel
        touching = np.flatnonzero(np.isin(first, rings) | np.isin(second, rings))
        owner = np.where(np.isin(first[touching], rings), first[touching], second[touching])
        _, cut = np.unique(owner, return_index=True)
        keep = np.ones(len(first), bool)
        keep[touching[cut]] = False
        first, second = first[keep], second[keep]
    tails = np.concatenate([first, second, np.full(len(begin), n)])
    heads = np.concatenate([second, first, begin])
    order = breadth_first_order(_linked(tails, heads, n + 1), n, directed=True, return_predecessors=False)[1:].astype(np.int64)
    compact = np.full(n, -1, np.int64)
    _, compact[pixels] = np.unique(labels[pixels], return_inverse=True)
    return compact, order[np.argsort(compact[order], kind="stable")]


def _nodes(
    rows: Ints, columns: Ints, radius: Floats, junction: NDArray[np.bool_], around: NDArray[np.int32]
) -> tuple[Ints, Floats, Floats]:
    """(node of each pixel or -1, nodes' positions, nodes' radii); touching junction pixels are one node."""
    node_of = np.full(len(rows), -1, np.int64)
    where = np.flatnonzero(junction)
    if not len(where):
        return node_of, np.zeros((0, 2)), np.zeros(0)
    near = around[where]
    linked = (near >= 0) & junction[near]
    a, b = np.repeat(where, linked.sum(1)), near[linked].astype(np.int64)
    _, labels = connected_components(_linked(a, b, len(rows)), directed=False)
    _, node_of[where] = np.unique(labels[where], return_inverse=True)
    mine = node_of[where]
    size = np.bincount(mine)
    centre = np.stack([np.bincount(mine, columns[where]), np.bincount(mine, rows[where])], axis=1) / size[:, None]
    largest = np.zeros(len(size))
    np.maximum.at(largest, mine, radius[where])
    return node_of, centre, largest


def _attached(tips: Ints, around: NDArray[np.int32], node_of: Ints, *, last: bool) -> Ints:
    """The node beside each tip pixel, FREE where there is none; of two, the first or the last in circular order."""
    near = around[tips]
    beside = np.where(near >= 0, node_of[near], -1)
    if last:
        beside = beside[:, ::-1]
    return np.where((beside >= 0).any(1), beside[np.arange(len(tips)), (beside >= 0).argmax(1)], FREE)


def smoothed(values: Floats, offsets: Ints, half_window: int) -> Floats:
    """Moving mean of float64 (n, k) within each segment, the window shrinking symmetrically towards the segment's ends."""
    n = len(values)
    if n == 0:
        return values
    segment = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    index = np.arange(n)
    reach = np.minimum(half_window, np.minimum(index - offsets[segment], offsets[segment + 1] - 1 - index))
    total = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return np.asarray((total[index + reach + 1] - total[index - reach]) / (2 * reach + 1)[:, None])


def arc_lengths(points: Floats, offsets: Ints) -> Floats:
    """Arc length of each point from its segment's first point, float64 (n,)."""
    if not len(points):
        return np.zeros(0)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    return np.asarray(along - np.repeat(along[offsets[:-1]], np.diff(offsets)))
