"""Rendered scenes kept on disk while networks are trained on them: one array file a scene, rendered by worker processes.

The cache is bounded by the number of scenes asked for and by the disk: rendering stops with an error before the disk is nearly full.
A scene's file appears whole or not at all; an interrupted rendering goes on where it stopped.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from tokenize import TokenError
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.recipe import RENDERER_VERSION
from export.errors import TrainingError
from export.scenes import HEIGHT, PLANES, WIDTH, Planes, SceneChoice, choose_scenes, planes_of

RESERVE_BYTES = 1_000_000_000
"""What training leaves free on the disk: another program's writes must not fail because of it."""
SCENE_BYTES = WIDTH * HEIGHT * PLANES + 4096
DEADLINE_S = 600.0
"""Until the next scene is there; one takes a second or two. A worker that was killed takes its scene with it, and nobody is told."""


def make_folder(folder: Path) -> None:
    """Raises TrainingError where `folder` is not there and cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise TrainingError(f"{folder}: {problem.strerror or problem}: name another folder with --out") from problem


def check_room(folder: Path, wanted_bytes: int = 0) -> None:
    """Raises TrainingError where `wanted_bytes` more would leave less than RESERVE_BYTES free on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free - wanted_bytes < RESERVE_BYTES:
        raise TrainingError(
            f"{folder}: {free / 1e9:.1f} GB free, {wanted_bytes / 1e9:.1f} GB wanted and {RESERVE_BYTES / 1e9:.0f} GB to be left: "
            "free some space, or name a folder on another disk with --out"
        )


def read_array(path: Path, shape: tuple[int, ...], what: str) -> NDArray[np.uint8]:
    """A kept array, uint8 of `shape`, mapped into memory; `what` says in errors what it should be.

    Raises:
        TrainingError: the file is missing, damaged, or holds another array.
    """
    try:
        found: NDArray[np.uint8] = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, SyntaxError, TokenError) as problem:  # a damaged header is read as Python
        raise TrainingError(f"{path}: {problem}: delete the file, it is rendered again") from problem
    if found.dtype != np.uint8 or found.shape != shape:
        raise TrainingError(f"{path}: not {what}: delete the file, it is rendered again")
    return found


def write_array(path: Path, array: NDArray[np.uint8]) -> None:
    """Keep an array: the file appears whole or not at all.

    Raises:
        TrainingError: it cannot be written.
    """
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        try:
            with part.open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as problem:
        raise TrainingError(
            f"{path}: {problem.strerror or problem}: check the folder's rights and the free space, then start again"
        ) from problem


def scene_path(folder: Path, choice: SceneChoice) -> Path:
    """Where the planes of a scene are kept."""
    return folder / f"v{RENDERER_VERSION}-{choice.kind}-{choice.group}-{choice.seed}.npy"


def read_scene(path: Path) -> Planes:
    """The planes of a kept scene, uint8 (HEIGHT, WIDTH, PLANES), mapped into memory.

    Raises:
        TrainingError: the file is damaged.
    """
    return read_array(path, (HEIGHT, WIDTH, PLANES), "the planes of a scene")


def _is_whole(path: Path) -> bool:
    try:
        read_scene(path)
    except TrainingError:
        return False
    return True


def _render(task: tuple[Path, SceneChoice]) -> None:
    folder, choice = task
    target = scene_path(folder, choice)
    cv2.setNumThreads(1)
    write_array(target, planes_of(choice))


def begin_worker() -> None:
    """Lowest priority; Ctrl-C, which every process of the terminal gets, is for the one that ends the workers."""
    os.nice(19)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def done_by_workers(job: Callable[[Any], None], tasks: Sequence[tuple[Path, Any]], workers: int) -> Generator[None, None, None]:
    """Does `job`, a function that other processes can import, for each of the `tasks` (a folder and what to keep in it); comes back
    after each.

    Raises:
        TrainingError: a worker was ended, or hangs.
    """
    if workers < 2 or len(tasks) < 2:
        for task in tasks:
            job(task)
            yield
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(tasks)), initializer=begin_worker) as pool:
        found = pool.imap_unordered(job, tasks)
        for _ in tasks:
            try:
                found.next(timeout=DEADLINE_S)
            except multiprocessing.TimeoutError as problem:
                raise TrainingError(
                    f"{tasks[0][0]}: no scene for {DEADLINE_S:.0f} s, a process that renders was ended or hangs: "
                    "free some memory and start again, what is rendered is kept"
                ) from problem
            yield


def render_scenes(
    folder: Path, count: int, seed: int, *, workers: int = 2, advance: Callable[[int], None] = lambda done: None
) -> list[Path]:
    """Render what is missing of `count` scenes into `folder`; their paths in the order of `choose_scenes`.

    `advance` is told how many more are there. Workers are processes at the lowest priority. A scene whose file is damaged is missing.

    Raises:
        TrainingError: the folder cannot be written to, the disk would be nearly full, or a worker was ended.
    """
    make_folder(folder)
    choices = list(choose_scenes(count, seed))
    missing = [choice for choice in choices if not _is_whole(scene_path(folder, choice))]
    check_room(folder, len(missing) * SCENE_BYTES)
    advance(count - len(missing))
    with closing(done_by_workers(_render, [(folder, choice) for choice in missing], workers)) as rendered:  # its workers end with it
        for _ in rendered:
            check_room(folder)
            advance(1)
    return [scene_path(folder, choice) for choice in choices]
