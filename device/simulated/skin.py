"""The skin of the stage: tone, marbling, redness, creases, pores, speckle, freckles and fine vessels."""

from __future__ import annotations

import math

import cv2
import numpy as np

from device.simulated.fields import Field, Picture, fractal_field, smooth_field
from device.simulated.recipe import Recipe
from device.simulated.surface import blanch, shine

# skin as displayed under white LEDs from very light to very dark (BGR 0…1), interpolated by melanin
TONES = np.array(
    [(0.76, 0.81, 0.93), (0.62, 0.71, 0.88), (0.50, 0.61, 0.80), (0.40, 0.51, 0.69), (0.28, 0.38, 0.54), (0.18, 0.25, 0.37)], np.float32
)
RED = np.array([-0.10, -0.155, 0.01], np.float32)  # what blood adds
SALLOW = np.array([-0.075, 0.012, 0.015], np.float32)  # what keratin and carotene add


def paint_skin(recipe: Recipe, shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    """The bare skin, float32 (height, width, 3) BGR 0…1, evenly lit."""
    scale = recipe.um_per_px
    tone = np.array([np.interp(recipe.melanin * 5, range(6), TONES[:, k]) for k in range(3)], np.float32)
    depth = np.float32(tone.mean() / 0.72)  # what blood adds is filtered by melanin as all light is
    crimson = RED - np.array([0.0, 0.05, 0.0], np.float32) * np.float32(rng.random())
    tone = tone + crimson * depth * np.float32(0.85 * recipe.redness**1.3) + SALLOW * depth * np.float32(0.8 * recipe.sallowness)
    rough = np.float32({"easy": 0.75, "realistic": 1.0, "hard": 1.1}[recipe.kind])

    broad = fractal_field(rng, shape, 1800 / scale, 3)
    blood = fractal_field(rng, shape, 900 / scale, 4, 0.65)
    yellow = fractal_field(rng, shape, 1500 / scale, 3, 0.6)
    marble = fractal_field(rng, shape, 170 / scale, 3, 0.8)
    fine = fractal_field(rng, shape, 42 / scale, 3, 0.85)
    light = 1 + rough * (0.03 * broad + 0.02 * marble + 0.02 * fine)
    skin = np.empty((*shape, 3), np.float32)
    # some scalps are blotched, most are even; fine grain is on all of them
    blotch = np.float32(rng.uniform(0.25, 1.0))
    blush = np.float32(0.30 + 0.35 * recipe.redness) * blotch * blood + np.float32(0.25) * marble + np.float32(0.12) * fine
    for k in range(3):
        skin[..., k] = (tone[k] + depth * rough * (RED[k] * blush * 0.34 + SALLOW[k] * blotch * yellow * 0.22)) * light
    relief = _relief(recipe, shape, rng)
    skin *= (1 + rng.uniform(0.006, 0.022) * rough * relief)[..., None]
    _vessels(skin, recipe, rng)
    _pores(skin, recipe, rng)
    _freckles(skin, recipe, rng)
    blanch(skin, recipe, rng)
    _furrows(skin, recipe, rng)
    shine(skin, relief, recipe, rng)
    return skin


def _relief(recipe: Recipe, shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Light on the furrows of the skin: ridges of two crossing systems, lit from one side."""
    angle = recipe.heading + rng.normal(0, 0.3)
    furrows = np.zeros(shape, np.float32)
    for turn, strength in ((0.0, 1.0), (rng.uniform(0.9, 1.4), 0.75)):
        waves = smooth_field(rng, shape, max(4.0, rng.uniform(180, 300) / recipe.um_per_px), stretch=3.0, angle=angle + turn)
        furrows += np.float32(strength) * np.exp(-np.abs(waves) * 4)
    height = -furrows + 0.55 * smooth_field(rng, shape, max(3.0, 85 / recipe.um_per_px))
    lit = cv2.Sobel(height, cv2.CV_32F, 1, 0) * math.cos(recipe.light_azimuth) + cv2.Sobel(height, cv2.CV_32F, 0, 1) * math.sin(
        recipe.light_azimuth
    )
    spread = float(lit.std()) or 1.0
    return np.asarray(np.clip(lit / spread, -2.5, 3) - 0.8 * furrows, np.float32)


def _vessels(skin: Picture, recipe: Recipe, rng: np.random.Generator) -> None:
    """Fine branching capillaries under the surface, more of them on inflamed skin."""
    height, width = skin.shape[:2]
    millimetres = width * height * (recipe.um_per_px / 1000) ** 2
    count = rng.poisson(millimetres * recipe.veins * (0.06 + 0.16 * recipe.grades[2]))
    if count == 0:
        return
    ink = np.zeros((height, width), np.float32)
    for _ in range(min(count, 60)):
        steps = int(rng.uniform(20, 60))
        turn = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, 0.32, steps))
        start = rng.uniform((0, 0), (width, height))
        stride = 14 / recipe.um_per_px
        path = start + np.cumsum(np.stack([np.cos(turn), np.sin(turn)], 1) * stride, 0)
        thick = max(1, round(rng.uniform(6, 17) / recipe.um_per_px))
        strength = float(rng.uniform(0.25, 0.8))
        cv2.polylines(ink, [np.rint(path * 16).astype(np.int32)], False, strength, thick, cv2.LINE_AA, 4)
        if rng.random() < 0.5:
            fork = path[steps // 2] + np.cumsum(np.stack([np.cos(turn[::-1] + 0.7), np.sin(turn[::-1] + 0.7)], 1)[: steps // 2] * stride, 0)
            cv2.polylines(ink, [np.rint(fork * 16).astype(np.int32)], False, strength * 0.8, max(1, thick - 1), cv2.LINE_AA, 4)
    ink = np.asarray(cv2.GaussianBlur(ink, (0, 0), max(0.7, 7 / recipe.um_per_px)), np.float32)
    ink *= np.float32(0.45 + 0.3 * min(recipe.veins, 1.6))
    for k, shade in enumerate((0.40, 0.52, 0.16)):
        skin[..., k] *= 1 - ink * np.float32(shade)


def _pores(skin: Picture, recipe: Recipe, rng: np.random.Generator) -> None:
    """Bright grains of keratin, small and everywhere, and a few larger soft ones (sweat pores, sebaceous grains)."""
    height, width = skin.shape[:2]
    millimetres = width * height * (recipe.um_per_px / 1000) ** 2
    ink = np.zeros((height, width), np.float32)
    for per_mm2, low, high, bright in ((16.0, 7, 18, 0.9), (5.0, 16, 40, 0.6)):
        count = min(rng.poisson(millimetres * per_mm2 * rng.uniform(0.4, 1.2)), 4000)
        places = rng.uniform((0, 0), (width, height), (count, 2))
        radii = np.maximum(rng.uniform(low, high, count) / recipe.um_per_px / 2, 0.5)
        strength = rng.uniform(0.2, 1.0, count) ** 2 * bright
        for (x, y), radius, value in zip(places, radii, strength, strict=True):
            cv2.circle(ink, (round(x * 16), round(y * 16)), round(radius * 16), float(value), -1, cv2.LINE_AA, 4)
    ink = np.asarray(cv2.GaussianBlur(ink, (0, 0), 0.7), np.float32)
    skin += (1 - skin) * np.minimum(ink * np.float32(rng.uniform(0.35, 1.2)), 0.92)[..., None]


def _freckles(skin: Picture, recipe: Recipe, rng: np.random.Generator) -> None:
    """Brown spots of pigment, soft, none on most scalps; and rarely a mole."""
    if recipe.kind == "easy" or rng.random() < 0.7:
        return
    height, width = skin.shape[:2]
    millimetres = width * height * (recipe.um_per_px / 1000) ** 2
    ink = np.zeros((height, width), np.float32)
    for _ in range(min(int(rng.poisson(millimetres * rng.uniform(0.1, 1.0))), 200)):
        radius = float(rng.lognormal(math.log(70), 0.6)) / recipe.um_per_px
        axes = (round(radius * 16), round(radius * float(rng.uniform(0.6, 1.0)) * 16))
        centre = tuple(round(float(v) * 16) for v in rng.uniform((0, 0), (width, height)))
        cv2.ellipse(ink, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.2, 0.8)), -1, cv2.LINE_AA, 4)
    ink = np.asarray(cv2.GaussianBlur(ink, (0, 0), max(1.0, 25 / recipe.um_per_px)), np.float32)
    ink *= np.clip(1 + 0.3 * fractal_field(rng, (height, width), max(3.0, 40 / recipe.um_per_px), 2), 0, 1.6)
    for k, shade in enumerate((0.55, 0.42, 0.28)):
        skin[..., k] *= 1 - np.minimum(ink, 1) * np.float32(shade)


def _furrows(skin: Picture, recipe: Recipe, rng: np.random.Generator) -> None:
    """Long fine creases, dark lines with a lit flank, roughly parallel: what a hair is most easily taken for."""
    if rng.random() < 0.55:
        return
    height, width = skin.shape[:2]
    scale = recipe.um_per_px
    angle = recipe.heading + float(rng.normal(0, 0.9))
    period = float(rng.uniform(180, 520)) / scale
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    across = (x * math.sin(angle) - y * math.cos(angle)) / period
    wander = float(rng.uniform(0.01, 0.07))
    across = across + 0.7 * smooth_field(rng, (height, width), 2000 / scale) + wander * smooth_field(rng, (height, width), 280 / scale)
    line = np.floor(across)
    slope = np.hypot(cv2.Sobel(across, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(across, cv2.CV_32F, 0, 1, scale=1 / 8))
    away = (across - line - 0.5) / np.maximum(slope, np.float32(0.3 / period))
    # every crease has its own strength, and comes and goes along its way
    which = line.astype(np.int64) - int(line.min())
    own = rng.uniform(-0.4, 1.0, int(which.max()) + 1).astype(np.float32)[which]
    strength = np.clip(own + 0.55 * smooth_field(rng, (height, width), 700 / scale), 0, 1) * np.float32(rng.uniform(0.05, 0.2))
    breadth = np.float32(max(0.7, float(rng.uniform(5, 16)) / scale))
    dark = np.exp(-((away / breadth) ** 2)) - np.float32(0.4) * np.exp(-(((away - 2 * breadth) / breadth) ** 2))
    skin *= (1 - strength * dark)[..., None]
