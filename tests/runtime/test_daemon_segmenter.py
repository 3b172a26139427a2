"""Which segmenter a running daemon uses, and that neither a broken bundle nor a failing backend costs a result or a capture."""

import pytest
import structlog

from runtime.analysis.fallback import INSTEAD, STAY_AFTER
from runtime.bundles.reader import FACTORY, read_bundle
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.workers import measuring
from tests.runtime.bundle_samples import MODEL, write_sample
from tests.runtime.running_daemon import running

CLASSICAL = "classical/1"


@pytest.fixture
def bundle(tmp_path):
    return write_sample(tmp_path / "dark")


def with_bundle(tmp_path):
    return {"analysis.bundle": tmp_path / "dark"}


def health_of_the_analysis(daemon):
    answer = daemon.get("/health")
    return answer.status_code, next(part for part in answer.json()["parts"] if part["name"] == "analysis")


def test_live_results_and_captures_come_from_the_bundle_and_captures_are_seen_mirrored_too(tmp_path, bundle, monkeypatch):
    seen = []
    infer = OnnxBackend._infer
    monkeypatch.setattr(OnnxBackend, "_infer", lambda self, inputs: seen.append(self) or infer(self, inputs))
    with running(tmp_path / "state", settings=with_bundle(tmp_path)) as daemon, daemon.client() as client:
        status = daemon.until(lambda status: status["results"])
        assert status["segmenter"] == {"live": bundle.id, "captures": f"{bundle.id}&{CLASSICAL}", "problem": None}
        assert daemon.get("/api/measurement").json()["models"] == {"segmenter": bundle.id}
        row = client.post("/api/captures").json()
        assert client.get(f"/api/captures/{row['id']}").json()["measurement"]["models"] == {"segmenter": f"{bundle.id}&{CLASSICAL}"}
        assert health_of_the_analysis(daemon)[1]["message"] == "measuring"
        assert client.get("/metrics").text.count("trichoscope_segmenter_fallen_back{") == 2
    backends = set(seen)
    assert len(backends) == 2  # each thread has its own
    # one to try it out, and a capture with its three mirror images, each at two sizes because the picture is small
    assert 1 + 2 * 4 in {seen.count(backend) for backend in backends}
    assert not any(backend.active for backend in backends)


def test_a_broken_bundle_is_told_by_log_status_and_health_while_everything_works(tmp_path, bundle):
    (tmp_path / "dark" / MODEL).write_bytes(b"damaged")
    with structlog.testing.capture_logs() as logs, running(tmp_path / "state", settings=with_bundle(tmp_path)) as daemon:
        status = daemon.until(lambda status: status["results"])
        factory = read_bundle(FACTORY).id
        assert status["segmenter"] == {"live": factory, "captures": f"{factory}&{CLASSICAL}", "problem": None}
        problem = status["models"]["notice"]
        assert problem.startswith(f"The factory's bundle serves: {tmp_path / 'dark' / MODEL}")
        assert (status["models"]["source"], status["models"]["bundle"]) == ("factory", factory)
        assert status["segmenter_failures"] == 0
        code, analysis = health_of_the_analysis(daemon)
        assert (code, analysis["ok"]) == (200, True)
        assert problem in analysis["message"]
        with daemon.client() as client:
            assert client.post("/api/captures").status_code == 201
            assert 'trichoscope_segmenter_fallen_back{use="live"} 0.0' in client.get("/metrics").text
    assert [line["notice"] for line in logs if line["event"] == "about the installed bundles"] == [problem]


def test_the_classical_segmenter_can_be_chosen(tmp_path):
    with running(tmp_path / "state", settings={"analysis.segmenter": "classical", "analysis.bundle": tmp_path / "absent"}) as daemon:
        status = daemon.until(lambda status: status["results"])
    assert status["segmenter"] == {"live": CLASSICAL, "captures": CLASSICAL, "problem": None}


def test_a_backend_that_fails_costs_neither_results_nor_captures(tmp_path, bundle, monkeypatch):
    infer = OnnxBackend._infer
    broken = []

    def failing(self, inputs):
        if broken:
            raise InferenceError("no memory for the network")
        return infer(self, inputs)

    monkeypatch.setattr(OnnxBackend, "_infer", failing)
    with running(tmp_path / "state", settings=with_bundle(tmp_path)) as daemon, daemon.client() as client:
        daemon.until(lambda status: status["results"])
        broken.append(True)
        row = client.post("/api/captures").json()
        assert client.get(f"/api/captures/{row['id']}").json()["measurement"]["models"] == {"segmenter": CLASSICAL}
        status = daemon.until(lambda status: status["segmenter"]["problem"])
        assert "no memory for the network" in status["segmenter"]["problem"]
        assert status["segmenter"]["live"] == CLASSICAL
        assert status["segmenter_failures"] == STAY_AFTER + 1
        daemon.until(lambda later: later["results"] > status["results"])
        assert health_of_the_analysis(daemon)[0] == 200
        assert client.get("/metrics").text.count("trichoscope_results_failed_total 0.0") == 1


def test_captures_alone_that_fall_back_are_told_as_such(tmp_path, bundle, monkeypatch):
    infer = OnnxBackend._infer
    measure = measuring.FrameMeasurer.__call__
    failing = set()

    def infer_or_fail(self, inputs):
        if self in failing:
            raise InferenceError("no memory for the network")
        return infer(self, inputs)

    def mark_the_captures_backend(self, frame):
        if self._paper:
            segmenter = self._instruments.now.segmenter
            failing.update({segmenter._learned._learned._backend} if segmenter._learned else ())
        return measure(self, frame)

    monkeypatch.setattr(OnnxBackend, "_infer", infer_or_fail)
    monkeypatch.setattr(measuring.FrameMeasurer, "__call__", mark_the_captures_backend)
    with running(tmp_path / "state", settings=with_bundle(tmp_path)) as daemon, daemon.client() as client:
        daemon.until(lambda status: status["results"])
        for _ in range(STAY_AFTER):
            assert client.post("/api/captures").status_code == 201
        segmenter = daemon.status()["segmenter"]
        assert segmenter["problem"].startswith(f"for captures, {INSTEAD}")
        assert (segmenter["live"], segmenter["captures"]) == (bundle.id, CLASSICAL)
