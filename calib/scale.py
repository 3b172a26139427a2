"""The scale of a picture: micrometres per pixel, how sure we are of it, and where it came from. Never a default factor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from calib.errors import ScaleError

ScaleSource = Literal["given", "fiducial", "distance", "hood", "none"]

# a hair of 20–150 µm must be some pixels wide and a field wider than a hair: scales outside this are typing errors
MIN_UM_PER_PX, MAX_UM_PER_PX = 0.05, 100.0


@dataclass(frozen=True)
class Scale:
    """µm per pixel at the picture's centre, in the image as given.

    Attributes:
        um_per_px: None exactly when `source` is "none"; then nothing may be reported in µm or per cm².
        um_per_px_std: standard uncertainty in µm/px, None where it is not stated.
    """

    um_per_px: float | None
    um_per_px_std: float | None
    source: ScaleSource

    def __post_init__(self) -> None:
        if (self.um_per_px is None) != (self.source == "none"):
            raise ScaleError(f"a scale of source {self.source!r} cannot have um_per_px = {self.um_per_px}")
        if self.um_per_px is not None and not MIN_UM_PER_PX <= self.um_per_px <= MAX_UM_PER_PX:
            raise ScaleError(
                f"{self.um_per_px} µm per pixel is no microscope's scale: expected {MIN_UM_PER_PX} to {MAX_UM_PER_PX}; "
                "give µm per pixel of the image as stored"
            )
        if self.um_per_px_std is not None and not (math.isfinite(self.um_per_px_std) and self.um_per_px_std >= 0):
            raise ScaleError(f"the scale's uncertainty {self.um_per_px_std} is not a number of µm/px")


NO_SCALE = Scale(None, None, "none")


def given_scale(um_per_px: float, um_per_px_std: float | None = None) -> Scale:
    """A scale that a person or the source itself stated. Raises ScaleError where it is absurd."""
    return Scale(um_per_px, um_per_px_std, "given")
