"""The figures of `trichoscope analyze` as CSV for spreadsheets and as tables for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from runtime.analysis.measurement import Measurement
from runtime.analysis.pooled import Pooled, PooledDensity, PooledShare
from runtime.analysis.sampling import Interval
from runtime.commands.graded import graded_columns

Estimate = tuple[float | None, Interval | None]  # a figure and its 95 % interval
NOT_HAD: Estimate = (None, None)


def measurement_row(m: Measurement) -> dict[str, object]:
    """The figures of a picture, flat; None where a figure could not be had."""
    um, density, follicles, kinds = m.diameter_um, m.density_per_cm2, m.follicle_density_per_cm2, m.terminal_vellus
    paper, diversity, thickness, apart = m.paper, m.diameter_diversity, m.cumulative_thickness_mm_per_cm2, m.interfollicular_distance_um
    return {
        "image": m.image,
        "width_px": m.width_px,
        "height_px": m.height_px,
        "um_per_px": m.scale.um_per_px,
        "scale_source": m.scale.source,
        "hair_count": m.hair_count,
        "hair_count_std": m.hair_count_std,
        "rooted_hair_count": m.rooted_hair_count,
        "hair_count_in_frame": m.hair_count_in_frame,
        "follicle_count": m.follicle_count,
        "follicle_count_std": m.follicle_count_std,
        "area_cm2": m.area_cm2,
        "density_per_cm2": density and density.value,
        "density_std_frame": density and density.std_frame,
        "density_std_site": density and density.std_site,
        "density_rule": density and density.rule,
        "follicle_density_per_cm2": follicles and follicles.value,
        "diameter_px_median": m.diameter_px.median,
        "diameter_um_n": um and um.n,
        "diameter_um_mean": um and um.mean,
        "diameter_um_median": um and um.median,
        "diameter_um_sd": um and um.sd,
        "terminal_cutoff_um": kinds and kinds.cutoff_um,
        "terminal": kinds and kinds.terminal,
        "vellus": kinds and kinds.vellus,
        "diameter_cv": diversity and diversity.cv,
        "below_cutoff_share": diversity and diversity.below_cutoff_share,
        "cumulative_thickness_mm_per_cm2": thickness and thickness.value,
        "single_hair_unit_share": m.single_hair_unit_share,
        "interfollicular_distance_um": apart and apart.mean,
        "paper_thickness_n": paper and paper.thickness_px.n,
        "paper_thickness_mean_px": paper and paper.thickness_px.mean,
        "paper_thickness_median_px": paper and paper.thickness_px.median,
        "paper_thickness_mean_iqr_px": paper and paper.thickness_px.mean_iqr,
        "paper_thickness_median_iqr_px": paper and paper.thickness_px.median_iqr,
        "paper_line_count": paper and paper.line_count,
        "quality_ok": m.quality.ok,
        "quality_reasons": "; ".join(m.quality.reasons),
        "reliability": m.segmentation.reliability,
        "mask": m.segmentation.mask,
        "total_ms": m.timing_ms["total"],
    } | graded_columns(m)


def _estimates(p: Pooled) -> dict[str, Estimate]:
    """The figures of a pool by the name that they have in CSV; (None, None) where a figure could not be had."""
    um, apart, diversity = p.diameter_um, p.interfollicular_distance_um, p.diameter_diversity
    return {
        "density_per_cm2": _of_density(p.density_per_cm2),
        "follicle_density_per_cm2": _of_density(p.follicle_density_per_cm2),
        "cumulative_thickness_mm_per_cm2": _of_density(p.cumulative_thickness_mm_per_cm2),
        "diameter_um_mean": (um.mean, um.mean_interval_95) if um else NOT_HAD,
        "diameter_um_median": (um.median, um.median_interval_95) if um else NOT_HAD,
        "diameter_cv": (diversity.cv, diversity.cv_interval_95) if diversity else NOT_HAD,
        "below_cutoff_share": _of_share(diversity.below_cutoff_share if diversity else None),
        "single_hair_unit_share": _of_share(p.single_hair_unit_share),
        "interfollicular_distance_um": (apart.mean, apart.mean_interval_95) if apart else NOT_HAD,
    }


def _of_density(density: PooledDensity | None) -> Estimate:
    return (density.value, density.interval_95) if density else NOT_HAD


def _of_share(share: PooledShare | None) -> Estimate:
    return (share.value, share.interval_95) if share else NOT_HAD


def pooled_row(p: Pooled) -> dict[str, object]:
    """The figures of a pool with their intervals, flat; None where a figure could not be had."""
    row: dict[str, object] = {
        "name": p.name,
        "fields": len(p.fields),
        "left_out": len(p.left_out),
        "hair_count": p.hair_count,
        "rooted_hair_count": p.rooted_hair_count,
        "hair_count_in_frame": p.hair_count_in_frame,
        "follicle_count": p.follicle_count,
        "area_cm2": p.area_cm2,
        "density_rule": p.density_per_cm2 and p.density_per_cm2.rule,
        "diameter_um_n": p.diameter_um and p.diameter_um.n,
        "terminal_cutoff_um": p.terminal_vellus and p.terminal_vellus.cutoff_um,
        "terminal": p.terminal_vellus and p.terminal_vellus.terminal,
        "vellus": p.terminal_vellus and p.terminal_vellus.vellus,
    }
    for name, (value, interval) in _estimates(p).items():
        low, high = interval or (None, None)
        row |= {name: value, f"{name}_low_95": low, f"{name}_high_95": high}
    return row | {"notes": "; ".join(_remarks(p))}


def _remarks(p: Pooled) -> list[str]:
    return [*(f"{out.image}: left out: {out.reason}" for out in p.left_out), *p.notes]


def as_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of the same columns, with a header; nothing of no row."""
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def measurement_table(measured: Sequence[Measurement]) -> Table:
    """A row a picture, for people."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("picture", overflow="fold")
    for title in ("hairs", "follicles", "hairs/cm²", "diameter (median)", "CV", "terminal", "mm/cm²", "quality"):
        table.add_column(title, justify="left" if title == "quality" else "right")
    for m in measured:
        density, um, kinds = m.density_per_cm2, m.diameter_um, m.terminal_vellus
        diversity, thickness = m.diameter_diversity, m.cumulative_thickness_mm_per_cm2
        known = kinds.terminal + kinds.vellus if kinds else 0
        table.add_row(
            m.image,
            f"{m.hair_count} ± {m.hair_count_std:.0f}",
            f"{m.follicle_count} ± {m.follicle_count_std:.0f}",
            "—" if density is None else f"{density.value:.0f}" + ("" if density.std_site is None else f" ± {density.std_site:.0f}"),
            _length(um.median, "µm") if um else _length(m.diameter_px.median, "px"),
            "—" if diversity is None or diversity.cv is None else f"{diversity.cv:.0%}",
            f"{kinds.terminal / known:.0%}" if kinds and known else "—",
            "—" if thickness is None else f"{thickness.value:.1f}",
            "good" if m.quality.ok else ", ".join(m.quality.reasons),
        )
    return table


# of the table of pools: the figure, its title, its decimals, what it is multiplied by, its unit
COLUMNS = (
    ("density_per_cm2", "hairs/cm²", 0, 1, ""),
    ("follicle_density_per_cm2", "follicles/cm²", 0, 1, ""),
    ("cumulative_thickness_mm_per_cm2", "hair mass", 1, 1, " mm/cm²"),
    ("diameter_um_median", "diameter (median)", 1, 1, " µm"),
    ("diameter_cv", "diversity (CV)", 0, 100, " %"),
    ("below_cutoff_share", "vellus", 0, 100, " %"),
    ("single_hair_unit_share", "single units", 0, 100, " %"),
    ("interfollicular_distance_um", "units apart", 0, 1, " µm"),
)


def pooled_table(p: Pooled) -> Group:
    """A pool for people: a row a figure with its 95 % interval, under them what there is to say of it."""
    fields = "1 field" if len(p.fields) == 1 else f"{len(p.fields)} fields"
    table = Table(show_edge=False, pad_edge=False)
    for title in ("figure", "value", "95 % interval"):
        table.add_column(title, justify="left" if title == "figure" else "right")
    estimates = _estimates(p)
    for name, title, decimals, factor, unit in COLUMNS:
        value, interval = estimates[name]
        shown = "—" if value is None else f"{value * factor:.{decimals}f}{unit}"
        table.add_row(title, shown, "—" if interval is None else "–".join(f"{end * factor:.{decimals}f}" for end in interval))
    return Group(Text(f"{p.name}: {fields} pooled", style="bold"), table, *(Text(remark) for remark in _remarks(p)))


def _length(value: float | None, unit: str) -> str:
    return "—" if value is None else f"{value:.1f} {unit}"
