"""What the device remembers of its bundles: which one serves, which served well before, the trial, the highest releases.

One small file, replaced atomically: it is what commits a change, the links follow it. It is read as if an enemy had written it. A file
that cannot be read is no reason to guess: the factory's bundle serves until a person activates one again.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from runtime.bundles.errors import BundleError
from runtime.bundles.parts import Name, Part, Sha256
from runtime.store.files import fsync_folder, write_file

STATE = "state.json"
LOCK = "lock"
MAX_STATE_BYTES = 64 * 1024
MAX_NAMES = 200
LOCK_DEADLINE_S = 10.0
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class Trial(Part):
    """A bundle that has not yet run well for long enough.

    Attributes:
        name, release: of its manifest; its release counts for good once it has served well.
        starts: of the daemon with it.
        failures: of its golden check, or of loading it.
    """

    slot: Sha256
    name: Name
    release: Annotated[int, Field(ge=1, le=2**31)]
    starts: Count = 0
    failures: Count = 0


class Highest(Part):
    """The highest release of a name that ever served well, and its slot."""

    release: Annotated[int, Field(ge=1, le=2**31)]
    slot: Sha256


class State(Part):
    """The whole of the file.

    Attributes:
        active, previous: slots; None is the factory's bundle.
        change: counts every activation and roll-back, so that the daemon sees them.
        notice: what a person at the page must be told, until that person dismisses it or activates a bundle.
    """

    schema_: Literal["trichoscope/models/1"] = Field(default="trichoscope/models/1", alias="schema")
    active: Sha256 | None = None
    previous: Sha256 | None = None
    trial: Trial | None = None
    releases: Annotated[dict[Name, Highest], Field(max_length=MAX_NAMES)] = Field(default_factory=dict)
    change: Annotated[int, Field(ge=0)] = 0
    notice: Annotated[str, Field(max_length=2000)] | None = None

    def on_trial(self) -> Trial | None:
        """The trial of the active bundle."""
        return self.trial if self.trial is not None and self.trial.slot == self.active else None


def read_state(folder: Path) -> State:
    """The state in `folder`; a new one where there is no file and nothing was ever installed.

    Raises:
        BundleError: the file is damaged, or gone while the links are there.
    """
    path = folder / STATE
    remedy = "activate a bundle again with `trichoscope models activate`"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if os.path.lexists(folder / "active"):
            raise BundleError(f"{path}: gone: {remedy}") from None
        return State()
    except OSError as problem:
        raise BundleError(f"{path}: {problem.strerror or problem}: {remedy}") from problem
    try:
        plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
        text = os.read(descriptor, MAX_STATE_BYTES + 1) if plain else b""
    except OSError as problem:
        raise BundleError(f"{path}: {problem.strerror or problem}: {remedy}") from problem
    finally:
        os.close(descriptor)
    try:
        if len(text) > MAX_STATE_BYTES:
            raise ValueError("too large")
        return State.model_validate_json(text)
    except (ValidationError, ValueError) as problem:
        raise BundleError(f"{path}: damaged: {remedy}") from problem


def write_state(folder: Path, state: State) -> None:
    """Put `state` into `folder`, durably. Raises OSError; what was there stays."""
    write_file(folder / STATE, (json.dumps(state.model_dump(by_alias=True), indent=1) + "\n").encode())
    fsync_folder(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder` against the daemon and other commands.

    Raises:
        BundleError: another one holds it for too long, or it cannot be made, or the folder is a link: an administrator's command must
            not be led elsewhere by whoever owns the state folder.
    """
    for path in (folder, folder / "slots"):
        if path.is_symlink():
            raise BundleError(f"{path}: a link, no folder: remove it")
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise BundleError(f"{folder / LOCK}: {problem.strerror or problem}: run this as the user of the daemon, or as root") from problem
    try:
        deadline = time.monotonic() + LOCK_DEADLINE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BundleError(f"{folder}: in use by another `trichoscope models` command: wait for it to end") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
