"""The right frame of a capture: pressing a button shakes the microscope, so the sharpest steady frame around the press is taken.

Frames from before the press are judged while those after it still come, so that little is left to do when the last has come.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.errors import CameraTimeoutError, FrameDecodeError
from device.frame import Frame
from device.ring import FrameRing
from device.sharpness import grey_of, motion_between, reduced_for_motion, sharpness_of

log = logging.getLogger(__name__)

STEADY_PX = 3.0  # from one frame to the next, at 640 px width: exposed for half that time it smears by half as much, less than a thin hair
LATE_S = 0.5  # how long beyond the window a camera may leave one waiting
REFERENCE_WIDTH = 640


@dataclass(frozen=True)
class Window:
    """Which frames are looked at, in seconds before and after the press; not more than the ring holds."""

    before_s: float = 0.5
    after_s: float = 0.3


@dataclass(frozen=True)
class Choice:
    """The frame taken.

    Attributes:
        sharpness: see `sharpness_of`; 0 where nothing in it could be sharp.
        steady: whether the picture held still; otherwise no frame did, and this is the sharpest of all.
        offset_ms: when it was captured, from the press on; negative before it.
        looked_at: how many frames were judged; `undecodable` were no pictures.
        late_ms: from the capture of the last frame that was judged to the choice.
    """

    frame: Frame
    sharpness: float
    steady: bool
    offset_ms: float
    looked_at: int
    undecodable: int
    late_ms: float


@dataclass(frozen=True)
class _Judged:
    frame: Frame
    sharpness: float
    motion_px: float


def choose_frame(ring: FrameRing, pressed_ns: int, window: Window | None = None) -> Choice:
    """The sharpest steady frame around a press at `pressed_ns` (monotonic); waits for the end of the window.

    Among equally sharp ones, as where nothing could be sharp, the one nearest to the press is taken.

    Raises:
        CameraTimeoutError: no frame came from the beginning of the window until LATE_S behind its end, or none was a picture.
    """
    window = window or Window()
    end_ns = pressed_ns + int(window.after_s * 1e9)
    last_ns = pressed_ns - int(window.before_s * 1e9)
    deadline = time.monotonic() + max(0.0, (end_ns - time.monotonic_ns()) / 1e9) + LATE_S
    judged: list[_Judged] = []
    undecodable = 0
    before: NDArray[np.float32] | None = None
    while last_ns < end_ns and (left_s := deadline - time.monotonic()) > 0:
        for frame in ring.after(last_ns, left_s):
            last_ns = frame.captured_ns
            if last_ns > end_ns and judged:
                break
            try:
                grey = grey_of(frame)
            except FrameDecodeError as error:
                log.debug("passed over: %s", error)
                undecodable += 1
                continue
            small = reduced_for_motion(grey)
            motion = float("inf") if before is None else motion_between(before, small, REFERENCE_WIDTH)
            judged.append(_Judged(frame, sharpness_of(grey), motion))
            before = small
    if not judged:
        raise CameraTimeoutError("no picture came around the moment of the button: look whether the live picture moves, and press again")
    steady = [each for each in judged if each.motion_px <= STEADY_PX]
    best = max(steady or judged, key=lambda each: (each.sharpness, -abs(each.frame.captured_ns - pressed_ns)))
    return Choice(
        frame=best.frame,
        sharpness=best.sharpness,
        steady=bool(steady),
        offset_ms=(best.frame.captured_ns - pressed_ns) / 1e6,
        looked_at=len(judged),
        undecodable=undecodable,
        late_ms=(time.monotonic_ns() - judged[-1].frame.captured_ns) / 1e6,
    )
