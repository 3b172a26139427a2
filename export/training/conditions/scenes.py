"""Rendered scalps of known grades, kept on disk while networks learn from them: every combination of grades equally often.

A kept scene is LOOKS photographs of it, the first through its own lens and sensor, as tests see it, the others through those of other
seeds; and where flakes lie and lamps are mirrored in it. Its file appears whole or not at all; an interrupted rendering goes on where it
stopped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.graded import GRADED_VERSION, Grades, graded_frame, graded_recipe, render_graded
from device.simulated.recipe import KINDS, RENDERER_VERSION, Kind, Recipe
from device.simulated.scene import photograph
from export.errors import TrainingError
from export.training.cache import check_room, done_by_workers, make_folder, read_array, write_array

KEPT_WIDTH, KEPT_HEIGHT = 640, 480
LOOKS = 2
FLAKES, SHINE = 0, 1  # planes of the last picture
KEPT_SHAPE = (LOOKS + 1, KEPT_HEIGHT, KEPT_WIDTH, 3)
KEPT_BYTES = math.prod(KEPT_SHAPE) + 4096
SEEING = (
    "tint_bgr",
    "motion_px",
    "motion_rad",
    "bayer",
    "defocus_px",
    "noise",
    "jpeg_quality",
    "vignetting",
    "gain",
    "sharpen",
    "chroma_px",
)
"""Of a recipe: what lens and sensor do."""
KIND_SHARES: dict[Kind, float] = {"easy": 0.2, "realistic": 0.45, "hard": 0.35}
COMBINATIONS: tuple[Grades, ...] = tuple((d, s, e) for d, s, e in itertools.product(range(4), repeat=3))

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class GradedChoice:
    """A scene to render."""

    seed: int
    kind: Kind
    grades: Grades


def choose_graded(count: int, seed: int, *, first_seed: int = 0) -> Iterator[GradedChoice]:
    """`count` scenes, the same for the same `seed`, each combination of grades as often as any other (within one).

    Their seeds lie in `first_seed` … `first_seed` + 2³¹: training draws from 0 on, tests from 2³¹ on.
    """
    rng = np.random.default_rng([seed, 21, first_seed])
    kinds: tuple[Kind, ...] = tuple(KIND_SHARES)
    for index in range(count):
        if index % len(COMBINATIONS) == 0:
            order = rng.permutation(len(COMBINATIONS))
        kind = kinds[int(rng.choice(len(kinds), p=list(KIND_SHARES.values())))]
        yield GradedChoice(first_seed + int(rng.integers(2**31)), kind, COMBINATIONS[order[index % len(COMBINATIONS)]])


def scene_path(folder: Path, choice: GradedChoice) -> Path:
    """Where a scene is kept."""
    grades = "".join(map(str, choice.grades))
    return folder / f"v{RENDERER_VERSION}.{GRADED_VERSION}.p{LOOKS}-{choice.kind}-{grades}-{choice.seed}.npy"


def read_scene(path: Path) -> Image:
    """A kept scene, uint8 KEPT_SHAPE, mapped into memory: LOOKS photographs BGR, then a picture whose planes are FLAKES and SHINE.

    Raises:
        TrainingError: the file is damaged.
    """
    return read_array(path, KEPT_SHAPE, "a kept scene")


def _is_whole(path: Path) -> bool:
    try:
        read_scene(path)
    except TrainingError:
        return False
    return True


def _render(task: tuple[Path, GradedChoice]) -> None:
    folder, choice = task
    target = scene_path(folder, choice)
    cv2.setNumThreads(1)
    scene = render_graded(choice.seed, choice.grades, width=KEPT_WIDTH, height=KEPT_HEIGHT, kind=choice.kind)
    kept = np.zeros(KEPT_SHAPE, np.uint8)
    rng = np.random.default_rng([choice.seed, 22])
    for look in range(LOOKS):
        recipe = scene.recipe if look == 0 else _seen_otherwise(scene.recipe, rng)
        jpeg = photograph(scene.picture, recipe, rng)
        kept[look] = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    kept[LOOKS, ..., FLAKES] = scene.flakes * np.uint8(255)
    kept[LOOKS, ..., SHINE] = np.rint(scene.shine * 255)
    write_array(target, kept)


def _seen_otherwise(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    """`recipe` with the lens, the sensor and the set white balance of another seed."""
    seed = int(rng.integers(2**31))
    kind: Kind = KINDS[int(rng.integers(len(KINDS)))]
    other = graded_recipe(seed, recipe.grades, kind)
    return replace(recipe, **{name: getattr(other, name) for name in SEEING})


def render_graded_scenes(
    folder: Path, count: int, seed: int, *, workers: int = 2, advance: Callable[[int], None] = lambda done: None
) -> list[tuple[Path, Grades]]:
    """Render what is missing of `count` scenes into `folder`; paths and grades in the order of `choose_graded`.

    Raises:
        TrainingError: the folder cannot be written to, the disk would be nearly full, or a worker was ended.
    """
    make_folder(folder)
    choices = list(choose_graded(count, seed))
    missing = [choice for choice in choices if not _is_whole(scene_path(folder, choice))]
    check_room(folder, len(missing) * KEPT_BYTES)
    advance(count - len(missing))
    with closing(done_by_workers(_render, [(folder, choice) for choice in missing], workers)) as rendered:  # its workers end with it
        for _ in rendered:
            check_room(folder)
            advance(1)
    return [(scene_path(folder, choice), choice.grades) for choice in choices]


def graded_frames(count: int, seed: int) -> Iterator[tuple[Image, Grades]]:
    """`count` whole frames (480, 640, 3) through lens and sensor with their grades, from seeds that no training draws."""
    for choice in choose_graded(count, seed, first_seed=2**31):
        yield graded_frame(choice.seed, choice.grades, kind=choice.kind), choice.grades
