"""The settings of the device layer, as `runtime/config.py` composes them: which camera, and how patiently it is waited for."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from device.camera import parse_uri
from device.errors import CameraUriError


class CameraSettings(BaseModel):
    """`[camera]`: where frames come from. Immutable, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    uri: str = Field(
        default="simulated:",
        description="camera address: simulated:?seed=7&fps=30&width=640&height=480&scenes=4 or replay:FOLDER?fps=30&loop=1",
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
