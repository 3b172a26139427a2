"""The settings of the device layer, as `runtime/config.py` composes them: which camera, how patiently, and which handpiece."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from device.camera import parse_uri
from device.errors import CameraUriError, HandpieceUriError
from device.handpiece.uri import parse_handpiece_uri


class CameraSettings(BaseModel):
    """`[camera]`: where frames come from. Immutable, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    uri: str = Field(
        default="simulated:",
        description="camera address: v4l2:auto or v4l2:/dev/v4l/by-id/NAME?width=640&height=480&fps=30, "
        "simulated:?seed=7&fps=30&width=640&height=480&scenes=4 or replay:FOLDER?fps=30&loop=1",
    )
    read_timeout_s: Annotated[float, Field(gt=0, le=60)] = Field(
        default=2.0, description="seconds without a frame after which the camera counts as frozen"
    )
    reopen_delay_s: Annotated[float, Field(ge=0.1, le=60)] = Field(
        default=1.0, description="seconds between two attempts to open a camera that is missing or was lost"
    )

    @field_validator("uri")
    @classmethod
    def _names_a_driver(cls, value: str) -> str:
        try:
            parse_uri(value)
        except CameraUriError as error:
            raise ValueError(str(error)) from error
        return value


class HandpieceSettings(BaseModel):
    """`[handpiece]`: where range, light and button come from. Immutable, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    uri: str = Field(
        default="none:",
        description="handpiece address: none:, serial:auto, serial:/dev/serial/by-id/NAME?driver=reference|tofsense|gy53&baud=115200, "
        "pty:/dev/pts/N or simulated:",
    )
    range_offset_mm: Annotated[float, Field(ge=-500, le=500)] = Field(
        default=0.0,
        description="mm added to the range reading to give the distance as the calibration counts it, from its own place",
    )

    @field_validator("uri")
    @classmethod
    def _names_a_driver(cls, value: str) -> str:
        try:
            parse_handpiece_uri(value)
        except HandpieceUriError as error:
            raise ValueError(str(error)) from error
        return value
