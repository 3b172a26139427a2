"""The calibration profile in a running daemon: in results and captures, in status, health and metrics, and when microscopes change."""

from datetime import datetime, timedelta, timezone

import pytest
import structlog

from device.errors import CameraLostError
from runtime.workers import calibrating
from tests.eventually import eventually
from tests.runtime.profile_samples import profile, write
from tests.runtime.running_daemon import running


@pytest.fixture(autouse=True)
def look_often(monkeypatch):
    """A new profile is noticed soon enough for a test."""
    monkeypatch.setitem(calibrating.FrameScaler.__init__.__kwdefaults__, "look_every_s", 0.05)


def numbers(daemon):
    text = daemon.get("/metrics").text
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")}


def analysis_health(daemon):
    answer = daemon.get("/health")
    return answer.status_code, next(part for part in answer.json()["parts"] if part["name"] == "analysis")


def test_results_and_captures_carry_the_profile_that_fits(tmp_path):
    made = profile(8.0)
    write(tmp_path / "state" / "profiles", made)
    with running(tmp_path / "state") as daemon, daemon.client() as client:
        status = daemon.until(lambda status: status["results"])
        assert status["calibration"] == {
            "profile_id": made.id,
            "made_utc": "2026-01-05T09:30:00+00:00",
            "expires_utc": made.expires_utc.isoformat(timespec="seconds"),
            "hood": "spacer 12",
            "why": None,
            "notice": None,
        }
        live = client.get("/api/measurement").json()
        assert (live["calibration"], live["scale"]["source"]) == (made.id, "hood")
        assert live["scale"]["um_per_px"] == pytest.approx(7.8)
        row = client.post("/api/captures").json()
        kept = client.get(f"/api/captures/{row['id']}").json()["measurement"]
        assert (kept["calibration"], kept["scale"]) == (live["calibration"], live["scale"])
        assert numbers(daemon)["trichoscope_calibration_profile"] == 1
        assert numbers(daemon)['trichoscope_scale_source{source="hood"}'] == 1
        assert analysis_health(daemon)[1]["message"] == "measuring"


def test_why_none_fits_is_told_by_log_status_and_result_and_the_daemon_is_well(tmp_path):
    write(tmp_path / "profiles", profile(microscope="another"))
    settings = {"calibration.folder": tmp_path / "profiles"}
    with structlog.testing.capture_logs() as logs, running(tmp_path / "state", settings=settings) as daemon:
        status = daemon.until(lambda status: status["results"] > 5)
        why = status["calibration"]["why"]
        assert "'another'" in why and "'scripted'" in why
        assert status["calibration"]["profile_id"] is None
        live = daemon.get("/api/measurement").json()
        assert (live["scale"]["source"], live["calibration"], live["scale_reading"]["note"]) == ("none", None, why)
        assert analysis_health(daemon)[0] == 200
        assert numbers(daemon)["trichoscope_calibration_profile"] == 0
        assert numbers(daemon)['trichoscope_scale_source{source="none"}'] == 1
        made = profile(6.0)
        write(tmp_path / "profiles", made)  # while it runs
        daemon.until(lambda status: status["calibration"]["profile_id"] == made.id)
        eventually(lambda: daemon.get("/api/measurement").json()["calibration"] == made.id)
    assert [line["why"] for line in logs if line["event"] == "no calibration profile fits"] == [why]


def test_a_scale_that_the_configuration_states_wins(tmp_path):
    write(tmp_path / "state" / "profiles", profile(8.0))
    with running(tmp_path / "state", settings={"calibration.um_per_px": 5.0}) as daemon:
        status = daemon.until(lambda status: status["results"])
        assert set(status["calibration"].values()) == {None}
        live = daemon.get("/api/measurement").json()
        assert (live["scale"]["source"], live["scale"]["um_per_px"], live["calibration"]) == ("given", 5.0, None)


def test_a_profile_that_ends_soon_is_told_by_health_which_stays_well(tmp_path):
    made = profile(made=datetime.now(timezone.utc) - timedelta(days=10), days=20)
    write(tmp_path / "state" / "profiles", made)
    with running(tmp_path / "state") as daemon:
        status = daemon.until(lambda status: status["calibration"]["profile_id"])
        code, analysis = analysis_health(daemon)
        assert (code, analysis["ok"]) == (200, True)
        assert status["calibration"]["notice"] in analysis["message"]
        assert made.id in analysis["message"] and "expires in 9 days" in analysis["message"]


def test_another_microscope_of_the_same_size_gets_its_own_profile(tmp_path):
    first, second = profile(8.0, microscope="first"), profile(6.0, microscope="second")
    for made in (first, second):
        write(tmp_path / "state" / "profiles", made)
    lost = CameraLostError("unplugged")
    swapped = []

    def unplug(_sequence):
        swapped.append(True)
        raise lost

    def identity(self):
        return "second" if swapped else "first"

    with running(tmp_path / "state", [30, unplug], [], identity=property(identity)) as daemon:
        daemon.until(lambda status: status["calibration"]["profile_id"] == first.id)
        status = daemon.until(lambda status: status["calibration"]["profile_id"] == second.id)
        assert status["camera_reconnects"] == 1
        eventually(lambda: daemon.get("/api/measurement").json()["calibration"] == second.id)


def test_without_a_camera_the_state_says_so(tmp_path):
    with running(tmp_path, [CameraLostError("unplugged")] * 50) as daemon:
        status = daemon.until(lambda status: status["camera"]["state"] == "absent")
        assert status["calibration"]["why"] == calibrating.NO_CAMERA
