"""The stage put together: from a seed to a rendered scalp, and from there through lens and sensor to a frame with its truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.faults import Faults
from device.simulated.fields import Picture
from device.simulated.flakes import paint_flakes, paint_scale
from device.simulated.hair import Unit, grow
from device.simulated.hood import paint_hood
from device.simulated.lens import Lens, defocus, lateral_colour, lens_for, motion, vignette
from device.simulated.openings import paint_halo, paint_opening, paint_root
from device.simulated.recipe import KINDS, Kind, Recipe, draw_recipe
from device.simulated.sensor import Image, expose, jpeg_bytes
from device.simulated.shading import GREY, HIGH_UM, SeenShaft, paint_shadows, paint_shaft, see, shade_hair
from device.simulated.skin import paint_skin
from device.simulated.surface import droplets
from device.simulated.truth import COUNTED_CONTRAST, FREE, SEEN_DIFFERENCE, UNDER_FLAKE, UNDER_HAIR, UNSEEN, TrueFollicle, TrueHair, Truth

MIN_SIDE, MAX_PIXELS = 64, 9_000_000  # a float picture of 9 Mpx is 108 MB, and several are held at once
BLANK_ORDER = -1


class RenderStoppedError(Exception):
    """Rendering was asked to stop before the scene was done. Stays within the simulated microscope."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A rendered scalp before any fault of lens and sensor.

    Attributes:
        picture: float32 (height, width, 3) BGR 0…1, evenly lit and sharp (but for hair out of the focal plane).
        mask: bool (height, width), visible hair; see truth.py for the definition.
        field: bool (height, width), where skin is seen: all but the hood.
        faint: bool (height, width), where the mask holds hair that is seen but does not count, for its body is as bright as the skin.
    """

    recipe: Recipe
    lens: Lens
    picture: Picture
    mask: NDArray[np.bool_]
    truth: Truth
    field: NDArray[np.bool_]
    faint: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RenderedFrame:
    """A frame as a camera delivers it, with its truth.

    Attributes:
        image: uint8 (height, width, 3) BGR, decoded from `jpeg`.
        mask: bool (height, width), visible hair that counts, by the definition that the truth's counts follow.
        field: bool (height, width), where skin is seen: all but the hood.
        faint: bool (height, width), visible hair that does not count, as in `Scene`.
    """

    image: Image
    jpeg: bytes
    mask: NDArray[np.bool_]
    truth: Truth
    um_per_px: float
    field: NDArray[np.bool_]
    faint: NDArray[np.bool_]


def render_frame(seed: int, *, width: int = 640, height: int = 480, kind: Kind = "easy", um_per_px: float | None = None) -> RenderedFrame:
    """One frame with its exact truth, the same for the same arguments.

    Args:
        kind: easy (dark hair, clean skin, good camera), realistic, or hard (pale hair, flakes, blur, noise).
        um_per_px: fixes the scale of the picture; drawn from the seed where None.

    Raises:
        ValueError: an unknown kind, or a size below MIN_SIDE or above MAX_PIXELS.
    """
    scene = render_scene(seed, width=width, height=height, kind=kind, um_per_px=um_per_px)
    jpeg = photograph(scene.picture, scene.recipe, np.random.default_rng([seed, 7]), larger=width / 640)
    image = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    return RenderedFrame(image, jpeg, scene.mask & ~scene.faint, scene.truth, scene.truth.um_per_px, scene.field, scene.faint)


def photograph(picture: Picture, recipe: Faults, rng: np.random.Generator, *, larger: float = 1.0) -> bytes:
    """JPEG of a scene's picture, or of a part of it, as lens and sensor of the recipe deliver it; `rng` draws the noise and the light.

    The recipe's pixels are those of a picture 640 px wide; `larger` is what one of them measures in `picture`, px.
    """
    lit = picture * (vignette(picture.shape[:2], recipe.vignetting, tuple(rng.normal(0, 0.12, 2))) * np.float32(recipe.gain))[..., None]
    lit *= np.array(recipe.tint_bgr, np.float32)
    moved = motion(np.clip(lit, 0, 1), recipe.motion_px * larger, recipe.motion_rad)
    seen = lateral_colour(defocus(moved, recipe.defocus_px * larger), recipe.chroma_px * larger)
    return jpeg_bytes(expose(seen, rng, noise=recipe.noise, sharpen=recipe.sharpen, bayer=recipe.bayer), recipe.jpeg_quality)


def render_scene(
    seed: int,
    *,
    width: int = 640,
    height: int = 480,
    kind: Kind = "easy",
    um_per_px: float | None = None,
    bald: bool | None = None,
    sparser: float = 1.0,
    hooded: bool = True,
    recipe: Recipe | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Scene:
    """A scalp under a perfect lens and sensor, the same for the same arguments.

    `sparser` multiplies the density of follicular units where hair is long: a wide scene needs fewer for the same crowd in a window
    of it, for hair reaches in from all around. Without `hooded` the hood stays out of view. `recipe` is taken in place of what the seed
    draws (and its kind in place of `kind`): scenes of one recipe and several seeds are fields of one head. `should_stop` is asked
    between the steps, so that a thread that renders can be ended within some hundred milliseconds.

    Raises:
        RenderStoppedError: `should_stop` said so.
        ValueError: an unknown kind, or a size below MIN_SIDE or above MAX_PIXELS.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of scene: choose {', '.join(KINDS)}")
    if min(width, height) < MIN_SIDE or width * height > MAX_PIXELS:
        raise ValueError(f"{width}×{height} px cannot be rendered: each side ≥ {MIN_SIDE} px, at most {MAX_PIXELS / 1e6:g} megapixels")
    streams = [np.random.default_rng([seed, subject]) for subject in range(5)]
    if recipe is None:
        recipe = draw_recipe(streams[0], kind)
    scale = recipe.um_per_px * 640 / width if um_per_px is None else um_per_px
    recipe = replace(
        recipe,
        um_per_px=scale,
        blur_px_per_um=recipe.blur_px_per_um * recipe.um_per_px / scale,  # the same blur on the scalp
        bald=recipe.bald if bald is None else bald,
        hood=recipe.hood if hooded else None,
        units_per_cm2=recipe.units_per_cm2 * (sparser if recipe.clipped_um is None else 1.0),
    )
    corner = 0.625 * recipe.field_um / (1000 * recipe.distance_mm)  # of a picture of 4:3, in units of the distance
    lens = lens_for(width, height, scale, recipe.distance_mm, recipe.tilt_rad, recipe.distortion / corner**2)
    shape = (height, width)
    units, shafts = grow(recipe, lens, streams[1])
    seen = [s for s in (see(shaft, lens, recipe) for shaft in shafts) if s is not None]
    heights = [float(np.median(s.shaft.points_um[:, 2])) for s in seen]
    seen = [seen[i] for i in np.argsort(heights, kind="stable")]  # what lies lower is painted first
    low = sum(height <= HIGH_UM for height in heights)
    _heed(should_stop)
    picture = paint_skin(recipe, shape, streams[2])
    _heed(should_stop)
    paint_scale(picture, recipe, streams[3])
    _heed(should_stop)
    _paint_openings(picture, units, seen, lens, recipe, streams[4])
    bare = picture.copy()  # hair is compared with skin that no shadow lies on
    paint_shadows(picture, seen, recipe)
    owner = np.full(shape, BLANK_ORDER, np.int32)
    beneath = owner.copy()
    contrast, difference = np.zeros((2, len(seen)))
    for index, shaft in enumerate(seen):
        _heed(should_stop)
        if index == low:
            shade_hair(picture, owner, seen[low:], recipe)
        alone, gloss = paint_shaft(picture, owner, beneath, index, shaft, recipe)
        contrast[index], difference[index] = _contrasts(picture, bare, alone, gloss, recipe.gain)
    hidden = paint_flakes(picture, recipe, streams[3])
    droplets(picture, recipe, streams[3])
    clear = np.append(difference >= SEEN_DIFFERENCE, False)  # the last is what BLANK_ORDER points to
    field = np.ones(shape, bool) if recipe.hood is None else paint_hood(picture, recipe.hood, streams[3])
    mask = (clear[owner] | clear[beneath]) & ~hidden & field
    counting = np.append(contrast >= COUNTED_CONTRAST, False)
    faint = mask & ~counting[owner] & ~counting[beneath]
    truth = _truth(seed, recipe, lens, units, seen, owner, hidden, field, contrast, clear)
    return Scene(recipe, lens, picture, mask, truth, field, faint)


def scene_um_per_px(seed: int, kind: Kind) -> float:
    """The scale that this seed draws for a picture 640 px wide."""
    return draw_recipe(np.random.default_rng([seed, 0]), kind).um_per_px


def _heed(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise RenderStoppedError


def _paint_openings(
    picture: Picture, units: list[Unit], seen: list[SeenShaft], lens: Lens, recipe: Recipe, rng: np.random.Generator
) -> None:
    colours = {s.shaft.unit_id: s.shaft.bgr for s in seen}
    for unit in units:
        paint_opening(picture, unit, lens, recipe, colours.get(unit.id), rng)
    for shaft in seen:
        paint_halo(picture, shaft, recipe)
    for shaft in seen:
        paint_root(picture, shaft, recipe)


def _contrasts(picture: Picture, bare: Picture, at: NDArray[np.int64], gloss: float, gain: float) -> tuple[float, float]:
    """How a shaft differs from the bare skin at the pixels `at`, grey levels 0–255, 0 where there are none.

    The first is the difference of the mean grey, but for what gloss adds to it (`gloss`, 0…1); the second the mean of the
    differences, which also tells a hair of the skin's brightness by its colour and its gloss.
    """
    if len(at) == 0:
        return 0.0, 0.0
    difference = (picture.reshape(-1, 3)[at] - bare.reshape(-1, 3)[at]) * np.float32(255 * gain)
    grey = float((difference @ GREY).mean()) - 255 * gain * gloss
    return abs(grey), float(np.abs(difference).mean())


def _truth(
    seed: int,
    recipe: Recipe,
    lens: Lens,
    units: list[Unit],
    seen: list[SeenShaft],
    owner: NDArray[np.int32],
    hidden: NDArray[np.bool_],
    field: NDArray[np.bool_],
    contrast: NDArray[np.float64],
    clear: NDArray[np.bool_],
) -> Truth:
    places = lens.project(np.array([[u.x_um, u.y_um, 0.0] for u in units]).reshape(-1, 3))[0]
    within = _in_view(places, field)
    hairs = [h for i, s in enumerate(seen) if (h := _true_hair(i, s, owner, hidden, field, float(contrast[i]), bool(clear[i]))) is not None]
    of_unit: dict[int, list[TrueHair]] = {}
    for hair in hairs:
        of_unit.setdefault(hair.follicle_id, []).append(hair)
    follicles = tuple(
        TrueFollicle(
            unit.id,
            float(x),
            float(y),
            unit.hairs,
            sum(h.counted for h in of_unit.get(unit.id, [])),
            bool(hidden[min(round(y), lens.height - 1), min(round(x), lens.width - 1)]),
        )
        for unit, (x, y), inside in zip(units, places, within, strict=True)
        if inside
    )
    rooted_units = {f.id for f in follicles}
    scales = lens.scales_um_per_px
    return Truth(
        kind=recipe.kind,
        seed=seed,
        width=lens.width,
        height=lens.height,
        um_per_px=lens.centre_um_per_px,
        um_per_px_min=float(scales.min()),
        um_per_px_mean=float(scales.mean()),
        um_per_px_max=float(scales.max()),
        area_cm2=lens.area_cm2 * _share_of_skin(field, scales),
        bald=recipe.bald,
        grades=recipe.grades,
        hairs=tuple(replace(h, rooted_in_frame=h.follicle_id in rooted_units) for h in hairs),
        follicles=follicles,
        lens={
            "fx": round(lens.focal_px, 4),
            "fy": round(lens.focal_px, 4),
            "cx": lens.centre_px[0],
            "cy": lens.centre_px[1],
            "k1": round(lens.k1, 5),
            "k2": round(lens.k2, 5),
            "distance_mm": round(lens.distance_mm, 4),
            "hood_px": None if recipe.hood is None else [round(v, 2) for v in recipe.hood.circle_px(field.shape)],
            "tilt_deg": [round(math.degrees(v), 4) for v in lens.tilt_rad],
        },
        degradation={
            "defocus_sigma_px": round(recipe.defocus_px * lens.width / 640, 4),
            "noise_sigma": round(recipe.noise, 4),
            "jpeg_quality": recipe.jpeg_quality,
            "vignetting": round(recipe.vignetting, 4),
            "gain": round(recipe.gain, 4),
            "motion_px": round(recipe.motion_px * lens.width / 640, 4),
            "motion_deg": round(math.degrees(recipe.motion_rad), 4),
            "sharpen": round(recipe.sharpen, 4),
            "chroma_px": round(recipe.chroma_px * lens.width / 640, 4),
        },
    )


def _in_view(points: NDArray[np.float64], field: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which points (n, 2) lie in the picture and not behind the hood."""
    height, width = field.shape
    x, y = points[:, 0], points[:, 1]
    inside = (x >= -0.5) & (y >= -0.5) & (x < width - 0.5) & (y < height - 0.5)
    column, row = np.rint(np.where(inside, points.T, 0)).astype(int).clip(0)
    return np.asarray(inside & field[np.minimum(row, height - 1), np.minimum(column, width - 1)], np.bool_)


def _share_of_skin(field: NDArray[np.bool_], scales: NDArray[np.float64]) -> float:
    """Of the skin that the picture would show, the share that no hood hides; `scales` as Lens.scales_um_per_px gives them."""
    if field.all():
        return 1.0
    open_ = cv2.resize(field.astype(np.float32), scales.shape[::-1], interpolation=cv2.INTER_AREA)
    return float(np.sum(open_ * scales**2) / np.sum(scales**2))


def _true_hair(
    index: int,
    seen: SeenShaft,
    owner: NDArray[np.int32],
    hidden: NDArray[np.bool_],
    field: NDArray[np.bool_],
    contrast: float,
    clear: bool,
) -> TrueHair | None:
    """The truth of one shaft, None where no point of it lies in view; `rooted_in_frame` is set by the caller."""
    within = _in_view(seen.points_px, field)
    height, width = field.shape
    if not within.any():
        return None
    x, y = seen.points_px[within].T
    column = np.clip(np.rint(x).astype(int), 0, width - 1)
    row = np.clip(np.rint(y).astype(int), 0, height - 1)
    covered = np.where(hidden[row, column], UNDER_FLAKE, np.where(owner[row, column] == index, FREE, UNDER_HAIR))
    open_ = covered == FREE
    if not clear:
        covered[open_] = UNSEEN
    # a point stands for half of the way to each neighbour, so that a stretch between two states is shared between them
    steps = np.hypot(*np.diff(seen.points_px, axis=0).T)
    share = (np.concatenate([[0.0], steps]) + np.concatenate([steps, [0.0]]))[within] / 2
    d_um, d_px = seen.shaft.d_um, seen.d_px
    body = np.ones(len(d_um), bool)
    if seen.shaft.tip == "taper":
        body = d_um > 0.8 * np.median(d_um[: max(2, len(d_um) // 2)])
    body = (body & within) if (body & within).any() else within
    return TrueHair(
        id=index,
        follicle_id=seen.shaft.unit_id,
        rooted_in_frame=False,
        colour=seen.shaft.colour,
        tip=seen.shaft.tip,
        nominal_um=seen.shaft.nominal_um,
        diameter_um=float(np.median(d_um[body])),
        diameter_px=float(np.median(d_px[body])),
        length_px=float(share.sum()),
        visible_length_px=float(share[open_].sum()),
        contrast=contrast,
        out_of_focus_px=float(np.median(seen.blur_px[within])),
        points=np.stack([x, y, d_um[within], d_px[within], covered.astype(float)], 1),
    )
