"""The HTTP API of a whole running daemon."""

import io
import threading
import time

import jsonschema
import numpy as np
import pytest
from PIL import Image

from device.errors import CameraEndedError, CameraNotFoundError
from device.frame import Frame
from runtime import pipeline
from runtime.analysis.measurement import Measurement
from runtime.errors import StoreFullError
from runtime.store.captures import CaptureStore
from runtime.workers import measuring
from tests.eventually import DEADLINE_S
from tests.runtime.running_daemon import running
from tests.scripted_camera import HEIGHT, PLAIN_JPEG, WIDTH, at_open


@pytest.fixture
def daemon(tmp_path):
    with running(tmp_path) as run:
        run.until(lambda status: status["results"])
        yield run


@pytest.fixture
def daemon_without_camera(tmp_path):
    with running(tmp_path, [at_open(CameraNotFoundError("microscope 7 is not there"))]) as run:
        yield run


def test_the_status_is_of_the_whole_daemon(daemon):
    status = daemon.status()
    assert status["camera"]["state"] == "streaming"
    assert (status["camera"]["width"], status["camera"]["height"]) == (WIDTH, HEIGHT)
    assert status["frames"] >= status["results"] >= 1
    assert status["store_problem"] is None


def test_the_latest_measurement_fits_the_schema_that_is_served(daemon):
    answer, schema = daemon.get("/api/measurement"), daemon.get("/api/schema").json()
    assert answer.status_code == 200
    jsonschema.validate(answer.json(), schema, cls=jsonschema.Draft202012Validator)
    assert answer.json()["width_px"] == WIDTH
    assert int(answer.headers["x-sequence"]) >= 1
    assert float(answer.headers["x-age-ms"]) >= 0


def test_without_a_camera_everything_else_is_served(daemon_without_camera):
    daemon = daemon_without_camera
    daemon.until(lambda status: status["camera"]["state"] == "absent")
    measurement = daemon.get("/api/measurement")
    assert measurement.status_code == 404
    assert "microscope 7 is not there" in measurement.json()["remedy"]
    with daemon.client() as client:
        capture = client.post("/api/captures", json={})
        assert capture.status_code == 503
        assert "microscope 7" in capture.json()["remedy"]
        assert client.get("/").status_code == 200
        assert client.get("/api/captures").json() == {"captures": [], "next_before": None}
        health = client.get("/health")
    assert health.status_code == 200  # a missing camera is a state
    assert {part["name"]: part["state"] for part in health.json()["parts"]}["capture"] == "absent"


def test_a_capture_is_kept_listed_and_given_back(daemon):
    with daemon.client() as client:
        kept = client.post("/api/captures", json={"site": "mid"})
        assert kept.status_code == 201
        row = kept.json()
        assert row.pop("passed_over") is None
        assert (row["width_px"], row["height_px"], row["site"]) == (WIDTH, HEIGHT, "mid")
        assert client.get("/api/captures").json()["captures"] == [row]
        whole = client.get(f"/api/captures/{row['id']}").json()
        measurement = Measurement.model_validate(whole.pop("measurement"))
        assert whole == row
        assert measurement.paper is not None  # the captured path adds ScalpVision's features
        picture = client.get(f"/api/captures/{row['id']}/picture")
        assert picture.content == PLAIN_JPEG  # the camera's own bytes
        assert picture.headers["content-type"] == "image/jpeg"
        assert "immutable" in picture.headers["cache-control"]
        thumbnail = client.get(f"/api/captures/{row['id']}/thumbnail")
        assert Image.open(io.BytesIO(thumbnail.content)).format == "JPEG"
        assert daemon.status()["captures_kept"] == 1


def test_a_capture_of_a_camera_without_jpeg_is_kept_without_loss(tmp_path):
    with running(tmp_path, send_jpeg=False) as daemon, daemon.client() as client:
        daemon.until(lambda status: status["frames"])
        row = client.post("/api/captures").json()
        picture = Image.open(io.BytesIO(client.get(f"/api/captures/{row['id']}/picture").content))
        assert picture.format == "PNG"
        assert picture.getpixel((0, 0)) == (128, 128, 128)


def test_pixels_that_are_not_those_of_the_preview_are_kept_themselves(tmp_path):
    def replayed_png(sequence):
        pixels = np.full((HEIGHT, WIDTH, 3), 77, np.uint8)
        return Frame(sequence=sequence, captured_ns=time.monotonic_ns(), source="a.png", image=pixels, jpeg=PLAIN_JPEG)

    with running(tmp_path, [replayed_png, CameraEndedError("the last picture was shown")]) as daemon, daemon.client() as client:
        daemon.until(lambda status: status["camera"]["state"] == "ended")
        row = client.post("/api/captures").json()
        picture = Image.open(io.BytesIO(client.get(f"/api/captures/{row['id']}/picture").content))
        assert picture.getpixel((0, 0)) == (77, 77, 77)


def test_the_list_is_read_page_by_page(daemon):
    with daemon.client() as client:
        ids = [client.post("/api/captures", json={}).json()["id"] for _ in range(5)][::-1]
        first = client.get("/api/captures", params={"limit": 3}).json()
        assert [row["id"] for row in first["captures"]] == ids[:3]
        second = client.get("/api/captures", params={"limit": 3, "before": first["next_before"]}).json()
        assert [row["id"] for row in second["captures"]] == ids[3:]
        assert second["next_before"] is None


def test_a_full_queue_answers_409_and_keeps_what_it_took(daemon, monkeypatch):
    go_on, begun, analyse = threading.Event(), threading.Event(), pipeline.analyse

    def slow(image, **options):
        if options["paper"]:
            begun.set()
            assert go_on.wait(DEADLINE_S)
        return analyse(image, **options)

    monkeypatch.setattr(measuring, "analyse", slow)
    answers = []

    def capture():
        with daemon.client() as client:
            answers.append(client.post("/api/captures", json={}).status_code)

    people = [threading.Thread(target=capture) for _ in range(5)]  # one in work, four in the queue
    try:
        people[0].start()
        assert begun.wait(DEADLINE_S)
        for person in people[1:]:
            person.start()
        daemon.until(lambda status: status["captures_waiting"] == 4)
        with daemon.client() as client:
            refused = client.post("/api/captures", json={})
        assert refused.status_code == 409
        assert refused.json() == {"error": "4 captures are still being kept", "remedy": "wait a moment and capture again"}
    finally:
        go_on.set()
        for person in people:
            person.join(DEADLINE_S)
    assert answers == [201] * 5
    assert len(daemon.get("/api/captures").json()["captures"]) == 5


def test_a_full_disk_is_told_and_shown_in_health(tmp_path, monkeypatch):
    def full(*_args):
        raise StoreFullError("/state: 3 MB free on this disk: free some space there")

    monkeypatch.setattr(CaptureStore, "add", full)
    monkeypatch.setattr(CaptureStore, "probe", full)
    with running(tmp_path) as daemon, daemon.client() as client:
        daemon.until(lambda status: status["frames"] and status["store_problem"])
        capture = client.post("/api/captures", json={})
        assert capture.status_code == 507
        assert capture.json()["remedy"] == "free some space there"
        health = client.get("/health")
        assert health.status_code == 503
        store = next(part for part in health.json()["parts"] if part["name"] == "store")
        assert (store["ok"], store["state"]) == (False, "failing")
        assert "3 MB free" in store["message"]


def test_a_capture_that_does_not_exist_is_404(daemon):
    for where in ("/api/captures/99", "/api/captures/99/picture", "/api/captures/99/thumbnail"):
        answer = daemon.get(where)
        assert answer.status_code == 404, where
        assert "99" in answer.json()["error"]
        assert answer.json()["remedy"]


def test_a_picture_deleted_by_hand_is_410(daemon, tmp_path):
    with daemon.client() as client:
        row = client.post("/api/captures", json={}).json()
        for file in (tmp_path / "captures").glob("*.jpg"):
            file.unlink()
        assert client.get(f"/api/captures/{row['id']}/picture").status_code == 410
        assert client.get(f"/api/captures/{row['id']}").status_code == 200


BAD_REQUESTS = (
    ("GET", "/api/captures/0", None, 422),
    ("GET", "/api/captures/abc", None, 422),
    ("GET", f"/api/captures/{10**30}", None, 422),
    ("GET", "/api/captures?limit=0", None, 422),
    ("GET", "/api/captures?limit=100000", None, 422),
    ("GET", "/api/captures?before=-1", None, 422),
    ("POST", "/api/captures", b"{", 422),
    ("POST", "/api/captures", b'{"site": 7}', 422),
    ("POST", "/api/captures", b'{"site": ""}', 422),
    ("POST", "/api/captures", b'{"site": "a\\u0000b"}', 422),
    ("POST", "/api/captures", b'{"place": "mid"}', 422),
    ("POST", "/api/captures", b'{"site": "' + b"x" * 100 + b'"}', 422),
    ("POST", "/api/captures", b"x" * 100_000, 413),
    ("POST", "/api/captures", [b"x" * 10_000, b"x" * 10_000], 413),  # in pieces, its length not stated
    ("DELETE", "/api/captures/1", None, 405),
    ("GET", "/nothing/here", None, 404),
    ("GET", "/static/../daemon.py", None, 404),
    ("GET", "/static/%2e%2e/daemon.py", None, 404),
    ("GET", "/static/__init__.py", None, 404),
    ("GET", "/docs", None, 404),
)


def test_every_error_is_json_with_a_remedy(daemon):
    with daemon.client() as client:
        for method, path, body, status in BAD_REQUESTS:
            answer = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == status, (method, path, body)
            assert set(answer.json()) == {"error", "remedy"}
            assert answer.json()["error"]
            assert answer.json()["remedy"]


def test_the_page_and_its_files_are_served_with_the_strict_policy(daemon):
    with daemon.client() as client:
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        script = client.get("/static/app.js")
        assert "javascript" in script.headers["content-type"]
        for answer in (page, script):
            assert answer.status_code == 200
            assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_api_describes_itself(daemon):
    description = daemon.get("/api/openapi.json").json()
    wanted = {"/api/status", "/api/measurement", "/api/captures", "/api/captures/{capture_id}", "/api/schema", "/metrics", "/health"}
    assert wanted <= set(description["paths"])
    assert "CaptureSummary" in description["components"]["schemas"]


def test_the_numbers_are_there_for_prometheus(daemon):
    answer = daemon.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    numbers = {line.split(" ")[0]: float(line.rsplit(" ", 1)[1]) for line in answer.text.splitlines() if not line.startswith("#")}
    assert numbers["trichoscope_frames_total"] >= 1
    assert numbers["trichoscope_results_total"] >= 1
    assert numbers["trichoscope_results_failed_total"] == 0
    assert numbers['trichoscope_part_ok{part="capture"}'] == 1
    assert numbers["process_resident_memory_bytes"] > 0


def test_a_foreign_page_may_not_capture(daemon):
    with daemon.client() as client:
        assert client.post("/api/captures", json={}, headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.post("/api/captures", json={}, headers={"Host": f"evil.example:{daemon.port}"}).status_code == 421
        assert client.get("/api/captures").json()["captures"] == []
