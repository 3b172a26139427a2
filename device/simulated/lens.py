"""The lens: where a point of the scalp falls in the picture, the scale there, and what glass does to a picture.

A pinhole at `distance_mm` above the skin plane with radial distortion (Brown 1966, two terms) and tilt. World coordinates in µm:
x right, y down, z up from the skin, origin where the optical axis meets the skin. Pixel centres at integers.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.fields import Picture

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Lens:
    """A lens over a picture of `width` × `height` px; `focal_px` in px, tilts in radians about x and y."""

    width: int
    height: int
    focal_px: float
    distance_mm: float
    tilt_rad: tuple[float, float] = (0.0, 0.0)
    k1: float = 0.0
    k2: float = 0.0
    offset_px: tuple[float, float] = (0.0, 0.0)

    @property
    def centre_px(self) -> tuple[float, float]:
        """Where the optical axis meets the picture: `offset_px` from its middle."""
        return (self.width - 1) / 2 + self.offset_px[0], (self.height - 1) / 2 + self.offset_px[1]

    @cached_property
    def rotation(self) -> NDArray[np.float64]:
        """World to camera axes, (3, 3)."""
        a, b = self.tilt_rad
        about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
        about_y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
        return np.asarray(about_y @ about_x, np.float64)

    def project(self, points_um: Points) -> tuple[Points, NDArray[np.float64]]:
        """Picture positions (n, 2) in px of world points (n, 3) in µm, and the µm per px there (n,)."""
        camera = (points_um * (1, 1, -1)) @ self.rotation.T
        depth = camera[:, 2] + 1000 * self.distance_mm
        x, y = camera[:, 0] / depth, camera[:, 1] / depth
        # beyond the corners the polynomial may turn back: what is not in view keeps the corner's distortion
        r2 = np.minimum(x * x + y * y, 1.3 * (self.width**2 + self.height**2) / (4 * self.focal_px**2))
        stretch = 1 + self.k1 * r2 + self.k2 * r2 * r2
        pixels = np.stack([x * stretch, y * stretch], 1) * self.focal_px + self.centre_px
        # across a radius the distortion magnifies by `stretch`, along it by its derivative: their geometric mean serves a width
        along = 1 + 3 * self.k1 * r2 + 5 * self.k2 * r2 * r2
        return pixels, np.asarray(depth / (self.focal_px * np.sqrt(stretch * along)), np.float64)

    def on_skin(self, pixels: Points) -> Points:
        """World x and y in µm (n, 2) of the skin seen at picture positions (n, 2)."""
        distorted = (pixels - self.centre_px) / self.focal_px
        plain = distorted.copy()
        for _ in range(6):  # fixed-point iteration; the distortion is below 3 %, so each step gains a digit or more
            r2 = np.sum(plain * plain, 1, keepdims=True)
            plain = distorted / (1 + self.k1 * r2 + self.k2 * r2 * r2)
        rays = np.concatenate([plain, np.ones((len(plain), 1))], 1) @ self.rotation
        origin = np.array([0, 0, -1000 * self.distance_mm]) @ self.rotation
        ground = origin + rays * (-origin[2] / rays[:, 2:3])
        return np.asarray(ground[:, :2], np.float64)

    @cached_property
    def scales_um_per_px(self) -> NDArray[np.float64]:
        """µm per px of the skin at a coarse grid of the picture, square root of the area that a pixel covers; (25, 33)."""
        x, y = np.meshgrid(np.linspace(0, self.width - 1, 33), np.linspace(0, self.height - 1, 25))
        at = np.stack([x.ravel(), y.ravel()], 1)
        right, down = (self.on_skin(at + step) - self.on_skin(at - step) for step in ((0.5, 0), (0, 0.5)))
        area = np.abs(right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0])
        return np.asarray(np.sqrt(area).reshape(x.shape), np.float64)

    @property
    def centre_um_per_px(self) -> float:
        """µm per px at the middle of the picture, on the skin."""
        return float(self.scales_um_per_px[12, 16])

    @cached_property
    def area_cm2(self) -> float:
        """Skin area in view: the polygon of the picture's border laid on the skin."""
        x, y = self.width - 0.5, self.height - 0.5
        corners = np.array([[-0.5, -0.5], [x, -0.5], [x, y], [-0.5, y], [-0.5, -0.5]])
        part = np.linspace(0, 1, 33)[:-1, None]
        border = np.concatenate([a + (b - a) * part for a, b in itertools.pairwise(corners)])
        gx, gy = self.on_skin(border).T
        return float(abs(np.sum(gx * np.roll(gy, -1) - gy * np.roll(gx, -1))) / 2 / 1e8)


def lens_for(
    width: int,
    height: int,
    um_per_px: float,
    distance_mm: float,
    tilt_rad: tuple[float, float] = (0.0, 0.0),
    k1: float = 0.0,
    k2: float = 0.0,
) -> Lens:
    """The lens that shows the skin at `um_per_px` in the middle of the picture."""
    return Lens(width, height, 1000 * distance_mm / um_per_px, distance_mm, tilt_rad, k1, k2)


def vignette(shape: tuple[int, int], strength: float, centre: tuple[float, float] = (0.0, 0.0)) -> NDArray[np.float32]:
    """Light fall-off, float32 (height, width), 1 at its centre (in half-diagonals from the middle) to 1 − strength at one half-diagonal."""
    height, width = shape
    half = math.hypot(height, width) / 2
    x = ((np.arange(width, dtype=np.float32) - (width - 1) / 2) / half - centre[0]) ** 2
    y = ((np.arange(height, dtype=np.float32) - (height - 1) / 2) / half - centre[1]) ** 2
    return np.asarray(1 - np.float32(strength) * (x[None] + y[:, None]), np.float32)


def defocus(picture: Picture, sigma_px: float) -> Picture:
    """The picture under a Gaussian point spread of `sigma_px`."""
    if sigma_px < 0.2:
        return picture
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101), np.float32)


def motion(picture: Picture, length_px: float, angle_rad: float) -> Picture:
    """The picture smeared along a straight way of `length_px` (at most 30) while the shutter was open."""
    if length_px < 0.3:
        return picture
    length_px = min(length_px, 30.0)
    side = 2 * math.ceil(length_px / 2) + 3
    kernel = np.zeros((side, side), np.float32)
    # every pixel of the kernel weighs what the way, drawn finely, spends in it
    way = np.linspace(-0.5, 0.5, 8 * side) * length_px
    for x, y in zip(side // 2 + way * math.cos(angle_rad), side // 2 + way * math.sin(angle_rad), strict=True):
        i, j = int(y), int(x)
        down, right = y - i, x - j
        kernel[i : i + 2, j : j + 2] += np.array([[(1 - down) * (1 - right), (1 - down) * right], [down * (1 - right), down * right]])
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101), np.float32)


def lateral_colour(picture: Picture, shift_px: float) -> Picture:
    """Chromatic aberration: red drawn larger and blue smaller by `shift_px` at the corner."""
    if shift_px < 0.05:
        return picture
    height, width = picture.shape[:2]
    half = math.hypot(height, width) / 2
    channels = list(cv2.split(picture))
    for channel, sign in ((0, -1.0), (2, 1.0)):
        zoom = 1 - sign * shift_px / half
        matrix = np.array([[zoom, 0, (width - 1) / 2 * (1 - zoom)], [0, zoom, (height - 1) / 2 * (1 - zoom)]])
        channels[channel] = cv2.warpAffine(
            channels[channel], matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
    return np.asarray(cv2.merge(channels), np.float32)
