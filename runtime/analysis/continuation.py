"""Which end goes on as which: every end of strand is paired with at most one other by one assignment over the whole frame.

The same rule carries a hair straight through a crossing, along a stretch that two hairs share, and over a gap where a flake or a
glint hides it: the likelihood that one smooth hair of one width and one colour leaves by one end and comes back by the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from runtime.analysis.courses import percentile
from runtime.analysis.skeleton import Floats, Ints
from runtime.analysis.strands import Ends, is_open

TURN_SIGMA = np.radians(3.0)  # what two ends of one hair may turn beyond what their fits and their bend explain
WANDER = 0.5  # how far curvature changes over a gap, as a share of the frame's bend
OFFSET_WIDTHS, OFFSET_PX = 0.2, 0.6  # spread of the sideways offset between two ends of one hair that touch
WIDTH_SIGMA = 0.25  # spread of the logarithm of width from one end to the other
COLOUR_SIGMA = 18.0  # grey levels
GAP_WIDTHS, GAP_PX = 1.0, 8.0  # a gap of this length outside the mask costs one unit
GAP_MOST = 3.0  # what the widest gap costs: a flake may hide any length of hair
GAP_OVER_SEEN = 4.0  # … but what is hidden must be little against what is seen on either side: short hairs stand in line
REACH_PX = 24.0  # looked for beyond the reach in hair widths that is asked for
REACH_PERCENTILE = 90.0  # of all ends' reaches, the farthest looked for: one blob must not make every end a neighbour
FACING = -0.5  # ends face one another below this product of their directions
FEW_ENDS = 500  # of up to so many ends a table of all pairs is quickest
MOST_AT_ONCE = 1200  # of more the table would be too large; between the two it is made where …
NEAR_SHARE = 0.05  # … the reach, squared, is more than this share of the area in which the ends lie: a tree would spare little
FEW_LINKS = 6
Link = tuple[int, int, float]  # two ends and what joining them gains
UNMATCHED = 6.0  # what leaving one end unmatched costs; a pair may cost up to twice that
CHORD_SAMPLES = 12
CHORD_HALF_WIDTH = 0.35  # a hair is looked for on its way along its middle and this share of its width to either side


def continuations(ends: Ends, node: Ints, colour: Floats, mask: NDArray[np.bool_], bend: float, reach_widths: float) -> Ints:
    """The partner of every end or -1, int64 (ends,).

    `node` tells which ends lie at the border; `colour` is float64 (ends, channels), each strand's own; `bend` is the spread of
    curvature in this frame, rad per px; ends farther from one another than `reach_widths` hair widths are not considered.
    """
    partner = np.full(len(node), -1, np.int64)
    first, second = _candidates(ends, node, reach_widths)
    if not len(first):
        return partner
    gain = 2.0 * UNMATCHED - _cost(ends, colour, mask, bend, first, second)
    use = gain > 0
    return best_pairs(len(partner), first[use], second[use], gain[use])


def _candidates(ends: Ends, node: Ints, reach_widths: float) -> tuple[Ints, Ints]:
    """Pairs of ends of different strands that face one another within reach."""
    open_ends = np.flatnonzero(is_open(node))
    at, width = ends.position[open_ends], ends.width_px[open_ends]
    if len(open_ends) < 2:
        return open_ends[:0], open_ends[:0]
    reach = REACH_PX + reach_widths * width
    farthest = percentile(reach, REACH_PERCENTILE)
    reach = np.minimum(reach, farthest)
    direction = ends.direction[open_ends]
    spread = at.max(0) - at.min(0)
    if len(open_ends) <= FEW_ENDS or (len(open_ends) <= MOST_AT_ONCE and farthest**2 > NEAR_SHARE * float(spread[0] * spread[1])):
        pair = np.flatnonzero(direction @ direction.T < FACING)
        a = pair // len(at)
        b = pair - a * len(at)
        once = a < b
        a, b = a[once], b[once]
    else:
        pairs = cKDTree(at).query_pairs(farthest, output_type="ndarray")
        pairs = pairs[(direction[pairs[:, 0]] * direction[pairs[:, 1]]).sum(1) < FACING]
        a, b = pairs[:, 0], pairs[:, 1]
    x, y = at[a, 0] - at[b, 0], at[a, 1] - at[b, 1]
    use = (x**2 + y**2 <= np.minimum(reach[a], reach[b]) ** 2) & (open_ends[a] // 2 != open_ends[b] // 2)
    return open_ends[a[use]], open_ends[b[use]]


def _cost(ends: Ends, colour: Floats, mask: NDArray[np.bool_], bend: float, first: Ints, second: Ints) -> Floats:
    """Minus twice the log likelihood, up to a constant, that one hair links each pair."""
    delta = ends.position[second] - ends.position[first]
    distance = np.hypot(delta[:, 0], delta[:, 1])
    width = np.minimum(ends.width_px[first], ends.width_px[second])
    out, back = ends.direction[first], -ends.direction[second]
    heading = out + back
    heading /= np.maximum(np.hypot(heading[:, 0], heading[:, 1]), 1e-9)[:, None]
    ahead = (delta * heading).sum(1)
    aside = delta[:, 0] * heading[:, 1] - delta[:, 1] * heading[:, 0]

    # an end seen from the other side turns the other way
    precision_first, precision_second = 1.0 / ends.curvature_variance[first], 1.0 / ends.curvature_variance[second]
    both = precision_first + precision_second
    curvature = (precision_first * ends.curvature[first] - precision_second * ends.curvature[second]) / both
    bends = np.arctan2(out[:, 0] * back[:, 1] - out[:, 1] * back[:, 0], (out * back).sum(1))
    turn = bends - curvature * distance
    fits = ends.turn_variance[first] + ends.turn_variance[second]
    turn_variance = TURN_SIGMA**2 + fits + distance**2 * (1.0 / both + (WANDER * bend) ** 2)
    # an arc leaves no offset from the mean heading of its ends; what remains grows with the error of their directions
    offset_base = (OFFSET_WIDTHS * width + OFFSET_PX) ** 2
    offset_variance = offset_base + distance**2 * (TURN_SIGMA**2 + fits) / 4
    cost = turn**2 / turn_variance + np.log(turn_variance / TURN_SIGMA**2) / 2
    cost += aside**2 / offset_variance + np.log(offset_variance / offset_base) / 2
    cost += (np.log(ends.width_px[first] / ends.width_px[second]) / WIDTH_SIGMA) ** 2 / 2
    cost += ((colour[first] - colour[second]) ** 2).mean(1) / COLOUR_SIGMA**2 / 2
    cost[ahead < -width] = np.inf
    # only what could still be worth joining is looked at in the mask
    near = np.flatnonzero(cost < 2.0 * UNMATCHED)
    distance, width = distance[near], width[near]
    bulge = bends[near] * distance / 8.0
    hidden = _outside(ends.position[first[near]], delta[near], bulge, width, mask) * distance
    gap = hidden / (GAP_WIDTHS * width + GAP_PX)
    seen = np.minimum(ends.strand_px[first[near]], ends.strand_px[second[near]])
    cost[near] += GAP_MOST * gap / (GAP_MOST + gap) + GAP_OVER_SEEN * hidden / np.maximum(seen, 1.0)
    return np.asarray(cost)


def _outside(start: Floats, delta: Floats, bulge: Floats, width: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Share of a hair that would lie outside the mask, going from `start` along the arc that `bulge` px parts from its chord."""
    steps = np.linspace(0.0, 1.0, CHORD_SAMPLES)
    length = np.maximum(np.hypot(delta[:, 0], delta[:, 1]), 1e-9)
    side = (-delta[:, 1] / length, delta[:, 0] / length)
    # the arc lies on the side away from the turn
    aside = -bulge[:, None] * 4.0 * steps * (1.0 - steps)
    off = np.array([-CHORD_HALF_WIDTH, 0.0, CHORD_HALF_WIDTH]) * width[:, None]
    at = []
    for axis in (0, 1):
        middle = start[:, axis, None] + delta[:, axis, None] * steps + side[axis][:, None] * aside
        way = middle[:, :, None] + (side[axis][:, None] * off)[:, None]
        at.append(np.clip(np.rint(way), 0, mask.shape[1 - axis] - 1).astype(np.int64))
    seen = mask.ravel()[at[1] * mask.shape[1] + at[0]]
    return np.asarray(1.0 - seen.mean((1, 2)))


def best_pairs(count: int, first: Ints, second: Ints, gain: Floats) -> Ints:
    """The matching of `count` ends with the largest sum of gains: partner of each end or -1, int64 (count,).

    Of a connected group of ends with few links all matchings are tried; a larger one is solved as a symmetric assignment, whose even
    rings are exact in one of two ways, and of which an odd ring (three ends that could each go on as each other) gives up its weakest
    link.
    """
    partner = np.full(count, -1, np.int64)
    for links in _connected(list(zip(first.tolist(), second.tolist(), gain.tolist(), strict=True))):
        if len(links) <= FEW_LINKS:
            for i, j, _ in _best_of_few(links)[1]:
                partner[i], partner[j] = j, i
            continue
        members = sorted({end for link in links for end in link[:2]})
        place = {end: k for k, end in enumerate(members)}
        table = np.zeros((len(members),) * 2)
        for i, j, worth in links:
            table[place[i], place[j]] = table[place[j], place[i]] = worth
        _, choice = linear_sum_assignment(-table)
        for i, j in _rounded(choice, table):
            partner[members[i]], partner[members[j]] = members[j], members[i]
    return partner


def _connected(links: list[Link]) -> list[list[Link]]:
    """The links in groups that share no end. There are tens of them: SciPy takes longer to be asked."""
    leader: dict[int, int] = {}

    def led_by(end: int) -> int:
        while leader.setdefault(end, end) != end:
            leader[end] = leader[leader[end]]
            end = leader[end]
        return end

    for i, j, _ in links:
        leader[led_by(i)] = led_by(j)
    groups: dict[int, list[Link]] = {}
    for link in links:
        groups.setdefault(led_by(link[0]), []).append(link)
    return list(groups.values())


def _best_of_few(links: list[Link]) -> tuple[float, list[Link]]:
    """(sum of gains, links) of the best of all sets of `links` that share no end."""
    if len(links) < 2:
        return sum(link[2] for link in links), links
    (i, j, gain), rest = links[0], links[1:]
    worth, without = _best_of_few(rest)
    apart = [link for link in rest if i not in link[:2] and j not in link[:2]]
    if len(apart) == len(rest):
        return worth + gain, [links[0], *without]
    more, having = _best_of_few(apart)
    return (more + gain, [links[0], *having]) if more + gain > worth else (worth, without)


def _rounded(choice: NDArray[np.intp], table: Floats) -> list[tuple[int, int]]:
    """Pairs from a symmetric assignment: its two-rings, and of every longer ring the best set of links that share no end."""
    pairs: list[tuple[int, int]] = []
    seen = np.zeros(len(choice), bool)
    for start in range(len(choice)):
        if seen[start]:
            continue
        ring = [start]
        seen[start] = True
        while not seen[choice[ring[-1]]]:
            ring.append(int(choice[ring[-1]]))
            seen[ring[-1]] = True
        pairs.extend(_ring_pairs(ring, table))
    return pairs


def _ring_pairs(ring: list[int], table: Floats) -> list[tuple[int, int]]:
    n = len(ring)
    if n < 2:
        return []
    links = [(ring[k], ring[(k + 1) % n]) for k in range(n)] if n > 2 else [(ring[0], ring[1])]
    if n == 2:
        options = [links]
    elif n % 2 == 0:
        options = [links[0::2], links[1::2]]
    else:
        options = [(links[k:] + links[:k])[1 : n - 1 : 2] for k in range(n)]
    worth = [sum(float(table[i, j]) for i, j in option) for option in options]
    return [(i, j) for i, j in options[int(np.argmax(worth))] if table[i, j] > 0]
