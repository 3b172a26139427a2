"""The worker threads: a failing frame ends nothing, accepted captures are never dropped, beats move only when work is done."""

import threading
import time

import pytest

from device.errors import FrameDecodeError
from device.frame import Frame
from device.slot import LatestFrameSlot
from runtime.errors import BusyError, PictureError, StoreError, StoreFullError, TrichoscopeError
from runtime.workers import analysis as analysis_module
from runtime.workers.analysis import AnalysisWorker
from runtime.workers.captures import CaptureWorker
from tests.eventually import eventually
from tests.runtime.store_samples import measurement
from tests.scripted_camera import PLAIN_JPEG


def frame(sequence=1):
    return Frame(sequence=sequence, captured_ns=time.monotonic_ns(), source="test", jpeg=PLAIN_JPEG)


def test_the_latest_result_belongs_to_the_latest_frame_and_those_between_are_skipped():
    slot, entered, go_on = LatestFrameSlot(), threading.Event(), threading.Event()

    def measure(taken):
        entered.set()
        assert go_on.wait(20)
        return measurement(hair_count=taken.sequence)

    with AnalysisWorker(slot, measure) as worker:
        slot.put(frame(1))
        assert entered.wait(20)
        for sequence in range(2, 8):
            slot.put(frame(sequence))
        go_on.set()
        result = eventually(lambda: (latest := worker.latest()) and latest.sequence == 7 and latest)
        assert result.number == 2
        assert result.json == result.measurement.to_json()
        assert worker.status.measured == 2
        assert slot.overwritten == 5


def test_a_frame_that_fails_is_counted_and_the_next_one_measured():
    slot, told = LatestFrameSlot(), []

    def measure(taken):
        if taken.sequence % 2:
            raise ZeroDivisionError("oops")
        return measurement()

    with AnalysisWorker(slot, measure, listener=lambda: told.append(1)) as worker:
        for sequence in range(1, 7):
            slot.put(frame(sequence))
            eventually(lambda n=sequence: worker.status.failures + worker.status.measured == n)
        assert (worker.status.failures, worker.status.measured) == (3, 3)
        assert worker.status.state == "measuring"
        assert told


def test_many_failures_in_a_row_are_a_state_and_no_progress():
    slot = LatestFrameSlot()

    def measure(taken):
        if taken.sequence < 100:
            raise ZeroDivisionError("oops")
        return measurement()

    with AnalysisWorker(slot, measure) as worker:
        beats = set()
        for sequence in range(1, analysis_module.FAILING_AFTER + 1):
            slot.put(frame(sequence))
            eventually(lambda n=sequence: worker.status.failures == n)
        assert worker.status.state == "failing"
        assert "ZeroDivisionError" in worker.status.message
        beats.add(worker.status.beat_ns)
        slot.put(frame(100))
        eventually(lambda: worker.status.state == "measuring")
        assert worker.status.beat_ns not in beats


@pytest.mark.parametrize("error", [FrameDecodeError("short"), PictureError("too small")])
def test_a_picture_that_is_none_is_the_cameras_fault(error):
    slot = LatestFrameSlot()

    def measure(_taken):
        raise error

    with AnalysisWorker(slot, measure) as worker:
        for sequence in range(1, 10):
            slot.put(frame(sequence))
            eventually(lambda n=sequence: worker.status.undecodable == n)
        assert worker.status.failures == 0
        assert worker.status.state != "failing"


def test_without_frames_the_analysis_waits_and_gets_on():
    with AnalysisWorker(LatestFrameSlot(), lambda _frame: measurement()) as worker:
        first = worker.status.beat_ns
        eventually(lambda: worker.status.beat_ns > first)
        assert worker.status.state == "waiting"
        assert worker.latest() is None


class Shelf:
    """A store for the capture worker: keeps in a list, and can be held or broken."""

    def __init__(self):
        self.rows, self.go_on, self.begun, self.error = [], threading.Event(), threading.Semaphore(0), None
        self.go_on.set()

    def keep(self, taken, site):
        self.begun.release()
        assert self.go_on.wait(20)
        self.probe()
        self.rows.append((taken.sequence, site))
        return self.rows[-1]

    def probe(self):
        if self.error:
            raise self.error


@pytest.fixture
def shelf():
    shelf = Shelf()
    yield shelf
    shelf.go_on.set()


def test_captures_are_kept_in_order_and_answered(shelf):
    with CaptureWorker(shelf.keep, shelf.probe) as worker:
        outcomes = [worker.submit(frame(i), "mid") for i in range(1, 4)]
        assert [outcome.result(20) for outcome in outcomes] == [(1, "mid"), (2, "mid"), (3, "mid")]
        assert worker.kept == 3


def test_a_full_queue_refuses_and_drops_nothing(shelf):
    shelf.go_on.clear()
    with CaptureWorker(shelf.keep, shelf.probe, capacity=2) as worker:
        outcomes = [worker.submit(frame(1), None)]
        assert shelf.begun.acquire(timeout=20)  # the first is in work, not in the queue
        outcomes += [worker.submit(frame(i), None) for i in (2, 3)]
        with pytest.raises(BusyError, match="2 captures are still being kept: wait a moment"):
            worker.submit(frame(4), None)
        assert worker.refused == 1
        shelf.go_on.set()
        assert [outcome.result(20)[0] for outcome in outcomes] == [1, 2, 3]


def test_what_fails_is_told_to_its_owner_and_the_next_is_kept(shelf):
    with CaptureWorker(shelf.keep, shelf.probe) as worker:
        shelf.error = StoreError("/state: disk I/O error: see to the disk")
        with pytest.raises(StoreError, match="disk I/O error"):
            worker.submit(frame(1), None).result(20)
        assert "disk I/O error" in worker.problem
        shelf.error = None
        assert worker.submit(frame(2), None).result(20) == (2, None)
        assert worker.problem is None
        assert (worker.failed, worker.kept) == (1, 1)


def test_asked_to_stop_it_answers_those_that_wait_at_once(shelf):
    shelf.go_on.clear()
    with CaptureWorker(shelf.keep, shelf.probe) as worker:
        in_work, waits = worker.submit(frame(1), None), worker.submit(frame(2), None)
        assert shelf.begun.acquire(timeout=20)
        worker.ask_to_stop()
        with pytest.raises(TrichoscopeError, match="the program is ending"):
            waits.result(0)
        shelf.go_on.set()
        assert in_work.result(20) == (1, None)
        with pytest.raises(BusyError, match="ending"):
            worker.submit(frame(3), None)


def test_a_capture_withdrawn_while_it_waits_is_not_kept(shelf):
    shelf.go_on.clear()
    with CaptureWorker(shelf.keep, shelf.probe) as worker:
        worker.submit(frame(1), None)
        assert shelf.begun.acquire(timeout=20)
        assert worker.submit(frame(2), None).cancel()
        last = worker.submit(frame(3), None)
        shelf.go_on.set()
        last.result(20)
    assert [sequence for sequence, _ in shelf.rows] == [1, 3]


def test_the_stores_beat_moves_with_real_writes_only(shelf):
    with CaptureWorker(shelf.keep, shelf.probe, probe_every_s=0.01) as worker:
        before = worker.beat_ns
        eventually(lambda: worker.beat_ns > before)
        shelf.error = StoreError("/state: disk I/O error: see to the disk")
        eventually(lambda: worker.problem)
        stands = worker.beat_ns
        time.sleep(0.1)
        assert worker.beat_ns == stands
        shelf.error = StoreFullError("/state: 3 MB free: free some space")
        eventually(lambda: worker.beat_ns > stands)  # an answer, too: no restart helps a full disk
        assert "3 MB free" in worker.problem
        shelf.error = None
        eventually(lambda: worker.problem is None)
