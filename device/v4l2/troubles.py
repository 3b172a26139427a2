"""What the kernel's error numbers mean on the way to the first picture: each becomes a named trouble that says what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from device.errors import (
    CameraBandwidthError,
    CameraBusyError,
    CameraDeniedError,
    CameraLostError,
    CameraNotFoundError,
    CameraRefusedError,
    DeviceError,
)
from device.v4l2.kernel import Kernel

GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.ESHUTDOWN})
DENIED = frozenset({errno.EACCES, errno.EPERM})


def reason(error: OSError) -> str:
    """The kernel's words for it, with the name of the number for those who search for it."""
    if error.errno is None:
        return str(error)
    return f"{os.strerror(error.errno)}, {errno.errorcode.get(error.errno, error.errno)}"


def trouble(kernel: Kernel, node: str, what: str, error: OSError) -> DeviceError:
    """The exception for an error while `what` was done ("asking for …") to the camera at `node`, before it streams."""
    number = error.errno
    if number in GONE:
        return CameraNotFoundError(f"{node} went away while {what}: plug the microscope in")
    if number in DENIED:
        return CameraDeniedError(f"{node} may not be opened by this user: add the user to the group video, and log in again")
    if number == errno.EBUSY:
        holders = ", ".join(kernel.holders(node))
        return CameraBusyError(f"{node} is held by {holders or 'another program'}: close that program")
    if number == errno.ENOSPC:
        return CameraBandwidthError(
            f"{node}: the USB bus has no room for its pictures: plug the microscope into a port of its own, not a hub shared with other "
            "cameras, or ask for a smaller picture (width, height, fps, format=mjpg)"
        )
    return CameraRefusedError(f"{node} refused {what} ({reason(error)}): unplug the microscope, wait a moment and plug it in again")


@contextmanager
def told(kernel: Kernel, node: str, what: str) -> Iterator[None]:
    """An OSError within becomes the trouble that it means."""
    try:
        yield
    except OSError as error:
        raise trouble(kernel, node, what, error) from error


def lost(node: str, error: OSError) -> CameraLostError:
    """The exception for an error while the camera streams: unplugged, or its USB connection broke down."""
    how = "was unplugged" if error.errno in GONE else "broke off"
    return CameraLostError(f"{node} {how} ({reason(error)})")
