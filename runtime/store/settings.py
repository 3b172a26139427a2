"""What a person can set about the store, and where the state folder is when nobody says."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from runtime.folders import named_folder


def default_state_folder() -> Path:
    """$STATE_DIRECTORY (systemd's StateDirectory=), else $XDG_STATE_HOME/trichoscope, else ~/.local/state/trichoscope."""
    if service := os.environ.get("STATE_DIRECTORY", ""):
        return Path(service.partition(":")[0])  # systemd joins several folders with colons; the first is ours
    if (home := os.environ.get("XDG_STATE_HOME", "")) and Path(home).is_absolute():  # the XDG text: ignore relative ones
        return Path(home) / "trichoscope"
    try:
        return Path.home() / ".local" / "state" / "trichoscope"
    except RuntimeError:  # a service user without a home
        return Path("/var/lib/trichoscope")


class StoreSettings(BaseModel):
    """The `[store]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    folder: Path = Field(
        default_factory=default_state_folder,
        description="state folder, absolute or from ~: database and pictures of captures; one daemon per folder",
    )
    reserve_mb: int = Field(
        default=512,
        ge=0,
        le=1_000_000,
        description="captures are refused while the state folder's disk has fewer megabytes free than this",
    )
    busy_timeout_s: float = Field(
        default=5.0, gt=0, le=60, description="longest wait in seconds for the database or for another capture being written"
    )
    check_deadline_s: float = Field(
        default=20.0, gt=0, le=600, description="longest time in seconds that the database's integrity check may take at start"
    )
    thumbnail_px: int = Field(default=240, ge=32, le=1024, description="longer side of a capture's thumbnail in pixels")

    @field_validator("folder", mode="before")
    @classmethod
    def _absolute(cls, folder: object) -> object:
        return named_folder(folder, "/var/lib/trichoscope")
