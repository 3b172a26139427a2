"""The latest-frame slot between capture and everybody who looks: overwrite when full, and count what each reader missed."""

from __future__ import annotations

import threading
import time

from device.frame import Frame


class LatestFrameSlot:
    """Holds the newest frame. One writer, any number of readers; a slow reader never holds the writer up.

    Overflow policy: overwrite. `overwritten` counts frames replaced before any reader took them.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._frame: Frame | None = None
        self._number = 0  # how many frames were put; the reader's place, immune to a source that restarts its sequence
        self._taken = True
        self.overwritten = 0

    def put(self, frame: Frame) -> None:
        """Publish a frame, replacing the one before."""
        with self._condition:
            if not self._taken:
                self.overwritten += 1
            self._frame, self._number, self._taken = frame, self._number + 1, False
            self._condition.notify_all()

    def newer(self, than: int, timeout_s: float) -> tuple[int, Frame] | None:
        """Wait for a frame put after number `than` (0 for any), at most `timeout_s`; (its number, the frame), or None in time-out."""
        deadline = time.monotonic() + timeout_s
        with self._condition:
            while self._number <= than or self._frame is None:
                if (left := deadline - time.monotonic()) <= 0:
                    return None
                self._condition.wait(left)
            self._taken = True
            return self._number, self._frame

    def latest(self) -> tuple[int, Frame] | None:
        """(number, newest frame) without waiting, None before the first."""
        with self._condition:
            return None if self._frame is None else (self._number, self._frame)

    def clear(self) -> None:
        """Forget the frame (the camera went away), so that nobody takes an old picture for the present one."""
        with self._condition:
            self._frame = None
