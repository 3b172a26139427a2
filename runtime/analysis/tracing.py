"""From a skeleton's segments to distinct hairs: strands are joined end to end where one hair continues, and what is left
over as a piece of hairs already found, or too short to count, is dropped.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.alongside import running_beside
from runtime.analysis.breadth import breadth_of
from runtime.analysis.confidence import with_confidence
from runtime.analysis.continuation import continuations
from runtime.analysis.courses import percentiles
from runtime.analysis.hairs import HairPath
from runtime.analysis.leftover import unexplained, where_hairs_end
from runtime.analysis.skeleton import Floats, Ints, SkeletonGraph, arc_lengths, skeleton_graph
from runtime.analysis.strands import STEP_PX, Strands, along, fit_ends, frame_bend, resampled, strands_of

SPACING_PX = 4.0
MIN_VISIBLE_PX = 24.0  # a hair counts from this visible length on (design, section 3)
COLOUR_SAMPLES = 9  # odd: the median is one of them
EXTEND_WIDTHS, FREE_EXTEND_WIDTHS = 12.0, 2.0  # how far an end at a meeting, or a free one, is carried on inside the mask
VISIBLE_SHARE = 1.0  # of the length that counts: so much must be seen outside meetings, where strands are cut back
CLAIM_SHARE = 0.7  # of its width within which a hair explains what else runs there
OWN_PERCENTILE = 25.0  # of a hair's sections: the mask is only ever wider than its hair
RELIABLE = 0.8  # in a mask of which more is doubtful, what hairs leave over is mostly their rims and shadows
NEAR_WIDTHS = 1.0  # a hair that ends within this many usual widths of a stretch left over goes on there
REACHES = (14.0, 30.0, 60.0)  # hair widths: near ends are joined first, what they then show of their bend guides the far ones


def trace_hairs(graph: SkeletonGraph, mask: NDArray[np.bool_], image: NDArray[np.uint8], reliability: float = 1.0) -> tuple[HairPath, ...]:
    """The distinct hairs of a frame, longest first, with the mask's rough widths.

    `graph` is the skeleton of `mask`, bool (height, width); `image` uint8 (height, width, 3) BGR tells hairs of different colour apart.
    Only in a mask that can be relied on, by the segmenter's own `reliability` 0…1, is followed too what its hairs leave unexplained.
    """
    if not len(graph.offsets) > 1:
        return ()
    strands = strands_of(graph)
    if not len(strands):
        return ()
    hairs = _distinct(*extended(_continued(strands, mask, image), mask), mask.shape)
    if not hairs:
        return ()
    breadth = breadth_of(hairs, mask)
    beside = running_beside(hairs, breadth, mask.shape, MIN_VISIBLE_PX)
    more: tuple[HairPath, ...] = ()
    if reliability >= RELIABLE:
        own = np.concatenate([breadth.own(OWN_PERCENTILE), [path.diameter_px for path in beside]])
        more = _left_over((*hairs, *beside), own, mask, image)
    return with_confidence((*hairs, *beside, *more), reliability)


def _continued(strands: Strands, mask: NDArray[np.bool_], image: NDArray[np.uint8]) -> Strands:
    """`strands` joined to whole hairs, near ends first."""
    bend = frame_bend(strands)
    ends, colours = fit_ends(strands, bend), strand_colours(strands, image)
    for reach in REACHES:
        partner = continuations(ends, strands.node, colours, mask, bend, reach)
        if (partner < 0).all():
            continue
        strands = joined(strands, partner)
        if reach < REACHES[-1]:
            bend = frame_bend(strands)
            ends, colours = fit_ends(strands, bend), strand_colours(strands, image)
    return strands


def _left_over(hairs: tuple[HairPath, ...], own: Floats, mask: NDArray[np.bool_], image: NDArray[np.uint8]) -> tuple[HairPath, ...]:
    """The hairs in what `hairs`, `own` px wide, leave unexplained of the mask, unless one of `hairs` ends there: that one goes on."""
    rest, usual = unexplained(hairs, own, mask, MIN_VISIBLE_PX)
    if not rest.any():
        return ()
    strands = strands_of(skeleton_graph(rest))
    if not len(strands):
        return ()
    strands = _continued(strands, mask, image)
    more = _distinct(strands, np.ones(len(strands.points), bool), mask.shape)
    if not more:
        return ()
    tips = np.concatenate([[path.points[0], path.points[-1]] for path in hairs])
    claimed = where_hairs_end(more, tips, NEAR_WIDTHS * usual).tolist()
    return tuple(hair for hair, goes_on in zip(more, claimed, strict=True) if not goes_on)


def strand_colours(strands: Strands, image: NDArray[np.uint8]) -> Floats:
    """Median colour along each strand's centre line, float64 (ends, 3); both ends of a strand have the same."""
    count = len(strands)
    shares = np.tile(np.linspace(0.0, 1.0, COLOUR_SAMPLES), count)
    at = np.rint(along(strands.points, strands.offsets, np.repeat(np.arange(count), COLOUR_SAMPLES), shares)).astype(np.int64)
    seen = image[np.clip(at[:, 1], 0, image.shape[0] - 1), np.clip(at[:, 0], 0, image.shape[1] - 1)]
    colour = np.sort(seen.reshape(count, COLOUR_SAMPLES, -1), axis=1)[:, COLOUR_SAMPLES // 2]
    return np.repeat(colour.astype(np.float64), 2, axis=0)


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


def joined(strands: Strands, partner: Ints) -> Strands:
    """Longer strands: each chain of `strands` whose ends are partners as one."""
    chains = _chains(partner)
    enter = np.array([end for chain in chains for end in chain[::2]], np.int64)
    node = strands.node[[end for chain in chains for end in (chain[0], chain[-1])]]
    sizes = np.diff(strands.offsets)[enter // 2]
    stops = np.cumsum(sizes)
    which = np.repeat(np.arange(len(enter)), sizes)
    along = np.arange(len(which)) - (stops - sizes)[which]
    backwards = (enter % 2 == 1)[which]
    pick = np.where(backwards, strands.offsets[enter // 2 + 1][which] - 1 - along, strands.offsets[enter // 2][which] + along)
    flat = np.column_stack([strands.points, strands.radius_px])[pick]
    last = np.cumsum([len(chain) // 2 for chain in chains])
    offsets = np.concatenate([[0], stops[last - 1]])
    arc = arc_lengths(flat[:, :2], offsets)
    spans = np.stack([np.zeros(len(chains)), arc[offsets[1:] - 1]], axis=1)
    return resampled(flat, arc, offsets, np.arange(len(chains)), spans, node)


def extended(strands: Strands, mask: NDArray[np.bool_]) -> tuple[Strands, NDArray[np.bool_]]:
    """`strands` carried on at both ends, as they bend there, to where they leave the mask; and which points, bool (n,), are their own.

    Centre lines stop half a width short of a blunt end, and where a hair joins another at a sharp angle far short of it: there both
    run on in one stretch of mask.
    """
    ends = fit_ends(strands, frame_bend(strands))
    limit = np.where(strands.node >= 0, EXTEND_WIDTHS, FREE_EXTEND_WIDTHS) * ends.width_px
    # no farther than the fit is good for: half a width of doubt
    doubt = np.sqrt(np.maximum(ends.width_px, 2.0) / np.sqrt(np.maximum(ends.curvature_variance, 1e-12)))
    limit = np.minimum(limit, doubt)
    steps = np.arange(1, max(2, int(np.ceil(limit.max() / STEP_PX)) + 1)) * STEP_PX
    side = np.stack([-ends.direction[:, 1], ends.direction[:, 0]], axis=1)
    tips = strands.points[np.stack([strands.offsets[:-1], strands.offsets[1:] - 1], axis=1).ravel()]
    # a strand that bends too sharply for its fit goes on from where it ends, not from where the fit would have it
    start = np.where((np.hypot(*(tips - ends.position).T) > STEP_PX)[:, None], tips, ends.position)
    way = start[:, None] + ends.direction[:, None] * steps[:, None] + side[:, None] * (ends.curvature[:, None] * steps**2 / 2.0)[:, :, None]
    height, width = mask.shape
    at = np.rint(way).astype(np.int64)
    within = (at[:, :, 0] >= 0) & (at[:, :, 0] < width) & (at[:, :, 1] >= 0) & (at[:, :, 1] < height)
    hair = within & mask[np.clip(at[:, :, 1], 0, height - 1), np.clip(at[:, :, 0], 0, width - 1)]
    hair &= steps <= limit[:, None]
    count = np.where(hair.all(1), len(steps), hair.argmin(1))
    grown = count.reshape(-1, 2)
    sizes = np.diff(strands.offsets)
    offsets = np.concatenate([[0], np.cumsum(sizes + grown.sum(1))])
    # one strand's points before its first, from the farthest on, its own, and those after its last
    first, last = offsets[:-1] + grown[:, 0], offsets[1:] - grown[:, 1]
    points, radius = np.empty((offsets[-1], 2)), np.empty(offsets[-1])
    own = np.arange(len(strands.points)) + np.repeat(first - strands.offsets[:-1], sizes)
    points[own], radius[own] = strands.points, strands.radius_px
    end, step = np.nonzero(np.arange(len(steps)) < count[:, None])
    added = np.where(end % 2 == 0, first[end // 2] - 1 - step, last[end // 2] + step)
    points[added], radius[added] = way[end, step], radius[np.where(end % 2 == 0, first[end // 2], last[end // 2] - 1)]
    index = np.arange(len(points))
    which = np.repeat(np.arange(len(strands)), np.diff(offsets))
    # beyond a free end there is nothing but the hair's own blunt end
    foreign = np.where(strands.node.reshape(-1, 2) >= 0, grown, 0)
    own_points = (index >= (offsets[:-1] + foreign[:, 0])[which]) & (index < (offsets[1:] - foreign[:, 1])[which])
    return Strands(points, radius, arc_lengths(points, offsets), offsets, strands.node), own_points


def _distinct(strands: Strands, seen: NDArray[np.bool_], shape: tuple[int, ...]) -> tuple[HairPath, ...]:
    """Strands that show MIN_VISIBLE_PX of hair not already explained by longer ones, by those of their points that are `seen`."""
    lengths, offsets = strands.lengths_px, strands.offsets
    claimed = np.zeros(shape[:2], np.uint8)
    # fits may carry an end just over the rim
    within = np.clip(strands.points, 0, [shape[1] - 1, shape[0] - 1])
    pixels = np.rint(within).astype(np.int64)
    at, courses = pixels[:, 1] * shape[1] + pixels[:, 0], np.rint(strands.points).astype(np.int32)
    which = np.repeat(np.arange(len(strands)), np.diff(offsets))
    claim = np.maximum(np.rint(CLAIM_SHARE * 2.0 * percentiles(strands.radius_px, which, len(strands), 50.0)), 1).astype(int).tolist()
    chosen = []
    for k in np.argsort(-lengths, kind="stable").tolist():
        if lengths[k] < MIN_VISIBLE_PX:
            break
        own = slice(offsets[k], offsets[k + 1])
        new = np.count_nonzero((claimed.ravel()[at[own]] == 0) & seen[own])
        if new * STEP_PX >= MIN_VISIBLE_PX * VISIBLE_SHARE:
            cv2.polylines(claimed, [courses[own]], False, 1, claim[k])
            chosen.append(k)
    return _spaced(strands, within, np.array(chosen, np.int64))


def _spaced(strands: Strands, points: Floats, chosen: Ints) -> tuple[HairPath, ...]:
    """The strands `chosen` as hairs, their courses, `points` (n, 2), thinned out to about SPACING_PX."""
    lengths, sizes = strands.lengths_px[chosen], np.diff(strands.offsets)[chosen]
    counts = np.maximum(np.rint(lengths / SPACING_PX).astype(np.int64) + 1, 2)
    stops = np.cumsum(counts)
    which = np.repeat(np.arange(len(chosen)), counts)
    place = np.arange(len(which)) - (stops - counts)[which]
    pick = strands.offsets[chosen][which] + np.rint(place * ((sizes - 1) / (counts - 1))[which]).astype(np.int64)
    course, widths = points[pick], 2.0 * strands.radius_px[pick]
    diameters = percentiles(widths, which, len(chosen), 50.0).tolist()
    return tuple(
        HairPath(course[first:stop], widths[first:stop], diameters[k], float("nan"), length, False, 1.0)
        for k, (first, stop, length) in enumerate(zip((stops - counts).tolist(), stops.tolist(), lengths.tolist(), strict=True))
    )
