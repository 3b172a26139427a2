"""ONNX Runtime: the backend that every machine has, on its processor, and the one that serves while no other can."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnxruntime

from runtime.inference.backend import CANCELLED, Array, Backend
from runtime.inference.errors import InferenceError

QUIET = 4  # ONNX Runtime's log level for what ends the process only: the rest goes to the daemon's stderr past our log, and is raised
NOWHERE = "/dev/null"
"""A folder that has no files: where ONNX Runtime is to look for weights outside the model, which nobody has verified. Left to itself it
looks in the working folder."""
MAX_THREADS = 64
Provider = Literal["CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"]
PROVIDERS: tuple[Provider, ...] = ("CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider")


def providers_here() -> tuple[Provider, ...]:
    """The execution providers that the installed ONNX Runtime was built with, of those that we know."""
    there = onnxruntime.get_available_providers()
    return tuple(name for name in PROVIDERS if name in there)


class OnnxBackend(Backend):
    """One ONNX network in one session.

    Args:
        model: the file's bytes, verified by the caller; a network whose weights lie in another file is refused.
        threads: computing threads, 1…64, the calling one included.
        cores: processors on which the session's own threads may run, numbered from 0; None for those of this process. The calling
            thread stays where its owner has put it.
        provider: what executes; all but the processor are for comparing (`bench inference`).

    The session's threads do not spin while they wait: in a service that costs a core. Memory is taken as needed and not in doubling
    regions.
    """

    def __init__(
        self,
        model: bytes,
        *,
        name: str = "onnx",
        threads: int = 2,
        cores: Sequence[int] | None = None,
        provider: Provider = "CPUExecutionProvider",
    ) -> None:
        super().__init__(name)
        if not 1 <= threads <= MAX_THREADS:
            raise ValueError(f"{threads} threads: choose 1 to {MAX_THREADS}")
        self._model = model
        self._threads = threads
        self._cores = None if cores is None else sorted(set(cores))
        if self._cores is not None and (not self._cores or self._cores[0] < 0):
            raise ValueError(f"cores {list(cores or ())}: name at least one, from 0")
        self._provider = provider
        self._session: Any = None
        self._running: Any = None  # options of the run in work, by which another thread ends it

    def _activate(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = QUIET
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._threads > 1:  # stated, so that it is the same on every machine: by itself ONNX Runtime pins one thread to a core each
            cores = self._cores or sorted(os.sched_getaffinity(0))
            allowed = ",".join(str(core + 1) for core in cores)  # it counts from 1
            options.add_session_config_entry("session.intra_op_thread_affinities", ";".join([allowed] * (self._threads - 1)))
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", NOWHERE)
        arena = {"arena_extend_strategy": "kSameAsRequested"}
        others: list[tuple[str, dict[str, str]]] = [] if self._provider == "CPUExecutionProvider" else [(self._provider, {})]
        try:
            self._session = onnxruntime.InferenceSession(self._model, options, providers=[*others, ("CPUExecutionProvider", arena)])
        except Exception as problem:  # its exceptions share no base below Exception
            raise InferenceError(f"{self.name}: ONNX Runtime cannot load the network: {_first_line(problem)}") from problem

    def _infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        names = [output.name for output in self._session.get_outputs()]
        self._running = options = onnxruntime.RunOptions()
        try:
            if self._cancelled:  # looked at after the options can be seen: whoever cancels sees them, or is seen here
                raise InferenceError(CANCELLED.format(self.name))
            found = dict(zip(names, self._session.run(names, dict(inputs), options), strict=True))
        except InferenceError:
            raise
        except Exception as problem:  # as above
            raise InferenceError(f"{self.name}: ONNX Runtime failed: {_first_line(problem)}") from problem
        finally:
            self._running = None
        for name, value in found.items():
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":  # texts, sequences and maps are possible
                raise InferenceError(f"{self.name}: output {name!r} is no array of numbers")
        return found

    def _cancel(self) -> None:
        running = self._running
        if running is not None:
            running.terminate = True  # looked at between two operators

    def _deactivate(self) -> None:
        self._session = None


def _first_line(problem: Exception) -> str:
    return str(problem).strip().partition("\n")[0][:300]
