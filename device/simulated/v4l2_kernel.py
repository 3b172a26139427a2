"""A kernel that answers the V4L2 driver's questions as Linux would, with simulated cameras behind it that can be plugged and unplugged.

It stands in for `device.v4l2.kernel.LinuxKernel`, so that all of the driver's own code runs without a device. Descriptors are real (of
type eventfd) and so are mappings, so that what leaks here would leak there. Its clock is the real one, or one that a test steps: then
waiting takes no time.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from device.present import CAMERA_LINKS
from device.simulated.v4l2_answers import ANSWERS, fail
from device.simulated.v4l2_device import SimulatedDevice
from device.v4l2 import structs
from device.v4l2.nodes import SYSFS

USB = "/sys/devices/usb1"


class Clock(Protocol):
    """Where time comes from."""

    def now_ns(self) -> int:
        """Monotonic, in ns."""

    def sleep(self, fds: tuple[int, int], seconds: float) -> set[int]:
        """Wait until one of the descriptors can be read, at most so long; which can."""


class RealClock:
    """CLOCK_MONOTONIC."""

    def now_ns(self) -> int:
        """See Clock."""
        return time.monotonic_ns()

    def sleep(self, fds: tuple[int, int], seconds: float) -> set[int]:
        """See Clock."""
        return set(select.select(fds, [], [], max(0.0, seconds))[0])


class SteppedClock:
    """A clock that moves only when someone waits, and then at once."""

    def __init__(self) -> None:
        self._now_ns = 10**12

    def now_ns(self) -> int:
        """See Clock."""
        return self._now_ns

    def sleep(self, fds: tuple[int, int], seconds: float) -> set[int]:
        """See Clock."""
        ready = set(select.select(fds, [], [], 0)[0])
        if not ready:
            self._now_ns += int(max(0.0, seconds) * 1e9) + 1
        return ready


@dataclass
class Handle:
    """One open descriptor of a node, and the queue of buffers that belongs to it."""

    fd: int
    node: str
    device: SimulatedDevice
    metadata: bool
    gone: bool = False
    picture: tuple[str, int, int] = ("MJPG", 640, 480)
    fps: float = 30.0
    maps: list[mmap.mmap] = field(default_factory=list)
    length: int = 0
    reserved: int = 0  # how many buffers
    queued: deque[int] = field(default_factory=deque)
    done: deque[structs.Buffer] = field(default_factory=deque)
    streaming: bool = False
    next_ns: int = 0
    sequence: int = 0

    def advance(self, now_ns: int) -> None:
        """Let all pictures arrive that are due; those for which no buffer is queued are lost."""
        while self.streaming and not self.device.faults.frozen and self.next_ns <= now_ns:
            self._arrive(self.next_ns)
            self.next_ns += int(1e9 / self.fps)
        if self.device.faults.frozen:
            self.next_ns = max(self.next_ns, now_ns)

    def _arrive(self, at_ns: int) -> None:
        faults = self.device.faults
        number = self.sequence
        self.sequence += 1
        skipped = faults.skip_every and number % faults.skip_every == faults.skip_every - 1
        if skipped or not self.queued:
            return
        data, flawed = self.device.picture(number, *self.picture)
        index = self.queued.popleft()
        if index < len(self.maps):
            data = data[: self.length]
            self.maps[index][: len(data)] = data
        buffer = structs.Buffer(index=index, bytesused=len(data), sequence=0 if faults.stuck_sequence else number % 2**32)
        buffer.flags = (structs.BUF_FLAG_ERROR if flawed else 0) | (0 if faults.no_timestamp else structs.BUF_FLAG_TIMESTAMP_MONOTONIC)
        stamp_us = 7 if faults.wrong_clock else at_ns // 1000
        buffer.timestamp.seconds, buffer.timestamp.microseconds = divmod(stamp_us, 10**6)
        self.done.append(buffer)


class SimulatedKernel:
    """See the module. Everything may be called from any thread."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or RealClock()
        self.other_files: set[str] = {"/dev/null"}  # paths where something is, but no camera
        self.calls = 0  # how many ioctls were answered
        self._lock = threading.RLock()
        self._plugged = 0  # how often something was plugged in
        self._handles: dict[int, Handle] = {}
        self._nodes: dict[str, tuple[SimulatedDevice, bool]] = {}  # node → (device, whether it carries only metadata)
        self._owners: dict[int, Handle] = {}  # id of a device → the handle that has its buffers
        self._maps: list[mmap.mmap] = []

    def plug(self, device: SimulatedDevice, number: int | None = None) -> str:
        """Plug a camera in, as /dev/video`number` (the lowest free one by default); the path of its picture node."""
        with self._lock:
            self._plugged += 1
            used = {int(node.removeprefix("/dev/video")) for node in self._nodes}
            first = next(n for n in range(number or 0, 256) if n not in used)
            self._nodes[f"/dev/video{first}"] = (device, False)
            if device.metadata:
                second = next(n for n in range(first + 1, 256) if n not in used)
                self._nodes[f"/dev/video{second}"] = (device, True)
            return f"/dev/video{first}"

    def unplug(self, device: SimulatedDevice) -> None:
        """Pull it out: its nodes vanish, what holds them open gets errors."""
        with self._lock:
            self._nodes = {node: known for node, known in self._nodes.items() if known[0] is not device}
            for handle in self._handles.values():
                if handle.device is device:
                    handle.gone = True
                    os.eventfd_write(handle.fd, 1)
            self._owners.pop(id(device), None)

    @property
    def open_descriptors(self) -> int:
        """Descriptors that were opened and not closed."""
        with self._lock:
            return len(self._handles)

    @property
    def open_mappings(self) -> int:
        """Buffers that were mapped and not unmapped."""
        with self._lock:
            return sum(not each.closed for each in self._maps)

    def present(self) -> object:
        """What differs when a camera comes or goes, for `CaptureLoop`."""
        with self._lock:
            return frozenset(self._nodes), self._plugged

    def open(self, path: str) -> int:
        """See device.v4l2.kernel.Kernel, as for all that follow."""
        with self._lock:
            node = self.resolve(path)
            if node not in self._nodes:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            device, metadata = self._nodes[node]
            fail(device.faults.open_errno)
            fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._handles[fd] = Handle(fd, node, device, metadata)
            return fd

    def close(self, fd: int) -> None:
        with self._lock:
            handle = self._handle(fd)
            del self._handles[fd]
            self.disown(handle)
        os.close(fd)

    def ioctl(self, fd: int, request: int, argument: Any) -> None:
        with self._lock:
            self.calls += 1
            handle = self._handle(fd)
            if handle.gone:
                fail(handle.device.faults.unplugged_errno if request == structs.DQBUF else errno.ENODEV)
            answer = ANSWERS.get(request)
            if answer is None or (handle.metadata and request != structs.QUERYCAP):
                fail(errno.ENOTTY)
            else:
                answer(self, handle, argument)

    def map(self, fd: int, length: int, offset: int) -> mmap.mmap:
        with self._lock:
            handle = self._handle(fd)
            if handle.gone:
                fail(errno.ENODEV)
            if length != handle.length or offset != len(handle.maps) * handle.length:
                fail(errno.EINVAL)
            mapped = mmap.mmap(-1, length)
            handle.maps.append(mapped)
            self._maps = [each for each in self._maps if not each.closed] + [mapped]
            return mapped

    def wait(self, fd: int, wake_fd: int, timeout_s: float) -> tuple[bool, bool]:
        deadline_ns = self.clock.now_ns() + int(timeout_s * 1e9)
        ready: set[int] = set()
        while True:
            with self._lock:
                handle, now_ns = self._handle(fd), self.clock.now_ns()
                handle.advance(now_ns)
                if handle.gone or handle.done or handle.device.faults.dequeue_errno or wake_fd in ready or now_ns >= deadline_ns:
                    return bool(handle.gone or handle.done or handle.device.faults.dequeue_errno), wake_fd in ready
                sending = handle.streaming and not handle.device.faults.frozen
                until_ns = min(deadline_ns, handle.next_ns) if sending else deadline_ns
            ready = self.clock.sleep((fd, wake_fd), (until_ns - now_ns) / 1e9)

    def now_ns(self) -> int:
        return self.clock.now_ns()

    def names(self, folder: str) -> list[str]:
        with self._lock:
            if folder == "/dev":
                return sorted([*(node.removeprefix("/dev/") for node in self._nodes), "null", "v4l"])
            if folder == SYSFS:
                return sorted(node.removeprefix("/dev/") for node in self._nodes)
            return sorted(self._links()) if folder == CAMERA_LINKS else []

    def resolve(self, path: str) -> str:
        with self._lock:
            if path.startswith(f"{CAMERA_LINKS}/"):
                return self._links().get(path.removeprefix(f"{CAMERA_LINKS}/"), path)
            name, _, rest = path.removeprefix(f"{SYSFS}/").partition("/")
            known = self._nodes.get(f"/dev/{name}")
            return f"{USB}/{known[0].port}/{known[0].port}:1.0" if known and rest == "device" else path

    def attribute(self, path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        with self._lock:
            if folder.startswith(f"{SYSFS}/") and (known := self._nodes.get(f"/dev/{folder.rpartition('/')[2]}")):
                return {"name": known[0].name, "index": str(int(known[1]))}.get(name)
            device = next((d for d, _ in self._nodes.values() if folder == f"{USB}/{d.port}"), None)
            if device is None:
                return None
            facts = {"idVendor": device.vendor, "idProduct": device.product, "serial": device.serial, "speed": device.speed}
            facts["product"] = device.name
            return facts.get(name) or None

    def is_video_node(self, path: str) -> bool | None:
        with self._lock:
            if self.resolve(path) in self._nodes:
                return True
        return False if path in self.other_files else None

    def holders(self, path: str) -> list[str]:
        with self._lock:
            known = self._nodes.get(self.resolve(path))
            return list(known[0].held_by) if known else []

    def own(self, handle: Handle) -> None:
        """The handle takes the device for itself. Raises OSError EBUSY where another has it."""
        if self._owners.setdefault(id(handle.device), handle) is not handle:
            fail(errno.EBUSY)

    def disown(self, handle: Handle) -> None:
        """The handle lets go of its device, if it had it."""
        if self._owners.get(id(handle.device)) is handle:
            del self._owners[id(handle.device)]

    def _handle(self, fd: int) -> Handle:
        if fd not in self._handles:
            fail(errno.EBADF)
        return self._handles[fd]

    def _links(self) -> dict[str, str]:
        return {f"{device.link}-video-index{int(metadata)}": node for node, (device, metadata) in self._nodes.items() if device.link}
