"""What lies on the skin and sends the lamps back: the shine of moisture, dense glitter of a wet scalp, oil droplets with their rings."""

from __future__ import annotations

import math

import numpy as np

from device.simulated.fields import Field, Picture, fractal_field, smooth_field
from device.simulated.recipe import Recipe

LAMP = np.array([1.0, 0.99, 0.95], np.float32)
FILM = np.array([0.74, 0.73, 0.69], np.float32)  # keratin soaked and lit by cold LEDs


def blanch(skin: Picture, recipe: Recipe, rng: np.random.Generator) -> None:
    """A thick film that scatters before light reaches the blood: skin loses its colour towards a cold grey, unevenly."""
    if recipe.pallor < 0.02:
        return
    shape = skin.shape[:2]
    patches = np.clip(0.75 + 0.3 * fractal_field(rng, shape, 1500 / recipe.um_per_px, 3), 0, 1) * np.float32(0.85 * recipe.pallor)
    light = np.float32(0.35 + 0.65 * skin.mean() / 0.6)
    skin += (FILM * light - skin) * patches[..., None]


def shine(skin: Picture, relief: Field, recipe: Recipe, rng: np.random.Generator) -> None:
    """LED light mirrored by a moist surface: a veil and sparkle on the relief where the film is thick, bluish white."""
    if recipe.wetness < 0.05:
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
    if recipe.wetness > 0.55:
        _glitter(skin, film, recipe, rng)


def _glitter(skin: Picture, film: Field, recipe: Recipe, rng: np.random.Generator) -> None:
    """Thousands of tiny mirrors of several lamps, dashes along the wrinkles of a soaked surface."""
    shape = skin.shape[:2]
    angle = recipe.heading + float(rng.normal(0, 0.4))
    dashes = smooth_field(rng, shape, max(1.8, 16 / recipe.um_per_px), stretch=float(rng.uniform(1.5, 4.0)), angle=angle)
    patch = np.clip(0.6 + 0.7 * fractal_field(rng, shape, 420 / recipe.um_per_px, 3), 0, 1.6) * np.minimum(film, 1)
    bright = np.clip(dashes * patch - np.float32(1.5 - 0.7 * recipe.wetness), 0, 0.9)
    skin += (LAMP - skin) * np.minimum(bright * np.float32(1.1), 0.95)[..., None]


def droplets(picture: Picture, recipe: Recipe, rng: np.random.Generator) -> None:
    """Drops of oil or immersion fluid and bubbles in it, over skin and hair: a dark and a bright rim, a mirrored lamp, clear inside."""
    height, width = picture.shape[:2]
    if recipe.wetness < 0.3 or rng.random() < 0.5:
        return
    for _ in range(int(rng.integers(1, 14))):
        radius = float(np.clip(rng.lognormal(math.log(60), 0.7), 15, 400)) / recipe.um_per_px
        if radius < 2:
            continue
        x, y = rng.uniform((0, 0), (width, height))
        box = math.ceil(radius + 3)
        x0, y0, x1, y1 = max(0, int(x) - box), max(0, int(y) - box), min(width, int(x) + box + 1), min(height, int(y) + box + 1)
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        dx = (np.arange(x0, x1, dtype=np.float32)[None] - np.float32(x)) / np.float32(radius)
        dy = (np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(y)) / np.float32(radius)
        r = np.hypot(dx, dy)
        thin = np.float32(max(0.07, 0.9 / radius))
        side = 0.5 + 0.5 * (dx * math.cos(recipe.light_azimuth) + dy * math.sin(recipe.light_azimuth)) / np.maximum(r, 0.05)
        patch = picture[y0:y1, x0:x1]
        patch *= (1 - np.float32(rng.uniform(0.15, 0.5)) * np.exp(-(((r - 0.93) / thin) ** 2)) * (1 - side))[..., None]
        rim = np.float32(rng.uniform(0.2, 0.7)) * np.exp(-(((r - 0.86) / thin) ** 2)) * side
        spot = np.hypot(dx - 0.45 * math.cos(recipe.light_azimuth), dy - 0.45 * math.sin(recipe.light_azimuth))
        rim += np.float32(rng.uniform(0.3, 0.9)) * np.exp(-((spot / max(0.1, 1.0 / radius)) ** 2))
        patch += (LAMP - patch) * np.minimum(rim, 0.95)[..., None]
