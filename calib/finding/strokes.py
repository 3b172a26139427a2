"""Pieces of straight lines measured to a small part of a pixel, all at once: where across the line each lies, and how far it is one.

A piece ("cell") is a window as wide as one pitch and some pixels long, laid along the line. Its own pixels are taken as they are and
gathered by their true place across the line: nothing is interpolated, so that no bias comes from where on the grid of pixels a line falls.
The profile of a line is the same for all of a row of cells, and even (a symmetric point spread), so it is learned from them as a series of
cosines; each cell is then fitted with ground, slope of the ground, contrast and shift of that profile by Gauss–Newton, with Cauchy's
weights against dust and text.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]

HALF_WIDTH = 0.55  # pitches of a window to each side
TAPER_PX = 1.0  # over which a window's weight falls to 0
BIN_PX, BINS = 0.5, 44  # samples across a window: so wide at least, so many at most
MOST_COSINES = 6
PX_A_COSINE = 2.7  # a series has one cosine for so many px of pitch
ROUNDS, STEPS = 3, 3
FARTHEST = 0.35  # pitches by which a cell may be shifted; farther off it is the neighbour's
LARGEST_STEP = 0.15  # pitches
CORRELATED = 2.0  # px: neighbouring pixels of a JPEG share their noise, so that so many count as one
PROFILE = 41  # samples of a profile that is handed out


@dataclass(frozen=True, eq=False)
class Cells:
    """What was measured in n windows.

    Attributes:
        shift_px: float64 (n,), how far from the window's middle the line lies across itself.
        std_px: float64 (n,), standard error of that from what the fit leaves.
        contrast: float64 (n,), level of the line's middle minus that half-way to its neighbours, grey levels; negative for a dark line.
        explained: float64 (n,), share of the variance in the window that the profile explains, the camera's noise not counted.
        seen: float64 (n,), share of the window that lies in the picture.
        profiles: float64 (rows, PROFILE), the profile of each row from −½ to ½ pitch, its fundamental having height 1.
    """

    shift_px: Floats
    std_px: Floats
    contrast: Floats
    explained: Floats
    seen: Floats
    profiles: Floats


@dataclass(frozen=True, eq=False)
class _Samples:
    """The pixels of n windows gathered into k bins across the line; all but `seen` and `inner` float32 (n, k)."""

    place: Float32s  # pitches across the line from the window's middle, mean of the bin
    level: Float32s  # grey, mean
    weight: Float32s  # px
    inner: Floats  # (n,) sum of squares about the bins' means
    seen: Floats  # (n,)


def noise_of(green: NDArray[np.uint8]) -> float:
    """The standard deviation of a pixel's noise, grey levels (Immerkær 1996, with a median, for a ruler's edges are no noise)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.median(np.abs(cv2.filter2D(green, cv2.CV_32F, kernel)))) / 0.6745 / 6


def measure(
    green: NDArray[np.uint8],
    places: Floats,
    across: Floats,
    pitch_px: Floats,
    length_px: float,
    row: NDArray[np.intp],
    trusted: NDArray[np.bool_],
    noise: float,
) -> Cells:
    """Measure the line in each of n windows.

    Args:
        green: uint8 (height, width).
        places: (n, 2), middles of the windows, x and y.
        across: (n, 2), unit vectors across the line.
        pitch_px: (n,), distance to the neighbouring lines.
        length_px: of all windows along the line.
        row: (n,), which cells share a profile, from 0.
        trusted: (n,), the cells from which profiles are learned; a row that has too few takes part in a profile of all.
        noise: standard deviation of a pixel, grey levels.
    """
    samples = _gather(green, places, across, pitch_px, length_px)
    weight, level = samples.weight, samples.level
    cosines = int(np.clip(float(np.median(pitch_px)) / PX_A_COSINE, 1, MOST_COSINES))
    series = np.zeros((int(row.max()) + 1, cosines))
    series[:, 0] = 1.0
    shift, found, variance = np.zeros(len(places)), np.zeros((len(places), 4)), np.zeros(len(places))
    trust, rest = weight, level
    learn = trusted if trusted.any() else np.ones_like(trusted)
    for number in range(ROUNDS):
        if number:
            series = _series(series, row, learn, samples, shift, found)
        for _ in range(STEPS):
            q = samples.place - shift.astype(np.float32)[:, None]
            profile, slope = _profile(series, row, q)
            basis = np.stack([np.ones_like(q), q, profile, -slope], 1)
            found, variance = _least_squares(basis, level, trust)
            rest = level - (found.astype(np.float32)[:, None, :] @ basis)[:, 0]
            trust = weight * _trust(rest, weight, noise)
            moved = np.where(np.abs(found[:, 2]) > 1e-3, found[:, 3] / np.where(found[:, 2] == 0, 1, found[:, 2]), 0.0)
            shift = np.clip(shift + np.clip(moved, -LARGEST_STEP, LARGEST_STEP), -FARTHEST, FARTHEST)
    count = np.maximum(weight.sum(1, dtype=float), 1.0)
    square = ((weight * rest * rest).sum(1, dtype=float) + samples.inner) / count
    mean = (weight * level).sum(1, dtype=float) / count
    spread = ((weight * (level - mean[:, None].astype(np.float32)) ** 2).sum(1, dtype=float) + samples.inner) / count
    explained = 1 - np.maximum(square - noise**2, 0) / np.maximum(spread - noise**2, noise**2 / 4 + 0.25)
    std = np.sqrt(variance * square * CORRELATED) * pitch_px / np.maximum(np.abs(found[:, 2]), 1e-9)
    at = np.broadcast_to(np.linspace(-0.5, 0.5, PROFILE, dtype=np.float32), (len(series), PROFILE))
    profiles = np.asarray(_profile(series, np.arange(len(series)), at)[0], np.float64)
    depth = profiles[:, PROFILE // 2] - profiles[:, 0]
    return Cells(shift * pitch_px, std, found[:, 2] * depth[row], explained, samples.seen, profiles)


def _gather(green: NDArray[np.uint8], places: Floats, across: Floats, pitch_px: Floats, length_px: float) -> _Samples:
    reach = HALF_WIDTH * float(pitch_px.max())
    half = int(np.ceil(np.hypot(reach, length_px / 2) + TAPER_PX))
    around = np.arange(-half, half + 1, dtype=np.float32)
    dy, dx = (part.ravel() for part in np.meshgrid(around, around, indexing="ij"))
    base = np.rint(places).astype(np.intp)
    # lines are nearly parallel: pixels that no window holds, whatever its turn and place, are left away first
    turns = np.unique(np.round(np.arctan2(across[:, 1], across[:, 0]), 2))
    cos, sin = np.cos(turns).astype(np.float32)[:, None], np.sin(turns).astype(np.float32)[:, None]
    held = (np.abs(dx * cos + dy * sin) < reach + 2) & (np.abs(dy * cos - dx * sin) < length_px / 2 + 2)
    dx, dy = dx[held.any(0)], dy[held.any(0)]
    off = (base - places).astype(np.float32)
    off_x, off_y = dx + off[:, :1], dy + off[:, 1:]
    cx, cy = across.astype(np.float32)[:, :1], across.astype(np.float32)[:, 1:]
    s, t = off_x * cx + off_y * cy, off_y * cx - off_x * cy
    wide = (HALF_WIDTH * pitch_px).astype(np.float32)[:, None]
    long = np.float32(length_px / 2)
    weight = np.clip((wide - np.abs(s)) / np.float32(TAPER_PX) + 0.5, 0, 1)
    weight *= np.clip((long - np.abs(t)) / np.float32(TAPER_PX) + 0.5, 0, 1)
    whole = weight.sum(1, dtype=float)
    x, y = base[:, :1] + dx.astype(np.intp), base[:, 1:] + dy.astype(np.intp)
    height, width = green.shape
    weight[(x < 0) | (x >= width) | (y < 0) | (y >= height)] = 0
    cell, column = np.nonzero(weight)
    w, s = weight[cell, column].astype(np.float64), s[cell, column]
    level = green[y[cell, column], x[cell, column]].astype(np.float64)
    extent = 2 * (reach + TAPER_PX)
    k = int(min(np.ceil(extent / BIN_PX), BINS))
    place = cell * k + np.clip((s / extent + 0.5) * k, 0, k - 1).astype(np.intp)
    n = len(places)
    size, first, one, two = (np.bincount(place, part, n * k).reshape(n, k) for part in (w, w * s, w * level, w * level * level))
    some = np.maximum(size, 1e-9)
    mean = one / some
    inner = np.maximum(two - one * mean, 0).sum(1)
    middle = (first / some / pitch_px[:, None]).astype(np.float32)
    return _Samples(middle, mean.astype(np.float32), size.astype(np.float32), inner, size.sum(1) / np.maximum(whole, 1e-6))


def _profile(series: Floats, row: NDArray[np.intp], q: Float32s) -> tuple[Float32s, Float32s]:
    """Values of the series (r, m) of cosines at q (n, k) pitches, and their derivatives by q; `row` (n,) says which series."""
    own = series[row].astype(np.float32)
    angle = np.float32(2 * np.pi) * q
    cos, sin = np.cos(angle), np.sin(angle)
    value, slope = own[:, :1] * cos, own[:, :1] * sin
    before, now = (np.ones_like(q), np.zeros_like(q)), (cos, sin)
    for m in range(1, series.shape[1]):
        # cos and sin of the next multiple by the recurrence of Chebyshev
        before, now = now, (2 * cos * now[0] - before[0], 2 * cos * now[1] - before[1])
        value += own[:, m : m + 1] * now[0]
        slope += (m + 1) * own[:, m : m + 1] * now[1]
    return value, np.asarray(np.float32(-2 * np.pi) * slope)


def _series(old: Floats, row: NDArray[np.intp], learn: NDArray[np.bool_], samples: _Samples, shift: Floats, found: Floats) -> Floats:
    """The profile of each row as a series of cosines, from cells freed of ground and contrast."""
    rows, m = old.shape
    cells = np.flatnonzero(learn & (np.abs(found[:, 2]) > 1e-3))
    q = samples.place[cells] - shift[cells, None].astype(np.float32)
    contrast = found[cells, 2].astype(np.float32)[:, None]
    own = samples.level[cells] - found[cells, 0, None].astype(np.float32) - found[cells, 1, None].astype(np.float32) * q
    angle = np.float32(2 * np.pi) * q
    # in grey levels, so that faint cells, which are noisier, count less
    basis = np.stack([contrast * np.cos(j * angle) for j in range(m + 1)], 1)
    weighted = basis * samples.weight[cells][:, None]
    normal, right = np.zeros((rows, m + 1, m + 1)), np.zeros((rows, m + 1))
    np.add.at(normal, row[cells], weighted @ basis.transpose(0, 2, 1))
    np.add.at(right, row[cells], (weighted @ own[:, :, None])[:, :, 0])
    few = np.bincount(row[cells], minlength=rows) < 3
    normal[few], right[few] = normal.sum(0), right.sum(0)
    diagonal = np.arange(m + 1)
    normal[:, diagonal, diagonal] += 1e-4 * np.maximum(np.trace(normal, axis1=1, axis2=2), 1e-6)[:, None]
    solved = np.linalg.solve(normal, right[:, :, None])[:, 1:, 0]
    fine = np.abs(solved[:, 0]) > 1e-2
    return np.where(fine[:, None], solved / np.where(fine, solved[:, 0], 1)[:, None], old)


def _least_squares(basis: Float32s, level: Float32s, weight: Float32s) -> tuple[Floats, Floats]:
    """(coefficients (n, p) of the basis (n, p, k), variance (n,) of the last of them at unit noise)."""
    weighted = basis * weight[:, None, :]
    normal = (weighted @ basis.transpose(0, 2, 1)).astype(float)
    right = (weighted @ level[:, :, None]).astype(float)
    p = basis.shape[1]
    diagonal = np.arange(p)
    normal[:, diagonal, diagonal] += 1e-5 * np.maximum(normal[:, diagonal, diagonal], 1.0)
    last = np.zeros((len(basis), p, 1))
    last[:, -1] = 1
    solved = np.linalg.solve(normal, np.concatenate([right, last], 2))
    return solved[:, :, 0], np.maximum(solved[:, -1, 1], 0.0)


def _trust(rest: Float32s, weight: Float32s, noise: float) -> Float32s:
    """Cauchy's weights of what a fit leaves."""
    square = rest * rest
    mean = (weight * square).sum(1) / np.maximum(weight.sum(1), np.float32(1e-6))
    return np.asarray(1 / (1 + square / (4 * np.maximum(mean, np.float32(noise**2 / 4 + 0.1))[:, None])), np.float32)
