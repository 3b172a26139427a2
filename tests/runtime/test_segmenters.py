"""Which segmenter serves, and that every picture gets its mask whatever the bundle and the backend do."""

import gc
import os
import weakref

import numpy as np
import pytest
import structlog

from runtime.analysis.classical import ClassicalSegmenter
from runtime.analysis.fallback import INSTEAD, LOGGED, STAY_AFTER, FallingBackSegmenter
from runtime.analysis.learned import LearnedSegmenter
from runtime.analysis.segmenters import make_segmenter, read_source, segmenter_asked_for
from runtime.analysis.settings import AnalysisSettings
from runtime.bundles import reader
from runtime.bundles.errors import BundleError
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from tests.runtime.bundle_samples import MODEL, changed_manifest, forge, segmenter_role, write_sample
from tests.runtime.drawn import FIVE, hairs_on_skin

PICTURE = hairs_on_skin(FIVE)[0]


class FailingBackend(OnnxBackend):
    """Raises the errors of `script` one after the other, runs where there is None, and goes on as the last one does."""

    def __init__(self, model):
        super().__init__(model, threads=1)
        self.script = [None]

    def _infer(self, inputs):
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        found = super()._infer(inputs)
        return {name: np.full_like(value, step) for name, value in found.items()} if isinstance(step, float) else found


@pytest.fixture
def failing(tmp_path):
    """A falling-back segmenter, and its backend to be scripted."""
    made = []

    def backend(model):
        made.append(FailingBackend(model))
        return made[-1]

    with FallingBackSegmenter(LearnedSegmenter(write_sample(tmp_path / "dark"), backend=backend)) as segmenter:
        yield segmenter, made[0]


def _absent(folder):
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def _cut(folder):
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-3])


def _noise(folder):
    forge(folder, {MODEL: b"no network at all"})


def _no_json(folder):
    (folder / "manifest.json").write_text("{")


def _other_schema(folder):
    changed_manifest(folder, schema="trichoscope/bundle/9")


def _unknown_key(folder):
    changed_manifest(folder, colour="blue")


def _broken_promise(folder):
    role = segmenter_role()
    write_sample(folder, role=segmenter_role(trust=role.trust.model_copy(update={"features": (1.0,), "feature_axes": ((1.0,),)})))


@pytest.mark.parametrize("damage", [_absent, _cut, _noise, _no_json, _other_schema, _unknown_key, _broken_promise])
def test_without_a_bundle_that_can_be_used_the_classical_segmenter_serves_and_says_why(tmp_path, damage):
    folder = tmp_path / "dark"
    write_sample(folder)
    damage(folder)
    with make_segmenter(read_source(AnalysisSettings(bundle=folder)), threads=1) as segmenter:
        assert segmenter.name == ClassicalSegmenter().name
        assert segmenter.problem is not None
        assert segmenter.problem.startswith(f"{INSTEAD}: ")
        assert "dark" in segmenter.problem  # the folder or the bundle is named
        found, wanted = segmenter.segment(PICTURE), ClassicalSegmenter().segment(PICTURE)
        assert np.array_equal(found.mask, wanted.mask)
        assert segmenter.failures == 0


def test_a_folder_that_cannot_be_looked_at_is_told_alike(tmp_path):
    source = read_source(AnalysisSettings(bundle=tmp_path / ("a" * 300)))
    assert source.bundle is None
    assert source.problem is not None
    assert "File name too long" in source.problem
    with pytest.raises(BundleError, match="File name too long"):
        segmenter_asked_for("learned", tmp_path / ("a" * 300), threads=1)


def test_a_whole_bundle_serves_several_segmenters_from_one_reading(tmp_path, monkeypatch):
    bundle = write_sample(tmp_path / "dark")
    source = read_source(AnalysisSettings(bundle=tmp_path / "dark"))
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("read again"))
    with make_segmenter(source, threads=1) as live, make_segmenter(source, threads=1, thorough=True) as captures:
        monkeypatch.undo()
        for segmenter in (live, captures):
            assert segmenter.problem is None
            segmenter.segment(PICTURE)
            assert segmenter.name.startswith(bundle.id)
        assert live.name != captures.name


def test_the_classical_segmenter_that_was_chosen_is_no_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_read", lambda *_: pytest.fail("a bundle was read"))
    with make_segmenter(read_source(AnalysisSettings(segmenter="classical", bundle=tmp_path)), threads=1) as segmenter:
        segmenter.segment(PICTURE)
        assert (segmenter.name, segmenter.problem, segmenter.failures) == (ClassicalSegmenter().name, None, 0)


@pytest.mark.parametrize("failure", [InferenceError("out of memory"), KeyError("hair"), float("nan")])
def test_a_failing_frame_gets_the_classical_mask_and_the_next_the_learned_one(failing, failure):
    segmenter, backend = failing
    learned = segmenter.segment(PICTURE)
    backend.script = [failure, None]
    with structlog.testing.capture_logs() as logs:
        found = segmenter.segment(PICTURE)
    assert np.array_equal(found.mask, ClassicalSegmenter().segment(PICTURE).mask)
    assert (segmenter.name, segmenter.failures) == (ClassicalSegmenter().name, 1)
    (line,) = logs
    assert line["log_level"] == "warning"
    assert bool(line["exc_info"]) == isinstance(failure, KeyError)  # a mistake is told with its place
    again = segmenter.segment(PICTURE)
    assert np.array_equal(again.mask, learned.mask)
    assert segmenter.name.startswith("dark/1+")
    assert segmenter.problem is None


def test_after_several_failures_in_a_row_it_stays_and_gives_the_network_back(failing):
    segmenter, backend = failing
    backend.script = [InferenceError("no memory for the network")]
    with structlog.testing.capture_logs() as logs:
        for _ in range(STAY_AFTER):
            assert segmenter.problem is None
            segmenter.segment(PICTURE)
    assert logs[-1]["log_level"] == "error"
    assert segmenter.problem is not None
    for said in (INSTEAD, "dark/1+", "no memory for the network", "restart"):
        assert said in segmenter.problem
    assert not backend.active
    backend.script = [None]
    segmenter.segment(PICTURE)
    assert (segmenter.name, segmenter.failures) == (ClassicalSegmenter().name, STAY_AFTER)


def test_failures_now_and_then_are_counted_without_end_and_logged_with_one(failing):
    segmenter, backend = failing
    with structlog.testing.capture_logs() as logs:
        for _ in range(LOGGED + 5):
            backend.script = [InferenceError("a hiccup"), None]
            segmenter.segment(PICTURE[:64, :64])
            segmenter.segment(PICTURE[:64, :64])
    assert segmenter.failures == LOGGED + 5
    assert len(logs) == LOGGED
    assert segmenter.problem is None


def test_closing_gives_the_session_back(tmp_path):
    write_sample(tmp_path / "dark")
    sessions = []

    def backend(model):
        made = OnnxBackend(model, threads=1)
        made.activate()
        sessions.append(weakref.ref(made._session))
        return made

    with FallingBackSegmenter(LearnedSegmenter(reader.read_bundle(tmp_path / "dark"), backend=backend)) as segmenter:
        segmenter.segment(PICTURE)
        assert sessions[0]() is not None
    gc.collect()
    assert sessions[0]() is None
    assert segmenter.segment(PICTURE).mask.shape == PICTURE.shape[:2]
    assert segmenter.problem is None
