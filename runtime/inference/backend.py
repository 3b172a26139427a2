"""The contract of a backend: activate, infer, deactivate. The public methods check, the hooks do the work.

A backend holds one network. It is used by one thread at a time, which another one may stop (`cancel`), and it holds memory and threads
only while it is active.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.inference.errors import InferenceError

Array = NDArray[Any]
CANCELLED = "{}: cancelled: its answer is no longer wanted"


class Backend(ABC):
    """Runs one network given as ONNX bytes that the caller has verified."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._active = False
        self._cancelled = False

    @property
    def active(self) -> bool:
        """Whether it can infer."""
        return self._active

    def activate(self) -> None:
        """Take memory and threads and make ready. Does nothing where it is active.

        Raises:
            InferenceError: the network cannot be used here.
        """
        if not self._active:
            self._activate()
            self._active = True

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name; the caller may keep them.

        Raises:
            InferenceError: not active, cancelled, no or empty inputs, or the network failed.
        """
        if self._cancelled:
            raise InferenceError(CANCELLED.format(self.name))
        if not self._active:
            raise InferenceError(f"{self.name}: not active: call activate() first")
        if not inputs:
            raise InferenceError(f"{self.name}: no input given")
        for name, value in inputs.items():
            if value.size == 0:
                raise InferenceError(f"{self.name}: input {name!r} of shape {value.shape} is empty")
        return self._infer(inputs)

    def cancel(self) -> None:
        """What is being computed is no longer wanted: `infer` raises as soon as it can, and at once from here on. Any thread."""
        self._cancelled = True
        self._cancel()

    def resume(self) -> None:
        """Take work again after `cancel`. Does nothing where nothing was cancelled; by the thread that infers."""
        self._cancelled = False

    def deactivate(self) -> None:
        """Give everything back. Does nothing where it is not active; it can be activated again."""
        if self._active:
            self._active = False
            self._deactivate()

    def __enter__(self) -> Backend:
        self.activate()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.deactivate()

    @abstractmethod
    def _activate(self) -> None:
        """Make ready; leaves nothing behind where it raises."""

    @abstractmethod
    def _infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once."""

    def _cancel(self) -> None:  # noqa: B027 - whoever cannot stop in the middle ends what it has begun
        """End the run in work early, where that is possible; another thread's. Must not raise."""

    @abstractmethod
    def _deactivate(self) -> None:
        """Give back; must not raise."""


def as_float32(array: Array) -> NDArray[np.float32]:
    """An output as float32, copied only where it is of another type."""
    return np.asarray(array, np.float32)
