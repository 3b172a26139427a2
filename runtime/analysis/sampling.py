"""What another field of the same site would give: how counts vary from field to field, and 95 % intervals of pooled figures.

A count of hairs is a random sum: K follicular units lie in a field and bring m hairs each. With Var K = F · E K,

    Var N = E K · Var m + Var K · (E m)² = E N · (E[m²] / E m − (1 − F) · E m)

(Blackwell–Girshick; Feller, An Introduction to Probability Theory and Its Applications I, XII). F = 1 is the compound Poisson law.
Follicular units keep a distance from one another, so their number varies less than Poisson's; see `UNIT_EVENNESS`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special  # not scipy.stats, which takes a kiosk a second to import

Interval = tuple[float, float]

# F: the share of Poisson's variance by which the number of units in a field varies. The roots labelled in 30 frames of clipped scalps
# gave 0.36–0.64 within a frame, for fields of 10–6 mm² (roots within 0.12–0.18 mm taken for one unit), simulated scalps 0.41–0.64 for
# fields of 15 mm²; taken near the upper end, since fields of one site also differ in what grows there
UNIT_EVENNESS = 0.6
# an assumption: hairs in a follicular unit where a field tells little about them (Headington 1984, Jimenez & Ruifernández 1999) …
UNIT_SIZES = np.array([1.0, 2.0, 3.0])
UNIT_SHARES = np.array([0.4, 0.4, 0.2])
ASSUMED_UNITS = 5.0  # … and as many units' weight as they have beside the field's own
LEVEL = 0.95
Z = float(special.ndtri(0.5 + LEVEL / 2))
FEWEST_FOR_MEDIAN = 6  # of fewer values even the smallest and the largest hold the median in less than 95 % of cases
FEWEST_FOR_SPREAD = 10


def unit_moments(hairs_per_unit: Sequence[int]) -> tuple[float, float]:
    """E m and E[m²] of the hairs per follicular unit: the units given (those without hair left out) with five of common sizes."""
    own = np.asarray([m for m in hairs_per_unit if m > 0], dtype=np.float64)
    weight = np.concatenate([np.ones(len(own)), ASSUMED_UNITS * UNIT_SHARES])
    sizes = np.concatenate([own, UNIT_SIZES])
    return float(np.average(sizes, weights=weight)), float(np.average(sizes**2, weights=weight))


def dispersion(hairs_per_unit: Sequence[int] | None) -> float:
    """Variance over mean of the count of hairs in a field, for hairs that come in such units; `None`: of the units themselves."""
    if hairs_per_unit is None:
        return UNIT_EVENNESS
    mean, square = unit_moments(hairs_per_unit)
    return square / mean - (1.0 - UNIT_EVENNESS) * mean


def between_fields(counts: Sequence[float], areas: Sequence[float], variance_over_mean: float) -> float:
    """By how much more (≥ 1, on variances) counts differ between fields than sampling explains: the squared Birge ratio.

    χ² / (k − 1) of k fields about their common density, never below 1 (Birge, Phys. Rev. 40 (1932) 207). 1 for fewer than two fields.
    """
    count, area = np.asarray(counts, dtype=np.float64), np.asarray(areas, dtype=np.float64)
    expected = area * count.sum() / area.sum() if len(count) else count
    if len(count) < 2 or not expected.all():
        return 1.0
    chi2 = float(((count - expected) ** 2 / (expected * variance_over_mean)).sum())
    return max(1.0, chi2 / (len(count) - 1))


def rate_interval(value: float, std: float, step: float) -> Interval:
    """95 % interval of a density ≥ 0 with a standard deviation; one object more would raise it by `step`.

    The gamma interval for weighted sums of Poisson counts (Fay & Feuer, Stat. Med. 16 (1997) 791), which is the exact Poisson one
    (Garwood 1936) for a plain count, never reaches below 0, and tells how much may have been missed where nothing was found.
    """
    variance = std * std
    low = 0.0 if value <= 0 or variance <= 0 else _gamma_quantile(value, variance, (1 - LEVEL) / 2)
    if value <= 0:
        variance = 0.0  # what was missed is the step's
    return low, _gamma_quantile(value + step, variance + step * step, (1 + LEVEL) / 2)


def _gamma_quantile(mean: float, variance: float, q: float) -> float:
    return float(special.gammaincinv(mean**2 / variance, q)) * variance / mean


def share_interval(hits: int, n: int) -> Interval | None:
    """95 % interval of a share of `hits` in `n` (Wilson, J. Am. Stat. Assoc. 22 (1927) 209); None of nothing."""
    if n <= 0:
        return None
    share, z2 = hits / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * float(np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)))
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(mean: float, sd: float, n: float, relative_std: float = 0.0) -> Interval | None:
    """95 % interval of a mean ≥ 0 by Student's t, `relative_std` (the scale's) added; `n` may be an effective number. None below two."""
    if n < 2:
        return None
    half = float(np.hypot(special.stdtrit(n - 1, 0.5 + LEVEL / 2) * sd / np.sqrt(n), Z * relative_std * mean))
    return max(0.0, mean - half), mean + half


def median_interval(values: NDArray[np.float64], relative_std: float = 0.0) -> Interval | None:
    """95 % interval of a median by order statistics (Conover, Practical Nonparametric Statistics, 3.2), `relative_std` added.

    None below six values.
    """
    n = len(values)
    if n < FEWEST_FOR_MEDIAN:
        return None
    ordered = np.sort(values)
    rank = int(np.searchsorted(special.bdtr(np.arange(n), n, 0.5), (1 - LEVEL) / 2))
    middle = float(np.median(ordered))
    reach = Z * relative_std * middle
    below, above = (float(np.hypot(middle - ordered[place], reach)) for place in (rank - 1, n - rank))
    return max(0.0, middle - below), middle + above


def variation_interval(values: NDArray[np.float64]) -> Interval | None:
    """95 % interval of the coefficient of variation by the delta method with the values' own moments; None below ten.

    d(s/x̄) = (s/x̄)(ds²/2s² − dx̄/x̄); Var s² ≈ (μ₄ − s⁴)/n, Var x̄ = s²/n, Cov = μ₃/n (Serfling, Approximation Theorems, 2.2.3).
    """
    n = len(values)
    if n < FEWEST_FOR_SPREAD:
        return None
    mean = float(values.mean())
    second, third, fourth = (float(((values - mean) ** power).mean()) for power in (2, 3, 4))
    if mean <= 0 or second <= 0:
        return None
    cv = float(values.std(ddof=1)) / mean
    relative = ((fourth - second**2) / (4 * second**2) + second / mean**2 - third / (second * mean)) / n
    half = Z * cv * float(np.sqrt(max(relative, 0.0)))
    return max(0.0, cv - half), cv + half
