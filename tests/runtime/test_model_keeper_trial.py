"""The trial of a bundle as its keeper conducts it: what is counted, what is not, and what serves after the third failure."""

import contextlib
import threading
import time

import pytest

from runtime.analysis.fallback import STAY_AFTER
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.workers import models
from tests.eventually import DEADLINE_S, eventually
from tests.runtime.keeper_samples import Device, looked, measured, release_of
from tests.runtime.signing_samples import unpacked


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    """A small factory bundle: the real one takes longer to read."""
    return unpacked(tmp_path_factory.mktemp("factory") / "factory", name="plain")


@pytest.fixture
def device(tmp_path, factory, monkeypatch):
    monkeypatch.setattr(models, "FACTORY", factory)
    return Device(tmp_path, factory)


def test_a_bundle_that_fails_its_golden_check_is_not_served_and_after_three_failures_rolled_back(device):
    device.served(1)
    slot = device.activate(2, spoil=0.1)
    for failures in (1, 2):
        with device.started() as keeper:
            assert keeper.state.bundle.startswith("dark/1+")
            assert "off by 0.1" in keeper.state.notice and "serves instead" in keeper.state.notice
            assert release_of(measured(keeper.live)) == 1
        assert device.state.trial.failures == failures
        assert device.state.active == slot
    with device.started() as keeper:
        assert keeper.state.bundle.startswith("dark/1+")
        assert keeper.state.notice.startswith(f"The installed bundle {slot[:12]} was rolled back")
        assert "it failed 3 times" in keeper.state.notice
        keeper.dismiss_notice()
        assert keeper.state.notice is None
    assert device.state.active != slot
    with device.started() as keeper:
        assert (keeper.state.bundle.partition("+")[0], keeper.state.notice) == ("dark/1", None)


def fail_at_work(monkeypatch, release):
    """From now on each network of that release fails; the golden check and trying out went well before."""
    infer = OnnxBackend._infer

    def failing(self, inputs):
        if self.name.startswith(f"dark/{release}+"):
            raise InferenceError("no memory for the network")
        return infer(self, inputs)

    monkeypatch.setattr(OnnxBackend, "_infer", failing)


@pytest.mark.parametrize("thread", ["live", "captures"])
def test_a_bundle_whose_network_fails_at_work_is_passed_over_at_once_and_at_the_third_time_rolled_back(device, monkeypatch, thread):
    device.served(1)
    slot = device.activate(2)
    for failures in (1, 2, 3):
        device.idle_s = 0.0  # somebody works: this cannot wait
        with device.started() as keeper, pytest.MonkeyPatch.context() as patch:
            assert keeper.state.bundle.startswith("dark/2+")
            fail_at_work(patch, 2)
            for _ in range(STAY_AFTER):
                assert measured(getattr(keeper, thread))  # the classical mask serves the picture
            eventually(lambda: release_of(measured(keeper.live)) == 1)
            assert keeper.state.notice is not None and "no memory for the network" in keeper.state.notice
            looked(keeper)  # the bundle that serves instead is blamed for nothing
            assert release_of(measured(keeper.captures)) == 1
        assert (device.state.active == slot) == (failures < 3)


def test_a_grader_that_fails_at_work_is_a_failure_of_the_bundle_too(device, monkeypatch):
    device.served(1, severity=1, conditions=None)
    device.activate(2, severity=2, conditions=None)
    with device.started() as keeper:
        graders = keeper.live.now.graders
        graders._problem = "a grade is missing: severity failed on 5 pictures in a row"
        eventually(lambda: keeper.state.bundle.startswith("dark/1+"))
        assert "severity failed" in keeper.state.notice


def test_a_trial_ends_well_once_it_has_measured_for_long_enough_and_not_before_the_first_picture(device):
    device.activate(1)
    with device.started(trial_s=0.05) as keeper:
        time.sleep(0.1)
        looked(keeper)
        assert device.state.trial is not None  # no camera, say: nothing was tried
        eventually(lambda: measured(keeper.live) and device.state.trial is None)
        assert keeper.state.bundle.startswith("dark/1+")


@pytest.mark.parametrize("ended_by", [None, ValueError("another part could not start"), KeyboardInterrupt()])
def test_an_end_in_good_order_within_the_trial_is_not_held_against_the_bundle(device, ended_by):
    device.activate(1)
    for _ in range(5):
        with contextlib.suppress(ValueError, KeyboardInterrupt), device.started() as keeper:
            assert device.state.trial.starts == 1
            measured(keeper.live)
            if ended_by is not None:
                raise ended_by
        assert device.state.trial.starts == 0


def test_a_stop_while_the_bundle_is_read_is_not_held_against_it_but_a_crash_there_is(device, monkeypatch):
    device.activate(1)

    def interrupted(bundle):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(models, "prove", interrupted)
        device.keeper().__enter__()
    assert device.state.trial.starts == 0


def test_a_stop_while_another_bundle_is_made_ready_leaves_nothing_behind(device, monkeypatch):
    device.served(1)
    begun, go_on = threading.Event(), threading.Event()
    prove = models.prove

    def slow(bundle):
        begun.set()
        go_on.wait(DEADLINE_S)
        return prove(bundle)

    monkeypatch.setattr(models, "prove", slow)
    monkeypatch.setattr(models, "STOP_DEADLINE_S", 0.2)
    keeper = device.keeper()
    with keeper:
        keeper.watch(lambda: device.idle_s)
        device.activate(2)
        assert begun.wait(DEADLINE_S)
        assert device.state.trial.starts == 1
    assert device.state.trial.starts == 0
    go_on.set()
    keeper._thread.join(DEADLINE_S)
    assert keeper.live.now.segmenter.backend is None
    assert keeper.state.bundle.startswith("dark/1+")
    assert device.state.trial == device.state.trial.model_copy(update={"starts": 0, "failures": 0})


def test_starts_that_end_in_a_crash_are_counted_and_the_fourth_serves_what_was_before(device):
    device.served(1)
    slot = device.activate(2)
    crashed = []
    for _ in range(3):
        keeper = device.keeper()
        keeper.__enter__()  # and no end
        crashed.append(keeper)
        assert keeper.state.bundle.startswith("dark/2+")
    with device.started() as keeper:
        assert keeper.state.bundle.startswith("dark/1+")
        assert keeper.state.notice.startswith(f"The installed bundle {slot[:12]} was rolled back")
        assert "3 times" in keeper.state.notice
    for keeper in crashed:
        keeper.live.close()
        keeper.captures.close()
