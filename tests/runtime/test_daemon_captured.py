"""Which mask a running daemon's results stand on, and that it tells where a better one was passed over."""

import functools
import threading

import numpy as np
import pytest

from runtime.refining import better
from runtime.refining.captured import CLOSED
from runtime.refining.prompts import Prompts
from runtime.workers import models
from tests.eventually import eventually
from tests.runtime.better_samples import refiner_role, teacher_role, write_better
from tests.runtime.refiner_samples import near_points_is_hair
from tests.runtime.running_daemon import running


@pytest.fixture
def unhurried(monkeypatch):
    """A busy machine may be slow; what is late is another test's subject."""
    monkeypatch.setattr(models, "make_segmenter", functools.partial(models.make_segmenter, deadline_s=30.0))


def with_bundle(tmp_path):
    return {"analysis.bundle": tmp_path / "better"}


def kept(client):
    row = client.post("/api/captures").json()
    return row, client.get(f"/api/captures/{row['id']}").json()["measurement"]


def test_a_capture_stands_on_the_teachers_mask_and_the_live_picture_on_its_own(tmp_path, unhurried):
    bundle = write_better(tmp_path / "better", teacher=teacher_role())
    with running(tmp_path / "state", settings=with_bundle(tmp_path)) as daemon, daemon.client() as client:
        daemon.until(lambda status: status["results"])
        live = daemon.get("/api/measurement").json()
        assert (live["segmentation"]["mask"], live["segmentation"]["passed_over"]) == ("live", None)
        assert live["models"] == {"segmenter": bundle.id}
        row, measurement = kept(client)
        assert (measurement["segmentation"]["mask"], measurement["segmentation"]["passed_over"]) == ("teacher", None)
        assert measurement["models"] == {"segmenter": f"{bundle.id}&classical/1", "teacher": bundle.id}
        assert row["passed_over"] is None
        assert daemon.status()["segmenter"]["problem"] is None
    assert not [thread for thread in threading.enumerate() if thread.name == "better masks"]


def test_a_refiner_that_is_passed_over_is_told_with_the_capture(tmp_path, unhurried, monkeypatch):
    somewhere = Prompts(np.array([[20.0, 20.0]]), np.ones(1, bool))  # the picture is bald: the refiner would not be asked
    monkeypatch.setattr(better, "prompts_as_learnt", lambda *_, **__: somewhere)
    write_better(tmp_path / "better", teacher=teacher_role(), refiner=refiner_role(), refining=near_points_is_hair(iou=(0.9, 0.2, 0.4)))
    with running(tmp_path / "state", settings=with_bundle(tmp_path)) as daemon, daemon.client() as client:
        daemon.until(lambda status: status["results"])
        row, measurement = kept(client)
        assert measurement["segmentation"]["mask"] == "teacher"
        assert row["passed_over"] == measurement["segmentation"]["passed_over"]
        assert row["passed_over"].startswith("the refiner: ")
        assert "refiner" not in measurement["models"]


def test_a_teacher_in_work_neither_holds_the_daemons_end_up_nor_costs_the_capture(tmp_path, unhurried, monkeypatch):
    write_better(tmp_path / "better", teacher=teacher_role())
    begun, go_on = threading.Event(), threading.Event()
    taught = better.BetterMasks._taught

    def held(self, image, stopped):
        begun.set()
        assert go_on.wait(30)
        return taught(self, image, stopped)

    monkeypatch.setattr(better.BetterMasks, "_taught", held)
    answers = []
    with running(tmp_path / "state", settings=with_bundle(tmp_path)) as daemon:
        daemon.until(lambda status: status["results"])

        def press():
            with daemon.client() as client:
                answers.append(client.post("/api/captures"))

        caller = threading.Thread(target=press)
        caller.start()
        assert begun.wait(30)
        daemon.daemon.stop()
        caller.join(30)
        eventually(lambda: not caller.is_alive())
    go_on.set()
    monkeypatch.undo()
    with running(tmp_path / "state", settings=with_bundle(tmp_path)) as daemon, daemon.client() as client:
        (row,) = client.get("/api/captures").json()["captures"]
        trust = client.get(f"/api/captures/{row['id']}").json()["measurement"]["segmentation"]
    assert (trust["mask"], trust["passed_over"]) == ("live", CLOSED)
