"""Where green lies beside the sharp part of a picture: what JPEG does to lateral colour, measured and taken off again.

A lens draws red larger and blue smaller than green, so points are those of the green channel. But a camera's JPEG keeps colour at half
the resolution and coarsely: near an edge the decoded green is luma, 0.299 R + 0.587 G + 0.114 B, with a share of red's and blue's places
in it, up to 0.02 % of scale. Points are therefore found in luma, which JPEG keeps sharp, and moved by what green and luma differ where
both are kept, at low spatial frequencies: there green is luma shifted and zoomed a little, G(p) ≈ γ Y(p) − δ(p)·∇Y, δ(p) = e + z p, a
linear regression over all pixels. In a picture that was never a JPEG the same is true at all frequencies, and nothing is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]

SMOOTH_PX = 3.0  # twice what the colour of a JPEG is blurred by
LARGEST_ZOOM = 2e-3  # more is no lens's lateral colour but a coloured target
LARGEST_SHIFT_PX = 1.0
LEAST_SAMPLES, ENOUGH_SAMPLES = 1000, 40_000  # pixels
LEAST_SLOPE = 2.0  # grey levels a px; flatter ground tells nothing and its colour may change


@dataclass(frozen=True)
class GreenPlace:
    """Green's places from luma's: p + shift + zoom·(p − middle)."""

    middle_px: tuple[float, float]
    zoom: float = 0.0
    shift_px: tuple[float, float] = (0.0, 0.0)

    def of(self, pixels: Floats) -> Floats:
        """Where points (n, 2) of the luma lie in green, float64 (n, 2)."""
        return np.asarray(pixels + self.shift_px + self.zoom * (pixels - self.middle_px), np.float64)


def luma(image: NDArray[np.uint8]) -> Float32s:
    """0.299 R + 0.587 G + 0.114 B of uint8 (height, width, 3) BGR, float32 (height, width), not rounded."""
    return np.asarray(cv2.transform(np.asarray(image, np.float32), np.array([[0.114, 0.587, 0.299]], np.float32)), np.float32)


def green_place(image: NDArray[np.uint8]) -> GreenPlace:
    """How green lies beside luma in a picture of something grey, uint8 (height, width, 3) BGR; nothing where it cannot be told."""
    height, width = image.shape[:2]
    nothing = GreenPlace(((width - 1) / 2, (height - 1) / 2))
    sharp = luma(image)
    smooth = cv2.GaussianBlur(sharp, (0, 0), SMOOTH_PX)
    green = cv2.GaussianBlur(np.asarray(image[..., 1], np.float32), (0, 0), SMOOTH_PX)
    right, down = (cv2.Sobel(smooth, cv2.CV_32F, dx, dy, ksize=1, scale=0.5) for dx, dy in ((1, 0), (0, 1)))
    steep = right * right + down * down > LEAST_SLOPE**2
    rows, columns = np.nonzero(steep)
    if len(rows) < LEAST_SAMPLES:
        return nothing
    every = slice(None, None, max(1, len(rows) // ENOUGH_SAMPLES))
    rows, columns = rows[every], columns[every]
    y, g, gx, gy = (np.asarray(plane[rows, columns], np.float64) for plane in (smooth, green, right, down))
    zoomed = gx * (columns - nothing.middle_px[0]) + gy * (rows - nothing.middle_px[1])
    table = np.column_stack([y, np.ones(len(y)), gx, gy, zoomed])
    found = np.linalg.lstsq(table, g, rcond=None)[0]
    gain = found[0]
    if gain < 0.2:
        return nothing
    shift, zoom = -found[2:4] / gain, float(-found[4] / gain)
    if abs(zoom) > LARGEST_ZOOM or np.abs(shift).max() > LARGEST_SHIFT_PX:
        return nothing
    return GreenPlace(nothing.middle_px, zoom, (float(shift[0]), float(shift[1])))
