"""The handpiece in a running daemon: its button captures, its range gives the scale, and whatever is wrong with it is only told."""

import pytest

from device.camera import CameraInfo
from device.simulated.handpiece import HandpieceSimulator
from tests.eventually import eventually
from tests.runtime.profile_samples import profile, write
from tests.runtime.running_daemon import running
from tests.scripted_camera import FPS, HEIGHT, WIDTH

CONTROLS = {"exposure": 156, "white_balance_auto": False}


@pytest.fixture
def simulator(tmp_path):
    with HandpieceSimulator(link=tmp_path / "handpiece") as simulator:
        simulator.do("contact", 0)
        yield simulator


def with_handpiece(simulator, folder, **options):
    settings = {"handpiece.uri": f"pty:{simulator.path}"} | options.pop("settings", {})
    return running(folder, settings=settings, **options)


def ready(status):
    return status["handpiece"]["state"] == "ready" and status["handpiece"]["distance_mm"] and status["results"]


def numbers(daemon):
    text = daemon.get("/metrics").text
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")}


def test_without_one_the_state_is_none(tmp_path):
    with running(tmp_path) as daemon:
        assert daemon.status()["handpiece"]["state"] == "none"
        daemon.until(lambda status: status["camera"]["state"] == "streaming")
        found = numbers(daemon)
        assert "trichoscope_handpiece_ready" not in found
        assert found['trichoscope_camera_state{state="streaming"}'] == 1 and found['trichoscope_camera_state{state="frozen"}'] == 0


def test_its_button_captures_and_the_cameras_controls_are_kept(simulator, tmp_path):
    def info(self):
        return CameraInfo("scripted", str(self.uri), WIDTH, HEIGHT, FPS, "scripted", CONTROLS)

    with with_handpiece(simulator, tmp_path / "state", _info=info) as daemon, daemon.client() as client:
        daemon.until(ready)
        simulator.do("press")
        row = eventually(lambda: client.get("/api/captures").json()["captures"])[0]
        assert row["site"] is None
        status = daemon.status()
        assert (status["captures_kept"], status["handpiece"]["press_problem"]) == (1, None)
        figures = numbers(daemon)
        assert figures["trichoscope_handpiece_ready"] == figures["trichoscope_handpiece_presses_total"] == 1
        assert figures["trichoscope_handpiece_readings_total"] > 0 and figures["trichoscope_handpiece_distance_mm"] > 0
    sidecar = next((tmp_path / "state" / "captures").glob("*.json")).read_text()
    assert '"controls":{"exposure":156,"white_balance_auto":false}' in sidecar


def test_its_range_gives_the_scale_where_nothing_better_does(simulator, tmp_path):
    made = profile(8.0, hood=None, curve=True)
    write(tmp_path / "state" / "profiles", made)
    with with_handpiece(simulator, tmp_path / "state", settings={"handpiece.range_offset_mm": 4.0}) as daemon, daemon.client() as client:
        daemon.until(ready)

        def measured():
            found = client.get("/api/measurement").json()
            return found["scale"]["source"] == "distance" and found

        used = eventually(measured)
        distance = used["scale_reading"]["distance_mm"]
        assert distance == pytest.approx(simulator.distance_mm + 4.0, abs=2.0)
        assert used["scale"]["um_per_px"] == pytest.approx(distance * 8.0 / 12, rel=1e-6)
        kept = client.get(f"/api/captures/{client.post('/api/captures').json()['id']}").json()["measurement"]
        assert kept["scale"]["source"] == "distance"


def test_a_wrong_protocol_version_is_a_state_and_the_daemon_is_well(simulator, tmp_path):
    simulator.do("version", 9)
    with with_handpiece(simulator, tmp_path / "state") as daemon:
        status = daemon.until(lambda status: status["handpiece"]["state"] == "wrong-version" and status["results"])
        assert "9" in status["handpiece"]["message"]
        assert daemon.get("/health").status_code == 200


def test_absent_it_is_a_state_and_comes_by_itself(tmp_path):
    link = tmp_path / "handpiece"
    with running(tmp_path / "state", settings={"handpiece.uri": f"pty:{link}"}) as daemon:
        status = daemon.until(lambda status: status["handpiece"]["state"] == "absent" and status["results"])
        assert str(link) in status["handpiece"]["message"]
        assert daemon.get("/health").status_code == 200
        with HandpieceSimulator(link=link) as simulator:
            simulator.do("contact", 0)
            daemon.until(ready)
        assert daemon.until(lambda status: status["handpiece"]["state"] != "ready")["handpiece"]["distance_mm"] is None


def test_a_press_without_a_picture_is_told(simulator, tmp_path):
    from device.errors import CameraNotFoundError
    from tests.scripted_camera import at_open

    settings = {"handpiece.uri": f"pty:{simulator.path}"}
    with running(tmp_path / "state", [at_open(CameraNotFoundError("microscope 7 is not there"))], settings=settings) as daemon:
        daemon.until(lambda status: status["handpiece"]["state"] == "ready")
        simulator.do("press")
        status = daemon.until(lambda status: status["handpiece"]["press_problem"])
        assert "no picture to keep" in status["handpiece"]["press_problem"]
        assert status["captures_kept"] == 0


def test_a_bare_range_sensor_serves_too(tmp_path):
    with HandpieceSimulator(speaks="tofsense", link=tmp_path / "sensor") as simulator:
        simulator.do("contact", 0)
        with running(tmp_path / "state", settings={"handpiece.uri": f"pty:{simulator.path}?driver=tofsense"}) as daemon:
            assert daemon.until(ready)["handpiece"]["temperature_c"] is None


def test_a_port_that_speaks_another_protocol_is_a_state_and_the_daemon_is_well(tmp_path):
    with (
        HandpieceSimulator(speaks="tofsense", link=tmp_path / "sensor") as simulator,
        with_handpiece(simulator, tmp_path / "state") as daemon,
    ):
        status = daemon.until(lambda status: status["handpiece"]["state"] == "wrong-protocol" and status["results"])
        assert "TOFSense" in status["handpiece"]["message"]
        assert daemon.get("/health").status_code == 200
