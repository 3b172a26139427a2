"""The learned grades of dandruff, sebum and erythema: a bundle's conditions network over one picture."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.measurement import Conditions, Grade
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import ConditionsRole
from runtime.inference.backend import Backend, as_float32
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.inference.pictures import picture_tensor

GRADES = 4
SUM_TOLERANCE = 1e-3  # of a condition's four probabilities; reduced precision rounds


class ConditionGrader:
    """A bundle's conditions network on a backend. Used by one thread at a time; ready when made.

    Args:
        threads: computing threads of the backend.
        backend: makes the backend from the network's bytes; ONNX Runtime where None.

    Raises:
        BundleError: the bundle has no such network, it does not do what the manifest says, or the backend cannot run it.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 2, backend: Callable[[bytes], Backend] | None = None) -> None:
        role = bundle.manifest.roles.conditions
        if role is None:
            raise BundleError(f"{bundle.id}: no network for conditions in it: take a bundle with that role")
        self._role: ConditionsRole = role
        self._name = bundle.id
        model = bundle.content[role.model]
        self._backend = OnnxBackend(model, name=f"{self._name} conditions", threads=threads) if backend is None else backend(model)
        try:
            self._backend.activate()
            self._asked(np.zeros((role.picture.height, role.picture.width, 3), np.uint8))
        except InferenceError as problem:
            self._backend.deactivate()
            raise BundleError(f"{self._name}: {problem}: make the bundle again") from problem
        except BaseException:
            self._backend.deactivate()
            raise

    @property
    def name(self) -> str:
        """The bundle's id, as results carry it."""
        return self._name

    def grade(self, image_bgr: NDArray[np.uint8]) -> Conditions:
        """The three grades of a picture, uint8 (height, width, 3) BGR; each the likeliest of four, with the probabilities.

        Raises:
            InferenceError: the network failed.
            BundleError: it answered what no network of this role answers.
            ValueError: `image_bgr` is no such picture.
        """
        rows = self._asked(image_bgr)
        grades = [self._grade(row) for row in rows]
        return Conditions(dandruff=grades[0], sebum=grades[1], erythema=grades[2])

    def close(self) -> None:
        """Give the backend's memory and threads back."""
        self._backend.deactivate()

    def __enter__(self) -> ConditionGrader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _grade(self, row: NDArray[np.float64]) -> Grade:
        return Grade(
            severity=int(np.argmax(row)),
            probabilities=[float(value) for value in row],
            bundle=self._name,
            validated_on_real_labels=self._role.card.validated_on_real_labels,
        )

    def _asked(self, image_bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities of the grades, float64 (3, GRADES), each row's sum 1, out of the network; its answers are checked."""
        found = self._backend.infer({self._role.picture.name: picture_tensor(image_bgr, self._role.picture)})
        count = len(self._role.conditions)
        self._checked(found, "presence", (1, count))
        grades = self._checked(found, "grades", (1, count, GRADES))[0]
        total = grades.sum(1)
        if np.abs(total - 1).max() > SUM_TOLERANCE:
            raise BundleError(f"{self._name}: output 'grades' sums to {float(total.max()):.4g}, 1 was promised: make the bundle again")
        return np.asarray(grades / total[:, None], np.float64)

    def _checked(self, found: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """An output of the shape and kind promised, float64, probabilities."""
        got = found.get(name)
        if got is None or got.shape != shape or got.dtype.kind != "f":
            there = "missing" if got is None else f"{got.dtype} {got.shape}"
            raise BundleError(f"{self._name}: output {name!r} is {there}, float {shape} was promised: make the bundle again")
        values = as_float32(got).astype(np.float64)
        if not (np.isfinite(values).all() and values.min() >= -SUM_TOLERANCE and values.max() <= 1 + SUM_TOLERANCE):
            raise BundleError(f"{self._name}: output {name!r} is no probability: make the bundle again")
        return np.clip(values, 0, 1)
