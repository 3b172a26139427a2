"""The plane of a target under the lens: where on the target each pixel looks, fitted to points that a finder saw, and from it the scale.

The model goes from the picture to the target, the way that every later reader goes: undistort a pixel with `RadialLens`, then map it
projectively to millimetres (`calib.projective`). Eight numbers for the plane (five where only X is known, as for a ruler) and four for
the lens, found by Gauss–Newton with Cauchy's weights (Holland and Welsch 1977) and Gaussian priors on the lens, without which a ring of
points could not tell scale from distortion. The covariance is that of an M-estimator (Huber 1981, 7.6) at the noise level that the
residuals show; points of one ruled line share an error (`calib.ruling`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calib.errors import TargetNotFoundError
from calib.lens import RadialLens
from calib.points import TargetPoints
from calib.projective import CENTRE, K1, K2, LENS, PARAMETERS, Y_ROW, homography, jacobians, read_at_middle, steps_and_slopes
from calib.ruling import RulingErrors, ruling_errors
from calib.tilt import other_direction, tilt_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

# What may be known before anything is seen, in half diagonals: tilts of 4° at ordinary focal lengths, 1–2 % of distortion
# at the corner, the lens's axis near the middle of the sensor. Points that cover the field outvote them easily
PRIOR_STD = np.array([np.inf] * 6 + [0.015, 0.015, 0.013, 0.003, 0.01, 0.01])
ROUNDS = 10
SETTLED = 0.03  # standard errors; a step below this gains nothing
BENDING_ROUNDS, FARTHEST = 8, 1.5  # of inverting the distortion, which is a few per cent; half diagonals up to which it is believed
DOUBTFUL = 3.0  # residuals of so many σ count half
LOST = 5.0  # and beyond so many are another point's
LEAST_NOISE_PX = 1e-3  # a fit better than this is a drawing's, not a camera's
LEVEL_ROWS = 4.0  # the finder's own std_px counts as so many residuals when the level is estimated
# A share of the scale. A JPEG's green holds some of red and blue, which lateral colour draws larger and smaller; motion, sharpening and
# uneven light move edges by hundredths of a pixel. It is not in the residuals, for scale and lens take it up.
SYSTEMATIC = 2e-5
RULER_AXIS = math.cos(math.radians(15))  # a ruler so near an axis of the picture tells the scale along it


@dataclass(frozen=True, eq=False)
class PlaneFit:
    """A target's plane as fitted.

    Attributes:
        homography: float64 (3, 3), undistorted px → target mm; of a ruler the second row is made up, square to the first.
        lens: the distortion, fitted or held.
        um_per_px: √|det J| at the middle of the picture, J = d(target)/d(pixel), distortion included; of a ruler |∇X|,
            corrected for the tilt that its lines' convergence shows.
        um_per_px_std: its standard uncertainty.
        um_per_px_x, um_per_px_y: lengths of J's columns, None where a ruler does not show that direction.
        slope_per_px: relative change of the scale per px towards x and y at the middle from tilt alone.
        residual_px: float64 (n,), how far each point lies from the fit.
        used: bool (n,), False for points that were left out as another's.
        noise_px: root mean square of the residuals of the points used, of one coordinate.
        tilt_reading: what `calib.tilt.tilt_of` reads (4,), per half diagonal, and its covariance (4, 4); None for a ruler.
    """

    homography: Floats
    lens: RadialLens
    um_per_px: float
    um_per_px_std: float
    um_per_px_x: float | None
    um_per_px_y: float | None
    slope_per_px: tuple[float, float]
    residual_px: Floats
    used: Bools
    noise_px: float
    tilt_reading: tuple[Floats, Floats] | None

    @cached_property
    def tilt_deg(self) -> float | None:
        """Between the plane and the sensor, None for a ruler; reckoned when asked for, since the live view does not ask."""
        if self.tilt_reading is None:
            return None
        return tilt_of(*self.tilt_reading, self.lens.width_px / self.lens.half_diagonal_px)

    def to_target(self, pixels: NDArray[np.floating]) -> Floats:
        """Where on the target points (n, 2) of the picture lie, mm, float64 (n, 2)."""
        plain = self.lens.undistort(np.asarray(pixels, np.float64).reshape(-1, 2))
        mapped = plain @ self.homography[:, :2].T + self.homography[:, 2]
        return np.asarray(mapped[:, :2] / mapped[:, 2:], np.float64)

    def to_picture(self, target_mm: NDArray[np.floating]) -> Floats:
        """Where in the picture points (n, 2) of the target are seen, px, float64 (n, 2); far outside the picture it is only a guess."""
        back = np.linalg.inv(self.homography)
        mapped = np.asarray(target_mm, np.float64).reshape(-1, 2) @ back[:, :2].T + back[:, 2]
        plain = mapped[:, :2] / mapped[:, 2:]
        centre, unit = np.array(self.lens.centre_px), self.lens.half_diagonal_px
        offset = plain - centre
        for _ in range(BENDING_ROUNDS):
            square = np.minimum(np.sum(offset * offset, 1, keepdims=True) / unit**2, FARTHEST**2)
            offset = (plain - centre) / (1 + square * (self.lens.k1 + self.lens.k2 * square))
        return np.asarray(offset + centre, np.float64)

    @property
    def anisotropy(self) -> float:
        """Ratio of the larger to the smaller principal scale at the middle: 1/cos(tilt) where pixels are square, 1 of a ruler."""
        mapped = self.homography @ np.append(self.lens.undistort(np.array([self.lens.middle_px]))[0], 1.0)
        jacobian = (self.homography[:2, :2] - np.outer(mapped[:2] / mapped[2], self.homography[2, :2])) / mapped[2]
        singular = np.linalg.svd(jacobian, compute_uv=False)
        return float(singular[0] / singular[1])


@dataclass(frozen=True, eq=False)
class _Problem:
    """Points made comparable: half diagonals about the middle, the target in a unit of about the same size about its own middle."""

    size_px: tuple[int, int]
    known: Bools  # of all points given, those of which the target place is known: the n that follow
    places: Floats  # (n, 2)
    target: Floats  # (n, 2), 0 for what a ruler does not fix
    std: Floats  # (n,)
    line: Indices  # (n,), from 0
    free: Indices  # the parameters that are fitted
    ruler: bool
    unit_px: float
    unit_mm: float
    origin_mm: Floats


@dataclass(frozen=True, eq=False)
class _Solution:
    found: Floats  # (12,)
    residual: Floats  # (n,), in half diagonals
    kept: Bools  # (n,)
    noise: float  # σ of a coordinate over its std
    covariance: Floats  # (f, f), of the free parameters
    information: Floats  # (f, f), of the points alone, without the priors


def fit_plane(points: TargetPoints, width_px: int, height_px: int, lens: RadialLens | None = None) -> PlaneFit:
    """The plane in which the points of a target lie, in a picture of width_px × height_px.

    `lens` is held as it is where one is given, else fitted beside the plane.

    Raises:
        TargetNotFoundError: the points are too few or do not span a plane.
    """
    problem = _pose(points, width_px, height_px, held=lens is not None)
    return _report(problem, _solve(problem, None if lens is None else _parameters(lens)), lens)


def fit_planes(views: Sequence[TargetPoints], width_px: int, height_px: int) -> tuple[RadialLens, list[PlaneFit]]:
    """One lens for several pictures of targets, and the plane of each with it.

    Each view tells of the lens by a matrix of information; their weighted mean is taken and every plane fitted again with it held. The
    planes' uncertainties hold what the lens's own uncertainty costs.

    Raises:
        TargetNotFoundError: no view at all, or one whose points are too few or do not span a plane.
    """
    if not views:
        raise TargetNotFoundError("no picture of a target to fit a lens to: give one at least")
    prior = np.diag(PRIOR_STD[LENS] ** -2.0)
    matrix, right = prior.copy(), np.zeros(4)
    for view in views:
        problem = _pose(view, width_px, height_px, held=False)
        solution = _solve(problem, None)
        told = _of_lens(solution, problem)
        matrix += told
        # the view's own estimate was drawn towards the prior's 0; this undoes it
        right += (told + prior) @ solution.found[LENS]
    covariance = np.linalg.inv(matrix)
    values = covariance @ right
    lens = _lens(values, (width_px, height_px))
    problems = [_pose(view, width_px, height_px, held=True) for view in views]
    return lens, [_report(problem, _solve(problem, values), lens, covariance) for problem in problems]


def _pose(points: TargetPoints, width_px: int, height_px: int, held: bool) -> _Problem:
    ruler = not np.isfinite(points.target_mm[:, 1]).any()
    known = np.isfinite(points.target_mm[:, 0]) & (ruler | np.isfinite(points.target_mm[:, 1]))
    unit_px = math.hypot(width_px, height_px) / 2
    places = (points.pixels[known] - np.array([(width_px - 1) / 2, (height_px - 1) / 2])) / unit_px
    target = np.where(ruler & (np.arange(2) == 1), 0.0, points.target_mm[known])
    least = 5 if ruler else 4
    if len(places) < least:
        raise TargetNotFoundError(f"{len(places)} points do not fix a plane, {least} at least do: bring more of the target into view")
    spread = np.linalg.eigvalsh(np.cov(places.T))
    extent = float(np.hypot(*np.ptp(target, axis=0)))
    if spread[1] < 1e-8 or extent == 0 or (not ruler and spread[0] < 1e-6 * spread[1]):
        raise TargetNotFoundError("all points of the target lie on one line: bring more of it into view")
    origin = target.mean(0)
    unit_mm = extent / math.sqrt(12 * spread.sum())  # for points spread evenly over their extent
    fitted = np.ones(PARAMETERS, np.bool_)
    fitted[Y_ROW], fitted[LENS] = not ruler, not held
    line = np.unique(points.line[known], return_inverse=True)[1].reshape(-1)
    size, free = (width_px, height_px), np.flatnonzero(fitted)
    target = (target - origin) / unit_mm
    return _Problem(size, known, places, target, points.std_px[known] / unit_px, line, free, ruler, unit_px, unit_mm, origin)


def _start(problem: _Problem, lens: Floats | None) -> Floats:
    """The projective map of linear least squares (Hartley and Zisserman, Multiple View Geometry, 4.1) behind the lens that is given."""
    found = np.zeros(PARAMETERS)
    places = problem.places
    if lens is not None:
        found[LENS] = lens
        offset = places - found[CENTRE]
        square = np.sum(offset * offset, 1, keepdims=True)
        places = places + offset * square * (found[K1] + found[K2] * square)
    n, one = len(places), np.ones((len(places), 1))
    x, y = problem.target[:, :1], problem.target[:, 1:]
    if problem.ruler:
        table, values, into = np.hstack([places, one, -x * places]), x[:, 0], [0, 1, 2, 6, 7]
    else:
        none = np.zeros((n, 3))
        upper, lower = np.hstack([places, one, none, -x * places]), np.hstack([none, places, one, -y * places])
        table, values, into = np.vstack([upper, lower]), np.concatenate([x[:, 0], y[:, 0]]), list(range(8))
    # held towards no tilt, which points along a line do not show
    found[into] = np.linalg.solve(table.T @ table + 1e-9 * np.eye(len(into)), table.T @ values)
    if problem.ruler:
        found[Y_ROW] = -found[1], found[0], 0.0
    return found


def _solve(problem: _Problem, lens: Floats | None) -> _Solution:
    """The parameters of least weighted squares of how far each point was seen from where the target's point lies in the picture."""
    found = _start(problem, lens)
    free = problem.free
    prior = PRIOR_STD[free] ** -2.0
    floor = LEAST_NOISE_PX / problem.unit_px / float(problem.std.mean())
    fitted_place = problem.places  # where in the picture the target's points lie: slopes are taken there, not where errors put them
    last = np.inf
    for round_number in range(ROUNDS + 1):
        steps, across, slopes = steps_and_slopes(found, fitted_place, problem.target, problem.ruler)
        off = fitted_place + steps - problem.places
        rest = (np.einsum("ni,ni->n", off, across)[None] if problem.ruler else off.T) / problem.std
        slopes = slopes[:, :, free] / problem.std[:, None]
        size, noise = _sizes(rest, len(free), floor)
        if round_number == ROUNDS or last < SETTLED:
            break
        weighted = _weighed(problem, found, rest, slopes, size / (DOUBTFUL * noise), noise, round_number > 0)
        flat = slopes.reshape(-1, len(free))
        normal = weighted.T @ flat + np.diag(prior)
        try:
            step = np.linalg.solve(normal, weighted.T @ rest.ravel() - prior * found[free])
        except np.linalg.LinAlgError:
            raise TargetNotFoundError("the points of the target do not fix a plane: bring more of it into view") from None
        found[free] += step
        last = math.sqrt(max(float(step @ normal @ step), 0.0))
        moved = (rest - slopes @ step) * problem.std
        fitted_place = problem.places + (across * moved[0][:, None] if problem.ruler else moved.T)
    residual = np.sqrt(np.sum(rest * rest, 0)) * problem.std
    if problem.ruler:
        errors = _ruling(problem, found, rest, size / (DOUBTFUL * noise), known=True, bounded=False)
        information = slopes[0].T @ errors.weighed(slopes[0])
        covariance = np.linalg.inv(information + np.diag(prior))
    else:
        covariance, information = _covariance(rest, size / noise, slopes, prior, noise)
    return _Solution(found, residual, size < LOST * noise, noise, covariance, information)


def _weighed(problem: _Problem, found: Floats, rest: Floats, slopes: Floats, doubt: Floats, noise: float, known: bool) -> Floats:
    """The slopes times the inverse covariance of the points' errors, (rows · n, f); points that lie `doubt` off count less."""
    if problem.ruler:
        return _ruling(problem, found, rest, doubt, known=known, bounded=True).weighed(slopes[0])
    weighted = slopes / ((1 + doubt**2) * noise**2)[:, None]
    return np.asarray(weighted.reshape(-1, slopes.shape[2]), np.float64)


def _ruling(problem: _Problem, found: Floats, rest: Floats, doubt: Floats, *, known: bool, bounded: bool) -> RulingErrors:
    first = np.unique(problem.line, return_index=True)[1]
    at = problem.target[first, 0] / math.hypot(*found[:2])  # half diagonals, as the points' standard errors
    return ruling_errors(rest[0], problem.std, problem.line, at, 1 / (1 + doubt**2), known=known, bounded=bounded)


def _sizes(rest: Floats, parameters: int, floor: float) -> tuple[Floats, float]:
    """How far off each point is, root mean square of its coordinates (n,), and a robust σ of one coordinate."""
    rows, n = rest.shape
    size = np.sqrt(np.sum(rest * rest, 0) / rows)
    median = math.sqrt(math.log(2)) if rows == 2 else 0.6745  # of a Rayleigh distribution, of half a normal one
    freedom = math.sqrt(rows * n / max(rows * n - parameters, 0.3 * rows * n))  # few points fit too well
    return size, max(float(np.partition(size, n // 2)[n // 2]) / median * freedom, floor)


def _covariance(rest: Floats, size: Floats, slopes: Floats, prior: Floats, noise: float) -> tuple[Floats, Floats]:
    """(covariance of the free parameters, information of the points alone); `size` in σ, `prior` the inverse variances."""
    x = (size / DOUBTFUL) ** 2
    kept = size < LOST
    pull = np.where(kept, rest / (1 + x), 0.0)
    steep = np.where(kept, (1 - x) / (1 + x) ** 2, 0.0)  # derivative of the influence function
    flat = slopes.reshape(-1, slopes.shape[2])
    gram = flat.T @ flat
    steepness = float(steep.mean())
    bread = gram * steepness
    inverse = np.linalg.inv(bread + np.diag(noise**2 * prior))
    fitted = float(np.sum(inverse * bread))  # parameters that the points fix; the priors take some of the work
    seen = float(kept.sum()) * len(rest)
    variance = (float(np.sum(pull * pull)) + LEVEL_ROWS) / (max(seen - fitted, 0.0) + LEVEL_ROWS) * seen / pull.size
    covariance = inverse @ (gram * variance + np.diag(noise**4 * prior)) @ inverse
    return covariance, gram * (steepness**2 / variance)


def _of_lens(solution: _Solution, problem: _Problem) -> Floats:
    """What the points tell of the lens with the plane left free: the Schur complement of their information, (4, 4)."""
    of_plane = problem.free < LENS.start
    a = solution.information[np.ix_(of_plane, of_plane)] + np.diag(PRIOR_STD[problem.free[of_plane]] ** -2.0)
    b = solution.information[np.ix_(of_plane, ~of_plane)]
    told = solution.information[np.ix_(~of_plane, ~of_plane)] - b.T @ np.linalg.solve(a, b)
    return np.asarray((told + told.T) / 2, np.float64)


def _parameters(lens: RadialLens) -> Floats:
    middle_x, middle_y = lens.middle_px
    unit = lens.half_diagonal_px
    return np.array([lens.k1, lens.k2, (lens.centre_px[0] - middle_x) / unit, (lens.centre_px[1] - middle_y) / unit])


def _lens(values: Floats, size_px: tuple[int, int]) -> RadialLens:
    width, height = size_px
    unit = math.hypot(width, height) / 2
    centre = float(values[2] * unit + (width - 1) / 2), float(values[3] * unit + (height - 1) / 2)
    return RadialLens(width, height, centre, float(values[0]), float(values[1]))


def _report(problem: _Problem, solution: _Solution, held: RadialLens | None, lens_covariance: Floats | None = None) -> PlaneFit:
    found = solution.found.copy()
    if problem.ruler:
        found[3:5] = -found[1], found[0]
    read, slopes = read_at_middle(found, problem.free, problem.ruler)
    covariance = slopes @ solution.covariance @ slopes.T
    if lens_covariance is not None:
        by_lens = _by_held_lens(problem, solution, found)
        covariance = covariance + by_lens @ lens_covariance @ by_lens.T
    unit_um = 1000 * problem.unit_mm / problem.unit_px
    um_per_px = math.exp(read[0]) * unit_um
    variance = float(covariance[0, 0]) + SYSTEMATIC**2
    lens = held or _lens(found[LENS], problem.size_px)
    plane, bend, _ = (part[0] for part in jacobians(found[None]))
    slope = 1.5 * read[3:5] / problem.unit_px  # an area goes with the third power of depth
    x_um, y_um = (float(length) * unit_um for length in np.linalg.norm(plane @ bend, axis=0))
    along_x = along_y = True
    if problem.ruler:
        across = found[:2] / math.hypot(*found[:2])
        along_x, along_y = abs(across[0]) > RULER_AXIS, abs(across[1]) > RULER_AXIS
        share, doubt = other_direction(read[3:], covariance[3:, 3:], across, problem.size_px[0] / problem.unit_px)
        um_per_px *= math.exp(share)
        variance += doubt
    residual, used = np.full(len(problem.known), np.nan), problem.known.copy()
    residual[problem.known] = solution.residual * problem.unit_px
    used[problem.known] = solution.kept
    coordinates = 1 if problem.ruler else 2
    return PlaneFit(
        homography=homography(found, problem.unit_px, lens.middle_px, problem.unit_mm, problem.origin_mm),
        lens=lens,
        um_per_px=um_per_px,
        um_per_px_std=um_per_px * math.sqrt(variance),
        um_per_px_x=x_um if along_x else None,
        um_per_px_y=y_um if along_y else None,
        slope_per_px=(float(slope[0]), float(slope[1])),
        residual_px=residual,
        used=used,
        noise_px=float(np.sqrt(np.mean(residual[used] ** 2) / coordinates)) if used.any() else math.inf,
        tilt_reading=None if problem.ruler else (read[1:], covariance[1:, 1:]),
    )


def _by_held_lens(problem: _Problem, solution: _Solution, found: Floats) -> Floats:
    """Derivatives of what is read at the middle by a lens that was held, the plane fitted anew each time, (5, 4)."""
    index = np.arange(LENS.start, LENS.stop)
    direct = read_at_middle(found, index, problem.ruler)[1]
    by_plane = read_at_middle(found, problem.free, problem.ruler)[1]
    slopes = steps_and_slopes(found, problem.places, problem.target, problem.ruler)[2] / (problem.std * solution.noise)[:, None]
    slopes = slopes[:, solution.kept].reshape(-1, PARAMETERS)
    plane = slopes[:, problem.free]
    normal = plane.T @ plane + np.diag(PRIOR_STD[problem.free] ** -2.0)
    follows = -np.linalg.solve(normal, plane.T @ slopes[:, index])
    return np.asarray(direct + by_plane @ follows, np.float64)
