"""The thread behind every capture button, on the page or on the handpiece: it takes the right frame around the press and has it kept.

It runs beside the capture worker, which may be busy for seconds, because the frames around a press are there for one second only.
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

from device.choosing import Window, choose_frame
from device.errors import CameraTimeoutError
from device.frame import Frame
from device.ring import FrameRing
from device.slot import LatestFrameSlot
from runtime.errors import BusyError, TrichoscopeError
from runtime.workers.captures import CAPACITY, CaptureWorker

log = structlog.get_logger(__name__)

Row = TypeVar("Row")


class NoPictureError(TrichoscopeError):
    """A button was pressed and there is no picture to keep, most often because no microscope streams. HTTP 503 at the API."""


@dataclass(frozen=True)
class Press(Generic[Row]):
    """A button went down at `pressed_ns` (monotonic); `outcome` gets the stored capture, or the error that prevented it."""

    pressed_ns: int
    site: str | None
    outcome: Future[Row]


class Shutter(Generic[Row]):
    """Serves presses one after the other for as long as the context is open.

    Overflow policy: refuse, as the capture worker does. Leaving the context answers those that still wait with an error.
    """

    def __init__(
        self,
        ring: FrameRing,
        slot: LatestFrameSlot,
        captures: CaptureWorker[Row],
        *,
        streaming: Callable[[], bool] = lambda: True,
        window: Window | None = None,
        capacity: int = CAPACITY,
        stop_deadline_s: float = 1.5,
    ) -> None:
        """Store the arguments. While `streaming` says that no more frames come, the latest of `slot` is taken without waiting."""
        self._ring = ring
        self._slot = slot
        self._captures = captures
        self._streaming = streaming
        self._window = window
        self._capacity = capacity
        self._stop_deadline_s = stop_deadline_s
        self._waiting: deque[Press[Row]] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._stop_by = 0.0
        self._thread = threading.Thread(target=self._run, name="shutter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ask_to_stop()
        self._thread.join(max(0.0, self._stop_by - time.monotonic()))
        if self._thread.is_alive():
            log.error("the choice of a frame did not end in time", deadline_s=self._stop_deadline_s)

    def ask_to_stop(self) -> None:
        """Take no more presses, answer those that wait with an error, and end after the one in work. Returns at once; idempotent."""
        with self._changed:
            if self._stopping:
                return
            self._stopping = True
            self._stop_by = time.monotonic() + self._stop_deadline_s
            refused = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for press in refused:
            _fail(press.outcome, BusyError("the program is ending: capture again after its restart"))

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def press(self, site: str | None, pressed_ns: int | None = None) -> Future[Row]:
        """A button was pressed at `pressed_ns` (monotonic; None: now); the future gives the stored capture, or the error that prevented it.

        Raises:
            BusyError: too many presses or captures wait already, or the program is ending; nothing was taken.
        """
        press: Press[Row] = Press(time.monotonic_ns() if pressed_ns is None else pressed_ns, site, Future())
        self._captures.require_room()  # a press that will be refused is refused at once
        with self._changed:
            if self._stopping:
                raise BusyError("the program is ending: capture again after its restart")
            if len(self._waiting) >= self._capacity:
                raise BusyError(f"{self._capacity} presses of the button still wait for their picture: wait a moment and capture again")
            self._waiting.append(press)
            self._changed.notify_all()
        return press.outcome

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return
                press = self._waiting.popleft()
            try:
                kept = self._captures.submit(self._frame_of(press), press.site)
            except Exception as error:
                if not isinstance(error, TrichoscopeError):
                    log.exception("no frame could be taken")
                _fail(press.outcome, error)
            else:
                kept.add_done_callback(lambda done, outcome=press.outcome: _hand_on(done, outcome))  # type: ignore[misc]

    def _frame_of(self, press: Press[Row]) -> Frame:
        """The sharpest steady frame around the press; the latest one where none came there, as from a replay that has ended."""
        if self._streaming():
            try:
                choice = choose_frame(self._ring, press.pressed_ns, self._window)
            except CameraTimeoutError as error:
                log.info("the latest frame is taken", why=str(error))
            else:
                log.info(
                    "frame chosen",
                    sequence=choice.frame.sequence,
                    offset_ms=round(choice.offset_ms),
                    sharpness=round(choice.sharpness, 3),
                    steady=choice.steady,
                    looked_at=choice.looked_at,
                )
                return choice.frame
        latest = self._slot.latest()
        if latest is None:
            raise NoPictureError("there is no picture to keep: look whether the live picture moves, and capture again")
        return latest[1]


def _hand_on(done: Future[Row], outcome: Future[Row]) -> None:
    error = done.exception()
    if error is not None:
        _fail(outcome, error)
    elif outcome.set_running_or_notify_cancel():
        outcome.set_result(done.result())


def _fail(outcome: Future[Row], error: BaseException) -> None:
    if outcome.set_running_or_notify_cancel():
        outcome.set_exception(error)
