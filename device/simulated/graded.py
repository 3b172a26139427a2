"""Scalps whose conditions can be graded by what is to be seen: how much of the picture flakes cover, how much of it shines, how red it is.

A recipe's grades only shift averages: a small field of grade 2 may show less than a large one of grade 1, and a soaked skin has any
grade. Here every grade has a band of amounts, with a gap to the next, and an amount is drawn within it; dandruff and shine are painted
until the amount is reached, in more than one look. The bands lie around what the recipes' grades show on average. No seed of `render_scene`
gives another picture because of this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.fields import Picture, fractal_field
from device.simulated.flakes import WHITE, flake_outline, lay_flake
from device.simulated.recipe import Kind, Recipe, draw_recipe
from device.simulated.scene import Scene, photograph, render_scene
from device.simulated.sensor import Image
from device.simulated.skin import paint_skin

Grades = tuple[int, int, int]
GRADED_VERSION = 2  # changes whenever the same seed and grades would give another picture; cached scenes carry it
Band = tuple[float, float]

COVERAGE: tuple[Band, ...] = ((0.0, 0.004), (0.013, 0.028), (0.042, 0.072), (0.1, 0.22))
"""Share of the picture that flakes cover, by grade of dandruff; an area's share is the same at every scale."""
SHINE: tuple[Band, ...] = ((0.0, 0.0), (0.004, 0.01), (0.02, 0.045), (0.085, 0.2))
"""How far mirrored lamps lighten the skin towards white on average, by grade of sebum."""
DRY, SOAKED = (0.0, 0.16), (0.64, 1.0)
"""The recipe's own moisture where shine is painted, and that of a film all over, which is severe by itself."""
REDNESS: tuple[Band, ...] = ((0.0, 0.2), (0.29, 0.46), (0.56, 0.73), (0.83, 1.15))
"""Of the recipe, by grade of erythema."""
SOAKED_SHARE = 0.5  # of the scenes with severe sebum: a film in place of painted shine
DARKEST = 0.85  # melanin above which no one sees redness
ROUNDS, CAUTION = 6, 0.75  # flakes are laid in rounds, each less than what is missing by reckoning
LAYERED = 1.15  # what overlapping layers add to a flake
BLURRED_PX = 0.5  # what softness adds to a fine flake, on each side
BARELY = 0.05  # wetness below which not even the glare of the lamps is painted
VEIL = 0.08  # below it a lightening is no mirrored lamp
SEEN = 0.03  # change of a channel, 0…1, that is seen as a flake
LAMP = np.array([1.0, 0.99, 0.96], np.float32)


@dataclass(frozen=True, eq=False)
class GradedScene:
    """A scene and what can be seen of its conditions.

    Attributes:
        picture: float32 (height, width, 3) BGR 0…1, before lens and sensor.
        grades: dandruff, sebum, erythema, 0–3 each.
        flakes: bool (height, width), where dandruff was laid and is seen.
        shine: float32 (height, width), 0…1, how far a mirrored lamp lightens what is seen.
    """

    recipe: Recipe
    picture: Picture
    grades: Grades
    flakes: NDArray[np.bool_]
    shine: NDArray[np.float32]


def graded_recipe(seed: int, grades: Grades, kind: Kind) -> Recipe:
    """The recipe that this seed draws, with amounts of redness and moisture that its grades stand for, and a white balance that was set."""
    recipe = draw_recipe(np.random.default_rng([seed, 0]), kind)
    rng = np.random.default_rng([seed, 8])
    soaked = grades[1] == 3 and bool(rng.random() < SOAKED_SHARE)
    wetness = float(rng.uniform(*(SOAKED if soaked else DRY)))
    tint = rng.normal(0, (0.035, 0.0, 0.03))
    return replace(
        recipe,
        grades=(0, 3 if soaked else 0, grades[2]),
        wetness=wetness,
        redness=float(rng.uniform(*REDNESS[grades[2]])),
        melanin=recipe.melanin * DARKEST,
        pallor=max(0.0, float(rng.uniform(-0.6, 0.35))),
        tint_bgr=(float(1 + tint[0]), 1.0, float(1 + tint[2])),
    )


def render_graded(seed: int, grades: Grades, *, width: int = 640, height: int = 480, kind: Kind = "realistic") -> GradedScene:
    """A scalp of the `grades` under a perfect lens and sensor, the same for the same arguments.

    Raises:
        ValueError: a grade is not 0 to 3, an unknown kind, or a size that `render_scene` refuses.
    """
    if len(grades) != 3 or not all(grade in range(4) for grade in grades):
        raise ValueError(f"{grades!r} are no grades: three of 0 to 3, for dandruff, sebum and erythema")
    recipe = graded_recipe(seed, grades, kind)
    scene = render_scene(seed, width=width, height=height, kind=kind, recipe=recipe)
    rng = np.random.default_rng([seed, 9])
    shine = _moisture(scene, seed)
    if recipe.grades[1] != grades[1]:
        before = scene.picture.copy()
        _paint_shine(scene, float(rng.uniform(*SHINE[grades[1]])), rng)
        shine = np.maximum(shine, _lightened(before, scene.picture))
    flakes = _paint_dandruff(scene, float(rng.uniform(*COVERAGE[grades[0]])), rng)
    shine[flakes] = 0
    return GradedScene(scene.recipe, scene.picture, grades, flakes, shine)


def graded_frame(seed: int, grades: Grades, *, width: int = 640, height: int = 480, kind: Kind = "realistic") -> Image:
    """uint8 (height, width, 3) BGR: `render_graded` as a camera delivers it."""
    scene = render_graded(seed, grades, width=width, height=height, kind=kind)
    jpeg = photograph(scene.picture, scene.recipe, np.random.default_rng([seed, 10]), larger=width / 640)
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _lightened(before: Picture, after: Picture) -> NDArray[np.float32]:
    """How far each pixel went towards white, float32 (height, width), 0…1."""
    left = 1 - before.mean(2)
    return np.asarray(np.clip((after - before).mean(2) / np.maximum(left, 0.1), 0, 1), np.float32)


def _moisture(scene: Scene, seed: int) -> NDArray[np.float32]:
    """What the recipe's own moisture mirrors, float32 (height, width), 0…1: its bare skin beside the same skin
    nearly dry; none where hair is."""
    shape = (scene.mask.shape[0], scene.mask.shape[1])
    if scene.recipe.wetness < SOAKED[0]:  # drier skin sparkles at single points
        return np.zeros(shape, np.float32)
    # the third stream of a scene is its skin's, and moisture is the last that is drawn from it
    wet, dry = (paint_skin(r, shape, np.random.default_rng([seed, 2])) for r in (scene.recipe, replace(scene.recipe, wetness=BARELY)))
    shine = _lightened(dry, wet)
    shine[scene.mask | ~scene.field | (shine < VEIL)] = 0
    return shine


def _paint_dandruff(scene: Scene, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Fine scale under the hair and flakes over it until `share` of the picture is covered, as far as it is seen; where they are seen.

    From all fine to all coarse. What a flake adds is known only once it is laid: translucent, overlapping, blurred, half outside.
    """
    height, width = scene.mask.shape
    fine = float(rng.choice([rng.uniform(0, 0.3), rng.uniform(0.3, 0.7), 1.0], p=[0.45, 0.3, 0.25]))
    look = _Look(math.log(float(rng.uniform(16, 40))), math.log(float(rng.uniform(60, 190))), rng.uniform((0, 0), (width, height), (4, 2)))
    before, wanted = scene.picture.copy(), share * height * width
    seen = np.zeros((height, width), np.bool_)
    for _ in range(ROUNDS):
        missing = wanted - np.count_nonzero(seen)
        if missing < max(4.0, 0.08 * wanted):
            break
        _paint_fine(scene, CAUTION * fine * missing, look, rng)
        _paint_coarse(scene, CAUTION * (1 - fine) * missing, look, rng)
        scene.picture[~scene.field] = before[~scene.field]
        seen = np.asarray(np.abs(scene.picture - before).max(2) > SEEN, np.bool_)
    return seen


@dataclass(frozen=True, eq=False)
class _Look:
    """Of one scalp's flakes: logarithms of the median radii in µm, fine and coarse, and where fine scale may gather, px (n, 2)."""

    fine: float
    coarse: float
    patches: NDArray[np.float64]


def _paint_coarse(scene: Scene, wanted: float, look: _Look, rng: np.random.Generator) -> None:
    """Flakes over skin and hair, about `wanted` px² of them."""
    height = scene.mask.shape[0]
    hidden, left = np.zeros(scene.mask.shape, bool), wanted
    while left > 8:
        radius = float(np.clip(rng.lognormal(look.coarse, 0.55), 20, 700)) / scene.recipe.um_per_px
        radius = max(1.6, min(radius, math.sqrt(left / (LAYERED * math.pi)) * 1.1, 0.25 * height))
        lay_flake(scene.picture, hidden, radius, rng)
        left -= LAYERED * math.pi * radius * radius


def _paint_fine(scene: Scene, wanted: float, look: _Look, rng: np.random.Generator) -> None:
    """Fine scale on the skin, about `wanted` px² of it, strewn evenly or in patches."""
    height, width = scene.mask.shape
    cover = np.zeros((height, width), np.float32)
    gathered = float(rng.uniform(0, 0.8)) * float(rng.random() < 0.5)
    left = wanted
    while left > 2:
        radius = max(1.0, float(np.clip(rng.lognormal(look.fine, 0.55), 7, 130)) / scene.recipe.um_per_px)
        place = rng.uniform((0, 0), (width, height))
        if rng.random() < gathered:
            place = look.patches[int(rng.integers(len(look.patches)))] + rng.normal(0, 0.12 * height, 2)
        cv2.fillPoly(cover, [flake_outline(rng, place, radius)], float(rng.uniform(0.35, 1.1)), cv2.LINE_AA, 4)
        left -= math.pi * (radius + BLURRED_PX) ** 2
    cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), 0.6), np.float32)
    cover[scene.mask] = 0
    white = WHITE * np.float32(rng.uniform(0.85, 1.02)) + np.array([-0.08, -0.02, 0.0], np.float32) * np.float32(rng.random())
    picture = scene.picture
    picture += (white - picture) * (cover * np.float32(rng.uniform(0.65, 0.95)))[..., None]


def _paint_shine(scene: Scene, mean: float, rng: np.random.Generator) -> None:
    """Lamps mirrored by oily skin, which lighten it by `mean` on average: from pin points to glossy spots, even or in patches, not on hair.

    A mirrored lamp has no border: it swells to a burnt-out middle, where a flake is flat and ends sharply.
    """
    skin = scene.field & ~scene.mask
    if mean <= 0 or not skin.any():
        return
    shape: tuple[int, int] = (scene.mask.shape[0], scene.mask.shape[1])
    scale = scene.recipe.um_per_px
    facets = fractal_field(rng, shape, max(2.2, math.exp(rng.uniform(math.log(16), math.log(130))) / scale), 3, 0.7)
    facets += np.float32(rng.uniform(0.2, 1.3)) * fractal_field(rng, shape, float(rng.uniform(500, 2200)) / scale, 2)
    softness, power, strength = float(rng.uniform(0.5, 1.3)), float(rng.uniform(1.2, 2.2)), float(rng.uniform(0.75, 1.0))
    some = facets[skin][::5]
    low, high = float(some.min()) - softness, float(some.max())
    for _ in range(14):  # the level at which the average comes out; it falls as the level rises
        level = (low + high) / 2
        found = float(np.mean(np.clip((some - np.float32(level)) / np.float32(softness), 0, 1) ** np.float32(power))) * strength
        low, high = (level, high) if found > mean else (low, level)
    amount = np.clip((facets - np.float32(low)) / np.float32(softness), 0, 1) ** np.float32(power) * np.float32(strength)
    amount = np.asarray(cv2.GaussianBlur(amount * skin, (0, 0), 0.8), np.float32)
    tint: NDArray[np.float32] = LAMP + np.array([0.0, -0.04, -0.05], np.float32) * np.float32(rng.random())
    picture = scene.picture
    picture += (tint - picture) * amount[..., None]
