"""The scale of one frame, everywhere in it: µm per pixel at the middle, how it changes over the field, and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.lens import RadialLens
from calib.profile_parts import Light
from calib.scale import NO_SCALE, Scale

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScaleReading:
    """What was read to get a frame's scale, kept so that it can be computed anew when the profile is corrected.

    Attributes:
        distance_mm, distance_std_mm: of the range sensor, or as a person stated it; None where the scale does not rest on it.
        ring_um_per_px, ring_um_per_px_std: in the plane of the hood ring, as seen in this very frame; None without a ring.
        ring_mm: the ring's diameter by which that was reckoned.
        slope_per_px: relative change of the scale per px towards x and y, from the tilt of the ring; None without one.
    """

    distance_mm: float | None = None
    distance_std_mm: float | None = None
    ring_um_per_px: float | None = None
    ring_um_per_px_std: float | None = None
    ring_mm: float | None = None
    slope_per_px: tuple[float, float] | None = None


@dataclass(frozen=True)
class FrameScale:
    """The scale at the middle of a frame and over its field.

    Attributes:
        scale: at the middle of the picture.
        lens: bends the field; None where the scale counts as the same everywhere.
        slope_per_px: relative change of the scale per px towards x and y at the middle, from the tilt of the skin.
        profile_id: of the calibration profile behind it, None without one.
        psf_sigma_px: σ of the point spread at this distance, None where not known.
        max_psf_sigma_px: the largest σ at which widths are still given, None for no limit.
        opening_px: the hood's opening as a polygon of x and y in the picture, None where no rim is in view.
        reading: what it rests on.
        light: what the profile knows of the light, for colours; empty without one.
        note: why no better source was used, or why there is no scale; "" where there is nothing to say.
    """

    scale: Scale = NO_SCALE
    lens: RadialLens | None = None
    slope_per_px: tuple[float, float] = (0.0, 0.0)
    profile_id: str | None = None
    psf_sigma_px: float | None = None
    max_psf_sigma_px: float | None = None
    opening_px: tuple[tuple[float, float], ...] | None = None
    reading: ScaleReading = ScaleReading()
    note: str = ""
    light: tuple[Light, ...] = ()

    @property
    def too_blurred(self) -> bool:
        """Whether the camera is too far out of focus here for widths."""
        return self.psf_sigma_px is not None and self.max_psf_sigma_px is not None and self.psf_sigma_px > self.max_psf_sigma_px

    def relative(self, pixels: NDArray[np.floating]) -> Floats:
        """The scale at points (n, 2) over that at the middle of the picture, float64 (n,)."""
        points = np.asarray(pixels, np.float64).reshape(-1, 2)
        if self.lens is None:
            return np.ones(len(points))
        middle = np.array([self.lens.middle_px])
        bent = self.lens.stretch(points) / self.lens.stretch(middle)
        return np.asarray(bent * (1 + (points - middle) @ np.array(self.slope_per_px)), np.float64)

    def at(self, pixels: NDArray[np.floating]) -> Floats:
        """µm per px at points (n, 2), float64 (n,); NaN without a scale."""
        return self.relative(pixels) * (np.nan if self.scale.um_per_px is None else self.scale.um_per_px)

    def grid(self, width_px: int, height_px: int, rows: int = 24, columns: int = 32) -> Floats:
        """µm per px in the middle of each cell of an even grid over a picture of width_px × height_px, float64 (rows, columns)."""
        x = (np.arange(columns) + 0.5) * width_px / columns - 0.5
        y = (np.arange(rows) + 0.5) * height_px / rows - 0.5
        gx, gy = np.meshgrid(x, y)
        return self.at(np.stack([gx.ravel(), gy.ravel()], 1)).reshape(rows, columns)
