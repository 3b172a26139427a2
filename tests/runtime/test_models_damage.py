"""Installed bundles whose state, links, folders, lock or disk are not as they should be: what serves, what is told, what stays."""

import json
import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundles.errors import BundleError
from tests.runtime.models_device import Device
from tests.runtime.signing_samples import signed, unpacked


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    """A small factory bundle: the real one takes longer to read."""
    return unpacked(tmp_path_factory.mktemp("factory") / "factory", name="plain")


@pytest.fixture
def device(tmp_path, factory):
    return Device(tmp_path, factory)


def test_damage_to_the_state_does_not_help_an_older_release(device):
    old = device.send(4)
    device.serve(5)
    (device.models / "state.json").write_text("{")
    with pytest.raises(BundleError, match="older than 5"):
        device.store().activate(old)
    assert device.store().activate("dark").manifest.release == 5
    assert device.start().chosen.bundle.manifest.release == 5


def _write(content):
    return lambda path: path.write_bytes(content)


def _changed(**changes):
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _linked(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


DAMAGES = {
    "gone": lambda path: path.unlink(),
    "empty": _write(b""),
    "noise": _write(b"\xff\x00" * 50),
    "huge": _write(b" " * 100_000),
    "deep": _write(b"[" * 60_000),
    "another schema": _changed(schema="trichoscope/models/9"),
    "a path as a slot": _changed(active="../../../etc"),
    "a name as a slot": _changed(active="dark"),
    "negative counts": _changed(trial={"slot": "0" * 64, "starts": -9, "failures": 0}),
    "texts as counts": _changed(change="1"),
    "an unknown key": _changed(hello=1),
    "an endless notice": _changed(notice="x" * 3000),
    "a link": _linked,
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_with_a_damaged_state_the_factory_serves_and_says_so(device, what):
    device.serve(1)
    DAMAGES[what](device.models / "state.json")
    daemon = device.start()
    assert daemon.chosen.source == "factory"
    assert "state.json" in daemon.chosen.notice and "trichoscope models activate" in daemon.chosen.notice
    assert not daemon.changed()
    assert not daemon.failed("nothing")
    if what != "a folder":  # a person must see to that
        assert device.store().activate("dark").manifest.release == 1
        assert daemon.changed()
        assert device.start().chosen.source == "slot"


@given(st.binary(max_size=300))
def test_any_bytes_as_state_leave_the_factory(tmp_path_factory, factory, content):
    device = Device(tmp_path_factory.mktemp("any"), factory)
    device.models.mkdir(parents=True)
    (device.models / "state.json").write_bytes(content)
    assert device.start().chosen.source == "factory"


def test_links_are_shown_not_followed(device):
    slot = device.serve(1)
    (device.models / "active").unlink()
    (device.models / "active").symlink_to("/etc")
    assert device.start().chosen.slot == slot
    device.store().activate(slot)
    assert device.links()["active"] == slot


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(30, "Read-only file system")], ids=["full", "read-only"])
def test_a_disk_that_cannot_be_written(device, monkeypatch, error):
    from runtime.bundles import slots, trial

    good, new = device.serve(1), device.send(2)
    other = signed(device.folder / "sent" / "three", 3)

    def fail(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(slots, "_write", fail)
        with pytest.raises(BundleError, match=error.strerror):
            device.store().install(other)
    assert len(device.store().installed()) == 2
    assert not [path for path in (device.models / "slots").iterdir() if path.name.startswith(".")]
    with monkeypatch.context() as patched:
        patched.setattr(trial, "write_state", fail)
        with pytest.raises(BundleError, match=error.strerror):
            device.store().activate(new)
        assert device.start().chosen.slot == good
    device.store().activate(new)
    with monkeypatch.context() as patched:  # the trial cannot be counted: the new one does not serve
        patched.setattr(trial, "write_state", fail)
        daemon = device.start()
        assert daemon.chosen.slot == good
        assert "cannot be counted" in daemon.chosen.notice
    assert device.start().chosen.slot == new


def test_a_lock_that_another_holds(device, monkeypatch):
    import fcntl

    from runtime.bundles import state

    device.serve(1)
    monkeypatch.setattr(state, "LOCK_DEADLINE_S", 0.05)
    descriptor = os.open(device.models / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(BundleError, match="in use by another"):
            device.store().activate("factory")
        assert device.start().chosen.source == "slot"  # served well already: nothing is to be counted
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("which", ["models", "slots"])
def test_a_link_leads_no_command_elsewhere(device, which):
    slot = device.serve(1)
    elsewhere = device.folder / "elsewhere"
    path = device.models if which == "models" else device.models / "slots"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    (elsewhere / ".bashrc").write_text("mine")
    for change in (lambda: device.store().activate(slot), device.store().roll_back, lambda: device.send(2)):
        with pytest.raises(BundleError, match="a link, no folder"):
            change()
    device.start()
    assert (elsewhere / ".bashrc").read_text() == "mine"


def test_a_slot_that_is_gone_in_the_meantime_is_not_activated(device):
    slot = device.send(1)
    with pytest.raises(BundleError, match="removed in the meantime"):
        device.store().activate(slot, lambda _: shutil.rmtree(device.models / "slots" / slot))
    assert device.start().chosen.source == "factory"
