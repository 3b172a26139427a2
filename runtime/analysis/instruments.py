"""What one thread measures with: what finds hair, and what grades it; and how others hand it newer ones between two pictures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runtime.analysis.fallback import FallingBackSegmenter
from runtime.analysis.graders import Graders


@dataclass(frozen=True, eq=False)
class Instruments:
    """What one thread measures with.

    Attributes:
        backend_problem: why the backend that was asked for is not there and ONNX Runtime serves, None where it is.
    """

    segmenter: FallingBackSegmenter
    graders: Graders
    backend_problem: str | None = None

    def close(self) -> None:
        """Give memory and threads back. Idempotent."""
        self.segmenter.close()
        self.graders.close()


class InUse:
    """The instruments of one thread, which takes them for each picture anew; any other looks at them, or offers newer ones.

    Newer ones are in use from the next picture on, and the older ones are closed: at once where no picture is in work, else after it.
    """

    def __init__(self, first: Instruments) -> None:
        self._now = first
        self._next: Instruments | None = None
        self._lock = threading.Lock()  # guards what follows and what is above; held for moments only
        self._at_work = False
        self._closed = False
        self._first_done: float | None = None

    @property
    def now(self) -> Instruments:
        """Those in use, to be looked at."""
        return self._now

    @property
    def worked_for_s(self) -> float:
        """Seconds since those in use had measured their first picture; 0 before."""
        first = self._first_done
        return 0.0 if first is None else time.monotonic() - first

    @contextmanager
    def taken(self) -> Iterator[Instruments]:
        """Those to measure one picture with. The measuring thread alone calls it."""
        with self._lock:
            self._at_work = True
            now = self._now
        try:
            yield now
        finally:
            older = None
            with self._lock:
                self._at_work = False
                if self._first_done is None:
                    self._first_done = time.monotonic()
                if self._next is not None:
                    older, self._now, self._next, self._first_done = self._now, self._next, None, None
            if older is not None:
                older.close()

    def offer(self, newer: Instruments) -> None:
        """Have `newer` in use from the next picture on. They are owned from here on, and closed at once where `close` was called before."""
        with self._lock:
            if self._closed:
                unwanted: Instruments | None = newer
            elif self._at_work:
                unwanted, self._next = self._next, newer
            else:
                unwanted, self._now, self._first_done = self._now, newer, None
        if unwanted is not None:
            unwanted.close()

    def close(self) -> None:
        """Give all back, once the measuring thread has ended, or was given up."""
        with self._lock:
            self._closed = True
            newer, self._next = self._next, None
        if newer is not None:
            newer.close()
        self._now.close()
