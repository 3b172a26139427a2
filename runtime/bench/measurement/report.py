"""The figures of `trichoscope bench measurement`, gathered for machines and as tables for people, each beside what is aimed at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from device.simulated.recipe import Kind
from runtime.bench.growth.loads import LoadTimes
from runtime.bench.growth.report import LOAD_COLUMNS, load_cells
from runtime.bench.measurement.accuracy import WIDTH_CLASSES_UM, AccuracyFigures, KindFigures
from runtime.bench.measurement.repeat import RepeatFigures

LIVE_AIM_MS = 20


@dataclass(frozen=True)
class MeasurementBench:
    """What was measured; a part that was not asked for is empty or None."""

    accuracy: Mapping[Kind, KindFigures]
    repeat: Mapping[Kind, RepeatFigures]
    speed: LoadTimes | None

    def as_json(self) -> dict[str, Any]:
        """The parts that were measured, names with units, shares 0…1."""
        parts: dict[str, Any] = {}
        if self.accuracy:
            parts["accuracy"] = {kind: asdict(figures) for kind, figures in self.accuracy.items()}
        if self.repeat:
            parts["repeat"] = {kind: asdict(figures) for kind, figures in self.repeat.items()}
        if self.speed is not None:
            parts["speed"] = asdict(self.speed)
        return parts

    def tables(self) -> list[Table]:
        """The parts that were measured."""
        tables = [_accuracy_table(self.accuracy)] if self.accuracy else []
        if self.repeat:
            tables.append(_repeat_table(self.repeat))
        return tables if self.speed is None else [*tables, _speed_table(self.speed)]


@dataclass(frozen=True)
class _Row:
    """One measure: its name, its text for some figures, and the aims by kind, given the mask and from the image."""

    name: str
    text: Callable[[AccuracyFigures], str]
    aims: Mapping[Kind, tuple[str, str]]


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"


def _signed(value: float | None, unit: str = "") -> str:
    return "—" if value is None else f"{value:+.2f}{unit}"


def _micrometres(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f} µm"


def _class_row(index: int) -> _Row:
    low, high = WIDTH_CLASSES_UM[index]

    def text(figures: AccuracyFigures) -> str:
        one = figures.widths.classes[index]
        return f"{_signed(one.bias_um, ' µm')} of {one.hairs}"

    return _Row(f"width: bias, {low:g}–{high:g} µm", text, {"realistic": ("±1.5", "±2")})


WITHIN: Mapping[Kind, tuple[str, str]] = {"easy": ("", "60–76 %"), "realistic": ("", "60–76 %"), "hard": ("", "60–76 %")}
ROWS = (
    _Row("true hairs", lambda f: str(f.hairs.true_total), {}),
    _Row(
        "hair count: error",
        lambda f: _percent(f.hairs.pooled_error),
        {"easy": ("≤ 4 %", "≤ 6 %"), "realistic": ("≤ 5 %", "≤ 9 %"), "hard": ("≤ 10 %", "≤ 18 %")},
    ),
    _Row("hair count: bias a frame", lambda f: _signed(f.hairs.bias), {}),
    _Row(
        "hair count: correlation",
        lambda f: "—" if f.hairs.correlation is None else f"{f.hairs.correlation:.3f}",
        {"realistic": ("≥ 0.985", "≥ 0.97")},
    ),
    _Row("hair count: within ±1 std", lambda f: _percent(f.hairs.within_1_std), WITHIN),
    _Row("width: mean abs. error", lambda f: _micrometres(f.widths.mean_absolute_error_um), {"realistic": ("≤ 2.5", "≤ 3.5")}),
    *(_class_row(i) for i in range(len(WIDTH_CLASSES_UM))),
    _Row("width: hairs covered", lambda f: _percent(f.widths.coverage), {"realistic": ("≥ 85 %", "≥ 85 %"), "hard": ("≥ 70 %", "≥ 70 %")}),
    _Row("width: hairs covered, width known", lambda f: _percent(f.widths.measured), {}),
    _Row("width: found, matching none", lambda f: _percent(f.widths.unmatched), {"realistic": ("≤ 10 %",) * 2, "hard": ("≤ 20 %",) * 2}),
    _Row("width: within ±1 std", lambda f: _percent(f.widths.within_1_std), WITHIN),
    _Row("follicles: error", lambda f: _percent(f.follicles.pooled_error), {"realistic": ("", "≤ 15 %"), "hard": ("", "≤ 25 %")}),
    _Row("follicles: bias a frame", lambda f: _signed(f.follicles.bias), {}),
    _Row("follicles: within ±1 std", lambda f: _percent(f.follicles.within_1_std), {}),
    _Row(
        "terminal share (30 µm): abs. error",
        lambda f: "—" if f.terminal_share_error is None else f"{100 * f.terminal_share_error:.1f} points",
        {"easy": ("", "≤ 7"), "realistic": ("", "≤ 7"), "hard": ("", "≤ 7")},
    ),
)


def _accuracy_table(kinds: Mapping[Kind, KindFigures]) -> Table:
    frames = next(iter(kinds.values())).from_mask.hairs.frames
    table = _table(f"Accuracy, {frames} frames a kind: given the true mask, and from the image (aims in brackets)")
    for kind in kinds:
        table.add_column(f"{kind}, mask", justify="right")
        table.add_column(f"{kind}, image", justify="right")
    for row in ROWS:
        cells = []
        for kind, figures in kinds.items():
            given, seen = row.aims.get(kind, ("", ""))
            cells += [_cell(row.text(figures.from_mask), given), _cell(row.text(figures.from_image), seen)]
        table.add_row(row.name, *cells)
    return table


def _repeat_table(kinds: Mapping[Kind, RepeatFigures]) -> Table:
    rows: Sequence[tuple[str, Callable[[RepeatFigures], str], str]] = (
        ("fields", lambda f: str(f.fields), ""),
        ("hairs in both, a field", lambda f: "—" if f.hairs_per_field is None else f"{f.hairs_per_field:.1f}", ""),
        ("count: difference", lambda f: _percent(f.count_difference), "≤ 3 %"),
        ("count: fields within 3 %", lambda f: _percent(f.counts_within_3_percent), ""),
        ("median width: difference, mean", lambda f: _percent(f.width_difference), "≤ 1.5 %"),
        ("median width: difference, median", lambda f: _percent(f.width_difference_median), ""),
        ("median width: fields within 1.5 %", lambda f: _percent(f.widths_within_1_5_percent), ""),
    )
    table = _table("The same field twice: other noise, shifted by up to 10 %, turned by up to 5°; over what both frames show")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for name, text, aim in rows:
        table.add_row(name, *(_cell(text(figures), aim) for figures in kinds.values()))
    return table


def _speed_table(live: LoadTimes) -> Table:
    title = "Time after the mask, ms, median / 95th percentile, one core, without the paper's features"
    table = _table(f"{title} (aim at 640×480 with 40 hairs: ≤ {LIVE_AIM_MS} ms, 95 %)")
    for name in (*LOAD_COLUMNS, *live.stages):
        table.add_column(name, justify="right")
    table.add_row("live", *load_cells(live), *(f"{stage.p50_ms:.1f} / {stage.p95_ms:.1f}" for stage in live.stages.values()))
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", show_edge=False, pad_edge=False)
    table.add_column("")
    return table


def _cell(text: str, aim: str) -> str:
    return f"{text} ({aim})" if aim else text
