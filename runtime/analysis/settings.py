"""What a person can set about the analysis of a frame."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class AnalysisSettings(BaseModel):
    """The `[analysis]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    terminal_cutoff_um: Literal[30, 40] = Field(
        default=30, description="hairs at least this thick (µm) are terminal, thinner ones vellus; trichoscopy uses 30, histology 40"
    )
    max_megapixels: float = Field(
        default=24.0, ge=0.1, le=100.0, description="larger pictures are refused before they are decoded (millions of pixels)"
    )
    opencv_threads: int = Field(
        default=2, ge=1, le=64, description="threads that OpenCV may use in one stage; more than the cores helps nobody"
    )
