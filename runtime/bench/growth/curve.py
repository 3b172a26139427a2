"""Two curves of time: pictures of more and more pixels equally crowded, and one size of picture more and more crowded.

A cost that grows no faster than its cause has an exponent of 1 at most: time ∝ causeᵏ. A fixed share makes k less than 1 where pictures
are small, so it is told for the whole curve and for its upper end, where the fixed share matters least. A straight line in pixels and
hairs together says what each costs, and how far the worst load is from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.simulated.recipe import Kind
from runtime.analysis.segmentation import Segmenter
from runtime.bench.growth.loads import Load, LoadTimes, long_haired_seeds, measure_load

UM_PER_PX = 11.0  # 400 hairs in 1920×1080 px are then as dense as scalps are
HAIRS_PER_MEGAPIXEL = 400 / (1920 * 1080 / 1e6)
SIZES = ((320, 240), (480, 360), (640, 480), (960, 720), (1280, 960), (1920, 1080))
CROWDED_SIZE = (1920, 1080)
HAIRS = (20, 40, 80, 160, 400)
UPPER_END = 2  # loads: the two largest
LEAST_CAUSE = 1e-3  # a picture without any hair has no logarithm


@dataclass(frozen=True)
class Exponents:
    """k of time ∝ causeᵏ, by least squares of logarithms over the whole curve and between its two largest loads.

    None where the cause does not grow.
    """

    whole: float | None
    upper_end: float | None


@dataclass(frozen=True)
class Curve:
    """Loads in ascending order of their `cause`, and how the time grows with it: of everything (processor time) and of each stage."""

    cause: str
    loads: tuple[LoadTimes, ...]
    total: Exponents
    stages: dict[str, Exponents]


@dataclass(frozen=True)
class Line:
    """The straight line through the processor medians of all loads: fixed + per megapixel + per true hair, ms.

    `worst_ratio` is the time that is farthest from the line over what the line says: near 1, the cost grows linearly.
    """

    fixed_ms: float
    per_megapixel_ms: float
    per_hair_ms: float
    worst_ratio: float


@dataclass(frozen=True)
class Growth:
    """Both curves and the line through all of their loads."""

    by_pixels: Curve
    by_hairs: Curve
    line: Line


def pixel_loads(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Load]:
    """Pictures of these sizes, equally crowded."""
    return [Load(width, height, max(1, round(HAIRS_PER_MEGAPIXEL * width * height / 1e6)), UM_PER_PX) for width, height in sizes]


def hair_loads(hairs: Sequence[int] = HAIRS, size: tuple[int, int] = CROWDED_SIZE) -> list[Load]:
    """Pictures of one size with so many hairs."""
    return [Load(*size, count, UM_PER_PX) for count in hairs]


def measure_growth(
    kind: Kind,
    first_seed: int,
    frames: int,
    segmenter: Segmenter,
    larger: Sequence[Load],
    fuller: Sequence[Load],
    advance: Callable[[], None] = lambda: None,
) -> Growth:
    """Time `frames` frames of each load: `larger` pictures and `fuller` ones; `advance` is called after each frame.

    A load that is in both is measured once. Run it inside `one_thread`.
    """
    seeds = long_haired_seeds(kind, first_seed, frames)
    times = {load: measure_load(kind, load, seeds, segmenter, advance) for load in dict.fromkeys((*larger, *fuller))}
    return Growth(
        by_pixels=curve_of("megapixels", [times[load] for load in larger], lambda load: load.width_px * load.height_px / 1e6),
        by_hairs=curve_of("true hairs", [times[load] for load in fuller], lambda load: load.true_hairs),
        line=line_through(list(times.values())),
    )


def curve_of(cause: str, loads: Sequence[LoadTimes], amount: Callable[[LoadTimes], float]) -> Curve:
    """The curve of `loads`, at least two, over the `amount` of its cause."""
    ordered = tuple(sorted(loads, key=amount))
    causes = [amount(load) for load in ordered]
    times: Mapping[str, list[float]] = {stage: [load.stages[stage].p50_ms for load in ordered] for stage in ordered[0].stages}
    total = exponents(causes, [load.processor_p50_ms for load in ordered])
    return Curve(cause, ordered, total, {stage: exponents(causes, ms) for stage, ms in times.items()})


def exponents(causes: Sequence[float], times_ms: Sequence[float]) -> Exponents:
    """The exponents of `times_ms` over ascending `causes` (n ≥ 2); times that the clock cannot resolve count as a microsecond."""
    x, y = np.log(np.maximum(np.asarray(causes), LEAST_CAUSE)), np.log(np.maximum(np.asarray(times_ms), 1e-3))
    return Exponents(*(_slope(x[part], y[part]) for part in (slice(None), slice(-UPPER_END, None))))


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    away = x - x.mean()
    spread = float(away @ away)
    return float(away @ y) / spread if spread > 0 else None


def line_through(loads: Sequence[LoadTimes]) -> Line:
    """Least squares of relative errors, so that the small pictures weigh as much as the large ones. Needs three loads or more."""
    terms = np.array([(1.0, load.width_px * load.height_px / 1e6, load.true_hairs) for load in loads])
    taken = np.array([load.processor_p50_ms for load in loads])
    line = np.linalg.lstsq(terms / taken[:, None], np.ones(len(taken)), rcond=None)[0]
    ratio = taken / np.maximum(terms @ line, 1e-9)
    fixed, per_megapixel, per_hair = (float(v) for v in line)
    return Line(fixed, per_megapixel, per_hair, float(ratio[np.abs(np.log(ratio)).argmax()]))
