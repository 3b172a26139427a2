"""Where hair leaves the skin: openings with their collars, plugs and haloes, and the roots that shimmer through the skin below."""

from __future__ import annotations

import math

import numpy as np

from device.simulated.fields import Field, Picture, fractal_field
from device.simulated.hair import Unit
from device.simulated.lens import Lens
from device.simulated.recipe import Recipe
from device.simulated.shading import SeenShaft
from device.simulated.strand import band_of, course_of, soft_cover

PLUG = np.array([0.50, 0.76, 0.88], np.float32)
YELLOW_DOT = np.array([0.42, 0.70, 0.84], np.float32)
PERIPILAR = np.array([0.60, 0.72, 0.84], np.float32)  # what is left of each channel within a brown halo


def paint_opening(
    skin: Picture, unit: Unit, lens: Lens, recipe: Recipe, colour: tuple[float, float, float] | None, rng: np.random.Generator
) -> None:
    """The ostium of a unit: a pale collar, a dimple in the middle, sometimes a yellow plug; `colour` of its hair, None where empty."""
    centre, um_per_px = lens.project(np.array([[unit.x_um, unit.y_um, 0.0]]))
    radius = unit.radius_um / float(um_per_px[0])
    box = math.ceil(radius * 4) + 2
    column, row = int(centre[0, 0]), int(centre[0, 1])
    x0, y0 = max(0, column - box), max(0, row - box)
    x1, y1 = min(skin.shape[1], column + box + 1), min(skin.shape[0], row + box + 1)
    if x0 >= x1 or y0 >= y1:
        return
    patch = skin[y0:y1, x0:x1]
    x = np.arange(x0, x1, dtype=np.float32)[None] - np.float32(centre[0, 0])
    y = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(centre[0, 1])
    squeeze = np.float32(rng.uniform(0.75, 1.0))
    c, s = np.float32(math.cos(recipe.heading)), np.float32(math.sin(recipe.heading))
    ragged = 1 + 0.10 * fractal_field(rng, (y1 - y0, x1 - x0), max(3.0, radius), 2)
    r = np.sqrt((x * c + y * s) ** 2 * squeeze**2 + (y * c - x * s) ** 2) / np.float32(radius) * ragged
    collar = np.exp(-((r - 1.7) ** 2) / 0.5)
    dimple = np.exp(-((r / 0.85) ** 2) * 0.9)
    if rng.random() < recipe.peripilar:  # pigment and a little inflammation around it
        reach = np.float32(rng.uniform(2.0, 3.4))
        ring = np.float32(rng.uniform(0.3, 0.9)) * np.exp(-((r / reach) ** 4))
        patch *= 1 - ring[..., None] * (1 - PERIPILAR)
    patch += (1 - patch) * (np.float32(rng.uniform(0.02, 0.13)) * collar)[..., None]
    if unit.plug:
        plug = np.clip(1.35 - r, 0, 1)[..., None] * np.float32(0.7)
        patch += (PLUG - patch) * plug
    if colour is None and rng.random() < 0.35:
        _paint_dot(patch, r, recipe, rng)
        return
    depth = np.float32(rng.uniform(0.15, 0.45 + 0.3 * min(recipe.roots, 1.4)) if colour is not None else rng.uniform(0.25, 0.5))
    tint = np.array([0.20, 0.22, 0.30], np.float32) if colour is None else np.array(colour, np.float32) * 0.7 + np.float32(0.08)
    patch += (tint - patch) * (depth * dimple)[..., None]


def _paint_dot(patch: Picture, r: Field, recipe: Recipe, rng: np.random.Generator) -> None:
    """What an opening without a shaft may hold: sebum (a yellow dot), a stub broken off at the skin (a black one), or a pale scar."""
    which = int(rng.choice(3, p=(0.5, 0.3, 0.2)))
    size = np.float32(rng.uniform(*((1.0, 2.2), (0.35, 0.75), (0.8, 1.8))[which]))
    soft = np.float32((0.35, 0.15, 0.6)[which])
    dot = np.clip((size - r) / soft + 0.5, 0, 1) * np.float32(rng.uniform(*((0.25, 0.75), (0.5, 0.9), (0.1, 0.4))[which]))
    dark = np.float32(0.12 + 0.1 * recipe.melanin)
    colour = (YELLOW_DOT, np.array([dark, dark, dark * 1.2], np.float32), np.array([0.88, 0.90, 0.95], np.float32))[which]
    patch += (np.minimum(colour, patch.mean() * 1.6) - patch) * dot[..., None]


def paint_halo(skin: Picture, seen: SeenShaft, recipe: Recipe) -> None:
    """The bluish grey cloud that dark roots deep under the skin leave around and behind an opening (Tyndall), without any edge."""
    strength = np.float32(0.32 * max(recipe.roots - 0.5, 0.0)) * np.float32(max(0.5 - max(seen.shaft.bgr), 0.0) / 0.4)
    if strength < 0.02:
        return
    rng = np.random.default_rng([seen.shaft.seed, 1])
    away = seen.points_px[0] - seen.points_px[min(3, len(seen.points_px) - 1)]
    away = away / max(float(np.hypot(*away)), 1e-6)
    scale = float(seen.um_per_px[0])
    along, across = float(rng.uniform(90, 190)) / scale, float(rng.uniform(45, 90)) / scale
    centre = seen.points_px[0] + away * along * 0.7
    box = math.ceil(2.4 * along)
    x0, y0 = max(0, int(centre[0]) - box), max(0, int(centre[1]) - box)
    x1, y1 = min(skin.shape[1], int(centre[0]) + box + 1), min(skin.shape[0], int(centre[1]) + box + 1)
    if x0 >= x1 or y0 >= y1:
        return
    x = np.arange(x0, x1, dtype=np.float32)[None] - np.float32(centre[0])
    y = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(centre[1])
    u, v = (x * away[0] + y * away[1]) / along, (y * away[0] - x * away[1]) / across
    cloud = strength * np.exp(-(u * u + v * v)) * np.float32(rng.uniform(0.5, 1.2))
    patch = skin[y0:y1, x0:x1]
    patch += (patch * np.array([0.80, 0.66, 0.56], np.float32) - patch) * np.minimum(cloud * 2, 0.9).astype(np.float32)[..., None]


def paint_root(skin: Picture, seen: SeenShaft, recipe: Recipe) -> None:
    """The part under the skin, seen through it: straight back from the opening, blurring and fading with depth, bluish where dark."""
    start = seen.points_px[0]
    direction = start - seen.points_px[min(3, len(seen.points_px) - 1)]
    direction = direction / max(float(np.hypot(*direction)), 1e-6)
    rng = np.random.default_rng(seen.shaft.seed)
    length = float(rng.uniform(140, 300) * (0.7 + 0.5 * recipe.roots)) / seen.um_per_px[0]
    part = np.linspace(0, 1, 12)
    points = start + direction * (part * length)[:, None]
    course = course_of(points)
    deep = course.along(part)
    width = course.along(seen.d_px[0] * (1.15 - 0.1 * part))
    sigma = np.float32(0.6) + deep * np.float32((35 + 30 * recipe.roots) / seen.um_per_px[0])
    band = band_of(course, float(seen.d_px[0] * 0.6 + 2.4 * sigma.max()) + 1, (skin.shape[0], skin.shape[1]))
    if band is None:
        return
    s = band.sample
    alpha = soft_cover(band.across, width[s], sigma[s]) * band.cap * (1 - deep[s]) ** 1.3
    alpha *= np.float32(min(1.1, 0.45 + 0.55 * recipe.roots))
    # pale roots scatter as the skin around them does: little of them shows
    alpha *= np.float32((0.85 - 0.35 * recipe.melanin) * seen.shaft.opacity * (1.0 if max(seen.shaft.bgr) < 0.5 else 0.3))
    alpha = np.minimum(alpha, np.float32(0.95))
    flat = skin.reshape(-1, 3)
    under = flat[band.pixel]
    body = np.array(seen.shaft.bgr, np.float32)
    # short wavelengths scatter back before they reach the root: it looks bluer than it is (Tyndall)
    blue = np.float32(0.04 * min(recipe.roots, 1.5))
    through = body * 0.55 + under * np.array([0.50 + 2.2 * blue, 0.44 + blue, 0.40], np.float32)
    flat[band.pixel] = under + (through - under) * alpha[:, None]
