"""What a person can set about the use: which profile is asked for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from runtime.intended_use.text import ProfileName


class UseSettings(BaseModel):
    """The `[use]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    profile: ProfileName = Field(
        default="wellness",
        description='"wellness": words of appearance, no forecast, no stage; "clinical": only after `trichoscope use declare`',
    )
