"""Files that survive a pulled plug: written beside their place, fsynced, renamed into it, the folder fsynced after."""

from __future__ import annotations

import os
from pathlib import Path

PART_SUFFIX = ".part"  # a file still being written; whatever bears it after a start is worthless
FILE_MODE, FOLDER_MODE = 0o600, 0o700  # pictures of clients are nobody else's business


def write_file(file: Path, data: bytes) -> None:
    """Put `data` at `file` so that a power cut leaves the whole of it or nothing there.

    The name itself is durable only after `fsync_folder(file.parent)`, which a caller with several files does once.

    Raises:
        OSError: nothing is left behind.
    """
    part = file.with_name(file.name + PART_SUFFIX)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def fsync_folder(folder: Path) -> None:
    """Make names that were created, renamed or removed in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make `folder` and the folders above it, each durable and private; one that is there already keeps its mode."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    fsync_folder(folder.parent)


def move_into(folder: Path, files: list[Path]) -> None:
    """Rename `files` into `folder` (made where it is missing), durably in both places. Those that are gone are passed over."""
    make_folder(folder)
    for file in files:
        if file.exists():
            file.replace(folder / file.name)
    for place in {folder, *(file.parent for file in files)}:
        fsync_folder(place)


def free_bytes(folder: Path) -> int:
    """Bytes that a program without privileges may still write on the disk of `folder`."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
