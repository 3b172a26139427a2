"""How long the analysis of one frame takes, stage by stage, and how much memory it needs; each size in a process of its own."""

from __future__ import annotations

import json
import logging
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from runtime.errors import TrichoscopeError

WARM_UP = 2  # the first frames pay for imports, allocations and cold caches
CHILD_DEADLINE_S = 600.0


@dataclass(frozen=True)
class BenchPlan:
    """What one process measures: frames of a size (px) and kind, computing threads, what finds hair (see `segmenter_asked_for`)."""

    width: int
    height: int
    frames: int
    kind: str
    threads: int
    segmenter: Literal["learned", "classical"]
    bundle: str | None


def bench_size(plan: BenchPlan) -> dict[str, Any]:
    """Run analyses of rendered frames of one size in a fresh process.

    Returns:
        Which segmenter served, and why it was the classical one where that was not asked for; stage → {"p50_ms", "p95_ms"}, frames
        per second (live path, without the paper's features), peak memory in MiB.

    Raises:
        TrichoscopeError: the child process failed or took longer than 10 minutes.
    """
    where = f"the bench at {plan.width}×{plan.height}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "runtime.bench.analysis", json.dumps(asdict(plan))],
            capture_output=True,
            text=True,
            timeout=CHILD_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TrichoscopeError(f"{where} took longer than {CHILD_DEADLINE_S:g} s: ask for fewer --frames") from error
    if done.returncode:
        raise TrichoscopeError(f"{where} failed: {''.join(done.stderr.strip().splitlines()[-1:])}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def summary(times_ms: list[float]) -> dict[str, float]:
    """Median and 95th percentile of some times."""
    return {"p50_ms": round(float(np.median(times_ms)), 3), "p95_ms": round(float(np.percentile(times_ms, 95)), 3)}


def _measure(plan: BenchPlan) -> dict[str, Any]:
    import cv2

    from calib.scale import given_scale
    from runtime.analysis.segmenters import segmenter_asked_for
    from runtime.pipeline import analyse

    cv2.setNumThreads(plan.threads)
    folder = None if plan.bundle is None else Path(plan.bundle)
    segmenter = segmenter_asked_for(plan.segmenter, folder, threads=plan.threads)
    pictures = _render(plan.width, plan.height, min(plan.frames, 8), plan.kind)
    stages: dict[str, list[float]] = {}
    live: list[float] = []
    hairs: list[int] = []
    for i in range(-WARM_UP, plan.frames):
        image, um_per_px = pictures[i % len(pictures)]
        began = time.perf_counter()
        analyse(image, name="bench", segmentation=segmenter, scale=given_scale(um_per_px))
        seconds = time.perf_counter() - began
        whole = analyse(image, name="bench", segmentation=segmenter, scale=given_scale(um_per_px), paper=True)
        if i < 0:
            continue
        live.append(seconds * 1e3)
        hairs.append(whole.hair_count)
        for stage, ms in whole.timing_ms.items():
            stages.setdefault(stage, []).append(ms)
    segmenter.close()
    return {
        "width_px": plan.width,
        "height_px": plan.height,
        "frames": plan.frames,
        "kind": plan.kind,
        "segmenter": segmenter.name,
        "segmenter_problem": segmenter.problem,
        "segmenter_failures": segmenter.failures,
        "hairs_mean": round(float(np.mean(hairs)), 1),
        "live": summary(live) | {"frames_per_s": round(1e3 / float(np.mean(live)), 2)},
        "stages": {stage: summary(values) for stage, values in stages.items()},
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _render(width: int, height: int, count: int, kind: str) -> list[tuple[np.ndarray[Any, np.dtype[np.uint8]], float]]:
    """Rendered frames, made in a child so that the renderer's memory is not taken for the analysis's."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_render_one, [(seed, width, height, kind) for seed in range(count)]))


def _render_one(what: tuple[int, int, int, str]) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], float]:
    from device.simulated.recipe import KINDS
    from device.simulated.scene import render_frame

    seed, width, height, name = what
    (kind,) = [k for k in KINDS if k == name]
    frame = render_frame(seed, width=width, height=height, kind=kind)
    return frame.image, frame.um_per_px


if __name__ == "__main__":
    from runtime.logs import log_to_stderr

    log_to_stderr(logging.WARNING)  # standard output is for the figures
    try:
        json.dump(_measure(BenchPlan(**json.loads(sys.argv[1]))), sys.stdout)
    except TrichoscopeError as problem:
        sys.exit(str(problem))
