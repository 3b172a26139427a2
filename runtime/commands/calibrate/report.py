"""The picture of a calibration: the fit and what it leaves, the lens's distortion over the frame, the sharpness over distance.

Drawn from the profile alone, so that it can be drawn again at any time; the same profile gives the same bytes.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from calib.lens import RadialLens
from calib.profile import Profile

SIZE_INCHES = (11.0, 8.0)
DPI = 130
LINE, POINT, LEFT_OUT, INSIDE, MARGIN = "#1f5fa8", "#1f5fa8", "#c0392b", "#e8f1e4", "#f4f4ee"
ARROWS = (13, 9)  # across and down
LONGEST_ARROW = 0.075  # of the picture's width
PALE = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}  # behind text
STDS = 2.0  # of error bars and bands


def picture_bytes(profile: Profile, kind: str) -> bytes:
    """The picture as a PNG or SVG file ("png", "svg")."""
    import matplotlib

    data = io.BytesIO()
    metadata: dict[str, Any] = {"Creator": profile.program, "Date": None} if kind == "svg" else {"Software": profile.program}
    with matplotlib.rc_context({"svg.hashsalt": profile.id, "font.size": 9.0, "axes.titlesize": 10.0, "axes.titleweight": "bold"}):
        draw(profile).savefig(data, format=kind, dpi=DPI, metadata=metadata)
    return data.getvalue()


def draw(profile: Profile) -> Any:
    """The `matplotlib.figure.Figure`, four panels."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure: Any = Figure(figsize=SIZE_INCHES, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    device = profile.device
    hood = "" if profile.hood is None else f", hood {profile.hood.name}"
    figure.suptitle(
        f"{device.microscope}{hood}: {device.width_px}×{device.height_px} px, focus {device.focus_mode}, {profile.target}\n"
        f"profile {profile.id}, {profile.made_utc:%Y-%m-%d}, valid until {profile.expires_utc:%Y-%m-%d}",
        fontsize=10.5,
        parse_math=False,
    )
    left, right = figure.add_gridspec(1, 2, width_ratios=(1.0, 1.05))
    upper, lower = left.subgridspec(2, 1, height_ratios=(1.7, 1.0))
    scale = figure.add_subplot(upper)
    rest = figure.add_subplot(lower, sharex=scale)
    bend, blur = right.subgridspec(2, 1, height_ratios=(1.7, 1.0))
    _draw_scale(scale, profile)
    _draw_residuals(rest, profile)
    _draw_distortion(figure, figure.add_subplot(bend), profile)
    _draw_sharpness(figure.add_subplot(blur), profile)
    return figure


def _views(profile: Profile, used: bool) -> Any:
    """Distance, µm/px, its std and residual of the pictures used, or left out, float64 (n, 4); numbers where all have one distance."""
    rows = [
        (
            number if profile.curve is None else v.distance_mm,
            v.um_per_px,
            v.um_per_px_std,
            np.nan if v.residual_um_per_px is None else v.residual_um_per_px,
        )
        for number, v in enumerate(profile.views, 1)
        if v.used == used
    ]
    return np.array(rows, np.float64).reshape(-1, 4)


def _shade(axes: Any, profile: Profile) -> None:
    """The interval in which the profile answers: calibrated, and margin."""
    if (curve := profile.scale_curve) is None:
        return
    low, high = curve.interval_mm
    axes.axvspan(low, high, color=MARGIN, zorder=0)
    axes.axvspan(curve.low_mm, curve.high_mm, color=INSIDE, zorder=0.1)
    pad = 0.06 * (high - low)
    axes.set_xlim(low - pad, high + pad)


def _draw_scale(axes: Any, profile: Profile) -> None:
    axes.set(title="scale over distance", ylabel="µm per px")
    _shade(axes, profile)
    curve = profile.scale_curve
    if curve is not None:
        at = np.linspace(*curve.interval_mm, 200)
        axes.plot(at, curve.a_um_per_px + curve.b_um_per_px_per_mm * at, color=LINE, linewidth=1.2)
        told = f"µm/px = {curve.a_um_per_px:.4g} + {curve.b_um_per_px_per_mm:.5g} · mm\ngreen: calibrated; grey: margin"
    else:
        scale = profile.hood_scale
        assert scale is not None  # a profile has one of the two
        axes.axhline(scale.um_per_px, color=LINE, linewidth=1.2)
        axes.axhspan(
            scale.um_per_px - STDS * scale.um_per_px_std, scale.um_per_px + STDS * scale.um_per_px_std, color=LINE, alpha=0.16, linewidth=0
        )
        told = f"{scale.um_per_px:.5g} ± {scale.um_per_px_std:.2g} µm/px"
        axes.set_title("scale at the rim of the hood")
    axes.text(0.03, 0.96, told, transform=axes.transAxes, va="top", linespacing=1.6, parse_math=False, bbox=PALE)
    _points(axes, profile, lambda rows: (rows[:, 0], rows[:, 1], STDS * rows[:, 2]))
    if profile.hood is not None and curve is not None:
        _mark_hood(axes, profile.hood.height_mm)
    if any(not view.used for view in profile.views):
        axes.legend(loc="lower right", frameon=False)
    axes.tick_params(labelbottom=False)
    axes.ticklabel_format(useOffset=False)
    axes.grid(alpha=0.25)


def _mark_hood(axes: Any, height_mm: float) -> None:
    axes.axvline(height_mm, color="0.45", linewidth=0.9, linestyle=":")
    axes.text(height_mm, 0.02, " rim of the hood", transform=axes.get_xaxis_transform(), color="0.35", fontsize=8, va="bottom")


def _draw_residuals(axes: Any, profile: Profile) -> None:
    axes.set(title="off the line (bars and band: ±2 standard uncertainties)", xlabel="distance, mm", ylabel="‰ of the scale")
    _shade(axes, profile)
    curve = profile.scale_curve
    axes.axhline(0, color=LINE, linewidth=1.0)
    axes.grid(alpha=0.25)
    if curve is None:
        axes.set(title="off the mean (bars: ±2 standard uncertainties)", xlabel="picture", xticks=range(1, len(profile.views) + 1))
        reference = profile.hood_scale.um_per_px if profile.hood_scale is not None else np.nan
        _points(
            axes,
            profile,
            lambda rows: (rows[:, 0], 1000 * (rows[:, 1] / reference - 1), 1000 * STDS * rows[:, 2] / reference),
        )
        return
    at = np.linspace(*curve.interval_mm, 100)
    ((aa, ab), (_, bb)) = curve.covariance
    line = curve.a_um_per_px + curve.b_um_per_px_per_mm * at
    spread = 1000 * STDS * np.sqrt(np.maximum(aa + 2 * ab * at + bb * at**2, 0)) / line
    axes.fill_between(at, -spread, spread, color=LINE, alpha=0.16, linewidth=0)

    def off(rows: Any) -> tuple[Any, Any, Any]:
        fitted = rows[:, 1] - rows[:, 3]
        own = np.hypot(rows[:, 2], curve.b_um_per_px_per_mm * np.hypot(curve.distance_std_mm, curve.excess_std_mm))
        return rows[:, 0], 1000 * rows[:, 3] / fitted, 1000 * STDS * own / fitted

    _points(axes, profile, off)


def _points(axes: Any, profile: Profile, of: Any) -> None:
    """Pictures with error bars; hollow and red those that were left out."""
    for used, colour, face, label in ((True, POINT, POINT, "pictures"), (False, LEFT_OUT, "white", "left out")):
        rows = _views(profile, used)
        if len(rows):
            x, y, bars = of(rows)
            axes.errorbar(x, y, bars, fmt="o", color=colour, markerfacecolor=face, markersize=4.5, capsize=2.5, linewidth=1.0, label=label)


def _draw_distortion(figure: Any, axes: Any, profile: Profile) -> None:
    """Where the lens moves points, as arrows, and by how much the local scale differs from the middle's, as contours."""
    device = profile.device
    axes.set(title="distortion over the frame", xlabel="x, px", ylabel="y, px")
    axes.set(xlim=(-0.5, device.width_px - 0.5), ylim=(device.height_px - 0.5, -0.5), aspect="equal")
    lens = profile.radial_lens
    if lens is None:
        axes.text(0.5, 0.5, "not known from this target", transform=axes.transAxes, ha="center", color="0.4")
        return
    gx, gy = np.meshgrid(np.linspace(0, device.width_px - 1, 81), np.linspace(0, device.height_px - 1, 61))
    at = np.stack([gx.ravel(), gy.ravel()], 1)
    relative = 100 * (lens.stretch(at) / lens.stretch(np.array([lens.middle_px]))[0] - 1).reshape(gx.shape)
    largest = max(float(np.abs(relative).max()), 0.02)
    drawn = axes.contourf(gx, gy, relative, levels=np.linspace(-largest, largest, 21), cmap="RdBu_r", alpha=0.75)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.78, pad=0.02, format="%+.2g", label="scale against the middle, %")
    bar.set_ticks(np.linspace(-largest, largest, 5).tolist())
    _draw_arrows(axes, lens)


def _draw_arrows(axes: Any, lens: RadialLens) -> None:
    inset = 0.04
    x = np.linspace(inset, 1 - inset, ARROWS[0]) * (lens.width_px - 1)
    y = np.linspace(inset, 1 - inset, ARROWS[1]) * (lens.height_px - 1)
    places = np.stack([part.ravel() for part in np.meshgrid(x, y)], 1)
    moved = lens.undistort(places) - places
    longest = float(np.hypot(*moved.T).max())
    told = "no distortion to be seen"
    if longest > 1e-3:
        larger = LONGEST_ARROW * lens.width_px / longest
        axes.quiver(
            *places.T, *(larger * moved).T, angles="xy", scale_units="xy", scale=1, width=0.0035, color="0.15", headwidth=4, headlength=4
        )
        told = f"arrows (×{larger:.0f}): where points belong; the farthest is off by {longest:.2g} px"
    axes.plot(*lens.centre_px, marker="+", color="0.1", markersize=9, markeredgewidth=1.2)
    axes.text(
        0.01,
        0.015,
        told,
        transform=axes.transAxes,
        fontsize=8,
        bbox=PALE,
    )


def _draw_sharpness(axes: Any, profile: Profile) -> None:
    axes.set(title="sharpness over distance", xlabel="distance, mm", ylabel="σ of the point spread, px")
    _shade(axes, profile)
    if profile.point_spread:
        d, sigma = np.array([(s.distance_mm, s.psf_sigma_px) for s in profile.point_spread]).T
        axes.plot(d, sigma, "o-", color=POINT, markersize=4.5, linewidth=1.0)
        top = max(float(sigma.max()), profile.max_psf_sigma_px)
    else:
        axes.text(0.5, 0.4, "not measured", transform=axes.transAxes, ha="center", color="0.4")
        top = profile.max_psf_sigma_px
    axes.axhline(profile.max_psf_sigma_px, color=LEFT_OUT, linewidth=1.0, linestyle="--")
    axes.text(
        0.99,
        profile.max_psf_sigma_px,
        "no widths above ",
        transform=axes.get_yaxis_transform(),
        color=LEFT_OUT,
        ha="right",
        va="bottom",
        fontsize=8,
    )
    axes.set_ylim(0, 1.18 * top)
    axes.grid(alpha=0.25)
