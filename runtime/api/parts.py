"""The parts of the running daemon that the API looks at, and what they say of themselves at this moment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import get_args

from calib.scale import ScaleSource
from device.capture import CaptureLoop, CaptureState
from device.slot import LatestFrameSlot
from runtime.analysis.fallback import FallingBackSegmenter
from runtime.analysis.instruments import Instruments
from runtime.api.bridge import Bridge
from runtime.api.metrics import Metrics, Reading
from runtime.api.models import (
    AnalysisNow,
    CalibrationNow,
    CameraNow,
    HandpieceAnswer,
    InferenceNow,
    ModelsNow,
    SegmenterNow,
    ServedBy,
    StoreNow,
)
from runtime.errors import TrichoscopeError
from runtime.inference.tensorrt.serving import ServingBackend
from runtime.intended_use.in_force import UseInForce
from runtime.store.captures import CaptureStore
from runtime.store.records import CaptureRow
from runtime.workers.analysis import AnalysisWorker
from runtime.workers.calibrating import FrameScaler
from runtime.workers.captures import CaptureWorker
from runtime.workers.handpiece import HandpieceWatch
from runtime.workers.models import ModelKeeper
from runtime.workers.shutter import Shutter
from runtime.workers.watchdog import PartReport

NO_HANDPIECE = HandpieceAnswer(
    state="none",
    message="the configuration names no handpiece",
    name="none:",
    distance_mm=None,
    distance_std_mm=None,
    temperature_c=None,
    trouble=None,
    press_problem=None,
)
WITHOUT_TENSORRT = ("failing", "absent", "refused")
"""States that a person should know of, where TensorRT was asked for; a missing engine is built when somebody wants it."""


@dataclass(frozen=True)
class Deadlines:
    """How old a part's beat may be, seconds; that of the capture besides the time of two reads."""

    capture_s: float = 20.0
    analysis_s: float = 20.0
    store_s: float = 20.0
    server_s: float = 10.0


@dataclass(frozen=True)
class Parts:
    """Everything behind the API. The threads of `capture`, `analysis`, `captures` and `shutter` are started and stopped elsewhere."""

    slot: LatestFrameSlot
    capture: CaptureLoop
    analysis: AnalysisWorker
    captures: CaptureWorker[CaptureRow]
    shutter: Shutter[CaptureRow]
    models: ModelKeeper
    use: Callable[[], UseInForce]
    handpiece: HandpieceWatch | None
    scaler: FrameScaler
    store: CaptureStore
    bridge: Bridge
    deadlines: Deadlines = Deadlines()
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", Metrics(self.readings))

    def camera_state(self) -> CameraNow:
        """The camera at this moment."""
        status = self.capture.status
        info = status.camera
        return CameraNow(
            state=status.state,
            message=status.message,
            name=self.capture.camera_uri,
            width=info.width if info else None,
            height=info.height if info else None,
            fps=info.fps if info else None,
        )

    def analysis_state(self) -> AnalysisNow:
        """The live analysis at this moment."""
        status = self.analysis.status
        return AnalysisNow(state=status.state, message=status.message)

    @property
    def live_segmenter(self) -> FallingBackSegmenter:
        """What finds hair in the live picture at this moment."""
        return self.models.live.now.segmenter

    @property
    def capture_segmenter(self) -> FallingBackSegmenter:
        """What finds hair in captures at this moment."""
        return self.models.captures.now.segmenter

    def models_state(self) -> ModelsNow:
        """Which bundle serves at this moment."""
        return ModelsNow(**vars(self.models.state))

    def inference_state(self) -> InferenceNow:
        """What runs the network that finds hair at this moment."""
        return InferenceNow(live=_served_by(self.models.live.now), captures=_served_by(self.models.captures.now))

    def segmenter_state(self) -> SegmenterNow:
        """What finds hair at this moment."""
        live, captures = self.live_segmenter, self.capture_segmenter
        problem = live.problem or captures.problem
        if live.problem is None and problem is not None:
            problem = f"for captures, {problem}"
        return SegmenterNow(live=live.name, captures=captures.name, problem=problem)

    def calibration_state(self) -> CalibrationNow:
        """What gives the scale at this moment."""
        return CalibrationNow(**vars(self.scaler.now()))

    def handpiece_state(self) -> HandpieceAnswer:
        """The handpiece at this moment."""
        if self.handpiece is None:
            return NO_HANDPIECE
        now = self.handpiece.now
        reading = now.latest
        return HandpieceAnswer(
            state=now.status.state,
            message=now.status.message,
            name=self.handpiece.name,
            distance_mm=None if reading is None else reading.distance_mm,
            distance_std_mm=None if reading is None else reading.std_mm,
            temperature_c=now.temperature_c,
            trouble=now.trouble,
            press_problem=now.press_problem,
        )

    def store_state(self) -> StoreNow:
        """The store at this moment."""
        return StoreNow(notice=self.store_notice(), problem=self.captures.problem)

    def reports(self) -> list[PartReport]:
        """What supervision looks at. Any thread."""
        return [self._capture_report(), self._analysis_report(), self._store_report(), self._server_report()]

    def _capture_report(self) -> PartReport:
        status = self.capture.status
        at_rest = status.state == "ended"  # the thread has ended too, as it should
        crashed = not self.capture.alive and not at_rest
        return PartReport(
            name="capture",
            state=status.state,
            message=status.message,
            ok=status.state != "failed" and not crashed,
            beat_ns=None if at_rest else status.beat_ns,
            deadline_s=self.deadlines.capture_s + 2 * status.read_deadline_s,
            given_up=status.gave_up or crashed,
        )

    def _analysis_report(self) -> PartReport:
        status = self.analysis.status
        inference = self.inference_state()
        served = [by.message for by in (inference.live, inference.captures) if by is not None and by.state in WITHOUT_TENSORRT]
        remarks = (
            status.message,
            self.segmenter_state().problem,
            self.models.state.notice,
            f"inference: {served[0]}" if served else None,
            self.scaler.now().notice,
        )
        return PartReport(
            name="analysis",
            state=status.state,
            message="; ".join(filter(None, remarks)),
            ok=status.state != "failing" and self.analysis.alive,
            beat_ns=status.beat_ns,
            deadline_s=self.deadlines.analysis_s,
            given_up=not self.analysis.alive,
        )

    def _store_report(self) -> PartReport:
        captures = self.captures
        alive = captures.alive and self.shutter.alive
        return PartReport(
            name="store",
            state="failing" if captures.problem is not None else "writing" if captures.working else "ready",
            message=captures.problem or self.store_notice() or "captures can be kept",
            ok=captures.problem is None and alive,
            beat_ns=captures.beat_ns,
            deadline_s=self.deadlines.store_s,
            given_up=not alive,
        )

    def store_notice(self) -> str | None:
        """What a person should know of how the store was found at the start, None where all was well."""
        damage = self.store.damage
        if damage is None:
            return None
        moved = f"moved to {damage.moved_to}" if damage.moved_to else "gone"
        return (
            f"the database was found damaged at the start ({damage.reason}) and is {moved}; captures taken back from their files: "
            f"{damage.captures_restored}; pictures without numbers, put into orphans/: {damage.pictures_left}"
        )

    def _server_report(self) -> PartReport:
        return PartReport(
            name="server",
            state="serving",
            message="the page is served",
            ok=True,
            beat_ns=self.bridge.answered_ns,
            deadline_s=self.deadlines.server_s,
        )

    def readings(self) -> Iterable[Reading]:
        """The numbers of all parts, for Prometheus."""
        capture, analysis, captures = self.capture.status, self.analysis.status, self.captures
        yield Reading("frames", "Frames published by the capture thread", capture.frames, True)
        yield Reading("frames_lost", "Gaps in the camera's own numbering", capture.lost, True)
        yield Reading("frames_damaged", "Frames dropped because they were cut short or no picture", capture.damaged, True)
        yield Reading("frames_overwritten", "Frames replaced before the analysis took them", self.slot.overwritten, True)
        yield Reading("camera_reconnects", "Times the camera came back", capture.reconnects, True)
        yield Reading("camera_failures", "Attempts that ended in a failure of the driver", capture.failures, True)
        for state in get_args(CaptureState):
            yield Reading("camera_state", "1 for the state of the camera", state == capture.state, False, {"state": state})
        yield Reading("capture_fps", "Frames per second of the last two seconds", self.capture.rate.per_second(), False)
        yield Reading("results", "Frames measured live", analysis.measured, True)
        yield Reading("results_failed", "Frames whose analysis failed", analysis.failures, True)
        yield Reading("results_undecodable", "Frames that were no picture", analysis.undecodable, True)
        yield Reading("results_per_second", "Results per second of the last two seconds", self.analysis.rate.per_second(), False)
        if analysis.last_ms is not None:
            yield Reading("result_seconds", "Time that the last live result took", analysis.last_ms / 1e3, False)
        for use, segmenter in (("live", self.live_segmenter), ("captures", self.capture_segmenter)):
            labels = {"use": use}
            yield Reading("segmenter_failures", "Pictures on which the learned segmenter failed", segmenter.failures, True, labels)
            fallen = segmenter.problem is not None
            yield Reading("segmenter_fallen_back", "1 where the classical mask serves instead of the learned one", fallen, False, labels)
        yield from self._handpiece_readings()
        fits = self.scaler.now().profile_id is not None
        yield Reading("calibration_profile", "1 where a calibration profile fits the connected microscope", fits, False)
        latest = self.analysis.latest()
        used = latest.measurement.scale.source if latest is not None else None
        for source in get_args(ScaleSource):
            yield Reading("scale_source", "1 for where the scale of the latest result is from", source == used, False, {"source": source})
        yield Reading("captures_kept", "Captures stored", captures.kept, True)
        yield Reading("captures_failed", "Captures that could not be stored", captures.failed, True)
        yield Reading("captures_refused", "Captures refused because the queue was full", captures.refused, True)
        yield Reading("captures_waiting", "Captures in the queue", captures.waiting, False)
        with contextlib.suppress(TrichoscopeError):  # a store that cannot answer now is told by its part
            store = self.store.health()
            yield Reading("store_captures", "Captures in the store", store.captures, False)
            yield Reading("store_free_bytes", "Free on the disk of the state folder", store.free_bytes, False)
            yield Reading("store_pictures_missing", "Captures whose picture was not there at the start", store.missing_pictures, False)
        for report in self.reports():
            yield Reading("part_ok", "1 where the part works or is in a state that is no failure", report.ok, False, {"part": report.name})

    def _handpiece_readings(self) -> Iterable[Reading]:
        if self.handpiece is None:
            return
        now = self.handpiece.now
        yield Reading("handpiece_ready", "1 where the handpiece measures", now.status.state == "ready", False)
        yield Reading("handpiece_reconnects", "Times the handpiece came back", max(0, now.status.opened - 1), True)
        yield Reading("handpiece_readings", "Readings of the range sensor", now.counters.readings, True)
        yield Reading("handpiece_rejected", "Sentences refused as damaged", now.counters.rejected, True)
        yield Reading("handpiece_noise_bytes", "Bytes that belong to no sentence", now.counters.noise_bytes, True)
        yield Reading("handpiece_presses", "Presses of its capture button", self.handpiece.presses, True)
        if now.latest is not None and now.latest.distance_mm is not None:
            yield Reading("handpiece_distance_mm", "From the range sensor to the skin", now.latest.distance_mm, False)


def _served_by(instruments: Instruments) -> ServedBy | None:
    if instruments.backend_problem is not None:
        return ServedBy(serving="onnxruntime", state="refused", message=instruments.backend_problem, restarts=0)
    backend = instruments.segmenter.backend
    if not isinstance(backend, ServingBackend):
        return None
    status = backend.status()
    return ServedBy(serving=status.serving, state=status.state, message=status.message, restarts=status.restarts)
