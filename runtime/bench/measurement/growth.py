"""How long the stages after the mask take: at the live page's size, and how that grows with pixels and with hairs.

Times are of the whole analysis with the segmentation given: quality, skeleton, hairs, widths, follicles and figures, without the paper's
features. Scalps are long-haired; their density is set so that about as many hairs as wanted are in view.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.scale import given_scale
from device.simulated.recipe import Kind, draw_recipe
from device.simulated.scene import Scene, photograph, render_scene
from runtime.analysis.segmentation import Segmenter
from runtime.pipeline import analyse

GROWTH_UM_PER_PX = 11.0  # 400 hairs in 1920×1080 px are then as dense as scalps are
TIMES = 3  # that a frame is measured, after once to warm up
RENDERS, NEAR_ENOUGH = 3, 0.1  # of a scene, until it is as crowded as wanted


@dataclass(frozen=True)
class Load:
    """A picture's size (px), how many hairs are wanted in it, and its scale (None: as a kind's scales go)."""

    width: int
    height: int
    hairs: int
    um_per_px: float | None = GROWTH_UM_PER_PX


LIVE = Load(640, 480, 40, None)
LOADS = (
    Load(640, 480, 40),
    Load(960, 720, 40),
    Load(960, 720, 90),
    Load(1280, 720, 40),
    Load(1280, 720, 120),
    Load(1920, 1080, 40),
    Load(1920, 1080, 120),
    Load(1920, 1080, 240),
    Load(1920, 1080, 400),
)


@dataclass(frozen=True)
class LoadTimes:
    """Times of one load, ms: by the clock, and of the processor, which other programs do not lengthen.

    `true_hairs` and `found_hairs` are means a frame; `stages_ms` medians.
    """

    width_px: int
    height_px: int
    frames: int
    true_hairs: float
    found_hairs: float
    p50_ms: float
    p95_ms: float
    processor_p50_ms: float
    processor_p95_ms: float
    stages_ms: dict[str, float]


@dataclass(frozen=True)
class GrowthFigures:
    """The curve, and the straight line fitted to its processor medians: fixed + per megapixel + per true hair, ms.

    `worst_ratio` is the time that is farthest from the line over what the line says: near 1, the cost grows linearly.
    """

    loads: tuple[LoadTimes, ...]
    fixed_ms: float
    per_megapixel_ms: float
    per_hair_ms: float
    worst_ratio: float


@dataclass(frozen=True)
class SpeedFigures:
    """The live page's load and the growth from there."""

    live: LoadTimes
    growth: GrowthFigures


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV on one core while inside."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def measure_speed(
    kind: Kind,
    first_seed: int,
    live_frames: int,
    growth_frames: int,
    segmenter: Segmenter,
    live: Load,
    loads: Sequence[Load],
    advance: Callable[[], None] = lambda: None,
) -> SpeedFigures:
    """Time the live page's load and the growth; `advance` is called after each frame. Run it inside `one_thread`."""
    seeds = long_haired_seeds(kind, first_seed, max(live_frames, growth_frames))
    there = measure_load(kind, live, seeds[:live_frames], segmenter, advance)
    return SpeedFigures(there, fit_growth([measure_load(kind, load, seeds[:growth_frames], segmenter, advance) for load in loads]))


def measure_load(kind: Kind, load: Load, seeds: Sequence[int], segmenter: Segmenter, advance: Callable[[], None]) -> LoadTimes:
    """Time a frame for each seed; `advance` is called after each."""
    wall: list[float] = []
    processor: list[float] = []
    stages: dict[str, list[float]] = {}
    true_hairs, found_hairs = [], []
    for seed in seeds:
        scene = crowded_scene(kind, load, seed)
        jpeg = photograph(scene.picture, scene.recipe, np.random.default_rng([seed, 7]))
        image: NDArray[np.uint8] = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
        segmentation, scale = segmenter.segment(image), given_scale(scene.truth.um_per_px)
        for i in range(-1, TIMES):
            began, used = time.perf_counter(), time.process_time()
            measured = analyse(image, name="bench", segmentation=segmentation, scale=scale)
            used, seconds = time.process_time() - used, time.perf_counter() - began
            if i < 0:
                continue
            wall.append(seconds * 1e3)
            processor.append(used * 1e3)
            for stage, ms in measured.timing_ms.items():
                stages.setdefault(stage, []).append(ms)
        true_hairs.append(len(scene.truth.counted))
        found_hairs.append(measured.hair_count)
        advance()
    wall_p50, wall_p95 = (float(v) for v in np.percentile(wall, (50, 95)))
    processor_p50, processor_p95 = (float(v) for v in np.percentile(processor, (50, 95)))
    return LoadTimes(
        width_px=load.width,
        height_px=load.height,
        frames=len(seeds),
        true_hairs=float(np.mean(true_hairs)),
        found_hairs=float(np.mean(found_hairs)),
        p50_ms=wall_p50,
        p95_ms=wall_p95,
        processor_p50_ms=processor_p50,
        processor_p95_ms=processor_p95,
        stages_ms={stage: float(np.median(ms)) for stage, ms in stages.items() if stage not in ("segment", "paper", "total")},
    )


def fit_growth(loads: Sequence[LoadTimes]) -> GrowthFigures:
    """Least squares of relative errors, so that the small pictures weigh as much as the large ones. Needs three loads or more."""
    terms = np.array([(1.0, load.width_px * load.height_px / 1e6, load.true_hairs) for load in loads])
    taken = np.array([load.processor_p50_ms for load in loads])
    line = np.linalg.lstsq(terms / taken[:, None], np.ones(len(taken)), rcond=None)[0]
    ratio = taken / np.maximum(terms @ line, 1e-9)
    fixed, per_megapixel, per_hair = (float(v) for v in line)
    return GrowthFigures(tuple(loads), fixed, per_megapixel, per_hair, float(ratio[np.abs(np.log(ratio)).argmax()]))


def long_haired_seeds(kind: Kind, first: int, count: int) -> list[int]:
    """The next seeds from `first` on whose hair is not clipped: clipped hair's density cannot be set."""
    seeds: list[int] = []
    while len(seeds) < count:
        if draw_recipe(np.random.default_rng([first, 0]), kind).clipped_um is None:
            seeds.append(first)
        first += 1
    return seeds


def crowded_scene(kind: Kind, load: Load, seed: int) -> Scene:
    """A long-haired scalp with about as many hairs in view as wanted: rendered, counted, and rendered again as dense as needed."""
    density = 1.0
    for _ in range(RENDERS - 1):
        scene = _scene(kind, load, seed, density)
        there = len(scene.truth.counted)
        if abs(there - load.hairs) <= NEAR_ENOUGH * load.hairs:
            return scene
        density *= load.hairs / max(there, 1)
    return _scene(kind, load, seed, density)


def _scene(kind: Kind, load: Load, seed: int, sparser: float) -> Scene:
    um_per_px = load.um_per_px
    if um_per_px is None:
        um_per_px = draw_recipe(np.random.default_rng([seed, 0]), kind).um_per_px
    return render_scene(
        seed, width=load.width, height=load.height, kind=kind, um_per_px=um_per_px, bald=False, sparser=sparser, hooded=False
    )
