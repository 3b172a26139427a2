"""The parts of a calibration profile, as they stand in its JSON: immutable, closed to unknown keys, every number within what it can be."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from calib.scale import MAX_UM_PER_PX, MIN_UM_PER_PX
from calib.targets import RING_CODES, HoodRing

HAIR_PLANE_MM, HAIR_PLANE_STD_MM = 0.3, 0.3  # how far the skin bulges into a hood of 8 mm, and with it the hair
MAX_GRID = 64  # cells a side of a flat field
MAX_WHOLE = 2**53  # integers up to here survive every reader of JSON

Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=2000)]
Millimetres = Annotated[float, Field(gt=0, le=1000)]
Spread = Annotated[float, Field(ge=0, le=1000)]  # a standard uncertainty
UmPerPx = Annotated[float, Field(ge=MIN_UM_PER_PX, le=MAX_UM_PER_PX)]
Finite = Annotated[float, Field(ge=-1e6, le=1e6)]
Pixels = Annotated[int, Field(ge=16, le=20_000)]
ControlName = Annotated[str, Field(min_length=1, max_length=80)]
ControlValue = bool | Annotated[int, Field(ge=-MAX_WHOLE, le=MAX_WHOLE)] | Finite | Annotated[str, Field(max_length=200)]
FocusMode = Literal["locked", "refocused"]
Three = tuple[Finite, Finite, Finite]


class Part(BaseModel):
    """Base of every part of a profile."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Device(Part):
    """What a profile belongs to: the microscope and how it is set.

    Attributes:
        microscope: identity, as the camera's driver gives it or a person names it.
        focus_mode: `locked`, or `refocused` with the wheel at each distance.
        controls: camera controls that were locked, by name.
    """

    microscope: Name
    width_px: Pixels
    height_px: Pixels
    focus_mode: FocusMode = "locked"
    controls: dict[ControlName, ControlValue] = Field(default={}, max_length=64)


class Ring(Part):
    """The hood's ring of dots. `diameter_std_mm`: how well it was printed or measured."""

    diameter_mm: Annotated[float, Field(ge=1, le=60)]
    diameter_std_mm: Spread = 0.0
    code: Annotated[int, Field(ge=0, lt=RING_CODES)] = 0

    @property
    def target(self) -> HoodRing:
        """What to look for in a frame."""
        return HoodRing(self.diameter_mm, self.code)


class Hood(Part):
    """The contact hood. `height_mm` is where its rim holds the skin, counted as the distances of the calibration are."""

    name: Name
    height_mm: Millimetres
    height_std_mm: Spread
    ring: Ring | None = None


class HairPlane(Part):
    """How much nearer to the camera than the hood's rim (and its ring) the hair lies, and how sure that is."""

    height_mm: Annotated[float, Field(ge=-5, le=10)] = HAIR_PLANE_MM
    height_std_mm: Annotated[float, Field(ge=0, le=10)] = HAIR_PLANE_STD_MM


class View(Part):
    """One picture of the calibration.

    Attributes:
        distance_mm: as given. `um_per_px`, `um_per_px_std`: at the middle of the picture, for a plane square to the axis.
        residual_um_per_px: above the curve; None where there is none.
        used: False where the other pictures gainsay it.
    """

    file: Text
    distance_mm: Millimetres
    um_per_px: UmPerPx
    um_per_px_std: Spread
    residual_um_per_px: Finite | None
    used: bool
    tilt_deg: Annotated[float, Field(ge=0, le=90)] | None
    psf_sigma_px: Annotated[float, Field(ge=0, le=1000)] | None
    n_points: Annotated[int, Field(ge=0)]


class Curve(Part):
    """um_per_px(d) = a + b·d, as `calib.curve.ScaleCurve` describes it; its points are the profile's views."""

    a_um_per_px: Finite
    b_um_per_px_per_mm: Annotated[float, Field(gt=0, le=1e6)]
    covariance: tuple[tuple[Finite, Finite], tuple[Finite, Finite]]
    distance_std_mm: Spread
    excess_std_mm: Spread
    low_mm: Millimetres
    high_mm: Millimetres
    margin_mm: Spread

    @model_validator(mode="after")
    def _possible(self) -> Curve:
        ((aa, ab), (ba, bb)) = self.covariance
        if ab != ba or aa < 0 or bb < 0 or ab * ab > aa * bb * (1 + 1e-9):
            raise ValueError("the covariance of the curve is none")
        if not self.low_mm < self.high_mm:
            raise ValueError("the calibrated interval of the curve is empty")
        if self.a_um_per_px + self.b_um_per_px_per_mm * (self.low_mm - self.margin_mm) <= 0:
            raise ValueError("the curve gives scales of nothing and less inside its own interval")
        return self


class HoodScale(Part):
    """The scale in the plane of the hood's rim, for a hood of one height that needs no curve."""

    um_per_px: UmPerPx
    um_per_px_std: Spread


class LensFit(Part):
    """The distortion as `calib.lens.RadialLens` describes it; standard uncertainties from leaving out each picture, None where too few."""

    centre_px: tuple[Finite, Finite]
    k1: Annotated[float, Field(ge=-2, le=2)]
    k2: Annotated[float, Field(ge=-2, le=2)]
    centre_std_px: tuple[Spread, Spread] | None = None
    k1_std: Spread | None = None
    k2_std: Spread | None = None

    @model_validator(mode="after")
    def _unfolded(self) -> LensFit:
        square = np.linspace(0, 1.2, 25) ** 2
        if np.min(1 + square * (3 * self.k1 + 5 * self.k2 * square)) <= 0 or np.min(1 + square * (self.k1 + self.k2 * square)) <= 0:
            raise ValueError("the distortion folds the picture over itself")
        return self


class Sharpness(Part):
    """σ of the point spread at one distance."""

    distance_mm: Millimetres
    psf_sigma_px: Annotated[float, Field(ge=0, le=1000)]


class Light(Part):
    """What a white target (and a colour chart) showed at one distance, as `calib.light` describes it; None for what was not taken.

    Attributes:
        flat_field: relative light, rows of cells of (blue, green, red).
        grey_gains: blue, green, red.
        colour_matrix: rows give blue, green, red; `colour_residual` is what it leaves, root mean square in grey levels.
    """

    distance_mm: Millimetres
    flat_field: tuple[Annotated[tuple[Three, ...], Field(min_length=2, max_length=MAX_GRID)], ...] | None = None
    grey_gains: Three | None = None
    colour_matrix: tuple[Three, Three, Three] | None = None
    colour_residual: Spread | None = None

    @field_validator("flat_field")
    @classmethod
    def _even(cls, rows: tuple[tuple[Three, ...], ...] | None) -> tuple[tuple[Three, ...], ...] | None:
        if rows is not None:
            if not 2 <= len(rows) <= MAX_GRID or len({len(row) for row in rows}) != 1:
                raise ValueError(f"a flat field is a grid of 2 to {MAX_GRID} rows of the same length")
            if not all(0 < level <= 1 for row in rows for cell in row for level in cell):
                raise ValueError("a flat field holds shares of the brightest cell, above 0 and up to 1")
        return rows
