"""The beat of cameras that have no clock of their own: when the next frame is due, which were missed, and how a wait is broken off."""

from __future__ import annotations

import threading
import time

from device.errors import CameraTimeoutError


class Pace:
    """A schedule of `fps` frames a second on the monotonic clock. `wait` is called by one thread, `cancel` by any."""

    def __init__(self, name: str, fps: float) -> None:
        self.name = name
        self.fps = fps
        self._cancelled = threading.Event()
        self._due_s = time.monotonic()

    def cancel(self) -> None:
        """Make the `wait` under way, or else the next one, raise CameraTimeoutError. Idempotent."""
        self._cancelled.set()

    def wait(self, timeout_s: float, *, skip: bool) -> int:
        """Wait until a frame is due; by how many places the source moves on: 1, more where the reader came late and `skip` is set.

        Without `skip` a late reader shifts the whole schedule, so that no frame is lost and none come bunched.

        Raises:
            CameraTimeoutError: none is due within `timeout_s`, or the wait was cancelled.
        """
        wait_s = self._due_s - time.monotonic()
        if self._cancelled.wait(min(max(wait_s, 0.0), timeout_s)):
            self._cancelled.clear()
            raise CameraTimeoutError(f"{self.name}: reading was cancelled")
        if wait_s > timeout_s:
            raise CameraTimeoutError(f"{self.name}: no frame is due within {timeout_s:g} s at {self.fps:g} frames per second")
        late_s = max(0.0, time.monotonic() - self._due_s)
        places = 1 + (int(late_s * self.fps) if skip else 0)
        self._due_s += places / self.fps if skip else max(1 / self.fps, late_s)
        return places
