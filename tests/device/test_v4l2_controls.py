"""Controls: read with their ranges, set within them, held still for a visit; a camera without one is no error."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from device.errors import CameraLostError, ControlError
from device.simulated.v4l2_device import SimulatedControl
from device.v4l2 import structs
from device.v4l2.controls import AUTOMATICS, CAMERA, NAMES, OF_ITSELF, USER
from tests.device.plugged import SMALL, Plugged

EXPOSURE, AUTO_EXPOSURE, GAIN, WHITE, AUTO_WHITE, FOCUS = CAMERA + 2, CAMERA + 1, USER + 19, USER + 26, USER + 12, CAMERA + 10


@pytest.fixture
def plugged() -> Iterator[Plugged]:
    plugged = Plugged()
    yield plugged
    plugged.assert_nothing_is_held()


def test_controls_are_read_with_their_ranges(plugged: Plugged) -> None:
    with plugged.camera() as camera:
        found = {each.name: each for each in camera.controls.read()}
    temperature = found["white_balance_temperature"]
    assert (temperature.low, temperature.high, temperature.step, temperature.value) == (2800, 6500, 10, 5100)
    assert not temperature.active and temperature.settable
    assert found["power_line_frequency"].choices == {0: "Disabled", 1: "50 Hz", 2: "60 Hz"}
    assert found["auto_exposure"].choices == {1: "Manual Mode", 3: "Aperture Priority Mode"}  # a menu with gaps
    assert found["focus_automatic_continuous"].kind == "boolean"


def test_setting_one_switches_its_automatic_off(plugged: Plugged) -> None:
    with plugged.camera(f"{SMALL}&exposure_time_absolute=200&white_balance_temperature=4000&gain=7") as camera:
        controls = camera.info.controls
    assert (controls["auto_exposure"], controls["exposure_time_absolute"]) == (1, 200)
    assert (controls["white_balance_automatic"], controls["white_balance_temperature"]) == (False, 4000)
    assert controls["gain"] == 7
    assert "focus_absolute" not in controls and controls["focus_automatic_continuous"] is True


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("gain=101", "gain=101: this camera takes 0 to 100"),
        ("white_balance_temperature=4001", "takes 2800 to 6500 in steps of 10"),
        ("auto_exposure=2", r"takes 1 \(Manual Mode\), 3 \(Aperture Priority Mode\)"),
    ],
)
def test_a_value_that_it_does_not_take_is_refused_with_those_that_it_does(plugged: Plugged, option: str, told: str) -> None:
    with pytest.raises(ControlError, match=told), plugged.camera(f"{SMALL}&{option}"):
        pass


def test_a_camera_without_a_control_is_no_error(plugged: Plugged) -> None:
    plugged.device.controls = {}
    with plugged.camera(f"{SMALL}&gain=7&focus_absolute=3") as camera:
        assert camera.controls.read() == [] and camera.info.controls == {}
        assert camera.lock_controls() == {}
        camera.release_controls()
        assert camera.read(1.0).sequence == 0


def test_a_control_that_does_not_work_is_passed_over(plugged: Plugged) -> None:
    plugged.device.controls[GAIN].errno = errno.EIO
    with plugged.camera() as camera:
        assert "gain" not in camera.info.controls
        assert "auto_exposure" in camera.lock_controls()
        with pytest.raises(ControlError, match="refuses gain=3"):
            camera.controls.write("gain", 3)


def test_locking_holds_what_the_automatics_had_come_to(plugged: Plugged) -> None:
    with plugged.camera() as camera:
        held = camera.lock_controls()
        assert {name: held[name] for name in ("auto_exposure", "exposure_time_absolute")} == {
            "auto_exposure": 1,
            "exposure_time_absolute": 312,
        }
        assert (held["white_balance_automatic"], held["white_balance_temperature"], held["focus_absolute"]) == (False, 5100, 433)
        assert camera.info.controls == held == camera.lock_controls()
        camera.release_controls()
        assert camera.info.controls["auto_exposure"] == 3 and camera.info.controls["white_balance_automatic"] is True


def test_a_camera_that_comes_back_is_locked_at_the_same_values(plugged: Plugged) -> None:
    with plugged.camera() as camera:
        held = camera.lock_controls()
        camera.release_controls()
        for number, value in ((EXPOSURE, 99), (WHITE, 3000), (FOCUS, 1), (GAIN, 50)):
            plugged.device.controls[number].value = value
    with plugged.camera() as camera:
        assert camera.lock_controls(held) == held


def test_a_camera_that_cannot_be_set_by_hand_stays_as_it_is(plugged: Plugged) -> None:
    plugged.device.controls[AUTO_EXPOSURE].choices = {3: "Aperture Priority Mode"}
    plugged.device.controls[AUTO_WHITE].flags = structs.CTRL_FLAG_READ_ONLY
    with plugged.camera() as camera:
        held = camera.lock_controls()
    assert held["auto_exposure"] == 3 and held["white_balance_automatic"] is True and held["focus_absolute"] == 433


def test_strange_controls_are_named_or_passed_over(plugged: Plugged) -> None:
    plugged.device.controls |= {
        0x08000001: SimulatedControl("LED1 Mode (vendor)", structs.CTRL_INTEGER, 0, 3, 1, 0, 2),
        0x08000002: SimulatedControl("\xff", structs.CTRL_INTEGER, 0, 3, 1, 0, 1),
        0x08000003: SimulatedControl("Reset", 4, 0, 0, 0, 0, 0),  # a button
        0x08000004: SimulatedControl("Temperature", structs.CTRL_INTEGER, 0, 99, 1, 0, 40, flags=structs.CTRL_FLAG_VOLATILE),
        0x08000005: SimulatedControl("Hidden", structs.CTRL_INTEGER, 0, 99, 1, 0, 40, flags=structs.CTRL_FLAG_DISABLED),
    }
    with plugged.camera() as camera:
        names = {each.name for each in camera.controls.read()}
        assert {"led1_mode_vendor", "temperature"} <= names and not {"reset", "hidden"} & names
        assert camera.info.controls["led1_mode_vendor"] == 2 and "temperature" not in camera.info.controls


def test_a_camera_that_goes_away_meanwhile_is_lost(plugged: Plugged) -> None:
    with plugged.camera() as camera:
        plugged.kernel.unplug(plugged.device)
        with pytest.raises(CameraLostError):
            camera.lock_controls()


def test_every_automatic_and_what_it_governs_has_a_name() -> None:
    assert set(AUTOMATICS) | set(OF_ITSELF) <= set(NAMES.values())
    assert len(set(NAMES.values())) == len(NAMES)
