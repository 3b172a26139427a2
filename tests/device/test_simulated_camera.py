"""The live simulated camera beyond the contract of all cameras: its frames are determined, its scenes kept, its threads ended."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.camera import Camera, make_camera
from device.errors import CameraUriError
from device.frame import Frame
from device.simulated import backdrop as backdrops
from device.simulated import camera as live
from device.simulated.backdrop import BackdropPlan, fetch_backdrop
from device.simulated.camera import SCENE_S, SimulatedCamera, pose_at
from device.simulated.scene import RenderStoppedError

PLAN = BackdropPlan(seed=1, kind="easy", bald=False, width=128, height=96, window_width=96)
SMALL = "simulated:easy?width=160&height=120&scenes=2&fps=200"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "trichoscope" / "scenes"


def _frames(camera: Camera, count: int) -> dict[int, Frame]:
    with camera:
        frames = [camera.read(5.0) for _ in range(count)]
    return {frame.sequence: frame for frame in frames}


def test_a_frame_is_determined_by_address_and_sequence() -> None:
    first, second = (_frames(make_camera(SMALL), 40) for _ in range(2))
    both = first.keys() & second.keys()
    assert both
    for sequence in both:
        assert first[sequence].jpeg == second[sequence].jpeg
        assert first[sequence].stated_um_per_px == second[sequence].stated_um_per_px
    other = _frames(make_camera(SMALL + "&seed=8"), 1)
    assert next(iter(other.values())).jpeg != next(iter(first.values())).jpeg


def test_no_two_frames_are_alike_and_each_states_its_scale() -> None:
    frames = list(_frames(make_camera(SMALL), 5).values())
    assert len({frame.jpeg for frame in frames}) == 5
    for frame in frames:
        assert frame.stated_um_per_px is not None
        assert 5.4 * 4 < frame.stated_um_per_px < 9.1 * 4  # a fourth of the pixels over the same field


def test_the_next_scene_comes_when_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SCENE_S", 0.05)
    with make_camera(SMALL) as camera:
        first = camera.read(5.0).stated_um_per_px
        deadline = time.monotonic() + 60
        while (frame := camera.read(5.0)).stated_um_per_px is not None and time.monotonic() < deadline:
            assert first is not None
            if abs(frame.stated_um_per_px / first - 1) > 0.02:  # further than the lens's distortion changes it
                break
        else:
            pytest.fail("the second scene never came")


def test_closing_does_not_wait_for_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def slow(plan: BackdropPlan, should_stop: object) -> backdrops.Backdrop:
        if plan.seed % 100 == 0:
            return fetch_backdrop(plan, should_stop)  # type: ignore[arg-type]
        asked.set()
        while not should_stop():  # type: ignore[operator]
            time.sleep(0.01)
        raise RenderStoppedError

    monkeypatch.setattr(live, "fetch_backdrop", slow)
    with make_camera(SMALL):
        assert asked.wait(10)
    assert not [t for t in threading.enumerate() if t.name == "simulated-scenes"]


def test_closing_waits_no_longer_than_its_deadline_and_a_late_scene_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, released = threading.Event(), threading.Event()

    def deaf(plan: BackdropPlan, should_stop: object) -> backdrops.Backdrop:
        if plan.seed % 100 != 0:
            asked.set()
            assert released.wait(20)
        return fetch_backdrop(plan, lambda: False)

    monkeypatch.setattr(live, "fetch_backdrop", deaf)
    monkeypatch.setattr(live, "STOP_DEADLINE_S", 0.05)
    camera = make_camera(SMALL)
    assert isinstance(camera, SimulatedCamera)
    try:
        with camera:
            late = camera._thread
            assert late is not None
            assert asked.wait(10)
        assert late.is_alive()
        assert "rendering did not stop in time" in capsys.readouterr().out
        monkeypatch.setattr(live, "STOP_DEADLINE_S", 20.0)
        with camera:  # opened again, it has its own thread; the late one ends by itself
            released.set()
            late.join(20)
            assert not late.is_alive()
            assert camera.read(5.0).sequence >= 0
    finally:
        released.set()


def test_a_failing_renderer_is_seen_and_the_first_scene_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(plan: BackdropPlan, should_stop: object) -> backdrops.Backdrop:
        if plan.seed % 100 == 0:
            return fetch_backdrop(plan, should_stop)  # type: ignore[arg-type]
        raise MemoryError("no room for a scene")

    monkeypatch.setattr(live, "fetch_backdrop", fail)
    camera = make_camera(SMALL)
    assert isinstance(camera, SimulatedCamera)
    with camera:
        assert camera._thread is not None
        camera._thread.join(10)
        assert camera.read(5.0).sequence >= 0
    assert "no room for a scene" in capsys.readouterr().out


@pytest.mark.parametrize(
    "bad", ["simulated:afro", "simulated:?scenes=1.5", "simulated:?width=4000", "simulated:?seed=-1", "simulated:?colour=red"]
)
def test_addresses_that_mean_nothing_are_refused(bad: str) -> None:
    with pytest.raises(CameraUriError):
        make_camera(bad)


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 1e5), st.integers(0, 2**32 - 1))
def test_the_hand_stays_on_the_scene_and_moves_smoothly(t_s: float, seed: int) -> None:
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 16)
    here, soon = pose_at(t_s, phases), pose_at(t_s + 1 / 30, phases)
    assert 0 <= here.x <= 1 and 0 <= here.y <= 1 and 0 <= here.lift <= 1 and 0.5 < here.gain < 1.1
    assert abs(here.x - soon.x) < 0.01 and abs(here.y - soon.y) < 0.01
    assert max(abs(a - b) for a, b in zip(here.shake_px, soon.shake_px, strict=True)) < 3
    if here.slot != soon.slot:
        assert here.lift > 0.8  # scenes change only while the picture cannot be read


def test_the_first_scene_is_set_down_already() -> None:
    phases = np.zeros(16)
    assert pose_at(0.0, phases).lift == 0
    assert pose_at(SCENE_S, phases).lift == 1


def test_a_scene_is_rendered_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = fetch_backdrop(PLAN, lambda: False)
    assert [file.suffix for file in cache.iterdir()] == [".npz"]
    monkeypatch.setattr(backdrops, "render_backdrop", lambda *_: pytest.fail("rendered again"))
    kept = fetch_backdrop(PLAN, lambda: False)
    assert np.array_equal(kept.image, rendered.image) and np.array_equal(kept.scales_um_per_px, rendered.scales_um_per_px)


def test_every_part_of_a_plan_is_in_its_key() -> None:
    others = {"seed": 2, "kind": "hard", "bald": True, "width": 130, "height": 98, "window_width": 90, "shrink": 0.5}
    keys = {PLAN.key} | {BackdropPlan(**{**vars(PLAN), name: value}).key for name, value in others.items()}
    assert len(keys) == 1 + len(others)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"x" * 1000])
def test_a_damaged_cache_is_rendered_anew(cache: Path, content: bytes) -> None:
    rendered = fetch_backdrop(PLAN, lambda: False)
    (file,) = cache.iterdir()
    file.write_bytes(content)
    again = fetch_backdrop(PLAN, lambda: False)
    assert np.array_equal(again.image, rendered.image)
    assert file.stat().st_size > 10_000


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert fetch_backdrop(PLAN, lambda: False).image.shape == (96, 128, 3)


def test_the_cache_is_bounded_and_keeps_the_newest(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch_backdrop(PLAN, lambda: False)
    (file,) = cache.iterdir()
    monkeypatch.setattr(backdrops, "CACHE_BYTES", round(1.5 * file.stat().st_size))
    fetch_backdrop(BackdropPlan(2, "easy", False, 128, 96, 96), lambda: False)
    (left,) = cache.iterdir()
    assert left.name != file.name and first.image.shape == (96, 128, 3)


def test_a_shrunk_scene_shows_the_same_field() -> None:
    plain, shrunk = (backdrops.render_backdrop(BackdropPlan(1, "easy", False, 256, 192, 192, part), lambda: False) for part in (1.0, 0.5))
    assert plain.image.shape == shrunk.image.shape
    assert shrunk.um_per_px_at(128, 96) == pytest.approx(plain.um_per_px_at(128, 96), rel=0.02)
