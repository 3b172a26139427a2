"""Bundles with a teacher and a refiner besides the live network, and stand-ins of both that do as a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from runtime.analysis.ensemble import EnsembleSegmenter
from runtime.analysis.learned import LearnedSegmenter
from runtime.analysis.segmentation import Segmentation
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import RefinerRole, Roles, TeacherRole
from runtime.bundles.writer import write_bundle
from runtime.refining.better import BetterMasks
from runtime.refining.captured import CapturedSegmenter
from runtime.refining.prompts import Prompts
from runtime.refining.refiner import Refined
from tests.runtime.bundle_samples import GOLDEN, MODEL, dark_is_hair, golden, segmenter_role
from tests.runtime.refiner_samples import REFINER, REFINER_GOLDEN, near_points_is_hair, refiner_golden, refiner_role

TEACHER, TEACHER_GOLDEN = "teacher.onnx", "teacher.npz"


def teacher_role(**changes: object) -> TeacherRole:
    fields = segmenter_role().model_dump(mode="python")
    fields["golden"] = segmenter_role().golden.model_copy(update={"file": TEACHER_GOLDEN})
    return TeacherRole(**fields | {"model": TEACHER, "use": True}).model_copy(update=changes)


def write_better(
    folder: Path,
    *,
    teacher: TeacherRole | None = None,
    refiner: RefinerRole | None = None,
    refining: bytes | None = None,
    segmenter: bool = True,
) -> Bundle:
    """A bundle with what is given, by networks that call dark pixels hair; a refiner refines only what is pointed at."""
    content: dict[str, bytes] = {}
    if segmenter:
        content |= {MODEL: dark_is_hair(), GOLDEN: golden()}
    if teacher is not None:
        content |= {TEACHER: dark_is_hair(), TEACHER_GOLDEN: golden()}
    if refiner is not None:
        model = near_points_is_hair() if refining is None else refining
        content |= {REFINER: model, REFINER_GOLDEN: refiner_golden(near_points_is_hair())}
    roles = Roles(segmenter=segmenter_role() if segmenter else None, teacher=teacher, refiner=refiner)
    return write_bundle(folder, content, name="better", release=1, minimum_version="0.1.0", roles=roles)


class StandIn:
    """What a test's teacher and refiner have in common: they are counted, may be held up, and may raise."""

    def __init__(self, error: Exception | None = None, held: threading.Event | None = None) -> None:
        self.error, self.held = error, held
        self.begun = threading.Event()
        self.asked = self.opened = self.closed = self.cancelled = 0
        self.threads: list[threading.Thread] = []

    def open(self, _bundle: Bundle) -> StandIn:
        self.opened += 1
        return self

    def close(self) -> None:
        self.closed += 1

    def cancel(self) -> None:
        self.cancelled += 1

    def resume(self) -> None:
        """It cannot be stopped in the middle."""

    def _at_work(self) -> None:
        self.asked += 1
        self.threads.append(threading.current_thread())
        self.begun.set()
        if self.held is not None:
            assert self.held.wait(30)
        if self.error is not None:
            raise self.error


class StandInTeacher(StandIn):
    """Finds what it is given."""

    name = "teacher/1"
    threshold = 0.5

    def __init__(self, soft: np.ndarray, *, reliability: float = 0.9, **how: object) -> None:
        super().__init__(**how)  # type: ignore[arg-type]
        self.soft, self.reliability = soft, reliability
        self.ostia: np.ndarray | None = None

    def segment(self, image: np.ndarray) -> Segmentation:
        self._at_work()
        return Segmentation(self.soft >= 0.5, self.soft, self.reliability, False, ostium_probability=self.ostia)


class StandInRefiner(StandIn):
    """Answers what it is given, and keeps what it was asked."""

    name = "refiner/1"

    def __init__(self, soft: np.ndarray, *, iou: float = 0.9, **how: object) -> None:
        super().__init__(**how)  # type: ignore[arg-type]
        self.soft, self.iou = soft, iou
        self.prompts: Prompts | None = None

    def refine(self, image: np.ndarray, prompts: Prompts) -> Refined:
        self._at_work()
        self.prompts = prompts
        return Refined(self.soft, self.iou)


def late_at_work(network: StandIn) -> Callable[[], float]:
    """A clock for one field: its deadline passes while `network`, which is held, is at work."""
    times = iter((0.0, 99.0))

    def clock() -> float:
        now = next(times)
        assert now == 0.0 or network.begun.wait(30)
        return now

    return clock


def captured(
    bundle: Bundle, teacher: StandIn | None = None, refiner: StandIn | None = None, *, roles: frozenset[str] | None = None, **how: object
) -> CapturedSegmenter:
    """The segmenter of captures of `bundle`, with stand-ins for what is given; to be closed by the caller."""
    opening: dict[str, object] = {}
    if teacher is not None:
        opening["open_teacher"] = teacher.open
    if refiner is not None:
        opening["open_refiner"] = refiner.open
    allowed = frozenset({"teacher", "refiner"}) if roles is None else roles
    better = BetterMasks(bundle, allowed, **opening)  # type: ignore[arg-type]
    live = EnsembleSegmenter(LearnedSegmenter(bundle, threads=1))
    return CapturedSegmenter(live, better, **{"deadline_s": 30.0, "idle_s": 30.0} | how)  # type: ignore[arg-type]


__all__ = ["StandInRefiner", "StandInTeacher", "captured", "refiner_role", "teacher_role", "write_better"]
