"""Dandruff: fine scale on the skin, and larger flakes that lie over hair, translucent or opaque, with raised bright rims."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.fields import Field, Picture, fractal_field
from device.simulated.recipe import Recipe

WHITE = np.array([0.93, 0.935, 0.94], np.float32)
YELLOWISH = np.array([0.62, 0.80, 0.86], np.float32)


def paint_scale(skin: Picture, recipe: Recipe, rng: np.random.Generator) -> None:
    """Small flakes on the skin, under the hair."""
    height, width = skin.shape[:2]
    millimetres = width * height * (recipe.um_per_px / 1000) ** 2
    count = min(rng.poisson(millimetres * (0.3, 1.2, 2.2, 3.4)[recipe.grades[0]]), 900)
    if count == 0:
        return
    cover = np.zeros((height, width), np.float32)
    for _ in range(count):
        radius = float(np.clip(rng.lognormal(math.log(26), 0.55), 8, 130)) / recipe.um_per_px
        outline = flake_outline(rng, rng.uniform((0, 0), (width, height)), radius)
        cv2.fillPoly(cover, [outline], float(rng.uniform(0.3, 1.15)), cv2.LINE_AA, 4)
    cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), 0.6), np.float32)
    grain = 1 + 0.10 * fractal_field(rng, (height, width), max(3.0, 40 / recipe.um_per_px), 3)
    skin += (WHITE * grain[..., None] - skin) * (cover * np.float32(0.82))[..., None]


def paint_flakes(picture: Picture, recipe: Recipe, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Flakes over skin and hair; returns where they hide what is under them, bool (height, width), opacity ≥ 0.5."""
    height, width = picture.shape[:2]
    hidden = np.zeros((height, width), bool)
    millimetres = width * height * (recipe.um_per_px / 1000) ** 2
    for per_mm2, median_um, low, high in (((0.0, 0.10, 0.3, 0.6), 170, 60, 700), ((0.01, 0.15, 0.4, 0.9), 34, 12, 110)):
        count = min(rng.poisson(millimetres * per_mm2[recipe.grades[0]]), 120)
        for _ in range(count):
            radius = float(np.clip(rng.lognormal(math.log(median_um), 0.5), low, high)) / recipe.um_per_px
            lay_flake(picture, hidden, min(radius, 0.25 * height), rng)
    return hidden


def lay_flake(picture: Picture, hidden: NDArray[np.bool_], radius: float, rng: np.random.Generator) -> None:
    """One flake anywhere: its shadow, its sheet; marks in `hidden` what it hides."""
    height, width = picture.shape[:2]
    place = rng.uniform((0, 0), (width, height))
    box = math.ceil(radius * 1.9) + 4
    x0, y0 = max(0, round(place[0]) - box), max(0, round(place[1]) - box)
    x1, y1 = min(width, round(place[0]) + box), min(height, round(place[1]) + box)
    if x1 - x0 < 8 or y1 - y0 < 8:
        return
    alpha, relief = _flake(rng, (y1 - y0, x1 - x0), place - (x0, y0), radius)
    colour = WHITE + (YELLOWISH - WHITE) * np.float32(rng.uniform(0.4, 1) if rng.random() < 0.3 else rng.uniform(0, 0.15))
    patch = picture[y0:y1, x0:x1]
    fallen = cv2.GaussianBlur(np.roll(alpha, (2, 2), (0, 1)), (0, 0), max(1.5, radius * 0.06))
    patch *= (1 - np.float32(rng.uniform(0.05, 0.25)) * fallen)[..., None]
    patch += (np.clip(colour * relief[..., None], 0, 1) - patch) * alpha[..., None]
    # whether a flake hides is said for places as large as a hair, not for every grain of it
    hidden[y0:y1, x0:x1] |= cv2.GaussianBlur(alpha, (0, 0), min(2.5, max(0.7, radius * 0.1))) >= 0.5


def _flake(rng: np.random.Generator, shape: tuple[int, int], centre: NDArray[np.float64], radius: float) -> tuple[Field, Field]:
    """Opacity and brightness of one flake, both float32 (height, width): a thick plate, or a film with raised bright rims and folds."""
    sheet = np.zeros(shape, np.float32)
    cv2.fillPoly(sheet, [flake_outline(rng, centre, radius)], 1.0, cv2.LINE_AA, 4)
    for _ in range(int(rng.integers(0, 3))):  # layers that overlap the first
        off = centre + rng.normal(0, 0.45 * radius, 2)
        layer = np.zeros(shape, np.float32)
        cv2.fillPoly(layer, [flake_outline(rng, off, radius * float(rng.uniform(0.4, 0.8)))], 1.0, cv2.LINE_AA, 4)
        sheet += 0.6 * layer
    inside = np.minimum(sheet, 1)
    depth = cv2.distanceTransform((inside > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    rim_width = max(1.3, radius * float(rng.uniform(0.03, 0.14))) * np.clip(
        1 + 0.5 * fractal_field(rng, shape, max(4.0, radius), 2), 0.3, 2.2
    )
    rim = np.exp(-((np.asarray(depth, np.float32) / rim_width) ** 2)) * inside
    steps = np.hypot(cv2.Sobel(sheet, cv2.CV_32F, 1, 0), cv2.Sobel(sheet, cv2.CV_32F, 0, 1))
    folds = fractal_field(rng, shape, max(4.0, radius * 0.5), 4, 0.7)
    crease = np.exp(-np.abs(folds) * 3.5)
    film = bool(rng.random() < 0.55)
    thick = np.float32(rng.uniform(0.05, 0.38) if film else rng.uniform(0.55, 0.96))
    rough = np.float32(rng.uniform(0.3, 1.0))
    alpha = inside * np.clip(thick + 0.22 * (sheet - inside) + rough * (0.10 * folds + 0.20 * crease), 0.03, 0.97)
    alpha += np.float32(rng.uniform(0.4, 1.0)) * rim * (1 - thick)
    relief = np.float32(rng.uniform(0.84, 0.95)) + rough * (0.09 * crease - 0.07 * np.abs(folds)) + 0.10 * np.clip(steps, 0, 1) + 0.16 * rim
    soft = cv2.GaussianBlur(alpha, (0, 0), 0.7)
    return np.asarray(np.clip(soft, 0, 0.97), np.float32), np.asarray(relief, np.float32)


def flake_outline(rng: np.random.Generator, centre: NDArray[np.float64], radius: float) -> NDArray[np.int32]:
    """A ragged polygon in 1/16 px for OpenCV: corners and broken edges, longer than wide."""
    corners = int(rng.integers(9, 20))
    angle = np.sort(rng.uniform(0, 2 * math.pi, corners))
    r = radius * np.clip(1 + rng.normal(0, 0.24, corners), 0.4, 1.5)
    if rng.random() < 0.6:  # torn rather than broken: a wandering border
        corners = 48
        angle = np.linspace(0, 2 * math.pi, corners, endpoint=False)
        waves = rng.normal(0, 1, (2, 7)) * (0.22 / np.arange(1, 8) ** 0.8)
        turns = angle[:, None] * np.arange(1, 8)
        r = radius * np.clip(1 + (waves[0] * np.cos(turns) + waves[1] * np.sin(turns)).sum(1), 0.3, 1.7)
    longer, turn = rng.uniform(1.0, 1.7), rng.uniform(0, math.pi)
    x, y = r * np.cos(angle) * longer**0.5, r * np.sin(angle) / longer**0.5
    c, s = math.cos(turn), math.sin(turn)
    return np.rint((np.stack([x * c - y * s, x * s + y * c], 1) + centre) * 16).astype(np.int32)
