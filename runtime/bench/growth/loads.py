"""How long the stages after the mask take on scalps as crowded as wanted.

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

TIMES = 5  # that a frame is measured, after once to warm up
RENDERS, NEAR_ENOUGH = 3, 0.1  # of a scene, until it is as crowded as wanted
NOT_AFTER_THE_MASK = ("segment", "paper", "total")


@dataclass(frozen=True)
class Load:
    """A picture's size (px), how many hairs are wanted in it, and its scale (None: as a kind's scales go)."""

    width: int
    height: int
    hairs: int
    um_per_px: float | None


LIVE = Load(640, 480, 40, None)


@dataclass(frozen=True)
class StageTimes:
    """Median and 95th percentile of one stage by the clock, ms."""

    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class LoadTimes:
    """Times of one load, ms: by the clock, and of the processor, which other programs do not lengthen.

    `true_hairs` and `found_hairs` are means a frame.
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
    stages: dict[str, StageTimes]


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV on one core while inside."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def measure_load(
    kind: Kind, load: Load, seeds: Sequence[int], segmenter: Segmenter, advance: Callable[[], None] = lambda: None
) -> LoadTimes:
    """Time a frame for each of `seeds`, at least one; `advance` is called after each. Run it inside `one_thread`."""
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
    whole, used_up = _middle_and_most(wall), _middle_and_most(processor)
    return LoadTimes(
        width_px=load.width,
        height_px=load.height,
        frames=len(seeds),
        true_hairs=float(np.mean(true_hairs)),
        found_hairs=float(np.mean(found_hairs)),
        p50_ms=whole.p50_ms,
        p95_ms=whole.p95_ms,
        processor_p50_ms=used_up.p50_ms,
        processor_p95_ms=used_up.p95_ms,
        stages={stage: _middle_and_most(ms) for stage, ms in stages.items() if stage not in NOT_AFTER_THE_MASK},
    )


def _middle_and_most(times_ms: Sequence[float]) -> StageTimes:
    return StageTimes(*(float(v) for v in np.percentile(times_ms, (50, 95))))


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
