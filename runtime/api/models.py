"""What the API answers, as types: they make the OpenAPI description, and no answer leaves without fitting them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from device.capture import CaptureState
from device.handpiece.session import SensorState
from runtime.analysis.measurement import Measurement
from runtime.inference.tensorrt.serving import State
from runtime.workers.analysis import AnalysisState

Count = Annotated[int, Field(ge=0)]


class Answer(BaseModel):
    """Base of everything that is answered: closed to other keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Problem(Answer):
    """Every error."""

    error: str = Field(description="what is wrong, for a person")
    remedy: str = Field(description="what to do about it")


class CameraNow(Answer):
    """The camera at this moment."""

    state: CaptureState
    message: str = Field(description="for a person; says what to do where something must be done")
    name: str
    width: int | None = Field(description="px, null while no camera is open")
    height: int | None
    fps: float | None = Field(description="frames per second that the camera promises")


class AnalysisNow(Answer):
    """The live analysis at this moment."""

    state: AnalysisState
    message: str


class SegmenterNow(Answer):
    """What finds hair at this moment."""

    live: str = Field(description="in the live picture: classical/1, or the bundle's name, release and hash")
    captures: str = Field(description="the same in captures")
    problem: str | None = Field(description="why the classical mask is used instead of the learned one, null where all is as configured")


class ModelsNow(Answer):
    """Which bundle serves at this moment."""

    bundle: str | None = Field(description="name, release and hash; null where the classical mask serves without any")
    source: Literal["factory", "slot", "configured", "none"] = Field(description="inside the program, installed, named by configuration")
    waiting: bool = Field(description="another bundle was activated and waits until nobody works")
    notice: str | None = Field(description="what should be known: that a bundle was rolled back, say; null for nothing")


class ServedBy(Answer):
    """What runs a network where TensorRT was asked for."""

    serving: Literal["tensorrt", "onnxruntime"] = Field(description="who answers the next picture")
    state: State = Field(description="of TensorRT's worker")
    message: str = Field(description="for a person; says what to do where something must be done")
    restarts: Count = Field(description="of TensorRT's worker after a failure")


class InferenceNow(Answer):
    """What runs the network that finds hair; null where ONNX Runtime was asked for, or no network finds hair."""

    live: ServedBy | None
    captures: ServedBy | None


class CalibrationNow(Answer):
    """What gives the connected microscope its scale at this moment."""

    profile_id: str | None = Field(description="of the calibration profile that fits it; null where none does or is needed")
    made_utc: str | None = Field(description="when the profile was made, ISO 8601")
    expires_utc: str | None = Field(description="until when it may be used, ISO 8601")
    hood: str | None = Field(description="the contact hood that it was made with")
    why: str | None = Field(description="why no profile fits, and what to do; null where one does, or where none is asked")
    notice: str | None = Field(description="what should be known of the profile in use: that it expires soon, say; null for nothing")


class HandpieceAnswer(Answer):
    """The handpiece at this moment."""

    state: SensorState | Literal["none"] = Field(description="none: the configuration names no handpiece")
    message: str = Field(description="for a person; says what to do where something must be done")
    name: str
    distance_mm: float | None = Field(description="from the range sensor to the skin, null where there is no fresh reading")
    distance_std_mm: float | None
    temperature_c: float | None = Field(description="of its light ring")
    trouble: str | None = Field(description="what it says is wrong with it")
    press_problem: str | None = Field(description="why the capture of the last press of its button was not kept, null where it was")


class StoreNow(Answer):
    """The store at this moment."""

    notice: str | None = Field(description="what should be known of how the store was found at the start, null where all was well")
    problem: str | None = Field(description="why nothing can be kept at present, null where it can")


class StatusAnswer(Answer):
    """How the daemon is."""

    version: str
    camera: CameraNow
    analysis: AnalysisNow
    segmenter: SegmenterNow
    models: ModelsNow
    inference: InferenceNow
    calibration: CalibrationNow
    handpiece: HandpieceAnswer
    capture_fps: float = Field(description="frames per second that really come")
    results_per_s: float
    frames: Count
    frames_lost: Count = Field(description="gaps in the camera's own numbering")
    frames_damaged: Count
    camera_reconnects: Count
    results: Count
    segmenter_failures: Count = Field(description="pictures, live and captured, on which the learned segmenter failed")
    captures_kept: Count = Field(description="since the start of the daemon")
    captures_waiting: Count
    live_clients: Count
    store_notice: str | None = Field(description="what should be known of how the store was found at the start, null where all was well")
    store_problem: str | None = Field(description="why nothing can be kept at present, null where it can")


class CaptureWish(BaseModel):
    """What a capture is of."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    site: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] | None = Field(
        default=None, description="part of the scalp: frontal, mid, vertex, left temporal, right temporal, occipital"
    )


class CaptureSummary(Answer):
    """A kept capture, as the list shows it."""

    id: int
    taken_at: str = Field(description="UTC, ISO 8601")
    site: str | None
    width_px: int
    height_px: int
    hair_count: Count
    sha256: str = Field(description="of the picture's file")


class CaptureKept(CaptureSummary):
    """A capture that was just kept."""

    passed_over: str | None = Field(description="why its figures do not stand on the best mask that the bundle has networks for, or null")


class CaptureAnswer(CaptureSummary):
    """A kept capture with its measurement."""

    measurement: Measurement


class CapturePage(Answer):
    """Captures, newest first."""

    captures: list[CaptureSummary]
    next_before: int | None = Field(description="give it as `before` for the next page; null on the last")


class PartHealth(Answer):
    """One part of the daemon."""

    name: Literal["capture", "analysis", "store", "server"]
    ok: bool
    state: str
    message: str


class HealthAnswer(Answer):
    """Whether every part works, and what is wrong where one does not."""

    ok: bool
    parts: list[PartHealth]
