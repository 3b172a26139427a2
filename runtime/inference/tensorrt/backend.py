"""TensorRT as a backend: an engine from the cache in a worker process, tensors through shared memory.

The shared memory has no name: it is a descriptor that the worker is given, sealed so that the worker cannot shrink it under us, and it is
gone when both have let go of it, however they end. Inputs lie at its beginning, outputs after them.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.inference.backend import Array, Backend
from runtime.inference.errors import InferenceError
from runtime.inference.tensorrt.cache import EngineCache, EngineKey, key_of
from runtime.inference.tensorrt.errors import UnfitInputError, WorkerError
from runtime.inference.tensorrt.options import BuildOptions
from runtime.inference.tensorrt.process import WorkerCommand, WorkerProcess

ALIGNMENT = 256
MAX_ARENA_BYTES = 512 * 1024 * 1024
INFER_DEADLINE_S = 0.5  # with what comes after it, an answer of the fall-back is there within a second
LOAD_DEADLINE_S = 120.0
Shape = Annotated[tuple[Annotated[int, Field(ge=0, le=2**31)], ...], Field(max_length=8)]


class TensorSpec(BaseModel):
    """An input or output of an engine as the worker tells it: its least, usual and greatest shape."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(max_length=200)]
    input: bool
    dtype: Literal["bool", "float16", "float32", "int32", "int64", "int8", "uint8"]
    least: Shape
    usual: Shape
    most: Shape

    def room(self) -> int:
        """Bytes of its greatest shape, aligned."""
        return _aligned(math.prod(self.most) * np.dtype(self.dtype).itemsize)


class Loaded(BaseModel):
    """What the worker says of an engine that is ready."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tensors: Annotated[tuple[TensorSpec, ...], Field(min_length=2, max_length=32)]
    graph: bool
    graph_refused: Annotated[str, Field(max_length=300)] = ""


class TensorRtBackend(Backend):
    """One network as an engine that was built for this machine, in a worker of its own.

    Args:
        model: the ONNX file's bytes that the engine was built from, verified by the caller.
        cache: where the engine is looked for; nothing is built here (`runtime.inference.tensorrt.building` does).
        options: with which it was built.
        infer_deadline_s: how long one inference may take before the worker is ended.

    Raises (from activate):
        RefusedError: no driver, no GPU, no TensorRT, or TensorRT refuses the engine.
        EngineMissingError: there is no engine.
        WorkerError: the worker does not start.
    """

    def __init__(
        self,
        model: bytes,
        cache: EngineCache,
        options: BuildOptions,
        *,
        name: str = "tensorrt",
        command: WorkerCommand | None = None,
        infer_deadline_s: float = INFER_DEADLINE_S,
    ) -> None:
        super().__init__(name)
        self._model = model
        self._cache = cache
        self._options = options
        self._infer_deadline_s = infer_deadline_s
        self._worker = WorkerProcess(command or WorkerCommand(), name)
        self._arena: mmap.mmap | None = None
        self._key: EngineKey | None = None
        self._loaded: Loaded | None = None

    @property
    def pid(self) -> int | None:
        """Of the worker."""
        return self._worker.pid

    @property
    def key(self) -> EngineKey | None:
        """Of the engine, known once the worker has told of the machine."""
        return self._key

    @property
    def loaded(self) -> Loaded | None:
        """What the engine takes and gives, None while it is not active."""
        return self._loaded

    def interrupt(self) -> None:
        """End the worker from another thread; a call that waits for it fails."""
        self._worker.interrupt()

    def _activate(self) -> None:
        try:
            identity = self._worker.start()
            try:
                self._key = key_of(self._model, identity, self._options.precision, self._options.for_builder())
            except (KeyError, TypeError, ValueError) as problem:
                raise WorkerError(f"{self.name}: the worker does not say what machine this is: reinstall the program") from problem
            record = self._cache.find(self._key)
            told = self._worker.ask({"do": "load", "plan": str(record.plan), "sha256": record.sha256}, deadline_s=LOAD_DEADLINE_S)
            try:
                self._loaded = loaded = Loaded.model_validate(told)
            except ValidationError as problem:
                raise WorkerError(
                    f"{self.name}: the worker tells of an engine in a way that is not ours: reinstall the program"
                ) from problem
            self._share(sum(tensor.room() for tensor in loaded.tensors))
        except BaseException:
            self._deactivate()
            raise

    def _share(self, size: int) -> None:
        if size > MAX_ARENA_BYTES:
            raise InferenceError(f"{self.name}: its tensors need {size} bytes, more than {MAX_ARENA_BYTES}: build it for smaller pictures")
        descriptor = os.memfd_create("trichoscope-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self._arena = mmap.mmap(descriptor, size)
            self._worker.ask({"do": "arena"}, deadline_s=self._infer_deadline_s + 1.0, descriptor=descriptor)
        except OSError as problem:
            raise InferenceError(f"{self.name}: no shared memory of {size} bytes ({problem.strerror}): free some memory") from problem
        finally:
            os.close(descriptor)

    def _infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        loaded, arena = self._loaded, self._arena
        if loaded is None or arena is None:
            raise InferenceError(f"{self.name}: not active: call activate() first")
        specs = {tensor.name: tensor for tensor in loaded.tensors if tensor.input}
        if specs.keys() != inputs.keys():
            raise UnfitInputError(f"{self.name}: inputs {sorted(inputs)}: the engine takes {sorted(specs)}")
        placed, at = [], 0
        for name, value in inputs.items():
            _fit(self.name, specs[name], value)
            np.frombuffer(arena, value.dtype, value.size, at).reshape(value.shape)[...] = value
            placed.append({"name": name, "dtype": value.dtype.name, "shape": value.shape, "offset": at})
            at += specs[name].room()
        answer = self._worker.ask({"do": "infer", "inputs": placed, "room": at}, deadline_s=self._infer_deadline_s)
        try:
            return self._taken(arena, answer["outputs"], [tensor for tensor in loaded.tensors if not tensor.input], at)
        except (KeyError, TypeError, ValueError) as problem:
            self._worker.end()
            raise WorkerError(f"{self.name}: the worker's outputs are not the engine's ({problem}): it was ended") from problem

    def _taken(self, arena: mmap.mmap, outputs: Any, specs: list[TensorSpec], start: int) -> dict[str, Array]:
        """Copies of the outputs that the worker says it has written. Raises ValueError where one cannot be what it says."""
        if [one["name"] for one in outputs] != [spec.name for spec in specs]:
            raise ValueError("other names")
        found = {}
        for spec, one in zip(specs, outputs, strict=True):
            dtype, shape, offset = np.dtype(spec.dtype), tuple(one["shape"]), one["offset"]
            if one["dtype"] != spec.dtype or type(offset) is not int or any(type(side) is not int for side in shape):
                raise ValueError(f"{spec.name}: another type")
            if len(shape) != len(spec.most) or any(not 0 <= side <= most for side, most in zip(shape, spec.most, strict=True)):
                raise ValueError(f"{spec.name}: shape {shape}")
            if not start <= offset <= len(arena) - math.prod(shape) * dtype.itemsize or offset % ALIGNMENT:
                raise ValueError(f"{spec.name}: outside the shared memory")
            found[spec.name] = np.frombuffer(arena, dtype, math.prod(shape), offset).reshape(shape).copy()
        return found

    def _deactivate(self) -> None:
        self._worker.end()
        arena, self._arena, self._loaded = self._arena, None, None
        if arena is not None:
            with contextlib.suppress(BufferError):  # a traceback still holds a view of it: it goes with that
                arena.close()


def _fit(backend: str, spec: TensorSpec, value: Array) -> None:
    within = len(value.shape) == len(spec.most) and all(
        least <= side <= most for least, side, most in zip(spec.least, value.shape, spec.most, strict=True)
    )
    if value.dtype.name != spec.dtype or not within:
        range_ = f"{spec.dtype} from {spec.least} to {spec.most}"
        raise UnfitInputError(f"{backend}: input {spec.name!r} is {value.dtype.name} {value.shape}: the engine takes {range_}")


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
