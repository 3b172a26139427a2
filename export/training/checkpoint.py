"""The state of a training on disk: written whole or not at all, read without running anything that is in it."""

from __future__ import annotations

import io
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from export.errors import TrainingError
from export.training.cache import check_room

NAME = "checkpoint.pt"


def write_atomically(path: Path, content: bytes) -> None:
    """`content` as the file `path`, which holds either the old or the new content whatever happens."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def save(folder: Path, state: dict[str, Any]) -> None:
    """Keep `state` (tensors and plain values) as the folder's checkpoint.

    Raises:
        TrainingError: the disk is nearly full; the previous checkpoint is untouched.
    """
    check_room(folder)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(folder / NAME, buffer.getvalue())


def load(folder: Path) -> dict[str, Any]:
    """The checkpoint of `folder`.

    Raises:
        TrainingError: there is none, or it is damaged or holds more than tensors and plain values.
    """
    path = folder / NAME
    if not path.exists():
        raise TrainingError(f"{path}: no checkpoint here: name the folder of a training, or start one without --resume")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a foreign pickle it warns, and then refuses it
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as problem:
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{path}: damaged, or not a checkpoint of this program ({first}): start anew in another folder") from problem
    if not isinstance(state, dict) or not {"recipe", "seed", "step", "network", "average", "optimiser", "history"} <= state.keys():
        raise TrainingError(f"{path}: not a checkpoint of this program: start anew in another folder")
    return state
