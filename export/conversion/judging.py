"""How near a network in another precision comes to the fp32 reference where it counts: end figures on rendered frames, by role.

A segmenter's frames go through the real segmenter and the real analysis: Dice of the two masks, hair count, median width. Of classifiers
the answers that change are counted, and how far the probabilities move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.scene import RenderedFrame
from export.conversion.sensitivity import Measured
from export.conversion.trust import mask_dice
from export.errors import ConversionError
from export.scenes import validation_frames
from runtime.analysis.learned import LearnedSegmenter, padded, reduced
from runtime.bundles.golden import unpack
from runtime.bundles.parts import PictureInput, Precision
from runtime.bundles.proof_ends import CLASSES, Reading, reading_change
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import RoleName, SegmenterName
from runtime.inference.onnx import OnnxBackend
from runtime.inference.pictures import picture_tensor
from runtime.pipeline import analyse

CALIBRATION_SEED, CHOICE_SEED, TEST_SEED = 900_101, 900_102, 900_103
"""Frames to calibrate on, to choose what stays in float, and those of neither that the figures are stated on; no training draws them."""
SMALL = (320, 240)
QUICK = 4
LIMITS: Mapping[str, Mapping[str, float]] = {
    "fp16": {"dice_change": 0.002, "median_width_change": 0.01, "hair_count_change": 0.02, "answers_changed": 0.01, "moved": 0.005},
    "int8": {"dice_change": 0.01, "median_width_change": 0.01, "hair_count_change": 0.05, "answers_changed": 0.03, "moved": 0.03},
}

Inputs = Mapping[str, NDArray[Any]]


class Judge(Protocol):
    """Knows what counts for one role. `calibration` are inputs of the network to see the range of its tensors on."""

    calibration: Sequence[Inputs]

    def damage(self, model: bytes) -> float:
        """Quick: how far a network's outputs are from the reference's on a few small frames."""
        ...

    def measure(self, precision: Precision, model: bytes, *, test: bool = False) -> Measured:
        """The end figures on the frames to choose by, or on those to test on."""
        ...


def judge_of(bundle: Bundle, role: RoleName, *, per_kind: int, test_per_kind: int) -> Judge:
    """The judge of a role. `per_kind` rendered frames of each of the three kinds to choose by, `test_per_kind` to test on.

    Raises:
        ConversionError: nothing is there to judge by.
    """
    if role == "segmenter" or role == "teacher":
        return SegmenterJudge(bundle, role, per_kind=per_kind, test_per_kind=test_per_kind)
    if role not in CLASSES:
        raise ConversionError(f"{bundle.id}: {role}: nothing here can judge what another precision does to it: name the other roles")
    return ClassifierJudge(bundle, role, per_kind=per_kind, test_per_kind=test_per_kind)


class SegmenterJudge:
    """Judges a segmenter's or teacher's networks on rendered frames of 640×480 px."""

    def __init__(self, bundle: Bundle, name: SegmenterName = "segmenter", *, per_kind: int, test_per_kind: int) -> None:
        role = bundle.manifest.roles.segmenter if name == "segmenter" else bundle.manifest.roles.teacher
        if role is None:
            raise ConversionError(f"{bundle.id}: it has no {name}: name another role")
        self._name: SegmenterName = name
        self._bundle, self._role, self._reference = bundle, role, bundle.content[role.model]
        self._per_kind, self._test_per_kind = per_kind, test_per_kind
        self._frames: dict[bool, list[tuple[RenderedFrame, Reading]]] = {}
        pictures = [_small(frame.image) for frame in validation_frames(max(2, per_kind), CALIBRATION_SEED)]
        self.calibration: Sequence[Inputs] = [{role.input.name: padded(reduced(p, role.preprocessing), role.input)} for p in pictures]
        step = max(1, len(self.calibration) // QUICK)
        self._quick = self.calibration[::step][:QUICK]
        self._quick_answers = _answers(self._reference, self._quick)

    def damage(self, model: bytes) -> float:
        """1 − the mean soft Dice to the reference's probabilities."""
        lost = []
        for expected, found in zip(self._quick_answers, _answers(model, self._quick), strict=True):
            a, b = expected["hair"].astype(np.float64), found["hair"].astype(np.float64)
            lost.append(float(np.abs(a - b).sum() / max(1.0, float(a.sum() + b.sum()))))
        return float(np.mean(lost))

    def measure(self, precision: Precision, model: bytes, *, test: bool = False) -> Measured:
        """Means over the frames of what the change does; `…_worst` are of single frames and `dice_to_truth_…` for information."""
        frames = self._read(test)
        rows: list[dict[str, float | None]] = []
        truths: list[tuple[float, float]] = []
        with LearnedSegmenter(self._bundle, role=self._name, backend=lambda _: OnnxBackend(model)) as segmenter:
            for frame, expected in frames:
                found = _reading(segmenter, frame.image)
                rows.append(reading_change(expected, found))
                truths.append((mask_dice(expected.mask, frame.mask), mask_dice(found.mask, frame.mask)))
        widths = [row["median_width"] for row in rows]
        known = [width for width in widths if width is not None]
        dice = [float(row["dice"] or 0.0) for row in rows]
        counts = [float(row["hair_count"] or 0.0) for row in rows]
        hairs = sum(reading.hair_count for _, reading in frames)
        if len(known) < len(widths) / 2:  # hair that only one of the two finds, nearly everywhere
            known.append(float("inf"))
        figures = {
            "dice_change": float(np.mean(dice)),
            "dice_change_worst": max(dice),
            "hair_count_change": sum(counts) / max(1, hairs),
            "hair_count_change_worst": max(counts),
            "median_width_change": float(np.mean(known)),
            "median_width_change_worst": max(known),
            "dice_to_truth": float(np.mean([found for _, found in truths])),
            "dice_to_truth_change": abs(float(np.mean([found - before for before, found in truths]))),
            "frames": float(len(frames)),
        }
        limits = LIMITS["fp16" if precision == "fp16" else "int8"]
        return Measured(figures, {name: limits[name] for name in ("dice_change", "median_width_change", "hair_count_change")})

    def _read(self, test: bool) -> list[tuple[RenderedFrame, Reading]]:
        """The frames and what the reference reads in them, rendered when first asked for."""
        if test not in self._frames:
            frames = validation_frames(self._test_per_kind if test else self._per_kind, TEST_SEED if test else CHOICE_SEED)
            with LearnedSegmenter(self._bundle, role=self._name) as segmenter:
                self._frames[test] = [(frame, _reading(segmenter, frame.image)) for frame in frames]
        return self._frames[test]


class ClassifierJudge:
    """Judges a classifier's networks on its golden inputs, and on rendered frames where its only input is a picture."""

    def __init__(self, bundle: Bundle, role: RoleName, *, per_kind: int, test_per_kind: int) -> None:
        made = bundle.manifest.roles.present().get(role)
        if made is None:
            raise ConversionError(f"{bundle.id}: it has no {role}: name another role")
        self._output = CLASSES[role]
        golden = [case.inputs for case in unpack(bundle.content[made.golden.file], made.golden.file)]
        picture = getattr(made, "picture", None)
        rendered = isinstance(picture, PictureInput) and all(
            set(case) == {picture.name} and case[picture.name].ndim == 4 for case in golden
        )
        shown = picture if rendered and isinstance(picture, PictureInput) else None
        self.calibration: Sequence[Inputs] = [*golden, *(_pictures(shown, max(2, per_kind), CALIBRATION_SEED) if shown else ())]
        self._inputs: dict[bool, Sequence[Inputs]] = {False: golden, True: golden}
        if shown is not None:
            self._inputs = {False: _pictures(shown, per_kind, CHOICE_SEED), True: _pictures(shown, test_per_kind, TEST_SEED)}
        reference = bundle.content[made.model]
        self._expected = {test: _answers(reference, inputs) for test, inputs in self._inputs.items()}

    def damage(self, model: bytes) -> float:
        """Mean movement of the probabilities on a few inputs."""
        found = _answers(model, self._inputs[False][:QUICK])
        return float(
            np.mean([np.abs(f[self._output] - e[self._output]).mean() for f, e in zip(found, self._expected[False], strict=False)])
        )

    def measure(self, precision: Precision, model: bytes, *, test: bool = False) -> Measured:
        """`answers_changed`: share of answers; `moved`: mean movement of the probabilities."""
        changed, moved = [], []
        for expected, found in zip(self._expected[test], _answers(model, self._inputs[test]), strict=True):
            a, b = expected[self._output], found[self._output]
            changed.append(np.ravel(a.argmax(-1) != b.argmax(-1)))
            moved.append(np.ravel(np.abs(a - b)))
        figures = {
            "answers_changed": float(np.mean(np.concatenate(changed))),
            "moved": float(np.mean(np.concatenate(moved))),
            "frames": float(len(self._inputs[test])),
        }
        limits = LIMITS["fp16" if precision == "fp16" else "int8"]
        return Measured(figures, {name: limits[name] for name in ("answers_changed", "moved")})


def _reading(segmenter: LearnedSegmenter, image: NDArray[np.uint8]) -> Reading:
    segmentation = segmenter.segment(image)
    measured = analyse(image, name="frame", segmentation=segmentation)
    return Reading(segmentation.mask, measured.hair_count, measured.diameter_px.median)


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a frame: ranges need not many pixels, and all tensors of a network are held at once."""
    height, width = image.shape[:2]
    top, left = max(0, (height - SMALL[1]) // 2), max(0, (width - SMALL[0]) // 2)
    return np.ascontiguousarray(image[top : top + SMALL[1], left : left + SMALL[0]])


def _pictures(spec: PictureInput, per_kind: int, seed: int) -> list[Inputs]:
    cv2.setNumThreads(1)
    return [{spec.name: picture_tensor(frame.image, spec)} for frame in validation_frames(per_kind, seed)]


def _answers(model: bytes, inputs: Sequence[Inputs]) -> list[dict[str, NDArray[Any]]]:
    with OnnxBackend(model) as backend:
        return [backend.infer(given) for given in inputs]
