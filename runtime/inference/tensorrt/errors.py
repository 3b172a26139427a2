"""The exceptions of TensorRT's worker and of its engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.inference.errors import InferenceError

if TYPE_CHECKING:
    from runtime.inference.tensorrt.cache import EngineKey


class WorkerError(InferenceError):
    """The worker could not be started, ended, did not answer in time, or broke the protocol; it has been ended."""


class RefusedError(InferenceError):
    """The worker works and says no. `kind` is what it names: driver, library, network, engine, disk, cuda."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class UnfitInputError(InferenceError):
    """An input has another name, type or shape than the engine takes; the worker was not asked, or is unharmed."""


class EngineError(InferenceError):
    """The folder of engines cannot be used, or its disk is full; nothing half done is left in it."""


class EngineMissingError(EngineError):
    """There is no engine under the key, or what lies there is damaged: it must be built."""

    def __init__(self, message: str, key: EngineKey) -> None:
        super().__init__(message)
        self.key = key
