"""The guided calibration without a terminal: what frames and answers make of it, and that no wait lasts for ever."""

from types import SimpleNamespace

import numpy as np
import pytest

from calib.targets import parse_target
from device.camera import Camera, CameraInfo, parse_uri
from device.errors import CameraEndedError, CameraTimeoutError
from device.frame import Frame
from runtime.calibration import looking
from runtime.calibration.looking import Look
from runtime.calibration.walk import Walk, WalkError, guide

TARGET = parse_target("dots:0.5")


def frame(level):
    return np.full((48, 64, 3), level, np.uint8)


def fake_look(image, target):
    """Level 0 shows nothing; any other is a view whose scale is unsure by so many per mille."""
    assert target is TARGET
    level = int(image[0, 0, 0])
    if level == 0:
        return Look(None, "no dots: lay them there")
    return Look(SimpleNamespace(um_per_px=1.0, um_per_px_std=level / 1000), f"seen, {level} ‰")


def walk(distances=(12.0, 14.0, 16.0), **changes):
    return Walk(TARGET, distances, look=fake_look, **({"frames": 3, "take_s": 5.0} | changes))


def test_the_best_of_several_frames_is_kept_at_each_distance():
    w = walk()
    assert "1 of 3, 12 mm" in w.task and "dots:0.5" in w.task
    for distance, levels in ((12, (5, 2, 9)), (14, (1, 3, 2)), (16, (4, 4, 3))):
        w.see(frame(0), 0.0)
        assert w.phase == "aim" and w.said == "not yet: no dots: lay them there"
        w.answer("", 0.0)
        for level in levels:
            assert w.phase == "take" and w.distance_mm == distance
            w.see(frame(level), 1.0)
        assert w.phase == "kept"
        w.see(frame(1), 2.0)  # what comes later changes nothing
        w.answer("", 2.0)
    assert w.phase == "done" and w.over
    assert [(t.number, t.distance_mm, t.image[0, 0, 0]) for t in w.kept] == [(0, 12.0, 2), (1, 14.0, 1), (2, 16.0, 3)]
    w.answer("q", 3.0)
    assert w.phase == "done"


def test_after_the_deadline_the_best_so_far_is_kept_or_the_distance_has_failed():
    w = walk()
    w.answer("", 10.0)
    w.see(frame(7), 11.0)
    w.see(frame(0), 14.9)
    assert w.phase == "take" and w.good == 1
    w.wait(15.1)
    assert w.phase == "kept" and w.kept[0].image[0, 0, 0] == 7
    w.answer("", 16.0)
    w.answer("", 20.0)
    w.see(frame(0), 26.0)
    assert w.phase == "failed" and w.said == "not yet: no dots: lay them there"
    w.answer("", 27.0)  # Enter tries the same distance again
    assert w.phase == "aim" and w.distance_mm == 14.0


def test_repeat_skip_and_quit():
    w = walk()
    w.answer("s", 0.0)
    assert w.distance_mm == 14.0
    w.answer("", 0.0)
    for level in (3, 3, 3):
        w.see(frame(level), 0.1)
    w.answer("R\n", 0.2)
    assert w.phase == "aim" and w.distance_mm == 14.0 and w.kept == []
    w.answer("what", 0.2)
    assert w.phase == "aim" and "'what' is no answer" in w.said
    w.answer("", 0.3)
    for level in (2, 2, 2):
        w.see(frame(level), 0.4)
    w.answer("s", 0.5)  # leaves out what was kept
    assert w.kept == [] and w.distance_mm == 16.0
    w.answer("quit", 0.6)
    assert w.phase == "quit" and w.over


class FakeCamera(Camera):
    """Frames of the levels given, then whatever `last` is: raised, or silence."""

    def __init__(self, levels, last):
        super().__init__(parse_uri("simulated:"))
        self.levels, self.last = list(levels), last

    def cancel(self): ...

    def _open(self): ...

    def _close(self): ...

    def _info(self):
        return CameraInfo("fake", "fake", 64, 48, 30.0, "fake")

    def _read(self, timeout_s):
        if not self.levels:
            raise self.last
        return Frame(sequence=1, captured_ns=1, source="fake", image=frame(self.levels.pop(0)))


class FakePerson:
    """Gives its answers one after the other whenever asked in one of `phases`."""

    def __init__(self, answers, phases=("aim", "kept", "failed")):
        self.answers, self.phases, self.shown = list(answers), phases, []

    def answer(self, w):
        return self.answers.pop(0) if self.answers and w.phase in self.phases else None

    def show(self, w):
        self.shown.append((w.phase, w.said))


class Clock:
    """Each look at it is a second later."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_a_person_and_a_camera_walk_to_the_end():
    w, person = walk((12.0, 14.0), take_s=100.0), FakePerson(["", "", "", ""])
    with FakeCamera([4, 0, 3, 5, 2, 2, 1], CameraEndedError("over")) as camera:
        guide(w, camera, person, clock=Clock())
    assert w.phase == "done" and [t.image[0, 0, 0] for t in w.kept] == [3, 1]
    phases = [phase for phase, _ in person.shown]
    assert [phase for phase, before in zip(phases, ["", *phases], strict=False) if phase != before] == ["aim", "take", "kept"] * 2 + [
        "done"
    ]
    assert ("take", "not yet: no dots: lay them there") in person.shown


def test_a_silent_camera_and_an_absent_person_end_it():
    with FakeCamera([4], CameraTimeoutError("nothing")) as camera, pytest.raises(WalkError, match="no picture for 20 s"):
        guide(walk(take_s=1e6), camera, FakePerson([""]), clock=Clock())
    with FakeCamera([4] * 1000, CameraTimeoutError("nothing")) as camera, pytest.raises(WalkError, match="no answer for 50 s"):
        guide(walk(), camera, FakePerson([]), patience_s=50.0, clock=Clock())
    with FakeCamera([4], CameraEndedError("over")) as camera, pytest.raises(CameraEndedError):
        guide(walk(), camera, FakePerson([""]), clock=Clock())


def test_while_frames_are_taken_no_answer_is_waited_for():
    with FakeCamera([0] * 60, CameraEndedError("over")) as camera, pytest.raises(CameraEndedError):
        guide(walk(take_s=1e6), camera, FakePerson([""]), patience_s=10.0, clock=Clock())


@pytest.mark.parametrize(("level", "said"), [(10, "too dark"), (254, "too bright"), (120, "one even grey")])
def test_bad_light_is_told_before_what_was_not_found(level, said):
    assert said in looking._light(frame(level))
    rng = np.random.default_rng(0)
    assert looking._light(rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)) == ""
