"""Which bundle serves: read, proven and handed to the threads that measure; exchanged between two frames, and only while nobody works.

Another bundle that was activated is made ready beside the one that serves, and waits until no capture has been made for a while: a visit
is never interrupted. One on trial must give its golden answers first, and then measure for a while without a crash, before it is kept.
One whose network fails at work is passed over at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal

import structlog
from typing_extensions import Self  # typing.Self needs 3.11

from runtime.analysis.fallback import INSTEAD
from runtime.analysis.graders import Graders
from runtime.analysis.instruments import Instruments, InUse
from runtime.analysis.segmenters import MakeBackend, SegmenterSource, make_segmenter
from runtime.bundles.errors import BundleError
from runtime.bundles.proof import prove
from runtime.bundles.reader import FACTORY, Bundle, read_bundle
from runtime.bundles.trial import Chosen, ModelStore, Source
from runtime.errors import TrichoscopeError
from runtime.inference.backend import Backend
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend

LOOK_EVERY_S = 2.0
QUIET_S = 120.0
"""Without a capture for so long nobody sits in the chair, as far as the program can know before it has visits."""
MOST_TRIES = 4
"""Bundles that are tried one after the other: the active one, the one before it, the factory's, and one for good measure."""
STOP_DEADLINE_S = 1.5

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ModelsState:
    """What serves at this moment.

    Attributes:
        bundle: id, None where the classical mask serves without any.
        waiting: another bundle was activated and waits for a quiet moment.
        notice: what a person must be told, None where all is well.
    """

    bundle: str | None
    source: Source | Literal["none"]
    waiting: bool
    notice: str | None


@dataclass(frozen=True)
class Wanted:
    """What instruments are made for.

    Attributes:
        classical: no network finds hair.
        roles: those that the profile of use allows, asked anew at each look.
        threads: of the networks.
        backend: makes the backend that finds hair in the live picture; ONNX Runtime where None or where it raises InferenceError, and for
            captures.
    """

    classical: bool
    roles: Callable[[], Collection[str]]
    threads: int
    backend: Callable[[Bundle], MakeBackend] | None = None


@dataclass(frozen=True, eq=False)
class Loaded:
    """A bundle that is to serve (None: no bundle does), and what was made of it for the live picture and for captures."""

    chosen: Chosen | None
    live: Instruments
    captures: Instruments

    @property
    def problem(self) -> str | None:
        """Why a network of an installed bundle is not used; None where all are, and where another bundle would be no help."""
        if self.chosen is None or self.chosen.source != "slot":
            return None
        graders = self.live.graders.problem or self.captures.graders.problem
        if self.chosen.bundle.manifest.roles.segmenter is None:  # then the factory's finds hair
            return graders
        problem = self.live.segmenter.problem or self.captures.segmenter.problem or graders
        return problem and problem.removeprefix(f"{INSTEAD}: ")  # another bundle will serve instead

    def close(self) -> None:
        """Give memory and threads back."""
        self.live.close()
        self.captures.close()


class ModelKeeper:
    """Reads what is to serve when the context is entered, and from `watch` on looks after it in a thread until it is left.

    Attributes:
        live, captures: the instruments of the two threads that measure; there once the context is entered.

    Args:
        trial_s: seconds that a bundle on trial must have measured.
        quiet_s: seconds without work until another bundle is taken over.
        on_progress: called before the golden check, which may take seconds.
    """

    live: InUse
    captures: InUse

    def __init__(
        self,
        store: ModelStore,
        wanted: Wanted,
        *,
        trial_s: float,
        quiet_s: float = QUIET_S,
        look_every_s: float = LOOK_EVERY_S,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._wanted = wanted
        self._trial_s = trial_s
        self._quiet_s = quiet_s
        self._look_every_s = look_every_s
        self._on_progress = on_progress
        self._idle_s: Callable[[], float] = lambda: 0.0
        self._stopping = threading.Event()
        self._stop_by: float | None = None
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._choosing = threading.RLock()  # for what the store remembers of the bundle that serves; held while the disk is waited for
        self._telling = threading.Lock()  # for what is told of it; held for moments, for the server's loop asks
        self._chosen: Chosen | None = None
        self._waiting = False
        self._read: str | None = None  # the notice that a person closed last
        self._roles: frozenset[str] = frozenset()
        self._serving: Loaded

    def __enter__(self) -> Self:
        self._roles = frozenset(self._wanted.roles())
        try:
            loaded = self._loaded(self._roles, count=True)
        except BaseException as error:
            if not isinstance(error, Exception):  # a wish to end the program, which says nothing of the bundle
                self._end_in_order()
            raise
        self._serving, self._chosen = loaded, loaded.chosen
        self.live, self.captures = InUse(loaded.live), InUse(loaded.captures)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Whatever ends the program by raising, or by asking, is no crash: the start is not held against the bundle."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(max(0.0, (self._stop_by or 0.0) - time.monotonic()))
        self._end_in_order()
        self.live.close()
        self.captures.close()

    def watch(self, idle_s: Callable[[], float]) -> None:
        """Look after the bundle from here on. `idle_s`: seconds for which nobody has worked, as far as is known; asked by the thread."""
        self._idle_s = idle_s
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Exchange nothing any more, and keep no capture waiting for a better mask. Returns at once; idempotent."""
        if self._stop_by is None:
            self._stop_by = time.monotonic() + STOP_DEADLINE_S
        self._stopping.set()
        self.captures.now.segmenter.hurry()

    @property
    def state(self) -> ModelsState:
        """What serves at this moment. Any thread."""
        with self._telling:
            chosen, waiting = self._chosen, self._waiting
        if chosen is None:
            return ModelsState(None, "none", waiting, None)
        return ModelsState(chosen.bundle.id, chosen.source, waiting, chosen.notice)

    def dismiss_notice(self) -> None:
        """A person has read the notice. Any thread. Raises BundleError where that cannot be written down; it then stays."""
        read = self.state.notice
        self._store.dismiss_notice()
        with self._telling:
            self._read = read  # a bundle that is being made ready may have been chosen with it
        self._tell(notice=None)

    def _run(self) -> None:
        said: str | None = None
        while not self._stopping.wait(self._look_every_s):
            try:
                self._look()
            except Exception as error:  # the bundle that serves goes on serving
                if repr(error) != said:  # once, not at every look
                    log.exception("the installed bundles could not be looked after")
                said = repr(error)

    def _look(self) -> None:
        if problem := self._serving.problem:
            self._fail(problem)
            return
        chosen = self._serving.chosen
        if self._on_trial and self.live.worked_for_s >= self._trial_s:
            with self._choosing:
                self._try(self._store.confirm)
            self._tell(on_trial=False)
            log.info("a bundle has served its trial", bundle=chosen and chosen.bundle.id)
        if self._wanted.classical:
            return
        roles = frozenset(self._wanted.roles())
        self._waiting = self._store.changed() or roles != self._roles
        if self._waiting and self._quiet:
            self._exchange(roles)

    @property
    def _on_trial(self) -> bool:
        return self._chosen is not None and self._chosen.on_trial

    @property
    def _quiet(self) -> bool:
        return self._idle_s() >= self._quiet_s

    def _fail(self, problem: str) -> None:
        """The installed bundle fails at work: another one serves from the next frame on, whoever works."""
        chosen = self._serving.chosen
        log.warning("a bundle fails at work", bundle=chosen and chosen.bundle.id, why=problem)
        with self._choosing:
            self._store.failed(problem)
            another = self._store.changed()  # rolled back for good, or a person was quicker; else it is passed over, and was counted
        self._serve(self._loaded(self._roles, count=another), self._roles)

    def _exchange(self, roles: frozenset[str]) -> None:
        """Make ready what was activated, and let it serve as soon as it is quiet: it may not be any more."""
        if self._on_trial:
            with self._choosing:
                self._try(self._store.stopped)  # as at a stop: what begins now is counted anew
        loaded = self._loaded(roles, count=True)
        while not self._quiet and not self._serving.problem:
            if self._stopping.wait(self._look_every_s):
                break
        self._serve(loaded, roles)

    def _serve(self, loaded: Loaded, roles: frozenset[str]) -> None:
        if self._stopping.is_set():
            loaded.close()
            return
        self._serving, self._roles = loaded, roles
        with self._telling:
            self._chosen, self._waiting = loaded.chosen, False
            if self._chosen is not None and self._chosen.notice == self._read:
                self._chosen = replace(self._chosen, notice=None)
        self.live.offer(loaded.live)
        self.captures.offer(loaded.captures)
        if loaded.chosen is not None:
            log.info("another bundle serves from the next frame on", bundle=loaded.chosen.bundle.id, source=loaded.chosen.source)

    def _end_in_order(self) -> None:
        """The start of a bundle on trial is not held against it, that of one in the making neither. Waits no longer than it may."""
        deadline = STOP_DEADLINE_S if self._stop_by is None else max(0.1, self._stop_by - time.monotonic())
        if self._choosing.acquire(timeout=deadline):
            try:
                self._try(self._store.stopped)
            finally:
                self._choosing.release()

    def _tell(self, **changes: object) -> None:
        with self._telling:
            if self._chosen is not None:
                self._chosen = replace(self._chosen, **changes)  # type: ignore[arg-type]

    def _loaded(self, roles: frozenset[str], *, count: bool) -> Loaded:
        """What is to serve, made ready. Never raises for a bundle's sake. `count`: as a start of the bundle on trial."""
        if self._wanted.classical:
            return self._without_bundle(None)
        problem = "no bundle can be read"
        for attempt in range(MOST_TRIES):
            with self._choosing:
                if count and attempt == 0 and not self._stopping.is_set():
                    self._store.begin_trial()
                try:
                    chosen = self._store.choose()
                except BundleError as error:  # not even the factory's
                    problem = str(error)
                    break
            try:
                loaded = self._made_of(chosen, roles)
            except Exception as error:  # what a bundle can do to a library nobody knows
                expected = isinstance(error, TrichoscopeError)
                problem = str(error) if expected else f"{type(error).__name__}: {error}"
                log.warning("a bundle does not work here", bundle=chosen.bundle.id, why=problem, exc_info=not expected)
                if chosen.source != "slot":
                    break
                with self._choosing:
                    self._store.failed(problem)
            else:
                if chosen.notice:
                    log.warning("about the installed bundles", notice=chosen.notice)
                return loaded
        return self._without_bundle(f"{INSTEAD}: {problem}")

    def _without_bundle(self, problem: str | None) -> Loaded:
        live, captures = (Instruments(make_segmenter(SegmenterSource(None, problem), threads=1), Graders(None, ())) for _ in range(2))
        return Loaded(None, live, captures)

    def _made_of(self, chosen: Chosen, roles: frozenset[str]) -> Loaded:
        """Raises BundleError where an installed bundle fails its golden check or cannot be used; others are used as far as they can be."""
        bundle = chosen.bundle
        if chosen.on_trial:
            self._on_progress()
            prove(bundle).require()
        finder = bundle if bundle.manifest.roles.segmenter is not None else read_bundle(FACTORY)
        live = self._instruments(finder, bundle, roles, thorough=False)
        try:
            loaded = Loaded(chosen, live, self._instruments(finder, bundle, roles, thorough=True))
        except BaseException:
            live.close()
            raise
        if problem := loaded.problem:
            loaded.close()
            raise BundleError(problem)
        return loaded

    def _instruments(self, finder: Bundle, graded_by: Bundle, roles: frozenset[str], *, thorough: bool) -> Instruments:
        backend_problem: str | None = None
        threads = self._wanted.threads

        def make_backend(model: bytes) -> Backend:
            nonlocal backend_problem
            if self._wanted.backend is not None and not thorough:  # reports rest on captures: their figures are the same on every device
                try:
                    return self._wanted.backend(finder)(model)
                except InferenceError as problem:  # a precision that this bundle has not, say
                    log.warning("ONNX Runtime serves", bundle=finder.id, why=str(problem))
                    backend_problem = f"{problem}; ONNX Runtime serves"
            return OnnxBackend(model, name=finder.id, threads=threads)

        segmenter = make_segmenter(SegmenterSource(finder, None), threads=threads, thorough=thorough, roles=roles, backend=make_backend)
        try:
            graders = Graders(graded_by, roles, threads=threads, thorough=thorough)
        except BaseException:
            segmenter.close()
            raise
        return Instruments(segmenter, graders, backend_problem)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BundleError as problem:
            log.warning("the trial of a bundle could not be written down", why=str(problem))
