"""How a hair looks: soft shadow on the skin, the root shimmering through it, its opening, and the shaft as a lit, glossy cylinder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.fields import Field, Picture, fractal_field, smooth_line
from device.simulated.hair import Shaft, Unit
from device.simulated.lens import Lens
from device.simulated.recipe import Recipe
from device.simulated.strand import PIXEL_SIGMA, Course, band_of, course_of, pixel_cover, soft_cover

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
    patch += (1 - patch) * (np.float32(rng.uniform(0.02, 0.13)) * collar)[..., None]
    if unit.plug:
        plug = np.clip(1.35 - r, 0, 1)[..., None] * np.float32(0.7)
        patch += (np.array([0.50, 0.76, 0.88], np.float32) - patch) * plug
    depth = np.float32(rng.uniform(0.18, 0.4) if colour is not None else rng.uniform(0.25, 0.5))
    tint = np.array([0.20, 0.22, 0.30], np.float32) if colour is None else np.array(colour, np.float32) * 0.7 + np.float32(0.08)
    patch += (tint - patch) * (depth * dimple)[..., None]


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


def paint_shaft(
    picture: Picture, owner: NDArray[np.int32], beneath: NDArray[np.int32], index: int, seen: SeenShaft, recipe: Recipe
) -> NDArray[np.int64]:
    """The shaft over everything painted so far; pixels that it covers by half or more become `index` in `owner` (height, width).

    Blur does not count: the mask of a hair out of focus is that of the sharp one. `beneath` takes what `owner` held before.
    Returns the flat indices of the pixels taken where no hair lay before, of all where there are none of those.
    """
    shape = (picture.shape[0], picture.shape[1])
    band = band_of(seen.course, seen.reach_px, shape, seen.shaft.slant)
    if band is None:
        return np.empty(0, np.int64)
    s, across = band.sample, band.across
    width = seen.course.along(seen.d_px)[s]
    sigma = np.hypot(seen.course.along(seen.blur_px), np.float32(PIXEL_SIGMA))[s]
    rising = _rising(seen)[s]
    alpha = soft_cover(across, width, sigma) * band.cap * rising * np.float32(seen.shaft.opacity)
    colour = _surface(seen, recipe, s, across, width, sigma)
    flat = picture.reshape(-1, 3)
    under = flat[band.pixel]
    flat[band.pixel] = under + (colour - under) * alpha[:, None]
    covered = pixel_cover(across, width) * band.cap * rising >= 0.5
    thin = (width < 2) & (np.abs(across) <= 0.5) & (band.cap * rising >= 0.5)
    taken = band.pixel[covered | thin]
    before = owner.reshape(-1)[taken]
    beneath.reshape(-1)[taken] = before
    owner.reshape(-1)[taken] = index
    alone = taken[before < 0]
    return alone if len(alone) else taken


def _rising(seen: SeenShaft) -> Field:
    """How far the shaft has come out of the skin at each sample of its course, 0 to 1 within one diameter from its opening."""
    out = (np.arange(len(seen.course.x)) + 0.5) / max(1.5, float(seen.d_px[0]))
    return np.asarray(np.clip(out, 0, 1) ** 0.8, np.float32)


def _fibres(rng: np.random.Generator, count: int, length: float) -> Field:
    """Streaks that run along a shaft, float32 (count, LANES): unlike from lane to lane, slowly changing along it."""
    return np.stack([smooth_line(rng, count, length * float(rng.uniform(0.6, 1.6))) for _ in range(LANES)], 1)


def _surface(seen: SeenShaft, recipe: Recipe, s: NDArray[np.int64], across: Field, width: Field, sigma: Field) -> Picture:
    """Colour of the shaft at the pixels of a band, (k, 3): body, edge, streaks along it, and the lamps mirrored in it."""
    shaft = seen.shaft
    rng = np.random.default_rng(shaft.seed)
    half = np.sqrt((width / 2) ** 2 + 1.2 * sigma**2)
    # what is too narrow to show a flank and a middle takes the mean of both, or it would break up into dots
    t = np.clip(across / half, -1, 1) * np.clip((width - 1) / 3, 0.3, 1)
    round_ = np.sqrt(1 - t * t)
    count = len(seen.course.x)
    body = np.array(shaft.bgr, np.float32)
    lane = np.rint((t + 1) * (LANES - 1) / 2).astype(np.int64)
    wander = smooth_line(rng, count, 90.0)[s]
    mottle = _fibres(rng, count, 38.0)[s, lane]
    broken = (0.3 + 0.5 * recipe.wetness * np.clip(0.5 + smooth_line(rng, count, 200.0), 0, 1.5))[s] / (1 + 2 * sigma * sigma)
    glint = 0.75 + 0.4 * smooth_line(rng, count, 70.0)[s] + broken * _fibres(rng, count, 14.0)[s, lane]
    glint = np.clip(glint, 0.05, 1.8 + recipe.wetness)
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
        lamp_colour = np.array([0.98, 0.97, 0.95], np.float32) * 0.75 + body * 0.5
        colour += (np.minimum(lamp_colour * split, 1) - colour) * shine[:, None]
    return np.asarray(np.clip(colour, 0, 1), np.float32)
