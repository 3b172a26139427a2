"""What every camera keeps, whatever drives it: run on all drivers, the simulated one included."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from device.camera import DRIVERS, Camera, make_camera
from device.errors import CameraTimeoutError, CameraUriError, DeviceError
from device.simulated.v4l2_device import SimulatedDevice
from device.simulated.v4l2_kernel import SimulatedKernel
from device.v4l2.camera import V4l2Camera
from tests.device.pictures import write_folder, write_video

CAMERAS: dict[str, tuple[Callable[[Path], str], str]] = {
    # name → (makes what the address needs, and the address with the option fps=%s; an address of the same scheme that is wrong)
    "replay of a folder": (lambda tmp: f"replay:{write_folder(tmp / 'pictures')}?fps=%s", "replay:.?speed=3"),
    "replay of a video": (lambda tmp: f"replay:{write_video(tmp / 'v.avi')}?fps=%s", "replay:.?loop=2"),
    "simulated": (lambda tmp: "simulated:easy?width=160&height=120&scenes=2&fps=%s", "simulated:?width=wide"),
    "v4l2": (lambda tmp: "v4l2:auto?width=64&height=48&fps=%s", "v4l2:auto?format=gif"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = SimulatedKernel()
    kernel.plug(SimulatedDevice())
    monkeypatch.setattr(V4l2Camera, "kernel", kernel)


@pytest.fixture(params=CAMERAS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield CAMERAS[request.param][0](tmp_path)


def test_every_driver_is_under_contract() -> None:
    assert {bad.partition(":")[0] for _, bad in CAMERAS.values()} == set(DRIVERS)


def test_frames_come_in_order_and_cannot_be_changed(address: str) -> None:
    with make_camera(address % 100) as camera:
        info = camera.info
        frames = [camera.read(5.0) for _ in range(5)]
    assert info.width > 0 and info.height > 0 and info.fps == 100
    assert info.driver == address.partition(":")[0]
    assert info.identity and 0 < info.opened_ns <= frames[0].captured_ns
    assert all(a.sequence < b.sequence and a.captured_ns < b.captured_ns for a, b in pairwise(frames))
    for frame in frames:
        assert frame.image.shape == (info.height, info.width, 3) and frame.image.dtype == np.uint8
        assert frame.jpeg is not None and frame.jpeg.startswith(b"\xff\xd8")
        with pytest.raises(ValueError, match="read-only"):
            frame.image[0, 0] = 0


def test_frames_are_paced(address: str) -> None:
    with make_camera(address % 20) as camera:
        first = camera.read(5.0)
        last = [camera.read(5.0) for _ in range(4)][-1]
    # four frames later at 20 per second: never sooner, whatever the machine does
    assert last.captured_ns - first.captured_ns >= 0.9 * 3 / 20 * 1e9


def test_a_wait_ends_at_its_deadline(address: str) -> None:
    with make_camera(address % 0.1) as camera:
        camera.read(5.0)
        with pytest.raises(CameraTimeoutError):
            camera.read(0.05)


def test_cancel_wakes_the_reader(address: str) -> None:
    with make_camera(address % 0.1) as camera:
        camera.read(5.0)
        failure: list[BaseException] = []

        def wait() -> None:
            try:
                camera.read(60.0)
            except DeviceError as error:
                failure.append(error)

        reader = threading.Thread(target=wait)
        reader.start()
        time.sleep(0.05)
        camera.cancel()
        reader.join(5.0)
        assert not reader.is_alive()
        assert isinstance(failure[0], CameraTimeoutError)


def test_cancel_is_safe_when_closed(address: str) -> None:
    camera = make_camera(address % 30)
    camera.cancel()
    with camera:
        camera.cancel()
    camera.cancel()


def test_a_closed_camera_refuses(address: str) -> None:
    camera = make_camera(address % 30)
    with pytest.raises(DeviceError, match="not open"):
        camera.read(1.0)
    with camera, pytest.raises(DeviceError, match="open already"):
        camera.__enter__()
    with pytest.raises(DeviceError, match="not open"):
        camera.read(1.0)
    with pytest.raises(DeviceError, match="not open"):
        _ = camera.info


def test_closing_again_does_no_harm_and_it_opens_again(address: str) -> None:
    camera: Camera = make_camera(address % 100)
    for _ in range(2):
        with camera:
            assert camera.read(5.0).sequence >= 0
        camera.__exit__(None, None, None)


def test_controls_that_are_locked_stand_in_what_the_camera_says_of_itself(address: str) -> None:
    with make_camera(address % 100) as camera:
        held = camera.lock_controls()
        assert camera.info.controls == held
        camera.release_controls()
        assert camera.lock_controls(held) == held
        assert camera.dropped == 0
    with pytest.raises(DeviceError, match="not open"):
        camera.lock_controls()


def test_a_camera_is_read_with_a_deadline(address: str) -> None:
    with make_camera(address % 30) as camera, pytest.raises(ValueError, match="deadline"):
        camera.read(0.0)


@pytest.mark.parametrize("bad", [bad for _, bad in CAMERAS.values()])
def test_wrong_options_are_refused_before_anything_opens(bad: str) -> None:
    with pytest.raises(CameraUriError) as told:
        make_camera(bad)
    assert bad.partition("?")[2].partition("=")[0] in str(told.value)


@pytest.mark.parametrize("fps", ["0", "nan", "-3", "1e9", "many"])
def test_rates_that_no_camera_has_are_refused(address: str, fps: str) -> None:
    with pytest.raises(CameraUriError, match="fps"):
        make_camera(address % fps)
