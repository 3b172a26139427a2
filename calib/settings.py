"""What a person can set about calibration: a scale that somebody states, until a profile or a fiducial gives one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self  # typing.Self needs 3.11

from calib.scale import MAX_UM_PER_PX, MIN_UM_PER_PX, NO_SCALE, Scale, given_scale


class CalibrationSettings(BaseModel):
    """The `[calibration]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    um_per_px: float | None = Field(
        default=None,
        ge=MIN_UM_PER_PX,
        le=MAX_UM_PER_PX,
        description="stated scale in µm per pixel of the camera's picture; without one nothing is given in µm or per cm²",
    )
    um_per_px_std: float | None = Field(
        default=None, ge=0, description="standard uncertainty of um_per_px in µm/px; leave it out where it is not known"
    )

    @model_validator(mode="after")
    def _uncertainty_belongs_to_a_scale(self) -> Self:
        if self.um_per_px_std is not None and self.um_per_px is None:
            raise ValueError("um_per_px_std is given without um_per_px: give both, or neither")
        if self.um_per_px_std is not None and self.um_per_px is not None and self.um_per_px_std > self.um_per_px:
            raise ValueError("um_per_px_std is larger than um_per_px itself: give it in µm/px, not in percent")
        return self

    def scale(self) -> Scale:
        """The scale that was stated, source "given", or the scale of source "none"."""
        return NO_SCALE if self.um_per_px is None else given_scale(self.um_per_px, self.um_per_px_std)
