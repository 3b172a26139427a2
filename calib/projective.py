"""A tilted plane behind a bending lens as twelve numbers: the map from picture to target, its derivatives, and what it says at the middle.

Unit of the picture: half diagonals about its middle, as `RadialLens` counts. The parameters a₁ a₂ a₀ b₁ b₂ b₀ g h k₁ k₂ c_x c_y map a
place p to

    v = c + u (1 + k₁|u|² + k₂|u|⁴),  u = p − c        X = (a₁v_x + a₂v_y + a₀) / (1 + g v_x + h v_y),  Y with b
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

X_ROW, Y_ROW, TILT, LENS, CENTRE = slice(0, 3), slice(3, 6), slice(6, 8), slice(8, 12), slice(10, 12)
K1, K2 = 8, 9
PARAMETERS = 12


def steps_and_slopes(found: Floats, places: Floats, target: Floats, ruler: bool) -> tuple[Floats, Floats, Floats]:
    """By how much each place must move to look at its target point, and how that changes with the parameters.

    Residuals of a fit belong into the picture, where the errors are. Taken on the target instead, and slopes taken at places that err,
    they would favour maps that shrink the errors: a ring of points would be bent by per cents.

    Args:
        found: float64 (12,).
        places: float64 (n, 2).
        target: float64 (n, 2), X and Y; of a ruler only X is read.
        ruler: whether only X counts; then a place moves along the gradient of X, and there is one row a point instead of two.

    Returns:
        steps: float64 (n, 2), of one Newton step.
        across: float64 (n, 2), the unit direction in which a ruler's X grows; (0, 2) where it is none.
        slopes: float64 (r, n, 12), r = 2 or 1, derivatives of the x and y of the steps, or of the step along `across`, by −parameter.
    """
    n = len(places)
    centre, (g, h) = found[CENTRE], found[TILT]
    dx, dy = (places - centre).T
    q = dx * dx + dy * dy
    bend = q * (found[K1] + found[K2] * q)
    rise = 2 * (found[K1] + 2 * found[K2] * q)
    vx, vy = places[:, 0] + dx * bend, places[:, 1] + dy * bend
    w = 1 / (1 + g * vx + h * vy)
    basis = np.stack([vx * w, vy * w, w], 1)
    x, y = basis @ found[X_ROW], basis @ found[Y_ROW]
    # the lens's own derivative is symmetric: (1 + bend) I + rise d dᵀ
    lxx, lyy, lxy = 1 + bend + rise * dx * dx, 1 + bend + rise * dy * dy, rise * dx * dy
    ax, ay = (found[0] - x * g) * w, (found[1] - x * h) * w
    bx, by = (found[3] - y * g) * w, (found[4] - y * h) * w
    if ruler:
        gx, gy = ax * lxx + ay * lxy, ax * lxy + ay * lyy
        size = 1 / np.sqrt(gx * gx + gy * gy)
        along = (ax * dx + ay * dy) * q * size
        slopes = np.zeros((1, n, PARAMETERS))
        slopes[0, :, X_ROW] = basis * size[:, None]
        slopes[0, :, TILT] = basis[:, :2] * -(x * size)[:, None]
        slopes[0, :, K1], slopes[0, :, K2] = along, along * q
        slopes[0, :, 10], slopes[0, :, 11] = (ax - gx) * size, (ay - gy) * size
        across = np.stack([gx * size, gy * size], 1)
        return across * ((target[:, 0] - x) * size)[:, None], across, slopes
    slopes = np.empty((2, n, PARAMETERS))
    area = 1 / (lxx * lyy - lxy * lxy)
    unbend = ((lyy * area, -lxy * area), (-lxy * area, lxx * area))
    turn = 1 / (ax * by - ay * bx)
    unturn = ((by * turn, -ay * turn), (-bx * turn, ax * turn))
    offx, offy = target[:, 0] - x, target[:, 1] - y
    steps = np.empty((n, 2))
    for axis in (0, 1):
        left, right = unbend[axis]
        by_x, by_y = left * unturn[0][0] + right * unturn[1][0], left * unturn[0][1] + right * unturn[1][1]
        steps[:, axis] = by_x * offx + by_y * offy
        rows = slopes[axis]
        rows[:, X_ROW] = basis * by_x[:, None]
        rows[:, Y_ROW] = basis * by_y[:, None]
        rows[:, TILT] = basis[:, :2] * -(by_x * x + by_y * y)[:, None]
        rows[:, K1] = (left * dx + right * dy) * q
        rows[:, K2] = rows[:, K1] * q
        rows[:, 10], rows[:, 11] = left, right
        rows[:, 10 + axis] -= 1
    return steps, np.zeros((0, 2)), slopes


def jacobians(found: Floats) -> tuple[Floats, Floats, Floats]:
    """d(X, Y)/d(undistorted) and d(undistorted)/d(place) at the middle, (b, 2, 2) each, and g and h as seen from there, (b, 2).

    `found` is float64 (b, 12).
    """
    centre, tilt = found[:, CENTRE], found[:, TILT]
    square = np.sum(centre * centre, 1)
    bend = square * (found[:, K1] + found[:, K2] * square)
    rise = 2 * (found[:, K1] + 2 * found[:, K2] * square)
    lens = (1 + bend)[:, None, None] * np.eye(2) + rise[:, None, None] * centre[:, :, None] * centre[:, None, :]
    plain = -centre * bend[:, None]
    w = 1 + np.sum(tilt * plain, 1)
    linear = np.stack([found[:, 0:2], found[:, 3:5]], 1)
    value = (np.einsum("brk,bk->br", linear, plain) + found[:, [2, 5]]) / w[:, None]
    return (linear - value[:, :, None] * tilt[:, None, :]) / w[:, None, None], lens, tilt / w[:, None]


def at_middle(found: Floats, ruler: bool) -> Floats:
    """What parameters (b, 12) say at the middle, float64 (b, 5).

    The logarithm of the scale, √|det J| or of a ruler |∇X|; the anisotropy (G₁₁ − G₂₂, 2G₁₂) / (G₁₁ + G₂₂) of the undistorted metric
    G = JᵀJ (0 of a ruler); the relative slope of depth towards x and y, −(g, h).
    """
    plane, lens, tilt = jacobians(found)
    if ruler:
        gradient = np.einsum("bk,bkj->bj", plane[:, 0], lens)
        size = np.log(gradient[:, 0] ** 2 + gradient[:, 1] ** 2) / 2
        return np.column_stack([size, np.zeros((len(found), 2)), -tilt])
    area = (plane[:, 0, 0] * plane[:, 1, 1] - plane[:, 0, 1] * plane[:, 1, 0]) * (lens[:, 0, 0] * lens[:, 1, 1] - lens[:, 0, 1] ** 2)
    column = np.sum(plane * plane, 1)
    cross = np.sum(plane[:, :, 0] * plane[:, :, 1], 1)
    uneven = np.stack([column[:, 0] - column[:, 1], 2 * cross], 1) / column.sum(1)[:, None]
    return np.column_stack([np.log(np.abs(area)) / 2, uneven, -tilt])


def read_at_middle(found: Floats, free: NDArray[np.intp], ruler: bool) -> tuple[Floats, Floats]:
    """`at_middle` of one set of parameters (12,), float64 (5,), and its derivatives by those in `free`, float64 (5, f)."""
    step = 1e-5
    several = np.repeat(found[None], 2 * len(free) + 1, 0)
    index = np.arange(len(free))
    several[1 + index, free] += step
    several[1 + len(free) + index, free] -= step
    read = at_middle(several, ruler)
    return read[0], ((read[1 : 1 + len(free)] - read[1 + len(free) :]) / (2 * step)).T


def homography(found: Floats, unit_px: float, middle_px: tuple[float, float], unit_mm: float, origin_mm: Floats) -> Floats:
    """The projective part of parameters (12,) from undistorted px to mm, float64 (3, 3)."""
    plane = np.array([found[X_ROW], found[Y_ROW], [*found[TILT], 1.0]])
    to_unit = np.array([[1 / unit_px, 0, -middle_px[0] / unit_px], [0, 1 / unit_px, -middle_px[1] / unit_px], [0, 0, 1.0]])
    to_mm = np.array([[unit_mm, 0, origin_mm[0]], [0, unit_mm, origin_mm[1]], [0, 0, 1.0]])
    whole = to_mm @ plane @ to_unit
    return np.asarray(whole / whole[2, 2], np.float64)
