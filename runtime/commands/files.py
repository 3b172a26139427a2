"""Files that commands write: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.errors import TrichoscopeError


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path`: a temporary file beside it, fsynced and renamed, then the folder fsynced.

    Raises:
        TrichoscopeError: the folder cannot be written to, or the disk is full; nothing is left behind.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise TrichoscopeError(f"{path}: cannot be written ({error.strerror}): check the folder's rights and the free space") from error


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """A picture, uint8 (height, width) or (height, width, 3) BGR, as PNG. Raises TrichoscopeError as `write_atomically`."""
    encoded, data = cv2.imencode(".png", image)
    if not encoded:
        raise TrichoscopeError(f"{path}: a picture of shape {image.shape} cannot be written as PNG")
    write_atomically(path, data.tobytes())


def output_folder(path: Path) -> Path:
    """The folder, made where it is missing. Raises TrichoscopeError where it cannot be a folder that we write to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrichoscopeError(f"{path}: cannot be made a folder ({error.strerror}): name another") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise TrichoscopeError(f"{path}: not writable: change its rights or name another folder")
    return path
