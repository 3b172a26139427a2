"""The figures of `trichoscope bench calibration`, gathered for machines and as tables for people, each beside what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from runtime.bench.calibration.curves import CurveFigures
from runtime.bench.calibration.errors import ErrorFigures
from runtime.bench.calibration.hairs import HairFigures
from runtime.bench.calibration.ring import RingFigures
from runtime.bench.calibration.targets import TargetFigures

CURVE_BARS_PERCENT = (0.1, 0.3)
HAIR_BAR_PERCENT = 2.0
COVERED = "60–76, ≥ 93 %"


@dataclass(frozen=True)
class CalibrationBench:
    """What was measured; a part that was not asked for is empty or None."""

    targets: Mapping[str, TargetFigures]
    ring: RingFigures | None
    curves: CurveFigures | None
    hairs: HairFigures | None

    def as_json(self) -> dict[str, Any]:
        """The parts that were measured, names with units, shares 0…1."""
        parts: dict[str, Any] = {}
        if self.targets:
            parts["targets"] = {kind: asdict(figures) for kind, figures in self.targets.items()}
        for name, part in (("ring", self.ring), ("curves", self.curves), ("hairs", self.hairs)):
            if part is not None:
                parts[name] = asdict(part)
        return parts

    def tables(self) -> list[Table]:
        """The parts that were measured."""
        tables = []
        if self.targets or self.ring is not None:
            tables.append(self._scales())
        if self.curves is not None:
            tables.append(_curves(self.curves))
        if self.hairs is not None:
            tables.append(_hairs(self.hairs))
        return tables

    def _scales(self) -> Table:
        table = _table("scale of one picture", "pictures", "refused", "median, p95", "asked for", "bias", "within 1, 2 std", "ms")
        for kind, figures in self.targets.items():
            table.add_row(kind, *_cells(figures.scale, figures.bars_percent), f"{figures.ms_p50:.0f}")
        if self.ring is not None:
            ring = self.ring
            table.add_row("hood ring, profile's lens", *_cells(ring.held, ring.bars_percent), f"{ring.found_ms_p50:.1f} (asked: ≤ 3)")
            table.add_row("hood ring, lens unknown", *_cells(ring.free, ring.bars_percent), "")
            table.add_row("no ring there", str(ring.empty), f"{ring.empty - ring.false}", "", "", "", "", f"{ring.empty_ms_p50:.1f}")
        return table


def _table(*titles: str) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for i, title in enumerate(titles):
        table.add_column(title, justify="right" if i else "left")
    return table


def _cells(figures: ErrorFigures, bars_percent: tuple[float, float]) -> list[str]:
    if figures.median_percent is None:
        return [str(figures.n), str(figures.refused), "—", "≤ {:g}, {:g} %".format(*bars_percent), "—", "—"]
    return [
        str(figures.n),
        str(figures.refused),
        f"{figures.median_percent:.3f}, {figures.p95_percent:.3f} %",
        "≤ {:g}, {:g} %".format(*bars_percent),
        f"{figures.bias_percent:+.3f} %",
        f"{figures.within_1_std:.0%}, {figures.within_2_std:.0%}",
    ]


def _curves(figures: CurveFigures) -> Table:
    table = _table(
        f"{figures.curves} curves, {figures.refused} refused", "predictions", "", "median, p95", "asked for", "bias", "within 1, 2 std"
    )
    for title, by_std in (("calibrated exactly, read with σ", figures.read), ("calibrated and read with σ", figures.calibrated)):
        for std, errors in by_std.items():
            cells = _cells(errors, CURVE_BARS_PERCENT)
            if std != "0 mm":
                cells[3] = COVERED
            table.add_row(f"{title} {std}", *cells)
    return table


def _hairs(figures: HairFigures) -> Table:
    table = _table(f"the same {figures.hairs} hairs at", *(f"{d:g} mm" for d in figures.distances_mm), "largest over smallest", "asked for")
    table.add_row("µm per px", *(f"{um:.2f}" for um in figures.um_per_px), "", "")
    table.add_row("thickness, one scale for all", *(f"{v:.3f}" for v in figures.relative_before), f"{figures.spread_before:.2f}", "")
    spread = f"{1 + figures.spread_percent / 100:.3f}"
    table.add_row("thickness, calibrated", *(f"{v:.3f}" for v in figures.relative), spread, f"≤ {1 + HAIR_BAR_PERCENT / 100:g}")
    table.add_row("measured over true", *(f"{v:.3f}" for v in figures.to_truth), "", "")
    return table
