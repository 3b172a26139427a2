"""Calibration profiles small enough to make by the dozen: valid, sealed, and of a device that tests choose."""

from datetime import datetime, timedelta, timezone

from calib.profile import Curve, Device, Hood, HoodScale, Profile, Ring, sealed, write_profile

MADE = datetime(2026, 1, 5, 9, 30, tzinfo=timezone.utc)


def profile(
    um_per_px=8.0, *, microscope="scripted", size=(64, 48), hood="spacer 12", ring=None, curve=False, made=MADE, days=3650, **changes
):
    """A profile whose hood gives `um_per_px` at its rim, or with `curve` a straight line over 10–30 mm that does so at 12 mm."""
    line = Curve(
        a_um_per_px=0.0,
        b_um_per_px_per_mm=um_per_px / 12,
        covariance=((1e-8, 0.0), (0.0, 1e-10)),
        distance_std_mm=0.1,
        excess_std_mm=0.0,
        low_mm=10.0,
        high_mm=30.0,
        margin_mm=2.0,
    )
    content = {
        "id": "0" * 16,
        "device": Device(microscope=microscope, width_px=size[0], height_px=size[1]),
        "hood": Hood(name=hood, height_mm=12.0, height_std_mm=0.05, ring=Ring(diameter_mm=ring) if ring else None) if hood else None,
        "target": "dots:0.5",
        "curve": line if curve or not hood else None,
        "hood_scale": None if curve or not hood else HoodScale(um_per_px=um_per_px, um_per_px_std=0.01),
        "lens": None,
        "point_spread": (),
        "views": (),
        "made_utc": made,
        "made_by": "a test",
        "program": "trichoscope",
        "expires_utc": made + timedelta(days=days),
    }
    return sealed(Profile(**(content | changes)))


def write(folder, made):
    """The profile as a file of the folder, which is made where it is missing; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_profile(folder, made)
