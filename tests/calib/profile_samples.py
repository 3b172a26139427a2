"""Profiles for tests: made of numbers, as a calibration of a pinhole camera would have come out."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from calib.profile import LIFETIME, Curve, Device, Hood, HoodScale, LensFit, Light, Profile, Ring, Sharpness, View, sealed

NOW = datetime(2026, 3, 4, 10, 30, tzinfo=timezone.utc)
DEVICE = Device(microscope="Acme 200x, serial 17", width_px=640, height_px=480, controls={"exposure": 120, "auto_white_balance": False})
HOOD = Hood(name="clear 20", height_mm=20.0, height_std_mm=0.1, ring=Ring(diameter_mm=8.0, diameter_std_mm=0.01, code=2))
A, B = 1.0, 0.5  # µm/px, µm/px per mm
A_STD, B_STD = 0.003, 0.0002
DISTANCES = (12.0, 16.0, 20.0, 24.0, 28.0, 32.0)
LIGHT = Light(distance_mm=20.0, flat_field=tuple(((0.9, 1.0, 0.875),) * 3 for _ in range(2)), grey_gains=(1.1, 1.0, 0.9))


def view(distance: float, number: int) -> View:
    return View(
        file=f"picture {number}.png",
        distance_mm=distance,
        um_per_px=A + B * distance,
        um_per_px_std=0.002,
        residual_um_per_px=0.001 * (-1) ** number,
        used=True,
        tilt_deg=1.5,
        psf_sigma_px=1.0,
        n_points=150,
    )


def curve_part() -> Curve:
    return Curve(
        a_um_per_px=A,
        b_um_per_px_per_mm=B,
        covariance=((A_STD**2, 0.0), (0.0, B_STD**2)),
        distance_std_mm=0.05,
        excess_std_mm=0.0,
        low_mm=12.0,
        high_mm=32.0,
        margin_mm=2.0,
    )


def sample(**changes) -> Profile:
    """A sealed profile with a curve and a hood with a ring; `changes` replace its fields."""
    content = {
        "id": "0" * 16,
        "device": DEVICE,
        "hood": HOOD,
        "target": "charuco:14x11,0.5,0.375,DICT_5X5_250",
        "curve": curve_part(),
        "hood_scale": None,
        "lens": LensFit(centre_px=(321.5, 238.25), k1=-0.05, k2=0.011, centre_std_px=(0.5, 0.4), k1_std=0.001, k2_std=0.002),
        "point_spread": tuple(Sharpness(distance_mm=d, psf_sigma_px=s) for d, s in ((12.0, 2.0), (20.0, 1.0), (32.0, 4.0))),
        "light": (LIGHT,),
        "views": tuple(view(d, n) for n, d in enumerate(DISTANCES)),
        "made_utc": NOW,
        "made_by": "Zoë",
        "program": "trichoscope 0.1.0",
        "expires_utc": NOW + LIFETIME,
    } | changes
    return sealed(Profile(**content))


def hood_only(**changes) -> Profile:
    """A profile without a curve: all pictures at the hood's height."""
    views = tuple(view(20.0, n).model_copy(update={"residual_um_per_px": None}) for n in range(3))
    scale = HoodScale(um_per_px=11.0, um_per_px_std=0.004)
    spread = (Sharpness(distance_mm=20.0, psf_sigma_px=1.1),)
    return sample(**({"curve": None, "hood_scale": scale, "views": views, "point_spread": spread} | changes))


def made(days: float, **changes) -> Profile:
    """A sample made so many days after NOW."""
    moment = NOW + timedelta(days=days)
    return sample(**({"made_utc": moment, "expires_utc": moment + LIFETIME} | changes))
