"""What gives a frame its scale in the daemon: order of precedence, the profile that fits, when it is chosen anew, and what is said."""

import threading
import time
from datetime import timedelta

import numpy as np
import pytest
import structlog

from calib.errors import CurveError
from calib.field import FrameScale
from calib.scale import Scale
from calib.settings import CalibrationSettings
from device.camera import CameraInfo
from device.frame import Frame
from runtime.workers import calibrating
from runtime.workers.calibrating import NO_CAMERA, NO_PICTURE, UNKNOWN_CAMERA, FrameScaler
from runtime.workers.handpiece import Distance
from tests.runtime.profile_samples import MADE, profile, write

SIZE = (64, 48)
SOON = MADE + timedelta(days=1)


def frame(size=SIZE, stated=None, captured_ns=None, level=128):
    """A grey frame of (width, height)."""
    image = np.full((size[1], size[0], 3), level, np.uint8)
    taken = time.monotonic_ns() if captured_ns is None else captured_ns
    return Frame(sequence=1, captured_ns=taken, source="scripted:", image=image, stated_um_per_px=stated)


class Bench:
    """A scaler over a folder of profiles, a camera that can be changed, and a clock that can be set."""

    def __init__(self, folder, look_every_s=0.0, **settings):
        self.folder = folder
        self.camera = camera()
        self.utc = SOON
        self.scaler = FrameScaler(
            CalibrationSettings(**settings), folder, lambda: self.camera, look_every_s=look_every_s, utc=lambda: self.utc
        )

    def scale(self, *args, **options):
        return self.scaler(frame(*args, **options))


def camera(identity="scripted", opened_ns=1, **controls):
    return CameraInfo("scripted", "scripted:", *SIZE, fps=100.0, identity=identity, controls=controls, opened_ns=opened_ns)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "profiles")


def test_the_configuration_comes_first_then_the_profile_then_the_frame_itself(tmp_path):
    folder = tmp_path / "profiles"
    made = profile(8.0)
    write(folder, made)
    stated = Bench(folder, um_per_px=5.0, um_per_px_std=0.1)
    assert stated.scale(stated=7.0) == FrameScale(Scale(5.0, 0.1, "given"))
    assert stated.scaler.now().why is None
    by_profile = Bench(folder).scale(stated=7.0)
    assert (by_profile.scale.source, by_profile.profile_id) == ("hood", made.id)
    assert by_profile.scale.um_per_px == pytest.approx(8.0 * (12 - 0.3) / 12)
    own = Bench(tmp_path / "none").scale(stated=7.0)
    assert own == FrameScale(Scale(7.0, None, "given"))
    nothing = Bench(tmp_path / "none").scale()
    assert nothing.scale.source == "none"
    assert "no folder" in nothing.note and "calibrate" in nothing.note


def test_a_profile_that_cannot_serve_a_frame_leaves_the_frames_own_scale(bench):
    write(bench.folder, profile(hood=None))  # a curve alone, and no distance is read here
    assert bench.scale(stated=7.0) == FrameScale(Scale(7.0, None, "given"))
    alone = bench.scale()
    assert (alone.scale.source, alone.note != "") == ("none", True)


def test_a_frame_that_states_nonsense_is_told_once(bench):
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert bench.scale(stated=-3.0).scale.source == "none"
    assert [line["event"] for line in logs].count("the scale that the camera states is not used") == 1


def test_why_none_fits_is_said_once_and_stands_in_the_state_and_the_result(bench):
    write(bench.folder, profile(microscope="another"))
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            found = bench.scale()
            bench.camera = camera(opened_ns=bench.camera.opened_ns + 1)  # plugged out and in
    told = [line["why"] for line in logs if line["event"] == "no calibration profile fits"]
    assert len(told) == 1
    assert "'another'" in told[0] and "'scripted'" in told[0]
    bench.scale()
    state = bench.scaler.now()
    assert found.note == state.why == told[0]
    assert (state.profile_id, state.notice) == (None, None)


def test_the_state_names_the_profile_and_its_hood(bench):
    made = profile()
    write(bench.folder, made)
    assert bench.scaler.now().why == NO_PICTURE
    bench.scale()
    state = bench.scaler.now()
    assert (state.profile_id, state.hood, state.why, state.notice) == (made.id, "spacer 12", None, None)
    assert state.made_utc == "2026-01-05T09:30:00+00:00"
    assert state.expires_utc.startswith("2036-")
    bench.camera = None
    assert bench.scaler.now().why == NO_CAMERA
    bench.camera = camera(opened_ns=2)
    assert bench.scaler.now().why == NO_PICTURE  # what fitted the last one says nothing of this one


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"microscope": "a"}, "microscope"),
        ({"size": (48, 64)}, "48×64"),
        ({"hood": "other"}, "other"),
        ({"days": 0.5}, "expired"),
    ],
)
def test_a_profile_of_something_else_does_not_serve(tmp_path, changed, says):
    bench = Bench(tmp_path / "profiles", hood="spacer 12")
    write(bench.folder, profile(**changed))
    assert says in bench.scale().note


def test_a_person_may_name_the_microscope(tmp_path):
    bench = Bench(tmp_path / "profiles", microscope="chair 2")
    made = profile(microscope="chair 2")
    write(bench.folder, made)
    assert bench.scale().profile_id == made.id


def test_a_profile_belongs_to_the_size_of_the_frame_not_of_the_camera(bench):
    small, large = profile(8.0), profile(4.0, size=(128, 96))
    write(bench.folder, small)
    write(bench.folder, large)
    for size, made in ((SIZE, small), ((128, 96), large), (SIZE, small)):
        assert bench.scale(size).profile_id == made.id
    assert "32×32" in bench.scale((32, 32)).note


def test_a_new_profile_is_noticed_and_the_old_one_no_longer_used(bench):
    assert bench.scale().profile_id is None
    write(bench.folder, profile(8.0))
    assert bench.scale().scale.um_per_px == pytest.approx(7.8)
    newer = profile(8.4, made=MADE + timedelta(hours=1))
    file = write(bench.folder, newer)
    assert bench.scale().profile_id == newer.id
    file.unlink()
    assert bench.scale().scale.um_per_px == pytest.approx(7.8)


def test_a_profile_ends_while_the_daemon_runs(bench):
    write(bench.folder, profile(days=10))
    assert bench.scale().profile_id is not None
    bench.utc = MADE + timedelta(days=11)
    found = bench.scale()
    assert found.profile_id is None and "expired" in found.note


@pytest.mark.parametrize(("left", "says"), [(31, None), (29, "in 29 days"), (1.5, "in 1 day "), (0.5, "today")])
def test_a_profile_that_ends_within_a_month_is_told(bench, left, says):
    write(bench.folder, profile(days=100))
    bench.utc = MADE + timedelta(days=100 - left)
    bench.scale()
    notice = bench.scaler.now().notice
    if says is None:
        assert notice is None
    else:
        assert says in notice and "calibrate anew" in notice


def test_a_file_that_cannot_be_used_is_told_beside_the_profile_in_use(bench):
    write(bench.folder, profile())
    (bench.folder / "profile-20990101-broken.json").write_text("{")
    bench.scale()
    state = bench.scaler.now()
    assert state.profile_id is not None
    assert "broken.json" in state.notice


def test_frames_cost_no_look_into_the_folder(tmp_path, monkeypatch):
    bench = Bench(tmp_path / "profiles", look_every_s=3600.0)
    write(bench.folder, profile())
    looks, choices = [], []
    files_in, choose = calibrating._files_in, calibrating.choose
    monkeypatch.setattr(calibrating, "_files_in", lambda folder: looks.append(folder) or files_in(folder))
    monkeypatch.setattr(calibrating, "choose", lambda *args, **options: choices.append(args) or choose(*args, **options))
    for _ in range(20):
        assert bench.scale().profile_id is not None
        assert bench.scale((32, 24)).profile_id is None
    assert (len(looks), len(choices)) == (1, 2)
    bench.camera = camera(opened_ns=2)
    bench.scale()
    assert (len(looks), len(choices)) == (1, 3)


def test_a_captured_frame_has_the_profile_of_the_camera_that_took_it(bench):
    """Unplugged, and another microscope plugged in, while the capture waited in its queue."""
    of_first, of_second = profile(8.0, microscope="first"), profile(6.0, microscope="second")
    write(bench.folder, of_first)
    write(bench.folder, of_second)
    bench.camera = camera("first", opened_ns=1_000)
    assert bench.scale(captured_ns=1_500).profile_id == of_first.id
    bench.camera = None
    assert bench.scale(captured_ns=1_600).profile_id == of_first.id
    bench.camera = camera("second", opened_ns=2_000)
    assert bench.scale(captured_ns=1_700).profile_id == of_first.id
    assert bench.scale(captured_ns=2_100).profile_id == of_second.id
    assert bench.scale(captured_ns=1_800).profile_id == of_first.id
    assert bench.scaler.now().profile_id == of_second.id
    assert bench.scale(captured_ns=10).note == UNKNOWN_CAMERA


def test_locked_controls_tell_profiles_apart(bench):
    dim = profile(8.0)
    dim = profile(8.0, device=dim.device.model_copy(update={"controls": {"exposure": 100}}))
    write(bench.folder, dim)
    bench.camera = camera(exposure=100)
    assert bench.scale().profile_id == dim.id
    bench.camera = camera(opened_ns=2, exposure=200)
    assert "exposure" in bench.scale().note


def test_a_driver_that_tells_nonsense_costs_the_scale_and_not_the_measurement(bench):
    write(bench.folder, profile())
    bench.camera = camera(identity="")
    assert "cannot be used" in bench.scale().note


def test_a_profile_that_fails_on_a_frame_leaves_it_without_a_scale(bench, monkeypatch):
    def fail(*_args, **_options):
        raise CurveError("no such curve")

    write(bench.folder, profile())
    monkeypatch.setattr(calibrating, "resolve_scale", fail)
    found = bench.scale()
    assert (found.scale.source, found.note) == ("none", "no such curve")


def test_two_threads_share_one_choice(tmp_path, monkeypatch):
    bench = Bench(tmp_path / "profiles", look_every_s=3600.0)
    made = profile()
    write(bench.folder, made)
    choices, choose = [], calibrating.choose
    monkeypatch.setattr(calibrating, "choose", lambda *args, **options: choices.append(args) or choose(*args, **options))
    seen, start = [], threading.Barrier(4)

    def work():
        start.wait(20)
        for _ in range(25):
            seen.append(bench.scale().profile_id)
            bench.scaler.now()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == [made.id] * 100
    assert len(choices) == 1


def test_controls_that_are_locked_while_the_camera_is_open_choose_anew_and_are_known(bench):
    write(bench.folder, profile(8.0))
    assert bench.scale().profile_id is not None
    assert bench.scaler.controls_of(frame()) == {}
    bench.camera = camera(exposure=156)
    assert bench.scaler.controls_of(frame()) == {"exposure": 156}
    assert bench.scaler.controls_of(frame(captured_ns=0)) is None  # from before any camera was opened


def test_a_distance_reading_is_used_by_a_profile_with_a_curve(tmp_path):
    write(tmp_path, profile(8.0, hood=None, curve=True))
    readings = {7: Distance(20.0, 0.2)}
    scaler = FrameScaler(CalibrationSettings(), tmp_path, camera, utc=lambda: SOON, distance_at=readings.get)
    with_reading, without = scaler(frame(captured_ns=7)), scaler(frame(captured_ns=8))
    assert (with_reading.scale.source, without.scale.source) == ("distance", "none")
    assert with_reading.scale.um_per_px == pytest.approx(20.0 * 8.0 / 12)
