"""Which installed bundle serves, and the trial that a new one is on: it runs well for a while, or is rolled back by itself.

The daemon, at each start and after each change: `begin_trial()`, `choose()`, load; `failed(why)` where the golden check or loading fails,
then `choose()` again; `confirm()` after it has run well for `trial_s`; `stopped()` where it ends in good order before that. A crash says
nothing: the next start counts it. After `trial_starts` starts or failures the bundle is rolled back to the one that served well before
it, or to the factory's, and the notice says so. `changed()` tells that a person activated another one; when to swap is the daemon's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.bundles.errors import BundleError
from runtime.bundles.reader import FACTORY, Bundle, read_bundle, read_for_use
from runtime.bundles.settings import ModelsSettings
from runtime.bundles.signing import TrustedKeys
from runtime.bundles.slots import SLOT, AtStep, Slots, no_step
from runtime.bundles.state import LOCK, MAX_NAMES, STATE, Highest, State, Trial, locked, read_state, write_state

FACTORY_NAME = "factory"
Source = Literal["factory", "slot", "configured"]


@dataclass(frozen=True, eq=False)
class Chosen:
    """The bundle that is to serve.

    Attributes:
        notice: what a person must be told, None where all is well.
        slot: of an installed one.
        on_trial: whether it must be confirmed, and proven before it serves.
    """

    bundle: Bundle
    source: Source
    notice: str | None = None
    slot: str | None = None
    on_trial: bool = False


@dataclass(frozen=True)
class Installed:
    """A slot, as `trichoscope models list` shows it. `problem`: why it cannot be used; name and release are then not known."""

    slot: str
    id: str | None
    name: str | None
    release: int | None
    roles: tuple[str, ...]
    active: bool
    previous: bool
    on_trial: bool
    problem: str | None


class ModelStore:
    """The installed bundles of a device. Each process has its own; a lock in the folder keeps them apart.

    Args:
        folder: `models` in the state folder; it need not be there.
        configured: the folder or file that `[analysis] bundle` names: it serves instead of all, unsigned, and nothing is counted.
    """

    def __init__(
        self, folder: Path, settings: ModelsSettings, *, configured: Path | None = None, factory: Path = FACTORY, at_step: AtStep = no_step
    ) -> None:
        self.folder = folder
        self.slots = Slots(folder, at_step)
        self._settings = settings
        self._configured = configured
        self._factory = factory
        self._at_step = at_step
        self._seen: int | None = None  # the state's count of changes when a bundle was chosen; None where it could not be read
        self._seen_active: str | None = None  # of that state: where a damaged one is replaced, its changes are counted anew
        self._serving: str | None = None
        self._serves_as = ("none", 1)  # name and release of that slot's bundle
        self._failed: dict[tuple[str, int | None], str] = {}  # slots that did not work here since that change, and why

    # what the daemon asks

    def begin_trial(self) -> None:
        """Count a start of the bundle on trial before it is loaded; roll it back where it had its chances. Never raises."""
        if self._configured is not None or not self.folder.is_dir():
            return
        try:
            with self._changing() as state:
                self.slots.clean()
                self._relink(state)
                trial = state.on_trial()
                if trial is None:
                    return
                if trial.starts >= self._settings.trial_starts:
                    seconds = f"{self._settings.trial_s:g}"
                    self._roll_back(state, f"the program was started {trial.starts} times with it and never ran for {seconds} s")
                else:
                    self._keep(state.model_copy(update={"trial": trial.model_copy(update={"starts": trial.starts + 1})}))
        except (BundleError, OSError) as problem:
            now = self._state_or_none()
            if now is not None and now.active is not None and now.on_trial() is not None:
                self._failed[now.active, now.change] = f"its trial cannot be counted ({problem})"

    def choose(self) -> Chosen:
        """The bundle that is to serve, verified.

        Raises:
            BundleError: not even the factory's can be read.
        """
        problems: list[str] = []
        if self._configured is not None:
            try:
                return Chosen(read_for_use(self._configured), "configured")
            except BundleError as problem:
                return Chosen(read_bundle(self._factory), "factory", f"The factory's bundle serves: {problem}")
        try:
            state = read_state(self.folder)
        except BundleError as problem:
            self._seen, self._seen_active, self._serving = None, None, None
            return Chosen(read_bundle(self._factory), "factory", f"The factory's bundle serves: {problem}")
        self._seen, self._seen_active = state.change, state.active
        trusted = self._trusted(problems) if state.active else None
        for slot in (state.active, state.previous):
            if slot is None or trusted is None:
                break  # the factory's was chosen, or served before
            try:
                if why := self._failed.get((slot, state.change)):
                    raise BundleError(f"{slot[:12]}: {why}")
                bundle = self.slots.read(slot, trusted)
            except BundleError as problem:
                problems.append(str(problem))
                continue
            self._serving, self._serves_as = slot, (bundle.manifest.name, bundle.manifest.release)
            instead = f"{bundle.id} serves instead: {'; '.join(problems)}" if problems else None
            trial = state.on_trial()
            return Chosen(bundle, "slot", _joined(state.notice, instead), slot, trial is not None and trial.slot == slot)
        self._serving = None
        instead = f"The factory's bundle serves: {'; '.join(problems)}" if problems else None
        return Chosen(read_bundle(self._factory), "factory", _joined(state.notice, instead))

    def confirm(self) -> None:
        """The bundle on trial has run well for a while: it is kept, and no older release of its name serves from here on.

        Raises:
            BundleError: that cannot be written down.
        """

        def keep(state: State, trial: Trial) -> None:
            releases = {**state.releases, trial.name: Highest(release=trial.release, slot=trial.slot)}
            self._keep(state.model_copy(update={"trial": None, "releases": releases}))

        self._of_serving(keep)

    def stopped(self) -> None:
        """The daemon ends in good order before `confirm()`: this start is not held against the bundle. Raises BundleError."""

        def take_back(state: State, trial: Trial) -> None:
            self._keep(state.model_copy(update={"trial": trial.model_copy(update={"starts": max(0, trial.starts - 1)})}))

        self._of_serving(take_back)

    def failed(self, reason: str) -> bool:
        """The bundle that was chosen does not work here: its golden check failed, or it could not be loaded.

        Returns:
            Whether it was rolled back for good; if not, it is only passed over until the next start. `choose()` gives another one.
        """
        slot = self._serving
        if slot is None:
            return False
        self._failed[slot, self._seen] = reason
        try:
            with self._changing() as state:
                if state.active != slot:
                    return False
                name, release = self._serves_as
                trial = state.on_trial() or Trial(slot=slot, name=name, release=release)
                trial = trial.model_copy(update={"failures": trial.failures + 1})
                if trial.failures >= self._settings.trial_starts:
                    self._roll_back(state, f"it failed {trial.failures} times: {reason}")
                    return True
                self._keep(state.model_copy(update={"trial": trial}))
        except (BundleError, OSError):  # it is passed over all the same
            pass
        return False

    def changed(self) -> bool:
        """Whether another bundle was activated since `choose()`. Cheap enough to be asked every second."""
        if self._configured is not None:
            return False
        state = self._state_or_none()
        now = (None, None) if state is None else (state.change, state.active)
        return now != (self._seen, self._seen_active)

    def dismiss_notice(self) -> None:
        """A person has read it. Raises BundleError where that cannot be written down."""
        if self.folder.is_dir():
            with self._writing(), self._changing() as state:
                if state.notice is not None:
                    self._keep(state.model_copy(update={"notice": None}))

    # what commands ask

    def install(self, path: Path) -> tuple[str, Bundle]:
        """Verify the bundle at `path` (folder or single file) and put it into its slot; it does not serve yet.

        Raises:
            BundleError: it is not signed by a trusted key, not whole, not what a bundle may be, an older release than one that served,
                or the disk is full; everything is as it was.
        """
        bundle = read_for_use(path, self._settings.trusted())
        with self._writing():
            self.slots.prepare()
            with self._changing(damaged_too=True) as state:
                self.slots.clean()
                self._newer(state, bundle, str(path))
                try:
                    self.slots.read(bundle.sha256, self._settings.trusted())
                except BundleError:
                    self.slots.write(bundle)
                self.slots.prune({bundle.sha256, *filter(None, (state.active, state.previous))}, self._settings.kept_slots)
        return bundle.sha256, bundle

    def activate(self, wanted: str, check: Callable[[Bundle], None] | None = None) -> Bundle:
        """Let an installed bundle serve, on trial.

        Args:
            wanted: as for `read`.
            check: is given the bundle before anything is changed, and raises where it must not serve here.

        Raises:
            BundleError: there is none, it is not whole or no longer trusted, or an older release than one that served.
        """
        bundle = self.read(wanted)
        slot = None if wanted == FACTORY_NAME else bundle.sha256
        if check is not None:
            check(bundle)
        with self._writing():
            if slot is None and not self.folder.is_dir():
                return bundle
            self.slots.prepare()
            with self._changing(damaged_too=True) as state:
                previous = state.active if state.on_trial() is None else state.previous
                update: dict[str, object] = {"active": slot, "trial": None, "notice": None, "change": state.change + 1}
                if slot is not None:
                    if slot not in self.slots.names():
                        raise BundleError(f"{slot[:12]}: removed in the meantime: install it again")
                    self._newer(state, bundle, slot[:12])
                    if len(state.releases.keys() | {bundle.manifest.name}) > MAX_NAMES:
                        raise BundleError(f"{bundle.id}: more than {MAX_NAMES} names of bundles served here: use one of them")
                    update["trial"] = Trial(slot=slot, name=bundle.manifest.name, release=bundle.manifest.release)
                if slot != state.active:
                    update["previous"] = None if previous == slot else previous
                elif slot is not None and state.on_trial() is None:
                    update["trial"] = None  # it serves already, and well
                self._commit(state.model_copy(update=update))
        return bundle

    def read(self, wanted: str) -> Bundle:
        """The bundle of a slot (or the beginning of its name), of this bundle name (its highest release), or "factory", verified.

        Raises:
            BundleError: there is none, it is not whole, or no longer signed by a trusted key.
        """
        if wanted == FACTORY_NAME:
            return read_bundle(self._factory)
        return self.slots.read(self._found(wanted), self._settings.trusted())

    def roll_back(self) -> str | None:
        """Let the bundle that served well before serve again; the slot, None for the factory's.

        Raises:
            BundleError: there is none, or it cannot serve any more; nothing is changed, for `choose` would give the one that is to go.
        """
        with self._writing():
            if not self.folder.is_dir():
                raise BundleError(f"{self.folder}: nothing was installed: there is nothing to roll back")
            with self._changing(damaged_too=True) as state:
                if state.active is None and state.previous is None:
                    raise BundleError(f"{self.folder}: the factory's bundle serves, and none before it: there is nothing to roll back")
                if state.previous is not None:
                    try:
                        self.slots.read(state.previous, self._settings.trusted())
                    except BundleError as problem:
                        remedy = f"`trichoscope models activate {FACTORY_NAME}` lets the program's own serve"
                        raise BundleError(f"the bundle before cannot serve: {problem}; {remedy}") from problem
                left = state.active if state.on_trial() is None else None
                update = {"active": state.previous, "previous": left, "trial": None, "notice": None, "change": state.change + 1}
                self._commit(state.model_copy(update=update))
                return state.previous

    def installed(self) -> list[Installed]:
        """The slots, newest first, each verified. Raises BundleError where the keys cannot be read."""
        state, trusted = self._state_or_none() or State(), self._settings.trusted()
        trial = state.on_trial()
        found = []
        for slot in self.slots.names():
            marks = (slot == state.active, slot == state.previous, trial is not None and slot == trial.slot)
            try:
                bundle = self.slots.read(slot, trusted)
            except BundleError as problem:
                found.append(Installed(slot, None, None, None, (), *marks, str(problem)))
            else:
                manifest = bundle.manifest
                found.append(Installed(slot, bundle.id, manifest.name, manifest.release, tuple(manifest.roles.present()), *marks, None))
        return found

    # how it is done

    def _found(self, wanted: str) -> str:
        slots = self.slots.names()
        if SLOT.fullmatch(wanted) and wanted in slots:
            return wanted
        beginning = [slot for slot in slots if len(wanted) >= 8 and slot.startswith(wanted)]
        if len(beginning) == 1:
            return beginning[0]
        named = [each for each in self.installed() if each.name == wanted and each.release is not None]
        if not named:
            raise BundleError(f"{wanted}: no such slot or name of a usable bundle: see `trichoscope models list`")
        return max(named, key=lambda each: each.release or 0).slot

    def _newer(self, state: State, bundle: Bundle, where: str) -> None:
        """Refuse a release below the highest that ever served well, and another bundle of that number."""
        name, release = bundle.manifest.name, bundle.manifest.release
        highest = state.releases.get(name)
        if highest is None or release > highest.release or bundle.sha256 == highest.slot:
            return
        if release < highest.release:
            raise BundleError(f"{where}: {name} release {release} is older than {highest.release}, which served here: get a newer one")
        raise BundleError(f"{where}: another {name} of release {release} served here: give each bundle a release number of its own")

    def _trusted(self, problems: list[str]) -> TrustedKeys | None:
        try:
            return self._settings.trusted()
        except BundleError as problem:
            problems.append(str(problem))
            return None

    def _roll_back(self, state: State, why: str) -> None:
        """Away from the active bundle for good; the one that served well before it is not put on trial again."""
        name = (state.active or "")[:12]
        target = "the bundle that served before it" if state.previous else "the factory's bundle"
        notice = f"The installed bundle {name} was rolled back to {target}: {why}"[:2000]
        update = {"active": state.previous, "previous": None, "trial": None, "notice": notice, "change": state.change + 1}
        self._commit(state.model_copy(update=update))

    def _of_serving(self, change: Callable[[State, Trial], None]) -> None:
        """Do `change` where the bundle that was chosen here is the one on trial."""
        if self._serving is None:
            return
        with self._writing(), self._changing() as state:
            trial = state.on_trial()
            if trial is not None and trial.slot == self._serving and (self._serving, state.change) not in self._failed:
                change(state, trial)

    def _state_or_none(self) -> State | None:
        try:
            return read_state(self.folder)
        except BundleError:
            return None

    @contextmanager
    def _changing(self, *, damaged_too: bool = False) -> Iterator[State]:
        """The state, with the lock held. A damaged one is replaced by what the slots tell, where `damaged_too`."""
        with locked(self.folder):
            self.slots.hand_over(self.folder / LOCK)
            try:
                state = read_state(self.folder)
            except BundleError:
                if not damaged_too:
                    raise
                state = self._told_by_slots()
            yield state

    def _told_by_slots(self) -> State:
        """A state after damage: the factory's serves; each installed release counts as one that served, lest damage help a roll-back."""
        releases: dict[str, Highest] = {}
        for slot in self.slots.names():
            try:
                manifest = self.slots.read(slot, self._settings.trusted()).manifest
            except BundleError:
                continue
            known = releases.get(manifest.name)
            if known is None or manifest.release > known.release:
                releases[manifest.name] = Highest(release=manifest.release, slot=slot)
        return State(releases=releases)

    def _keep(self, state: State) -> None:
        write_state(self.folder, state)
        self.slots.hand_over(self.folder / STATE)

    def _commit(self, state: State) -> None:
        """Write the state down, which is the moment that counts, and let the links follow."""
        self._at_step("before the change")
        self._keep(state)
        self._at_step("state written")
        self._relink(state)
        self._at_step("linked")

    def _relink(self, state: State) -> None:
        self.slots.link("active", state.active)
        self._at_step("active linked")
        self.slots.link("previous", state.previous)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Disk trouble as BundleError."""
        try:
            yield
        except OSError as problem:
            raise BundleError(f"{self.folder}: {problem.strerror or problem}: free some space, or check its owner") from problem


def _joined(*parts: str | None) -> str | None:
    return " ".join(part for part in parts if part) or None
