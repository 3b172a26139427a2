"""A press of a button: the right frame around it is kept, the latest where none comes, and whoever pressed is always answered."""

import threading
import time

import cv2
import numpy as np
import pytest

from device.choosing import Window
from device.frame import Frame
from device.ring import FrameRing
from device.slot import LatestFrameSlot
from runtime.errors import BusyError, StoreError
from runtime.workers.captures import CaptureWorker
from runtime.workers.shutter import NoPictureError, Shutter
from tests.eventually import eventually

WINDOW = Window(before_s=0.5, after_s=0.02)
NOISE = np.random.default_rng(1).integers(0, 255, (120, 160, 3), dtype=np.uint8)
SHARP, SOFT = cv2.GaussianBlur(NOISE, (0, 0), 1.5), cv2.GaussianBlur(NOISE, (0, 0), 6)


def frame(sequence, image=SOFT, age_ms=0.0):
    return Frame(sequence=sequence, captured_ns=time.monotonic_ns() - int(age_ms * 1e6), source="scripted:", image=image)


class Desk:
    """Ring, slot, a worker that keeps in a list and can be held, and a shutter over them."""

    def __init__(self, streaming=True):
        self.ring, self.slot, self.kept = FrameRing(), LatestFrameSlot(), []
        self.go_on = threading.Event()
        self.go_on.set()
        self.error = None
        self.captures = CaptureWorker(self.keep, lambda: None, capacity=1)
        self.shutter = Shutter(self.ring, self.slot, self.captures, streaming=lambda: streaming, window=WINDOW, capacity=1)

    def keep(self, taken, site):
        assert self.go_on.wait(20)
        if self.error:
            raise self.error
        self.kept.append((taken.sequence, site))
        return self.kept[-1]

    def came(self, taken):
        self.ring.put(taken)
        self.slot.put(taken)


def test_the_sharpest_steady_frame_around_the_press_is_kept():
    desk = Desk()
    with desk.captures, desk.shutter:
        for sequence, image in enumerate((SOFT, SOFT, SHARP, SHARP, SOFT, SOFT), 1):
            desk.came(frame(sequence, image, age_ms=80 - 10 * sequence))
        assert desk.shutter.press("mid").result(20) == (4, "mid")  # the first sharp one follows another picture: it was not steady


def test_a_frame_that_comes_after_the_press_may_be_the_right_one():
    desk = Desk()
    with desk.captures, desk.shutter:
        pressed = desk.shutter.press(None)
        for sequence, image in enumerate((SOFT, SHARP, SHARP), 1):
            desk.came(frame(sequence, image))
            time.sleep(0.004)
        assert pressed.result(20)[0] in (1, 2, 3)


def test_without_frames_around_the_press_the_latest_is_kept():
    desk = Desk(streaming=False)
    with desk.captures, desk.shutter:
        desk.slot.put(frame(9, age_ms=60_000))
        assert desk.shutter.press("vertex").result(20) == (9, "vertex")


def test_a_stream_that_stands_still_gives_the_latest_frame_after_the_deadline():
    desk = Desk()
    with desk.captures, desk.shutter:
        desk.slot.put(frame(9, age_ms=5000))
        assert desk.shutter.press(None).result(20) == (9, None)


def test_without_any_picture_whoever_pressed_is_told():
    desk = Desk(streaming=False)
    with desk.captures, desk.shutter, pytest.raises(NoPictureError, match="no picture to keep"):
        desk.shutter.press(None).result(20)


def test_what_the_store_says_reaches_whoever_pressed_and_the_next_press_is_served():
    desk = Desk(streaming=False)
    desk.error = StoreError("/state: disk I/O error: see to the disk")
    with desk.captures, desk.shutter:
        desk.slot.put(frame(1))
        with pytest.raises(StoreError, match="disk I/O error"):
            desk.shutter.press(None).result(20)
        desk.error = None
        assert desk.shutter.press(None).result(20) == (1, None)


def test_a_full_queue_refuses_at_once():
    desk = Desk(streaming=False)
    desk.go_on.clear()
    with desk.captures, desk.shutter:
        desk.slot.put(frame(1))
        first = desk.shutter.press("a")
        eventually(lambda: desk.captures.working)
        second = desk.shutter.press("b")
        eventually(lambda: desk.captures.waiting == 1)
        with pytest.raises(BusyError, match="captures are still being kept"):
            desk.shutter.press("c")
        desk.go_on.set()
        assert [first.result(20), second.result(20)] == [(1, "a"), (1, "b")]


def test_asked_to_stop_it_answers_those_that_wait():
    desk = Desk()
    with desk.captures, desk.shutter:
        first = desk.shutter.press("a")  # waits for frames that do not come
        waiting = None
        while waiting is None:
            try:
                waiting = desk.shutter.press("b")
            except BusyError:
                time.sleep(0.001)  # the first is not yet in work
        desk.shutter.ask_to_stop()
        with pytest.raises(BusyError, match="ending"):
            waiting.result(20)
        with pytest.raises(BusyError, match="ending"):
            desk.shutter.press("c")
        with pytest.raises(NoPictureError):
            first.result(20)
