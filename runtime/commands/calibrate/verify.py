"""`trichoscope calibrate verify`: a wire or line of known width measured in a picture, to pass or fail a calibration."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.commands.calibrate.options import UsageError, messages, print_json, refusals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calib.field import FrameScale

COVERAGE = 2.0  # standard uncertainties within which the known width must lie


def verify(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="A picture with one straight wire or ruled line across its middle.", show_default=False)
    ],
    known_um: Annotated[float, typer.Option("--known-um", metavar="W", help="Its true width in µm.", show_default=False)],
    calibration: Annotated[
        Path | None, typer.Option("--calibration", metavar="PROFILE.json", help="The profile to verify.", show_default=False)
    ] = None,
    distance_mm: Annotated[
        float | None, typer.Option("--distance-mm", metavar="D", help="Distance of the wire, for a profile's curve.", show_default=False)
    ] = None,
    distance_std_mm: Annotated[
        float | None, typer.Option("--distance-std-mm", metavar="S", min=0, help="Its standard uncertainty.", show_default=False)
    ] = None,
    um_per_px: Annotated[
        float | None, typer.Option("--um-per-px", metavar="X", help="Verify this scale instead of a profile.", show_default=False)
    ] = None,
    um_per_px_std: Annotated[float, typer.Option("--um-per-px-std", metavar="S", min=0, help="Standard uncertainty of that scale.")] = 0.0,
    tolerance_um: Annotated[
        float, typer.Option("--tolerance-um", metavar="T", min=0, help="What the width may be off beside the stated uncertainty.")
    ] = 0.0,
) -> None:
    """Measure a wire of known width and say whether the calibration holds.

    Passes (exit code 0) where the known width lies within two standard uncertainties, stated scale and measurement together, and the
    tolerance. Fails, or could not be measured: exit code 1.
    """
    console = messages()
    with refusals(console, image):
        if not 0.1 <= known_um <= 1e5:
            raise UsageError(f"--known-um {known_um:g}: the wire's width in µm, for example 50")
        if (calibration is None) == (um_per_px is None):
            raise UsageError("give either --calibration PROFILE.json or --um-per-px X")
        if um_per_px is not None and distance_mm is not None:
            raise UsageError("--distance-mm is for a profile's curve: leave it out with --um-per-px")
        from calib.wire import across_um_per_px, measure_wire
        from runtime.commands.pictures import read_picture

        pixels = read_picture(image)
        if calibration is not None:
            field = _by_profile(calibration, pixels, distance_mm, distance_std_mm)
        else:
            assert um_per_px is not None
            field = _stated(um_per_px, um_per_px_std)
        assert field.scale.um_per_px is not None
        wire = measure_wire(pixels, known_um / field.scale.um_per_px)
    local = across_um_per_px(field, wire)
    scale, scale_std = field.scale.um_per_px, field.scale.um_per_px_std or 0.0
    width = wire.width_px * local
    std = width * math.hypot(wire.width_std_px / wire.width_px, scale_std / scale)
    error = width - known_um
    passed = abs(error) <= COVERAGE * std + tolerance_um
    verdict = "passed" if passed else "FAILED: the scale is off, or the wire is not what it is said to be"
    console.print(
        f"{image}: {width:.2f} ± {std:.2f} µm, known {known_um:g} µm, off by {error:+.2f} µm "
        f"({wire.width_px:.2f} px at {local:.4f} µm/px): {verdict}",
        markup=False,
    )
    print_json(
        {
            "width_um": width,
            "width_um_std": std,
            "known_um": known_um,
            "error_um": error,
            "passed": passed,
            "um_per_px": scale,
            "um_per_px_std": field.scale.um_per_px_std,
            "source": field.scale.source,
            "width_px": wire.width_px,
            "width_px_std": wire.width_std_px,
            "psf_sigma_px": wire.psf_sigma_px,
            "angle_deg": wire.angle_deg,
        }
    )
    if not passed:
        raise typer.Exit(1)


def _by_profile(path: Path, pixels: NDArray[np.uint8], distance_mm: float | None, distance_std_mm: float | None) -> FrameScale:
    """The picture's scale by a profile. Raises CalibrationError where it has none."""
    from calib.errors import ProfileError
    from calib.profile import read_profile
    from calib.resolve import resolve_scale

    profile = read_profile(path)
    if profile.expired_at(datetime.now(timezone.utc)):
        raise ProfileError(f"{path}: expired on {profile.expires_utc:%Y-%m-%d}: calibrate anew")
    field = resolve_scale(profile, pixels, distance_mm=distance_mm, distance_std_mm=distance_std_mm)
    if field.scale.um_per_px is None:
        remedy = "" if distance_mm is not None else ": give --distance-mm, or a picture with the hood's ring in it"
        raise ProfileError(f"{path} gives this picture no scale: {field.note}{remedy}")
    return field


def _stated(um_per_px: float, std: float) -> FrameScale:
    """A scale that a person states. Raises UsageError where it is absurd."""
    from calib.errors import ScaleError
    from calib.field import FrameScale
    from calib.scale import given_scale

    try:
        return FrameScale(given_scale(um_per_px, std))
    except ScaleError as error:
        raise UsageError(f"--um-per-px {um_per_px:g}: {error}") from error
