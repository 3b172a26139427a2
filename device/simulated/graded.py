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

Grades = tuple[int, int, int]
GRADED_VERSION = 1  # changes whenever the same seed and grades would give another picture; cached scenes carry it
Band = tuple[float, float]

COVERAGE: tuple[Band, ...] = ((0.0, 0.004), (0.013, 0.028), (0.042, 0.072), (0.1, 0.22))
"""Share of the picture that flakes cover, by grade of dandruff; an area's share is the same at every scale."""
WETNESS: tuple[Band, ...] = ((0.0, 0.16), (0.27, 0.38), (0.47, 0.6), (0.64, 1.0))
"""Of the recipe, by grade of sebum: dry; a few sparks; sparkle in patches; a film all over."""
SHINE: tuple[Band, ...] = ((0.0, 0.0), (0.006, 0.018), (0.035, 0.07), (0.12, 0.28))
"""Share of the skin that mirrors a lamp, by grade of sebum, where shine is painted instead."""
REDNESS: tuple[Band, ...] = ((0.0, 0.2), (0.29, 0.46), (0.56, 0.73), (0.83, 1.15))
"""Of the recipe, by grade of erythema."""
PAINTED_SHINE = 0.5  # share of the scenes whose sebum is painted shine
DARKEST = 0.85  # melanin above which no one sees redness
MOST_FLAKES = 4000
LAMP = np.array([1.0, 0.99, 0.96], np.float32)


@dataclass(frozen=True, eq=False)
class GradedScene:
    """A scene and what can be seen of its conditions.

    Attributes:
        picture: float32 (height, width, 3) BGR 0…1, before lens and sensor.
        grades: dandruff, sebum, erythema, 0–3 each.
    """

    recipe: Recipe
    picture: Picture
    grades: Grades


def graded_recipe(seed: int, grades: Grades, kind: Kind) -> Recipe:
    """The recipe that this seed draws, with amounts of redness and moisture that its grades stand for, and a white balance that was set."""
    recipe = draw_recipe(np.random.default_rng([seed, 0]), kind)
    rng = np.random.default_rng([seed, 8])
    painted = bool(rng.random() < PAINTED_SHINE)
    wetness = float(rng.uniform(*WETNESS[0 if painted else grades[1]]))
    tint = rng.normal(0, (0.035, 0.0, 0.03))
    return replace(
        recipe,
        grades=(0, 0 if painted else grades[1], grades[2]),
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
    if recipe.grades[1] != grades[1]:
        _paint_shine(scene, float(rng.uniform(*SHINE[grades[1]])), rng)
    _paint_dandruff(scene, float(rng.uniform(*COVERAGE[grades[0]])), rng)
    return GradedScene(scene.recipe, scene.picture, grades)


def graded_frame(seed: int, grades: Grades, *, width: int = 640, height: int = 480, kind: Kind = "realistic") -> Image:
    """uint8 (height, width, 3) BGR: `render_graded` as a camera delivers it."""
    scene = render_graded(seed, grades, width=width, height=height, kind=kind)
    jpeg = photograph(scene.picture, scene.recipe, np.random.default_rng([seed, 10]), larger=width / 640)
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _paint_dandruff(scene: Scene, share: float, rng: np.random.Generator) -> None:
    """Fine scale under the hair and flakes over it until `share` of the picture is covered; from all fine to all coarse."""
    height, width = scene.mask.shape
    wanted = share * height * width
    fine = float(rng.choice([rng.uniform(0, 0.3), rng.uniform(0.3, 0.7), 1.0], p=[0.45, 0.3, 0.25]))
    before = scene.picture.copy()
    _paint_fine(scene, fine * wanted, rng)
    hidden = np.zeros((height, width), bool)
    left, median = (1 - fine) * wanted, math.log(float(rng.uniform(60, 190)))
    for _ in range(MOST_FLAKES):
        if left < 12:
            break
        radius = float(np.clip(rng.lognormal(median, 0.55), 20, 700)) / scene.recipe.um_per_px
        radius = min(radius, math.sqrt(left / (1.15 * math.pi)) * 1.1, 0.25 * height)
        lay_flake(scene.picture, hidden, max(radius, 1.6), rng)
        left -= 1.15 * math.pi * radius * radius  # what overlapping layers add
    scene.picture[~scene.field] = before[~scene.field]


def _paint_fine(scene: Scene, wanted: float, rng: np.random.Generator) -> None:
    """Fine scale on the skin, px² of it, strewn evenly or in patches."""
    height, width = scene.mask.shape
    cover = np.zeros((height, width), np.float32)
    patches = [rng.uniform((0, 0), (width, height)) for _ in range(int(rng.integers(1, 6)))]
    gathered = float(rng.uniform(0, 0.8)) * float(rng.random() < 0.5)
    left, median = wanted, math.log(float(rng.uniform(16, 40)))
    for _ in range(MOST_FLAKES):
        if left < 2:
            break
        radius = max(1.0, float(np.clip(rng.lognormal(median, 0.55), 7, 130)) / scene.recipe.um_per_px)
        place = rng.uniform((0, 0), (width, height))
        if rng.random() < gathered:
            place = patches[int(rng.integers(len(patches)))] + rng.normal(0, 0.12 * height, 2)
        cv2.fillPoly(cover, [flake_outline(rng, place, radius)], float(rng.uniform(0.35, 1.1)), cv2.LINE_AA, 4)
        left -= math.pi * radius * radius
    cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), 0.6), np.float32)
    cover[scene.mask] = 0
    white = WHITE * np.float32(rng.uniform(0.85, 1.02)) + np.array([-0.08, -0.02, 0.0], np.float32) * np.float32(rng.random())
    picture = scene.picture
    picture += (white - picture) * (cover * np.float32(rng.uniform(0.65, 0.95)))[..., None]


def _paint_shine(scene: Scene, share: float, rng: np.random.Generator) -> None:
    """Lamps mirrored by oily skin on `share` of it: from pin points to broad glossy spots, even or in patches, never on hair."""
    if share <= 0:
        return
    shape: tuple[int, int] = (scene.mask.shape[0], scene.mask.shape[1])
    scale = scene.recipe.um_per_px
    facets = fractal_field(rng, shape, max(2.5, float(rng.uniform(25, 130)) / scale), 3, 0.7)
    facets += np.float32(rng.uniform(0.2, 1.2)) * fractal_field(rng, shape, float(rng.uniform(500, 2200)) / scale, 2)
    skin = scene.field & ~scene.mask
    if not skin.any():
        return
    edge = np.float32(np.quantile(facets[skin][::7], 1 - share))
    # a mirrored lamp has no border: it swells to a burnt-out middle, where a flake is flat and ends sharply
    softness = np.float32(rng.uniform(0.5, 1.3))
    amount = np.clip((facets - edge) / softness + np.float32(0.35), 0, 1) ** np.float32(rng.uniform(1.2, 2.2))
    amount = np.asarray(cv2.GaussianBlur(amount * skin * np.float32(rng.uniform(0.7, 1.0)), (0, 0), 0.8), np.float32)
    tint: NDArray[np.float32] = LAMP + np.array([0.0, -0.04, -0.05], np.float32) * np.float32(rng.random())
    picture = scene.picture
    picture += (tint - picture) * amount[..., None]
