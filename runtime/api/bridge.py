"""The one bridge between the threads, which own hardware and computing, and the event loop, which owns HTTP.

A thread that has news calls `wake`; whoever listens on the loop finds its event set, and fetches what it wants itself.
Nothing is queued here, so nothing can pile up: any number of wake-ups before the loop gets to it are one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Bridge:
    """Wakes coroutines from any thread. Without a loop attached, wake-ups are nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung = False  # a wake-up is on its way to the loop
        self._listeners: set[asyncio.Event] = set()  # touched by the loop's thread only
        self._answered_ns = time.monotonic_ns()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Connect the running event loop for as long as the context is open. Call it on the loop."""
        with self._lock:
            self._loop, self._rung = asyncio.get_running_loop(), False
        try:
            yield
        finally:
            with self._lock:
                self._loop = None

    def wake(self) -> None:
        """Tell all who listen that there is news. Any thread; returns at once."""
        with self._lock:
            if self._loop is not None and not self._rung:
                self._rung = True
                self._loop.call_soon_threadsafe(self._ring)

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set at each wake-up; the listener clears it before it looks at what is new. On the loop only."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            yield event
        finally:
            self._listeners.discard(event)

    @property
    def answered_ns(self) -> int:
        """`time.monotonic_ns()` when the loop last answered a wake-up: it stands still when the loop hangs."""
        return self._answered_ns

    def _ring(self) -> None:
        with self._lock:
            self._rung = False
        self._answered_ns = time.monotonic_ns()
        for event in self._listeners:
            event.set()
