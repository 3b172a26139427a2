"""The figures of `trichoscope bench growth` as tables for people."""

from __future__ import annotations

from rich.table import Table

from runtime.bench.growth.curve import Curve, Growth
from runtime.bench.growth.loads import LoadTimes

LOAD_COLUMNS = ("size", "true hairs", "found", "whole", "processor")


def tables(growth: Growth) -> list[Table]:
    """One table a curve; the line through all loads stands under the last."""
    shown = [
        _curve_table("Equally crowded pictures of more pixels", growth.by_pixels),
        _curve_table("One size of picture with more hairs", growth.by_hairs),
    ]
    line = growth.line
    shown[-1].caption = (
        f"all loads ≈ {line.fixed_ms:.1f} ms + {line.per_megapixel_ms:.1f} ms a megapixel + {line.per_hair_ms:.2f} ms a true hair "
        f"(processor medians); farthest from it: {line.worst_ratio:.2f} times"
    )
    return shown


def load_cells(load: LoadTimes) -> list[str]:
    """Size, hairs, and the whole time of a load."""
    whole = f"{load.p50_ms:.1f} / {load.p95_ms:.1f}"
    used = f"{load.processor_p50_ms:.1f} / {load.processor_p95_ms:.1f}"
    return [f"{load.width_px}×{load.height_px}", f"{load.true_hairs:.0f}", f"{load.found_hairs:.0f}", whole, used]


def exponent_text(exponent: float | None) -> str:
    """An exponent to two places, or a dash for none."""
    return "—" if exponent is None else f"{exponent:.2f}"


def _curve_table(title: str, curve: Curve) -> Table:
    table = Table(
        title=f"{title}: ms after the mask, median / 95th percentile, one core, without the paper's features",
        title_justify="left",
        caption_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    for name in (*LOAD_COLUMNS, *curve.stages):
        table.add_column(name, justify="right")
    for i, load in enumerate(curve.loads):
        times = [f"{load.stages[stage].p50_ms:.1f} / {load.stages[stage].p95_ms:.1f}" for stage in curve.stages]
        table.add_row(*load_cells(load), *times, end_section=i == len(curve.loads) - 1)
    upper, whole = [e.upper_end for e in curve.stages.values()], [e.whole for e in curve.stages.values()]
    for name, total, stages in (("exponent", curve.total.whole, whole), ("exponent, two largest", curve.total.upper_end, upper)):
        table.add_row(name, "", "", "", *(exponent_text(value) for value in (total, *stages)))
    return table
