"""What a person can set about calibration: a scale that somebody states, else where the profiles are and which hood is in use."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self  # typing.Self needs 3.11

from calib.scale import MAX_UM_PER_PX, MIN_UM_PER_PX, NO_SCALE, Scale, given_scale


class CalibrationSettings(BaseModel):
    """The `[calibration]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    um_per_px: float | None = Field(
        default=None,
        ge=MIN_UM_PER_PX,
        le=MAX_UM_PER_PX,
        description="stated scale in µm per pixel of the camera's picture, instead of any profile's; with neither nothing is given in µm",
    )
    um_per_px_std: float | None = Field(
        default=None, ge=0, description="standard uncertainty of um_per_px in µm/px; leave it out where it is not known"
    )
    folder: Path | None = Field(
        default=None, description="folder of the calibration profiles, absolute or from ~; profiles in the state folder where it is not set"
    )
    microscope: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="the microscope's name in its profiles; what the camera says of itself where it is not set",
    )
    hood: str | None = Field(
        default=None, min_length=1, max_length=200, description="name of the hood in use, as in its profile; any hood's where it is not set"
    )
    distance_std_mm: float | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="standard uncertainty of a distance reading in mm; that of the calibration's own distances where it is not set",
    )

    @field_validator("folder", mode="before")
    @classmethod
    def _absolute(cls, folder: object) -> object:
        if folder is None or folder == "":
            return None
        if not isinstance(folder, (str, Path)):
            raise ValueError('give a path in quotation marks, for example "/var/lib/trichoscope/profiles"')
        try:
            path = Path(folder).expanduser()
        except RuntimeError as error:
            raise ValueError("no home folder is known for ~: give an absolute path") from error
        if not path.is_absolute() or "\0" in str(path):
            raise ValueError("give an absolute path, or one from ~: a relative one would depend on where the daemon was started")
        return path

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
