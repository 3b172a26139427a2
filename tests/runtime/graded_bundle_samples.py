"""Bundles that find hair and always give the same grades: networks made by hand, without the workstation's libraries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from runtime.analysis.severity import FEATURES
from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.parts import Golden, PictureInput, Tolerance
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import ConditionsRole, Roles, SeverityRole
from runtime.bundles.signing import sign
from runtime.bundles.writer import write_bundle
from runtime.inference.onnx import OnnxBackend
from tests.runtime.bundle_samples import (
    FLOAT,
    GOLDEN,
    MODEL,
    UINT8,
    _constant,
    _field,
    _int,
    _ints,
    _node,
    _value,
    card,
    dark_is_hair,
    golden,
    segmenter_role,
)
from tests.runtime.signing_samples import KEY

LABELS = ("good", "mild", "moderate", "severe")
CONDITIONS = ("dandruff", "sebum", "erythema")
SIDE = 32
SURE, UNSURE = 4.0, 2.0  # logits of the grade that is given and of its neighbours


def _logits(grade: int) -> list[float]:
    return [SURE if other == grade else UNSURE if abs(other - grade) == 1 else 0.0 for other in range(4)]


def _model(*fields: bytes) -> bytes:
    return _field(1, 8) + _field(8, _field(1, "") + _field(2, 17)) + _field(7, b"".join(fields))


def always_this_severe(grade: int) -> bytes:
    """An ONNX file that gives one grade whatever the features."""
    return _model(
        _node("MatMul", ["features", "nothing"], ["nil"]),
        _node("Add", ["nil", "offset"], ["logits"]),
        _node("Softmax", ["logits"], ["probabilities"], _int("axis", 1)),
        _field(2, "severe"),
        _constant("nothing", [0.0] * len(FEATURES) * 4, [len(FEATURES), 4]),
        _constant("offset", _logits(grade), [4]),
        _value(11, "features", FLOAT, ["n", len(FEATURES)]),
        _value(12, "probabilities", FLOAT, ["n", 4]),
    )


def always_in_this_condition(grades: Sequence[int]) -> bytes:
    """An ONNX file that gives one grade of each condition whatever the picture."""
    return _model(
        _node("Cast", ["picture"], ["float"], _int("to", FLOAT)),
        _node("Transpose", ["float"], ["planes"], _ints("perm", [0, 3, 1, 2])),
        _node("ReduceMean", ["planes"], ["rows"], _ints("axes", [3]), _int("keepdims", 0)),
        _node("ReduceMean", ["rows"], ["mean"], _ints("axes", [2]), _int("keepdims", 1)),
        _node("ReduceMean", ["rows"], ["level"], _ints("axes", [2]), _int("keepdims", 0)),
        _node("Mul", ["level", "nothing"], ["flat"]),
        _node("Sigmoid", ["flat"], ["presence"]),
        _node("Mul", ["mean", "nothing"], ["nil"]),
        _node("Add", ["nil", "offset"], ["logits"]),
        _node("Softmax", ["logits"], ["grades"], _int("axis", 2)),
        _field(2, "conditions"),
        _constant("nothing", [0.0], [1]),
        _constant("offset", [logit for grade in grades for logit in _logits(grade)], [1, 3, 4]),
        _value(11, "picture", UINT8, ["n", SIDE, SIDE, 3]),
        _value(12, "presence", FLOAT, ["n", 3]),
        _value(12, "grades", FLOAT, ["n", 3, 4]),
    )


def _golden_of(model: bytes, inputs: dict[str, np.ndarray], spoil: float = 0.0) -> bytes:
    with OnnxBackend(model, threads=1) as backend:
        found = backend.infer(inputs)
    return pack([GoldenCase(inputs, {name: value + np.float32(spoil) for name, value in found.items()})])


def write_graded(
    folder: Path,
    *,
    severity: int | None = 2,
    conditions: Sequence[int] | None = (1, 2, 3),
    segmenter: bool = True,
    validated: bool = False,
    spoil: float = 0.0,
    name: str = "graded",
    release: int = 1,
    signer: Callable[[bytes], bytes] | None = lambda text: sign(text, KEY),
) -> Bundle:
    """A bundle that gives these grades, by default signed with the tests' key.

    Args:
        segmenter: whether it finds hair, which is what is dark.
        validated: what the cards say of real labels.
        spoil: added to the golden answers of the conditions, so that the golden check fails.
    """
    told = card().model_copy(update={"validated_on_real_labels": validated})
    content, roles = {}, {}
    if segmenter:
        content |= {MODEL: dark_is_hair(), GOLDEN: golden()}
        roles["segmenter"] = segmenter_role()
    if severity is not None:
        model = always_this_severe(severity)
        content |= {"severity.onnx": model, "severity.npz": _golden_of(model, {"features": np.ones((1, len(FEATURES)), np.float32)})}
        roles["severity"] = SeverityRole(
            model="severity.onnx",
            golden=Golden(file="severity.npz", tolerances=(Tolerance(output="probabilities", absolute=1e-4),)),
            card=told,
            input="features",
            features=FEATURES,
            labels=LABELS,
        )
    if conditions is not None:
        model = always_in_this_condition(conditions)
        picture = {"picture": np.full((1, SIDE, SIDE, 3), 90, np.uint8)}
        content |= {"conditions.onnx": model, "conditions.npz": _golden_of(model, picture, spoil)}
        roles["conditions"] = ConditionsRole(
            model="conditions.onnx",
            golden=Golden(
                file="conditions.npz", tolerances=tuple(Tolerance(output=output, absolute=1e-4) for output in ("grades", "presence"))
            ),
            card=told,
            picture=PictureInput(name="picture", width=SIDE, height=SIDE),
            conditions=CONDITIONS,
            labels=LABELS,
        )
    return write_bundle(folder, content, name=name, release=release, minimum_version="0.1.0", roles=Roles(**roles), signer=signer)
