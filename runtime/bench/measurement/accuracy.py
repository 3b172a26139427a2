"""How far a frame's numbers are from its truth: counts, widths hair by hair, follicles, thin hairs, and the uncertainties that are stated.

Figures are pooled over frames. What could not be had (no frames with hair, no pair with a width) is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.scale import given_scale
from device.simulated.recipe import Kind
from device.simulated.scene import RenderedFrame, render_frame
from device.simulated.truth import TrueHair, Truth
from runtime.analysis.measurement import Measurement
from runtime.analysis.segmentation import Segmentation, Segmenter, given_mask
from runtime.bench.measurement.matching import match
from runtime.pipeline import analyse

WIDTH_CLASSES_UM = ((20.0, 40.0), (40.0, 80.0), (80.0, 120.0))
TERMINAL_UM = 30.0


@dataclass(frozen=True, eq=False)
class FrameComparison:
    """One frame beside its truth.

    Attributes:
        hairs, follicles: (found, true, stated standard error).
        terminal_share: (found, true) share of hairs of ≥ 30 µm among those of known width, None where there is no such hair.
        found_hairs, matched_hairs: listed hairs, and those of them that stand for a true one.
        widths_um: float64 (n, 3), found and true width and the stated standard error (NaN where none is) of each pair with a width.
    """

    hairs: tuple[float, float, float]
    follicles: tuple[float, float, float]
    terminal_share: tuple[float, float] | None
    found_hairs: int
    matched_hairs: int
    widths_um: NDArray[np.float64]


@dataclass(frozen=True)
class CountFigures:
    """Counts of frames. `pooled_error` is Σ|found − true| / Σ true; `bias` the mean of found − true a frame."""

    frames: int
    true_total: int
    pooled_error: float | None
    bias: float | None
    correlation: float | None
    within_1_std: float | None


@dataclass(frozen=True)
class ClassFigures:
    """Pairs whose true width lies in from_um ≤ width < to_um."""

    from_um: float
    to_um: float
    hairs: int
    bias_um: float | None


@dataclass(frozen=True)
class WidthFigures:
    """Widths hair by hair.

    Attributes:
        coverage: share of the true hairs that count for which a found one stands; `measured` the share where that one has a width.
        unmatched: share of the found hairs that stand for none.
        with_width: pairs whose found hair has a width, those that the errors are of.
        within_1_std, within_2_std: share of them, where an error is stated, that are off by no more than that many.
    """

    true_hairs: int
    found_hairs: int
    coverage: float | None
    measured: float | None
    unmatched: float | None
    with_width: int
    mean_absolute_error_um: float | None
    median_absolute_error_um: float | None
    bias_um: float | None
    classes: tuple[ClassFigures, ...]
    within_1_std: float | None
    within_2_std: float | None


@dataclass(frozen=True)
class AccuracyFigures:
    """All of it; `terminal_share_error` is the mean over frames of |found − true|, shares 0…1."""

    hairs: CountFigures
    follicles: CountFigures
    widths: WidthFigures
    terminal_share_error: float | None


@dataclass(frozen=True)
class KindFigures:
    """One kind of frames, measured from the true mask and from the picture."""

    from_mask: AccuracyFigures
    from_image: AccuracyFigures


def measure_accuracy(kind: Kind, seeds: Sequence[int], segmenter: Segmenter, advance: Callable[[], None] = lambda: None) -> KindFigures:
    """Render a frame for each seed and measure it twice; `advance` is called after each frame."""
    from_mask, from_image = [], []
    for seed in seeds:
        frame = render_frame(seed, kind=kind)
        from_mask.append(compare_frame(frame, given_mask(frame.mask)))
        from_image.append(compare_frame(frame, segmenter))
        advance()
    return KindFigures(figures_of(from_mask), figures_of(from_image))


def compare_frame(frame: RenderedFrame, segmentation: Segmenter | Segmentation) -> FrameComparison:
    """Analyse a rendered frame with its true scale."""
    return compare(analyse(frame.image, name="bench", segmentation=segmentation, scale=given_scale(frame.um_per_px)), frame.truth)


def compare(found: Measurement, truth: Truth) -> FrameComparison:
    """One measurement beside the truth of its frame; only hairs that count are true ones."""
    counted = truth.counted
    pairs = match([_found_course(hair.points) for hair in found.hairs], [_true_course(hair) for hair in counted])
    rows = [
        (hair.diameter_um, counted[j].diameter_um, hair.diameter_um_std or np.nan)
        for hair, j in ((found.hairs[i], j) for i, j in pairs)
        if hair.diameter_um is not None
    ]
    return FrameComparison(
        hairs=(found.hair_count, len(counted), found.hair_count_std),
        follicles=(found.follicle_count, sum(f.hairs_counted > 0 for f in truth.follicles), found.follicle_count_std),
        terminal_share=_terminal_shares(found, counted),
        found_hairs=len(found.hairs),
        matched_hairs=len(pairs),
        widths_um=np.array(rows, dtype=np.float64).reshape(-1, 3),
    )


def figures_of(frames: Sequence[FrameComparison]) -> AccuracyFigures:
    """Pool frames."""
    terminal = [abs(shares[0] - shares[1]) for frame in frames if (shares := frame.terminal_share) is not None]
    return AccuracyFigures(
        hairs=_count_figures([frame.hairs for frame in frames]),
        follicles=_count_figures([frame.follicles for frame in frames]),
        widths=_width_figures(frames),
        terminal_share_error=_mean(terminal),
    )


def _count_figures(counts: Sequence[tuple[float, float, float]]) -> CountFigures:
    found, true, std = np.array(counts, dtype=np.float64).reshape(-1, 3).T
    error = found - true
    varies = len(found) > 2 and found.std() > 0 and true.std() > 0
    return CountFigures(
        frames=len(found),
        true_total=int(true.sum()),
        pooled_error=float(np.abs(error).sum() / true.sum()) if true.sum() else None,
        bias=_mean(error),
        correlation=float(np.corrcoef(found, true)[0, 1]) if varies else None,
        within_1_std=_mean(np.abs(error) <= std),
    )


def _width_figures(frames: Sequence[FrameComparison]) -> WidthFigures:
    true_hairs = int(sum(frame.hairs[1] for frame in frames))
    found_hairs = sum(frame.found_hairs for frame in frames)
    matched = sum(frame.matched_hairs for frame in frames)
    found, true, std = np.concatenate([np.empty((0, 3)), *(frame.widths_um for frame in frames)]).T
    error = found - true
    off = (np.abs(error) / std)[np.isfinite(std)]
    classes = tuple(
        ClassFigures(low, high, int(inside.sum()), _mean(error[inside]))
        for low, high, inside in ((low, high, (true >= low) & (true < high)) for low, high in WIDTH_CLASSES_UM)
    )
    return WidthFigures(
        true_hairs=true_hairs,
        found_hairs=found_hairs,
        coverage=matched / true_hairs if true_hairs else None,
        measured=len(error) / true_hairs if true_hairs else None,
        unmatched=1 - matched / found_hairs if found_hairs else None,
        with_width=len(error),
        mean_absolute_error_um=_mean(np.abs(error)),
        median_absolute_error_um=float(np.median(np.abs(error))) if len(error) else None,
        bias_um=_mean(error),
        classes=classes,
        within_1_std=_mean(off <= 1),
        within_2_std=_mean(off <= 2),
    )


def _terminal_shares(found: Measurement, counted: Sequence[TrueHair]) -> tuple[float, float] | None:
    kinds = found.terminal_vellus
    if kinds is None or not counted or not (known := kinds.terminal + kinds.vellus):
        return None
    return kinds.terminal / known, sum(hair.diameter_um >= TERMINAL_UM for hair in counted) / len(counted)


def _found_course(points: Sequence[tuple[float, float, float | None]]) -> NDArray[np.float64]:
    return np.array([point[:2] for point in points], dtype=np.float64).reshape(-1, 2)


def _true_course(hair: TrueHair) -> NDArray[np.float64]:
    return hair.points[:, [0, 1, 3]]


def _mean(values: Sequence[float] | NDArray[np.float64] | NDArray[np.bool_]) -> float | None:
    return float(np.mean(values)) if len(values) else None
