"""The thread of the live analysis: it takes the newest frame, measures it, and publishes the result; what it was too slow for is skipped.

A frame that cannot be measured is logged and counted, and the next one is taken: no picture ends the loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal

import structlog
from typing_extensions import Self  # typing.Self needs 3.11

from device.errors import FrameDecodeError
from device.frame import Frame
from device.rate import RateMeter
from device.slot import LatestFrameSlot
from runtime.analysis.measurement import Measurement
from runtime.errors import PictureError

AnalysisState = Literal["waiting", "measuring", "failing"]

log = structlog.get_logger(__name__)

FRAME_WAIT_S = 0.2  # how long the thread may not notice that it is asked to stop while no frame comes
WAITING_AFTER_S = 3.0  # without a frame; a camera that is merely slow does not change the state with each one
FAILING_AFTER = 5  # failures in a row until the state says so


@dataclass(frozen=True)
class LiveResult:
    """The measurement of one live frame.

    Attributes:
        number: counts results from 1, so that a reader knows a newer one.
        sequence, captured_ns: of the frame that was measured.
        json: the measurement as one line of JSON, written once for all who read it.
    """

    number: int
    sequence: int
    captured_ns: int
    measurement: Measurement
    json: str


@dataclass(frozen=True)
class AnalysisStatus:
    """What the live analysis is doing, at one moment.

    Attributes:
        measured, undecodable, failures: frames since the start. `undecodable` were no pictures, which is the camera's fault.
        beat_ns: `time.monotonic_ns()` when the loop last got on: a result, an unusable picture, or no frame to measure.
        last_ms: how long the last result took.
    """

    state: AnalysisState
    message: str
    beat_ns: int
    measured: int = 0
    undecodable: int = 0
    failures: int = 0
    last_ms: float | None = None


class AnalysisWorker:
    """Measures the newest frame of `slot` for as long as the context is open.

    Overflow policy: frames that come while one is measured are overwritten in the slot and counted there.
    """

    def __init__(
        self,
        slot: LatestFrameSlot,
        measure: Callable[[Frame], Measurement],
        *,
        listener: Callable[[], None] = lambda: None,
        stop_deadline_s: float = 1.5,
    ) -> None:
        """Store the arguments.

        `measure` and `listener` (after each result or change of state) are called by the worker's thread.
        """
        self.rate = RateMeter()
        self._slot = slot
        self._measure = measure
        self._listener = listener
        self._stop_deadline_s = stop_deadline_s
        self._stopping = threading.Event()
        self._stop_by = 0.0
        self._lock = threading.Lock()
        self._latest: LiveResult | None = None
        self._status = AnalysisStatus("waiting", "waiting for the first picture", time.monotonic_ns())
        self._thread = threading.Thread(target=self._run, name="analysis", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ask_to_stop()
        self._thread.join(max(0.0, self._stop_by - time.monotonic()))
        if self._thread.is_alive():
            log.error("the live analysis did not stop in time", deadline_s=self._stop_deadline_s)

    def ask_to_stop(self) -> None:
        """End after the frame in work. Returns at once; idempotent."""
        if not self._stopping.is_set():
            self._stop_by = time.monotonic() + self._stop_deadline_s
            self._stopping.set()

    @property
    def status(self) -> AnalysisStatus:
        """The present status; immutable."""
        with self._lock:
            return self._status

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def latest(self) -> LiveResult | None:
        """The newest result, None before the first."""
        with self._lock:
            return self._latest

    def _run(self) -> None:
        seen = failures_in_a_row = 0
        last_frame_at = time.monotonic()
        while not self._stopping.is_set():
            taken = self._slot.newer(seen, FRAME_WAIT_S)
            if taken is None:
                if self.status.state != "waiting" and time.monotonic() - last_frame_at > WAITING_AFTER_S:
                    self._advance(state="waiting", message="waiting for a picture")
                self._change({"beat_ns": time.monotonic_ns()})
                continue
            began = last_frame_at = time.monotonic()
            seen, frame = taken
            try:
                self._publish(frame, self._measure(frame), began)
                failures_in_a_row = 0
            except (FrameDecodeError, PictureError) as error:
                log.info("frame not measured", sequence=frame.sequence, why=str(error))
                self._advance(undecodable=self.status.undecodable + 1, message=str(error))
            except Exception as error:
                failures_in_a_row += 1
                self._fail(frame, error, failures_in_a_row)

    def _publish(self, frame: Frame, measurement: Measurement, began: float) -> None:
        text = measurement.to_json()
        with self._lock:
            number = 1 if self._latest is None else self._latest.number + 1
            self._latest = LiveResult(number, frame.sequence, frame.captured_ns, measurement, text)
            measured = self._status.measured + 1
        self.rate.tick()
        self._advance(state="measuring", message="measuring", measured=measured, last_ms=(time.monotonic() - began) * 1e3)

    def _fail(self, frame: Frame, error: Exception, in_a_row: int) -> None:
        """Count a failure. The beat is not moved: a loop that only fails has not advanced, and the watchdog must see that."""
        if in_a_row <= FAILING_AFTER:  # then the same again would only fill the log
            log.exception("the analysis of a frame failed", sequence=frame.sequence, source=frame.source)
        changes: dict[str, object] = {"failures": self.status.failures + 1}
        if in_a_row >= FAILING_AFTER:
            changes |= {"state": "failing", "message": f"{in_a_row} frames in a row could not be measured ({error!r}): see the log"}
        self._change(changes)
        self._listener()

    def _advance(self, **changes: object) -> None:
        before = self.status
        self._change(changes | {"beat_ns": time.monotonic_ns()})
        if "measured" in changes or before.message != changes["message"]:
            self._listener()

    def _change(self, changes: dict[str, object]) -> None:
        with self._lock:
            self._status = replace(self._status, **changes)  # type: ignore[arg-type]
