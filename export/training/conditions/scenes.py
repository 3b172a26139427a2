"""Rendered scalps of known grades, kept on disk while networks learn from them: every combination of grades equally often.

A kept scene is a picture before lens and sensor, and where flakes lie and lamps are mirrored in it, reduced to KEPT_WIDTH × KEPT_HEIGHT:
lens, sensor and light are drawn anew each time that it is looked at. Its file appears whole or not at all; an interrupted rendering goes
on where it stopped.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.graded import GRADED_VERSION, Grades, graded_frame, render_graded
from device.simulated.recipe import RENDERER_VERSION, Kind
from export.errors import TrainingError
from export.training.cache import check_room, done_by_workers, make_folder, read_array, write_array

KEPT_WIDTH, KEPT_HEIGHT = 400, 300
PLANES = 5  # blue, green, red, flakes, shine
KEPT_BYTES = KEPT_WIDTH * KEPT_HEIGHT * PLANES + 4096
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
    return folder / f"v{RENDERER_VERSION}.{GRADED_VERSION}.{PLANES}-{choice.kind}-{grades}-{choice.seed}.npy"


def read_scene(path: Path) -> Image:
    """A kept scene, uint8 (KEPT_HEIGHT, KEPT_WIDTH, PLANES), mapped into memory.

    Raises:
        TrainingError: the file is damaged.
    """
    return read_array(path, (KEPT_HEIGHT, KEPT_WIDTH, PLANES), "a kept scene")


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
    scene = render_graded(choice.seed, choice.grades, kind=choice.kind)
    # the camera's own white balance is part of what makes skin look red: it stays
    lit = np.clip(scene.picture * np.array(scene.recipe.tint_bgr, np.float32), 0, 1)
    planes = (lit, scene.flakes.astype(np.float32), scene.shine)
    reduced = [cv2.resize(plane, (KEPT_WIDTH, KEPT_HEIGHT), interpolation=cv2.INTER_AREA) for plane in planes]
    small = np.rint(np.dstack(reduced) * 255).astype(np.uint8)
    write_array(target, small)


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
