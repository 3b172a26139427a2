"""Engines from ONNX: built in a worker process of their own, proven whole on the disk, and kept under their key.

A build takes minutes on a Jetson. What it has learnt of the GPU's timings is kept, so that the next is quicker.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.bundles.reader import Bundle
from runtime.bundles.roles import RoleName
from runtime.inference.errors import InferenceError
from runtime.inference.tensorrt.cache import LIMIT_BYTES, BuildFiles, EngineCache, EngineRecord, key_of
from runtime.inference.tensorrt.errors import EngineMissingError, RefusedError, WorkerError
from runtime.inference.tensorrt.options import BuildOptions, EnginePrecision
from runtime.inference.tensorrt.process import BUILDER, WorkerCommand, WorkerProcess
from runtime.inference.tensorrt.sources import engine_source, roles_of

SILENT_S = 1800.0  # one step of the builder may try hundreds of kernels before it says that it gets on

Progress = Callable[[float, str], None]
"""Is told the share that is done, 0…1, and what is being done."""


@dataclass(frozen=True)
class BuiltEngine:
    """An engine of a bundle's role; `fresh` is false where it was there already."""

    role: RoleName
    file: str
    record: EngineRecord
    fresh: bool

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "role": self.role,
            "network": self.file,
            "precision": self.record.key.precision,
            "engine": str(self.record.plan),
            "bytes": self.record.size,
            "seconds": round(self.record.seconds, 3),
            "fresh": self.fresh,
            "tensorrt": self.record.key.tensorrt,
            "gpu": self.record.key.gpu,
            "compute": self.record.key.compute,
            "options": self.record.key.options,
        }


def build_engine(
    onnx: bytes,
    cache: EngineCache,
    options: BuildOptions,
    on_progress: Progress | None = None,
    *,
    name: str = "engine",
    command: WorkerCommand | None = None,
    again: bool = False,
) -> tuple[EngineRecord, bool]:
    """The engine of a network for this machine, and whether it was built just now; one that is there and whole is taken as it is.

    Args:
        onnx: the network's bytes, verified by the caller.
        again: build also where it is there.

    Raises:
        RefusedError: no driver, no GPU, no TensorRT, or TensorRT cannot build the network.
        EngineError: another build is at work, the folder cannot be written to, or the disk is full; what was there before still is.
        WorkerError: the worker ended or fell silent.
    """
    command = command or WorkerCommand()
    worker = WorkerProcess(command, name)
    try:
        identity = worker.start()
        try:
            key = key_of(onnx, identity, options.precision, options.for_builder())
        except (KeyError, TypeError, ValueError) as problem:
            raise WorkerError(f"{name}: the worker does not say what machine this is: reinstall the program") from problem
    finally:
        worker.end()
    if not again:
        try:
            return cache.find(key), False
        except EngineMissingError:
            pass

    def build(files: BuildFiles) -> dict[str, Any]:
        began = time.monotonic()
        told = _built(onnx, cache.timing(key), options, files, replace(command, file=BUILDER), name, on_progress or _unheard)
        return {**told, "seconds": time.monotonic() - began}

    try:
        return cache.keep(key, build), True
    except RefusedError as problem:
        if problem.kind == "disk":
            raise cache.full(str(problem)) from problem
        raise


def _built(
    onnx: bytes, timing: bytes, options: BuildOptions, files: BuildFiles, command: WorkerCommand, name: str, on_progress: Progress
) -> dict[str, Any]:
    """What the builder says of the plan that it has written."""
    request = {
        "options": options.for_builder(),
        "plan": str(files.plan),
        "timing": str(files.timing),
        "onnx_size": len(onnx),
        "timing_size": len(timing),
    }
    builder = WorkerProcess(command, name)
    descriptor = os.memfd_create("trichoscope-onnx", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(onnx + timing)
        builder.launch(["--request", json.dumps(request), "--network", str(descriptor)], [descriptor])
        return builder.outcome(silence_s=SILENT_S, on_progress=on_progress)
    finally:
        os.close(descriptor)
        builder.end()


def _unheard(share: float, what: str) -> None:
    pass


def build_engines(
    bundle: Bundle,
    cache_folder: Path,
    *,
    roles: Sequence[RoleName] | None = None,
    precision: EnginePrecision | None = None,
    weak: bool = False,
    again: bool = False,
    on_progress: Callable[[str, float, str], None] | None = None,
    limit_bytes: int = LIMIT_BYTES,
    command: WorkerCommand | None = None,
) -> tuple[BuiltEngine, ...]:
    """The engines of all of a bundle's roles that TensorRT runs, one after the other.

    Args:
        cache_folder: where they are kept.
        roles: those to build, all where None.
        precision: None for fp16 where the bundle has it and fp32 where not.
        weak: TensorRT 10 chooses the types by flags instead of the graph; part of the engine's key and record.
        on_progress: is told the role, the share that is done, 0…1, and what is being done.

    Raises:
        InferenceError: as `build_engine` and `engine_source`; the engines built before the one that failed stay.
    """
    chosen = roles_of(bundle) if roles is None else tuple(roles)
    if not chosen:
        raise InferenceError(f"{bundle.id}: no role of it is one for TensorRT: ONNX Runtime runs it")
    cache = EngineCache(cache_folder, limit_bytes=limit_bytes)
    built = []
    for role in chosen:
        source = engine_source(bundle, role, precision=precision, weak=weak)
        told = _of_role(on_progress, role)
        record, fresh = build_engine(source.model, cache, source.options, told, name=role, command=command, again=again)
        built.append(BuiltEngine(role, source.file, record, fresh))
    return tuple(built)


def _of_role(on_progress: Callable[[str, float, str], None] | None, role: str) -> Progress | None:
    if on_progress is None:
        return None
    tell = on_progress
    return lambda share, what: tell(role, share, what)
