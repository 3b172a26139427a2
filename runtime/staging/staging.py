"""Running a bundle's role `stage` over the views of a head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from runtime import __version__
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import StageRole
from runtime.inference.backend import Backend, as_float32
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.inference.pictures import picture_tensor
from runtime.staging.result import StageResult, ViewStage

PRESENT = "present"
PROBABILITIES, ATTENTION, VIEW_PROBABILITIES = "probabilities", "attention", "view_probabilities"
SUM_TOLERANCE = 1e-3

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network says of one head.

    Attributes:
        probabilities: float32 (labels,).
        attention: float32 (views,); 0 where there is no view.
        view_probabilities: float32 (views, labels), of each view alone; None where the network does not tell them.
    """

    probabilities: NDArray[np.float32]
    attention: NDArray[np.float32]
    view_probabilities: NDArray[np.float32] | None


class Stager:
    """Stages heads with a bundle's network. Entering the context opens the network; leaving it gives everything back."""

    def __init__(self, bundle: Bundle, *, threads: int = 2) -> None:
        """Store the arguments.

        Raises:
            BundleError: the bundle stages nothing.
        """
        role = bundle.manifest.roles.stage
        if role is None:
            raise BundleError(f"{bundle.id}: it has no role `stage`: name a bundle that has, with --bundle")
        self.role: StageRole = role
        self.bundle = bundle
        self._backend: Backend = OnnxBackend(bundle.content[role.model], name=f"{bundle.id} stage", threads=threads)

    def __enter__(self) -> Stager:
        self._backend.activate()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._backend.deactivate()

    def stage(self, pictures: Mapping[str, Image], *, folder: str, failed: tuple[str, ...] = ()) -> StageResult:
        """The stage from at least one view, uint8 (height, width, 3) BGR by name.

        Raises:
            InferenceError: no view that the network knows, the network failed, or its answer is none.
        """
        answer = answer_of(self._backend, self.role, pictures)
        labels = self.role.labels
        used = [i for i, view in enumerate(self.role.views) if view in pictures]
        grade = middle(answer.probabilities)
        alone = answer.view_probabilities
        return StageResult.model_validate(
            {
                "folder": folder,
                "stage": labels[grade],
                "grade": grade + 1,
                "probabilities": _shares(labels, answer.probabilities),
                "views": {
                    self.role.views[i]: ViewStage(
                        attention=_share(float(answer.attention[i])),
                        stage=None if alone is None else labels[middle(alone[i])],
                        probabilities=None if alone is None else _shares(labels, alone[i]),
                    )
                    for i in used
                },
                "missing": tuple(view for view in self.role.views if view not in pictures and view not in failed),
                "failed": failed,
                "bundle": self.bundle.id,
                "validated_on_real_labels": self.role.card.validated_on_real_labels,
                "version": __version__,
            }
        )


def stage_inputs(role: StageRole, pictures: Mapping[str, Image]) -> dict[str, NDArray[np.generic]]:
    """The network's inputs: pictures (1, views, …), 0 where there is no view, and `present` float32 (1, views).

    Raises:
        InferenceError: none of the `pictures` is a view that the network knows.
    """
    present = np.array([[1.0 if view in pictures else 0.0 for view in role.views]], np.float32)
    if not present.any():
        raise InferenceError(f"no view to stage: give at least one of {', '.join(role.views)}")
    tensors = {view: picture_tensor(image, role.picture) for view, image in pictures.items() if view in role.views}
    empty = np.zeros_like(next(iter(tensors.values())))
    return {role.picture.name: np.concatenate([tensors.get(view, empty) for view in role.views])[None], PRESENT: present}


def answer_of(backend: Backend, role: StageRole, pictures: Mapping[str, Image]) -> Answer:
    """What the network behind an active `backend` says of the views.

    Raises:
        InferenceError: no view that the network knows, the network failed, or what it says are no probabilities of the role's shape.
    """
    found = {name: as_float32(value) for name, value in backend.infer(stage_inputs(role, pictures)).items()}
    views, labels = len(role.views), len(role.labels)
    wanted = {PROBABILITIES: (1, labels), ATTENTION: (1, views), VIEW_PROBABILITIES: (1, views, labels)}
    for name, shape in wanted.items():
        if name not in found and name == VIEW_PROBABILITIES:
            continue
        if name not in found or found[name].shape != shape:
            got = found[name].shape if name in found else "nothing"
            raise InferenceError(f"{backend.name}: output {name!r} should be {shape}, it is {got}: take another bundle")
        if (
            not np.isfinite(found[name]).all()
            or np.abs(found[name].sum(axis=-1) - 1).max() > SUM_TOLERANCE
            or found[name].min() < -SUM_TOLERANCE
        ):
            raise InferenceError(f"{backend.name}: output {name!r} holds no shares that sum to 1: take another bundle")
    alone = found.get(VIEW_PROBABILITIES)
    return Answer(found[PROBABILITIES][0], found[ATTENTION][0], None if alone is None else alone[0])


def middle(shares: NDArray[np.float32]) -> int:
    """Index of the middle label of ordered probabilities: half of them lie below or in it."""
    return int((np.cumsum(shares)[:-1] < 0.5).sum())


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, float(value))), 6)


def _shares(labels: tuple[str, ...], values: NDArray[np.float32]) -> dict[str, float]:
    return {label: _share(float(value)) for label, value in zip(labels, values, strict=True)}
