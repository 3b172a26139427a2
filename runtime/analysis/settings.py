"""What a person can set about the analysis of a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from runtime.analysis.measurement import CutoffProfile
from runtime.folders import named_folder


class AnalysisSettings(BaseModel):
    """The `[analysis]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    segmenter: Literal["learned", "classical"] = Field(
        default="learned", description="what finds hair: the network of a bundle, or the classical mask, which needs none"
    )
    bundle: Path | None = Field(
        default=None,
        description="folder of the bundle whose network finds hair, absolute or from ~; the one inside the program where it is not set",
    )
    terminal_cutoff_um: Literal[30, 40] = Field(
        default=30, description="hairs thicker than this (µm) are terminal, others vellus; trichoscopy uses 30, TrichoScan 40"
    )
    max_megapixels: float = Field(
        default=24.0, ge=0.1, le=100.0, description="larger pictures are refused before they are decoded (millions of pixels)"
    )
    opencv_threads: int = Field(
        default=2,
        ge=1,
        le=64,
        description="threads that OpenCV and the network may use in one stage; the daemon leaves one core to the camera and the page",
    )

    def cutoff(self) -> CutoffProfile:
        """The name of the cut-off that was set."""
        return "trichoscan" if self.terminal_cutoff_um == 40 else "trichoscopy"

    @field_validator("bundle", mode="before")
    @classmethod
    def _absolute(cls, bundle: object) -> object:
        return None if bundle is None or bundle == "" else named_folder(bundle, "/var/lib/trichoscope/bundle")
