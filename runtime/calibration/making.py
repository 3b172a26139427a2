"""The order for a calibration profile, as a person gives it, and the profile that views of a target make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibrationError, CurveError
from calib.profile_parts import ControlValue, Device, FocusMode, HairPlane, Hood, Light
from calib.targets import Target

if TYPE_CHECKING:
    from calib.profile import Profile
    from calib.view import TargetView


UNNAMED = "unnamed"  # a microscope that nobody gave a name


@dataclass(frozen=True)
class Order:
    """What a profile is to say beside what is fitted.

    Attributes:
        lifetime: how long it holds. `max_psf_sigma_px`: the largest blur at which widths are still given.
        microscope: its name; None where nobody gave one.
        distance_std_mm: standard uncertainty of each distance.
        pitch_std_percent: the target's own tolerance.
    """

    target: Target
    lifetime: timedelta
    max_psf_sigma_px: float
    microscope: str | None = None
    focus_mode: FocusMode = "locked"
    controls: Mapping[str, ControlValue] = field(default_factory=dict)
    distance_std_mm: float = 0.0
    pitch_std_percent: float = 0.0
    hood: Hood | None = None
    hair_plane: HairPlane = field(default_factory=HairPlane)
    made_by: str = ""
    note: str = ""


def make_profile(
    order: Order,
    views: Sequence[TargetView],
    distances_mm: Sequence[float],
    names: Sequence[str],
    size_px: tuple[int, int],
    light: Sequence[Light] = (),
) -> Profile:
    """The sealed profile of an order.

    Args:
        views: one a picture, at `distances_mm`, by `names`; all of `size_px`.
        light: what was seen of a white target.

    Raises:
        CalibrationError: the views do not make a profile; the message says why and what to do.
    """
    from pydantic import ValidationError

    from calib.fitting import fit_profile
    from runtime import __version__

    try:
        device = Device(
            microscope=order.microscope or UNNAMED,
            width_px=size_px[0],
            height_px=size_px[1],
            focus_mode=order.focus_mode,
            controls=dict(order.controls),
        )
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        raise CurveError(f"{'.'.join(map(str, found['loc']))}: {found['msg']}: give another value") from None
    return fit_profile(
        views,
        distances_mm,
        device=device,
        target=order.target,
        made_by=order.made_by,
        now=datetime.now(timezone.utc),
        program=f"trichoscope {__version__}",
        files=names,
        distance_std_mm=order.distance_std_mm,
        pitch_std_percent=order.pitch_std_percent,
        hood=order.hood,
        hair_plane=order.hair_plane,
        light=light,
        max_psf_sigma_px=order.max_psf_sigma_px,
        lifetime=order.lifetime,
        note=order.note,
    )


def light_seen(image: NDArray[np.uint8], distance_mm: float) -> Light:
    """Flat field and grey balance of a picture of a white target, uint8 (height, width, 3) BGR. Raises CalibrationError."""
    from calib.fitting import light_part
    from calib.light import flat_field, grey_balance

    return light_part(distance_mm, flat_field(image), grey_balance(image))


def refuse_sizes(sizes: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    """The one size (width, height) in px that all pictures have. Raises CalibrationError naming two that differ."""
    (first, size), *others = sizes.items()
    for name, other in others:
        if other != size:
            raise CalibrationError(
                f"{name}: {other[0]}×{other[1]} px, but {first} has {size[0]}×{size[1]}: a profile is for one picture size, "
                "take all pictures with the same"
            )
    return size
