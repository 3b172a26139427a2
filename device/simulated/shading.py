"""How a hair looks: its soft shadow on skin and on hair below, and the shaft as a lit, glossy cylinder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.fields import Field, Picture, smooth_line
from device.simulated.hair import Shaft
from device.simulated.lens import Lens
from device.simulated.recipe import Recipe
from device.simulated.strand import PIXEL_SIGMA, Course, band_of, course_of, pixel_cover, soft_cover

GREY = np.array([0.114, 0.587, 0.299], np.float32)  # of BGR
DARK = 0.42  # mean of a body colour above which a shaft lets light through and is drawn as light hair
MAX_BLUR_PX = 6.0
HIGH_UM = 260.0  # hair whose middle lies higher than this also casts its shadow on hair below
LANES = 7  # streaks across a shaft
SHADOW_LAYERS = 2  # the shadow field is drawn at 1 / 2 of the picture's size: it is soft


@dataclass(frozen=True, eq=False)
class SeenShaft:
    """A shaft as the lens sees it.

    Attributes:
        points_px: float64 (n, 2); d_px, um_per_px, blur_px (out of focus by its height): float64 (n,).
    """

    shaft: Shaft
    points_px: NDArray[np.float64]
    d_px: NDArray[np.float64]
    um_per_px: NDArray[np.float64]
    blur_px: NDArray[np.float64]
    course: Course

    @property
    def reach_px(self) -> float:
        """How far from its centre line it leaves any light."""
        return float(np.max(self.d_px / 2 + 2.6 * np.hypot(self.blur_px, PIXEL_SIGMA))) + 1


def see(shaft: Shaft, lens: Lens, recipe: Recipe) -> SeenShaft | None:
    """The shaft through the lens, None where it passes outside the picture."""
    points, um_per_px = lens.project(shaft.points_um)
    d_px = shaft.d_um / um_per_px
    # the focal plane lies a little above the skin; hair within ± a diameter or two of it is sharp
    height = np.abs(shaft.points_um[:, 2] - 60) - 90
    blur = np.clip(height, 0, None) * recipe.blur_px_per_um
    edge = float(np.max(d_px / 2 + 2 * blur)) + 2
    low, high = points.min(0), points.max(0)
    if high[0] < -edge or high[1] < -edge or low[0] > lens.width + edge or low[1] > lens.height + edge:
        return None
    return SeenShaft(shaft, points, d_px, um_per_px, np.minimum(blur, MAX_BLUR_PX), course_of(points))


def shadow_of(seen: list[SeenShaft], recipe: Recipe, size: tuple[int, int], ground_um: float = 0.0) -> Field:
    """Light left by the soft shadows of shafts, float32 (height, width), 1 where none falls on a plane `ground_um` above the skin.

    A shadow is displaced away from the light with height, and the higher the wider and fainter.
    """
    height, width = size
    shape = (height // SHADOW_LAYERS, width // SHADOW_LAYERS)
    light = np.ones(shape[0] * shape[1], np.float32)
    away = -np.array([math.cos(recipe.light_azimuth), math.sin(recipe.light_azimuth)])
    for s in seen:
        z_px = np.maximum(s.shaft.points_um[:, 2] - ground_um, 0) / s.um_per_px
        cast = (s.points_px + away * (recipe.shadow_reach * z_px + 0.12 * s.d_px)[:, None]) / SHADOW_LAYERS
        course = course_of(cast)
        width_px = course.along(s.d_px / SHADOW_LAYERS)
        sigma = course.along((0.8 + 0.12 * s.d_px + recipe.shadow_soft * z_px) / SHADOW_LAYERS)
        band = band_of(course, float(np.max(width_px / 2 + 2.2 * sigma)) + 1, shape)
        if band is None:
            continue
        dark = soft_cover(band.across, width_px[band.sample], sigma[band.sample]) * band.cap
        light[band.pixel] *= 1 - np.float32(recipe.shadow * s.shaft.opacity * 1.25) * dark
    return np.asarray(cv2.resize(light.reshape(shape), (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def paint_shadows(skin: Picture, seen: list[SeenShaft], recipe: Recipe) -> None:
    """The shadows of all shafts on the skin."""
    field = shadow_of(seen, recipe, (skin.shape[0], skin.shape[1]))
    # light that reaches a shadow went through skin: shadows are reddish
    skin *= np.power(field[..., None], np.array([1.12, 1.06, 0.9], np.float32))


def shade_hair(picture: Picture, owner: NDArray[np.int32], high: list[SeenShaft], recipe: Recipe) -> None:
    """The shadows of `high` shafts on the hair painted so far."""
    if not high:
        return
    at = owner >= 0
    field = shadow_of(high, recipe, (picture.shape[0], picture.shape[1]), ground_um=recipe.height_um * 0.6)
    picture[at] *= (0.35 + 0.65 * field[at])[:, None]


def paint_shaft(
    picture: Picture, owner: NDArray[np.int32], beneath: NDArray[np.int32], index: int, seen: SeenShaft, recipe: Recipe
) -> tuple[NDArray[np.int64], float]:
    """The shaft over everything painted so far; pixels that it covers by half or more become `index` in `owner` (height, width).

    Blur does not count: the mask of a hair out of focus is that of the sharp one. `beneath` takes what `owner` held before.
    Returns the flat indices of the pixels taken where no hair lay before (of all where there are none of those), and the mean grey
    that the lamps mirrored in it add to them.
    """
    shape = (picture.shape[0], picture.shape[1])
    band = band_of(seen.course, seen.reach_px, shape, seen.shaft.slant)
    if band is None:
        return np.empty(0, np.int64), 0.0
    s, across = band.sample, band.across
    width = seen.course.along(seen.d_px)[s]
    sigma = np.hypot(seen.course.along(seen.blur_px), np.float32(PIXEL_SIGMA))[s]
    rising = _rising(seen, s, across, width)
    alpha = soft_cover(across, width, sigma) * band.cap * rising * np.float32(seen.shaft.opacity)
    body = _body(seen, recipe, s, across, width, sigma)
    colour = _glossy(body, seen, recipe, s, across, width, sigma)
    flat = picture.reshape(-1, 3)
    under = flat[band.pixel]
    flat[band.pixel] = under + (colour - under) * alpha[:, None]
    covered = pixel_cover(across, width) * band.cap * rising >= 0.5
    thin = (width < 2) & (np.abs(across) <= 0.5) & (band.cap * rising >= 0.5)
    mine = np.flatnonzero(covered | thin)
    taken = band.pixel[mine]
    before = owner.reshape(-1)[taken]
    beneath.reshape(-1)[taken] = before
    owner.reshape(-1)[taken] = index
    alone = mine[before < 0] if (before < 0).any() else mine
    gloss = ((colour[alone] - body[alone]) @ GREY) * alpha[alone]
    return band.pixel[alone], float(gloss.mean()) if len(alone) else 0.0


def _rising(seen: SeenShaft, s: NDArray[np.int64], across: Field, width: Field) -> Field:
    """How far the shaft has come out of the skin at the pixels of a band, 0 to 1: the skin's lip lies around it like a collar."""
    half = width / 2
    lip = half - np.sqrt(np.maximum(half * half - across * across, 0))
    out = (s.astype(np.float32) + 0.5 - 0.8 * lip) / np.float32(max(1.2, 0.7 * float(seen.d_px[0])))
    return np.asarray(np.clip(out, 0, 1) ** 0.8, np.float32)


def _fibres(rng: np.random.Generator, count: int, length: float) -> Field:
    """Streaks that run along a shaft, float32 (count, LANES): unlike from lane to lane, slowly changing along it."""
    return np.stack([smooth_line(rng, count, length * float(rng.uniform(0.6, 1.6))) for _ in range(LANES)], 1)


def _around(across: Field, width: Field, sigma: Field) -> tuple[Field, Field]:
    """Where around the cylinder a pixel lies, −1 at one flank to 1 at the other, and half of its width on the picture in px."""
    half = np.sqrt((width / 2) ** 2 + 1.2 * sigma**2)
    # what is too narrow to show a flank and a middle takes the mean of both, or it would break up into dots
    t = np.clip(across / half, -1, 1) * np.clip((width - 1) / 3, 0.3, 1)
    return np.asarray(t, np.float32), np.asarray(half, np.float32)


def _body(seen: SeenShaft, recipe: Recipe, s: NDArray[np.int64], across: Field, width: Field, sigma: Field) -> Picture:
    """Colour of the shaft without gloss at the pixels of a band, (k, 3): body, edge, medulla, streaks along it, rings of its cuticle."""
    shaft = seen.shaft
    rng = np.random.default_rng(shaft.seed)
    t, _ = _around(across, width, sigma)
    round_ = np.sqrt(1 - t * t)
    count = len(seen.course.x)
    body = np.array(shaft.bgr, np.float32)
    lane = np.rint((t + 1) * (LANES - 1) / 2).astype(np.int64)
    wander = smooth_line(rng, count, 90.0)[s]
    mottle = _fibres(rng, count, 38.0)[s, lane]
    # cuticle scales: fine rings across the shaft, only where they can be resolved
    resolved = np.clip((width - 8) / 10, 0, 1)
    rings = smooth_line(rng, count, 3.0)[np.clip(s + np.rint(1.5 * t * t).astype(np.int64), 0, count - 1)] * resolved
    bright = float(body.mean())
    if bright < DARK:
        shade = (0.52 + 0.48 * round_) * (1 + 0.05 * wander + 0.07 * mottle + recipe.scales * rings)
        # within brown hair light comes through the middle
        glow = np.float32(0.9 * max(bright - 0.1, 0)) * round_**3
        colour = body * (shade + glow)[:, None]
    else:
        rim = 1 - 0.42 * np.exp(-(((np.abs(t) - 0.86) / 0.2) ** 2))
        shade = (0.72 + 0.30 * round_) * rim * (1 + 0.04 * wander + 0.045 * mottle + recipe.scales * rings)
        medulla = 1 - np.float32(0.10) * np.exp(-((t / 0.22) ** 2)) * (width > 7)
        colour = body * (shade * medulla)[:, None]
    return np.asarray(colour, np.float32)


def _glossy(body: Picture, seen: SeenShaft, recipe: Recipe, s: NDArray[np.int64], across: Field, width: Field, sigma: Field) -> Picture:
    """`body` with the lamps mirrored in it, (k, 3): three of them, broken into glints by a rough or wet cuticle."""
    rng = np.random.default_rng([seen.shaft.seed, 2])
    t, half = _around(across, width, sigma)
    count = len(seen.course.x)
    lane = np.rint((t + 1) * (LANES - 1) / 2).astype(np.int64)
    colour = body.copy()
    tone = np.array(seen.shaft.bgr, np.float32)
    broken = (0.3 + 0.5 * recipe.wetness * np.clip(0.5 + smooth_line(rng, count, 200.0), 0, 1.5))[s] / (1 + 2 * sigma * sigma)
    glint = 0.75 + 0.4 * smooth_line(rng, count, 70.0)[s] + broken * _fibres(rng, count, 14.0)[s, lane]
    glint = np.clip(glint, 0.05, 1.8 + recipe.wetness)
    tx, ty = seen.course.tx[s], seen.course.ty[s]
    widen = sigma / half
    # wet cuticle splits the light of the lamps
    split = 1 + np.float32(0.22 * max(recipe.wetness - 0.3, 0.0)) * np.stack([smooth_line(rng, count, 9.0)[s] for _ in range(3)], 1)
    for turn, strength, breadth in ((0.0, 1.0, 0.17), (2.3, 0.7, 0.13), (4.1, 0.45, 0.11)):
        azimuth = recipe.light_azimuth + turn
        # a cylinder mirrors a lamp where its normal halves the angle to the viewer: at the lamp's offset across the shaft
        lamp = np.float32(0.52) * (math.sin(azimuth) * tx - math.cos(azimuth) * ty)
        spread = np.sqrt(np.float32(breadth**2) + (0.55 * widen) ** 2)
        lobe = np.exp(-(((t - lamp) / spread) ** 2)) * (np.float32(breadth) / spread)
        facing = 1 - 0.5 * (math.cos(azimuth) * tx + math.sin(azimuth) * ty) ** 2
        shine = np.float32(strength * recipe.gloss * (0.42 + 0.3 * recipe.wetness)) * glint * lobe * facing
        shine = np.minimum(shine, np.float32(0.95))
        lamp_colour = np.array([0.98, 0.97, 0.95], np.float32) * 0.75 + tone * 0.5
        colour += (np.minimum(lamp_colour * split, 1) - colour) * shine[:, None]
    return np.asarray(np.clip(colour, 0, 1), np.float32)
