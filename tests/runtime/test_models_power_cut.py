"""The plug is pulled (SIGKILL) at each step of installing and activating: the old bundle serves or the new one, whole."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.bundles.trial import ModelStore
from tests.runtime.signing_samples import SETTINGS, signed, unpacked

ROOT = Path(__file__).parents[2]
INSTALL = ("folder made", "file written", "folder synced", "renamed", "installed")
SWITCH = ("before the change", "state written", "active linked", "linked")
PLUGGED = """
import json, os, signal, sys
from pathlib import Path
from runtime.bundles.trial import ModelStore
from tests.runtime.signing_samples import SETTINGS
def run(folder, verb, argument, step):
    def at_step(name):
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)
    store = ModelStore(folder / "models", SETTINGS, factory=folder / "factory", at_step=at_step)
    getattr(store, verb)(*argument)
for folder, verb, argument, step in json.load(sys.stdin):
    child = os.fork()
    if not child:
        run(Path(folder), verb, [Path(each) if "/" in each else each for each in argument], step)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
CASES = [
    *(("install", step) for step in INSTALL),
    *(("activate", step) for step in SWITCH),
    *(("roll_back", step) for step in SWITCH),
    *(("begin_trial", step) for step in SWITCH),
]


@pytest.fixture(scope="module")
def plugged(tmp_path_factory):
    """For each case a device, its first slot and its second one, on which the verb ended by SIGKILL at the step."""
    devices, jobs = {}, []
    for verb, step in CASES:
        folder = tmp_path_factory.mktemp(verb)
        unpacked(folder / "factory", name="plain")
        store = at(folder)
        first, _ = store.install(signed(folder / "one", 1))
        store.activate(first)
        started(folder).confirm()
        two, second = signed(folder / "two", 2), None
        if verb != "install":
            second, _ = store.install(two)
        if verb in ("roll_back", "begin_trial"):
            store.activate(second)
        if verb == "roll_back":
            started(folder).confirm()
        if verb == "begin_trial":
            for _ in range(3):
                started(folder)
        devices[verb, step] = folder, first, second
        jobs.append((str(folder), verb, {"install": [str(two)], "activate": [second]}.get(verb, []), step))
    done = subprocess.run([sys.executable, "-c", PLUGGED], cwd=ROOT, input=json.dumps(jobs), capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(jobs), done.stderr
    return devices


def at(folder):
    return ModelStore(folder / "models", SETTINGS, factory=folder / "factory")


def started(folder):
    daemon = at(folder)
    daemon.begin_trial()
    daemon.choose()
    return daemon


def names(folder):
    return {path.name for path in (folder / "models" / "slots").iterdir()}


def link(folder, which):
    path = folder / "models" / which
    return path.readlink().name if path.is_symlink() else None


@pytest.mark.parametrize("step", INSTALL)
def test_installing(plugged, step):
    folder, slot, _ = plugged["install", step]
    chosen = started(folder).choose()
    assert (chosen.slot, chosen.notice, chosen.on_trial) == (slot, None, False)
    left = names(folder)
    assert slot in left and len(left) == (2 if step in ("renamed", "installed") else 1)
    assert all(each.problem is None for each in at(folder).installed())
    other, _ = at(folder).install(folder / "two")  # and again, to its end
    assert names(folder) == {slot, other}


@pytest.mark.parametrize("step", SWITCH)
def test_activating(plugged, step):
    folder, slot, new = plugged["activate", step]
    chosen = started(folder).choose()
    before = step == "before the change"
    assert (chosen.slot, chosen.on_trial, chosen.notice) == ((slot, False, None) if before else (new, True, None))
    assert (link(folder, "active"), link(folder, "previous")) == ((slot, None) if before else (new, slot))


@pytest.mark.parametrize("step", SWITCH)
def test_rolling_back(plugged, step):
    folder, slot, new = plugged["roll_back", step]
    chosen = started(folder).choose()
    before = step == "before the change"
    assert (chosen.slot, chosen.on_trial, chosen.notice) == (new if before else slot, False, None)
    assert (link(folder, "active"), link(folder, "previous")) == ((new, slot) if before else (slot, new))


@pytest.mark.parametrize("step", SWITCH)
def test_rolling_back_by_itself(plugged, step):
    folder, slot, _ = plugged["begin_trial", step]
    chosen = started(folder).choose()
    assert chosen.slot == slot and "started 3 times" in chosen.notice
    assert (link(folder, "active"), link(folder, "previous")) == (slot, None)


def test_files_reach_the_disk_before_their_names(tmp_path, monkeypatch):
    # SIGKILL leaves the page cache alone, a pulled plug does not: so the order of fsync and rename is held too
    unpacked(tmp_path / "factory", name="plain")
    done = []
    real_fsync, real_rename, real_replace = os.fsync, Path.rename, Path.replace

    def short(name):
        name = "incoming" if name.startswith(".incoming") else name
        return "SLOT" if len(name) == 64 else name

    def fsync(descriptor):
        done.append(("fsync", short(Path(f"/proc/self/fd/{descriptor}").readlink().name)))
        real_fsync(descriptor)

    def rename(self, target):
        done.append(("rename", short(self.name), short(Path(target).name)))
        return real_rename(self, target)

    def replace(self, target):
        done.append(("rename", short(self.name), short(Path(target).name)))
        return real_replace(self, target)

    folder = signed(tmp_path / "one", 1)
    at(tmp_path).slots.prepare()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        patched.setattr(Path, "rename", rename)
        patched.setattr(Path, "replace", replace)
        slot, _ = at(tmp_path).install(folder)
        installed, done = done, []
        at(tmp_path).activate(slot)
    files = [("fsync", name) for name in ("manifest.json", "manifest.sig", "segmenter.npz", "segmenter.onnx")]
    assert installed == [*files, ("fsync", "incoming"), ("rename", "incoming", "SLOT"), ("fsync", "slots")]
    state = [("fsync", "state.json.part"), ("rename", "state.json.part", "state.json"), ("fsync", "models")]
    assert done == [*state, ("rename", ".active", "active"), ("fsync", "models")]
