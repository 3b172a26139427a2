"""Rendered scenes kept on disk while networks are trained on them: one array file a scene, rendered by worker processes.

The cache is bounded by the number of scenes asked for and by the disk: rendering stops with an error before the disk is nearly full.
A scene's file appears whole or not at all; an interrupted rendering goes on where it stopped.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from device.simulated.recipe import RENDERER_VERSION
from export.errors import TrainingError
from export.scenes import HEIGHT, PLANES, WIDTH, Planes, SceneChoice, choose_scenes, planes_of

RESERVE_BYTES = 1_000_000_000
"""What training leaves free on the disk: another program's writes must not fail because of it."""
SCENE_BYTES = WIDTH * HEIGHT * PLANES + 4096


def check_room(folder: Path, wanted_bytes: int = 0) -> None:
    """Raises TrainingError where `wanted_bytes` more would leave less than RESERVE_BYTES free on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free - wanted_bytes < RESERVE_BYTES:
        raise TrainingError(
            f"{folder}: {free / 1e9:.1f} GB free, {wanted_bytes / 1e9:.1f} GB wanted and {RESERVE_BYTES / 1e9:.0f} GB to be left: "
            "free some space, or name a folder on another disk with --out"
        )


def scene_path(folder: Path, choice: SceneChoice) -> Path:
    """Where the planes of a scene are kept."""
    return folder / f"v{RENDERER_VERSION}-{choice.kind}-{choice.group}-{choice.seed}.npy"


def read_scene(path: Path) -> Planes:
    """The planes of a kept scene, uint8 (HEIGHT, WIDTH, PLANES), mapped into memory.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        planes: Planes = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as problem:
        raise TrainingError(f"{path}: {problem}: delete the file, it is rendered again") from problem
    if planes.dtype != np.uint8 or planes.shape != (HEIGHT, WIDTH, PLANES):
        raise TrainingError(f"{path}: not the planes of a scene: delete the file, it is rendered again")
    return planes


def _render(task: tuple[Path, SceneChoice]) -> None:
    folder, choice = task
    target = scene_path(folder, choice)
    cv2.setNumThreads(1)
    part = target.with_suffix(f".{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.save(file, planes_of(choice))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def render_scenes(
    folder: Path, count: int, seed: int, *, workers: int = 2, advance: Callable[[int], None] = lambda done: None
) -> list[Path]:
    """Render what is missing of `count` scenes into `folder`; their paths in the order of `choose_scenes`.

    `advance` is told how many more are there. Workers are processes at the lowest priority.

    Raises:
        TrainingError: the disk would be nearly full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    choices = list(choose_scenes(count, seed))
    missing = [choice for choice in choices if not scene_path(folder, choice).exists()]
    check_room(folder, len(missing) * SCENE_BYTES)
    advance(count - len(missing))
    tasks = [(folder, choice) for choice in missing]
    if workers < 2 or len(tasks) < 2:
        for task in tasks:
            check_room(folder)
            _render(task)
            advance(1)
    else:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            for _ in pool.imap_unordered(_render, tasks, chunksize=4):
                check_room(folder)
                advance(1)
    return [scene_path(folder, choice) for choice in choices]
