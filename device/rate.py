"""How often something happens, over the last seconds: frames a second, results a second."""

from __future__ import annotations

import threading
import time
from collections import deque

WINDOW_S = 2.0
MAX_EVENTS = 512  # bound of the memory; above 256 events a second the window is shorter, the rate still right


class RateMeter:
    """Counts events and says how many came per second lately. Any thread may tick and any may ask.

    Overflow policy: above MAX_EVENTS within the window the oldest are forgotten.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_ns = int(window_s * 1e9)
        self._ticks: deque[int] = deque(maxlen=MAX_EVENTS)
        self._lock = threading.Lock()

    def tick(self, now_ns: int | None = None) -> None:
        """An event happened now (`time.monotonic_ns()` unless given)."""
        with self._lock:
            self._ticks.append(time.monotonic_ns() if now_ns is None else now_ns)

    def per_second(self, now_ns: int | None = None) -> float:
        """Events per second over the window that ends now; 0 when fewer than two are in it."""
        now = time.monotonic_ns() if now_ns is None else now_ns
        with self._lock:
            while self._ticks and now - self._ticks[0] > self._window_ns:
                self._ticks.popleft()
            if len(self._ticks) < 2:
                return 0.0
            # gaps between ticks, but never less time than has passed since the last one: a stream that stops sinks at once
            gaps = len(self._ticks) - 1
            mean_gap = (self._ticks[-1] - self._ticks[0]) / gaps
            silence = now - self._ticks[-1]
            span = self._ticks[-1] - self._ticks[0] + max(0.0, silence - mean_gap)
            return gaps / span * 1e9 if span > 0 else 0.0
