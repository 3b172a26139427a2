"""A device whose keeper of bundles the test drives: its state folder, its idleness, the bundles that are sent to it."""

import contextlib

import numpy as np
import pytest

from runtime.bundles.state import read_state
from runtime.bundles.trial import ModelStore
from runtime.workers.models import ModelKeeper, Wanted
from tests.eventually import eventually
from tests.runtime.graded_bundle_samples import write_graded
from tests.runtime.signing_samples import SETTINGS, signed

LOOK_S, QUIET_S = 0.01, 60.0
ROLES = frozenset({"segmenter", "severity", "conditions"})
PICTURE = np.full((64, 96, 3), 180, np.uint8)
PICTURE[:, 40:48] = 40


class Device:
    """A device with its state folder, and its daemon's keeper, whose threads the test plays."""

    def __init__(self, folder, factory):
        self.folder, self.factory = folder, factory
        self.models = folder / "state" / "models"
        self.idle_s = QUIET_S
        self.roles = ROLES
        self.backend = None
        self.classical = False

    def store(self):
        return ModelStore(self.models, SETTINGS, factory=self.factory)

    def send(self, release, **what):
        if what:
            write_graded(self.folder / f"graded-{release}", release=release, name="dark", **what)
            return self.store().install(self.folder / f"graded-{release}")[0]
        return self.store().install(signed(self.folder / f"dark-{release}", release))[0]

    def activate(self, release, **what):
        slot = self.send(release, **what)
        self.store().activate(slot)
        return slot

    def served(self, release, **what):
        """Installed, activated and past its trial."""
        slot = self.activate(release, **what)
        store = self.store()
        store.begin_trial()
        assert store.choose().slot == slot
        store.confirm()
        return slot

    def keeper(self, *, trial_s=3600.0, on_progress=lambda: None):
        wanted = Wanted(classical=self.classical, roles=lambda: self.roles, threads=1, backend=self.backend)
        return ModelKeeper(self.store(), wanted, trial_s=trial_s, quiet_s=QUIET_S, look_every_s=LOOK_S, on_progress=on_progress)

    @contextlib.contextmanager
    def started(self, **how):
        with self.keeper(**how) as keeper:
            keeper.watch(lambda: self.idle_s)
            yield keeper

    @property
    def state(self):
        return read_state(self.models)


def measured(in_use):
    """A picture measured as a thread of the daemon does it: the name of what found hair, and the bundle's release."""
    with in_use.taken() as instruments:
        instruments.segmenter.segment(PICTURE)
        return instruments.segmenter.name


def release_of(name):
    """Of the test's bundle, 0 for another bundle or the classical mask."""
    return int(name.partition("/")[2].partition("+")[0]) if name.startswith("dark/") else 0


def looked(keeper, times=3):
    """The keeper has looked after its bundles some times from now on."""
    seen = []
    look = ModelKeeper._look
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelKeeper, "_look", lambda self: (look(self), seen.append(1)))
        eventually(lambda: len(seen) >= times)
