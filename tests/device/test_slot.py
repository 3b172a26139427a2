from __future__ import annotations

import threading

from device.frame import Frame
from device.slot import LatestFrameSlot
from tests.device.pictures import picture


def _frame(sequence: int) -> Frame:
    return Frame(sequence=sequence, captured_ns=sequence, source="s", image=picture(1))


def test_a_reader_gets_the_newest_and_what_was_missed_is_counted() -> None:
    slot = LatestFrameSlot()
    for sequence in range(5):
        slot.put(_frame(sequence))
    taken = slot.newer(0, 1.0)
    assert taken is not None and taken[0] == 5 and taken[1].sequence == 4
    assert slot.overwritten == 4


def test_a_taken_frame_is_not_overwritten_but_replaced() -> None:
    slot = LatestFrameSlot()
    slot.put(_frame(1))
    assert slot.newer(0, 1.0) is not None
    slot.put(_frame(2))
    assert slot.overwritten == 0


def test_waiting_in_vain_ends_at_the_deadline() -> None:
    slot = LatestFrameSlot()
    assert slot.newer(0, 0.01) is None
    slot.put(_frame(1))
    assert slot.newer(1, 0.01) is None


def test_a_waiting_reader_is_woken() -> None:
    slot = LatestFrameSlot()
    got: list[tuple[int, Frame] | None] = []
    reader = threading.Thread(target=lambda: got.append(slot.newer(0, 30.0)))
    reader.start()
    slot.put(_frame(9))
    reader.join(5.0)
    assert not reader.is_alive()
    assert got[0] is not None and got[0][1].sequence == 9


def test_several_readers_each_get_the_frame() -> None:
    slot = LatestFrameSlot()
    slot.put(_frame(1))
    assert slot.newer(0, 1.0) == slot.newer(0, 1.0) == slot.latest()


def test_a_cleared_slot_shows_nothing_old_and_goes_on_counting() -> None:
    slot = LatestFrameSlot()
    slot.put(_frame(7))
    slot.clear()
    assert slot.latest() is None and slot.newer(0, 0.01) is None
    slot.put(_frame(0))  # a camera opened again begins its sequence anew
    taken = slot.newer(1, 1.0)
    assert taken is not None and taken[0] == 2 and taken[1].sequence == 0
