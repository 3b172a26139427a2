"""The thin seam between driver and kernel: all that the V4L2 driver asks of Linux goes through one `Kernel`, which a test can replace."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import select
import stat
import time
from pathlib import Path
from typing import Any, Protocol

from device.v4l2.structs import VIDEO_MAJOR

MAX_ATTRIBUTE_BYTES = 4096  # a page: sysfs gives no more
MAX_HOLDERS = 3


class Kernel(Protocol):
    """What the driver asks of the system. Every method may raise OSError unless it says otherwise."""

    def open(self, path: str) -> int:
        """A descriptor for reading and writing, non-blocking, closed on exec."""

    def close(self, fd: int) -> None:
        """Close a descriptor that `open` gave."""

    def ioctl(self, fd: int, request: int, argument: Any) -> None:
        """The request; `argument` (a ctypes object) is read and written."""

    def map(self, fd: int, length: int, offset: int) -> mmap.mmap:
        """Shared memory of a buffer, `length` bytes; to be closed by the caller."""

    def wait(self, fd: int, wake_fd: int, timeout_s: float) -> tuple[bool, bool]:
        """Wait until `fd` has something to dequeue or to report, or `wake_fd` can be read; which of them."""

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC in ns. Never raises."""

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted; [] where there is none. Never raises."""

    def resolve(self, path: str) -> str:
        """The path without symbolic links. Never raises."""

    def attribute(self, path: str) -> str | None:
        """The text of a small file of /sys, stripped; None where it cannot be read. Never raises."""

    def is_video_node(self, path: str) -> bool | None:
        """Whether the path is a character device of V4L2; None where nothing is there. Asked before a path is opened. Never raises."""

    def holders(self, path: str) -> list[str]:
        """Processes that hold the node open, as "name (pid)", as far as this user may see. Never raises."""


class LinuxKernel:
    """The real one."""

    def open(self, path: str) -> int:
        """See Kernel."""
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        """See Kernel."""
        os.close(fd)

    def ioctl(self, fd: int, request: int, argument: Any) -> None:
        """See Kernel. A signal that comes in between makes it ask again (Python does not do that for ioctl)."""
        while True:
            try:
                fcntl.ioctl(fd, request, argument)
                return
            except OSError as error:
                if error.errno != errno.EINTR:
                    raise

    def map(self, fd: int, length: int, offset: int) -> mmap.mmap:
        """See Kernel."""
        return mmap.mmap(fd, length, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)

    def wait(self, fd: int, wake_fd: int, timeout_s: float) -> tuple[bool, bool]:
        """See Kernel. `poll` rather than `select`: it does not stop at descriptor 1023, and says HUP and ERR of a device that is gone."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(wake_fd, select.POLLIN)
        ready = {each for each, _ in poll.poll(max(0.0, timeout_s) * 1e3)}
        return fd in ready, wake_fd in ready

    def now_ns(self) -> int:
        """See Kernel."""
        return time.monotonic_ns()

    def names(self, folder: str) -> list[str]:
        """See Kernel."""
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208 - called each half second; no Path objects
        except OSError:
            return []

    def resolve(self, path: str) -> str:
        """See Kernel."""
        try:
            return os.path.realpath(path)
        except (OSError, ValueError):  # a link that this user may not read, a NUL byte
            return path

    def attribute(self, path: str) -> str | None:
        """See Kernel."""
        try:
            with Path(path).open("rb") as file:
                return file.read(MAX_ATTRIBUTE_BYTES).decode("utf-8", "replace").strip()
        except OSError:
            return None

    def is_video_node(self, path: str) -> bool | None:
        """See Kernel."""
        try:
            found = os.stat(path)  # noqa: PTH116
        except (OSError, ValueError):
            return None
        return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) == VIDEO_MAJOR

    def holders(self, path: str) -> list[str]:
        """See Kernel."""
        node = self.resolve(path)
        own = str(os.getpid())
        found = []
        for process in (name for name in self.names("/proc") if name.isdecimal() and name != own):
            if any(_leads_to(f"/proc/{process}/fd/{fd}", node) for fd in self.names(f"/proc/{process}/fd")):
                found.append(f"{self.attribute(f'/proc/{process}/comm') or 'process'} ({process})")
                if len(found) == MAX_HOLDERS:
                    break
        return found


def _leads_to(link: str, node: str) -> bool:
    try:
        return os.readlink(link) == node  # noqa: PTH115 - called for every descriptor of every process
    except OSError:  # another user's, or gone by now
        return False
