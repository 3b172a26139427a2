"""Which rendered scenes a network learns from, and what it is told of each: the picture before lens and sensor, and exact planes of truth.

Seeds are chosen by the recipe that they draw, so that a third of the scenes has white, grey, blond or very thin hair: a network
that sees mostly dark hair loses the rest. Lens and sensor faults are not part of a cached scene; training adds others each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.recipe import Kind, Recipe, draw_recipe
from device.simulated.scene import RenderedFrame, Scene, photograph, render_frame, render_scene
from device.simulated.truth import FREE, TrueHair, Truth

WIDTH, HEIGHT = 640, 480
LIGHT_COLOURS = frozenset({"blond", "grey", "white"})
VERY_THIN_PX = 6.5  # median terminal hair of a very thin scene, px at WIDTH
KIND_SHARES: dict[Kind, float] = {"easy": 0.15, "realistic": 0.4, "hard": 0.45}
CLOSE_UM_PER_PX = 4.6  # below it a hair is a broad band with an inside
HIGH_PART = 0.25  # of the long hairs: from here on much of a scene's hair is far out of focus
GROUP_SHARES = {"light": 0.28, "thin": 0.08, "bald": 0.05, "close": 0.1, "high": 0.08}  # the rest is drawn without a choice
OSTIUM_SIGMA_UM = 45.0  # about the radius of an opening
PLANES = 7
BLUE, GREEN, RED, HAIR, LINE, OSTIUM, FAINT = range(PLANES)

Planes = NDArray[np.uint8]


@dataclass(frozen=True)
class SceneChoice:
    """A scene to render: `group` says why it was taken: any, or one of GROUP_SHARES."""

    seed: int
    kind: Kind
    group: str


def recipe_of(seed: int, kind: Kind) -> Recipe:
    """The recipe that this seed draws; the first random stream of a scene is its recipe's."""
    return draw_recipe(np.random.default_rng([seed, 0]), kind)


def belongs(recipe: Recipe, group: str) -> bool:
    """Whether a recipe may stand for `group`."""
    if group == "light":
        return recipe.head_colour in LIGHT_COLOURS and not recipe.bald
    if group == "thin":
        return recipe.diameter_um / recipe.um_per_px < VERY_THIN_PX and not recipe.bald
    if group == "close":
        return recipe.um_per_px < CLOSE_UM_PER_PX and not recipe.bald
    if group == "high":
        return recipe.high_share > HIGH_PART and recipe.clipped_um is None and not recipe.bald
    return True


def choose_scenes(count: int, seed: int) -> Iterator[SceneChoice]:
    """`count` scenes in an order that keeps every group's share at each length; the same for the same `seed`.

    Easy scenes have no light hair, so the light ones are realistic or hard.
    """
    rng = np.random.default_rng([seed, 1])
    groups = [*GROUP_SHARES, "any"]
    shares = [*GROUP_SHARES.values(), 1 - sum(GROUP_SHARES.values())]
    kinds: tuple[Kind, ...] = tuple(KIND_SHARES)
    for _ in range(count):
        group = str(rng.choice(groups, p=shares))
        while True:
            kind = kinds[int(rng.choice(len(kinds), p=list(KIND_SHARES.values())))]
            candidate = int(rng.integers(2**31))
            if belongs(recipe_of(candidate, kind), group):
                break
        yield SceneChoice(candidate, kind, group)


def planes_of(choice: SceneChoice) -> Planes:
    """uint8 (HEIGHT, WIDTH, PLANES) of a scene: blue, green, red; visible hair 0/255; centre lines 0/255; openings as a heat map;
    hair that is seen but too like the skin to count 0/255.
    """
    scene = render_scene(choice.seed, width=WIDTH, height=HEIGHT, kind=choice.kind, bald=True if choice.group == "bald" else None)
    return scene_planes(scene)


def scene_planes(scene: Scene) -> Planes:
    """The planes of a rendered scene, as `planes_of` gives them."""
    planes = np.zeros((*scene.mask.shape, PLANES), np.uint8)
    planes[..., :3] = np.clip(np.rint(scene.picture * 255), 0, 255)
    planes[..., HAIR] = scene.mask * np.uint8(255)
    planes[..., LINE] = centre_lines(scene.truth)
    planes[..., OSTIUM] = openings(scene.truth)
    planes[..., FAINT] = scene.faint * np.uint8(255)
    return planes


def centre_lines(truth: Truth) -> NDArray[np.uint8]:
    """uint8 (height, width), 255 along the centre of every visible hair, where nothing covers it; 2 px wide."""
    canvas = np.zeros((truth.height, truth.width), np.uint8)
    for hair in truth.hairs:
        for course in _free_courses(hair):
            cv2.polylines(canvas, [course], False, 255, 2, cv2.LINE_AA, 4)
    return canvas


def _free_courses(hair: TrueHair) -> Iterator[NDArray[np.int32]]:
    """The uncovered stretches of a hair, int32 (n, 2) in 1/16 px."""
    free = hair.points[:, 4] == FREE
    for part in np.split(np.arange(len(free)), np.flatnonzero(np.diff(free)) + 1):
        if len(part) > 1 and free[part[0]]:
            yield np.rint(hair.points[part, :2] * 16).astype(np.int32)


def openings(truth: Truth) -> NDArray[np.uint8]:
    """uint8 (height, width), 255 at the middle of every opening in view, empty ones included, falling off as a Gaussian."""
    heat = np.zeros((truth.height, truth.width), np.float32)
    sigma = OSTIUM_SIGMA_UM / truth.um_per_px
    reach = int(np.ceil(3 * sigma))
    for follicle in truth.follicles:
        if follicle.covered_by_flake:
            continue
        x0, y0 = round(follicle.x) - reach, round(follicle.y) - reach
        x1, y1 = min(truth.width, x0 + 2 * reach + 1), min(truth.height, y0 + 2 * reach + 1)
        x0, y0 = max(0, x0), max(0, y0)
        if x0 >= x1 or y0 >= y1:
            continue
        x = np.arange(x0, x1, dtype=np.float32)[None] - np.float32(follicle.x)
        y = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(follicle.y)
        heat[y0:y1, x0:x1] = np.maximum(heat[y0:y1, x0:x1], np.exp(-(x * x + y * y) / np.float32(2 * sigma * sigma)))
    return np.asarray(np.rint(heat * 255), np.uint8)


def validation_frames(per_kind: int, seed: int) -> Iterator[RenderedFrame]:
    """Whole frames with lens and sensor, kind after kind, from seeds that `choose_scenes` cannot draw."""
    rng = np.random.default_rng([seed, 2])
    for kind in KIND_SHARES:
        for _ in range(per_kind):
            yield render_frame(2**31 + int(rng.integers(2**31)), width=WIDTH, height=HEIGHT, kind=kind)


def bald_frames(count: int, seed: int) -> Iterator[RenderedFrame]:
    """Whole frames of skin on which no hair grows, realistic and hard in turn."""
    rng = np.random.default_rng([seed, 5])
    shown = 0
    while shown < count:
        kind: Kind = ("realistic", "hard")[shown % 2]
        drawn = 2**31 + int(rng.integers(2**31))
        scene = render_scene(drawn, width=WIDTH, height=HEIGHT, kind=kind, bald=True)
        if scene.mask.any():  # a hair may hang in from outside
            continue
        jpeg = photograph(scene.picture, scene.recipe, np.random.default_rng([drawn, 7]))
        image = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
        yield RenderedFrame(image, jpeg, scene.mask, scene.truth, scene.truth.um_per_px, scene.field, scene.faint)
        shown += 1
