"""Which mask a captured field stands on: the best that is ready in time, and the reason where a better one was passed over."""

import os
import threading
import time
import weakref
from contextlib import closing

import numpy as np
import pytest
import structlog

from runtime.analysis.fallback import FallingBackSegmenter
from runtime.analysis.learned import LearnedSegmenter
from runtime.analysis.measurement import Measurement
from runtime.analysis.segmenters import SegmenterSource, make_segmenter
from runtime.bundles.errors import BundleError
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.pipeline import analyse
from runtime.refining import captured as captured_module
from runtime.refining.better import GIVE_UP_AFTER, LONGEST_REASON, has_better
from runtime.refining.captured import BUSY, CLOSED
from tests.eventually import eventually
from tests.runtime.better_samples import StandInRefiner, StandInTeacher, captured, late_at_work, refiner_role, teacher_role, write_better

SHAPE = (96, 128)
PICTURE = np.full((*SHAPE, 3), 170, np.uint8)
PICTURE[:, 40:48] = 15
HAIR = PICTURE[..., 0] < 100


def band(left: int, right: int, value: float = 1.0) -> np.ndarray:
    soft = np.zeros(SHAPE, np.float32)
    soft[:, left:right] = value
    return soft


@pytest.fixture
def taught(tmp_path):
    return write_better(tmp_path / "taught", teacher=teacher_role())


@pytest.fixture
def both(tmp_path):
    return write_better(tmp_path / "both", teacher=teacher_role(), refiner=refiner_role(combination="and"))


def live_mask(bundle):
    with closing(captured(bundle, roles=frozenset())) as plain:
        return plain.segment(PICTURE)


def test_the_best_of_real_networks_stands_and_all_are_named(both):
    with closing(captured(both)) as segmenter:
        found = segmenter.segment(PICTURE)
    assert (found.mask_source, found.passed_over) == ("ensemble", None)
    assert dict(found.models) == {"teacher": both.id, "refiner": both.id}
    assert 2 * np.sum(found.mask & HAIR) / (found.mask.sum() + HAIR.sum()) > 0.9
    assert len(found.others) == 2
    assert segmenter.name == f"{both.id}&classical/1"


def test_the_same_field_has_the_same_figures_again(both):
    with closing(captured(both)) as segmenter:
        first, second = segmenter.segment(PICTURE), segmenter.segment(PICTURE)
    assert np.array_equal(first.mask, second.mask)
    assert np.array_equal(first.probability, second.probability)


def test_the_teacher_takes_the_live_networks_place_beside_the_classical_mask(taught):
    teacher = StandInTeacher(band(40, 52, 0.9), reliability=0.6)
    with closing(captured(taught, teacher)) as segmenter:
        found = segmenter.segment(PICTURE)
    assert (found.mask_source, found.passed_over, found.models) == ("teacher", None, (("teacher", "teacher/1"),))
    assert found.mask[:, 41:47].all()
    assert not found.mask[:, 49:].any()  # what the classical mask denies
    assert found.reliability == 0.6
    assert len(found.others) == 2
    assert teacher.threads[0].name == "better masks"
    assert teacher.threads[0] is not threading.current_thread()


@pytest.mark.parametrize("combination", ["and", "weighed"])
def test_the_refiner_is_prompted_by_the_better_mask_and_combined_in_each_reading(tmp_path, combination):
    bundle = write_better(tmp_path / "both", teacher=teacher_role(), refiner=refiner_role(combination=combination))
    teacher, refiner = StandInTeacher(band(40, 48)), StandInRefiner(band(41, 46))
    with closing(captured(bundle, teacher, refiner)) as segmenter:
        found = segmenter.segment(PICTURE)
    assert (found.mask_source, found.passed_over) == ("ensemble", None)
    points = refiner.prompts.points[refiner.prompts.positive]
    assert len(points)
    assert ((points[:, 0] >= 40) & (points[:, 0] < 48)).all()
    for reading in (found, *found.others):
        assert reading.mask[:, 42:45].all()
        assert not reading.mask[:, 60:].any()
        if combination == "and":
            assert not reading.mask[:, 46:].any()
    assert len(found.others) == 2


def test_a_refiner_that_evidence_did_not_choose_is_not_asked(tmp_path):
    bundle = write_better(tmp_path / "b", teacher=teacher_role(), refiner=refiner_role(use=False))
    teacher, refiner = StandInTeacher(band(40, 48)), StandInRefiner(band(40, 48))
    with closing(captured(bundle, teacher, refiner)) as segmenter:
        assert segmenter.segment(PICTURE).mask_source == "teacher"
    assert (refiner.opened, refiner.asked) == (0, 0)


def test_whether_there_is_anything_better(tmp_path, taught, both):
    assert has_better(taught)
    assert has_better(both, ("segmenter", "refiner"))
    assert not has_better(both, ("segmenter",))  # the profile of use has its say
    unused = write_better(tmp_path / "u", refiner=refiner_role(use=False))
    assert not has_better(unused)


def test_a_teacher_that_evidence_did_not_choose_is_not_asked(tmp_path):
    bundle = write_better(tmp_path / "b", teacher=teacher_role(use=False), refiner=refiner_role())
    teacher = StandInTeacher(band(40, 48))
    with closing(captured(bundle, teacher, StandInRefiner(band(40, 48)))) as segmenter:
        found = segmenter.segment(PICTURE)
    assert (found.mask_source, teacher.opened) == ("ensemble", 0)
    assert not has_better(write_better(tmp_path / "u", teacher=teacher_role(use=False)))


@pytest.mark.parametrize(("marks", "level"), [(False, 0.7), (True, 0.0), (True, 0.7)])
def test_where_a_teachers_marks_mean_nothing_openings_and_faint_hair_are_the_live_masks(tmp_path, marks, level):
    bundle = write_better(tmp_path / "b", teacher=teacher_role(marks=marks))
    teacher = StandInTeacher(band(40, 48))
    teacher.ostia = np.full(SHAPE, level, np.float32)
    with closing(captured(bundle, teacher)) as segmenter:
        found = segmenter.segment(PICTURE)
    assert found.mask_source == "teacher"
    wanted = teacher.ostia if marks and level else live_mask(bundle).ostium_probability
    assert np.array_equal(found.ostium_probability, wanted)
    assert (found.faint is None) == bool(marks and level)  # the stand-in cannot tell


def test_a_refiner_without_a_teacher_refines_the_live_mask(tmp_path):
    bundle = write_better(tmp_path / "b", refiner=refiner_role())
    with closing(captured(bundle, None, StandInRefiner(band(40, 48)))) as segmenter:
        found = segmenter.segment(PICTURE)
    assert (found.mask_source, dict(found.models)) == ("ensemble", {"refiner": "refiner/1"})


@pytest.mark.parametrize(
    ("thorough", "roles", "source"),
    [(True, ("segmenter", "teacher"), "teacher"), (True, ("segmenter",), "live"), (False, ("segmenter", "teacher"), "live")],
)
def test_captures_alone_get_better_masks_where_the_profile_of_use_allows(taught, thorough, roles, source):
    with make_segmenter(SegmenterSource(taught, None), threads=1, thorough=thorough, roles=roles, deadline_s=30.0) as segmenter:
        found = segmenter.segment(PICTURE)
    assert (found.mask_source, found.passed_over) == (source, None)


NOT_A_NUMBER = band(40, 48)
NOT_A_NUMBER[3, 3] = np.nan


@pytest.mark.parametrize(
    ("teacher", "why"),
    [
        (StandInTeacher(band(40, 48), error=InferenceError("no memory")), "the teacher failed: no memory"),
        (StandInTeacher(band(40, 48), error=MemoryError()), "the teacher failed: MemoryError"),
        (StandInTeacher(band(40, 48), error=BundleError("x" * 999)), "the teacher failed: xxx"),
        (StandInTeacher(NOT_A_NUMBER), "no numbers"),
        (StandInTeacher(band(40, 48), reliability=float("nan")), "no numbers"),
        (StandInTeacher(band(0, 0)), "0.00 times the area"),
        (StandInTeacher(band(40, 41)), "times the area"),
        (StandInTeacher(np.zeros((5, 5), np.float32)), "the teacher failed: its mask has the shape (5, 5)"),
        (StandInTeacher(band(40, 48, 1.5)), "the teacher failed: its mask holds values that are no probabilities"),
        (StandInTeacher(-band(40, 48)), "no probabilities"),
    ],
)
def test_a_teacher_that_fails_or_answers_nonsense_leaves_the_live_mask(both, teacher, why):
    refiner = StandInRefiner(band(40, 48))
    with closing(captured(both, teacher, refiner)) as segmenter:
        found = segmenter.segment(PICTURE)
    wanted = live_mask(both)
    assert (found.mask_source, found.models) == ("live", ())
    assert np.array_equal(found.mask, wanted.mask)
    assert why in found.passed_over
    assert len(found.passed_over) <= LONGEST_REASON
    assert refiner.asked == 0  # nobody has looked how it fares with another mask


def test_a_teacher_that_finds_much_more_is_not_believed(taught, monkeypatch):
    monkeypatch.setattr("runtime.analysis.ensemble.VETO", 1.0)
    with closing(captured(taught, StandInTeacher(np.ones(SHAPE, np.float32)))) as segmenter:
        found = segmenter.segment(PICTURE)
    assert found.mask_source == "live"
    assert "times the area" in found.passed_over


def test_on_a_bald_field_the_teacher_may_find_nothing_and_the_refiner_is_not_asked(both):
    teacher, refiner = StandInTeacher(np.zeros(SHAPE, np.float32)), StandInRefiner(band(40, 48))
    with closing(captured(both, teacher, refiner)) as segmenter:
        found = segmenter.segment(np.full((*SHAPE, 3), 170, np.uint8))
    assert not found.mask.any()
    assert (found.mask_source, found.passed_over) == ("teacher", None)  # nothing to refine is no failure
    assert refiner.asked == 0


@pytest.mark.parametrize(
    ("refiner", "why"),
    [
        (StandInRefiner(band(40, 48), error=InferenceError("torn off")), "the refiner failed: torn off"),
        (StandInRefiner(np.ones(SHAPE, np.float32)), "times the area"),
        (StandInRefiner(band(80, 88)), "agrees with the mask before by 0.00"),
        (StandInRefiner(band(45, 48)), "is left with the refined one"),
        (StandInRefiner(band(40, 48, 1.5)), "the refiner failed: "),
        (StandInRefiner(NOT_A_NUMBER), "no numbers"),
        (StandInRefiner(np.ones((5, 5), np.float32)), "the shape"),
    ],
)
def test_a_refiner_that_fails_or_answers_nonsense_leaves_the_mask_that_prompted_it(both, refiner, why):
    with closing(captured(both, StandInTeacher(band(40, 48)), refiner)) as segmenter:
        found = segmenter.segment(PICTURE)
    assert (found.mask_source, found.models) == ("teacher", (("teacher", "teacher/1"),))
    assert found.mask[:, 41:47].all()
    assert why in found.passed_over


def test_what_cannot_be_opened_is_passed_over(taught):
    def broken(_bundle):
        raise BundleError("output 'hair' is missing")

    teacher = StandInTeacher(band(40, 48))
    teacher.open = broken
    with closing(captured(taught, teacher)) as segmenter:
        found = segmenter.segment(PICTURE)
    assert (found.mask_source, found.passed_over) == ("live", "the teacher failed: output 'hair' is missing")


def test_what_fails_in_a_row_is_given_up_and_a_field_that_is_not_believed_is_no_failure(taught):
    teacher = StandInTeacher(band(0, 0))
    with closing(captured(taught, teacher)) as segmenter, structlog.testing.capture_logs() as logs:
        for _ in range(GIVE_UP_AFTER + 1):
            assert "times the area" in segmenter.segment(PICTURE).passed_over
        assert (teacher.asked, teacher.opened, teacher.closed) == (GIVE_UP_AFTER + 1, 1, 0)
        teacher.error = InferenceError("no memory")
        for _ in range(GIVE_UP_AFTER):
            assert "no memory" in segmenter.segment(PICTURE).passed_over
        asked = teacher.asked
        assert "given up" in segmenter.segment(PICTURE).passed_over
        assert teacher.asked == asked
        assert teacher.closed == GIVE_UP_AFTER  # what failed is opened anew
    assert [line["role"] for line in logs] == ["teacher"] * GIVE_UP_AFTER


class Clock:
    """Goes as a test says: so many seconds at each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_late_teacher_is_passed_over_its_answer_dropped_and_the_next_field_not_begun(taught):
    go_on = threading.Event()
    teacher = StandInTeacher(band(40, 48), held=go_on)
    with closing(captured(taught, teacher, deadline_s=1.5, clock=late_at_work(teacher))) as segmenter:
        found = segmenter.segment(PICTURE)
        assert (found.mask_source, found.passed_over) == ("live", "a better mask was not ready within 1.5 s")
        again = segmenter.segment(PICTURE)
        assert (again.mask_source, again.passed_over) == ("live", BUSY)
        go_on.set()
        eventually(lambda: segmenter._job is None)
        segmenter._clock = time.monotonic
        segmenter._deadline_s = 30.0
        third = segmenter.segment(PICTURE)
    assert (third.mask_source, third.passed_over) == ("teacher", None)
    assert teacher.asked == 2


def test_a_late_refiner_leaves_the_teachers_mask(both):
    go_on, teacher = threading.Event(), StandInTeacher(band(40, 48))
    refiner = StandInRefiner(band(40, 48), held=go_on)
    with closing(captured(both, teacher, refiner, deadline_s=1.5, clock=late_at_work(refiner))) as segmenter:
        found = segmenter.segment(PICTURE)
        go_on.set()
    assert (found.mask_source, found.models) == ("teacher", (("teacher", "teacher/1"),))
    assert found.passed_over == "a better mask was not ready within 1.5 s"


def test_a_failing_live_network_is_for_whoever_falls_back_and_nothing_hangs(both, monkeypatch):
    def fail(self, image):
        raise InferenceError("no memory")

    with closing(captured(both, StandInTeacher(band(40, 48)), StandInRefiner(band(40, 48)))) as segmenter:
        with monkeypatch.context() as patch:
            patch.setattr(LearnedSegmenter, "segment", fail)
            with pytest.raises(InferenceError):
                segmenter.segment(PICTURE)
            eventually(lambda: segmenter._job is None)
            falling_back = FallingBackSegmenter(segmenter)
            fallen = falling_back.segment(PICTURE)
            assert (fallen.mask_source, fallen.passed_over) == ("live", "the learned segmenter failed: no memory")
            assert falling_back.failures == 1
        eventually(lambda: segmenter._job is None)
        assert segmenter.segment(PICTURE).mask_source == "ensemble"


def test_after_a_short_idleness_networks_and_thread_are_given_back_and_made_anew(both, monkeypatch):
    trimmed = []
    monkeypatch.setattr(captured_module, "give_memory_back", lambda: trimmed.append(threading.current_thread()))
    teacher, refiner = StandInTeacher(band(40, 48)), StandInRefiner(band(40, 48))
    with closing(captured(both, teacher, refiner, idle_s=0.01)) as segmenter:
        segmenter.segment(PICTURE)
        eventually(lambda: segmenter.thread is None)
        eventually(lambda: teacher.closed == 1)
        assert (refiner.closed, len(trimmed)) == (1, 1)
        eventually(lambda: not teacher.threads[0].is_alive())
        assert segmenter.segment(PICTURE).mask_source == "ensemble"
        assert teacher.opened == refiner.opened == 2


def test_the_sessions_of_real_networks_are_gone_without_waiting_for_the_garbage(both, monkeypatch):
    sessions = []
    activate = OnnxBackend._activate

    def kept(self):
        activate(self)
        sessions.append(weakref.ref(self._session))

    monkeypatch.setattr(OnnxBackend, "_activate", kept)
    with closing(captured(both, idle_s=0.01)) as segmenter:
        assert segmenter.segment(PICTURE).mask_source == "ensemble"
        eventually(lambda: segmenter.thread is None)
        assert [session() is None for session in sessions] == [False, True, True]  # the live network stays


def test_a_row_of_fields_is_served_by_one_opening(both):
    teacher, refiner = StandInTeacher(band(40, 48)), StandInRefiner(band(40, 48))
    with closing(captured(both, teacher, refiner)) as segmenter:
        for _ in range(3):
            assert segmenter.segment(PICTURE).mask_source == "ensemble"
    assert (teacher.opened, refiner.opened, len(set(teacher.threads))) == (1, 1, 1)
    assert teacher.closed == refiner.closed == 1
    assert not teacher.threads[0].is_alive()


def test_a_closed_segmenter_neither_waits_for_a_late_field_nor_begins_another(taught):
    go_on = threading.Event()
    teacher = StandInTeacher(band(40, 48), held=go_on)
    segmenter = captured(taught, teacher, clock=Clock(99.0))
    segmenter.segment(PICTURE)
    assert teacher.begun.wait(30)
    segmenter.close()
    assert segmenter._begun(PICTURE) == CLOSED
    go_on.set()
    eventually(lambda: not teacher.threads[0].is_alive())
    assert teacher.closed == 1


def test_a_field_in_work_is_not_waited_for_as_the_program_ends(taught):
    go_on = threading.Event()
    teacher = StandInTeacher(band(40, 48), held=go_on)
    answer = []
    with FallingBackSegmenter(captured(taught, teacher)) as segmenter:
        caller = threading.Thread(target=lambda: answer.append(segmenter.segment(PICTURE)))
        caller.start()
        assert teacher.begun.wait(30)
        segmenter.hurry()
        caller.join(20)
        go_on.set()
    assert (answer[0].mask_source, answer[0].passed_over) == ("live", CLOSED)


def test_without_a_thread_to_be_had_the_live_mask_stands(taught, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    with closing(captured(taught)) as segmenter:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        found = segmenter.segment(PICTURE)
        monkeypatch.undo()
        assert (found.mask_source, bool(found.passed_over)) == ("live", True)
        assert segmenter.segment(PICTURE).mask_source == "teacher"


def test_whatever_the_work_raises_it_ends_and_the_next_field_is_begun(taught, monkeypatch):
    with closing(captured(taught)) as segmenter:
        with monkeypatch.context() as patch, structlog.testing.capture_logs():
            patch.setattr(segmenter._better, "work", lambda *_: 1 / 0)
            assert "ZeroDivisionError" in segmenter.segment(PICTURE).passed_over
        assert segmenter.segment(PICTURE).mask_source == "teacher"


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="threads have no priority here")
def test_the_work_steps_back_behind_the_rest(taught):
    seen = []
    teacher = StandInTeacher(band(40, 48))
    at_work = teacher._at_work
    teacher._at_work = lambda: (seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())), at_work())
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with closing(captured(taught, teacher)) as segmenter:
        segmenter.segment(PICTURE)
    assert seen[0] > before or before == 19
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_the_result_says_which_mask_it_stands_on_and_why_not_a_better_one(both):
    refiner = StandInRefiner(np.ones(SHAPE, np.float32))
    with closing(captured(both, StandInTeacher(band(40, 48)), refiner)) as segmenter:
        result = analyse(PICTURE, name="field", segmentation=segmenter)
    assert result.segmentation.mask == "teacher"
    assert result.segmentation.passed_over.startswith("the refiner: ")
    assert result.models == {"segmenter": f"{both.id}&classical/1", "teacher": "teacher/1"}
    assert result.hair_count == 1
    assert Measurement.model_validate_json(result.to_json()) == result


def test_results_of_before_have_no_such_field_and_are_read(taught):
    with closing(captured(taught, StandInTeacher(band(40, 48)))) as segmenter:
        fields = analyse(PICTURE, name="field", segmentation=segmenter).model_dump(by_alias=True)
    del fields["segmentation"]["mask"], fields["segmentation"]["passed_over"]
    old = Measurement.model_validate(fields)
    assert (old.segmentation.mask, old.segmentation.passed_over) == (None, None)
