"""From a skeleton's segments to distinct hairs: strands are joined end to end where one hair continues, and what is left
over as a piece of hairs already found, or too short to count, is dropped.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.alongside import parted
from runtime.analysis.confidence import with_confidence
from runtime.analysis.continuation import continuations
from runtime.analysis.hairs import HairPath
from runtime.analysis.leftover import ends_near, unexplained
from runtime.analysis.skeleton import BORDER, Floats, Ints, SkeletonGraph, arc_lengths, skeleton_graph
from runtime.analysis.strands import STEP_PX, Strands, fit_ends, frame_bend, resampled, sample, strands_of

SPACING_PX = 4.0
MIN_VISIBLE_PX = 24.0  # a hair counts from this visible length on (design, section 3)
COLOUR_SAMPLES = 9
EXTEND_WIDTHS, FREE_EXTEND_WIDTHS = 12.0, 2.0  # how far an end at a meeting, or a free one, is carried on inside the mask
VISIBLE_SHARE = 1.0  # of the length that counts: so much must be seen outside meetings, where strands are cut back
CLAIM_SHARE = 0.7  # of its width within which a hair explains what else runs there
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
    hairs = parted(_distinct(*extended(_continued(strands, mask, image), mask), mask.shape), mask, MIN_VISIBLE_PX)
    more = _left_over(hairs, mask, image) if hairs and reliability >= RELIABLE else ()
    return with_confidence((*hairs, *more), reliability)


def _continued(strands: Strands, mask: NDArray[np.bool_], image: NDArray[np.uint8]) -> Strands:
    """`strands` joined to whole hairs, near ends first."""
    for reach in REACHES:
        bend = frame_bend(strands)
        partner = continuations(fit_ends(strands), strands.node, strand_colours(strands, image), mask, bend, reach)
        strands = joined(strands, partner)
    return strands


def _left_over(hairs: tuple[HairPath, ...], mask: NDArray[np.bool_], image: NDArray[np.uint8]) -> tuple[HairPath, ...]:
    """The hairs in what `hairs` leave unexplained of the mask, unless one of `hairs` ends there: that one goes on."""
    rest, usual = unexplained(hairs, mask, MIN_VISIBLE_PX)
    if not rest.any():
        return ()
    strands = strands_of(skeleton_graph(rest))
    if not len(strands):
        return ()
    strands = _continued(strands, mask, image)
    more = _distinct(strands, np.ones(len(strands.points), bool), mask.shape)
    return tuple(hair for hair in more if not ends_near(hair.points, hairs, NEAR_WIDTHS * usual))


def strand_colours(strands: Strands, image: NDArray[np.uint8]) -> Floats:
    """Median colour along each strand's centre line, float64 (ends, 3); both ends of a strand have the same."""
    count = len(strands)
    arcs = strands.lengths_px[:, None] * np.linspace(0.0, 1.0, COLOUR_SAMPLES)
    which = np.repeat(np.arange(count), COLOUR_SAMPLES)
    at = np.rint(sample(strands.points, strands.arc_px, strands.offsets, which, arcs.ravel())).astype(np.int64)
    seen = image[np.clip(at[:, 1], 0, image.shape[0] - 1), np.clip(at[:, 0], 0, image.shape[1] - 1)]
    colour = np.median(seen.reshape(count, COLOUR_SAMPLES, -1).astype(np.float64), axis=1)
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


def joined(strands: Strands, partner: Ints) -> Strands:
    """Longer strands: each chain of `strands` whose ends are partners as one."""
    values = np.column_stack([strands.points, strands.radius_px])
    pieces, counts, node = [], [], []
    for chain in _chains(partner):
        count = 0
        for enter in chain[::2]:
            piece = values[strands.offsets[enter // 2] : strands.offsets[enter // 2 + 1]]
            pieces.append(piece[::-1] if enter % 2 else piece)
            count += len(piece)
        counts.append(count)
        node += [strands.node[chain[0]], strands.node[chain[-1]]]
    flat, offsets = np.concatenate(pieces), np.concatenate([[0], np.cumsum(counts)])
    arc = arc_lengths(flat[:, :2], offsets)
    spans = np.stack([np.zeros(len(counts)), arc[offsets[1:] - 1]], axis=1)
    return resampled(flat, arc, offsets, np.arange(len(counts)), spans, np.asarray(node, np.int64))


def extended(strands: Strands, mask: NDArray[np.bool_]) -> tuple[Strands, NDArray[np.bool_]]:
    """`strands` carried on at both ends, as they bend there, to where they leave the mask; and which points, bool (n,), are their own.

    Centre lines stop half a width short of a blunt end, and where a hair joins another at a sharp angle far short of it: there both
    run on in one stretch of mask.
    """
    ends = fit_ends(strands)
    limit = np.where(strands.node >= 0, EXTEND_WIDTHS, FREE_EXTEND_WIDTHS) * ends.width_px
    # no farther than the fit is good for: half a width of doubt
    doubt = np.sqrt(np.maximum(ends.width_px, 2.0) / np.sqrt(np.maximum(ends.curvature_variance, 1e-12)))
    limit = np.minimum(limit, doubt)
    steps = np.arange(1, max(2, int(np.ceil(limit.max() / STEP_PX)) + 1)) * STEP_PX
    side = np.stack([-ends.direction[:, 1], ends.direction[:, 0]], axis=1)
    way = (
        ends.position[:, None]
        + ends.direction[:, None] * steps[:, None]
        + side[:, None] * (ends.curvature[:, None] * steps**2 / 2.0)[:, :, None]
    )
    height, width = mask.shape
    at = np.rint(way).astype(np.int64)
    within = (at[:, :, 0] >= 0) & (at[:, :, 0] < width) & (at[:, :, 1] >= 0) & (at[:, :, 1] < height)
    hair = within & mask[np.clip(at[:, :, 1], 0, height - 1), np.clip(at[:, :, 0], 0, width - 1)]
    hair &= steps <= limit[:, None]
    count = np.where(hair.all(1), len(steps), hair.argmin(1))
    pieces, sizes = [], []
    for k in range(len(strands)):
        own = slice(strands.offsets[k], strands.offsets[k + 1])
        before, after = way[2 * k, : count[2 * k]][::-1], way[2 * k + 1, : count[2 * k + 1]]
        pieces.append(np.concatenate([before, strands.points[own], after]))
        sizes.append((len(before), len(after)))
    grown = np.array(sizes)
    offsets = np.concatenate([[0], np.cumsum(np.diff(strands.offsets) + grown.sum(1))])
    radius = np.concatenate(
        [np.pad(strands.radius_px[strands.offsets[k] : strands.offsets[k + 1]], sizes[k], mode="edge") for k in range(len(strands))]
    )
    points = np.concatenate(pieces)
    index = np.arange(len(points))
    which = np.repeat(np.arange(len(strands)), np.diff(offsets))
    # beyond a free end there is nothing but the hair's own blunt end
    foreign = np.where(strands.node.reshape(-1, 2) >= 0, grown, 0)
    own_points = (index >= (offsets[:-1] + foreign[:, 0])[which]) & (index < (offsets[1:] - foreign[:, 1])[which])
    return Strands(points, radius, arc_lengths(points, offsets), offsets, strands.node), own_points


def _distinct(strands: Strands, seen: NDArray[np.bool_], shape: tuple[int, ...]) -> tuple[HairPath, ...]:
    """Strands that show MIN_VISIBLE_PX of hair not already explained by longer ones, by those of their points that are `seen`."""
    lengths = strands.lengths_px
    claimed = np.zeros(shape[:2], np.uint8)
    hairs = []
    for k in np.argsort(-lengths, kind="stable"):
        own = slice(strands.offsets[k], strands.offsets[k + 1])
        points, radius = strands.points[own], strands.radius_px[own]
        if lengths[k] < MIN_VISIBLE_PX:
            continue
        columns = np.clip(np.rint(points[:, 0]).astype(np.int64), 0, shape[1] - 1)
        rows = np.clip(np.rint(points[:, 1]).astype(np.int64), 0, shape[0] - 1)
        new = (claimed[rows, columns] == 0) & seen[own]
        if new.sum() * STEP_PX < MIN_VISIBLE_PX * VISIBLE_SHARE:
            continue
        width = max(1, round(CLAIM_SHARE * 2.0 * float(np.median(radius))))
        cv2.polylines(claimed, [np.rint(points).astype(np.int32)], False, 1, width)
        pick = np.unique(np.rint(np.linspace(0, len(points) - 1, max(2, round(lengths[k] / SPACING_PX) + 1))).astype(np.int64))
        widths = 2.0 * radius[pick]
        course = np.clip(points[pick], 0, [shape[1] - 1, shape[0] - 1])  # fits may carry an end just over the rim
        border = bool((strands.node[[2 * k, 2 * k + 1]] == BORDER).any())
        hairs.append(HairPath(course, widths, float(np.median(widths)), float("nan"), float(lengths[k]), False, 1.0, border))
    return tuple(hairs)
