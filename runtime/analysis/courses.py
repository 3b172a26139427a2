"""The courses of all hairs of a frame as flat arrays, and what is asked of every hair's points at once.

A frame has tens of hairs of tens of points each: a median for one hair costs NumPy more in asking than in counting, so that the medians
of all of them are read off one sorted array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.hairs import HairPath
from runtime.analysis.skeleton import Floats, Ints

ROUGH_PERCENTILE = 35.0  # where hairs merge the mask is only ever wider than one of them
SPARSE = 8  # places of a table for each value in it
NO_WIDTH_PX = 4.0  # stands in for a hair of which nothing is known


@dataclass(frozen=True, eq=False)
class Courses:
    """Points of hairs, hair after hair.

    Attributes:
        points: float64 (n, 2), x and y.
        widths_px: float64 (n,), NaN where unknown.
        owner: int64 (n,), the hair each point belongs to.
        offsets: int64 (hairs + 1,), hair k is points[offsets[k]:offsets[k + 1]].
        lengths_px: float64 (hairs,).
    """

    points: Floats
    widths_px: Floats
    owner: Ints
    offsets: Ints
    lengths_px: Floats

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def spacing_px(self) -> Floats:
        """Distance from one point to the next, float64 (hairs,)."""
        return np.asarray(self.lengths_px / np.maximum(np.diff(self.offsets) - 1, 1))

    def rough_widths(self) -> Floats:
        """The lower half's middle of each hair's widths, px, float64 (hairs,); NO_WIDTH_PX where none is known."""
        rough = percentiles(self.widths_px, self.owner, len(self), ROUGH_PERCENTILE)
        return np.where(np.isfinite(rough), rough, NO_WIDTH_PX)


def courses_of(paths: Sequence[HairPath]) -> Courses:
    """The courses of `paths`, of which there is at least one."""
    counts = np.array([len(path.points) for path in paths])
    return Courses(
        points=np.concatenate([path.points for path in paths]),
        widths_px=np.concatenate([path.widths_px for path in paths]),
        owner=np.repeat(np.arange(len(paths)), counts),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        lengths_px=np.array([path.length_px for path in paths]),
    )


def percentile(values: Floats, percent: float) -> float:
    """One percentile of some finite values, at least one, linear between them: np.percentile takes ten times as long to be asked."""
    ranked = np.sort(values)
    at = (len(ranked) - 1) * (percent / 100.0)
    below = int(at)
    low = float(ranked[below])
    return low + (float(ranked[min(below + 1, len(ranked) - 1)]) - low) * (at - below)


def percentiles(values: Floats, owner: Ints, groups: int, percent: float) -> Floats:
    """One percentile of each group's finite values, linear between them, float64 (groups,); NaN for a group without any.

    `owner`, int64 (n,) in 0…groups - 1, says to which group each of `values` (n,) belongs, in any order.
    """
    known = np.isfinite(values)
    if not known.all():
        values, owner = values[known], owner[known]
    if not len(values):
        return np.full(groups, np.nan)
    size = np.bincount(owner, minlength=groups)
    if (owner[1:] < owner[:-1]).any():
        order = np.argsort(owner, kind="stable")
        values, owner = values[order], owner[order]
    last = np.maximum(size - 1, 0)
    at = last * (percent / 100.0)
    below = at.astype(np.int64)
    begin, longest = np.cumsum(size) - size, int(size.max())
    if groups * longest <= SPARSE * len(values):  # a table of a row a group is sorted in a third of the time
        table = np.full((groups, longest), np.inf)
        table.ravel()[np.arange(len(values)) + (np.arange(groups) * longest - begin)[owner]] = values
        table.sort(axis=1)
        ranked, begin = table.ravel(), np.arange(groups) * longest
    else:
        ranked = values[np.lexsort((values, owner))]
        begin = np.minimum(begin, len(ranked) - 1)  # an empty group at the end begins beyond it
    low, high = ranked[begin + below], ranked[begin + np.minimum(below + 1, last)]
    with np.errstate(invalid="ignore"):  # empty rows
        return np.where(size > 0, low + (high - low) * (at - below), np.nan)


def runs(wanted: NDArray[np.bool_], owner: Ints, gap: int) -> tuple[Ints, Ints]:
    """(first, last) index of each stretch of one hair whose points are `wanted`, gaps of at most `gap` points within it allowed."""
    index = np.flatnonzero(wanted)
    if not len(index):
        return index, index
    breaks = np.flatnonzero((np.diff(index) > gap + 1) | (np.diff(owner[index]) != 0))
    return index[np.concatenate([[0], breaks + 1])], index[np.concatenate([breaks, [len(index) - 1]])]
