"""The grader of conditions on a network made by hand: the brighter a colour, the higher the grade of its condition."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.analysis.scalp.grading import ConditionGrader
from runtime.bundles.errors import BundleError
from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.parts import Golden, PictureInput, Tolerance
from runtime.bundles.roles import ConditionsRole, Roles
from runtime.bundles.writer import write_bundle
from runtime.inference.backend import Backend
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from tests.runtime.bundle_samples import FLOAT, UINT8, _constant, _field, _int, _ints, _node, _value, card, write_sample

WIDTH, HEIGHT = 32, 24
STEP = 64.0  # grey levels from one grade to the next


def graph(*, grades: str = "grades", softmax: bool = True) -> bytes:
    places = np.arange(4)
    nodes = [
        _node("Cast", ["picture"], ["float"], _int("to", FLOAT)),
        _node("Transpose", ["float"], ["planes"], _ints("perm", [0, 3, 1, 2])),
        _node("ReduceMean", ["planes"], ["rows"], _ints("axes", [3]), _int("keepdims", 0)),
        _node("ReduceMean", ["rows"], ["mean"], _ints("axes", [2]), _int("keepdims", 1)),
        _node("ReduceMean", ["rows"], ["level"], _ints("axes", [2]), _int("keepdims", 0)),
        _node("Sub", ["level", "half"], ["above"]),
        _node("Sigmoid", ["above"], ["presence"]),
        _node("Mul", ["mean", "slope"], ["steep"]),
        _node("Add", ["steep", "offset"], ["logits"]),
        _node("Softmax" if softmax else "Sigmoid", ["logits"], [grades], *([_int("axis", 2)] if softmax else [])),
        _field(2, "bright"),
        _constant("half", [STEP / 2], [1]),
        _constant("slope", list(2 * STEP * places / 800), [1, 1, 4]),
        _constant("offset", list(-((STEP * places) ** 2) / 800), [1, 1, 4]),
        _value(11, "picture", UINT8, ["n", HEIGHT, WIDTH, 3]),
        _value(12, "presence", FLOAT, ["n", 3]),
        _value(12, grades, FLOAT, ["n", 3, 4]),
    ]
    return _field(1, 8) + _field(8, _field(1, "") + _field(2, 17)) + _field(7, b"".join(nodes))


def bundle_of(folder, model):
    picture = np.full((1, HEIGHT, WIDTH, 3), 90, np.uint8)
    with OnnxBackend(model, threads=1) as backend:
        golden = pack([GoldenCase({"picture": picture}, backend.infer({"picture": picture}))])
    role = ConditionsRole(
        model="conditions.onnx",
        golden=Golden(file="golden.npz", tolerances=tuple(Tolerance(output=n, absolute=1e-4) for n in ("presence", "grades"))),
        card=card(),
        picture=PictureInput(name="picture", width=WIDTH, height=HEIGHT),
        conditions=("dandruff", "sebum", "erythema"),
        labels=("good", "mild", "moderate", "severe"),
    )
    content = {"conditions.onnx": model, "golden.npz": golden}
    return write_bundle(folder, content, name="bright", release=1, minimum_version="0.1.0", roles=Roles(conditions=role))


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (480, 640), (17, 300)], ids=["its own size", "a frame", "a strip"])
def test_each_colour_is_graded_by_itself(tmp_path, shape):
    image = np.empty((*shape, 3), np.uint8)
    image[:] = (0, 128, 192)
    with ConditionGrader(bundle_of(tmp_path / "b", graph()), threads=1) as grader:
        found = grader.grade(image)
        assert grader.name.startswith("bright/1+")
    assert [found.dandruff.severity, found.sebum.severity, found.erythema.severity] == [0, 2, 3]
    for grade in (found.dandruff, found.sebum, found.erythema):
        assert sum(grade.probabilities) == pytest.approx(1)
        assert grade.severity == int(np.argmax(grade.probabilities))
        assert grade.bundle == grader.name
        assert grade.validated_on_real_labels is False


def test_a_bundle_without_the_role_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no network for conditions"):
        ConditionGrader(write_sample(tmp_path / "b"))


class Answering(Backend):
    """Answers what it is told to."""

    def __init__(self, answer):
        super().__init__("answering")
        self.answer = answer
        self.closed = 0

    def _activate(self):
        pass

    def _infer(self, inputs):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def _deactivate(self):
        self.closed += 1


GOOD = {"presence": np.full((1, 3), 0.5, np.float32), "grades": np.full((1, 3, 4), 0.25, np.float32)}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"presence": GOOD["presence"]}, "'grades' is missing"),
        ({"grades": GOOD["grades"]}, "'presence' is missing"),
        (GOOD | {"grades": np.full((1, 3, 5), 0.2, np.float32)}, r"\(1, 3, 5\), float \(1, 3, 4\) was promised"),
        (GOOD | {"grades": np.full((1, 3, 4), 1, np.int64)}, "int64"),
        (GOOD | {"grades": np.full((1, 3, 4), np.nan, np.float32)}, "no probability"),
        (GOOD | {"grades": np.array([[[1.5, -0.5, 0, 0]] * 3], np.float32)}, "no probability"),
        (GOOD | {"grades": np.full((1, 3, 4), 0.5, np.float32)}, "sums to 2"),
        (GOOD | {"presence": np.full((1, 3), 7, np.float32)}, "'presence' is no probability"),
        (InferenceError("answering: broken"), "broken: make the bundle again"),
    ],
    ids=["no grades", "no presence", "five grades", "whole numbers", "NaN", "beyond 1", "sum 2", "presence", "failing"],
)
def test_what_no_such_network_answers_is_refused_and_given_back(tmp_path, answer, message):
    bundle = bundle_of(tmp_path / "b", graph())
    made = []

    def backend(model):
        assert model == bundle.content["conditions.onnx"]
        made.append(Answering(answer))
        return made[0]

    with pytest.raises(BundleError, match=message):
        ConditionGrader(bundle, backend=backend)
    assert made[0].closed == 1
    assert not made[0].active


def test_half_precision_that_rounds_is_taken(tmp_path):
    answer = {"presence": GOOD["presence"].astype(np.float16), "grades": np.full((1, 3, 4), 0.2501, np.float16)}
    with ConditionGrader(bundle_of(tmp_path / "b", graph()), backend=lambda _: Answering(answer)) as grader:
        assert sum(grader.grade(np.zeros((8, 8, 3), np.uint8)).sebum.probabilities) == pytest.approx(1)


def test_what_is_no_picture_is_refused(tmp_path):
    with ConditionGrader(bundle_of(tmp_path / "b", graph()), threads=1) as grader:
        for wrong in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)):
            with pytest.raises(ValueError, match="a picture is"):
                grader.grade(wrong)
