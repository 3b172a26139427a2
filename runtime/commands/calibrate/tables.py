"""A profile in words and tables, for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from calib.profile import Profile


def views_table(profile: Profile) -> Table:
    """A row for each picture of the calibration."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("picture", overflow="fold", min_width=10)
    for heading in ("mm", "µm/px", "±", "off line ‰", "tilt °", "blur px", "points", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for view in profile.views:
        off = None if view.residual_um_per_px is None else 1000 * view.residual_um_per_px / view.um_per_px
        table.add_row(
            Path(view.file).name,
            f"{view.distance_mm:g}",
            f"{view.um_per_px:.4f}",
            f"{view.um_per_px_std:.4f}",
            "–" if off is None else f"{off:+.2f}",
            "–" if view.tilt_deg is None else f"{view.tilt_deg:.1f}",
            "–" if view.psf_sigma_px is None else f"{view.psf_sigma_px:.2f}",
            str(view.n_points),
            "" if view.used else "left out",
        )
    return table


def curve_in_words(profile: Profile) -> Iterator[str]:
    """Curve, lens and hood, a line each."""
    if (curve := profile.scale_curve) is not None:
        ((aa, _), (_, bb)) = curve.covariance
        low, high = curve.interval_mm
        yield (
            f"µm/px = {curve.a_um_per_px:.5g} (±{aa**0.5:.2g}) + {curve.b_um_per_px_per_mm:.6g} (±{bb**0.5:.2g}) · mm, "
            f"from {curve.low_mm:g} to {curve.high_mm:g} mm (used from {low:.4g} to {high:.4g})"
        )
    if (scale := profile.hood_scale) is not None:
        yield f"at the hood's rim {scale.um_per_px:.5g} ± {scale.um_per_px_std:.2g} µm/px; no curve over distances"
    if (lens := profile.lens) is not None:
        spread = "" if lens.k1_std is None or lens.k2_std is None else f" (±{lens.k1_std:.2g}, ±{lens.k2_std:.2g})"
        x, y = lens.centre_px
        yield f"lens: k₁ {lens.k1:+.4f}, k₂ {lens.k2:+.4f}{spread} about {x:.1f}, {y:.1f} px"
    if (hood := profile.hood) is not None:
        ring = "" if hood.ring is None else f", ring of {hood.ring.diameter_mm:g} mm with code {hood.ring.code}"
        yield f"hood {hood.name!r} at {hood.height_mm:g} ± {hood.height_std_mm:g} mm{ring}"


def facts_table(profile: Profile) -> Table:
    """What the profile belongs to and who made it."""
    device = profile.device
    facts = [
        ("profile", profile.id),
        ("microscope", device.microscope),
        ("picture size", f"{device.width_px}×{device.height_px} px"),
        ("focus", device.focus_mode),
        ("controls", ", ".join(f"{name} = {value}" for name, value in device.controls.items()) or "none recorded"),
        ("target", profile.target + (f" (±{profile.pitch_std_percent:g} %)" if profile.pitch_std_percent else "")),
        ("hair plane", f"{profile.hair_plane.height_mm:g} ± {profile.hair_plane.height_std_mm:g} mm over the hood's rim"),
        ("widths up to blur", f"σ {profile.max_psf_sigma_px:g} px"),
        ("light known at", ", ".join(f"{light.distance_mm:g} mm" for light in profile.light) or "no distance"),
        ("made", f"{profile.made_utc:%Y-%m-%d %H:%M} UTC by {profile.made_by or 'nobody named'} with {profile.program}"),
        ("expires", f"{profile.expires_utc:%Y-%m-%d}"),
        ("note", profile.note),
    ]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        if value:
            table.add_row(name, value)
    return table
