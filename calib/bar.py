"""A blurred bar fitted to many brightness profiles at once: how wide a hair, or a line of a target, is between its two edges.

The model of one profile, I at offsets u (px) across the bar:

    I(u) = b₀ + b₁u + b₂|u| + ∫ from left to right edge of (g₀ + g₁y + g₂y²) N(y − u; σ) dy

A background with a slope of its own on either side (uneven light, a soft shadow), and between two edges a bar whose level changes
smoothly, seen through a Gaussian point spread of σ px (pixel and interpolation included). A hair is a round, glossy shaft: its flanks
are darker or brighter than its middle, and a bar of one level (g₁ = g₂ = 0) would put its edges where the flank is half as strong,
tenths of a pixel too far out. The quadratic takes the shading next to the edges; what lies deeper inside than `flank_px` is not looked
at, so that a gloss line in the middle moves nothing. The integral has a closed form (moments of the truncated normal distribution), and
so have its derivatives.

Least squares by damped Gauss–Newton with a fixed number of iterations over all profiles together, normal equations with Gaussian
priors (maximum a posteriori; Nocedal and Wright, Numerical Optimization, 10.3), samples weighed by Cauchy's function of what the model
leaves (Holland and Welsch 1977), standard errors from the inverse of the normal matrix.
Φ by Abramowitz and Stegun 26.2.17 (error below 1e-7).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]

LEFT, RIGHT, SPREAD, SHADE, GROUND = 0, 1, 2, 3, 6  # where the parameters stand: edges, ln σ, g₀…g₂, b₀…b₂
PARAMETERS = 9
DAMPING = 1e-3  # share added to the diagonal of the normal matrix
LARGEST_STEP_PX, LARGEST_STEP_SPREAD = 1.0, 0.3  # of one iteration
SETTLED_PX = 0.1  # an edge that still moves by more in the last iteration has not been found
LEAST_WIDTH_PX = 0.2
LEAST_SPREAD_PX, LARGEST_SPREAD_PX = 0.2, 20.0
WEAK_STEP = 0.15  # an edge at which the level changes by less of the whole contrast is none
FARTHEST_SPREADS = 8.0  # what lies farther is there wholly or not at all; denormal numbers would be slow
UNBOUND = 1e-6  # weight of a prior that says next to nothing

_PHI = (0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429)
_PHI_T = 0.2316419


@dataclass(frozen=True, eq=False)
class BarFit:
    """Fitted bars; every array has one value a profile.

    Attributes:
        left_px, right_px: float64 (n,), where the edges lie among the offsets.
        width_std_px: float64 (n,), standard error of `width_px` from the profile's own residual and the priors.
        spread_px: float64 (n,), σ of the point spread.
        left_step, right_step: float64 (n,), by how much the level changes from background to bar at each edge, in units of `levels`.
        residual: float64 (n,), root mean square of what the model leaves, in units of `levels`.
        ok: bool (n,), the fit settled on a bar with two edges.
    """

    left_px: Floats
    right_px: Floats
    width_std_px: Floats
    spread_px: Floats
    left_step: Floats
    right_step: Floats
    residual: Floats
    ok: NDArray[np.bool_]

    @property
    def width_px(self) -> Floats:
        """float64 (n,), from edge to edge."""
        return self.right_px - self.left_px

    @property
    def centre_px(self) -> Floats:
        """float64 (n,), half-way between the edges."""
        return (self.right_px + self.left_px) / 2


def fit_bars(
    offsets_px: NDArray[np.floating],
    levels: NDArray[np.floating],
    left_px: NDArray[np.floating],
    right_px: NDArray[np.floating],
    spread_px: NDArray[np.floating] | float,
    *,
    weights: NDArray[np.floating] | None = None,
    edge_prior_px: NDArray[np.floating] | float = np.inf,
    spread_prior: NDArray[np.floating] | float = 0.0,
    noise: float = 0.02,
    shading: float = 1.0,
    ground_slope: float = 0.05,
    flank_px: float = 4.0,
    ground_px: float = np.inf,
    iterations: int = 6,
) -> BarFit:
    """Fit a bar to each of n profiles of k samples.

    Args:
        offsets_px: (n, k), where across the bar each sample lies.
        levels: (n, k), the brightness there, any unit; a profile with a value that is not finite is not ok.
        left_px, right_px: (n,), about where the edges lie (within a pixel or two).
        spread_px: (n,) or one for all, about σ.
        weights: (n, k), 0…1, how far each sample counts; all alike where None.
        edge_prior_px: standard deviation of the true edges about `left_px` and `right_px`, (n,) or one for all.
        spread_prior: standard deviation of ln σ about that of `spread_px`; 0 holds σ fixed.
        noise: standard deviation of a sample as a share of the contrast: how priors weigh against samples.
        shading: standard deviation of g₁ and g₂, as the share of the contrast by which they change the level from middle to flank.
        ground_slope: standard deviation of b₁ and b₂ as a share of the contrast per px.
        flank_px, ground_px: how far inside and outside its edges a profile is looked at.
        iterations: how many Gauss–Newton steps.
    """
    u = np.asarray(offsets_px, np.float32)
    n = len(u)
    left, right, sigma = (np.broadcast_to(np.asarray(v, float), (n,)) for v in (left_px, right_px, spread_px))
    if n == 0 or u.shape[1] == 0:
        return _unfitted(left, right, sigma)
    middle, half = (left + right) / 2, np.maximum((right - left) / 2, LEAST_WIDTH_PX)
    u = u - middle[:, None].astype(np.float32)
    finite = np.isfinite(levels).all(1) & np.isfinite(u).all(1) & (sigma > 0)
    y = np.where(finite[:, None], levels, 0.0).astype(np.float32)
    u = np.where(finite[:, None], u, 0.0).astype(np.float32)
    given = _weights(u, half, flank_px, ground_px, weights)
    ground, contrast = _levels(u, y, given, half)
    unit = np.where(np.abs(contrast) > 0, contrast, 1.0)
    y = ((y - ground[:, None].astype(np.float32)) / unit[:, None].astype(np.float32)).astype(np.float32)

    start = np.zeros((n, PARAMETERS))
    start[:, LEFT], start[:, RIGHT] = -half, half
    start[:, SPREAD] = np.log(np.clip(sigma, LEAST_SPREAD_PX, LARGEST_SPREAD_PX))
    start[:, SHADE] = 1.0
    belief = np.full((n, PARAMETERS), UNBOUND)
    belief[:, [LEFT, RIGHT]] += (noise / np.broadcast_to(np.asarray(edge_prior_px, float), (n,)))[:, None] ** 2
    belief[:, SPREAD] = (noise / np.maximum(np.broadcast_to(np.asarray(spread_prior, float), (n,)), 1e-4)) ** 2
    belief[:, SHADE + 1 : SHADE + 3] += (noise / shading) ** 2
    belief[:, GROUND + 1 : GROUND + 3] += (noise / ground_slope) ** 2

    found = start.copy()
    limit = np.full(PARAMETERS, np.inf)
    limit[[LEFT, RIGHT]], limit[SPREAD] = LARGEST_STEP_PX, LARGEST_STEP_SPREAD
    moved, variance = np.zeros(n), np.zeros(n)
    wanted = np.zeros((n, PARAMETERS, 2))
    wanted[:, LEFT, 1], wanted[:, RIGHT, 1] = -1.0, 1.0
    for _ in range(max(1, iterations)):
        model, slopes = _model(found, u, half)
        rest = y - model
        counts = given * _trust(rest, given, noise)
        normal, wanted[:, :, 0] = _normal_equations(slopes, rest, counts, belief, start - found)
        # the step, and the column of the inverse matrix that the width's variance needs, from one decomposition
        solved = np.linalg.solve(normal, wanted)
        step = np.clip(solved[:, :, 0], -limit, limit)
        variance = solved[:, RIGHT, 1] - solved[:, LEFT, 1]
        found = _bounded(found + step)
        moved = np.abs(step[:, [LEFT, RIGHT]]).max(1)
    rest = y - _model(found, u, half)[0]
    counts = given * _trust(rest, given, noise)
    seen = given.sum(1, dtype=float)
    residual = np.sqrt((given * rest * rest).sum(1, dtype=float) / np.maximum(seen, 1e-9))
    square = (counts * rest * rest).sum(1, dtype=float)
    free = np.maximum(counts.sum(1, dtype=float) - PARAMETERS, 1.0)
    variance = np.maximum(variance, 0.0) * np.maximum(square / free, noise**2 / 4)
    steps = [_shade(found, found[:, side], half) for side in (LEFT, RIGHT)]
    ok = finite & (np.abs(contrast) > 0) & (moved < SETTLED_PX) & (found[:, RIGHT] - found[:, LEFT] > LEAST_WIDTH_PX)
    ok &= (np.abs(steps[0]) > WEAK_STEP) & (np.abs(steps[1]) > WEAK_STEP) & (seen > PARAMETERS)
    return BarFit(
        left_px=found[:, LEFT] + middle,
        right_px=found[:, RIGHT] + middle,
        width_std_px=np.sqrt(variance),
        spread_px=np.exp(found[:, SPREAD]),
        left_step=steps[0] * unit,
        right_step=steps[1] * unit,
        residual=residual * np.abs(unit),
        ok=ok,
    )


def _unfitted(left: Floats, right: Floats, sigma: Floats) -> BarFit:
    none = np.full(len(left), np.nan)
    return BarFit(left.copy(), right.copy(), none, sigma.copy(), none, none, none, np.zeros(len(left), np.bool_))


def _weights(u: Float32s, half: Floats, flank_px: float, ground_px: float, given: NDArray[np.floating] | None) -> Float32s:
    """How far each sample counts: not where it lies deeper inside the bar than `flank_px` or farther outside than `ground_px`."""
    out = np.abs(u) - half.astype(np.float32)[:, None]
    counts = np.clip(np.float32(1.0 + flank_px) + out, 0.0, 1.0) * np.clip(np.float32(1.0 + ground_px) - out, 0.0, 1.0)
    counts = counts.astype(np.float32)
    if given is not None:
        counts *= np.nan_to_num(given).astype(np.float32)
    return np.asarray(counts, np.float32)


def _trust(rest: Float32s, given: Float32s, noise: float) -> Float32s:
    """Cauchy's weights: samples that the model leaves far off, as gloss or a neighbour does, count less."""
    square = rest * rest
    mean = (given * square).sum(1) / np.maximum(given.sum(1), np.float32(1e-9))
    return np.asarray(1 / (1 + square / np.maximum(mean, np.float32(noise**2))[:, None]), np.float32)


def _levels(u: Float32s, y: Float32s, counts: Float32s, half: Floats) -> tuple[Floats, Floats]:
    """A first background and a first contrast of each profile: weighted means outside and inside its edges."""
    inside = counts * (np.abs(u) <= half.astype(np.float32)[:, None])
    outside = counts - inside
    mean = [(share * y).sum(1, dtype=float) / np.maximum(share.sum(1, dtype=float), 1e-9) for share in (outside, inside)]
    return mean[0], mean[1] - mean[0]


def _bounded(found: Floats) -> Floats:
    """The parameters with σ within its limits and edges in order."""
    found[:, SPREAD] = np.clip(found[:, SPREAD], np.log(LEAST_SPREAD_PX), np.log(LARGEST_SPREAD_PX))
    lacking = np.maximum(LEAST_WIDTH_PX - (found[:, RIGHT] - found[:, LEFT]), 0.0) / 2
    found[:, LEFT] -= lacking
    found[:, RIGHT] += lacking
    return found


def _shade(found: Floats, at: Floats, half: Floats) -> Floats:
    """The bar's level above the background at offset `at` (n,), g₁ and g₂ counted in half widths."""
    t = at / half
    return np.asarray(found[:, SHADE] + found[:, SHADE + 1] * t + found[:, SHADE + 2] * t * t)


def _model(found: Floats, u: Float32s, half: Floats) -> tuple[Float32s, Float32s]:
    """The model (n, k) and its derivatives by the parameters (n, PARAMETERS, k)."""
    n, k = u.shape
    edge = found[:, [LEFT, RIGHT]]
    sigma = np.exp(found[:, SPREAD])
    t = edge / half[:, None]
    level = found[:, SHADE, None] + found[:, SHADE + 1, None] * t + found[:, SHADE + 2, None] * t * t
    rise = (found[:, SHADE + 1, None] + 2 * found[:, SHADE + 2, None] * t) / half[:, None]  # of the level, per px
    s = sigma.astype(np.float32)[:, None]
    scale = half.astype(np.float32)[:, None]
    z = np.clip((u[:, None, :] - edge[:, :, None].astype(np.float32)) / s[:, :, None], -FARTHEST_SPREADS, FARTHEST_SPREADS)
    cumulative, density = _normal(z)
    z_left, z_right = z[:, 0], z[:, 1]
    dense_left, dense_right = density[:, 0], density[:, 1]
    # moments of the truncated normal distribution, offsets in half widths
    zeroth = cumulative[:, 0] - cumulative[:, 1]
    share, place = s / scale, u / scale
    pull = share * (dense_left - dense_right)
    first = place * zeroth + pull
    second = place * first + place * pull + share * share * (zeroth + z_right * dense_right - z_left * dense_left)

    slopes = np.empty((n, PARAMETERS, k), np.float32)
    level32, rise32 = level.astype(np.float32)[:, :, None], rise.astype(np.float32)[:, :, None]
    np.multiply(dense_left, -level32[:, 0] / s, out=slopes[:, LEFT])
    np.multiply(dense_right, level32[:, 1] / s, out=slopes[:, RIGHT])
    by_right = (level32[:, 1] * z_right - s * rise32[:, 1]) * dense_right
    by_left = (level32[:, 0] * z_left - s * rise32[:, 0]) * dense_left
    slopes[:, SPREAD] = by_right - by_left + 2 * found[:, SHADE + 2, None].astype(np.float32) * share * share * zeroth
    slopes[:, SHADE], slopes[:, SHADE + 1], slopes[:, SHADE + 2] = zeroth, first, second
    slopes[:, GROUND], slopes[:, GROUND + 1] = 1.0, u
    slopes[:, GROUND + 2] = np.abs(u) - scale
    linear = found[:, SHADE:].astype(np.float32)[:, None, :]
    return np.asarray((linear @ slopes[:, SHADE:])[:, 0], np.float32), slopes


def _normal(z: Float32s) -> tuple[Float32s, Float32s]:
    """Φ(z) and φ(z) of float32 z."""
    density = np.exp(np.float32(-0.5) * z * z) * np.float32(1 / np.sqrt(2 * np.pi))
    t = 1 / (np.float32(1.0) + np.float32(_PHI_T) * np.abs(z))
    tail = np.full_like(t, _PHI[-1])
    for factor in _PHI[-2::-1]:
        tail *= t
        tail += np.float32(factor)
    tail *= t * density
    return np.where(z > 0, 1 - tail, tail), density


def _normal_equations(slopes: Float32s, rest: Float32s, counts: Float32s, belief: Floats, off: Floats) -> tuple[Floats, Floats]:
    """(damped normal matrix (n, p, p), gradient (n, p)); `off` is how far the priors' means lie."""
    weighted = slopes * counts[:, None, :]
    normal = (weighted @ slopes.transpose(0, 2, 1)).astype(float)
    gradient = (weighted @ rest[:, :, None])[:, :, 0].astype(float) + belief * off
    index = np.arange(PARAMETERS)
    normal[:, index, index] += belief
    normal[:, index, index] *= 1 + DAMPING
    return normal, gradient
