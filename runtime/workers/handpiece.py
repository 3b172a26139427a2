"""The handpiece in the daemon: its button captures, its readings of the last seconds give frames their distance, its state is told.

Nothing that it does or fails to do touches the microscope's picture: a handpiece that is absent, silent or speaks another protocol is a
state with a message.
"""

from __future__ import annotations

import bisect
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import structlog
from typing_extensions import Self  # typing.Self needs 3.11

from device.handpiece.counters import Counters
from device.handpiece.handpiece import Handpiece
from device.handpiece.range_sensor import RangeSensor, SensorStatus
from device.handpiece.readings import Reading
from runtime.errors import TrichoscopeError

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.02  # a sensor measures 20 to 50 times a second
READINGS_KEPT = 512  # ten seconds: a capture may wait for others before it is measured
NEAR_NS = 100_000_000  # how far in time a reading may be from the frame that it is used for
AFTER_A_FAULT_S = 1.0
CAPTURE_BUTTON = 1
STOP_DEADLINE_S = 1.0


@dataclass(frozen=True)
class Distance:
    """From the camera to the skin, counted as in the calibration, and its standard uncertainty, mm; None for that of the calibration."""

    mm: float
    std_mm: float | None


@dataclass(frozen=True)
class HandpieceNow:
    """The handpiece at one moment.

    Attributes:
        latest: its reading, None where there is none of the last 200 ms.
        temperature_c, trouble: what it says of itself, None where it says nothing.
        press_problem: why the capture of the last press of its button was not kept, None where it was.
    """

    status: SensorStatus
    counters: Counters
    latest: Reading | None
    temperature_c: float | None
    trouble: str | None
    press_problem: str | None


class HandpieceWatch:
    """Owns the handpiece for as long as the context is open, and looks after it in a thread of its own.

    Overflow policy of the readings: the oldest are forgotten.
    """

    def __init__(
        self,
        sensor: RangeSensor,
        press: Callable[[int], Future[Any]],
        *,
        offset_mm: float = 0.0,
        listener: Callable[[], None] = lambda: None,
    ) -> None:
        """Store the arguments.

        `press` has a capture kept for a button that went down at a moment of the monotonic clock (ns). `offset_mm` is added to a
        reading to give the distance from the camera. `listener` is called by the watch's thread after each change of state.
        """
        self.presses = 0
        self._sensor = sensor
        self._press = press
        self._offset_mm = offset_mm
        self._listener = listener
        self._lock = threading.Lock()
        self._readings: deque[Reading] = deque(maxlen=READINGS_KEPT)
        self._press_problem: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="handpiece watch", daemon=True)

    def __enter__(self) -> Self:
        self._sensor.__enter__()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ask_to_stop()
        self._thread.join(STOP_DEADLINE_S)
        self._sensor.__exit__(kind, error, trace)

    def ask_to_stop(self) -> None:
        """Take no more presses. Returns at once; idempotent."""
        self._stopping.set()

    @property
    def name(self) -> str:
        """The handpiece's address."""
        return str(self._sensor.uri)

    @property
    def now(self) -> HandpieceNow:
        """The handpiece at this moment. Any thread."""
        sensor = self._sensor
        trouble = sensor.trouble if isinstance(sensor, Handpiece) else None
        return HandpieceNow(
            status=sensor.status,
            counters=sensor.counters,
            latest=sensor.latest(),
            temperature_c=sensor.temperature_c if isinstance(sensor, Handpiece) else None,
            trouble=None if trouble is None else trouble.text or f"code {trouble.code}",
            press_problem=self._press_problem,
        )

    def distance_at(self, moment_ns: int) -> Distance | None:
        """The distance at a moment of the monotonic clock, from the nearest reading that is good enough for a scale. Any thread."""
        with self._lock:
            readings = list(self._readings)
        at = bisect.bisect_left(readings, moment_ns, key=lambda each: each.received_ns)
        near = readings[max(0, at - 1) : at + 1]
        best = min(near, key=lambda each: abs(each.received_ns - moment_ns), default=None)
        if best is None or abs(best.received_ns - moment_ns) > NEAR_NS or best.status != "valid" or best.distance_mm is None:
            return None
        return Distance(best.distance_mm + self._offset_mm, best.std_mm)

    def _run(self) -> None:
        told: object = None
        while not self._stopping.is_set():
            try:
                self._take_edge()
                self._take_reading()
                status = self._sensor.status
                news = (status.state, status.message, self._press_problem)
                if news != told:
                    told = news
                    self._listener()
            except Exception:
                log.exception("the handpiece could not be looked after")
                self._stopping.wait(AFTER_A_FAULT_S)

    def _take_edge(self) -> None:
        """Wait for a button edge, at most until it is time to look for a reading, and capture where the capture button went down."""
        if not isinstance(self._sensor, Handpiece):
            self._stopping.wait(LOOK_EVERY_S)
            return
        edge = self._sensor.next_edge(LOOK_EVERY_S)
        if edge is None or not edge.pressed or edge.button != CAPTURE_BUTTON or self._stopping.is_set():
            return
        self._capture(edge.received_ns)

    def _capture(self, pressed_ns: int) -> None:
        self.presses += 1
        try:
            self._press(pressed_ns).add_done_callback(self._pressed)
        except TrichoscopeError as error:
            self._press_failed(error)

    def _pressed(self, outcome: Future[Any]) -> None:
        error = outcome.exception()
        if error is None:
            self._press_problem = None
        else:
            self._press_failed(error)

    def _press_failed(self, error: BaseException) -> None:
        self._press_problem = str(error)
        log.warning("the handpiece's button was pressed, and no capture kept", why=str(error))

    def _take_reading(self) -> None:
        reading = self._sensor.latest()
        with self._lock:
            if reading is not None and (not self._readings or self._readings[-1].received_ns < reading.received_ns):
                self._readings.append(reading)
