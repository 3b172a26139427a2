"""The capture loop against cameras that end, vanish, freeze, crash and send rubbish."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.backoff import Backoff, FailureBudget
from device.camera import parse_uri
from device.capture import CaptureLoop, Patience
from device.errors import CameraEndedError, CameraLostError, CameraNotFoundError, CameraTimeoutError, DeviceError, FrameDecodeError
from device.frame import Frame
from device.jpeg import is_whole_jpeg, jpeg_size
from device.rate import RateMeter
from device.slot import LatestFrameSlot
from tests.eventually import eventually
from tests.scripted_camera import PLAIN_JPEG, at_open, jpeg, scripted

QUICK = Patience(frame_s=0.2, first_retry_s=0.01, longest_retry_s=0.02, first_restart_s=0.01, longest_restart_s=0.02, restart_budget=3)
URI = "simulated:"  # any address that can be taken apart; the scripted camera stands behind it


class Captured:
    """A loop over a scripted camera, with the states it went through."""

    def __init__(self, *lives, patience=QUICK, **attributes):
        self.slot = LatestFrameSlot()
        self.camera = scripted(*lives, **attributes)
        self.states = []
        self.messages = {}
        self.loop = CaptureLoop(URI, self.slot, make=lambda text: self.camera(parse_uri(text)), patience=patience, listener=self._note)

    def _note(self):
        status = self.loop.status
        if not self.states or self.states[-1] != status.state:
            self.states.append(status.state)
        self.messages[status.state] = status.message

    def __enter__(self):
        self.loop.__enter__()
        return self

    def __exit__(self, *why):
        self.loop.__exit__(*why)
        assert not self.loop.alive

    def until(self, check):
        return eventually(lambda: check(self.loop.status))


def test_frames_reach_the_slot_with_the_state_streaming():
    with Captured() as captured:
        number, frame = captured.slot.newer(3, 20)
        captured.until(lambda s: s.state == "streaming" and s.frames >= 4)
        assert frame.jpeg == PLAIN_JPEG
        assert number >= 4
        assert captured.loop.status.camera.width == 64
        assert captured.loop.status.reconnects == captured.loop.status.failures == captured.loop.status.damaged == 0


@pytest.mark.parametrize(
    ("trouble", "state", "remedy"),
    [
        (CameraLostError("microscope 7 went away"), "absent", "Plug the camera in again"),
        (CameraTimeoutError("microscope 7 sent nothing for 2 s"), "frozen", "unplug the camera"),
        (at_open(CameraNotFoundError("microscope 7 is not there")), "absent", "once the camera is there"),
        (DeviceError("microscope 7 refused its mode"), "failed", "Trying again"),
    ],
)
def test_trouble_is_a_named_state_and_the_picture_comes_back_by_itself(trouble, state, remedy):
    life = [trouble] if getattr(trouble, "at_open", False) else [3, trouble]
    with Captured(life, life, ()) as captured:
        captured.until(lambda s: s.state == "streaming" and captured.camera.opened == 3)
        assert state in captured.states
        assert "microscope 7" in captured.messages[state]
        assert remedy in captured.messages[state]
        assert captured.loop.alive


def test_a_lost_camera_takes_its_picture_with_it():
    held = threading.Event()

    def hold_at_open(self):
        if type(self).opened:
            held.wait(20)
        type(self).__mro__[1]._open(self)

    with Captured([3, CameraLostError("gone")], (), _open=hold_at_open) as captured:
        try:
            captured.until(lambda s: s.state == "absent")
            assert captured.slot.latest() is None  # nobody may take the old picture for the present one
        finally:
            held.set()
        captured.until(lambda s: s.state == "streaming")
        assert captured.slot.newer(3, 20)[0] > 3
        assert captured.loop.status.reconnects == 1


def test_a_camera_that_ends_is_not_opened_again_and_leaves_its_last_picture():
    with Captured([3, CameraEndedError("the last picture was shown")]) as captured:
        captured.until(lambda s: s.state == "ended")
        eventually(lambda: not captured.loop.alive)
        assert captured.camera.opened == 1
        assert captured.slot.latest()[0] == 3
        assert not captured.loop.status.gave_up


def test_a_crash_of_the_driver_is_told_and_forgiven_within_the_budget():
    with Captured([2, ZeroDivisionError("oops")], ()) as captured:
        captured.until(lambda s: s.state == "streaming" and captured.camera.opened == 2)
        assert "ZeroDivisionError('oops')" in captured.messages["failed"]
        assert captured.loop.status.failures == 1


def test_a_driver_that_only_crashes_is_given_up():
    with Captured([1, ZeroDivisionError("oops")]) as captured:
        captured.until(lambda s: s.gave_up)
        eventually(lambda: not captured.loop.alive)
        assert captured.camera.opened == QUICK.restart_budget + 1
        assert captured.loop.status.state == "failed"
        assert "start the program again" in captured.loop.status.message


def test_damaged_pictures_are_dropped_and_counted():
    cut = PLAIN_JPEG[: len(PLAIN_JPEG) // 2]
    with Captured([1, cut, 1, b"\0" * 500, FrameDecodeError("short"), 1]) as captured:
        captured.until(lambda s: s.frames >= 3 and s.damaged == 3)
        assert captured.slot.latest()[1].jpeg == PLAIN_JPEG
        assert "frozen" not in captured.states


def test_a_camera_that_sends_only_damaged_pictures_counts_as_frozen():
    def damaged(_sequence):
        time.sleep(0.005)
        raise FrameDecodeError("short")

    with Captured([1, *[damaged] * 1000], ()) as captured:
        captured.until(lambda s: s.state == "streaming" and captured.camera.opened >= 2)
        assert "only damaged pictures" in captured.messages["frozen"]


def test_gaps_in_the_sequence_are_lost_frames():
    def numbered(sequence):
        return lambda _: Frame(sequence=sequence, captured_ns=time.monotonic_ns(), source="x", jpeg=PLAIN_JPEG)

    with Captured([numbered(5), numbered(6), numbered(10), "block"], patience=Patience(frame_s=60)) as captured:
        captured.until(lambda s: s.frames == 3)
        assert captured.loop.status.lost == 3


def test_leaving_wakes_a_read_that_waits():
    with Captured(["block"], patience=Patience(frame_s=3600)) as captured:
        captured.until(lambda s: s.camera is not None)
    # __exit__ asserts that the thread has ended; the read alone would have waited for an hour


def test_leaving_wakes_a_loop_that_waits_to_try_again():
    absent = at_open(CameraNotFoundError("not there"))
    with Captured([absent], patience=Patience(first_retry_s=3600, longest_retry_s=3600)) as captured:
        captured.until(lambda s: s.state == "absent")


def test_a_listener_that_fails_does_not_end_the_loop():
    slot, camera = LatestFrameSlot(), scripted()

    def listener():
        raise RuntimeError("nobody home")

    with CaptureLoop(URI, slot, make=lambda text: camera(parse_uri(text)), listener=listener):
        assert slot.newer(5, 20)


WHOLE = jpeg(90, (160, 120))


@given(st.integers(0, len(WHOLE) - 3))
def test_a_jpeg_cut_anywhere_is_not_whole(length):
    assert not is_whole_jpeg(WHOLE[:length])


@given(st.binary(max_size=2000), st.integers(0, len(WHOLE)))
def test_the_size_of_anything_is_its_size_or_nothing(rubbish, length):
    assert jpeg_size(WHOLE) == (160, 120)
    assert jpeg_size(rubbish) is None or isinstance(jpeg_size(rubbish)[0], int)
    assert jpeg_size(WHOLE[:length] + rubbish) in (None, (160, 120))


@given(st.binary(max_size=64))
def test_a_jpeg_with_padding_is_whole(padding):
    assert is_whole_jpeg(WHOLE + padding)


def test_back_off_doubles_up_to_its_limit_and_begins_again():
    backoff = Backoff(0.25, 1.5)
    assert [backoff.next_s() for _ in range(5)] == [0.25, 0.5, 1.0, 1.5, 1.5]
    backoff.reset()
    assert backoff.next_s() == 0.25


def test_a_budget_forgives_so_many_failures_in_its_window():
    budget = FailureBudget(2, window_s=10)
    second = 10**9
    assert [budget.spend(t * second) for t in (0, 1, 2)] == [True, True, False]
    assert budget.spend(14 * second)  # the first three are forgotten
    assert not FailureBudget(0, window_s=10).spend(0)


def test_a_rate_is_events_per_second_and_sinks_when_they_stop():
    meter = RateMeter(window_s=2.0)
    assert meter.per_second(0) == 0
    for i in range(61):
        meter.tick(i * 10**9 // 30)
    assert meter.per_second(2 * 10**9) == pytest.approx(30, rel=0.02)
    assert meter.per_second(3 * 10**9) < 22
    assert meter.per_second(10**12) == 0
