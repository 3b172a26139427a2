"""What a bundle grades beside the hairs: which roles load, and that a grade is an addition, never a reason to lose a measurement."""

import subprocess
import sys

import numpy as np
import pytest

from runtime.analysis.graders import GIVE_UP_AFTER, LOGGED, Graded, Graders
from runtime.analysis.measurement import Quality
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.pipeline import analyse
from tests.runtime.bundle_samples import write_sample
from tests.runtime.drawn import FIVE, hairs_on_skin
from tests.runtime.graded_bundle_samples import write_graded

PICTURE = np.full((48, 64, 3), 150, np.uint8)
FINE = Quality(ok=True, reasons=[], sharpness=0.5, exposure=0.5, hair_coverage=0.1)
BLURRED = Quality(ok=False, reasons=["blurred"], sharpness=0.0, exposure=0.5, hair_coverage=0.1)
ALL = ("segmenter", "severity", "conditions")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_graded(tmp_path_factory.mktemp("graded") / "graded", severity=2, conditions=(1, 2, 3))


def failing(monkeypatch, part):
    """From now on networks whose name holds `part` fail; gives a function that ends it."""
    infer = OnnxBackend._infer
    broken = [True]

    def fail(self, inputs):
        if broken and part in self.name:
            raise InferenceError("no memory for the network")
        return infer(self, inputs)

    monkeypatch.setattr(OnnxBackend, "_infer", fail)
    return broken.clear


def test_captures_are_graded_wholly(bundle):
    with Graders(bundle, ALL, thorough=True) as graders:
        graded = graders.grade(PICTURE, [], FINE)
        assert (graders.problem, graders.failures) == (None, 0)
    assert graded.alopecia.severity == 2
    assert [getattr(graded.conditions, name).severity for name in ("dandruff", "sebum", "erythema")] == [1, 2, 3]
    assert graded.models == (("severity", bundle.id), ("conditions", bundle.id))
    assert graded.alopecia.validated_on_real_labels is False


@pytest.mark.parametrize(
    ("roles", "thorough", "models"),
    [
        (ALL, False, ["severity"]),  # the network for conditions is too slow for each live frame
        (("segmenter", "conditions"), True, ["conditions"]),
        (("segmenter",), True, []),
        ((), True, []),
    ],
)
def test_only_what_the_profile_of_use_allows_is_loaded(bundle, roles, thorough, models):
    with Graders(bundle, roles, thorough=thorough) as graders:
        graded = graders.grade(PICTURE, [], FINE)
    assert [role for role, _ in graded.models] == models
    assert (graded.alopecia is not None, graded.conditions is not None) == ("severity" in models, "conditions" in models)


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: write_sample(folder / "dark")], ids=["no bundle", "no such roles"])
def test_without_such_roles_nothing_is_graded(tmp_path, make):
    with Graders(make(tmp_path), ALL, thorough=True) as graders:
        assert graders.grade(PICTURE, [], FINE) == Graded()
        assert graders.problem is None


def test_a_blurred_picture_has_no_severity_and_names_the_model_that_looked(bundle):
    with Graders(bundle, ALL) as graders:
        graded = graders.grade(PICTURE, [], BLURRED)
    assert graded == Graded(None, None, (("severity", bundle.id),))


def test_a_network_that_cannot_be_used_is_told_and_the_other_grades(bundle, monkeypatch):
    failing(monkeypatch, "conditions")
    with Graders(bundle, ALL, thorough=True) as graders:
        assert graders.problem.startswith("a grade is missing: ")
        assert "no memory for the network" in graders.problem
        graded = graders.grade(PICTURE, [], FINE)
    assert (graded.alopecia.severity, graded.conditions) == (2, None)


def test_a_picture_on_which_a_network_fails_keeps_its_other_grades_and_the_next_has_all(bundle, monkeypatch):
    with Graders(bundle, ALL, thorough=True) as graders:
        mend = failing(monkeypatch, "conditions")
        graded = graders.grade(PICTURE, [], FINE)
        assert (graded.alopecia.severity, graded.conditions, graders.failures, graders.problem) == (2, None, 1, None)
        mend()
        assert graders.grade(PICTURE, [], FINE).conditions is not None


def test_a_network_that_fails_again_and_again_is_given_up_and_one_that_fails_now_and_then_is_not(bundle, monkeypatch):
    backends = set()
    activate = OnnxBackend._activate
    monkeypatch.setattr(OnnxBackend, "_activate", lambda self: (backends.add(self), activate(self))[1])
    with Graders(bundle, ALL, thorough=True) as graders:
        for _ in range(LOGGED):
            mend = failing(monkeypatch, "conditions")
            graders.grade(PICTURE, [], FINE)
            mend()
            graders.grade(PICTURE, [], FINE)
        assert (graders.failures, graders.problem) == (LOGGED, None)
        failing(monkeypatch, "conditions")
        for _ in range(GIVE_UP_AFTER):
            graded = graders.grade(PICTURE, [], FINE)
        assert [role for role, _ in graded.models] == ["severity", "conditions"]
        assert f"conditions failed on {GIVE_UP_AFTER} pictures in a row" in graders.problem
        assert [backend.active for backend in backends if "conditions" in backend.name] == [False]
        assert graders.grade(PICTURE, [], FINE).models == (("severity", bundle.id),)
    assert not any(backend.active for backend in backends)


def test_a_measurement_carries_the_grades_and_what_gave_them(bundle):
    picture = hairs_on_skin(FIVE)[0]
    from runtime.analysis.fallback import FallingBackSegmenter

    with Graders(bundle, ALL, thorough=True) as graders:
        found = analyse(picture, name="five", segmentation=FallingBackSegmenter(None), graders=graders)
    assert found.conditions.erythema.severity == 3
    assert (found.alopecia is None) == (not found.quality.ok)
    assert found.models == {"segmenter": "classical/1", "severity": bundle.id, "conditions": bundle.id}


def test_onnx_runtime_is_loaded_only_with_a_network():
    program = (
        "import sys, runtime.pipeline, runtime.analysis.instruments, runtime.commands.instruments; "
        "from runtime.analysis.graders import Graders; Graders(None, ('severity', 'conditions'), thorough=True).close(); "
        "print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
