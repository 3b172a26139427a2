"""The watch over the handpiece: the reading that belongs to a frame, and faults that it outlives."""

import time
from concurrent.futures import Future

import pytest

from device.handpiece.counters import Counters
from device.handpiece.range_sensor import RangeSensor, SensorStatus
from device.handpiece.readings import Reading
from device.handpiece.uri import parse_handpiece_uri
from runtime.errors import BusyError
from runtime.workers import handpiece
from runtime.workers.handpiece import Distance, HandpieceWatch
from tests.eventually import eventually

MS = 10**6


class ListedSensor(RangeSensor):
    """Gives the readings that a test lists, one at each look; an exception among them is raised."""

    def __init__(self, *readings):
        super().__init__(parse_handpiece_uri("pty:/dev/pts/0"))
        self.readings = list(readings)

    def latest(self):
        reading = self.readings.pop(0) if self.readings else None
        if isinstance(reading, Exception):
            raise reading
        return reading

    @property
    def status(self):
        return SensorStatus("ready", "measures", "/dev/pts/0", None, 1, time.monotonic_ns())

    @property
    def counters(self):
        return Counters()

    def wait_until_ready(self, timeout_s):
        return self.status

    def _open(self):
        pass

    def _close(self):
        pass


def reading(at_ms, mm=20.0, status="valid"):
    return Reading(mm, None if mm is None else 0.2, status, at_ms * MS)


def watched(*readings, **options):
    return HandpieceWatch(ListedSensor(*readings), lambda pressed_ns: Future(), **options)


def taken(watch, newest_ms):
    eventually(lambda: watch._readings and watch._readings[-1].received_ns == newest_ms * MS)


def test_a_frame_gets_the_nearest_reading_and_none_that_is_far_in_time():
    with watched(reading(1000, 20.0), reading(1040, 21.0), reading(1040, 99.0), reading(1080, 22.0), offset_mm=4.0) as watch:
        taken(watch, 1080)
        found = [watch.distance_at(at_ms * MS) for at_ms in (850, 950, 1019, 1021, 1179, 1200)]
    assert found == [None, *(Distance(mm + 4.0, 0.2) for mm in (20.0, 20.0, 21.0, 22.0)), None]


@pytest.mark.parametrize("status, mm", [("weak", 20.0), ("no-target", None), ("fault", None)])
def test_a_reading_that_is_not_good_enough_for_a_scale_gives_none(status, mm):
    with watched(reading(1000, mm, status)) as watch:
        taken(watch, 1000)
        assert watch.distance_at(1000 * MS) is None


def test_without_readings_there_is_no_distance():
    with watched() as watch:
        assert watch.distance_at(time.monotonic_ns()) is None


def test_a_fault_is_outlived(monkeypatch):
    monkeypatch.setattr(handpiece, "AFTER_A_FAULT_S", 0.01)
    with watched(RuntimeError("a fault of ours"), reading(1000)) as watch:
        taken(watch, 1000)


def test_a_refused_press_is_told_until_one_is_kept():
    kept = Future()

    def press(pressed_ns):
        if pressed_ns == 1:
            raise BusyError("4 captures are still being kept: wait a moment and capture again")
        return kept

    watch = HandpieceWatch(ListedSensor(), press)
    watch._capture(1)
    assert "still being kept" in watch.now.press_problem
    watch._capture(2)
    kept.set_result(None)
    assert watch.now.press_problem is None and watch.presses == 2
