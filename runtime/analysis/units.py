"""Figures made of follicular units: how many hold a single hair, and how far they stand from one another.

A follicular unit is an ostium from which at least one hair grows; empty openings are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from runtime.analysis import sampling
from runtime.analysis.measurement import Distribution
from runtime.analysis.sampling import Interval

# of points scattered in a plane 62 % are the nearest of their nearest (Pickard, J. Appl. Prob. 19 (1982) 444): they tell one distance
# twice, so that n distances are worth 0.69 n
DISTINCT = 0.69


def single_hair_unit_share(hairs_per_unit: Sequence[int]) -> float | None:
    """Follicular units of one hair over all with hair (Rakowska, J. Dermatol. Case Rep. 3 (2009) 14: norms); None of no unit."""
    with_hair = [m for m in hairs_per_unit if m > 0]
    return sum(m == 1 for m in with_hair) / len(with_hair) if with_hair else None


@dataclass(frozen=True, eq=False)
class Distances:
    """From follicular units to their nearest neighbours: `values`, float64 (n,), and how much each `weighs`, float64 (n,)."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]


NO_DISTANCES = Distances(np.empty(0), np.empty(0))


def nearest_distances(places: NDArray[np.float64], width: float, height: float) -> Distances:
    """From each unit at `places`, float64 (n, 2) x and y, to the nearest other one; all in one unit of length, in a field width × height.

    The nearest neighbour may lie outside the field. So a unit counts only where it is nearer to another unit than to the field's border,
    and weighs by the inverse of the area in which that could have been so, (width − 2d)(height − 2d): Hanisch's estimator (Math.
    Operationsforsch. Stat., Ser. Stat. 15 (1984) 409), which the border does not bias. The distance itself: Clark & Evans, Ecology 35
    (1954) 445.
    """
    if len(places) < 2:
        return NO_DISTANCES
    nearest = np.asarray(cKDTree(places).query(places, k=2)[0][:, 1], np.float64)
    x, y = places[:, 0], places[:, 1]
    border = np.minimum(np.minimum(x, width - x), np.minimum(y, height - y))
    free = (width - 2 * nearest) * (height - 2 * nearest)
    kept = (nearest <= border) & (free > 0)
    return Distances(nearest[kept], 1.0 / free[kept])


def joined(fields: Sequence[Distances]) -> Distances:
    """The distances of several fields of one site, all in the same unit of length."""
    return Distances(
        np.concatenate([np.empty(0), *(f.values for f in fields)]), np.concatenate([np.empty(0), *(f.weights for f in fields)])
    )


def interfollicular_distance(distances: Distances) -> Distribution:
    """Inter-follicular distance: the weighted distribution over `n` units; all null where no unit has its neighbour in view.

    `sd` is that of the distances, not the error of the mean; it needs two values.
    """
    values, weights = distances.values, distances.weights
    n = len(values)
    if not n:
        return Distribution(n=0, mean=None, median=None, p25=None, p75=None, sd=None)
    order = np.argsort(values)
    ordered, share = values[order], weights[order] / weights.sum()
    # each value stands at the middle of its weight, so that equal weights give the common (Hazen's) percentiles
    places = np.cumsum(share) - share / 2
    p25, median, p75 = (float(v) for v in np.interp([0.25, 0.5, 0.75], places, ordered))
    mean = float((ordered * share).sum())
    sd = float(np.sqrt((share * (ordered - mean) ** 2).sum() * n / (n - 1))) if n > 1 else None
    return Distribution(n=n, mean=mean, median=median, p25=p25, p75=p75, sd=sd)


def scaled(distances: Distribution, um_per_px: float) -> Distribution:
    """The distribution of distances in px in µm."""

    def in_um(value: float | None) -> float | None:
        return None if value is None else value * um_per_px

    return Distribution(
        n=distances.n,
        mean=in_um(distances.mean),
        median=in_um(distances.median),
        p25=in_um(distances.p25),
        p75=in_um(distances.p75),
        sd=in_um(distances.sd),
    )


def distance_interval(distances: Distances, relative_std: float = 0.0) -> Interval | None:
    """95 % interval of the mean inter-follicular distance, the scale's `relative_std` added; None below two distinct distances."""
    found = interfollicular_distance(distances)
    if found.mean is None or found.sd is None:
        return None
    effective = DISTINCT * float(distances.weights.sum() ** 2 / (distances.weights**2).sum())
    return sampling.mean_interval(found.mean, found.sd, effective, relative_std)
