"""What the API says of the use of the kiosk, of the installed bundles, and of what runs the networks."""

import json
import os

import pytest

from runtime import daemon as daemon_module
from runtime.bundles.settings import ModelsSettings
from runtime.bundles.trial import ModelStore
from runtime.inference import choosing
from runtime.inference.tensorrt.serving import RestartPolicy
from runtime.inference.tensorrt.sources import engine_source
from runtime.intended_use.declaration import FILE, declare, withdraw
from runtime.intended_use.text import packaged_text
from tests.eventually import eventually
from tests.runtime.bundle_samples import write_sample
from tests.runtime.graded_bundle_samples import write_graded
from tests.runtime.running_daemon import running
from tests.runtime.tensorrt_standins import built, command, dark

BUNDLE = {"analysis.segmenter": "classical"}


def test_the_use_in_force_follows_the_declaration_while_the_daemon_runs(tmp_path):
    with running(tmp_path / "state", settings=BUNDLE | {"use.profile": "clinical"}) as daemon:
        found = daemon.get("/api/use").json()
        assert found["profile"] == "wellness"
        assert "trichoscope use declare" in found["notice"]
        assert found["declared"] is None
        assert found["words"]["severity"] == {"name": "fullness of hair", "grades": ["full", "a little thinner", "thinner", "sparse"]}
        assert set(found["roles"]) == {"segmenter", "teacher", "refiner", "severity", "conditions"}
        declare(tmp_path / "state", packaged_text(), "Ida Meyer")
        found = daemon.get("/api/use").json()
        assert (found["profile"], found["notice"], found["declared"]["operator"]) == ("clinical", None, "Ida Meyer")
        assert found["words"]["severity"]["name"] == "alopecia severity"
        assert {"forecast", "stage"} <= set(found["roles"])
        (tmp_path / "state" / FILE).write_text("{}")
        found = daemon.get("/api/use").json()
        assert (found["profile"], found["declared"]) == ("wellness", None)
        withdraw(tmp_path / "state", "Ida Meyer")
        assert daemon.get("/api/use").json()["profile"] == "wellness"
        assert "/api/use" in daemon.get("/api/openapi.json").json()["paths"]


def test_the_declared_use_decides_which_roles_grade(tmp_path):
    write_graded(tmp_path / "graded", severity=3, conditions=(1, 2, 3))
    with running(tmp_path / "state", settings={"analysis.bundle": tmp_path / "graded"}) as daemon, daemon.client() as client:
        status = daemon.until(lambda status: status["results"])
        assert status["models"]["source"] == "configured"
        row = client.post("/api/captures").json()
        m = client.get(f"/api/captures/{row['id']}").json()["measurement"]
        assert m["models"]["conditions"] == status["models"]["bundle"]
        assert m["conditions"]["erythema"]["severity"] == 3
        assert m["scalp"] is not None
        live = daemon.get("/api/measurement").json()
        assert (live["conditions"], live["scalp"], "severity" in live["models"]) == (None, None, True)
        assert status["inference"] == {"live": None, "captures": None}


def test_a_notice_that_cannot_be_put_away_stays_and_the_answer_says_why(tmp_path, monkeypatch):
    folder = tmp_path / "state" / "models"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({"schema": "trichoscope/models/1", "notice": "The installed bundle was rolled back"}))
    with running(tmp_path / "state", settings={"analysis.bundle": None}) as daemon, daemon.client() as client:
        assert daemon.status()["models"]["notice"] == "The installed bundle was rolled back"
        assert client.delete("/api/models/notice", headers={"Origin": "http://elsewhere.example"}).status_code == 403
        with monkeypatch.context() as patch:
            patch.setattr(ModelStore, "_keep", full_disk)
            answer = client.delete("/api/models/notice")
        assert answer.status_code == 507
        assert (answer.json()["error"], "No space left" in answer.json()["remedy"]) == ("the notice could not be put away", True)
        assert daemon.status()["models"]["notice"] == "The installed bundle was rolled back"
        assert "rolled back" in daemon.get("/health").text
        assert client.delete("/api/models/notice").status_code == 204
        assert daemon.status()["models"]["notice"] is None
        assert client.delete("/api/models/notice").status_code == 204  # by another page
    assert ModelStore(folder, ModelsSettings()).choose().notice is None


def full_disk(self, state):
    raise OSError(28, os.strerror(28))


@pytest.fixture
def with_standins(monkeypatch):
    """TensorRT's worker on the tests' stand-ins, looked after quickly."""
    monkeypatch.setattr(daemon_module, "WorkerCommand", lambda python: command())
    made = choosing.ServingBackend
    quick = RestartPolicy(look_every_s=0.02)
    monkeypatch.setattr(choosing, "ServingBackend", lambda *args, **how: made(*args, **(how | {"policy": quick})))


def test_tensorrt_that_was_asked_for_is_on_the_status_page_and_in_the_health_where_it_fails(tmp_path, with_standins, monkeypatch):
    write_graded(tmp_path / "graded", severity=None, conditions=None)
    settings = {"analysis.bundle": tmp_path / "graded", "inference.backend": "tensorrt", "inference.python": "/usr/bin/python3"}
    with running(tmp_path / "state", settings=settings) as daemon:
        status = daemon.until(lambda status: status["results"] and status["inference"]["live"]["state"] not in ("starting", "off"))
        live = status["inference"]["live"]
        assert (live["serving"], live["state"], live["restarts"]) == ("onnxruntime", "missing", 0)
        assert "trichoscope models build" in live["message"]
        assert status["inference"]["captures"] is None  # they go to ONNX Runtime, whatever the live picture gets
        assert "inference" not in analysis_health(daemon)  # it is built when somebody wants it
        assert status["segmenter"]["problem"] is None


@pytest.mark.parametrize(("function", "state", "serving"), [("dark", "serving", "tensorrt"), ("wrong dark", "refused", "onnxruntime")])
def test_an_engine_that_serves_and_one_whose_numbers_are_wrong_are_on_the_status_page(tmp_path, with_standins, function, state, serving):
    bundle = write_sample(tmp_path / "dark", model=dark(function))
    source = engine_source(bundle, "segmenter")
    built(tmp_path / "state" / "engines", source.model, source.options)
    settings = {"analysis.bundle": tmp_path / "dark", "inference.backend": "tensorrt", "inference.python": "/usr/bin/python3"}
    with running(tmp_path / "state", settings=settings) as daemon:
        status = daemon.until(lambda status: status["results"] and status["inference"]["live"]["state"] == state)
        live = status["inference"]["live"]
        assert live["serving"] == serving
        assert status["segmenter"]["problem"] is None
        assert (f"inference: {live['message']}" in analysis_health(daemon)) == (state == "refused")
        results = status["results"]
        daemon.until(lambda status: status["results"] > results + 3)
        assert daemon.status()["segmenter"]["live"] == bundle.id


def test_tensorrt_that_is_absent_or_has_no_network_of_the_precision_is_told_by_the_health(tmp_path, monkeypatch):
    write_graded(tmp_path / "graded", severity=None, conditions=None)
    settings = {"analysis.bundle": tmp_path / "graded", "inference.backend": "tensorrt"}
    with running(tmp_path / "state", settings=settings | {"inference.python": "/nowhere/python3"}) as daemon:
        status = daemon.until(lambda status: status["results"] and status["inference"]["live"]["state"] in ("absent", "failing"))
        said = status["inference"]["live"]["message"]
        assert f"inference: {said}" in eventually(lambda: analysis_health(daemon))
        assert daemon.get("/health").status_code == 200  # ONNX Runtime serves
    with running(tmp_path / "other", settings=settings | {"inference.precision": "int8"}) as daemon:
        status = daemon.until(lambda status: status["results"])
        assert (status["inference"]["live"]["serving"], status["inference"]["live"]["state"]) == ("onnxruntime", "refused")
        assert "no int8-symmetric network" in status["inference"]["live"]["message"]
        assert "no int8-symmetric network" in analysis_health(daemon)
        assert status["segmenter"]["live"].startswith("graded/1+")


def analysis_health(daemon):
    return next(part for part in daemon.get("/health").json()["parts"] if part["name"] == "analysis")["message"]
