"""The parts of `trichoscope bench calibration` one after the other, with their progress."""

from __future__ import annotations

from rich.progress import Progress

from runtime.bench.calibration.curves import measure_curves
from runtime.bench.calibration.hairs import measure_hairs
from runtime.bench.calibration.pictures import KINDS
from runtime.bench.calibration.report import CalibrationBench
from runtime.bench.calibration.ring import measure_ring
from runtime.bench.calibration.targets import measure_targets

CURVES_SHARE = 10  # a curve takes six pictures


def measure_calibration(seeds: range, scalps: int, only: str | None, progress: Progress) -> CalibrationBench:
    """The parts asked for (`only` None: all); `seeds` draw the pictures of targets."""
    from runtime.analysis.segmenters import segmenter_asked_for

    targets, ring, curves, hairs = {}, None, None, None
    if only in (None, "targets"):
        for kind in KINDS:
            task = progress.add_task(kind, total=len(seeds))
            targets[kind] = measure_targets(kind, seeds, lambda task=task: progress.advance(task))  # type: ignore[misc]
    if only in (None, "ring"):
        ringed = progress.add_task("hood ring", total=len(seeds))
        ring = measure_ring(seeds, lambda: progress.advance(ringed))
    if only in (None, "curves"):
        some = range(seeds.start, seeds.start + max(2, len(seeds) // CURVES_SHARE))
        curved = progress.add_task("curves", total=len(some))
        curves = measure_curves("charuco", some, lambda: progress.advance(curved))
    if only in (None, "hairs"):
        measured = progress.add_task("the same hairs", total=scalps)
        with segmenter_asked_for("learned", None, threads=2, thorough=True) as segmenter:
            hairs = measure_hairs(range(seeds.start, seeds.start + scalps), segmenter, lambda: progress.advance(measured))
    return CalibrationBench(targets, ring, curves, hairs)
