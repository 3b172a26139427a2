"""A UVC microscope as the kernel sees it, for `v4l2_kernel`: what it offers, its controls, its pictures, and what can go wrong with it.

Everything may be changed while it is plugged in; faults are set as attributes, from any thread.
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from device.v4l2 import structs
from device.v4l2.controls import CAMERA, USER

PICTURES = 8  # different ones, over and over
JPEG_QUALITY = 80
HEADER_BYTES = 700  # a JPEG's tables; what is zeroed lies behind them

Painter = Callable[[int, str, int, int], bytes]  # (sequence, format, width, height) → the bytes of a picture


@dataclass
class SimulatedFormat:
    """A format: four-character code, sizes in px, rates in frames per second; `any_rate`: everything from the lowest to the highest."""

    code: str
    sizes: tuple[tuple[int, int], ...]
    fps: tuple[float, ...]
    any_rate: bool = False


@dataclass
class SimulatedControl:
    """A control. `governor`: the automatic's id and its value for "by hand"; with any other value the control is inactive.

    `errno`: what reading and setting it fails with, 0 for not at all.
    """

    name: str
    kind: int
    low: int
    high: int
    step: int
    default: int
    value: int
    choices: dict[int, str] = field(default_factory=dict)
    governor: tuple[int, int] | None = None
    flags: int = 0
    errno: int = 0


@dataclass
class Faults:
    """What goes wrong. An errno of 0 is no fault; `…_every` n hits each n-th picture, 0 none.

    Attributes:
        open_errno, format_errno, buffers_errno, start_errno, dequeue_errno: the answer to open, S_FMT, REQBUFS, STREAMON, DQBUF.

        refused_formats: those for which STREAMON fails with start_errno; () for all.
        unplugged_errno: what DQBUF says of a camera that is gone; kernels differ.
        frozen: no picture comes any more; `identical`: always the same; `stuck_sequence`: their numbers stand still.
        flag_every: the ERROR flag; half_every: cut in half; zero_every: zeros behind the header; blank_every: nothing but zeros;
            tear_every: another picture begins in the midst; skip_every: the number of one is left out.
        no_timestamp: a clock of the driver's own; `wrong_clock`: CLOCK_MONOTONIC, but nonsense.
        other_picture: S_FMT gives another size than was asked for.
    """

    open_errno: int = 0
    format_errno: int = 0
    buffers_errno: int = 0
    start_errno: int = 0
    dequeue_errno: int = 0
    unplugged_errno: int = errno.ENODEV
    frozen: bool = False
    identical: bool = False
    stuck_sequence: bool = False
    flag_every: int = 0
    half_every: int = 0
    zero_every: int = 0
    blank_every: int = 0
    tear_every: int = 0
    skip_every: int = 0
    no_timestamp: bool = False
    wrong_clock: bool = False
    other_picture: bool = False
    refused_formats: tuple[str, ...] = ()


def default_formats() -> list[SimulatedFormat]:
    """MJPG at any rate and, slowly, YUYV: what USB 2 leaves room for."""
    sizes = ((640, 480), (1280, 720), (320, 240), (64, 48))
    return [SimulatedFormat("MJPG", sizes, (0.1, 240.0), any_rate=True), SimulatedFormat("YUYV", sizes[:1], (15.0, 10.0, 5.0))]


def default_controls() -> dict[int, SimulatedControl]:
    """Those of a usual microscope, automatics on."""
    integer, switch, menu = structs.CTRL_INTEGER, structs.CTRL_BOOLEAN, structs.CTRL_MENU
    exposure = {1: "Manual Mode", 3: "Aperture Priority Mode"}
    lines = {0: "Disabled", 1: "50 Hz", 2: "60 Hz"}
    return {
        USER + 0: SimulatedControl("Brightness", integer, -64, 64, 1, 0, 0),
        USER + 12: SimulatedControl("White Balance, Automatic", switch, 0, 1, 1, 1, 1),
        USER + 19: SimulatedControl("Gain", integer, 0, 100, 1, 0, 10),
        USER + 24: SimulatedControl("Power Line Frequency", menu, 0, 2, 1, 1, 1, lines),
        USER + 26: SimulatedControl("White Balance Temperature", integer, 2800, 6500, 10, 4600, 5100, governor=(USER + 12, 0)),
        USER + 27: SimulatedControl("Sharpness", integer, 0, 6, 1, 3, 3),
        CAMERA + 1: SimulatedControl("Auto Exposure", menu, 0, 3, 1, 3, 3, exposure),
        CAMERA + 2: SimulatedControl("Exposure Time, Absolute", integer, 1, 5000, 1, 157, 312, governor=(CAMERA + 1, 1)),
        CAMERA + 10: SimulatedControl("Focus, Absolute", integer, 0, 1023, 1, 500, 433, governor=(CAMERA + 12, 0)),
        CAMERA + 12: SimulatedControl("Focus, Automatic Continuous", switch, 0, 1, 1, 1, 1),
    }


def paint(sequence: int, code: str, width: int, height: int) -> bytes:
    """The picture of a sequence: soft noise, so that a JPEG is as large as that of a scalp; PICTURES different ones."""
    return _painted(sequence % PICTURES, code, width, height)


@functools.lru_cache(maxsize=4 * PICTURES)
def _painted(number: int, code: str, width: int, height: int) -> bytes:
    rng = np.random.default_rng(number)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 1.6)
    image = cv2.addWeighted(noise, 0.6, np.full_like(noise, 120), 0.4, 0)
    if code == "YUYV":
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_YUY2)).tobytes()
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return bytes(data)


@dataclass
class SimulatedDevice:
    """A camera that can be plugged into the simulated kernel.

    Attributes:
        link: name of its link in /dev/v4l/by-id, without "-video-index0"; "" where udev makes none.
        port: where in the USB tree; two cameras need two.
        driver_caps: capabilities of its picture node; `metadata` adds a second node, as UVC does.
        held_by: processes that are told to hold it.
    """

    name: str = "Scalp scope (simulated)"
    driver: str = "uvcvideo"
    vendor: str = "1d6b"
    product: str = "0102"
    serial: str = "SIM0001"
    speed: str = "480"
    port: str = "1-1"
    link: str = "usb-Trichoscope_Scalp_scope_SIM0001"
    metadata: bool = True
    driver_caps: int = structs.CAP_VIDEO_CAPTURE | structs.CAP_STREAMING
    formats: list[SimulatedFormat] = field(default_factory=default_formats)
    controls: dict[int, SimulatedControl] = field(default_factory=default_controls)
    faults: Faults = field(default_factory=Faults)
    held_by: list[str] = field(default_factory=list)
    paint: Painter = paint

    def picture(self, sequence: int, code: str, width: int, height: int) -> tuple[bytes, bool]:
        """(bytes, whether they carry the ERROR flag) of a sequence, after what its faults do to them."""
        faults = self.faults
        data = self.paint(0 if faults.identical else sequence, code, width, height)

        def hit(every: int) -> bool:
            return every > 0 and sequence % every == every - 1

        if hit(faults.zero_every):
            data = data[:HEADER_BYTES] + bytes(len(data) - HEADER_BYTES)
        if hit(faults.blank_every):
            data = bytes(len(data))
        if hit(faults.tear_every):
            data = data[: len(data) // 2] + data
        if hit(faults.half_every):
            data = data[: len(data) // 2]
        return data, hit(faults.flag_every)
