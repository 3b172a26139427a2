"""Curves of time as a picture: an SVG with logarithmic axes, on which time that grows with its cause is a straight line of slope one."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from runtime.bench.growth.curve import Curve, Growth
from runtime.bench.growth.report import exponent_text

PANEL_WIDTH, PANEL_HEIGHT = 430, 380  # px, of each curve's panel with its labels
LEFT, TOP, RIGHT, BOTTOM = 58, 40, 92, 52  # px around the axes
COLOURS = ("#1b1b1b", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, for all eyes
LEAST_MS = 0.1
LABEL_PX = 13  # apart at least


def as_svg(growth: Growth) -> str:
    """Both curves side by side, the whole time (of the processor) and each stage's median over the cause."""
    panels = [
        _panel(growth.by_pixels, [load.width_px * load.height_px / 1e6 for load in growth.by_pixels.loads], 0),
        _panel(growth.by_hairs, [max(load.true_hairs, 1) for load in growth.by_hairs.loads], PANEL_WIDTH),
    ]
    size = f'width="{2 * PANEL_WIDTH}" height="{PANEL_HEIGHT}" viewBox="0 0 {2 * PANEL_WIDTH} {PANEL_HEIGHT}"'
    style = 'font-family="sans-serif" font-size="11" fill="#1b1b1b"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}><rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, *panels, "</svg>", ""])


def _panel(curve: Curve, causes: Sequence[float], left: float) -> str:
    series = {f"whole ({exponent_text(curve.total.whole)})": [load.processor_p50_ms for load in curve.loads]}
    for stage, exponents in curve.stages.items():
        series[f"{stage} ({exponent_text(exponents.whole)})"] = [load.stages[stage].p50_ms for load in curve.loads]
    across = _Axis(causes, LEFT, PANEL_WIDTH - RIGHT)
    up = _Axis([max(ms, LEAST_MS) for values in series.values() for ms in values], PANEL_HEIGHT - BOTTOM, TOP)
    parts = [f'<g transform="translate({left:g} 0)">', f'<text x="{LEFT}" y="20" font-size="13">ms over {escape(curve.cause)}</text>']
    for value in across.ticks():
        x = across.at(value)
        parts.append(f'<path d="M{x:.1f} {TOP}V{PANEL_HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{PANEL_HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:g}</text>')
    for value in up.ticks():
        y = up.at(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{PANEL_WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    lines = [[(across.at(c), up.at(max(ms, LEAST_MS))) for c, ms in zip(causes, values, strict=True)] for values in series.values()]
    labels = _apart([line[-1][1] for line in lines])
    for line, name, label, colour in zip(lines, series, labels, COLOURS, strict=False):
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>' for x, y in line]
        parts.append(f'<text x="{PANEL_WIDTH - RIGHT + 6}" y="{label + 4:.1f}" fill="{colour}">{escape(name)}</text>')
    note = f'<text x="{LEFT}" y="{PANEL_HEIGHT - 12}">in brackets the exponent k of time ∝ causeᵏ</text>'
    return "\n".join([*parts, note, "</g>"])


class _Axis:
    """A logarithmic axis that holds `values` (> 0) between two places, px."""

    def __init__(self, values: Sequence[float], first_px: float, last_px: float) -> None:
        self._low, self._high = np.log10(min(values)) - 0.05, np.log10(max(values)) + 0.05
        self._first, self._last = first_px, last_px

    def at(self, value: float) -> float:
        """Where a value stands, px."""
        return float(self._first + (np.log10(value) - self._low) / (self._high - self._low) * (self._last - self._first))

    def ticks(self) -> list[float]:
        """1, 2 and 5 of each decade on the axis."""
        decades = range(int(np.floor(self._low)), int(np.ceil(self._high)) + 1)
        values = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
        return [value for value in values if self._low <= np.log10(value) <= self._high]


def _apart(places: Sequence[float]) -> list[float]:
    """`places` moved down where needed, so that labels there do not lie over one another."""
    moved = list(places)
    lowest = -np.inf
    for i in sorted(range(len(moved)), key=lambda i: moved[i]):
        moved[i] = lowest = max(moved[i], lowest + LABEL_PX)
    return moved
