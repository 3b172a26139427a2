"""Persons with their views as arrays, for training and evaluation: rendered ones, kept in one file, or those of a data set."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.head import HEADS_VERSION, draw_head, render_view
from device.simulated.head_pattern import HIGHEST, LOWEST
from device.simulated.head_shape import VIEWS
from export.errors import TrainingError
from export.training.cache import check_room, make_folder, write_array

DEADLINE_S = 600.0
CHUNK = 16  # persons that a worker renders in one go
Pictures = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Heads:
    """Persons for a network.

    Attributes:
        pictures: uint8 (persons, views, side, side, 3) BGR, views in the order of VIEWS; 0 where there is none.
        present: float32 (persons, views), 1 where there is a view.
        grades: int64 (persons,), 1…7.
        names: of the persons.
    """

    pictures: Pictures
    present: NDArray[np.float32]
    grades: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.grades)


def person_seeds(count: int, seed: int, purpose: int) -> list[tuple[int, float]]:
    """Seed and latent stage of `count` rendered persons; stages are spread evenly over all grades. `purpose` parts training from tests.

    Even seeds are for training, odd ones for validation and tests: no person is in two.
    """
    rng = np.random.default_rng([seed, 41, purpose])
    seeds = rng.integers(0, 2**29, count) * 2 + (0 if purpose == TRAINING else 1)
    stages = LOWEST + (np.arange(count) + rng.random(count)) / max(1, count) * (HIGHEST - LOWEST)
    rng.shuffle(stages)
    return [(int(s), float(stage)) for s, stage in zip(seeds, stages, strict=True)]


TRAINING, VALIDATION, TEST = 0, 1, 2


def rendered_heads(
    folder: Path | None,
    count: int,
    seed: int,
    purpose: int,
    side: int,
    *,
    workers: int = 1,
    advance: Callable[[int], None] = lambda done: None,
) -> Heads:
    """`count` rendered persons with all five views, the same for the same arguments; kept in `folder` where one is named.

    Raises:
        TrainingError: the folder cannot be written to, the disk would be nearly full, or a process that renders was ended.
    """
    people = person_seeds(count, seed, purpose)
    shape = (count, len(VIEWS), side, side, 3)
    path = None if folder is None else folder / f"heads-v{HEADS_VERSION}-{seed}-{purpose}-{count}-{side}.npy"
    pictures = None if path is None else _kept(path, shape)
    if pictures is None:
        if folder is not None:
            make_folder(folder)
            check_room(folder, int(np.prod(shape)))
        pictures = _render(people, side, workers, advance)
        if path is not None:
            write_array(path, pictures)
    else:
        advance(count)
    grades = np.array([draw_grade(stage) for _, stage in people], np.int64)
    return Heads(pictures, np.ones(shape[:2], np.float32), grades, tuple(f"rendered-{s}" for s, _ in people))


def draw_grade(stage: float) -> int:
    """The grade of a latent stage, as the renderer states it."""
    from device.simulated.head_pattern import grade_of

    return grade_of(stage)


def _render_chunk(task: tuple[list[tuple[int, float]], int]) -> Pictures:
    people, side = task
    cv2.setNumThreads(1)
    return np.stack([np.stack([render_view(draw_head(s, stage), view, side).image for view in VIEWS]) for s, stage in people])


def _begin_worker() -> None:
    os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that ends the workers


def _render(people: list[tuple[int, float]], side: int, workers: int, advance: Callable[[int], None]) -> Pictures:
    tasks = [(people[i : i + CHUNK], side) for i in range(0, len(people), CHUNK)]
    found: list[Pictures] = []
    if workers < 2 or len(tasks) < 2:
        for task in tasks:
            found.append(_render_chunk(task))
            advance(len(task[0]))
        return np.concatenate(found)
    with multiprocessing.get_context("spawn").Pool(min(workers, len(tasks)), initializer=_begin_worker) as pool:
        rendering = pool.imap(_render_chunk, tasks)
        for task in tasks:
            try:
                found.append(rendering.next(timeout=DEADLINE_S))
            except multiprocessing.TimeoutError as problem:
                raise TrainingError(
                    f"no head for {DEADLINE_S:.0f} s, a process that renders was ended or hangs: free some memory and start again"
                ) from problem
            advance(len(task[0]))
    return np.concatenate(found)


def _kept(path: Path, shape: tuple[int, ...]) -> Pictures | None:
    """The kept pictures, mapped into memory; None where there are none, or others."""
    try:
        pictures: Pictures = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, SyntaxError, TokenError):  # a damaged header is read as Python
        return None
    return pictures if pictures.dtype == np.uint8 and pictures.shape == shape else None
