"""Better masks that come to nothing: work that nobody waits for ends soon, and a network that is always late or fails is given up."""

import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import structlog

from runtime.analysis.ensemble import EnsembleSegmenter
from runtime.analysis.learned import LearnedSegmenter
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.refining import better as better_module
from runtime.refining import captured as captured_module
from runtime.refining.better import GIVE_UP_AFTER, NOTHING_HAD, BetterMasks, Masks
from runtime.refining.captured import UNHURRIED_S
from tests.eventually import eventually
from tests.runtime.better_samples import StandInRefiner, StandInTeacher, captured, late_at_work, refiner_role, teacher_role, write_better
from tests.runtime.bundle_samples import dark_is_hair

SHAPE = (96, 128)
PICTURE = np.full((*SHAPE, 3), 170, np.uint8)
PICTURE[:, 40:48] = 15
HAIR = (PICTURE[..., 0] < 100).astype(np.float32)


@pytest.fixture
def bundle(tmp_path):
    return write_better(tmp_path / "both", teacher=teacher_role(), refiner=refiner_role())


@pytest.fixture
def masks(bundle):
    with closing(EnsembleSegmenter(LearnedSegmenter(bundle, threads=1))) as live:
        return Masks(*live.with_classical(PICTURE), live.threshold)


class Field:
    """One field for `BetterMasks.work`, which is stopped as soon as `until` says so."""

    def __init__(self, masks, until=lambda: False, why="late") -> None:
        self.masks, self.until, self.why = masks, until, why
        self.found = []

    def ready(self, found) -> bool:
        if self.stopped() is None:
            self.found.append(found.mask_source)
        return self.stopped() is None

    def stopped(self):
        return self.why if self.until() else None

    def through(self, better: BetterMasks):
        self.found.clear()
        return better.work(PICTURE, lambda: self.masks, self.ready, self.stopped)


def test_a_refiner_that_is_always_late_is_given_up_and_the_teacher_serves_alone(bundle, masks):
    teacher, refiner = StandInTeacher(HAIR), StandInRefiner(HAIR)
    better = BetterMasks(bundle, open_teacher=teacher.open, open_refiner=refiner.open)
    with structlog.testing.capture_logs() as logs:
        for turn in range(1, GIVE_UP_AFTER + 1):
            field = Field(masks, until=lambda turn=turn: refiner.asked >= turn)
            assert field.through(better) is None
            assert field.found == ["teacher"]
    assert refiner.closed == 1
    assert [line["role"] for line in logs] == ["refiner"]
    field = Field(masks)
    assert "the refiner failed or was late on 5 fields in a row and is given up" in field.through(better)
    assert field.found == ["teacher"]
    assert (teacher.asked, refiner.asked) == (GIVE_UP_AFTER + 1, GIVE_UP_AFTER)


def test_lateness_counts_in_a_row_alone_and_what_was_dropped_does_not(bundle, masks):
    teacher, refiner = StandInTeacher(HAIR), StandInRefiner(HAIR)
    better = BetterMasks(bundle, open_teacher=teacher.open, open_refiner=refiner.open)
    for why in ["late"] * (GIVE_UP_AFTER - 1) + [None] + ["late"] * (GIVE_UP_AFTER - 1) + ["dropped"] * GIVE_UP_AFTER:
        asked = teacher.asked
        field = Field(masks, until=lambda asked=asked, why=why: why is not None and teacher.asked > asked, why=why)
        assert field.through(better) is None
        assert field.found == ([] if why else ["teacher", "ensemble"])
    assert Field(masks).through(better) is None
    assert teacher.closed == 0


def test_whoever_is_not_waited_for_is_neither_opened_nor_asked(bundle, masks):
    teacher, refiner = StandInTeacher(HAIR), StandInRefiner(HAIR)
    better = BetterMasks(bundle, open_teacher=teacher.open, open_refiner=refiner.open)
    Field(masks, until=lambda: True).through(better)
    assert (teacher.opened, teacher.asked) == (0, 0)
    Field(masks, until=lambda: teacher.opened == 1).through(better)
    assert (teacher.opened, teacher.asked, refiner.opened) == (1, 0, 0)


def test_an_error_of_what_was_cancelled_is_no_failure(bundle, masks):
    teacher = StandInTeacher(HAIR, error=InferenceError("cancelled"))
    better = BetterMasks(bundle, open_teacher=teacher.open)
    with structlog.testing.capture_logs() as logs:
        assert Field(masks, until=lambda: teacher.asked, why="dropped").through(better) is None
    assert (logs, teacher.closed) == ([], 0)


def test_failures_count_until_a_whole_field_was_good(bundle, masks, monkeypatch):
    teacher = StandInTeacher(HAIR)
    better = BetterMasks(bundle, ("teacher",), open_teacher=teacher.open)
    monkeypatch.setattr(better_module, "averaged", lambda *_: 1 / 0)  # after the network has answered well
    with structlog.testing.capture_logs():
        for _ in range(GIVE_UP_AFTER):
            assert "ZeroDivisionError" in Field(masks).through(better)
        assert "given up" in Field(masks).through(better)


def test_a_shock_of_hair_on_a_field_that_is_bald_to_the_live_mask_is_not_believed(bundle, masks):
    bald = replace(masks, live=replace(masks.live, mask=np.zeros(SHAPE, bool), others=()))
    field = Field(bald)
    better = BetterMasks(bundle, open_teacher=StandInTeacher(HAIR).open)
    assert "% of the field where the mask before has none" in field.through(better)
    assert field.found == []


def test_a_live_mask_that_does_not_come_is_told(bundle, monkeypatch):
    monkeypatch.setattr(captured_module, "HAD_S", 0.01)
    assert captured_module._Job(PICTURE).had() is None
    better = BetterMasks(bundle, open_teacher=StandInTeacher(HAIR).open)
    assert Field(None).through(better) == NOTHING_HAD


class Clock:
    """Goes so many seconds on at each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_late_network_is_told_to_stop_and_the_unhurried_wait_for_its_end(bundle):
    go_on = threading.Event()
    teacher = StandInTeacher(HAIR, held=go_on)
    with closing(captured(bundle, teacher, StandInRefiner(HAIR), deadline_s=UNHURRIED_S, clock=Clock(99.0))) as segmenter:
        first = segmenter.segment(PICTURE)
        assert (first.mask_source, first.passed_over) == ("live", f"a better mask was not ready within {UNHURRIED_S:g} s")
        eventually(teacher.begun.is_set)
        segmenter._clock = time.monotonic
        threading.Timer(0.05, go_on.set).start()
        assert segmenter.segment(PICTURE).mask_source == "ensemble"


def test_a_late_teacher_is_cancelled(bundle):
    go_on = threading.Event()
    teacher = StandInTeacher(HAIR, held=go_on)
    with closing(captured(bundle, teacher, deadline_s=1.5, clock=late_at_work(teacher))) as segmenter:
        assert segmenter.segment(PICTURE).mask_source == "live"
        assert teacher.cancelled == 1
        go_on.set()


def test_a_cancelled_network_raises_until_it_is_resumed(bundle):
    with LearnedSegmenter(bundle, role="teacher", threads=1) as teacher:
        wanted = teacher.segment(PICTURE)
        teacher.cancel()
        with pytest.raises(InferenceError, match="cancelled"):
            teacher.segment(PICTURE)
        teacher.resume()
        assert np.array_equal(teacher.segment(PICTURE).mask, wanted.mask)


def test_a_run_in_work_ends_early():
    inputs = {"picture": np.zeros((1, 64, 64, 3), np.uint8)}
    with OnnxBackend(dark_is_hair(), threads=1) as backend:
        session = backend._session

        class CancelledAsItRuns:
            def get_outputs(self):
                return session.get_outputs()

            def run(self, names, given, options):
                backend.cancel()
                return session.run(names, given, options)  # which looks at its options between two operators

        backend._session = CancelledAsItRuns()
        with pytest.raises(InferenceError, match="terminate"):
            backend.infer(inputs)
        backend._session = session
        with pytest.raises(InferenceError, match="cancelled"):
            backend.infer(inputs)
        backend.resume()
        assert set(backend.infer(inputs)) == {"hair", "marks", "features"}


def test_after_a_field_the_thread_rests_and_a_field_that_comes_meanwhile_is_in_time(bundle, monkeypatch):
    monkeypatch.setattr(captured_module, "REST", 1000.0)
    began: list[float] = []

    class Noting(StandInTeacher):
        def segment(self, image):
            began.append(time.monotonic())
            return super().segment(image)

    with closing(captured(bundle, Noting(HAIR), StandInRefiner(HAIR), deadline_s=4.0)) as segmenter:
        first, second = segmenter.segment(PICTURE), segmenter.segment(PICTURE)
    assert (first.mask_source, second.mask_source) == ("ensemble", "ensemble")
    assert began[1] - began[0] >= 1.5, "it rests long, and half of the deadline at most"


def test_the_end_of_the_program_ends_a_rest(bundle, monkeypatch):
    monkeypatch.setattr(captured_module, "REST", 1e6)
    resting = threading.Event()
    segmenter = captured(bundle, StandInTeacher(HAIR), StandInRefiner(HAIR), deadline_s=1e6)
    rest = segmenter._rest
    monkeypatch.setattr(segmenter, "_rest", lambda seconds: (resting.set(), rest(seconds)))
    assert segmenter.segment(PICTURE).mask_source == "ensemble"
    thread = segmenter.thread
    eventually(resting.is_set)
    segmenter.close()
    eventually(lambda: not thread.is_alive())
