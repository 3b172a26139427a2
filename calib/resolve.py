"""The scale of a frame by a calibration profile, from the best source that there is: the hood's ring seen in this very frame, then the
hood's known height, then a distance reading through the curve; else none, with the reasons.

Hair lies nearer to the camera than the hood's rim and its ring, by the profile's `hair_plane`: there the scale is smaller by slope times
height. A distance reading is to the skin itself, so nothing is taken off it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calib.curve import ScaleCurve
from calib.errors import CalibrationError, DistanceError, ProfileError
from calib.field import FrameScale, ScaleReading
from calib.opening import opening_in_picture
from calib.plane import PlaneFit, fit_plane
from calib.profile import Hood, Profile, Ring
from calib.scale import NO_SCALE, Scale, ScaleSource

# Without a curve nobody knows how far away the projection centre is: about the hood's height, give or take half of it.
UNKNOWN_SLOPE_SHARE = 0.5
# A ring whose scale is so far off what the curve says at the hood's height was misread, or belongs to another hood …
CONTRADICTION = 0.3
# … and one so far off, and beyond all uncertainty, tells that something was moved since the calibration.
SURPRISE, SURPRISE_STDS = 0.05, 4.0


class ContradictionError(ProfileError):
    """What is seen in a frame cannot be under the hood that the profile describes, so that its height says nothing either."""


def resolve_scale(
    profile: Profile, image: NDArray[np.uint8] | None, *, distance_mm: float | None = None, distance_std_mm: float | None = None
) -> FrameScale:
    """The scale of one frame.

    Args:
        image: uint8 (height, width, 3) BGR, in which the hood's ring is looked for; None where only height and distance can tell.
        distance_mm: from camera to skin, counted as in the calibration; None without a reading.
        distance_std_mm: its standard uncertainty; None for that of the calibration's own distances.

    Returns:
        A scale of source "fiducial", "hood" or "distance", or of source "none"; `note` says why no better source was used.
    """
    device = profile.device
    if image is not None and image.shape[:2] != (device.height_px, device.width_px):
        return _none(
            profile,
            f"profile {profile.id} was made for pictures of {device.width_px}×{device.height_px} px, this one has "
            f"{image.shape[1]}×{image.shape[0]}: use the picture size of the calibration, or calibrate for this one",
        )
    reasons: list[str] = []
    try:
        return _by_ring(profile, image)
    except CalibrationError as error:
        reasons.append(str(error))
        contradicted = isinstance(error, ContradictionError)
    try:
        return _noted(_by_hood(profile, contradicted), reasons)
    except CalibrationError as error:
        reasons.append(str(error))
    try:
        return _noted(_by_distance(profile, distance_mm, distance_std_mm), reasons)
    except CalibrationError as error:
        reasons.append(str(error))
    return _none(profile, *reasons)


def scale_again(profile: Profile, source: ScaleSource, reading: ScaleReading) -> FrameScale:
    """The scale of a frame that was resolved before, from the same reading through another profile: a corrected one.

    Args:
        source, reading: of the frame's scale. A scale that a person gave, or none, is no profile's to correct: source "none" comes back.
    """
    try:
        if source == "fiducial":
            return _ring_again(profile, reading)
        if source == "hood":
            return _by_hood(profile, contradicted=False)
        if source == "distance":
            return _by_distance(profile, reading.distance_mm, reading.distance_std_mm)
    except CalibrationError as error:
        return _none(profile, str(error))
    return _none(profile, f"a scale of source {source!r} rests on no profile")


def _by_ring(profile: Profile, image: NDArray[np.uint8] | None) -> FrameScale:
    """From the hood's ring in the picture. Raises CalibrationError where there is none, or none that can be."""
    hood = _hood(profile)
    if hood.ring is None:
        raise ProfileError("the profile's hood has no ring")
    if image is None:
        raise ProfileError("no picture to look for the hood's ring in")
    plane = _seen_ring(profile, hood.ring, image)
    share = hood.ring.diameter_std_mm / hood.ring.diameter_mm
    note = _check_ring(profile, hood, plane.um_per_px, math.hypot(plane.um_per_px_std, share * plane.um_per_px))
    reading = ScaleReading(
        ring_um_per_px=plane.um_per_px,
        ring_um_per_px_std=plane.um_per_px_std,
        ring_mm=hood.ring.diameter_mm,
        slope_per_px=plane.slope_per_px,
    )
    found = _ring_again(profile, reading)
    opening = opening_in_picture(plane, hood.ring.target, profile.device.width_px, profile.device.height_px)
    return replace(found, lens=found.lens or plane.lens, opening_px=opening, note=note)


def _seen_ring(profile: Profile, ring: Ring, image: NDArray[np.uint8]) -> PlaneFit:
    """The ring's plane in the picture, the profile's lens held. Raises TargetNotFoundError."""
    from calib.finding.ring import find_ring

    device = profile.device
    return fit_plane(find_ring(image, ring.target), device.width_px, device.height_px, profile.radial_lens)


def _check_ring(profile: Profile, hood: Hood, um_per_px: float, um_per_px_std: float) -> str:
    """What is odd about a ring's scale where the profile foretells it, "" for nothing. Raises ContradictionError beyond CONTRADICTION."""
    try:
        expected, std = _at_rim(profile, hood)
    except CalibrationError:
        return ""
    off = um_per_px / expected - 1
    if abs(off) > CONTRADICTION:
        raise ContradictionError(
            f"the ring gives {um_per_px:.4g} µm/px, {off:+.0%} off the {expected:.4g} that the profile has at the rim of hood "
            f"{hood.name!r}: check that the hood and the diameter of its ring are the profile's"
        )
    if abs(off) > max(SURPRISE, SURPRISE_STDS * math.hypot(std, um_per_px_std) / expected):
        return f"the ring's scale is {off:+.1%} off what the profile has at the rim of hood {hood.name!r}: check hood and focus"
    return ""


def _ring_again(profile: Profile, reading: ScaleReading) -> FrameScale:
    """From the scale in the ring's plane, however large the ring was thought to be."""
    hood = _hood(profile)
    if hood.ring is None:
        raise ProfileError("the profile's hood has no ring")
    if reading.ring_um_per_px is None or reading.ring_um_per_px_std is None or reading.ring_mm is None:
        raise ProfileError("what was read of the ring is not there")
    factor = hood.ring.diameter_mm / reading.ring_mm
    rim = reading.ring_um_per_px * factor
    rim_std = math.hypot(reading.ring_um_per_px_std * factor, rim * hood.ring.diameter_std_mm / hood.ring.diameter_mm)
    scale = Scale(*_at_hair(profile, hood, rim, rim_std), "fiducial")
    return _resolved(profile, scale, _distance_of(profile, hood, scale), reading)


def _by_hood(profile: Profile, contradicted: bool) -> FrameScale:
    """From the hood's height. Raises CalibrationError where there is no hood, or its height is outside the curve."""
    hood = _hood(profile)
    if contradicted:
        raise ProfileError(f"the height of hood {hood.name!r} is not used where its ring gainsays it")
    plane, curve = profile.hair_plane, profile.scale_curve
    if curve is None:
        scale = Scale(*_at_hair(profile, hood, *_at_rim(profile, hood)), "hood")
        return _resolved(profile, scale, hood.height_mm, ScaleReading())
    distance = hood.height_mm - plane.height_mm
    try:
        value, std = curve.at(distance, math.hypot(hood.height_std_mm, plane.height_std_mm))
    except DistanceError as error:
        raise DistanceError(f"hood {hood.name!r}: {error}") from None
    return _resolved(profile, Scale(value, std, "hood"), distance, ScaleReading())


def _by_distance(profile: Profile, distance_mm: float | None, distance_std_mm: float | None) -> FrameScale:
    """From a distance reading. Raises CalibrationError where there is none, or it is outside the curve."""
    if distance_mm is None:
        raise ProfileError("no distance reading")
    curve = profile.scale_curve
    if curve is None:
        raise ProfileError("the profile has no curve over distances")
    std_mm = curve.distance_std_mm if distance_std_mm is None else distance_std_mm
    scale = Scale(*curve.at(distance_mm, std_mm), "distance")
    return _resolved(profile, scale, distance_mm, ScaleReading(distance_mm=distance_mm, distance_std_mm=std_mm))


def _hood(profile: Profile) -> Hood:
    if profile.hood is None:
        raise ProfileError("the profile has no hood")
    return profile.hood


def _at_rim(profile: Profile, hood: Hood) -> tuple[float, float]:
    """µm per px in the plane of the hood's rim as the profile foretells it. Raises DistanceError."""
    if profile.hood_scale is not None:
        scale = profile.hood_scale
        return scale.um_per_px, math.hypot(scale.um_per_px_std, scale.um_per_px * profile.pitch_std_percent / 100)
    curve = profile.scale_curve
    assert curve is not None  # the profile has one of the two
    return curve.at(hood.height_mm, hood.height_std_mm)


def _at_hair(profile: Profile, hood: Hood, rim: float, rim_std: float) -> tuple[float, float]:
    """From µm per px at the hood's rim to the hair, which is nearer by the hair plane's height."""
    plane, curve = profile.hair_plane, profile.scale_curve
    if curve is not None:
        slope, slope_std = curve.b_um_per_px_per_mm, math.sqrt(curve.covariance[1][1])
    else:
        slope = rim / hood.height_mm
        slope_std = UNKNOWN_SLOPE_SHARE * slope
    value = rim - slope * plane.height_mm
    return value, math.hypot(rim_std, slope * plane.height_std_mm, slope_std * plane.height_mm)


def _distance_of(profile: Profile, hood: Hood, scale: Scale) -> float:
    """The distance at which the profile has this scale; the hood's height where there is no curve."""
    curve: ScaleCurve | None = profile.scale_curve
    return hood.height_mm if curve is None or scale.um_per_px is None else curve.distance_at(scale.um_per_px)


def _resolved(profile: Profile, scale: Scale, distance_mm: float, reading: ScaleReading) -> FrameScale:
    return FrameScale(
        scale=scale,
        lens=profile.radial_lens,
        slope_per_px=reading.slope_per_px or (0.0, 0.0),
        profile_id=profile.id,
        psf_sigma_px=profile.psf_at(distance_mm),
        max_psf_sigma_px=profile.max_psf_sigma_px,
        reading=reading,
        light=profile.light,
    )


def _noted(found: FrameScale, reasons: Sequence[str]) -> FrameScale:
    return replace(found, note=_together([*reasons, found.note]))


def _none(profile: Profile, *reasons: str) -> FrameScale:
    return FrameScale(scale=NO_SCALE, profile_id=profile.id, note=_together(reasons), light=profile.light)


def _together(reasons: Sequence[str]) -> str:
    return "; ".join(reason for reason in dict.fromkeys(reasons) if reason)
