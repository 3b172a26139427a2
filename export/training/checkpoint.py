"""The state of a training on disk: written whole or not at all, read without running anything that is in it."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from export.errors import TrainingError
from export.training.cache import check_room

NAME = "checkpoint.pt"
MAX_BYTES = 1 << 30
"""More than the weights, averages and moments of the largest network that is trained here, U²-Net, 0.7 GB; what is larger is not read."""


def write_atomically(path: Path, content: bytes) -> None:
    """`content` as the file `path`, which holds either the old or the new content whatever happens.

    Raises:
        TrainingError: it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
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
    except OSError as problem:
        raise TrainingError(
            f"{path}: {problem.strerror or problem}: check the folder's rights and the free space, then --resume"
        ) from problem


def save(folder: Path, state: dict[str, Any]) -> None:
    """Keep `state` (tensors and plain values) as the folder's checkpoint.

    Raises:
        TrainingError: the disk is nearly full, or cannot be written to; the previous checkpoint is untouched.
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
        content = _read(path)
        _check_sums(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a foreign pickle it warns, and then refuses it
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as problem:  # what is damaged makes zip reader and unpickler raise nearly anything
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{path}: damaged, or not a checkpoint of this program ({first}): start anew in another folder") from problem
    if not isinstance(state, dict) or not {"recipe", "seed", "step", "network", "average", "optimiser", "history"} <= state.keys():
        raise TrainingError(f"{path}: not a checkpoint of this program: start anew in another folder")
    return state


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
    return content


def _check_sums(content: bytes) -> None:
    """Raises where a part of the archive is not what was written: PyTorch does not look, and would go on with other weights."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(part.file_size for part in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"its parts are larger than {MAX_BYTES >> 20} MiB")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} is wrong")
