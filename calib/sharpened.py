"""One bar in one profile of little noise, seen by a camera that sharpens: its width, when the fit may cost a millisecond.

Unsharp masking of strength s and radius r makes the point spread (1 + s) N(σ) − s N(√(σ² + r²)), and the overshoots beside strong edges
are cut at black and white: taken for a plain blur, they move the edges of a bar by a tenth of a pixel and more. Least squares by the
trust-region method (Branch, Coleman and Li 1999, as in SciPy), with a smooth loss for what the model does not know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHARPENING, SHARPENING_STD = 0.3, 0.5  # what cameras do
RADIUS_PX, LN_RADIUS_STD = 1.5, 0.4
PRIOR_NOISE = 0.01  # how these priors weigh against samples, as a share of the contrast
STRANGE = 0.02  # of the contrast: what the model leaves beyond it counts less
LEAST_SIGMA_PX, LARGEST_SIGMA_PX = 0.2, 20.0


@dataclass(frozen=True, eq=False)
class BarProfile:
    """Mean brightness across a bar.

    Attributes:
        offsets_px: float64 (k,), from about the middle of the bar.
        levels: float64 (k,), 0 to 255.
        counts: float64 (k,), how many pixels each is the mean of.
    """

    offsets_px: Floats
    levels: Floats
    counts: Floats


def fit_sharpened(profile: BarProfile, width_px: float, sigma_px: float) -> tuple[float, float]:
    """(width, σ of the point spread) in px of the bar in a profile, which are about `width_px` and `sigma_px`."""
    from scipy.optimize import least_squares
    from scipy.special import ndtr

    u, levels = profile.offsets_px, profile.levels
    weight = np.sqrt(profile.counts / profile.counts.mean())
    ground = float(np.median(levels[np.abs(u) > min(width_px / 2 + sigma_px, 0.8 * float(np.abs(u).max()))]))
    inside = float(np.median(levels[np.argsort(np.abs(u))[:3]]))
    contrast = inside - ground if abs(inside - ground) > 1 else 1.0

    def bar(left: float, right: float, sigma: float) -> Floats:
        return np.asarray(ndtr((u - left) / sigma) - ndtr((u - right) / sigma))

    def misfit(p: Floats) -> Floats:
        left, right, ln_sigma, sharpening, ln_radius, depth, level, slope = p
        sigma = math.exp(ln_sigma)
        soft = math.hypot(sigma, math.exp(ln_radius))
        seen = (1 + sharpening) * bar(left, right, sigma) - sharpening * bar(left, right, soft)
        model = np.clip(ground + contrast * (level + slope * u + depth * seen), 0.0, 255.0)
        prior = np.array([(sharpening - SHARPENING) / SHARPENING_STD, (ln_radius - math.log(RADIUS_PX)) / LN_RADIUS_STD])
        return np.concatenate([weight * (model - levels) / abs(contrast), PRIOR_NOISE * prior])

    low = np.array([-np.inf, -np.inf, math.log(LEAST_SIGMA_PX), -0.3, math.log(0.5), 0.3, -0.5, -0.1])
    high = np.array([np.inf, np.inf, math.log(LARGEST_SIGMA_PX), 2.0, math.log(5.0), 4.0, 0.5, 0.1])
    start = np.array([-width_px / 2, width_px / 2, math.log(sigma_px), 0.1, math.log(RADIUS_PX), 1.0, 0.0, 0.0])
    found = least_squares(misfit, np.clip(start, low, high), bounds=(low, high), x_scale="jac", loss="soft_l1", f_scale=STRANGE).x
    return float(found[1] - found[0]), math.exp(float(found[2]))
