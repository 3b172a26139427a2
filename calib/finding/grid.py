"""Scattered places that lie on a bent square grid: which row and column each of them belongs to, grown from one place outwards.

Distortion and tilt change the step of the grid by per cents over a picture, which adds up to whole steps: so every place predicts its own
four neighbours with the step that led to it, and no global map is needed. The growing goes in waves, all places of a wave at once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

REACH = 0.22  # of a step: so far from where it was predicted a neighbour is still the one
SEEDS = 40  # places tried as the first; among scattered ones most lead nowhere
NEXT = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
BROAD, NARROW = 1.3, 0.75  # lengths of steps over that to the nearest, still a step of the grid
SQUARE = 0.6  # resultant of the steps' directions, four times the angle: 1 of a perfect grid, 0 of directions at random


def square_steps(places: Floats, tree: cKDTree | None = None) -> Floats | None:
    """The two steps of the grid on which most of the places (n, 2) lie, rows of float64 (2, 2), the second a quarter turn from the first.

    None where neighbours lie in no two directions square to each other.
    """
    if len(places) < 4:
        return None
    tree = tree or cKDTree(places)
    lengths, found = tree.query(places, k=min(5, len(places)))
    nearest = float(np.median(lengths[:, 1]))
    near = (lengths[:, 1:] < BROAD * nearest) & (lengths[:, 1:] > NARROW * nearest)
    if not near.any():
        return None
    ways = (places[found[:, 1:]] - places[:, None])[near]
    length = float(np.median(lengths[:, 1:][near]))
    fourfold = np.mean(np.exp(4j * np.arctan2(ways[:, 1], ways[:, 0])))
    if abs(fourfold) < SQUARE:
        return None
    angle = float(np.angle(fourfold)) / 4
    step = length * np.array([math.cos(angle), math.sin(angle)])
    return np.array([step, [-step[1], step[0]]])


def grow_grid(places: Floats, steps: Floats, middle: Floats) -> tuple[Integers, NDArray[np.bool_]]:
    """Column and row of each place (n, 2), int64 (n, 2), and which places belong to the grid at all, bool (n,).

    `steps` are the rows (2, 2) that lead to the next column and the next row near `middle` (2,). Of several seeds near the middle the
    one from which most of the places were reached counts.
    """
    tree = cKDTree(places)
    best = np.zeros((len(places), 2), np.int64), np.zeros(len(places), np.bool_)
    tried = np.zeros(len(places), np.bool_)
    grown = 0
    for seed in np.argsort(np.sum((places - middle) ** 2, 1)):
        if tried[seed]:
            continue
        index, on = _grow(places, tree, steps, int(seed))
        tried |= on
        grown += 1
        if on.sum() > best[1].sum():
            best = index, on
        if grown == SEEDS or best[1].sum() >= len(places) - tried.sum():
            break  # nothing larger is left
    return best


def _grow(places: Floats, tree: cKDTree, steps: Floats, seed: int) -> tuple[Integers, NDArray[np.bool_]]:
    n = len(places)
    index, on = np.zeros((n, 2), np.int64), np.zeros(n, np.bool_)
    own = np.broadcast_to(steps, (n, 2, 2)).copy()
    length = float(np.linalg.norm(steps[0]))
    on[seed] = True
    taken = {(0, 0)}
    front = np.array([seed])
    while len(front):
        ways = np.stack([own[front, 0], own[front, 1], -own[front, 0], -own[front, 1]], 1)  # (f, 4, 2)
        expected = places[front][:, None] + ways
        off, found = tree.query(expected.reshape(-1, 2), distance_upper_bound=REACH * length)
        order = np.argsort(off)
        coming: list[int] = []
        for k in order[: int(np.isfinite(off).sum())]:
            child, parent, way = int(found[k]), int(front[k // 4]), int(k % 4)
            if on[child]:
                continue
            place = (int(index[parent, 0] + NEXT[way, 0]), int(index[parent, 1] + NEXT[way, 1]))
            if place in taken:
                continue
            taken.add(place)
            on[child] = True
            index[child] = place
            own[child] = own[parent]
            axis, sign = way % 2, 1 if way < 2 else -1
            own[child, axis] = (own[parent, axis] + sign * (places[child] - places[parent])) / 2
            coming.append(child)
        front = np.array(coming, np.intp)
    return index, on


def largest_block(index: Integers, on: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the places on the grid those with at least two neighbours on it, one in a row and one in a column, bool (n,)."""
    if not on.any():
        return on
    low = index[on].min(0)
    size = index[on].max(0) - low + 3
    field = np.zeros(tuple(size), np.bool_)
    at = index - low + 1
    field[at[on, 0], at[on, 1]] = True
    beside = np.zeros_like(field), np.zeros_like(field)
    for axis in (0, 1):
        beside[axis][...] = np.roll(field, 1, axis) | np.roll(field, -1, axis)
    both = field & beside[0] & beside[1]
    kept = np.zeros_like(on)
    kept[on] = both[at[on, 0], at[on, 1]]
    return kept
