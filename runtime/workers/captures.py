"""The thread that writes to the store: it measures the frames that a person asked to keep on the captured path and stores both.

Unlike live frames nothing is dropped here: the queue is bounded, a request that finds it full is refused at once, and an
accepted one ends in a stored capture or in an error that its owner sees. While nobody asks, the thread tries the store with a
small write now and then, so that a full or broken disk is known before somebody needs it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

import structlog
from typing_extensions import Self  # typing.Self needs 3.11

from device.frame import Frame
from runtime.errors import BusyError, StoreError, StoreFullError, TrichoscopeError

log = structlog.get_logger(__name__)

CAPACITY = 4

Row = TypeVar("Row")


@dataclass(frozen=True)
class CaptureRequest(Generic[Row]):
    """One frame to be kept, and where its owner waits for what became of it."""

    frame: Frame
    site: str | None
    outcome: Future[Row]


class CaptureWorker(Generic[Row]):
    """Keeps captures one after the other for as long as the context is open.

    Overflow policy: refuse. A full queue raises BusyError and takes nothing. Leaving the context finishes the capture in work
    and answers those that still wait with an error.
    """

    def __init__(
        self,
        keep: Callable[[Frame, str | None], Row],
        probe: Callable[[], object],
        *,
        probe_every_s: float = 15.0,
        capacity: int = CAPACITY,
        stop_deadline_s: float = 1.5,
    ) -> None:
        """Store the arguments.

        `keep` measures and stores a frame of a site; `probe` tries the store with a write and raises StoreError where that fails.
        Both are called by the worker's thread.
        """
        self.kept = 0
        self.failed = 0
        self.refused = 0
        self._keep = keep
        self._probe = probe
        self._probe_every_s = probe_every_s
        self._stop_deadline_s = stop_deadline_s
        self._capacity = capacity
        self._waiting: deque[CaptureRequest[Row]] = deque()
        self._changed = threading.Condition()  # guards the queue and the wish to stop
        self._stopping = False
        self._stop_by = 0.0
        self._beat_ns = self._worked_ns = time.monotonic_ns()
        self._problem: str | None = None
        self._working = False
        self._thread = threading.Thread(target=self._run, name="captures", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ask_to_stop()
        self._thread.join(max(0.0, self._stop_by - time.monotonic()))
        if self._thread.is_alive():
            log.error("a capture in work did not end in time", deadline_s=self._stop_deadline_s)

    def ask_to_stop(self) -> None:
        """Take no more requests, answer those that wait with an error, and end after the one in work. Returns at once; idempotent."""
        with self._changed:
            if self._stopping:
                return
            self._stopping = True
            self._stop_by = time.monotonic() + self._stop_deadline_s
            refused = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for request in refused:
            if request.outcome.set_running_or_notify_cancel():
                request.outcome.set_exception(TrichoscopeError("the capture was not kept, the program is ending: capture again"))

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def working(self) -> bool:
        """Whether a capture is being kept just now."""
        return self._working

    @property
    def idle_s(self) -> float:
        """Seconds since a capture was last asked for or kept, 0 while one is in work; from the start where there was none."""
        return 0.0 if self._working or self._waiting else (time.monotonic_ns() - self._worked_ns) / 1e9

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored at present, None where it can."""
        return self._problem

    @property
    def beat_ns(self) -> int:
        """`time.monotonic_ns()` when the store last answered: it wrote something, or said that the disk is full."""
        return self._beat_ns

    def require_room(self) -> None:
        """Raise BusyError, as `submit` would, where the queue is full or the program is ending."""
        with self._changed:
            if self._stopping:
                raise BusyError("the program is ending: capture again after its restart")
            if len(self._waiting) >= self._capacity:
                self.refused += 1
                raise BusyError(f"{self._capacity} captures are still being kept: wait a moment and capture again")

    def submit(self, frame: Frame, site: str | None) -> Future[Row]:
        """Ask for `frame` to be kept; the future gives the stored row, or the error that prevented it.

        Raises:
            BusyError: the queue is full, or the program is ending; nothing was taken.
        """
        request: CaptureRequest[Row] = CaptureRequest(frame, site, Future())
        with self._changed:
            self.require_room()
            self._worked_ns = time.monotonic_ns()
            self._waiting.append(request)
            self._changed.notify_all()
        return request.outcome

    def _run(self) -> None:
        probe_due = time.monotonic()
        while True:
            if time.monotonic() >= probe_due:
                self._try_store()
                probe_due = time.monotonic() + self._probe_every_s
            with self._changed:
                if not self._waiting and not self._stopping:
                    self._changed.wait(max(0.0, probe_due - time.monotonic()))
                if self._stopping:
                    return
                if not self._waiting:
                    continue
                request = self._waiting.popleft()
            if request.outcome.set_running_or_notify_cancel():  # else its owner withdrew it while it waited
                self._working = True
                self._serve(request)
                self._worked_ns = time.monotonic_ns()
                self._working = False

    def _serve(self, request: CaptureRequest[Row]) -> None:
        try:
            row = self._keep(request.frame, request.site)
        except Exception as error:
            self.failed += 1
            expected = isinstance(error, TrichoscopeError)
            log.warning("a capture was not kept", sequence=request.frame.sequence, why=str(error), exc_info=not expected)
            if isinstance(error, StoreError):  # others are the picture's fault
                self._store_failed(error)
            request.outcome.set_exception(error)
        else:
            self.kept += 1
            self._store_answered()
            request.outcome.set_result(row)

    def _try_store(self) -> None:
        try:
            self._probe()
        except Exception as error:
            if self._problem is None:  # said once, not at every probe: the words may carry a figure that changes
                log.warning("the store cannot be written", why=str(error), exc_info=not isinstance(error, StoreError))
            self._store_failed(error)
        else:
            self._store_answered()

    def _store_answered(self) -> None:
        self._problem, self._beat_ns = None, time.monotonic_ns()

    def _store_failed(self, error: Exception) -> None:
        self._problem = str(error)
        if isinstance(error, StoreFullError):  # an answer, too: a person can help, a restart cannot
            self._beat_ns = time.monotonic_ns()
