"""The same hairs from four distances as a picture: apart by a factor before calibration, together after it."""

from __future__ import annotations

import io

from runtime.bench.calibration.hairs import HairFigures

BEFORE, AFTER, BAND = "#d55e00", "#0072b2", "#0072b222"  # Okabe and Ito's, for all eyes
SALT = "trichoscope"  # names within the SVG are the same at each run


def as_svg(figures: HairFigures) -> bytes:
    """Thickness over distance, before and after calibration, relative to each hair's mean; logarithmic."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": SALT, "svg.fonttype": "path", "font.size": 10}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.axhspan(0.99, 1.01, color=BAND, label="± 1 %")
        axes.plot(
            figures.distances_mm,
            figures.relative_before,
            "o--",
            color=BEFORE,
            label=f"pixels, one scale for all (factor {figures.spread_before:.1f})",
        )
        axes.plot(figures.distances_mm, figures.relative, "o-", color=AFTER, label=f"calibrated (within {figures.spread_percent:.1f} %)")
        axes.set_yscale("log")
        ticks = [0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xticks(
            figures.distances_mm, [f"{d:g} mm\n{um:.1f} µm/px" for d, um in zip(figures.distances_mm, figures.um_per_px, strict=True)]
        )
        axes.set_ylabel("thickness over the hair's mean")
        axes.set_title(f"The same {figures.hairs} rendered hairs, refocused at four distances", fontsize=10)
        axes.legend(frameon=False, loc="upper right")
        axes.grid(alpha=0.25)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()
