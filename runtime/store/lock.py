"""One daemon per state folder: an advisory lock that the kernel drops with the process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType

from typing_extensions import Self  # typing.Self needs 3.11

from runtime.errors import StoreError
from runtime.store.files import FILE_MODE


class FolderLock:
    """Holds `file` locked while the context is entered. The file stays; it is the lock on it that counts."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Raises StoreError naming the holder where another process has the folder; OSError where the file cannot be made."""
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).strip().decode("ascii", "replace")
            os.close(descriptor)
            raise StoreError(
                f"{self.file.parent}: in use by process {holder or 'unknown'}: "
                "stop that one, or give this one a state folder of its own (store.folder)"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        with contextlib.suppress(OSError):  # the number is for people; a full disk must not keep the store from opening
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
