"""Which bundle serves, while threads measure: exchanges between frames, trials, failures at work, on the real store of signed bundles."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time

import cv2
import httpx
import pytest

from runtime import daemon as daemon_module
from runtime.bundles.reader import read_bundle
from runtime.bundles.state import Trial, read_state
from runtime.bundles.trial import ModelStore
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.workers import models
from runtime.workers.models import ModelKeeper
from tests.eventually import DEADLINE_S, eventually
from tests.runtime.drawn import skin
from tests.runtime.keeper_samples import LOOK_S, PICTURE, QUIET_S, ROLES, Device, looked, measured, release_of
from tests.runtime.running_daemon import running
from tests.runtime.signing_samples import LINE, SETTINGS, signed, unpacked


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    """A small factory bundle: the real one takes longer to read."""
    return unpacked(tmp_path_factory.mktemp("factory") / "factory", name="plain")


@pytest.fixture
def device(tmp_path, factory, monkeypatch):
    monkeypatch.setattr(models, "FACTORY", factory)
    return Device(tmp_path, factory)


def test_another_bundle_is_taken_over_between_frames_once_nobody_works(device):
    device.served(1)
    device.idle_s = 5.0
    with device.started() as keeper:
        assert release_of(measured(keeper.live)) == 1
        device.activate(2)
        eventually(lambda: keeper.state.waiting)
        looked(keeper)
        assert (release_of(measured(keeper.live)), release_of(measured(keeper.captures))) == (1, 1)
        assert keeper.state.bundle.startswith("dark/1+")
        device.idle_s = QUIET_S
        eventually(lambda: keeper.state.bundle.startswith("dark/2+"))
        assert not keeper.state.waiting
        eventually(lambda: release_of(measured(keeper.live)) == 2)
        eventually(lambda: release_of(measured(keeper.captures)) == 2)


def test_work_that_begins_while_another_bundle_is_made_ready_puts_the_exchange_off(device):
    device.served(1)

    def on_progress():
        device.idle_s = 0.0

    with device.started(on_progress=on_progress) as keeper:
        device.activate(2)
        eventually(lambda: device.idle_s == 0.0)
        eventually(lambda: device.state.trial.starts == 1)
        for _ in range(20):
            assert release_of(measured(keeper.captures)) == 1
            time.sleep(LOOK_S)
        assert keeper.state.waiting
        device.idle_s = QUIET_S
        eventually(lambda: release_of(measured(keeper.captures)) == 2)


def test_a_notice_that_was_read_while_another_bundle_was_made_ready_does_not_come_back(device):
    device.served(1)
    slot = device.send(2)
    store = device.store()
    with device.started(on_progress=lambda: setattr(device, "idle_s", 0.0)) as keeper:
        with store._changing() as state:  # as after a roll-back, and another bundle on trial
            trial = Trial(slot=slot, name="dark", release=1)
            store._commit(state.model_copy(update={"active": slot, "trial": trial, "notice": "rolled back", "change": state.change + 1}))
        eventually(lambda: device.idle_s == 0.0)
        keeper._tell(notice="rolled back")
        keeper.dismiss_notice()
        device.idle_s = QUIET_S
        eventually(lambda: keeper.state.bundle.startswith("dark/2+"))
        assert keeper.state.notice is None


def test_a_frame_in_work_is_finished_with_what_it_was_begun_with(device):
    device.served(1)
    with device.started() as keeper:
        with keeper.live.taken() as instruments:
            device.activate(2)
            eventually(lambda: keeper.state.bundle.startswith("dark/2+"))
            assert keeper.live.now is instruments
            instruments.segmenter.segment(PICTURE)
            assert release_of(instruments.segmenter.name) == 1
        assert keeper.live.now is not instruments
        assert instruments.segmenter.backend is None  # closed
        assert release_of(measured(keeper.live)) == 2


def test_twenty_exchanges_lose_no_result_and_leave_no_session_behind(device, monkeypatch):
    active, most = set(), []
    activate, deactivate = OnnxBackend._activate, OnnxBackend._deactivate
    monkeypatch.setattr(OnnxBackend, "_activate", lambda self: (activate(self), active.add(self), most.append(len(active)))[0])
    monkeypatch.setattr(OnnxBackend, "_deactivate", lambda self: (active.discard(self), deactivate(self))[1])
    slots = [device.served(1), device.served(2)]
    stopping = threading.Event()
    found = []

    def measure():
        while not stopping.is_set():
            found.append(measured(keeper.live))

    with device.started() as keeper:
        thread = threading.Thread(target=measure)
        thread.start()
        try:
            for exchange in range(20):
                store = device.store()
                with store._changing() as state:  # the older release by turns, which no person may activate
                    store._commit(state.model_copy(update={"active": slots[exchange % 2], "change": state.change + 1}))
                wanted = f"dark/{exchange % 2 + 1}+"
                eventually(lambda wanted=wanted: keeper.state.bundle.startswith(wanted) and not keeper._store.changed())
                eventually(lambda wanted=wanted: found[-1].startswith(wanted))
        finally:
            stopping.set()
            thread.join()
        failures = keeper.live.now.segmenter.failures
        assert len(active) == 2  # nobody captured: those of captures were exchanged all the same
    assert {release_of(name) for name in found} == {1, 2}  # the classical mask served nobody
    assert failures == 0
    assert not active
    assert max(most) <= 5  # two in use, two in the making, and one that finishes its frame


def test_another_profile_of_use_lets_other_roles_load(device):
    device.served(1, severity=2, conditions=(1, 2, 3))
    device.roles = frozenset({"segmenter"})
    with device.started() as keeper:
        assert keeper.live.now.graders._severity is None
        device.roles = ROLES
        eventually(lambda: keeper.live.now.graders._severity is not None and keeper.captures.now.graders._conditions is not None)
        assert keeper.live.now.graders._conditions is None  # too slow for each live frame


def test_a_bundle_that_only_grades_has_hair_found_by_the_factorys(device):
    device.served(1, segmenter=False)
    with device.started() as keeper:
        assert measured(keeper.live).startswith("plain/1+")
        with keeper.captures.taken() as instruments:
            assert instruments.graders.problem is None
        assert keeper.state.bundle.startswith("dark/1+")


def test_where_the_backend_that_was_asked_for_cannot_be_had_onnx_runtime_serves_and_it_is_told(device):
    def backend(bundle):
        def make(model):
            raise InferenceError("it has no int8 network: choose another precision")

        return make

    device.backend = backend
    with device.started() as keeper:
        assert measured(keeper.live).startswith("plain/1+")
        assert keeper.live.now.backend_problem == "it has no int8 network: choose another precision; ONNX Runtime serves"


def test_the_classical_mask_asks_for_no_bundle(device, monkeypatch):
    device.classical = True
    device.activate(1)
    monkeypatch.setattr(ModelStore, "choose", None)
    with device.started() as keeper:
        assert measured(keeper.live) == "classical/1"
        looked(keeper)
        assert keeper.state == models.ModelsState(None, "none", False, None)
    assert device.state.trial.starts == 0


def test_a_bundle_that_breaks_a_library_in_an_unforeseen_way_is_passed_over(device, monkeypatch):
    device.served(1)
    device.activate(2)
    make = models.make_segmenter

    def breaking(source, **how):
        if source.bundle is not None and source.bundle.manifest.release == 2:
            raise MemoryError
        return make(source, **how)

    monkeypatch.setattr(models, "make_segmenter", breaking)
    with device.started() as keeper:
        assert keeper.state.bundle.startswith("dark/1+")
        assert release_of(measured(keeper.live)) == 1
    assert device.state.trial.failures == 1


def test_without_any_bundle_the_classical_mask_serves_with_the_reason(device, tmp_path):
    device.factory = tmp_path / "nowhere"
    with device.started() as keeper:
        assert measured(keeper.live) == "classical/1"
        assert "nowhere: no such bundle" in keeper.live.now.segmenter.problem
        assert keeper.state.source == "none"


# in a whole daemon


@pytest.fixture
def settings(tmp_path):
    return {"models.trusted_keys": [LINE], "models.trial_s": 3600.0}


def test_a_running_daemon_takes_an_activated_bundle_over_after_a_quiet_time_and_loses_nothing(tmp_path, settings, factory, monkeypatch):
    monkeypatch.setattr(daemon_module, "ModelStore", functools.partial(ModelStore, factory=factory))
    monkeypatch.setattr(daemon_module, "ModelKeeper", functools.partial(ModelKeeper, quiet_s=0.6, look_every_s=0.02))
    store = ModelStore(tmp_path / "state" / "models", SETTINGS)
    with running(tmp_path / "state", settings=settings) as daemon, daemon.client() as client:
        first = daemon.until(lambda status: status["results"])
        assert first["models"] == {"bundle": read_bundle(factory).id, "source": "factory", "waiting": False, "notice": None}
        slot, bundle = store.install(signed(tmp_path / "dark"))
        assert client.post("/api/captures").status_code == 201
        store.activate(slot)
        names = []
        while (row := client.post("/api/captures").json()) and len(names) < 5:  # a visit: captures keep coming
            names.append(client.get(f"/api/captures/{row['id']}").json()["measurement"]["models"]["segmenter"])
        assert {name.partition("/")[0] for name in names} == {"plain"}
        assert daemon.status()["models"]["waiting"]
        status = daemon.until(lambda status: status["models"]["source"] == "slot")
        assert status["models"] == {"bundle": bundle.id, "source": "slot", "waiting": False, "notice": None}
        status = daemon.until(lambda status: status["segmenter"]["live"] == bundle.id)
        row = client.post("/api/captures").json()
        assert client.get(f"/api/captures/{row['id']}").json()["measurement"]["models"]["segmenter"].startswith(bundle.id)
        assert status["segmenter_failures"] == 0
        assert "trichoscope_results_failed_total 0.0" in client.get("/metrics").text
        assert read_state(store.folder).trial.starts == 1
    assert read_state(store.folder).trial.starts == 0


@contextlib.contextmanager
def killed_at_the_end(arguments, **environment):
    """A daemon that ends by a signal that no program survives."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **environment})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=DEADLINE_S)


def test_a_daemon_that_is_killed_three_times_within_the_trial_rolls_the_bundle_back_by_itself(tmp_path):
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.jpg"), skin(160, 120))
    (tmp_path / "trichoscope.toml").write_text(f'[store]\nreserve_mb = 0\n[models]\ntrusted_keys = ["{LINE}"]\n')
    store = ModelStore(tmp_path / "state" / "models", SETTINGS)
    slot, bundle = store.install(signed(tmp_path / "dark"))
    store.activate(slot)
    arguments = [sys.executable, "-m", "runtime.cli", "run", "--camera", f"replay:{tmp_path / 'pictures'}", "--port", "0"]
    arguments += ["--state", str(tmp_path / "state"), "--config", str(tmp_path / "trichoscope.toml")]
    with killed_at_the_end(arguments) as process:
        address = process.stdout.readline().split()[1]
        assert httpx.get(f"{address}api/status", timeout=DEADLINE_S).json()["models"]["bundle"] == bundle.id
        assert read_state(store.folder).trial.starts == 1
    for starts in (2, 3):
        with killed_at_the_end(arguments):
            eventually(lambda starts=starts: read_state(store.folder).trial.starts == starts)
    with killed_at_the_end(arguments) as process, httpx.Client(timeout=DEADLINE_S) as client:
        address = process.stdout.readline().split()[1]
        found = client.get(f"{address}api/status").json()["models"]
        assert found["source"] == "factory"
        assert found["notice"].startswith(f"The installed bundle {slot[:12]} was rolled back to the factory's bundle")
        assert client.delete(f"{address}api/models/notice").status_code == 204
        assert client.get(f"{address}api/status").json()["models"]["notice"] is None
    assert (read_state(store.folder).active, read_state(store.folder).notice) == (None, None)
