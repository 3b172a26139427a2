"""A profile from what was seen: one lens for all pictures, the scale of each with that lens held, the curve, the point spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from calib.curve import SAME_MM, ScaleCurve, different_distances, fit_curve
from calib.errors import CurveError, ProfileError
from calib.lens import RadialLens
from calib.light import ColourMatrix, FlatField, GreyBalance
from calib.perspective import refuse_wrong_pitch
from calib.plane import PlaneFit, fit_planes
from calib.points import TargetPoints
from calib.profile import LIFETIME, MAX_PSF_SIGMA_PX, MAX_VIEWS, Profile, sealed
from calib.profile_parts import Curve, Device, HairPlane, Hood, HoodScale, LensFit, Light, Sharpness, View
from calib.scale import MAX_UM_PER_PX, MIN_UM_PER_PX
from calib.targets import Target

Floats = NDArray[np.float64]

# How well one picture tells the tilt of a target (0.1° of boards and grids), and what the tilt does to the depth in the middle of the
# picture where the lens's axis is some pixels off it.
TILT_STD_RAD = math.radians(0.2)
LEAST_FOR_SPREAD = 3  # pictures, so that leaving one out tells something of the lens's uncertainty
UNSEALED = "0" * 16


class SeenTarget(Protocol):
    """What is needed of a `calib.view.TargetView`."""

    @property
    def points(self) -> TargetPoints:
        """Where the target's points lie."""

    @property
    def psf_sigma_px(self) -> float | None:
        """σ of the point spread, px."""

    @property
    def n_points(self) -> int:
        """How many points were seen."""


def fit_profile(
    views: Sequence[SeenTarget],
    distances_mm: Sequence[float],
    *,
    device: Device,
    target: Target | str,
    made_by: str,
    now: datetime,
    program: str,
    files: Sequence[str] | None = None,
    distance_std_mm: float = 0.0,
    pitch_std_percent: float = 0.0,
    hood: Hood | None = None,
    hair_plane: HairPlane | None = None,
    light: Sequence[Light] = (),
    max_psf_sigma_px: float = MAX_PSF_SIGMA_PX,
    lifetime: timedelta = LIFETIME,
    note: str = "",
) -> Profile:
    """The profile that pictures of one target at known distances make.

    Args:
        views: one a picture, all of `device`'s size, seen with a pitch tolerance of 0: that tolerance is common to all and given here.
        distances_mm: of each picture. With a hood and all of them at its height, a profile without a curve comes of it.
        now: with a time zone; the profile is made then and expires after `lifetime`.
        program: name and version of what makes it.
        files: names of the pictures, by which they are listed and named in messages.
        distance_std_mm: standard uncertainty of each distance.
        hood: its height is counted as the distances are, and must lie among them.

    Raises:
        CurveError: the pictures do not make a curve, or not with this hood; see `calib.curve.fit_curve`.
        TargetNotFoundError: points that do not fix a plane.
        ProfileError: a value that no profile can hold.
    """
    names = list(files) if files is not None else [f"picture {number}" for number in range(1, len(views) + 1)]
    if not len(views) == len(distances_mm) == len(names):
        raise CurveError(f"{len(views)} pictures and {len(distances_mm)} distances: give one distance for each picture, in the same order")
    if not 1 <= len(views) <= MAX_VIEWS:
        raise CurveError(f"{len(views)} pictures: a profile is made from 1 to {MAX_VIEWS}")
    width, height = device.width_px, device.height_px
    lens, planes = fit_planes([view.points for view in views], width, height)
    scales = [square_scale(plane) for plane in planes]
    for name, (um_per_px, _) in zip(names, scales, strict=True):
        if not MIN_UM_PER_PX <= um_per_px <= MAX_UM_PER_PX:
            raise CurveError(f"{name}: {um_per_px:.3g} µm per pixel is no microscope's scale: check the pitch of the target")
    hair = HairPlane() if hair_plane is None else hair_plane
    curve, hood_scale = None, None
    if hood is not None and _all_at(hood, distances_mm):
        hood_scale = _mean_scale(scales)
    else:
        curve = fit_curve(
            distances_mm,
            [value for value, _ in scales],
            [std for _, std in scales],
            distance_std_mm=distance_std_mm,
            width_px=width,
            shared_std_share=pitch_std_percent / 100,
        )
        refuse_wrong_pitch(planes, curve.focal_px, device.focus_mode)
        if hood is not None:
            _refuse_uncovered(hood, hair, curve)
    made = now.replace(microsecond=0)
    try:
        return sealed(
            Profile(
                id=UNSEALED,
                device=device,
                hood=hood,
                target=str(target),
                curve=None if curve is None else _curve_part(curve),
                hood_scale=hood_scale,
                lens=_lens_part(lens, _lens_spread([view.points for view in views], width, height)),
                point_spread=_sharpness(views, distances_mm),
                max_psf_sigma_px=max_psf_sigma_px,
                light=tuple(light),
                hair_plane=hair,
                views=_views(views, planes, names, distances_mm, scales, curve),
                pitch_std_percent=pitch_std_percent,
                made_utc=made,
                made_by=made_by,
                program=program,
                expires_utc=made + lifetime,
                note=note,
            )
        )
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, found["loc"])) or "profile"
        raise ProfileError(f"{where}: {str(found['msg']).removeprefix('Value error, ')}: give another value") from None


def light_part(
    distance_mm: float, field: FlatField | None = None, grey: GreyBalance | None = None, matrix: ColourMatrix | None = None
) -> Light:
    """What was seen of the light at a distance, as a profile keeps it (the flat field to four decimals)."""
    return Light(
        distance_mm=distance_mm,
        flat_field=None if field is None else _rows(field.relative),
        grey_gains=None if grey is None else grey.gains,
        colour_matrix=None if matrix is None else matrix.rows,
        colour_residual=None if matrix is None else matrix.residual,
    )


def _rows(relative: Floats) -> tuple[tuple[tuple[float, float, float], ...], ...]:
    kept = np.maximum(np.round(relative, 4), 1e-4).tolist()
    return tuple(tuple((blue, green, red) for blue, green, red in row) for row in kept)


def square_scale(plane: PlaneFit) -> tuple[float, float]:
    """µm per px and its standard uncertainty as they would be were the target square to the axis, from how it lay.

    A plane tilted by θ shows √|det J| larger by 1/√cos θ, 0.2 % at 5°: what a scale at a distance must not inherit. Of a ruler the
    tilt is not known, and its uncertainty holds that already.
    """
    if plane.tilt_deg is None:
        return plane.um_per_px, plane.um_per_px_std
    tilt = math.radians(plane.tilt_deg)
    value = plane.um_per_px * math.sqrt(math.cos(tilt))
    return value, math.hypot(plane.um_per_px_std, value * math.tan(tilt) / 2 * TILT_STD_RAD)


def _all_at(hood: Hood, distances_mm: Sequence[float]) -> bool:
    """Whether the pictures were all taken at the hood's height. Raises CurveError where all are at another one distance."""
    if different_distances(distances_mm) > 1:
        return False
    if abs(distances_mm[0] - hood.height_mm) > max(SAME_MM, 2 * hood.height_std_mm):
        raise CurveError(
            f"the pictures are at {distances_mm[0]:g} mm and hood {hood.name!r} holds the skin at {hood.height_mm:g} mm: "
            "take them with the target against the hood's rim, or at three or more different distances"
        )
    return True


def _mean_scale(scales: Sequence[tuple[float, float]]) -> HoodScale:
    """The weighted mean, its uncertainty from those stated or from the scatter, whichever is larger."""
    value, std = np.array(scales).T
    weight = 1 / np.maximum(std, 1e-6 * value) ** 2
    mean = float(weight @ value / weight.sum())
    own = float(weight @ (value - mean) ** 2) / max(len(value) - 1, 1)
    return HoodScale(um_per_px=mean, um_per_px_std=math.sqrt(max(own, 1.0) / float(weight.sum())))


def _refuse_uncovered(hood: Hood, hair: HairPlane, curve: ScaleCurve) -> None:
    """Raise CurveError where the hair under the hood lies outside what the curve covers."""
    low, high = curve.interval_mm
    if not low <= hood.height_mm - hair.height_mm <= high:
        raise CurveError(
            f"hood {hood.name!r} holds the skin at {hood.height_mm:g} mm, the pictures cover {curve.low_mm:g} to {curve.high_mm:g} mm: "
            "add pictures around the hood's height, or correct it"
        )


def _curve_part(curve: ScaleCurve) -> Curve:
    return Curve(
        a_um_per_px=curve.a_um_per_px,
        b_um_per_px_per_mm=curve.b_um_per_px_per_mm,
        covariance=curve.covariance,
        distance_std_mm=curve.distance_std_mm,
        excess_std_mm=curve.excess_std_mm,
        low_mm=curve.low_mm,
        high_mm=curve.high_mm,
        margin_mm=curve.margin_mm,
    )


def _lens_spread(points: Sequence[TargetPoints], width_px: int, height_px: int) -> Floats | None:
    """Jackknife standard errors (Efron and Stein 1981) of centre x, centre y, k₁ and k₂, float64 (4,); None for too few pictures."""
    n = len(points)
    if n < LEAST_FOR_SPREAD:
        return None
    without = [fit_planes([*points[:i], *points[i + 1 :]], width_px, height_px)[0] for i in range(n)]
    values = np.array([[*lens.centre_px, lens.k1, lens.k2] for lens in without])
    return np.asarray(np.sqrt((n - 1) / n * np.sum((values - values.mean(0)) ** 2, 0)), np.float64)


def _lens_part(lens: RadialLens, spread: Floats | None) -> LensFit:
    centre = float(lens.centre_px[0]), float(lens.centre_px[1])
    if spread is None:
        return LensFit(centre_px=centre, k1=lens.k1, k2=lens.k2)
    x, y, k1, k2 = map(float, spread)
    return LensFit(centre_px=centre, k1=lens.k1, k2=lens.k2, centre_std_px=(x, y), k1_std=k1, k2_std=k2)


def _sharpness(views: Sequence[SeenTarget], distances_mm: Sequence[float]) -> tuple[Sharpness, ...]:
    """By rising distance; the median where several pictures were taken at one."""
    seen: dict[float, list[float]] = {}
    for view, distance in zip(views, distances_mm, strict=True):
        if view.psf_sigma_px is not None:
            seen.setdefault(float(distance), []).append(view.psf_sigma_px)
    return tuple(Sharpness(distance_mm=distance, psf_sigma_px=float(np.median(seen[distance]))) for distance in sorted(seen))


def _views(
    views: Sequence[SeenTarget],
    planes: Sequence[PlaneFit],
    names: Sequence[str],
    distances_mm: Sequence[float],
    scales: Sequence[tuple[float, float]],
    curve: ScaleCurve | None,
) -> tuple[View, ...]:
    residuals = [None] * len(views) if curve is None else curve.residuals.tolist()
    outlier = (False,) * len(views) if curve is None else curve.outlier
    return tuple(
        View(
            file=name,
            distance_mm=float(distance),
            um_per_px=value,
            um_per_px_std=std,
            residual_um_per_px=residual,
            used=not out,
            tilt_deg=plane.tilt_deg,
            psf_sigma_px=view.psf_sigma_px,
            n_points=view.n_points,
        )
        for view, plane, name, distance, (value, std), residual, out in zip(
            views, planes, names, distances_mm, scales, residuals, outlier, strict=True
        )
    )
