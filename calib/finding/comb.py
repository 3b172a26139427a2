"""Where straight lines stand side by side at one pitch, before any single line is known, and the number of each by phase.

A comb of lines is a plane wave over a part of the picture. The spectrum names the waves that may be one (`waves`). Around one of them the
picture is demodulated (Gabor 1946): where the wave is most of what there is, its phase counts the lines, and a polynomial of place, fitted
first to the phase's slope and then to the phase itself, follows it through tilt and distortion without unwrapping (`comb_of`). A line that
is hidden leaves no trace in the numbers of the others, and none can be counted twice.

Waves of half the true pitch or of five times it look alike here; ruler.py tells them apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal.windows import tukey

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]

LEAST_PITCH_PX, LARGEST_PITCH_PX = 5.5, 100.0  # a little beyond what is promised
LARGE_PX = 1000  # a picture wider than this is halved before its spectrum is taken
GROUND_SHARE = 20  # light and dust change over this part of the picture's longer side
FAINT = 4.0  # grey levels; what varies by less is not brought out
KEPT = 6  # waves kept from each of two orders
WORK_PITCH_PX = 8.0  # a picture of wider pitch is made smaller to it before demodulation
GROUND, SMOOTH, WINDOW = 0.6, 0.15, 0.7  # σ in pitches: of the ground taken off, of smoothing, of the demodulation's window
PURE = 0.6  # share of the variance that the wave must hold where lines are
STRIDE = 0.5  # pitches between samples of the phase

# Exponents of u (across the lines) and v (along them). Tilt bends the numbers by squares, the lens by cubes and fifth powers.
POWERS = np.array([(a, b) for a in range(6) for b in range(4) if a + b <= 5])
FREE_DEGREE = 1
# How large a term may be, in half diagonals of displacement at one half diagonal: a lens of 3 % at the corner with its axis a little off,
# and 5° of tilt under a short lens. What lines do not fix stays near 0, so that numbers can be extrapolated.
BEND = {2: 0.04, 3: 0.04, 4: 0.004, 5: 0.02}


@dataclass(frozen=True)
class Wave:
    """A wave in the picture: cycles per px towards x and y."""

    fx: float
    fy: float

    @property
    def pitch_px(self) -> float:
        """From crest to crest."""
        return 1 / math.hypot(self.fx, self.fy)


@dataclass(frozen=True, eq=False)
class Numbering:
    """The number of the line, a real one between lines, as a polynomial of place.

    Attributes:
        width_px, height_px: of the picture.
        angle_rad: of the direction in which numbers grow, from x towards y.
        pitch_px: about.
        coefficients: float64 (t,), of U^a V^b for `POWERS`; U across, V along the lines, in half diagonals from the middle.
    """

    width_px: int
    height_px: int
    angle_rad: float
    pitch_px: float
    coefficients: Floats

    @property
    def unit_px(self) -> float:
        """Half a diagonal."""
        return math.hypot(self.width_px, self.height_px) / 2

    @cached_property
    def axes(self) -> Floats:
        """Unit vectors across and along the lines, rows of (2, 2)."""
        c, s = math.cos(self.angle_rad), math.sin(self.angle_rad)
        return np.array([[c, s], [-s, c]])

    @property
    def middle_px(self) -> Floats:
        """x and y of the middle of the picture."""
        return np.array([(self.width_px - 1) / 2, (self.height_px - 1) / 2])

    def own(self, pixels: Floats) -> Floats:
        """U and V, (n, 2), of places in the picture (n, 2)."""
        return np.asarray((pixels - self.middle_px) @ self.axes.T / self.unit_px)

    def pixels(self, own: Floats) -> Floats:
        """Places in the picture, (n, 2), of U and V (n, 2)."""
        return np.asarray(own * self.unit_px @ self.axes + self.middle_px)

    def numbers(self, own: Floats) -> Floats:
        """Numbers (n,) at U and V (n, 2)."""
        return np.asarray(_terms(own) @ self.coefficients)

    def slopes(self, own: Floats) -> Floats:
        """Numbers per px towards U and V, (n, 2)."""
        return np.stack([_terms(own, axis) @ self.coefficients for axis in (0, 1)], 1) / self.unit_px

    def line_at(self, number: Floats, along: Floats) -> Floats:
        """U (n,) at which line `number` (n,) passes V = `along` (n,); NaN where the numbers do not grow there."""
        across = np.zeros(len(number)) + (number - self.coefficients[0]) * self.pitch_px / self.unit_px
        for _ in range(8):
            own = np.stack([across, along], 1)
            rise = self.slopes(own)[:, 0] * self.unit_px
            rise = np.where(rise * self.pitch_px > 0.3 * self.unit_px, rise, np.nan)
            across = np.clip(across + (number - self.numbers(own)) / rise, -1.3, 1.3)
        return np.asarray(across)

    def fitted(self, own: Floats, numbers: Floats, weights: Floats, std: float = 0.02) -> Numbering:
        """The polynomial fitted anew to numbers (n,) at U and V (n, 2); `std` is theirs, against which bends are held small."""
        found = _ridge(_terms(own), numbers, weights / std**2, self.unit_px / self.pitch_px)
        return Numbering(self.width_px, self.height_px, self.angle_rad, self.pitch_px, found)


@dataclass(frozen=True, eq=False)
class Comb:
    """A part of the picture in which a wave is most of what there is.

    Attributes:
        numbering: in which dark lines have whole numbers, or bright ones where `bright`.
        own: float64 (n, 2), samples of that part, U and V.
        strength: sum over the samples of the wave's amplitude.
    """

    numbering: Numbering
    own: Floats
    strength: float


def waves(green: NDArray[np.uint8]) -> list[Wave]:
    """The waves that stand out in the spectrum of one channel (height, width), likeliest first; up to 2·KEPT.

    They come in two orders by turns: by power times frequency (the spectrum of edges falls with the square of the frequency), and by power
    over that of all directions at this frequency.
    """
    half = max(green.shape) > LARGE_PX
    small = green.astype(np.float32)
    if half:
        small = np.asarray(cv2.resize(small, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)
    even = _equalised(small)
    height, width = even.shape
    even *= tukey(height, 0.25).astype(np.float32)[:, None] * tukey(width, 0.25).astype(np.float32)
    shape = [scipy.fft.next_fast_len(n, real=True) for n in even.shape]
    spectrum = scipy.fft.rfft2(even, shape)
    power = cv2.GaussianBlur(spectrum.real**2 + spectrum.imag**2, (0, 0), 0.8)
    fy, fx = np.fft.fftfreq(shape[0]).astype(np.float32)[:, None], np.fft.rfftfreq(shape[1]).astype(np.float32)[None]
    frequency = np.hypot(fx, fy)
    ring = np.minimum((frequency * min(shape)).astype(np.intp), min(shape))
    level = np.log(power + 1e-9)
    mean = np.bincount(ring.ravel(), level.ravel()) / np.maximum(np.bincount(ring.ravel()), 1)
    part = 2 if half else 1
    allowed = (frequency > part / LARGEST_PITCH_PX) & (frequency < part / LEAST_PITCH_PX) & ((fx > 0) | (fy >= 0))
    crest = np.flatnonzero(allowed & (power >= cv2.dilate(power, np.ones((5, 5), np.uint8))))
    height_over = level.ravel()[crest] - mean[ring.ravel()[crest]]
    orders = [np.argsort(-rank)[:KEPT] for rank in (power.ravel()[crest] * frequency.ravel()[crest], height_over)]
    found: list[Wave] = []
    for place in np.stack([order[: min(map(len, orders))] for order in orders], 1).ravel():
        row, column = np.unravel_index(crest[place], power.shape)
        wave = Wave(float(fx[0, column]) / part, float(fy[row, 0]) / part)
        if not any(_alike(wave, other, 1.5 / min(green.shape)) for other in found):
            found.append(wave)
    return found


def comb_of(green: NDArray[np.uint8], wave: Wave) -> Comb | None:
    """The largest part of the channel (height, width) that `wave` fills, and the numbers of its lines; None where it fills none."""
    pitch = wave.pitch_px
    shrink = max(1.0, pitch / WORK_PITCH_PX)
    size = [max(8, round(n / shrink)) for n in green.shape]
    sx, sy = green.shape[1] / size[1], green.shape[0] / size[0]
    small = cv2.resize(green, (size[1], size[0]), interpolation=cv2.INTER_AREA).astype(np.float32)
    x, y = ((np.arange(n, dtype=np.float64) + 0.5) * s - 0.5 for n, s in ((size[1], sx), (size[0], sy)))
    sigma = pitch / math.sqrt(sx * sy)
    lines = _blur(small, SMOOTH * sigma) - _blur(small, GROUND * sigma)
    carrier = np.exp(-2j * np.pi * wave.fy * y)[:, None] * np.exp(-2j * np.pi * wave.fx * x)[None]
    mixed = lines * carrier.astype(np.complex64)
    step = max(1, round(STRIDE * sigma))
    at = np.s_[step // 2 :: step, step // 2 :: step]
    real, imaginary, energy = (_blur(part, WINDOW * sigma)[at] for part in (mixed.real, mixed.imag, lines * lines))
    phase = real + 1j * imaginary
    power = np.abs(phase) ** 2
    filled = (2 * power > PURE * energy) & (power > 0.25)
    count, parts = cv2.connectedComponents(filled.astype(np.uint8), connectivity=4)
    if count < 2:
        return None
    weight = np.bincount(parts.ravel(), np.sqrt(power).ravel())
    weight[0] = 0
    chosen = parts == int(np.argmax(weight))
    gx, gy = np.meshgrid(x[at[1]], y[at[0]])
    h, w = green.shape
    empty = np.zeros(len(POWERS))
    unit = math.hypot(w, h) / 2
    empty[np.all(POWERS == (1, 0), 1)] = unit / pitch
    numbering = Numbering(w, h, math.atan2(wave.fy, wave.fx), pitch, empty)
    own = numbering.own(np.stack([gx.ravel(), gy.ravel()], 1))
    if chosen.sum() < 3 * len(POWERS):
        return None
    middle = numbering.middle_px
    turned = phase * np.exp(2j * np.pi * (wave.fx * middle[0] + wave.fy * middle[1]))  # phase from the middle on
    coefficients = empty + _follow(turned, chosen, own.reshape(*chosen.shape, 2), unit / pitch)
    kept = chosen.ravel()
    return Comb(Numbering(w, h, numbering.angle_rad, pitch, coefficients), own[kept], float(weight.max()))


def _follow(phase: NDArray[np.complexfloating], chosen: NDArray[np.bool_], own: Floats, per_unit: float) -> Floats:
    """Coefficients (t,) of what the chosen samples' phase, in turns, adds to the plain wave."""
    # 1: slopes of the phase between neighbours, in both directions of the grid
    slopes, rows, weights = [], [], []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        both = chosen[one] & chosen[other]
        turn = phase[other][both] * np.conj(phase[one][both])
        slopes.append(np.angle(turn) / (2 * np.pi))
        rows.append(_terms(own[other][both]) - _terms(own[one][both]))
        weights.append(np.abs(turn))
    table, steps, weight = np.concatenate(rows), np.concatenate(slopes), np.concatenate(weights)
    weight = weight / max(float(weight.mean()), 1e-12)
    found = np.zeros(len(POWERS))
    trust = weight
    for _ in range(3):
        found = _ridge(table, steps, trust / 0.02**2, per_unit)
        trust = weight / (1 + ((steps - table @ found) / 0.05) ** 2)
    # 2: what is left of the phase itself stays within half a turn
    terms, z = _terms(own[chosen]), phase[chosen]
    weight = np.abs(z) / max(float(np.abs(z).mean()), 1e-12)
    for _ in range(4):
        rest = z * np.exp(-2j * np.pi * (terms @ found))
        start = np.angle(np.sum(rest)) / (2 * np.pi)
        found[0] += start
        left = np.angle(rest * np.exp(-2j * np.pi * start)) / (2 * np.pi)
        trust = weight / (1 + (left / 0.05) ** 2)
        found = _ridge(terms, terms @ found + left, trust / 0.05**2, per_unit)
    return found


def _terms(own: Floats, by: int | None = None) -> Floats:
    """U^a V^b (n, t) at U and V (n, 2), or their derivatives by U (0) or V (1)."""
    a, b = POWERS.T
    u, v = (np.cumprod(np.column_stack([np.ones(len(own)), *[own[:, axis]] * 5]), 1) for axis in (0, 1))
    if by == 0:
        return np.asarray(a * u[:, np.maximum(a - 1, 0)] * v[:, b])
    if by == 1:
        return np.asarray(b * u[:, a] * v[:, np.maximum(b - 1, 0)])
    return np.asarray(u[:, a] * v[:, b])


def _ridge(table: Floats, values: Floats, weights: Floats, per_unit: float) -> Floats:
    """Least squares with the terms above the first degree held to BEND; `per_unit` lines a half diagonal."""
    degree = POWERS.sum(1)
    hold = np.array([0.0 if d <= FREE_DEGREE else (BEND[d] * per_unit) ** -2 for d in degree.tolist()])
    weighted = table * weights[:, None]
    normal = weighted.T @ table
    normal[np.diag_indices_from(normal)] += hold + 1e-12 * np.trace(normal)
    return np.asarray(np.linalg.solve(normal, weighted.T @ values))


def _equalised(plain: Float32s) -> Float32s:
    """A picture without its ground, and as strong everywhere; both are measured on one an eighth as large."""
    height, width = plain.shape
    size = max(width // 8, 8), max(height // 8, 8)
    sigma = max(size) / GROUND_SHARE

    def smooth(picture: Float32s) -> Float32s:
        small = _blur(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), sigma)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

    rest = plain - smooth(plain)
    return np.asarray(rest / (np.sqrt(smooth(rest * rest)) + np.float32(FAINT)), np.float32)


def _blur(picture: Any, sigma: float) -> Float32s:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), np.float32)


def _alike(one: Wave, other: Wave, distance: float) -> bool:
    return min(math.hypot(one.fx - s * other.fx, one.fy - s * other.fy) for s in (1, -1)) < distance
