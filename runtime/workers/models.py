"""Which bundle serves: read, proven and handed to the threads that measure; exchanged between two frames, and only while nobody works.

Whoever measures takes what it measures with anew for each frame. Another bundle that was activated is made ready beside the one that
serves, and waits until no capture has been made for a while: a visit is never interrupted. One on trial must give its golden answers
first, and serve for a while without a crash, before it is kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import TracebackType

import structlog
from typing_extensions import Self  # typing.Self needs 3.11

from runtime.analysis.fallback import FallingBackSegmenter
from runtime.analysis.graders import Graders
from runtime.analysis.segmenters import MakeBackend, SegmenterSource, make_segmenter
from runtime.bundles.errors import BundleError
from runtime.bundles.proof import prove
from runtime.bundles.reader import FACTORY, Bundle, read_bundle
from runtime.bundles.trial import Chosen, ModelStore

LOOK_EVERY_S = 2.0
QUIET_S = 120.0
"""Without a capture for so long nobody sits in the chair, as far as the program can know before it has visits."""
MOST_TRIES = 4
"""Bundles that are tried one after the other: the active one, the one before it, the factory's, and one for good measure."""
STOP_DEADLINE_S = 1.5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Instruments:
    """What one thread measures with."""

    segmenter: FallingBackSegmenter
    graders: Graders

    def close(self) -> None:
        """Give memory and threads back."""
        self.segmenter.close()
        self.graders.close()


class InUse:
    """The instruments of one thread. That thread calls `take` before each frame; others only look, or offer newer ones."""

    def __init__(self, first: Instruments) -> None:
        self._now = first
        self._next: Instruments | None = None
        self._lock = threading.Lock()

    @property
    def now(self) -> Instruments:
        """Those in use."""
        return self._now

    def take(self) -> Instruments:
        """Those to measure the coming frame with. The measuring thread alone calls it."""
        with self._lock:
            newer, self._next = self._next, None
        if newer is not None:
            older, self._now = self._now, newer
            older.close()
        return self._now

    def offer(self, newer: Instruments) -> None:
        """Have `newer` taken before the next frame. Any thread."""
        with self._lock:
            passed_over, self._next = self._next, newer
        if passed_over is not None:
            passed_over.close()

    def close(self) -> None:
        """Give all back, once the measuring thread has ended."""
        self.take().close()


@dataclass(frozen=True)
class ModelsState:
    """What serves at this moment.

    Attributes:
        bundle: id, None where the classical mask serves without any.
        source: "factory", "slot" or "configured"; "none" without a bundle.
        waiting: another bundle was activated and waits for a quiet moment.
        notice: what a person must be told, None where all is well.
    """

    bundle: str | None
    source: str
    waiting: bool
    notice: str | None


@dataclass(frozen=True)
class Wanted:
    """What instruments are made for.

    Attributes:
        classical: no network finds hair.
        roles: those that the profile of use allows, asked anew at each look.
        threads: of the networks.
        backend: makes the backend that finds hair in a bundle; ONNX Runtime where None.
    """

    classical: bool
    roles: Callable[[], Collection[str]]
    threads: int
    backend: Callable[[Bundle], MakeBackend] | None = None


class ModelKeeper:
    """Reads what is to serve when it is made, and looks after it in a thread for as long as the context is open.

    Args:
        idle_s: seconds for which nobody has worked, as far as is known; called by the keeper's thread.
        trial_s: seconds that a bundle on trial must serve.
    """

    def __init__(
        self, store: ModelStore, wanted: Wanted, *, idle_s: Callable[[], float], trial_s: float, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._store = store
        self._wanted = wanted
        self._idle_s = idle_s
        self._trial_s = trial_s
        self._look_every_s = look_every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._waiting = False
        self._roles = frozenset(wanted.roles())
        self._chosen, live, captures = self._loaded()
        self._since = time.monotonic()
        self.live, self.captures = InUse(live), InUse(captures)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(STOP_DEADLINE_S)
        if kind is None and self._on_trial:
            self._try(self._store.stopped)
        self.live.close()
        self.captures.close()

    @property
    def state(self) -> ModelsState:
        """What serves at this moment. Any thread."""
        chosen = self._chosen
        if chosen is None:
            return ModelsState(None, "none", False, None)
        return ModelsState(chosen.bundle.id, chosen.source, self._waiting, chosen.notice)

    def dismiss_notice(self) -> None:
        """A person has read the notice. Raises BundleError where that cannot be written down."""
        self._store.dismiss_notice()
        chosen = self._chosen
        if chosen is not None:
            self._chosen = Chosen(chosen.bundle, chosen.source, None, chosen.slot, chosen.on_trial)

    @property
    def _on_trial(self) -> bool:
        return self._chosen is not None and self._chosen.on_trial

    def _run(self) -> None:
        while not self._stopping.wait(self._look_every_s):
            try:
                self._look()
            except Exception:  # the bundle that serves goes on serving
                log.exception("the installed bundles could not be looked after")

    def _look(self) -> None:
        chosen = self._chosen
        if chosen is not None and chosen.source == "slot" and (problem := self.live.now.segmenter.problem):
            log.warning("a bundle fails at work", bundle=chosen.bundle.id, why=problem)
            self._store.failed(problem)
            self._exchange()
            return
        if self._on_trial and time.monotonic() - self._since >= self._trial_s:
            self._try(self._store.confirm)
            if chosen is not None:
                self._chosen = Chosen(chosen.bundle, chosen.source, chosen.notice, chosen.slot, on_trial=False)
                log.info("a bundle has served its trial", bundle=chosen.bundle.id)
        roles = frozenset(self._wanted.roles())
        self._waiting = not self._wanted.classical and (self._store.changed() or roles != self._roles)
        if self._waiting and self._idle_s() >= QUIET_S:
            self._roles = roles
            self._exchange()

    def _exchange(self) -> None:
        chosen, live, captures = self._loaded()
        self.live.offer(live)
        self.captures.offer(captures)
        self._chosen, self._since, self._waiting = chosen, time.monotonic(), False
        if chosen is not None:
            log.info("another bundle serves from the next frame on", bundle=chosen.bundle.id, source=chosen.source)

    def _loaded(self) -> tuple[Chosen | None, Instruments, Instruments]:
        """What is to serve, and the instruments of the live picture and of captures made of it. Never raises for a bundle's sake."""
        if self._wanted.classical:
            return (
                None,
                self._instruments(SegmenterSource(None, None), None, False),
                self._instruments(SegmenterSource(None, None), None, True),
            )
        self._store.begin_trial()
        problem = "no bundle can be read"
        for _ in range(MOST_TRIES):
            try:
                chosen = self._store.choose()
            except BundleError as error:  # not even the factory's
                problem = str(error)
                break
            if chosen.notice:
                log.warning("about the installed bundles", notice=chosen.notice)
            try:
                return chosen, *self._made_of(chosen)
            except BundleError as error:
                log.warning("a bundle does not work here", bundle=chosen.bundle.id, why=str(error))
                self._store.failed(str(error))
        source = SegmenterSource(None, f"the classical mask is used instead of the learned one: {problem}")
        return None, self._instruments(source, None, False), self._instruments(source, None, True)

    def _made_of(self, chosen: Chosen) -> tuple[Instruments, Instruments]:
        """Raises BundleError where an installed bundle fails its golden check or cannot be used; others are used as far as they can be."""
        bundle = chosen.bundle
        if chosen.on_trial:
            prove(bundle).require()
        finder = bundle if bundle.manifest.roles.segmenter is not None else read_bundle(FACTORY)
        live, captures = (self._instruments(SegmenterSource(finder, None), bundle, thorough) for thorough in (False, True))
        problem = live.segmenter.problem or captures.segmenter.problem or live.graders.problem or captures.graders.problem
        if chosen.source == "slot" and problem is not None:
            live.close()
            captures.close()
            raise BundleError(problem)
        return live, captures

    def _instruments(self, source: SegmenterSource, graded_by: Bundle | None, thorough: bool) -> Instruments:
        backend = None if source.bundle is None or self._wanted.backend is None else self._wanted.backend(source.bundle)
        segmenter = make_segmenter(source, threads=self._wanted.threads, thorough=thorough, backend=backend)
        return Instruments(segmenter, Graders(graded_by, self._roles, threads=self._wanted.threads, thorough=thorough))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BundleError as problem:
            log.warning("the trial of a bundle could not be written down", why=str(problem))
