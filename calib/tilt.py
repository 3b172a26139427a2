"""How far a plane is tilted against the sensor, from what one picture shows of it.

Two effects tell it. Square pixels see a plane tilted by θ drawn out to 1/cos θ along the tilt: G = JᵀJ is I + t tᵀ but for its size,
t = tan θ times the direction (that is second order in θ, and blind to its sign). And depth grows along the tilt by t/f a pixel (first
order, but the focal length f is not known: about three picture widths, as microscopes of this kind have, within a factor of two).
A small maximum a posteriori fit of (t_x, t_y, ln f) weighs them by their covariance, from several starts at once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FOCAL_WIDTHS, FOCAL_LOG_STD = 3.0, math.log(2.0)
RULER_FOCAL_LOG_STD = 0.2  # what the correction of a ruler trusts the focal length to; wrong by a factor of 1.4 it is no worse than none
TILT_STD = 0.1  # of each component, about 6°: targets lie under a microscope nearly flat
FLOOR = np.array([1e-4, 1e-4, 3e-4, 3e-4])  # what lens models leave of the four readings
ROUNDS = 5
LARGEST = 1.5  # of tan θ


def tilt_of(read: Floats, covariance: Floats, width: float) -> float:
    """θ in degrees.

    Args:
        read: (4,), anisotropy (G₁₁ − G₂₂, 2G₁₂) / (G₁₁ + G₂₂) and relative slope of depth towards x and y, per unit of length.
        covariance: (4, 4) of these.
        width: of the picture in that unit.
    """
    weight = np.linalg.inv(covariance + np.diag(FLOOR**2))
    prior = np.diag([TILT_STD**-2, TILT_STD**-2, FOCAL_LOG_STD**-2])
    focal = math.log(FOCAL_WIDTHS * width)
    mean = np.array([0.0, 0.0, focal])
    # starts: where the slope points, and the two directions of the anisotropy, each as long as that says
    strength, angle = math.hypot(read[0], read[1]), math.atan2(read[1], read[0]) / 2
    long = math.sqrt(2 * strength / max(1 - strength, 0.1))
    drawn = long * np.array([math.cos(angle), math.sin(angle)])
    found = np.array([[*(read[2:] * math.exp(focal)), focal], [*drawn, focal], [*-drawn, focal]])
    for _ in range(ROUNDS):
        model, slopes = _model(found)
        rest = read - model
        towards = np.einsum("bik,ij->bkj", slopes, weight)
        normal = towards @ slopes + prior
        step = np.linalg.solve(normal, (np.einsum("bkj,bj->bk", towards, rest) + (mean - found) @ prior)[:, :, None])[:, :, 0]
        found = found + np.clip(step, -0.2, 0.2)
        found[:, :2] = np.clip(found[:, :2], -LARGEST, LARGEST)
        found[:, 2] = np.clip(found[:, 2], focal - 3, focal + 3)
    rest = read - _model(found)[0]
    off = found - mean
    cost = np.einsum("bi,ij,bj->b", rest, weight, rest) + np.einsum("bi,ij,bj->b", off, prior, off)
    best = found[int(np.argmin(cost))]
    return math.degrees(math.atan(math.hypot(best[0], best[1])))


def other_direction(slope: Floats, covariance: Floats, across: Floats, width: float) -> tuple[float, float]:
    """What a ruler does not show: the scale along its lines.

    With tan θ times the tilt's direction t, the mean scale of both directions is that across the lines times
    (1 + |t|²)^¼ / (1 + t_a²)^½ ≈ 1 + (t_b² − t_a²)/4, a across and b along the lines, and t is the slope of depth times the focal length.

    Args:
        slope: (2,), relative slope of depth towards x and y per unit of length, and
        covariance: (2, 2) of it.
        across: (2,), unit vector across the lines.
        width: of the picture in the unit of length.

    Returns:
        The logarithm of mean over measured scale, and its variance.
    """
    turn = np.array([across, (-across[1], across[0])])
    mean, variance = turn @ slope, np.diag(turn @ covariance @ turn.T)
    quarter = (FOCAL_WIDTHS * width) ** 2 / 4
    share = quarter * float((mean[1] ** 2 - variance[1]) - (mean[0] ** 2 - variance[0]))
    noise = quarter**2 * float(np.sum(4 * mean**2 * variance + 2 * variance**2))
    return share, noise + (2 * RULER_FOCAL_LOG_STD * share) ** 2


def _model(found: Floats) -> tuple[Floats, Floats]:
    """The four readings of parameters (b, 3), (b, 4), and their derivatives, (b, 4, 3)."""
    x, y, inverse = found[:, 0], found[:, 1], np.exp(-found[:, 2])
    size = 2 + x * x + y * y
    even, cross = (x * x - y * y) / size, 2 * x * y / size
    model = np.stack([even, cross, x * inverse, y * inverse], 1)
    slopes = np.zeros((len(found), 4, 3))
    slopes[:, 0, 0], slopes[:, 0, 1] = (2 * x - 2 * x * even) / size, (-2 * y - 2 * y * even) / size
    slopes[:, 1, 0], slopes[:, 1, 1] = (2 * y - 2 * x * cross) / size, (2 * x - 2 * y * cross) / size
    slopes[:, 2, 0] = slopes[:, 3, 1] = inverse
    slopes[:, 2, 2], slopes[:, 3, 2] = -model[:, 2], -model[:, 3]
    return model, slopes
