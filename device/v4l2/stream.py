"""Streaming through mapped buffers: ask for them, queue them, wait with a deadline, copy the picture out, queue the buffer again.

Overflow policy: with every buffer full the kernel drops pictures, which shows as a gap in their sequence.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
from dataclasses import dataclass
from fractions import Fraction

from device.errors import CameraModeError
from device.v4l2 import structs
from device.v4l2.kernel import Kernel
from device.v4l2.modes import Offer
from device.v4l2.troubles import told

BUFFERS = 4  # 133 ms at 30 frames a second: longer than any pause of the capture thread that is no fault


@dataclass(frozen=True)
class Negotiated:
    """What driver and camera agreed to.

    Attributes:
        format: four-character code; `width`, `height` px; `bytes_per_line` of an uncompressed picture.
        fps: frames per second that the driver promises, as asked where it promises none.
    """

    format: str
    width: int
    height: int
    bytes_per_line: int
    fps: float


@dataclass(frozen=True)
class RawPicture:
    """One dequeued buffer.

    Attributes:
        data: a copy of the bytes; `sequence` the driver's, of 32 bits; `flawed`: flagged as damaged.
        taken_ns: on CLOCK_MONOTONIC, None where the driver uses another clock.
    """

    data: bytes
    sequence: int
    taken_ns: int | None
    flawed: bool


def negotiate(kernel: Kernel, fd: int, node: str, offer: Offer, fps: float) -> Negotiated:
    """Set format, size and rate.

    Raises:
        CameraBusyError, CameraRefusedError, CameraNotFoundError: see `troubles`.
        CameraModeError: the driver gives another picture than it offered.
    """
    setting = structs.Format(type=structs.VIDEO_CAPTURE)
    pix = setting.pix
    pix.width, pix.height, pix.pixelformat, pix.field = offer.width, offer.height, structs.fourcc(offer.format), structs.FIELD_ANY
    with told(kernel, node, f"its picture {offer}"):
        kernel.ioctl(fd, structs.S_FMT, setting)
    got = (structs.fourcc_name(pix.pixelformat), int(pix.width), int(pix.height))
    if got != (offer.format, offer.width, offer.height):
        raise CameraModeError(
            f"{node} offers {offer} and then gives {got[0]} {got[1]}×{got[2]}: set another width and height in its address"
        )
    agreed_fps = _set_rate(kernel, fd, node, offer, fps)
    return Negotiated(offer.format, offer.width, offer.height, int(pix.bytesperline), agreed_fps)


def _set_rate(kernel: Kernel, fd: int, node: str, offer: Offer, fps: float) -> float:
    """The rate agreed to; a driver that cannot set rates keeps its own."""
    interval = offer.rates.interval_for(fps)
    parameters = structs.StreamParameters(type=structs.VIDEO_CAPTURE)
    try:
        if interval is None:
            kernel.ioctl(fd, structs.G_PARM, parameters)
        else:
            shown = interval.limit_denominator(10**7)
            parameters.timeperframe = structs.Fraction(shown.numerator, shown.denominator)
            kernel.ioctl(fd, structs.S_PARM, parameters)
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EINVAL):
            with told(kernel, node, f"{fps:g} pictures a second"):
                raise
    agreed = parameters.timeperframe
    if agreed.numerator and agreed.denominator:
        return float(Fraction(agreed.denominator, agreed.numerator))
    return float(1 / interval) if interval else fps


class Stream:
    """The buffers of one open camera and the queue that they go through. Entering starts it; leaving stops it and gives all back."""

    def __init__(self, kernel: Kernel, fd: int, node: str) -> None:
        """Store the arguments; `fd` stays the caller's."""
        self._kernel = kernel
        self._fd = fd
        self._node = node
        self._maps: list[mmap.mmap] = []
        self._on = False
        self._buffer = structs.Buffer()

    def start(self) -> None:
        """Ask for buffers, map and queue them, and let the camera send. What was begun is undone when it fails.

        Raises:
            CameraBusyError, CameraBandwidthError, CameraRefusedError, CameraNotFoundError: see `troubles`.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        kernel, fd = self._kernel, self._fd
        asked = structs.RequestBuffers(count=BUFFERS, type=structs.VIDEO_CAPTURE, memory=structs.MEMORY_MMAP)
        with told(kernel, self._node, "its buffers"):
            kernel.ioctl(fd, structs.REQBUFS, asked)
            for index in range(asked.count):
                buffer = self._fresh(index)
                kernel.ioctl(fd, structs.QUERYBUF, buffer)
                self._maps.append(kernel.map(fd, buffer.length, buffer.m.offset))
                kernel.ioctl(fd, structs.QBUF, self._fresh(index))
        if not self._maps:
            raise CameraModeError(f"{self._node} has no memory for pictures: unplug the microscope and plug it in again")
        with told(kernel, self._node, "to start"):
            self._on = True
            kernel.ioctl(fd, structs.STREAMON, ctypes.c_int(structs.VIDEO_CAPTURE))

    def stop(self) -> None:
        """Stop the camera, unmap and free every buffer. Never raises: of a camera that is gone there is nothing to stop."""
        if self._on:
            self._on = False
            with contextlib.suppress(OSError):
                self._kernel.ioctl(self._fd, structs.STREAMOFF, ctypes.c_int(structs.VIDEO_CAPTURE))
        for each in self._maps:
            each.close()
        self._maps = []
        none = structs.RequestBuffers(count=0, type=structs.VIDEO_CAPTURE, memory=structs.MEMORY_MMAP)
        with contextlib.suppress(OSError):
            self._kernel.ioctl(self._fd, structs.REQBUFS, none)

    def take(self) -> RawPicture | None:
        """The oldest picture, copied, its buffer queued again; None where none is ready.

        Raises:
            OSError: the camera is gone, or its connection broke down; it must be closed and opened anew.
        """
        buffer = self._buffer
        ctypes.memset(ctypes.byref(buffer), 0, ctypes.sizeof(buffer))
        buffer.type, buffer.memory = structs.VIDEO_CAPTURE, structs.MEMORY_MMAP
        try:
            self._kernel.ioctl(self._fd, structs.DQBUF, buffer)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return None
            raise
        used = min(int(buffer.bytesused), len(self._maps[buffer.index]))
        flawed = bool(buffer.flags & structs.BUF_FLAG_ERROR)
        data = b"" if flawed else self._maps[buffer.index][:used]
        taken_ns: int | None = None
        if buffer.flags & structs.BUF_FLAG_TIMESTAMP_MASK == structs.BUF_FLAG_TIMESTAMP_MONOTONIC:
            taken_ns = int(buffer.timestamp.seconds) * 10**9 + int(buffer.timestamp.microseconds) * 1000
        picture = RawPicture(data, int(buffer.sequence), taken_ns, flawed)
        self._kernel.ioctl(self._fd, structs.QBUF, self._fresh(buffer.index))
        return picture

    def _fresh(self, index: int) -> structs.Buffer:
        return structs.Buffer(index=index, type=structs.VIDEO_CAPTURE, memory=structs.MEMORY_MMAP)
