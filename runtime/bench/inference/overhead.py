"""What it costs to have a network run in the worker instead of here: the way of a frame there and back, without the network.

On a machine with TensorRT the network is the mean of the colours, which costs the GPU next to nothing, and what is measured holds the
copies to the GPU and back. Without, a folder of stand-ins for TensorRT, pycuda and the driver must be named; in their place the same
worker, protocol and shared memory then carry the frame, and what is measured is theirs alone, with the stand-in's own copies.
"""

from __future__ import annotations

import base64
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.inference.tensorrt.backend import TensorRtBackend
from runtime.inference.tensorrt.building import build_engine
from runtime.inference.tensorrt.cache import EngineCache
from runtime.inference.tensorrt.options import BuildOptions
from runtime.inference.tensorrt.process import WorkerCommand

SHAPE = (1, 480, 640, 3)
WARM_UP = 20
NETWORK = base64.b64decode(
    "CAgySFNUQU5ESU57ImlucHV0cyI6eyJ4IjpbInVpbnQ4IixbMSw0ODAsNjQwLDNdXX0sImZ1bmN0aW9uIjoiZmlyc3QgcGxhbmUifTqLAQoXCgF4EgFmIgRD"
    "YXN0KgkKAnRvGAGgAQIKMAoBZhIBeSIKUmVkdWNlTWVhbioLCgRheGVzQAOgAQcqDwoIa2VlcGRpbXMYAKABAhIEbWVhblodCgF4EhgKFggCEhIKAggBCgMI"
    "4AMKAwiABQoCCANiGQoBeRIUChIIARIOCgIIAQoDCOADCgMIgAVCBAoAEBE="
)
"""uint8 (1, 480, 640, 3) to float32 (1, 480, 640), the mean over the colours; its description tells a stand-in what to do instead."""


@dataclass(frozen=True)
class Overhead:
    """Milliseconds of a round trip of one frame of 640×480: uint8 × 3 there, float32 × 1 back.

    Attributes:
        standin: whether TensorRT and the GPU were stood in for.
        started_ms: from nothing to a worker that is ready.
    """

    rounds: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    worst_ms: float
    started_ms: float
    standin: bool


def measure_overhead(*, rounds: int = 1000, standin: Path | None = None) -> Overhead:
    """Time `rounds` round trips, one after the other.

    Raises:
        InferenceError: there is no TensorRT here and nothing that stands in for it, or the worker fails.
    """
    command = WorkerCommand() if standin is None else WorkerCommand(python=sys.executable, standin=standin)
    frame = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    with tempfile.TemporaryDirectory(prefix="trichoscope-overhead-") as folder:
        cache, options = EngineCache(Path(folder)), BuildOptions()
        build_engine(NETWORK, cache, options, name="overhead", command=command)
        began = time.perf_counter()
        times = np.empty(rounds)
        with TensorRtBackend(NETWORK, cache, options, name="overhead", command=command, infer_deadline_s=10.0) as backend:
            started_ms = (time.perf_counter() - began) * 1e3
            for turn in range(-WARM_UP, rounds):
                began = time.perf_counter()
                backend.infer({"x": frame})
                if turn >= 0:
                    times[turn] = (time.perf_counter() - began) * 1e3
    p50, p95, p99 = (round(float(value), 3) for value in np.percentile(times, (50, 95, 99)))
    return Overhead(rounds, p50, p95, p99, round(float(times.max()), 3), round(started_ms, 1), standin is not None)
