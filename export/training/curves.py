"""Loss and validation curves as one SVG picture, readable without any program of ours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP, BOTTOM = 900, 620, 64, 120, 36, 52, 40
COLOURS = ("#1b6ca8", "#c0392b", "#27865a", "#8e5bb5", "#b9770e")

Series = dict[str, Sequence[tuple[float, float]]]


def curves_svg(title: str, loss: Series, quality: Series, *, quality_name: str = "Dice") -> str:
    """Two charts above each other over the steps: `loss` (lower is better) and `quality` (0…1). Points are (step, value)."""
    last = max((x for series in (loss, quality) for points in series.values() for x, _ in points), default=1.0)
    tall = (HEIGHT - TOP - GAP - BOTTOM) / 2
    highest = max((y for points in loss.values() for _, y in points), default=1.0)
    lowest = min((y for points in quality.values() for _, y in points), default=0.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
        *_chart("loss", loss, TOP, tall, last, 0.0, highest),
        *_chart(quality_name, quality, TOP + tall + GAP, tall, last, max(0.0, lowest - 0.02), 1.0),
        f'<text x="{(WIDTH - RIGHT + LEFT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">step</text></svg>',
    ]
    return "\n".join(parts)


def _chart(name: str, series: Series, top: float, tall: float, last: float, low: float, high: float) -> list[str]:
    wide = WIDTH - LEFT - RIGHT
    span = max(high - low, 1e-9)
    parts = [f'<text x="8" y="{top + 12}">{name}</text>']
    for tick in range(5):
        value, y = low + span * tick / 4, top + tall * (1 - tick / 4)
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + wide}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        x = LEFT + wide * tick / 4
        parts.append(f'<text x="{x:.1f}" y="{top + tall + 16:.1f}" text-anchor="middle">{last * tick / 4:.0f}</text>')
    for (label, points), colour in zip(series.items(), COLOURS, strict=False):
        if not points:
            continue
        at = [(LEFT + wide * x / max(last, 1e-9), top + tall * (1 - (y - low) / span)) for x, y in points]
        course = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        parts.append(f'<polyline points="{course}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts.append(f'<text x="{LEFT + wide + 6}" y="{at[-1][1] + 4:.1f}" fill="{colour}">{escape(label)} {points[-1][1]:.3f}</text>')
    return parts
