"""The frames of the last second, so that what was seen just before a button was pressed can still be had."""

from __future__ import annotations

import threading
import time
from collections import deque

from device.frame import Frame

SPAN_NS = 10**9
MAX_FRAMES = 64  # bound of the memory: 4 MB of camera JPEG, 40 MB of uncompressed 640×480


class FrameRing:
    """Holds the frames of the last second. One writer, any number of readers; a reader never holds the writer up.

    Overflow policy: the oldest go, those over a second older than the newest and those above MAX_FRAMES.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._frames: deque[Frame] = deque(maxlen=MAX_FRAMES)

    def put(self, frame: Frame) -> None:
        """Add the newest frame."""
        with self._condition:
            self._frames.append(frame)
            while frame.captured_ns - self._frames[0].captured_ns > SPAN_NS:
                self._frames.popleft()
            self._condition.notify_all()

    def clear(self) -> None:
        """Forget all (the camera went away), so that nobody takes an old picture for the present one."""
        with self._condition:
            self._frames.clear()
            self._condition.notify_all()

    def after(self, moment_ns: int, timeout_s: float = 0.0) -> list[Frame]:
        """Frames captured after a moment of the monotonic clock, oldest first; waits for the first of them, at most `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        with self._condition:
            while not (found := [frame for frame in self._frames if frame.captured_ns > moment_ns]):
                if (left_s := deadline - time.monotonic()) <= 0:
                    break
                self._condition.wait(left_s)
            return found

    def __len__(self) -> int:
        with self._condition:
            return len(self._frames)
