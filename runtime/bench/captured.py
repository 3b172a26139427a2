"""What the better masks of captured fields cost: milliseconds a field, what the live picture loses meanwhile, and memory.

The fields are rendered. Three things are measured: fields alone, without a deadline that counts; the resident memory before, at most
while, and after their networks were given back; and how often the live picture is measured beside nothing, beside the background work on
better masks, and beside whole captures, either without a pause, which is more than any hand can press.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.recipe import Kind
from device.simulated.scene import render_frame
from runtime.analysis.ensemble import EnsembleSegmenter
from runtime.analysis.learned import LearnedSegmenter
from runtime.analysis.segmentation import Segmentation, Segmenter
from runtime.bench.inference.compare import resident_mb
from runtime.bundles.reader import Bundle
from runtime.errors import TrichoscopeError
from runtime.pipeline import analyse
from runtime.refining.better import THREADS, BetterMasks, Masks, Teacher, has_better
from runtime.refining.captured import UNHURRIED_S, CapturedSegmenter
from runtime.refining.prompts import Prompts
from runtime.refining.refiner import Refined, Refiner, open_refiner
from runtime.refining.yielding import REST, yield_to_others

SIZE = (640, 480)
SWITCH_INTERVAL_S = 0.001  # as the daemon's
SETTLE_S = 1.0
SHORT_IDLE_S = 0.2
RELEASED_DEADLINE_S = 10.0
SAMPLE_S = 0.02
FIRST_S = 20.0  # on a machine that is busy with other things

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class CapturedPlan:
    """What is measured: rendered fields of a kind from a seed on, how long each rate is watched, threads of the live network."""

    kind: Kind
    seed: int
    fields: int
    seconds: float
    threads: int


@dataclass(frozen=True)
class Times:
    """Milliseconds of something done several times; None where it never was."""

    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True)
class CapturedFigures:
    """What was measured.

    Attributes:
        live: the thorough live mask alone.
        opening: of a network; `teacher`, `refiner`: one answer of it, with all that is done for it; `whole`: a field with all.
        whole_busy: a field while the live picture is measured, with the deadline of captures.
        masks, busy_masks: how many fields stood on which mask, alone and beside the live picture.
        passed_over: why better masks were passed over, how often.
        rate_alone, rate_beside_work, rate_beside_captures: live pictures measured a second beside nothing, beside the background work, and
            beside whole captures, which take the thorough live mask first, at the live picture's own priority.
        slowed: 1 − the second of these over the first.
        before_mb, most_mb, after_mb: resident memory.
        given_back: whether the networks were given back before `after_mb`, within a bound.
    """

    live: Times
    opening: Times
    teacher: Times
    refiner: Times
    whole: Times
    whole_busy: Times
    masks: dict[str, int]
    busy_masks: dict[str, int]
    passed_over: dict[str, int]
    rate_alone: float
    rate_beside_work: float
    rate_beside_captures: float
    slowed: float
    before_mb: float
    most_mb: float
    after_mb: float
    given_back: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values, rounded."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: plain(each) for key, each in value.items()}
            return round(value, 3) if isinstance(value, float) else value

        found: dict[str, Any] = plain(asdict(self))
        return found


def measure_captured(bundle: Bundle, plan: CapturedPlan, advance: Callable[[str], None] = lambda what: None) -> CapturedFigures:
    """Measure the better masks of `bundle`. `advance` is told what begins.

    Raises:
        TrichoscopeError: the bundle has nothing better than the live mask, its networks cannot be used, or the best mask of a field was
            passed over, so that the figures would be of less work.
    """
    if not has_better(bundle):
        raise TrichoscopeError(f"{bundle.id}: it has no teacher and no refiner that evidence chose: name another with --bundle")
    advance("rendering")
    width, height = SIZE
    pictures = [render_frame(plan.seed + i, width=width, height=height, kind=plan.kind).image for i in range(plan.fields)]
    clocks: dict[str, list[float]] = {"opening": [], "teacher": [], "refiner": []}
    with _as_in_the_daemon():
        live = EnsembleSegmenter(LearnedSegmenter(bundle, threads=plan.threads, flips=True))
        with closing(CapturedSegmenter(live, _TimedMasks(bundle, clocks), deadline_s=UNHURRIED_S, idle_s=SHORT_IDLE_S)) as segmenter:
            advance("the live mask")
            live.segment(pictures[0])
            live_ms = [_timed(live, picture)[0] for picture in pictures]
            before = resident_mb()
            advance("better masks")
            with _Peak() as peak:
                alone = [_timed(segmenter, picture) for picture in pictures]
            for number, (_, found) in enumerate(alone):
                _require(found.passed_over, bundle, f"field {plan.seed + number}")
            given_back = _wait_until_released(segmenter)
            after = resident_mb()
        live = EnsembleSegmenter(LearnedSegmenter(bundle, threads=plan.threads, flips=True))
        with _LiveLoop(bundle, plan, pictures) as loop, closing(CapturedSegmenter(live, BetterMasks(bundle))) as segmenter:
            advance("the live picture alone")
            time.sleep(SETTLE_S)
            rate_alone = loop.rate_beside(lambda: time.sleep(SAMPLE_S), plan.seconds)
            advance("beside the background work")
            rate_work = _rate_beside_work(loop, bundle, live, pictures, plan.seconds)
            advance("beside whole captures")
            turns = itertools.cycle(pictures)
            busy: list[tuple[float, Segmentation]] = []
            rate_captures = loop.rate_beside(lambda: busy.append(_timed(segmenter, next(turns))), plan.seconds)
    reasons = Counter(found.passed_over for _, found in (*alone, *busy) if found.passed_over is not None)
    return CapturedFigures(
        live=_times(live_ms),
        opening=_times(clocks["opening"]),
        teacher=_times(clocks["teacher"]),
        refiner=_times(clocks["refiner"]),
        whole=_times([ms for ms, _ in alone]),
        whole_busy=_times([ms for ms, _ in busy]),
        masks=dict(Counter(str(found.mask_source) for _, found in alone)),
        busy_masks=dict(Counter(str(found.mask_source) for _, found in busy)),
        passed_over=dict(reasons),
        rate_alone=rate_alone,
        rate_beside_work=rate_work,
        rate_beside_captures=rate_captures,
        slowed=1 - rate_work / rate_alone,
        before_mb=before,
        most_mb=max(peak.most_mb, after),
        after_mb=after,
        given_back=given_back,
    )


def _require(passed_over: str | None, bundle: Bundle, what: str) -> None:
    """Raises TrichoscopeError where a better mask of `what` was passed over."""
    if passed_over is not None:
        raise TrichoscopeError(
            f"{bundle.id}: {what}: a better mask was passed over, {passed_over}: "
            "mend the bundle, or choose other fields with --seed and --kind"
        )


def _rate_beside_work(loop: _LiveLoop, bundle: Bundle, live: EnsembleSegmenter, pictures: Sequence[Picture], seconds: float) -> float:
    """Live pictures a second beside the work of the background thread alone, in a thread as nice as that."""
    masks = [Masks(*live.with_classical(picture), live.threshold) for picture in pictures]
    turns = itertools.cycle(zip(pictures, masks, strict=True))
    better = BetterMasks(bundle)
    rates: list[float] = []
    problems: list[TrichoscopeError] = []

    def one_field() -> None:
        picture, had = next(turns)
        began = time.perf_counter()
        _require(better.work(picture, lambda: had, lambda found: True), bundle, "a field beside the live picture")
        time.sleep(REST * (time.perf_counter() - began))  # as the thread does

    def work() -> None:
        yield_to_others()
        try:
            one_field()  # which opens the networks
            rates.append(loop.rate_beside(one_field, seconds))
        except TrichoscopeError as problem:
            problems.append(problem)
        better.release()

    thread = threading.Thread(target=work, name="better masks", daemon=True)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    if not rates:
        raise TrichoscopeError("the live picture could not be measured beside the work on better masks: ask for more --seconds")
    return rates[0]


def _timed(segmenter: Segmenter, picture: Picture) -> tuple[float, Segmentation]:
    began = time.perf_counter()
    found = segmenter.segment(picture)
    return (time.perf_counter() - began) * 1e3, found


def _times(milliseconds: Sequence[float]) -> Times:
    if not milliseconds:
        return Times(None, None)
    p50, p95 = (float(value) for value in np.percentile(milliseconds, (50, 95)))
    return Times(p50, p95)


def _wait_until_released(segmenter: CapturedSegmenter) -> bool:
    """Whether the networks were given back, waited for within a bound."""
    deadline = time.monotonic() + RELEASED_DEADLINE_S
    while segmenter.thread is not None and time.monotonic() < deadline:
        time.sleep(SAMPLE_S)
    return segmenter.thread is None


@contextmanager
def _as_in_the_daemon() -> Iterator[None]:
    """OpenCV on one core and threads that switch often, while inside."""
    threads, interval = cv2.getNumThreads(), sys.getswitchinterval()
    cv2.setNumThreads(1)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        sys.setswitchinterval(interval)


class _TimedMasks(BetterMasks):
    """The better masks, and how long each network took, in `clocks`."""

    def __init__(self, bundle: Bundle, clocks: dict[str, list[float]]) -> None:
        self._clocks = clocks
        super().__init__(bundle, open_teacher=self._timed_teacher, open_refiner=self._timed_refiner)

    def _timed_teacher(self, bundle: Bundle) -> Teacher:
        role = bundle.manifest.roles.teacher
        with self._clock("opening"):
            teacher = LearnedSegmenter(bundle, role="teacher", threads=THREADS, flips=role is not None and role.flips)
        return _TimedTeacher(teacher, lambda: self._clock("teacher"))

    def _timed_refiner(self, bundle: Bundle) -> Refiner:
        with self._clock("opening"):
            refiner = open_refiner(bundle, threads=THREADS)
        return _TimedRefiner(refiner, lambda: self._clock("refiner"))

    @contextmanager
    def _clock(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._clocks[name].append((time.perf_counter() - began) * 1e3)


class _TimedTeacher:
    def __init__(self, teacher: Teacher, clock: Callable[[], Any]) -> None:
        self._teacher, self._clock = teacher, clock
        self.name, self.threshold, self.close = teacher.name, teacher.threshold, teacher.close
        self.cancel, self.resume = teacher.cancel, teacher.resume

    def segment(self, image: Picture) -> Segmentation:
        with self._clock():
            return self._teacher.segment(image)


class _TimedRefiner:
    def __init__(self, refiner: Refiner, clock: Callable[[], Any]) -> None:
        self._refiner, self._clock = refiner, clock
        self.name, self.close = refiner.name, refiner.close
        self.cancel, self.resume = refiner.cancel, refiner.resume

    def refine(self, image: Picture, prompts: Prompts) -> Refined:
        with self._clock():
            return self._refiner.refine(image, prompts)


class _Peak:
    """Watches the resident memory while the context is open."""

    def __init__(self) -> None:
        self.most_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self.most_mb = max(self.most_mb, resident_mb())


class _LiveLoop:
    """Measures pictures as the live page's thread does, one after the other, while the context is open."""

    def __init__(self, bundle: Bundle, plan: CapturedPlan, pictures: Sequence[Picture]) -> None:
        self._segmenter = LearnedSegmenter(bundle, threads=plan.threads)
        self._pictures = pictures
        self._measured = 0
        self._problem: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def __enter__(self) -> _LiveLoop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._segmenter.close()

    def rate_beside(self, work: Callable[[], object], seconds: float) -> float:
        """Pictures a second while `work` is done again and again, for `seconds` at least, and until one is measured, within FIRST_S.

        Raises:
            TrichoscopeError: not even one was measured.
        """
        began, before = time.perf_counter(), self._measured
        while (spent := time.perf_counter() - began) < seconds or (self._measured == before and spent < seconds + FIRST_S):
            work()
        rate = (self._measured - before) / (time.perf_counter() - began)
        if self._problem is not None or not rate:
            raise TrichoscopeError(f"the live picture could not be measured ({self._problem or 'too slow'}): ask for more --seconds")
        return rate

    def _run(self) -> None:
        try:
            for picture in itertools.cycle(self._pictures):
                if self._stop.is_set():
                    return
                analyse(picture, name="live", segmentation=self._segmenter)
                self._measured += 1
        except Exception as problem:  # told by who waits
            self._problem = problem
