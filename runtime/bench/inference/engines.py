"""TensorRT's engines among the backends that are compared, and the way to their worker; where there is no GPU, there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.bench.inference.compare import Candidate
from runtime.bench.inference.overhead import measure_overhead
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import RoleName
from runtime.inference.backend import Backend
from runtime.inference.choosing import gpu_in_sight
from runtime.inference.errors import InferenceError
from runtime.inference.tensorrt.backend import TensorRtBackend
from runtime.inference.tensorrt.cache import EngineCache
from runtime.inference.tensorrt.options import EnginePrecision
from runtime.inference.tensorrt.process import WorkerCommand
from runtime.inference.tensorrt.sources import ROLES, EngineSource, engine_source

PRECISIONS: tuple[EnginePrecision, ...] = ("fp32", "fp16", "int8")


def engine_candidates(bundle: Bundle, name: RoleName, cache_folder: Path, python: Path | None = None) -> Sequence[Candidate]:
    """A role in each precision that the bundle has, as an engine of the cache; one that was not built yet says so in its row.

    `python`: the worker's, as the configuration names it.
    """
    if name not in ROLES or not gpu_in_sight():
        return ()
    found, command = [], WorkerCommand.configured(python)
    for precision in PRECISIONS:
        try:
            source = engine_source(bundle, name, precision=precision)
        except InferenceError:  # the bundle has no network of it
            continue
        found.append(Candidate("TensorRT worker", precision, _maker(source, EngineCache(cache_folder), command)))
    return found


def _maker(source: EngineSource, cache: EngineCache, command: WorkerCommand) -> Callable[[], Backend]:
    return lambda: TensorRtBackend(source.model, cache, source.options, name="bench", command=command)


def worker_overhead(standin: Path | None) -> dict[str, Any] | None:
    """What `measure_overhead` finds; None where there is neither a GPU nor a stand-in."""
    return asdict(measure_overhead(standin=standin and standin.resolve())) if standin is not None or gpu_in_sight() else None
