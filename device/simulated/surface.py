"""What lies on the skin and sends the lamps back: the shine of moisture, dense glitter of a wet scalp, oil droplets with their rings."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from device.simulated.fields import Field, Picture, fractal_field, smooth_field
from device.simulated.recipe import Recipe

GLISTENING = 0.6  # wetness above which a continuous film covers the skin
LAMP = np.array([1.0, 0.99, 0.95], np.float32)
FILM = np.array([0.74, 0.73, 0.69], np.float32)  # keratin soaked and lit by cold LEDs


def blanch(skin: Picture, recipe: Recipe, rng: np.random.Generator) -> None:
    """A thick film that scatters before light reaches the blood: skin loses its colour towards a cold grey, unevenly."""
    if recipe.pallor < 0.02:
        return
    shape = skin.shape[:2]
    uneven = np.float32(rng.uniform(0.05, 0.3) * (1.2 - recipe.pallor))
    strength = np.float32(0.9 * recipe.pallor * (1 - 0.5 * recipe.melanin))
    patches = np.clip(0.85 + uneven * fractal_field(rng, shape, 1500 / recipe.um_per_px, 3), 0, 1) * strength
    light = np.float32(0.35 + 0.65 * skin.mean() / 0.6)
    film = FILM * (np.float32(rng.uniform(0.85, 1.0)) + rng.normal(0, 0.035, 3)).astype(np.float32)
    skin += (film * light - skin) * patches[..., None]


def shine(skin: Picture, relief: Field, recipe: Recipe, rng: np.random.Generator) -> None:
    """LED light mirrored by a moist surface: a veil and sparkle on the relief where the film is thick, bluish white."""
    if recipe.wetness < 0.05:
        return
    _veil(skin, recipe, rng)
    if recipe.wetness > GLISTENING:
        _glitter(skin, relief, recipe, rng)
        return
    shape = skin.shape[:2]
    scale = recipe.um_per_px
    film = np.clip(smooth_field(rng, shape, 1100 / scale) + np.float32(3.0 * recipe.wetness - 2.0), 0, 1.5)
    grain = max(1.6, float(rng.uniform(14, 40)) / scale)
    facets = fractal_field(rng, shape, grain, 3, 0.9) + 0.6 * smooth_field(rng, shape, 110 / scale) + 0.35 * relief
    sparkle = np.clip(facets - np.float32(1.75 - 0.45 * recipe.wetness), 0, 1.2) * film
    veil = film * np.float32(0.05) * (1 + 0.3 * facets)
    sheen = np.clip(sparkle * np.float32(0.8) + np.maximum(veil, 0) * np.float32(recipe.wetness), 0, 0.92)
    skin += (LAMP - skin) * sheen[..., None]


def _veil(skin: Picture, recipe: Recipe, rng: np.random.Generator) -> None:
    """Wide patches of glare, bluish or violet, where the surface faces the lamps; no edge anywhere."""
    strength = (float(rng.uniform(-0.25, 0.3)) + 0.2 * recipe.pallor) * (0.35 + 0.65 * float(skin.mean()) / 0.7)
    strength *= 1 - 0.6 * recipe.wetness  # a film mirrors in points rather than in patches
    if strength < 0.03:
        return
    patches = fractal_field(rng, (skin.shape[0], skin.shape[1]), float(rng.uniform(900, 2600)) / recipe.um_per_px, 2, 0.4)
    colour = np.array([1.0, rng.uniform(0.74, 1.0), rng.uniform(0.75, 0.97)], np.float32) * np.float32(rng.uniform(0.75, 1.0))
    skin += (colour - skin) * (np.clip(patches + 0.7, 0, 2.2) ** 2 * np.float32(strength * 0.25))[..., None]


def _glitter(skin: Picture, relief: Field, recipe: Recipe, rng: np.random.Generator) -> None:
    """A soaked surface: facets of every size each send a lamp back or not, most a little, few fully; some split its colours."""
    shape = skin.shape[:2]
    scale = recipe.um_per_px
    angle = recipe.heading + float(rng.normal(0, 0.6))
    size = max(2.0, float(rng.uniform(10, 24)) / scale)
    fine = smooth_field(rng, shape, size, stretch=float(rng.uniform(1.05, 2.5)), angle=angle)
    middle = smooth_field(rng, shape, 2.4 * size)
    coarse = fractal_field(rng, shape, float(rng.uniform(60, 160)) / scale, 2, 0.7)
    where = fractal_field(rng, shape, float(rng.uniform(300, 900)) / scale, 3, 0.7)
    facing = 0.6 * fine + 0.55 * middle + 0.5 * coarse + 0.25 * relief + np.float32(rng.uniform(0.15, 0.6)) * where
    sharp = np.float32(rng.uniform(0.9, 1.7))
    level = np.float32(rng.uniform(0.012, 0.04) * (0.5 + recipe.wetness))
    mirrored = np.minimum(level * np.exp(np.clip(sharp * facing, -4, 4.5)), 0.9)
    colour = 1 + np.float32(rng.uniform(0.0, 0.25)) * np.stack([smooth_field(rng, shape, size) for _ in range(3)], 2)
    skin *= (1 + np.float32(0.03) * np.clip(middle + coarse, -2, 2))[..., None]
    skin += (LAMP * np.clip(colour, 0.55, 1.0) - skin) * mirrored[..., None]


def droplets(picture: Picture, recipe: Recipe, rng: np.random.Generator) -> None:
    """Drops of oil or immersion fluid and bubbles of air in it, over skin and hair, more of them where it is wet."""
    height, width = picture.shape[:2]
    if recipe.kind == "easy" or rng.random() > (0.55 if recipe.wetness > 0.3 else 0.12):
        return
    airy = rng.random()  # a fluid holds mostly drops or mostly bubbles
    for _ in range(int(rng.integers(1, 14 if recipe.wetness > 0.3 else 5))):
        radius = float(np.clip(rng.lognormal(math.log(80), 0.7), 15, 500)) / recipe.um_per_px
        if radius >= 2:
            _paint_drop(picture, rng.uniform((0, 0), (width, height)), min(radius, 0.2 * height), bool(rng.random() < airy), recipe, rng)


def _paint_drop(
    picture: Picture, place: NDArray[np.float64], radius: float, bubble: bool, recipe: Recipe, rng: np.random.Generator
) -> None:
    """One drop: a rim dark on one side and bright on the other (all around dark where it is a bubble), a mirrored lamp, clear inside."""
    x, y = place
    box = math.ceil(1.2 * radius + 3)
    x0, y0 = max(0, int(x) - box), max(0, int(y) - box)
    x1, y1 = min(picture.shape[1], int(x) + box + 1), min(picture.shape[0], int(y) + box + 1)
    dx = (np.arange(x0, x1, dtype=np.float32)[None] - np.float32(x)) / np.float32(radius)
    dy = (np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(y)) / np.float32(radius)
    r = np.hypot(dx, dy)
    east, south = math.cos(recipe.light_azimuth), math.sin(recipe.light_azimuth)
    side = 0.5 + 0.5 * (dx * east + dy * south) / np.maximum(r, 0.05)
    thin = np.float32(max(float(rng.uniform(0.03, 0.1)), 0.9 / radius))
    patch = picture[y0:y1, x0:x1]
    away = 1 - np.float32(0.35 if bubble else 1.0) * side
    strength = np.float32(rng.uniform(0.3, 0.8) if bubble else rng.uniform(0.15, 0.5))
    patch *= (1 - strength * np.exp(-(((r - 0.95) / thin) ** 2)) * away)[..., None]
    bright = np.float32(rng.uniform(0.0, 0.2) if bubble else rng.uniform(0.2, 0.7)) * np.exp(-(((r - 0.86) / thin) ** 2)) * side
    spot = np.hypot(dx - 0.45 * east, dy - 0.45 * south) / max(float(rng.uniform(0.08, 0.22)), 1.0 / radius)
    bright = bright + np.float32(rng.uniform(0.3, 0.95)) * np.exp(-(spot * spot))
    patch += (LAMP - patch) * np.minimum(bright, 0.95)[..., None]
