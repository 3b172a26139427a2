"""Scale as a function of distance: um_per_px(d) = a + b·d, fitted to a few pictures at known distances, with what it can and cannot tell.

A camera's scale grows in proportion to the distance from its projection centre, so it is a straight line in any distance counted from
anywhere, with the focus locked as with the focus set anew each time (two lines, not one). Scales and distances both have errors: the
line is the maximum-likelihood one of York et al. 2004 (Am. J. Phys. 72, 367, equations 13), which plain least squares misses by a share
of σ_d²/var(d). A picture that the others gainsay (deletion residual, Cook and Weisberg 1982, with Bonferroni's correction) is left out
and named. The covariance follows from the stated uncertainties. Where the residuals show more than these, the excess counts as error of
the distances (Mandel and Paule 1970: as much of it as makes χ² equal to its degrees of freedom), for a distance is what goes wrong
unnoticed, and the covariance is widened as Student's distribution asks with so few pictures; it is never narrower than stated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special  # not scipy.stats, which takes most of a second to import

from calib.errors import CurveError, DistanceError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_DISTANCES = 3  # two leave no residual: nothing would show that one of them is wrong
FARTHEST_MM = 1000.0
LEAST_UM_PER_PX = 1e-4  # and its inverse: what lies outside is not even a mistaken pitch
SAME_MM = 0.01  # distances closer than this are one
LEAST_SPAN_MM = 0.5  # a shorter way tells nothing about the slope
MARGIN_SHARE = 0.1  # of the calibrated interval's length, beyond either end
LARGEST_MISFIT_SHARE = 0.25  # root mean square misfit, counted as distance, over the interval's length: beyond it is no line
OUTLIER_P = 0.01  # chance that a good set of pictures loses one
NO_OUTLIER_P = 0.05  # χ² that is no less likely than this holds none
LEAST_FOR_OUTLIERS = 5  # of four points, any three make a line of their own
ORDER_GAIN = 9.0  # distances in another order count as the true story where they make the sum of squares so many times smaller
FOCAL_WIDTHS = (0.7, 9.0)  # focal length over picture width: a view of 71° to one of 6°; microscopes have 1.5 to 6
FARTHEST_ZERO_MM = 100.0  # the projection centre lies at most so far behind the zero of the distances
LEAST_STD_SHARE = 1e-6  # a scale's uncertainty where none is stated, so that weights are finite
DOUBT_FROM, DOUBT_TO = 0.2, 0.01  # between these chances of the stated uncertainties the residuals gain the say
STUDENT = 0.974  # quantile that is brought to two standard deviations; the normal distribution has 0.977 there
CLOSEST_ITERATION, MOST_ITERATIONS = 1e-13, 100
CLOSE_ENOUGH, MOST_STEPS = 1e-3, 20  # of χ² to its degrees of freedom


@dataclass(frozen=True)
class ScaleCurve:
    """um_per_px(d) = a + b·d with its covariance, and the pictures that it was fitted to.

    Attributes:
        covariance: ((aa, ab), (ab, bb)) of a (µm/px) and b (µm/px per mm), residuals taken into account.
        distances_mm, um_per_px, um_per_px_std: of each picture, as given; outliers included.
        distance_std_mm: standard uncertainty of each of the distances.
        low_mm, high_mm: the calibrated interval, outliers left out; `margin_mm` beyond either end the curve still answers.
        outlier: the pictures that were left out because the others gainsay them.
        excess_std_mm: what the residuals show beyond the stated uncertainties, as a standard deviation of the distances; 0 for nothing.
        shared_std_share: relative standard uncertainty that all scales have in common (the target's own tolerance).
    """

    a_um_per_px: float
    b_um_per_px_per_mm: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    distances_mm: tuple[float, ...]
    um_per_px: tuple[float, ...]
    um_per_px_std: tuple[float, ...]
    distance_std_mm: float
    low_mm: float
    high_mm: float
    margin_mm: float
    outlier: tuple[bool, ...] = ()
    excess_std_mm: float = 0.0
    shared_std_share: float = 0.0

    @property
    def residuals(self) -> Floats:
        """What each picture's scale lies above the line, µm/px, float64 (n,)."""
        return np.asarray(self.um_per_px) - self.a_um_per_px - self.b_um_per_px_per_mm * np.asarray(self.distances_mm)

    @property
    def zero_mm(self) -> float:
        """Where the projection centre lies among the distances: there the scale would be nothing."""
        return -self.a_um_per_px / self.b_um_per_px_per_mm

    @property
    def focal_px(self) -> float:
        """The focal length that the slope says."""
        return 1000 / self.b_um_per_px_per_mm

    @property
    def interval_mm(self) -> tuple[float, float]:
        """The distances at which the curve answers, margin included."""
        return self.low_mm - self.margin_mm, self.high_mm + self.margin_mm

    def at(self, distance_mm: float, distance_std_mm: float = 0.0) -> tuple[float, float]:
        """µm per px at a distance, and its standard uncertainty from the fit's and the reading's (first order, and the product of both).

        Raises:
            DistanceError: outside the calibrated interval and its margin, or no number.
        """
        low, high = self.interval_mm
        if not (math.isfinite(distance_std_mm) and distance_std_mm >= 0):
            raise DistanceError(f"a distance's uncertainty of {distance_std_mm} mm is none: give it in mm, 0 or more")
        if not low - SAME_MM <= distance_mm <= high + SAME_MM:  # also refuses NaN
            raise DistanceError(
                f"{distance_mm:g} mm lies outside the calibrated {self.low_mm:g} to {self.high_mm:g} mm "
                f"(±{self.margin_mm:.2g} mm of margin): move the microscope, or calibrate with pictures at this distance too"
            )
        scale = self.a_um_per_px + self.b_um_per_px_per_mm * distance_mm
        ((aa, ab), (_, bb)) = self.covariance
        fit = aa + 2 * ab * distance_mm + bb * distance_mm**2
        reading = (self.b_um_per_px_per_mm**2 + bb) * distance_std_mm**2
        return scale, math.sqrt(max(fit, 0.0) + reading + (self.shared_std_share * scale) ** 2)

    def distance_at(self, um_per_px: float) -> float:
        """The distance in mm at which the scale is `um_per_px`, wherever that lies."""
        return (um_per_px - self.a_um_per_px) / self.b_um_per_px_per_mm


@dataclass(frozen=True)
class _Line:
    """A straight line through points with errors both ways."""

    a: float
    b: float
    covariance: Floats  # (2, 2), from the stated uncertainties
    rest: Floats  # (n,) of all points
    variance: Floats  # (n,) of `rest`, stated
    chi_square: float
    free: int


def fit_curve(
    distances_mm: Sequence[float],
    um_per_px: Sequence[float],
    um_per_px_std: Sequence[float],
    *,
    distance_std_mm: float = 0.0,
    width_px: int,
    shared_std_share: float = 0.0,
) -> ScaleCurve:
    """The curve through pictures at known distances.

    Args:
        distances_mm, um_per_px, um_per_px_std: one of each a picture, in the same order; standard uncertainties.
        distance_std_mm: standard uncertainty of each distance, independent of the others'.
        width_px: of the pictures, by which it is judged what a lens can be.
        shared_std_share: relative uncertainty of all scales together; not part of `um_per_px_std`.

    Raises:
        CurveError: fewer than three different distances, scales that do not rise along a line, an order that does not fit, or a slope
            that no lens has; the message says what was seen, what was expected and what to do.
    """
    d, s, s_std = _checked(distances_mm, um_per_px, um_per_px_std, distance_std_mm)
    var_s, var_d = np.maximum(s_std, LEAST_STD_SHARE * s) ** 2, distance_std_mm**2
    _refuse_another_order(d, s, var_s, var_d)
    used = _without_outliers(d, s, var_s, var_d)
    line, excess = _with_excess(_fit_line(d, s, var_s, var_d, used), d, s, var_s, var_d, used)
    low, high = float(d[used].min()), float(d[used].max())
    misfit = float(np.sqrt(np.sum(line.rest[used] ** 2) / line.free))
    if line.b <= 0:
        raise CurveError(
            f"the scale does not rise with the distance: {_pairs(d, s)}; a camera sees less µm per pixel the nearer it is: "
            "check which distance belongs to which picture"
        )
    if misfit > LARGEST_MISFIT_SHARE * (high - low) * line.b:
        raise CurveError(
            f"scales and distances do not lie on a line: {_pairs(d, s)}, off by {misfit / line.b:.2g} mm over "
            f"{high - low:.3g} mm: check the distances and that the focus was handled alike in all pictures"
        )
    _refuse_impossible_lens(line, low, width_px)
    aa, ab, bb = float(line.covariance[0, 0]), float(line.covariance[0, 1]), float(line.covariance[1, 1])
    return ScaleCurve(
        a_um_per_px=line.a,
        b_um_per_px_per_mm=line.b,
        covariance=((aa, ab), (ab, bb)),
        distances_mm=tuple(map(float, d)),
        um_per_px=tuple(map(float, s)),
        um_per_px_std=tuple(map(float, s_std)),
        distance_std_mm=float(distance_std_mm),
        low_mm=low,
        high_mm=high,
        # nearer than half-way to the projection centre there is nothing to extrapolate to
        margin_mm=min(MARGIN_SHARE * (high - low), (low + line.a / line.b) / 2),
        outlier=tuple(map(bool, ~used)),
        excess_std_mm=math.sqrt(excess),
        shared_std_share=float(shared_std_share),
    )


def different_distances(distances_mm: Sequence[float] | Floats) -> int:
    """How many distances are there, those closer than SAME_MM counting as one."""
    return int(np.sum(np.diff(np.sort(np.asarray(distances_mm, np.float64)), prepend=-np.inf) > SAME_MM))


def _checked(
    distances_mm: Sequence[float], um_per_px: Sequence[float], um_per_px_std: Sequence[float], distance_std_mm: float
) -> tuple[Floats, Floats, Floats]:
    """Distances, scales and their uncertainties as float64 (n,). Raises CurveError where they cannot make a line."""
    d, s, s_std = (np.asarray(values, np.float64).ravel() for values in (distances_mm, um_per_px, um_per_px_std))
    if not len(d) == len(s) == len(s_std):
        raise CurveError(f"{len(s)} pictures and {len(d)} distances: give one distance for each picture, in the same order")
    if not ((d > 0) & (d <= FARTHEST_MM)).all():  # also refuses NaN
        raise CurveError(f"{_listed(d)} mm: a distance is a number of mm above 0, {FARTHEST_MM:g} at most")
    if not ((s >= LEAST_UM_PER_PX) & (s <= 1 / LEAST_UM_PER_PX) & (s_std >= 0) & (s_std <= s)).all():
        raise CurveError("a picture without a scale and its uncertainty cannot be part of a curve: leave it out")
    if not 0 <= distance_std_mm <= FARTHEST_MM:
        raise CurveError(f"a distance's uncertainty of {distance_std_mm} mm is none: give it in mm, 0 or more")
    there = different_distances(d)
    if there == 1 and len(d) > 1:
        raise CurveError(
            f"all {len(d)} pictures are at one distance ({d[0]:g} mm): a curve needs {LEAST_DISTANCES} different distances or more; "
            "for a hood of fixed height a profile without a curve will do: give the hood's height"
        )
    if there < LEAST_DISTANCES:
        raise CurveError(
            f"pictures at {there} different {'distance' if there == 1 else 'distances'} ({_listed(d)} mm): a curve needs "
            f"{LEAST_DISTANCES} or more, for two would fit any line; take more pictures, spread over the distances in use"
        )
    if (span := float(np.ptp(d))) < LEAST_SPAN_MM:
        raise CurveError(f"the distances span {span:.2g} mm ({_listed(d)} mm): spread them over the distances in use, some mm at least")
    return d, s, s_std


def _fit_line(d: Floats, s: Floats, var_s: Floats, var_d: float, used: Bools) -> _Line:
    """York's line through the points `used`; `rest` and `variance` of all."""
    x, y, vy = d[used], s[used], var_s[used]
    slope = float(np.polyfit(x - x.mean(), y, 1)[0])
    for _ in range(MOST_ITERATIONS):
        weight = 1 / (vy + slope**2 * var_d)
        total = weight.sum()
        mean_x, mean_y = float(weight @ x / total), float(weight @ y / total)
        u, v = x - mean_x, y - mean_y
        beta = weight * (u * vy + slope * v * var_d)
        last, slope = slope, float((weight * beta) @ v / ((weight * beta) @ u))
        if abs(slope - last) <= CLOSEST_ITERATION * abs(slope):
            break
    weight = 1 / (vy + slope**2 * var_d)
    total = weight.sum()
    mean_x, mean_y = float(weight @ x / total), float(weight @ y / total)
    beta = weight * ((x - mean_x) * vy + slope * (y - mean_y) * var_d)
    adjusted = mean_x + beta
    middle = float(weight @ adjusted / total)
    var_slope = 1 / float(weight @ (adjusted - middle) ** 2)
    a = mean_y - slope * mean_x
    covariance = np.array([[1 / total + middle**2 * var_slope, -middle * var_slope], [-middle * var_slope, var_slope]])
    rest, variance = s - a - slope * d, var_s + slope**2 * var_d
    chi_square = float(np.sum(rest[used] ** 2 / variance[used]))
    return _Line(a, slope, covariance, rest, variance, chi_square, max(int(used.sum()) - 2, 1))


def _without_outliers(d: Floats, s: Floats, var_s: Floats, var_d: float) -> Bools:
    """Which pictures agree: one after the other is left out while the line through the others gainsays it."""
    used = np.ones(len(d), np.bool_)
    whole = _fit_line(d, s, var_s, var_d, used)
    if special.chdtrc(whole.free, whole.chi_square) > NO_OUTLIER_P:
        return used
    while used.sum() >= LEAST_FOR_OUTLIERS and (~used).sum() < (len(d) - 3) // 2:
        chances = np.ones(len(d))
        for i in np.flatnonzero(used):
            others = used.copy()
            others[i] = False
            if different_distances(d[others]) < LEAST_DISTANCES:
                continue
            line = _fit_line(d, s, var_s, var_d, others)
            line = _fit_line(d, s, var_s, var_d + _excess_variance(line, d, s, var_s, var_d, others), others)
            there = np.array([1.0, d[i]])
            spread = math.sqrt(float(line.variance[i]) + float(there @ line.covariance @ there))
            chances[i] = 2 * special.stdtr(line.free, -abs(line.rest[i]) / spread)
        worst = int(np.argmin(chances))
        if chances[worst] * used.sum() >= OUTLIER_P:
            break
        used[worst] = False
    return used


def _with_excess(line: _Line, d: Floats, s: Floats, var_s: Floats, var_d: float, used: Bools) -> tuple[_Line, float]:
    """The line whose covariance the residuals bear out, and the variance of the distances (mm²) that they show beyond `var_d`.

    While the residuals are what the stated uncertainties lead to expect, these stand: widening them after every unlucky draw would
    overstate. Between the chances DOUBT_FROM and DOUBT_TO the residuals gain the say, so that nothing jumps. Student's quantile is
    taken at two standard deviations, where too narrow a statement hurts.
    """
    chance = float(special.chdtrc(line.free, line.chi_square))
    doubt = min(max((DOUBT_FROM - chance) / (DOUBT_FROM - DOUBT_TO), 0.0), 1.0)
    if doubt == 0.0:
        return line, 0.0
    excess = doubt * _excess_variance(line, d, s, var_s, var_d, used)
    student = float(special.stdtrit(line.free, STUDENT)) / 2
    line = _fit_line(d, s, var_s, var_d + excess, used)
    return replace(line, covariance=line.covariance * (1 + doubt * (student**2 - 1))), excess


def _excess_variance(line: _Line, d: Floats, s: Floats, var_s: Floats, var_d: float, used: Bools) -> float:
    """What added to the variance of the distances (mm²) makes χ² as large as its degrees of freedom, 0 where it is no larger."""
    excess = 0.0
    for _ in range(MOST_STEPS):
        over = line.chi_square / line.free - 1
        if abs(over) < CLOSE_ENOUGH or (over < 0 and excess == 0.0):
            break
        # Newton's step on 1/χ², which is nearly a straight line in the variance
        weight = 1 / line.variance[used]
        fall = line.b**2 * float(np.sum((weight * line.rest[used]) ** 2)) / line.chi_square
        excess = max(excess + over / fall, 0.0)
        line = _fit_line(d, s, var_s, var_d + excess, used)
    return excess


def _refuse_another_order(d: Floats, s: Floats, var_s: Floats, var_d: float) -> None:
    """Raise CurveError where the scales lie on a line with the same distances in another order, and far off one as given."""
    order, by_scale = np.sort(d), np.argsort(s, kind="stable")
    sorted_d = np.empty_like(d)
    sorted_d[by_scale] = order
    if np.max(np.abs(sorted_d - d)) <= SAME_MM:
        return
    everything = np.ones(len(d), np.bool_)
    given, other = _squares(d, s), _fit_line(sorted_d, s, var_s, var_d, everything)
    stated = float(other.variance.sum())
    if given > ORDER_GAIN * max(_squares(sorted_d, s), stated):
        raise CurveError(
            f"the distances seem to be in another order than the pictures: {_pairs(d, s)} do not lie on a line, but do with the distances "
            f"{_listed(sorted_d)} mm: give the distances in the order of the pictures"
        )


def _squares(d: Floats, s: Floats) -> float:
    """The sum of squares that a plain straight line leaves, (µm/px)²; all about the mean where it falls."""
    slope, height = np.polyfit(d, s, 1)
    rest = s - height - slope * d if slope > 0 else s - s.mean()
    return float(rest @ rest)


def _refuse_impossible_lens(line: _Line, low_mm: float, width_px: int) -> None:
    """Raise CurveError for a slope or a zero that no lens over a picture of `width_px` has."""
    widths, zero = 1000 / line.b / width_px, -line.a / line.b
    if not FOCAL_WIDTHS[0] <= widths <= FOCAL_WIDTHS[1]:
        raise CurveError(
            f"the scale grows by {line.b:.3g} µm/px per mm, a focal length of {widths:.2g} picture widths: implausible for the lens "
            f"({FOCAL_WIDTHS[0]:g} to {FOCAL_WIDTHS[1]:g} can be): check the pitch of the target, and that the distances are in mm"
        )
    if not -FARTHEST_ZERO_MM <= zero < low_mm:
        raise CurveError(
            f"the line would put the lens at {zero:.3g} mm, with pictures from {low_mm:g} mm on: implausible for the lens "
            f"(−{FARTHEST_ZERO_MM:g} mm to the first picture can be): check the distances, and the pitch of the target"
        )


def _listed(values: Floats) -> str:
    return ", ".join(f"{value:.4g}" for value in values[:12]) + (" …" if len(values) > 12 else "")


def _pairs(d: Floats, s: Floats) -> str:
    return f"{_listed(s)} µm/px at {_listed(d)} mm"
