"""The measured indices of the scalp as a result holds them: flake coverage, shine and erythema, each with its unit and its limits.

Only the models; `runtime.analysis.scalp.measuring` fills them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

FLAKES_UNIT = "% of skin"
SHINE_UNIT = "% of skin"
ERYTHEMA_UNIT = "100 ln R/G"

Share = Annotated[float, Field(ge=0, le=1)]
Grade = Annotated[int, Field(ge=0, le=3)]


class Part(BaseModel):
    """Base: immutable, closed to unknown keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, json_schema_serialization_defaults_required=True)


class Index(Part):
    """One measured index. `value` is null where it could not be had; `reason` then says why, and also why one is not reliable."""

    value: float | None
    unit: str
    reliable: bool
    reason: str | None = None
    grade_hint: Grade | None = Field(
        default=None,
        description="0 (none) to 3 (much) by cut points that were set on rendered scenes only; null where the index is not reliable, "
        "and for erythema without calibrated colour",
    )


class ScalpIndices(Part):
    """Flakes, shine and redness of the skin that is seen between the hairs of one frame."""

    flakes: Index = Field(description="share of the skin that lies under scale and flakes of about 0.1 mm and more")
    shine: Index = Field(description="share of the skin that mirrors the lamps")
    erythema: Index = Field(
        description="redness: logarithm of red over green, pigment taken off, and how far the reddest skin exceeds the palest"
    )
    calibrated: bool = Field(
        description="whether colours were corrected by the profile's white target; else erythema is relative to this camera"
    )
    skin_share: Share = Field(description="of the usable field, what was taken for skin")
    skin_area_cm2: Annotated[float, Field(ge=0)] | None = Field(description="null without a scale")
