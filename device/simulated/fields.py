"""Smooth random fields, the raw material of skin, flakes and light: seeded noise of a stated wavelength, of unit spread."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Picture = NDArray[np.float32]  # (height, width, 3), BGR, 0…1 as displayed


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int], wavelength_px: float, *, stretch: float = 1.0, angle: float = 0.0
) -> Field:
    """Noise of about zero mean and unit standard deviation, float32 (height, width).

    Args:
        wavelength_px: size of its blobs, ≥ 1 px.
        stretch: blobs are this many times longer along `angle` (radians, from x towards y).
    """
    height, width = shape
    if wavelength_px > 24:
        # OpenCV warps in steps of 1/32 of a grid cell, which shows as stairs on large blobs: warp small, then enlarge smoothly
        small = (math.ceil(height / 4) + 2, math.ceil(width / 4) + 2)
        coarse = smooth_field(rng, small, wavelength_px / 4, stretch=stretch, angle=angle)
        whole = cv2.resize(coarse, (4 * small[1], 4 * small[0]), interpolation=cv2.INTER_CUBIC)
        return np.ascontiguousarray(whole[4 : 4 + height, 4 : 4 + width])
    if stretch == 1.0:
        rows, columns = (max(4, math.ceil(2 * n / wavelength_px) + 3) for n in shape)
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        step = wavelength_px / 2
        turn = np.array([[1 / step, 0, 1], [0, 1 / step, 1]], np.float64)
    else:
        diagonal = math.hypot(height, width)
        along, across = wavelength_px * stretch / 2, wavelength_px / 2
        rows, columns = math.ceil(diagonal / across) + 6, math.ceil(diagonal / along) + 6
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        c, s = math.cos(angle), math.sin(angle)
        turn = np.array([[c / along, s / along, 0], [-s / across, c / across, 0]], np.float64)
        turn[:, 2] = np.array([columns / 2, rows / 2]) - turn[:, :2] @ np.array([width / 2, height / 2])
    field = cv2.warpAffine(grid, turn, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101)
    # interpolation between independent values lowers the spread to about 0.7
    return np.asarray(field * np.float32(1.35), np.float32)


def fractal_field(rng: np.random.Generator, shape: tuple[int, int], wavelength_px: float, octaves: int, fall: float = 0.5) -> Field:
    """A sum of smooth fields, each of half the wavelength and `fall` times the strength; unit spread, float32 (height, width)."""
    total = np.zeros(shape, np.float32)
    power = 0.0
    for octave in range(octaves):
        strength = fall**octave
        wavelength = wavelength_px / 2**octave
        if wavelength < 1.5:
            break
        total += np.float32(strength) * smooth_field(rng, shape, wavelength)
        power += strength**2
    return np.asarray(total / math.sqrt(max(power, 1e-9)), np.float32)


def smooth_line(rng: np.random.Generator, count: int, wavelength: float) -> Field:
    """Noise along a line, float32 (count,), about zero mean and unit spread; `wavelength` in samples."""
    knots = rng.standard_normal(max(4, math.ceil(2 * count / max(wavelength, 1.0)) + 3)).astype(np.float32)
    at = np.arange(count, dtype=np.float64) * 2 / max(wavelength, 1.0) + 1
    low = np.minimum(at.astype(int), len(knots) - 2)
    part = (at - low).astype(np.float32)
    part = part * part * (3 - 2 * part)
    return np.asarray(1.2 * (knots[low] * (1 - part) + knots[low + 1] * part), np.float32)
