"""`trichoscope doctor`: every part is looked at, what is wrong is named with its remedy, and the exit code tells."""

import json

import pytest
from typer.testing import CliRunner

from device import camera as device_camera
from device.errors import CameraBusyError
from device.simulated.handpiece import HandpieceSimulator
from runtime import checkup
from runtime.cli import build
from tests.runtime.bundle_samples import MODEL, write_sample
from tests.runtime.profile_samples import profile, write
from tests.scripted_camera import at_open, scripted

NAMES = ["configuration", "state folder", "microscope", "handpiece", "calibration", "hair detection"]


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """Runs the command on a scripted camera with a state folder and settings as variables; gives (exit code, name → check)."""
    monkeypatch.setattr(checkup, "list_ports", list)
    monkeypatch.setattr(checkup, "PICTURE_WITHIN_S", 0.2)

    def run(*lives, **settings):
        camera = scripted(*lives)
        monkeypatch.setitem(device_camera.DRIVERS, "scripted", "tests.runtime.test_doctor:_camera")
        monkeypatch.setattr(f"{__name__}._made", camera)
        values = {"camera.uri": "scripted:", "store.folder": tmp_path / "state", "store.reserve_mb": 0} | {
            key.replace("__", "."): value for key, value in settings.items()
        }
        for key, value in values.items():
            monkeypatch.setenv("TRICHOSCOPE_" + key.upper().replace(".", "__"), str(value))
        outcome = CliRunner().invoke(build("doctor"), ["doctor", "--json"])
        found = json.loads(outcome.stdout)
        assert found["ok"] == (outcome.exit_code == 0)
        return outcome.exit_code, {each["name"]: each for each in found["checks"]}

    return run


_made = None


def _camera(uri):
    return _made(uri)


def test_all_in_order(doctor, tmp_path):
    made = profile(8.0)
    write(tmp_path / "state" / "profiles", made)
    code, checks = doctor()
    assert code == 0 and list(checks) == NAMES
    assert {name: each["verdict"] for name, each in checks.items()} == dict.fromkeys(NAMES, "good") | {"microscope": "note"}
    assert made.id in checks["calibration"]["found"] and "can be written" in checks["state folder"]["found"]


def test_a_microscope_without_a_calibration_needs_one(doctor):
    code, checks = doctor()
    assert code == 1 and checks["calibration"]["verdict"] == "bad" and "calibrate" in checks["calibration"]["found"]


def test_a_scale_that_the_configuration_states_will_do(doctor):
    code, checks = doctor(calibration__um_per_px=6.0)
    assert code == 0 and "6 µm per pixel" in checks["calibration"]["found"]


def test_a_microscope_that_sends_nothing_is_bad_and_one_in_use_is_left_alone(doctor):
    code, checks = doctor(["block"])
    assert code == 1 and checks["microscope"]["verdict"] == "bad" and "sent nothing" in checks["microscope"]["found"]
    code, checks = doctor([at_open(CameraBusyError("process 7 streams from it"))])
    assert code == 0 and checks["microscope"]["verdict"] == checks["calibration"]["verdict"] == "note"


def test_a_state_folder_that_is_a_file_or_a_full_disk_is_bad(doctor, tmp_path):
    code, checks = doctor(store__reserve_mb=1_000_000, calibration__um_per_px=6.0)
    assert code == 1 and "free some space" in checks["state folder"]["found"]
    (tmp_path / "file").touch()
    code, checks = doctor(store__folder=tmp_path / "file", calibration__um_per_px=6.0)
    assert code == 1 and "not a folder" in checks["state folder"]["found"]


def test_the_handpiece_must_measure(doctor, tmp_path, monkeypatch):
    link = tmp_path / "handpiece"
    with HandpieceSimulator(link=link) as simulator:
        simulator.do("contact", 0)
        code, checks = doctor(handpiece__uri=f"pty:{link}", calibration__um_per_px=6.0)
        assert code == 0 and checks["handpiece"]["verdict"] == "good"
        simulator.do("version", 9)
        code, checks = doctor(handpiece__uri=f"pty:{link}", calibration__um_per_px=6.0)
        assert code == 1 and "9" in checks["handpiece"]["found"]
    monkeypatch.setattr(checkup, "READY_WITHIN_S", 0.1)
    code, checks = doctor(handpiece__uri=f"pty:{link}", calibration__um_per_px=6.0)
    assert code == 1 and str(link) in checks["handpiece"]["found"]


def test_a_damaged_bundle_is_bad(doctor, tmp_path):
    write_sample(tmp_path / "dark")
    (tmp_path / "dark" / MODEL).write_bytes(b"damaged")
    code, checks = doctor(analysis__bundle=tmp_path / "dark", calibration__um_per_px=6.0)
    assert code == 1 and MODEL in checks["hair detection"]["found"]


def test_a_configuration_that_cannot_be_used_is_all_that_is_told(doctor):
    code, checks = doctor(camera__urj="x")
    assert code == 1 and list(checks) == ["configuration"] and "did you mean camera.uri" in checks["configuration"]["found"]


def test_the_table_names_every_part(doctor, tmp_path):
    doctor()  # sets the variables
    outcome = CliRunner().invoke(build("doctor"), ["doctor"])
    assert outcome.exit_code == 1
    assert [line.split("  ")[1] for line in outcome.stdout.splitlines()] == NAMES
