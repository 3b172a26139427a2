"""The camera's part of `trichoscope bench devices` measures what it says; the figures themselves are the bench's affair."""

from __future__ import annotations

from runtime.bench.devices.camera import measure_capture, measure_choice, measure_replug


def test_the_capture_thread_is_measured() -> None:
    found = measure_capture(seconds=0.2, width=64, height=48, fps=100)
    assert found.frames >= 20 and found.damaged == 0 and found.jpeg_bytes > 0
    assert 0 < found.core_share < 2 and found.seconds > 0.1 and found.interval_ms_p99 > 0


def test_every_reconnection_is_counted_and_nothing_is_held() -> None:
    found = measure_replug(cycles=5)
    assert found.cycles == found.returned == 5
    assert found.descriptors[0] == found.descriptors[1] and found.threads[0] == found.threads[1] and found.mappings == (4, 4)
    assert 0 < found.return_ms_median <= found.return_ms_most and found.seen_ms_most > 0 and found.resident_kib[0] > 0


def test_choosing_a_frame_is_measured() -> None:
    found = measure_choice(presses=1)
    assert found.presses == 1 and found.looked_at_least > 5 and found.sharpness_ms > 0 and found.decode_ms > 0
    assert found.late_ms_median == found.late_ms_most > 0
