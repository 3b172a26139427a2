"""`trichoscope devices`: what is listed, for people and as JSON, and what is said of a camera that does not serve."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from device.handpiece import ports
from device.handpiece.ports import PortInfo
from device.simulated.v4l2_device import Faults, SimulatedDevice
from device.simulated.v4l2_kernel import SimulatedKernel
from device.v4l2.camera import V4l2Camera
from runtime.cli import build

PORT = PortInfo(
    "/dev/ttyUSB0", "/dev/serial/by-id/usb-Handpiece", "0403", "6001", "H7", "Maker", "Handpiece", "ftdi_sio", "in-use", "held by x"
)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedKernel]:
    kernel = SimulatedKernel()
    monkeypatch.setattr(V4l2Camera, "kernel", kernel)
    monkeypatch.setattr(ports, "list_ports", lambda: [PORT])
    yield kernel
    assert (kernel.open_descriptors, kernel.open_mappings) == (0, 0)


def _run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(build("devices"), ["devices", *words])
    return result.exit_code, result.stdout, result.stderr


def test_cameras_and_ports_are_listed_as_json(kernel: SimulatedKernel) -> None:
    kernel.plug(SimulatedDevice())
    kernel.plug(SimulatedDevice(name="Denied", port="1-2", link="", faults=Faults(open_errno=errno.EACCES)))
    code, out, _ = _run("--json")
    found = json.loads(out)
    assert code == 0 and set(found) == {"cameras", "serial_ports"}
    camera, denied = found["cameras"]
    assert (camera["name"], camera["serial"], camera["node"]) == ("Scalp scope (simulated)", "SIM0001", "/dev/video0")
    assert camera["state"] == "ready" and camera["problem"] is None
    assert camera["preferred_mode"] == {"format": "MJPG", "width_px": 640, "height_px": 480, "fps": [240.0, 0.1], "any_fps_between": True}
    assert {each["name"] for each in camera["controls"]} >= {"gain", "auto_exposure"}
    assert denied["state"] == "unusable" and "group video" in denied["problem"] and denied["modes"] == []
    assert found["serial_ports"][0] == {
        "name": "Handpiece",
        "serial": "H7",
        "node": "/dev/ttyUSB0",
        "address": "serial:/dev/serial/by-id/usb-Handpiece",
        "state": "in-use",
        "problem": "held by x",
        "driver": "ftdi_sio",
        "usb_id": "0403:6001",
        "calls_itself_handpiece": True,
    }


def test_people_read_the_same(kernel: SimulatedKernel) -> None:
    code, out, _ = _run()
    assert code == 0 and "No camera is plugged in." in out and "held by x" in out
    kernel.plug(SimulatedDevice())
    code, out, _ = _run()
    for word in (
        "Scalp scope (simulated)",
        "v4l2:/dev/v4l/by-id/usb-Trichoscope_Scalp_scope_SIM0001-video-index0",
        "SIM0001 (1d6b:0102)",
        "480 Mbit/s",
        "YUYV 640×480 up to 15/s",
        "white_balance_temperature 5100 of 2800–6500, automatic",
        "power_line_frequency 50 Hz",
    ):
        assert word in out


def test_a_camera_is_tried(kernel: SimulatedKernel) -> None:
    kernel.plug(SimulatedDevice())
    code, out, _ = _run("v4l2:auto?width=64&height=48", "--json")
    tried = json.loads(out)
    assert code == 0 and (tried["width_px"], tried["height_px"]) == (64, 48) and tried["identity"] == "usb:1d6b:0102:SIM0001"
    code, out, _ = _run("v4l2:auto?format=yuyv")
    assert code == 0 and "640×480, uncompressed, 15 a second" in out


@pytest.mark.parametrize(
    ("address", "code", "told"),
    [
        ("v4l2:/dev/null", 1, "/dev/null is no video device"),
        ("v4l2:/dev/video1", 1, "carries only metadata of Scalp scope (simulated), no pictures: use"),
        ("v4l2:/dev/video9", 1, "there is no /dev/video9"),
        ("v4l2:auto?width=641&height=480", 1, "offers no 641×480, but MJPG 640×480"),
        ("v4l2:auto?gain=1000", 1, "this camera takes 0 to 100"),
        ("v4l2:video0", 2, "v4l2:auto"),
        ("webcam:0", 2, "no camera address"),
    ],
)
def test_one_that_does_not_serve_is_told_with_the_reason(kernel: SimulatedKernel, address: str, code: int, told: str) -> None:
    kernel.plug(SimulatedDevice())
    got, out, err = _run(address, "--json")
    assert (got, out) == (code, "") and told in err and err.count("\n") == 1
