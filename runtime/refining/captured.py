"""The segmenter of captured fields: the live network's thorough mask at once, and a better one in its place where that is ready in time.

A bundle may hold a teacher, a thick network of the segmenter's kind, and a refiner, which points of a mask prompt. Both are worked on
beside the live picture, in one thread of lower priority. Each capture has a deadline: the best mask that is ready by then stands, and
where a better one was late, missing or broken the segmentation says why. Work is never made less to be quicker, so a mask of one source
is the same on every machine; the machine's load decides at most which source a mask is of, and that is told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray
from typing_extensions import Self  # typing.Self needs 3.11

from runtime.analysis.ensemble import EnsembleSegmenter
from runtime.analysis.segmentation import Segmentation
from runtime.inference.backend import Backend
from runtime.refining.better import Masks, Stopped
from runtime.refining.yielding import REST, give_memory_back, yield_to_others

DEADLINE_S: Final = 1.5
"""For a whole captured field, from the beginning of `segment`: whoever pressed the button waits for it."""
UNHURRIED_S: Final = 30.0
"""Where nobody waits and figures must be the same on every run, as in `trichoscope analyze`."""
IDLE_S: Final = 5.0
"""After a capture the networks are kept for so long, to serve a row of captures; then their memory is given back."""
HAD_S: Final = 120.0
"""For the live mask, which whoever made the field computes meanwhile; it comes, or is said not to come, long before."""
STOP_S: Final = 0.5
BUSY = "the last field is still being worked on"
CLOSED = "the program is ending"
GONE = "the work on it could not be begun"

log = structlog.get_logger(__name__)


class Better(Protocol):
    """Finds the better masks; see `runtime.refining.better.BetterMasks`. Used by one thread at a time, not always the same."""

    def work(
        self,
        image: NDArray[np.uint8],
        had: Callable[[], Masks | None],
        ready: Callable[[Segmentation], bool],
        stopped: Callable[[], Stopped | None],
    ) -> str | None:
        """Find them, tell `ready` of each, and say why the best is not among them."""
        ...

    def cancel(self) -> None:
        """The field in work is no longer wanted, as `stopped` says already: end soon. Any thread."""
        ...

    def release(self) -> None:
        """Give memory and threads back; they are taken again where they are needed."""
        ...


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What became of a field by its deadline: the best mask that was ready, None for none; whether the work was done, and what it said."""

    best: Segmentation | None
    done: bool
    why: str | None


class _Job:
    """One field on its way through the background thread: what that thread is given, and what it has ready so far."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.image = image
        self._changed = threading.Condition()
        self._masks: Masks | None = None
        self._outcome = _Outcome(None, False, None)
        self._stopped: Stopped | None = None

    def give(self, masks: Masks) -> None:
        """Hand over what the better masks are compared with and made of."""
        with self._changed:
            self._masks = masks
            self._changed.notify_all()

    def had(self) -> Masks | None:
        """What `give` gave, waited for; None once nobody waits any more, or where it does not come."""
        with self._changed:
            self._changed.wait_for(lambda: self._masks is not None or self._stopped is not None, timeout=HAD_S)
            return None if self._stopped is not None else self._masks

    def ready(self, found: Segmentation) -> bool:
        """Take a mask, unless it is late; whether anybody waits for the next one."""
        with self._changed:
            if self._stopped is None:
                self._outcome = replace(self._outcome, best=found)
            return self._stopped is None

    def stopped(self) -> Stopped | None:
        """Why nobody waits any more; None where somebody does."""
        with self._changed:
            return self._stopped

    def end(self, why: str | None) -> None:
        """Nothing more comes. `why`: what is missing."""
        with self._changed:
            if self._stopped is None:
                self._outcome = replace(self._outcome, done=True, why=why)
            self._changed.notify_all()

    def taken(self, seconds: float) -> _Outcome:
        """What there is as soon as the work is done, or after `seconds`; what comes later is dropped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped is not None or self._outcome.done, timeout=max(0.0, seconds))
            if self._stopped is None:
                self._stopped = "dropped" if self._outcome.done else "late"
            self._changed.notify_all()
            return self._outcome

    def abandon(self) -> None:
        """Nobody waits any more, and nothing in work is to blame."""
        with self._changed:
            self._stopped = self._stopped or "dropped"
            self._changed.notify_all()


class CapturedSegmenter:
    """`live`'s mask, and a better one of a bundle's teacher and refiner where that is ready by the deadline. Owns `live`.

    Used by one thread at a time. Where nothing better is had, the mask is just what `live` finds, with the reason in `passed_over`.

    Args:
        better: finds the better masks, in the background thread. Owned too.
        deadline_s: seconds from the beginning of a field until which a better mask must be ready. With UNHURRIED_S or more, a field that
            is still in work is waited for as long before the next one is begun; else the next one does without.
        idle_s: seconds for which networks are kept after a field.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        live: EnsembleSegmenter,
        better: Better,
        *,
        deadline_s: float = DEADLINE_S,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live = live
        self._better = better
        self._deadline_s = deadline_s
        self._patience_s = deadline_s if deadline_s >= UNHURRIED_S else 0.0
        self._idle_s = idle_s
        self._clock = clock
        self._changed = threading.Condition()  # guards what follows; held for moments only
        self._job: _Job | None = None  # that waits for the thread, or is in work
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """Of the live segmenter: what it was helped by stands in the segmentation's `models`."""
        return self._live.name

    @property
    def backend(self) -> Backend:
        """What runs the live network, to be asked how it is."""
        return self._live.backend

    @property
    def thread(self) -> threading.Thread | None:
        """The background thread, None while nothing is kept for better masks. Any thread."""
        return self._thread

    def segment(self, image: NDArray[np.uint8]) -> Segmentation:
        """The hair in `image`, uint8 (height, width, 3) BGR.

        Raises:
            InferenceError: the backend of the live network failed. Nothing that a teacher or refiner does raises.
        """
        try:
            job = self._begun(image)
            if isinstance(job, str):
                return replace(self._live.segment(image), passed_over=job)
            began = self._clock()
            live, classical = self._live.with_classical(image)
            job.give(Masks(live, classical, self._live.threshold))
            outcome = job.taken(began + self._deadline_s - self._clock())
        except BaseException:
            self._drop()
            raise
        if not outcome.done:
            self._cancel()
            log.info("a better mask is late", within_s=self._deadline_s, instead=(outcome.best or live).mask_source)
        late = CLOSED if self._closed else f"a better mask was not ready within {self._deadline_s:g} s"
        return replace(outcome.best or live, passed_over=outcome.why if outcome.done else late)

    def hurry(self) -> None:
        """The program is ending: the live mask of a field in work stands, and no better one is begun. Returns at once. Any thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._drop()

    def close(self) -> None:
        """Give memory and threads back; the segmenter is of no use afterwards. A field in work is not waited for longer than a moment."""
        self.hurry()
        thread = self._thread
        if thread is not None:
            thread.join(STOP_S)
        self._live.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _drop(self) -> None:
        """Nobody waits for a field in work any more; it is not to blame."""
        with self._changed:
            if self._job is not None:
                self._job.abandon()
        self._cancel()

    def _cancel(self) -> None:
        """End what a network is working on, which nobody waits for any more."""
        try:
            self._better.cancel()
        except Exception:
            log.exception("a network could not be told to stop")

    def _begun(self, image: NDArray[np.uint8]) -> _Job | str:
        """The job of a field, begun; or why it is passed over."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._job is None, timeout=self._patience_s)
            if self._closed:
                return CLOSED
            if self._job is not None:
                return BUSY
            try:
                job = _Job(image.copy())  # a late one is worked on after its owner has the picture back
            except MemoryError:
                return GONE
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="better masks", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads can be had
                    return GONE
                self._thread = thread
            self._job = job
            self._changed.notify_all()
            return job

    def _run(self) -> None:
        """Work on fields; where none has come for a while, give everything back, and end."""
        yield_to_others()
        while True:
            job = self._next()
            if job is None:
                self._released()
                if self._ended():
                    return
                continue
            why: str | None = None
            began = time.monotonic()
            try:
                why = self._better.work(job.image, job.had, job.ready, job.stopped)
            except BaseException as problem:  # nothing that happens here may end the program, or leave a job without its end
                log.exception("a better mask failed")
                why = f"the work on it failed: {type(problem).__name__}"
            with self._changed:
                self._job = None  # first: who is told of the end may come with the next field at once
                self._changed.notify_all()
            job.end(why)
            self._rest(REST * (time.monotonic() - began))

    def _rest(self, seconds: float) -> None:
        """Leave the machine to the live picture; a field that has come meanwhile waits, and the program's end does not."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, timeout=min(seconds, self._deadline_s / 2))

    def _next(self) -> _Job | None:
        """The next job, waited for a while; None where none came, or none is wanted any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._job is not None, timeout=self._idle_s)
            return None if self._closed else self._job

    def _released(self) -> None:
        try:
            self._better.release()
        except Exception:
            log.exception("a network could not be given back")
        give_memory_back()

    def _ended(self) -> bool:
        """Whether nothing came meanwhile; the next job then begins another thread."""
        with self._changed:
            if self._job is not None and not self._closed:
                return False
            self._job = self._thread = None
            return True
