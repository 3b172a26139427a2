"""The hood that keeps the microscope's distance from the skin, where its opening reaches into the picture: outside it there is no field."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.simulated.fields import Picture, fractal_field

Grid = NDArray[np.bool_]


@dataclass(frozen=True)
class Hood:
    """A round opening. Lengths as shares of the picture's half diagonal, so that it is the same at every size.

    Attributes:
        centre: from the middle of the picture, x and y.
        radius: of the opening; `softness` of its edge, which lies out of focus.
        bgr: what is seen of the hood, 0…1.
        lip: brightness of the lit ring at its edge, 0 none; `shade` how dark it makes the skin beside it.
    """

    centre: tuple[float, float]
    radius: float
    softness: float
    bgr: tuple[float, float, float]
    lip: float
    shade: float

    def circle_px(self, shape: tuple[int, int]) -> tuple[float, float, float]:
        """Centre x and y, and radius, in px of a (height, width) picture."""
        height, width = shape
        half = math.hypot(height, width) / 2
        return (width - 1) / 2 + self.centre[0] * half, (height - 1) / 2 + self.centre[1] * half, self.radius * half

    def distance_px(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """How far inside the edge each pixel of a (height, width) picture lies, in px; negative outside."""
        height, width = shape
        x0, y0, radius = self.circle_px(shape)
        x = np.arange(width, dtype=np.float32) - np.float32(x0)
        y = np.arange(height, dtype=np.float32) - np.float32(y0)
        return np.asarray(np.float32(radius) - np.hypot(x[None], y[:, None]), np.float32)

    def field(self, shape: tuple[int, int]) -> Grid:
        """bool (height, width), where skin is seen through the opening."""
        return np.asarray(self.distance_px(shape) > 0, np.bool_)


def draw_hood(rng: np.random.Generator) -> Hood:
    """A hood whose edge crosses the picture, at one corner or all around."""
    around = bool(rng.random() < 0.4)
    angle = rng.uniform(0, 2 * math.pi)
    off = float(rng.uniform(0.0, 0.08) if around else rng.uniform(0.15, 0.55))
    radius = float(rng.uniform(0.72, 0.95)) if around else float(rng.uniform(0.75, 0.95)) + 0.6 * off
    dark = bool(rng.random() < 0.7)
    grey = float(rng.uniform(0.0, 0.12) if dark else rng.uniform(0.35, 0.95))
    blue, green, red = (max(0.0, grey * (1 + float(v))) for v in rng.normal(0, 0.06, 3))
    return Hood(
        centre=(off * math.cos(angle), off * math.sin(angle)),
        radius=radius,
        softness=float(rng.uniform(0.002, 0.03)),
        bgr=(blue, green, red),
        lip=float(rng.uniform(0.2, 0.9)) if rng.random() < 0.35 else 0.0,
        shade=float(rng.uniform(0.0, 0.5)),
    )


def paint_hood(picture: Picture, hood: Hood, rng: np.random.Generator) -> Grid:
    """The hood over everything; returns the field that is left, bool (height, width)."""
    shape = (picture.shape[0], picture.shape[1])
    half = math.hypot(*shape) / 2
    inside = hood.distance_px(shape)
    soft = np.float32(max(1.0, hood.softness * half))
    field = inside > 0
    wall = np.clip(0.5 - inside / (2 * soft), 0, 1)
    wall = (wall * wall * (3 - 2 * wall))[..., None]
    picture *= (1 - np.float32(hood.shade) * np.exp(-np.clip(inside, 0, None) / np.float32(0.05 * half)))[..., None]
    uneven = 1 + np.float32(0.12) * fractal_field(rng, shape, 0.3 * half, 2)
    lip = np.float32(hood.lip) * np.exp(-(((inside + 2 * soft) / (1.5 * soft + 2)) ** 2))
    colour = np.clip(np.array(hood.bgr, np.float32) * uneven[..., None] + lip[..., None], 0, 1)
    picture += (colour - picture) * wall
    return np.asarray(field, np.bool_)
