"""A device with a state folder, whose daemon is started and whose commands are given as often as a test likes."""

from runtime.bundles.trial import ModelStore
from tests.runtime.signing_samples import SETTINGS, signed


class Device:
    """A device with its state folder; `start` is a start of the daemon."""

    def __init__(self, folder, factory):
        self.folder = folder
        self.models = folder / "state" / "models"
        self.factory = factory

    def store(self, settings=SETTINGS, **more):
        return ModelStore(self.models, settings, factory=self.factory, **more)

    def send(self, release, name="dark"):
        return self.store().install(signed(self.folder / "sent" / f"{name}-{release}", release, name))[0]

    def serve(self, release, name="dark"):
        """Installed, activated and confirmed."""
        slot = self.send(release, name)
        self.store().activate(slot)
        daemon = self.start()
        daemon.confirm()
        return slot

    def start(self, **more):
        daemon = self.store(**more)
        daemon.begin_trial()
        daemon.chosen = daemon.choose()
        return daemon

    def links(self):
        return {
            which: (self.models / which).readlink().name if (self.models / which).is_symlink() else None for which in ("active", "previous")
        }
