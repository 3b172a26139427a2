"""Where installed bundles lie on the device: a folder for each, named by the hash of its manifest, whole or not there at all.

    MODELS/slots/SHA256/   manifest.json, manifest.sig and the bundle's files, never changed once there
    MODELS/active          link to the slot that serves; none: the factory's bundle
    MODELS/previous        link to the slot that served well before it
    MODELS/state.json      what the links are to be (see runtime.bundles.state)

Everything is written under another name, fsynced and renamed; what a power cut leaves under such names is removed at the next start.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

from runtime.bundles.archive import files_of
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import Bundle, read_for_use
from runtime.bundles.signing import TrustedKeys
from runtime.store.files import fsync_folder, make_folder

SLOT = re.compile(r"[0-9a-f]{64}")
LEFT = "."  # names that begin so are being written, or being removed
AtStep = Callable[[str], None]


def no_step(_: str) -> None:
    """What is done at each step of writing: nothing, but in tests."""


class Slots:
    """The slots in `folder`, which is made when the first bundle comes. The caller holds the lock where it writes."""

    def __init__(self, folder: Path, at_step: AtStep = no_step) -> None:
        self.folder = folder
        self._slots = folder / "slots"
        self._at_step = at_step

    def prepare(self) -> None:
        """Make the folders. Raises OSError."""
        if not self._slots.is_dir():
            make_folder(self._slots)
            for path in (self.folder, self._slots):
                path.chmod(0o755)
                self.hand_over(path)

    def hand_over(self, path: Path) -> None:
        """Give what an administrator's command made to the user whose state folder it lies in: the daemon writes here too."""
        if os.geteuid() == 0:
            owner = self.folder.parent.stat()
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def path(self, slot: str) -> Path:
        """Where a slot lies, whether it is there or not."""
        if not SLOT.fullmatch(slot):
            raise ValueError(f"{slot!r} is no slot")
        return self._slots / slot

    def names(self) -> list[str]:
        """The slots that are there, newest first. Without a folder there are none."""
        try:
            found = [path for path in self._slots.iterdir() if SLOT.fullmatch(path.name)]
            return [path.name for path in sorted(found, key=lambda path: (-path.lstat().st_mtime_ns, path.name))]
        except OSError:
            return []

    def read(self, slot: str, trusted: TrustedKeys) -> Bundle:
        """The bundle in a slot, verified anew.

        Raises:
            BundleError: it is not there, not whole, or no longer signed by a trusted key.
        """
        path = self.path(slot)
        if path.is_symlink():
            raise BundleError(f"{path}: a link, no folder: install the bundle again")
        bundle = read_for_use(path, trusted)
        if bundle.sha256 != slot:
            raise BundleError(f"{path}: it holds another bundle ({bundle.id}): install both again")
        return bundle

    def write(self, bundle: Bundle) -> None:
        """Put a verified bundle into its slot; one that is there, which must be damaged, is replaced.

        Raises:
            OSError: nothing is left behind.
        """
        self.prepare()
        target = self.path(bundle.sha256)
        part = Path(tempfile.mkdtemp(prefix=f"{LEFT}incoming-", dir=self._slots))
        try:
            self._at_step("folder made")
            names = [entry.name for entry in bundle.manifest.files]
            for name, data in files_of(bundle.manifest_bytes, bundle.signature, names, bundle.content):
                _write(part / name, data)
                self._at_step("file written")
            part.chmod(0o755)
            for path in (*part.iterdir(), part):
                self.hand_over(path)
            fsync_folder(part)
            self._at_step("folder synced")
            if os.path.lexists(target):
                self._remove(target)
            part.rename(target)
            self._at_step("renamed")
            fsync_folder(self._slots)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        self._at_step("installed")

    def prune(self, kept: Collection[str], newest: int) -> list[str]:
        """Remove all slots but `kept` and the `newest` others; the names of those that are gone. Raises OSError."""
        gone = [slot for slot in self.names() if slot not in kept][newest:]
        for slot in gone:
            self._remove(self.path(slot))
        return gone

    def clean(self) -> None:
        """Remove what a power cut left half written or half removed. Raises OSError."""
        for folder in (self._slots, self.folder):
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.name.startswith(LEFT) or path.name.endswith(".part"):
                    _delete(path)

    def link(self, which: Literal["active", "previous"], slot: str | None) -> None:
        """Let the link lead to `slot`, or be gone, in one step. Raises OSError."""
        path = self.folder / which
        target = None if slot is None else f"slots/{slot}"
        if self.linked(which) == slot and os.path.lexists(path) == (slot is not None):
            return
        if os.path.lexists(path) and not path.is_symlink():
            _delete(path)
        if target is None:
            path.unlink(missing_ok=True)
        else:
            part = self.folder / f"{LEFT}{which}"
            part.unlink(missing_ok=True)
            part.symlink_to(target)
            self.hand_over(part)
            part.replace(path)
        fsync_folder(self.folder)

    def linked(self, which: Literal["active", "previous"]) -> str | None:
        """The slot that a link leads to; None where there is no link, or one to anything else."""
        try:
            found = str((self.folder / which).readlink())
        except OSError:
            return None
        slot = found.removeprefix("slots/")
        return slot if found != slot and SLOT.fullmatch(slot) else None

    def _remove(self, path: Path) -> None:
        """Make a slot be gone at once, then delete its files."""
        aside = self._slots / f"{LEFT}removing-{path.name}"
        _delete(aside)
        path.rename(aside)
        fsync_folder(self._slots)
        _delete(aside)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)
