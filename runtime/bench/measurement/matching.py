"""Which found hair stands for which true one, by their courses alone: neither widths nor counts have a say in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

COMMON_SHARE = 0.5  # of a found course that must lie along the true one
SLACK_PX = 2.0  # what a centre line may be off beyond the true shaft itself

Course = NDArray[np.float64]


def match(found: Sequence[Course], true: Sequence[Course]) -> list[tuple[int, int]]:
    """Pairs (index of the found hair, index of the true one), each hair in one pair at most, by found index.

    A point of a found course is common to both where the nearest point of the true course is no farther than half the true width there
    plus 2 px. A found hair can stand for a true one where at least half of its points are common; of all ways to pair them one to one,
    the one with the most common points in sum is taken (Kuhn 1955, as SciPy solves it).

    Args:
        found: float64 (n, ≥ 2) each, x and y in px in the first columns; a course may be empty.
        true: float64 (m, 3) each, x, y and the width in px there; points every few px, for distances are taken to points.
    """
    common = common_points(found, true)
    rows, columns = linear_sum_assignment(common, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if common[i, j] > 0]


def common_points(found: Sequence[Course], true: Sequence[Course]) -> NDArray[np.int64]:
    """Common points of each found hair (rows) with each true one (columns), 0 where the one cannot stand for the other."""
    lengths = np.array([len(course) for course in found], dtype=np.int64)
    common = np.zeros((len(found), len(true)), dtype=np.int64)
    if not lengths.sum():
        return common
    points = np.concatenate([course[:, :2] for course in found if len(course)])
    owner = np.repeat(np.arange(len(found)), lengths)
    for j, course in enumerate(true):
        if len(course):
            distance, nearest = KDTree(course[:, :2]).query(points)
            near = distance <= course[nearest, 2] / 2 + SLACK_PX
            common[:, j] = np.bincount(owner[near], minlength=len(found))
    return np.where(common >= COMMON_SHARE * lengths[:, None], common, 0)
