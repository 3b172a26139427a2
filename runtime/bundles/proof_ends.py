"""The end figures of a proof: what a difference in a network's outputs does to what a person reads, the same analysis over both.

A segmenter's or teacher's golden pictures are measured twice by the real stages, once from the reference's outputs and once from those
that a backend gave; of a refiner the masks are compared, and of classifiers the grades that change are counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundles.errors import BundleError
from runtime.bundles.golden import GoldenCase
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import RefinerRole, RoleName, SegmenterName, SegmenterRole
from runtime.inference.backend import Array, Backend
from runtime.inference.errors import InferenceError

Answer = Mapping[str, NDArray[Any]]

SMALLEST_PX = 8
"""Sides of the smallest picture that is analysed."""
SEGMENTER_ENDS = ("dice", "hair_count", "median_width")
CLASSES: Mapping[RoleName, str] = {
    "severity": "probabilities",
    "conditions": "grades",
    "forecast": "probabilities",
    "stage": "probabilities",
}
"""The output of a classifier whose greatest entry along the last axis is the answer; its end figure is named as its role."""


@dataclass(frozen=True)
class Reading:
    """What the analysis makes of one picture: mask bool (height, width), hairs, and their median width in px (None without any)."""

    mask: NDArray[np.bool_]
    hair_count: int
    median_width_px: float | None


def end_changes(
    bundle: Bundle, role: RoleName, cases: Sequence[GoldenCase], found: Sequence[Answer], wanted: Collection[str]
) -> dict[str, float | None]:
    """The greatest change over `cases` of each figure of `wanted` that this program knows; None where only one of the two has it.

    `dice`: 1 − Dice of the two masks. `hair_count`: hairs more or fewer. `median_width`: share of the reference's. A classifier's
    (`severity`, `conditions`, `forecast`, `stage`): share of its answers that are another grade, label or stage.

    Raises:
        BundleError: the golden inputs are no pictures as the role takes them.
    """
    if role == "segmenter" or role == "teacher":
        if not set(wanted) & set(SEGMENTER_ENDS):
            return {}
        pairs = [
            (segmenter_reading(bundle, case.inputs, case.outputs, role), segmenter_reading(bundle, case.inputs, answer, role))
            for case, answer in zip(cases, found, strict=True)
        ]
        return {name: _worst(changes) for name, changes in _segmenter_changes(pairs).items() if name in wanted}
    if (refiner := bundle.manifest.roles.refiner) is not None and role == "refiner":
        return _refiner_changes(refiner, cases, found, wanted)
    if role not in wanted or role not in CLASSES:
        return {}
    output = CLASSES[role]
    changed = [
        np.ravel(np.argmax(case.outputs[output], -1) != np.argmax(answer[output], -1)) for case, answer in zip(cases, found, strict=True)
    ]
    return {role: float(np.mean(np.concatenate(changed)))}


def reading_change(expected: Reading, found: Reading) -> dict[str, float | None]:
    """`dice`, `hair_count` and `median_width` as `end_changes` has them, for one picture."""
    both = int((expected.mask & found.mask).sum())
    total = int(expected.mask.sum()) + int(found.mask.sum())
    width: float | None = 0.0
    if expected.median_width_px is not None and found.median_width_px is not None:
        width = abs(found.median_width_px / expected.median_width_px - 1)
    elif (expected.median_width_px is None) != (found.median_width_px is None):
        width = None
    return {
        "dice": 1 - 2 * both / total if total else 0.0,
        "hair_count": float(abs(expected.hair_count - found.hair_count)),
        "median_width": width,
    }


def _refiner_changes(
    role: RefinerRole, cases: Sequence[GoldenCase], found: Sequence[Answer], wanted: Collection[str]
) -> dict[str, float | None]:
    """As `end_changes`, of the masks that are read of a refiner's answers; of a decoder, which sees no picture, `dice` alone."""
    if not set(wanted) & set(SEGMENTER_ENDS) or not all("masks" in answer for answer in found):
        return {}
    known = SEGMENTER_ENDS if role.kind == "maps" else SEGMENTER_ENDS[:1]
    pairs = [
        (_refiner_reading(role, case.inputs, case.outputs), _refiner_reading(role, case.inputs, answer))
        for case, answer in zip(cases, found, strict=True)
    ]
    return {name: _worst(changes) for name, changes in _segmenter_changes(pairs).items() if name in wanted and name in known}


def _refiner_reading(role: RefinerRole, inputs: Answer, outputs: Answer) -> Reading:
    """What is read of a refiner's answer: of each prompted batch the mask of the highest predicted Jaccard.

    Raises:
        BundleError: the input is no picture as the role takes it, or the outputs do not belong together.
    """
    from runtime.analysis.segmentation import given_mask  # as below
    from runtime.pipeline import analyse

    if outputs["masks"].ndim != 4 or outputs["masks"].shape[:2] != outputs["iou"].shape or not outputs["masks"].size:
        shapes = f"masks {outputs['masks'].shape}, iou {outputs['iou'].shape}"
        raise BundleError(f"golden outputs {shapes} do not belong together: make the bundle again")
    masks = outputs["masks"][np.arange(len(outputs["iou"])), np.argmax(outputs["iou"], axis=1)]
    if role.kind == "points":
        logit = float(np.log(role.threshold / (1 - role.threshold)))
        return Reading(np.asarray(masks.max(axis=0) >= np.float32(logit), np.bool_), 0, None)
    mask = np.asarray(masks[0] >= np.float32(role.threshold), np.bool_)
    picture = _golden_picture(role, inputs)
    if mask.shape != picture.shape[:2]:
        raise BundleError(f"golden masks {mask.shape} are not of the picture's size {picture.shape[:2]}: make the bundle again")
    measured = analyse(picture, name="golden", segmentation=given_mask(mask))
    return Reading(mask, measured.hair_count, measured.diameter_px.median)


def segmenter_reading(bundle: Bundle, inputs: Answer, outputs: Answer, name: SegmenterName = "segmenter") -> Reading:
    """One golden picture measured by the real stages, from the outputs as given of the network of role `name`.

    Raises:
        BundleError: the input is no picture as the role takes it, or outputs are missing or of another shape.
    """
    # the analysis reads bundles: bundles may ask for it only when used
    from runtime.analysis.learned import LearnedSegmenter
    from runtime.pipeline import analyse

    roles = bundle.manifest.roles
    role = roles.segmenter if name == "segmenter" else roles.teacher
    if role is None:
        raise BundleError(f"{bundle.id}: it has no {name}: name another bundle")
    picture = _golden_picture(role, inputs)
    with LearnedSegmenter(bundle, role=name, backend=lambda _: _Replay(outputs)) as segmenter:
        segmentation = segmenter.segment(picture)
    measured = analyse(picture, name="golden", segmentation=segmentation)
    return Reading(segmentation.mask, measured.hair_count, measured.diameter_px.median)


def _golden_picture(role: SegmenterRole | RefinerRole, inputs: Answer) -> NDArray[np.uint8]:
    """The picture uint8 (height, width, 3) among golden inputs. Raises BundleError where there is none as the role takes it."""
    from runtime.analysis.learned import padded, reduced  # as above

    tensor = inputs.get(role.input.name)
    if tensor is None or tensor.ndim != 4 or tensor.shape[0] != 1 or tensor.shape[3] != 3 or tensor.dtype != np.uint8:
        raise BundleError(f"golden input {role.input.name!r} is no picture uint8 (1, height, width, 3): make the bundle again")
    picture = np.asarray(tensor[0], np.uint8)
    if min(picture.shape[:2]) < SMALLEST_PX or padded(reduced(picture, role.preprocessing), role.input).shape != tensor.shape:
        raise BundleError(f"a golden picture of {picture.shape[1]}×{picture.shape[0]} px is not as the network takes it: make it again")
    return picture


def _segmenter_changes(pairs: Sequence[tuple[Reading, Reading]]) -> dict[str, list[float | None]]:
    changes = [reading_change(*pair) for pair in pairs]
    return {name: [change[name] for change in changes] for name in SEGMENTER_ENDS}


def _worst(changes: Sequence[float | None]) -> float | None:
    known = [change for change in changes if change is not None]
    return max(known) if known and len(known) == len(changes) else None


class _Replay(Backend):
    """Gives a network's recorded outputs of one picture again, so that the stages behind a network can be run on any backend's answers.

    The picture enlarged, which small pictures are looked at as well, gets the recorded maps enlarged.
    """

    def __init__(self, outputs: Answer) -> None:
        super().__init__("replay")
        self._outputs = outputs

    def _activate(self) -> None:
        for name, axes in (("hair", 4), ("marks", 4), ("features", 2)):
            if name not in self._outputs or self._outputs[name].ndim != axes:
                raise InferenceError(f"output {name!r} is missing or has another number of axes")

    def _infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        height, width = next(iter(inputs.values())).shape[1:3]
        return {
            "hair": _spread(self._outputs["hair"], height, width),
            "marks": _spread(self._outputs["marks"], height // 2, width // 2),
            "features": self._outputs["features"],
        }

    def _deactivate(self) -> None:
        """Nothing is held."""


def _spread(maps: Array, height: int, width: int) -> Array:
    """`maps`, (1, c, h, w), as they are where they have the size, else each value doubled both ways and cut or continued to it."""
    if maps.shape[2:] == (height, width):
        return maps
    rows = np.minimum(np.arange(height) // 2, maps.shape[2] - 1)
    columns = np.minimum(np.arange(width) // 2, maps.shape[3] - 1)
    return np.asarray(maps[:, :, rows[:, None], columns[None, :]])
