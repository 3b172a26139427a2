"""Better masks of a captured field than the live network's: the teacher's, and what a refiner makes of that.

Either is passed over, with the reason, where its network cannot be had, fails, or answers with what cannot be the hair of the field.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from runtime.analysis.ensemble import READINGS, averaged
from runtime.analysis.learned import LearnedSegmenter
from runtime.analysis.segmentation import Segmentation
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import RefinerRole, TeacherRole
from runtime.errors import TrichoscopeError
from runtime.inference.errors import InferenceError
from runtime.refining.prompts import prompts_as_learnt
from runtime.refining.refiner import (
    LEAST_AREA,
    MOST_AREA,
    SLACK,
    Refiner,
    combined,
    open_refiner,
    why_no_mask,
    why_not_asked,
    why_not_combined,
    why_refused,
)

BetterRole = Literal["teacher", "refiner"]
Stopped = Literal["late", "dropped"]
"""Why nobody waits for a field any more: its deadline has passed, or the program ends, or the live network failed."""
ROLES: Final = frozenset({"teacher", "refiner"})
THREADS: Final = 1  # the calling one: a session's own would not be as nice as it
GIVE_UP_AFTER: Final = 5
"""Fields in a row on which a network failed or was late, after which it is given up until the program starts again: it only costs time."""
LOGGED: Final = 20
"""Failures that are logged one by one."""
LONGEST_REASON: Final = 200
MOST_OF_BALD: Final = 0.02
"""Share of a field that a teacher's mask may have where the live mask has no hair at all: a few hairs are overlooked, a shock is not."""
NOTHING_HAD = "the mask that it is compared with did not come"

log = structlog.get_logger(__name__)


class Teacher(Protocol):
    """A thick segmenter, ready when made."""

    @property
    def name(self) -> str:
        """What goes into `models["teacher"]`."""
        ...

    @property
    def threshold(self) -> float:
        """The probability from which a pixel is hair."""
        ...

    def segment(self, image: NDArray[np.uint8]) -> Segmentation:
        """The hair in `image`, uint8 (height, width, 3) BGR."""
        ...

    def cancel(self) -> None:
        """What is being computed is no longer wanted: `segment` raises as soon as it can, and at once until `resume`. Any thread."""
        ...

    def resume(self) -> None:
        """Take work again after `cancel`."""
        ...

    def close(self) -> None:
        """Give memory and threads back."""
        ...


@dataclass(frozen=True, eq=False)
class Masks:
    """What is there of a field without a better mask: the live mask (network and classical), its threshold, and the classical one alone."""

    live: Segmentation
    classical: Segmentation
    threshold: float


class PassedOverError(TrichoscopeError):
    """A better mask of a field is not to be had; the message says why, for a person."""


class _StoppedError(Exception):
    """Nobody waits for better masks of the field any more."""


def has_better(bundle: Bundle, roles: Collection[str] = ROLES) -> bool:
    """Whether `bundle` has networks for better masks that may be used: those of `roles` that evidence chose."""
    return _teacher(bundle, roles) is not None or _refiner(bundle, roles) is not None


def _teacher(bundle: Bundle, roles: Collection[str]) -> TeacherRole | None:
    role = bundle.manifest.roles.teacher
    return role if role is not None and role.use and "teacher" in roles else None


def _refiner(bundle: Bundle, roles: Collection[str]) -> RefinerRole | None:
    role = bundle.manifest.roles.refiner
    return role if role is not None and role.use and "refiner" in roles else None


def _open_teacher(bundle: Bundle) -> Teacher:
    role = bundle.manifest.roles.teacher
    return LearnedSegmenter(bundle, role="teacher", threads=THREADS, flips=role is not None and role.flips)


def _never() -> None:
    """Somebody waits."""


class BetterMasks:
    """The better masks of fields, by a bundle's teacher and refiner; their sessions are open from the first need to `release`.

    Used by one thread at a time; `cancel` is for any other.

    Args:
        roles: those that may be used; a profile of use decides on them.
        open_teacher, open_refiner: make them ready; what they raise is a reason for passing over.
    """

    def __init__(
        self,
        bundle: Bundle,
        roles: Collection[str] = ROLES,
        *,
        open_teacher: Callable[[Bundle], Teacher] = _open_teacher,
        open_refiner: Callable[[Bundle], Refiner] = lambda bundle: open_refiner(bundle, threads=THREADS),
    ) -> None:
        self._bundle = bundle
        self._teaching = _teacher(bundle, roles)
        self._refining = _refiner(bundle, roles)
        self._open_teacher = open_teacher
        self._open_refiner = open_refiner
        self._teacher: Teacher | None = None
        self._refiner: Refiner | None = None
        self._failed: dict[BetterRole, int] = {"teacher": 0, "refiner": 0}  # or late, in a row
        self._logged = 0

    def work(
        self,
        image: NDArray[np.uint8],
        had: Callable[[], Masks | None],
        ready: Callable[[Segmentation], bool],
        stopped: Callable[[], Stopped | None] = _never,
    ) -> str | None:
        """Find the better masks of `image`, uint8 (height, width, 3) BGR, each better than the one before.

        Args:
            had: gives what is there without them, waited for; None where it did not come.
            ready: is told of each that is ready; whether anybody waits for the next one.
            stopped: why nobody waits any more; None where somebody does. What was in work as it became "late" is to blame for it.

        Returns:
            Why the best one is not to be had, in words for a person; None where it is, and where nobody waits any more.
        """
        for network in (self._teacher, self._refiner):
            if network is not None:
                network.resume()  # first: whoever stops this field has said so to `stopped` before it cancels
        try:
            return self._worked(image, had, ready, stopped)
        except PassedOverError as reason:
            return str(reason)[:LONGEST_REASON]
        except _StoppedError:
            return None

    def cancel(self) -> None:
        """The field in work is no longer wanted, as `stopped` says already: the network that runs ends soon. Any thread."""
        for network in (self._teacher, self._refiner):
            if network is not None:
                network.cancel()

    def release(self) -> None:
        """Give memory and threads back; they are taken again where they are needed."""
        teacher, self._teacher = self._teacher, None
        refiner, self._refiner = self._refiner, None
        for each in (teacher, refiner):
            if each is not None:
                each.close()

    def _worked(
        self,
        image: NDArray[np.uint8],
        had: Callable[[], Masks | None],
        ready: Callable[[Segmentation], bool],
        stopped: Callable[[], Stopped | None],
    ) -> str | None:
        """As `work`. Raises PassedOverError for a reason, and _StoppedError where nobody waits any more."""
        taught: tuple[Segmentation, str, float] | None = None
        if self._teaching is not None:
            with self._passed_over("teacher", stopped):
                taught = self._taught(image, stopped)
        masks = had()
        if masks is None:
            return None if stopped() is not None else NOTHING_HAD
        found, threshold = masks.live, masks.threshold
        if taught is not None:
            with self._passed_over("teacher", stopped):
                found, threshold = self._believed(image, taught, masks)
                _handed_over(ready, found)
            self._failed["teacher"] = 0
        if self._refining is not None:
            with self._passed_over("refiner", stopped):
                refined = self._refined(image, found, threshold, self._refining, stopped)
                if refined is None:
                    return None
                _handed_over(ready, refined)
            self._failed["refiner"] = 0
        return None

    def _taught(self, image: NDArray[np.uint8], stopped: Callable[[], Stopped | None]) -> tuple[Segmentation, str, float]:
        """What the teacher alone finds, its name and its threshold."""
        if self._teacher is None:
            self._teacher = self._open_teacher(self._bundle)
            _go_on(stopped)
        teacher = self._teacher
        found = teacher.segment(image)
        _go_on(stopped)
        if (reason := _why_no_answer(found, image.shape[:2])) is not None:
            raise InferenceError(reason)
        return found, teacher.name, teacher.threshold

    def _believed(self, image: NDArray[np.uint8], taught: tuple[Segmentation, str, float], masks: Masks) -> tuple[Segmentation, float]:
        """The mean of the teacher's soft mask and the classical one, and the threshold, where its area is near that of the live mask."""
        alone, name, threshold = taught
        ostia, live = alone.ostium_probability, masks.live
        marked = self._teaching is not None and self._teaching.marks and ostia is not None and bool(ostia.any())
        if not marked:  # of openings and faint hair it says nothing
            alone = replace(alone, ostium_probability=live.ostium_probability, faint=live.faint)
        found = averaged(image, alone, masks.classical, threshold)
        had, area = np.count_nonzero(live.mask), np.count_nonzero(found.mask)
        if had and not LEAST_AREA * had <= area <= MOST_AREA * had:
            times = f"{area / had:.2f} times the area of the mask before"
            raise PassedOverError(f"its mask has {times}, {LEAST_AREA:g} to {MOST_AREA:g} are believed")
        if not had and area > MOST_OF_BALD * live.mask.size:
            share = f"{100 * area / live.mask.size:.1f} % of the field"
            raise PassedOverError(f"it finds hair on {share} where the mask before has none, {100 * MOST_OF_BALD:g} % are believed")
        return _told(found, mask_source="teacher", models=(("teacher", name),)), threshold

    def _refined(
        self,
        image: NDArray[np.uint8],
        before: Segmentation,
        threshold: float,
        role: RefinerRole,
        stopped: Callable[[], Stopped | None],
    ) -> Segmentation | None:
        """`before` and the refiner's answer to its prompts in one, in each reading; None where there is nothing to refine."""
        prompts = prompts_as_learnt(before.mask, role.preprocessing.longest_side, variant=role.prompts)
        if why_not_asked(prompts) is not None:
            return None
        _go_on(stopped)
        if self._refiner is None:
            self._refiner = self._open_refiner(self._bundle)
            _go_on(stopped)
        refiner = self._refiner
        refined = refiner.refine(image, prompts)
        _go_on(stopped)
        if (reason := why_no_mask(refined, before.mask.shape)) is not None:
            raise InferenceError(reason)
        if (reason := why_refused(before.mask, refined, role.threshold)) is not None:
            raise PassedOverError(reason)
        readings: list[Segmentation] = []
        for share, reading in zip(READINGS, (before, *before.others), strict=False):
            soft, mask = combined(role.combination, reading, refined, share * role.threshold, share * threshold, image)
            if not readings and (reason := why_not_combined(before.mask, mask)) is not None:
                raise PassedOverError(reason)
            readings.append(replace(reading, probability=soft, mask=mask, others=()))
        first, *others = readings
        models = (*before.models, ("refiner", refiner.name))
        return _told(replace(first, others=tuple(others)), mask_source="ensemble", models=models)

    @contextmanager
    def _passed_over(self, role: BetterRole, stopped: Callable[[], Stopped | None]) -> Iterator[None]:
        """Whatever is raised inside becomes the reason why `role` is passed over; what fails or is late too often in a row is given up.

        Raises:
            PassedOverError: something was raised, or the network was given up before.
            _StoppedError: nobody waits any more.
        """
        if self._failed[role] >= GIVE_UP_AFTER:
            raise PassedOverError(f"the {role} failed or was late on {GIVE_UP_AFTER} fields in a row and is given up: restart the program")
        try:
            _go_on(stopped)
            yield
        except Exception as error:  # whatever it is, the field keeps the mask that it has
            if (ended := stopped()) is not None or isinstance(error, _StoppedError):  # a network that was cancelled has not failed
                if ended == "late":
                    self._late(role)
                raise _StoppedError from error
            if isinstance(error, PassedOverError):  # of this field, which is no failure of the network
                raise PassedOverError(f"the {role}: {error}") from error
            self._failed[role] += 1
            self._logged += 1
            expected = isinstance(error, TrichoscopeError)
            why = str(error) if expected else f"{type(error).__name__}: {error}"
            if self._logged <= LOGGED:
                log.warning("a better mask is passed over", role=role, why=why, exc_info=not expected)
            self._give_back(role)
            raise PassedOverError(f"the {role} failed: {why}") from error

    def _late(self, role: BetterRole) -> None:
        self._failed[role] += 1
        if self._failed[role] >= GIVE_UP_AFTER:
            log.warning("a network for better masks is given up", role=role, why="too slow here", fields=GIVE_UP_AFTER)
            self._give_back(role)

    def _give_back(self, role: BetterRole) -> None:
        """What has failed may have lost its senses, or lacked the memory that it holds."""
        if role == "teacher":
            lost: Teacher | Refiner | None = self._teacher
            self._teacher = None
        else:
            lost, self._refiner = self._refiner, None
        if lost is not None:
            lost.close()


def _go_on(stopped: Callable[[], Stopped | None]) -> None:
    """Raises _StoppedError where nobody waits any more."""
    if stopped() is not None:
        raise _StoppedError


def _handed_over(ready: Callable[[Segmentation], bool], found: Segmentation) -> None:
    """Tell `ready`. Raises _StoppedError where nobody waits any more."""
    if not ready(found):
        raise _StoppedError


def _why_no_answer(found: Segmentation, shape: tuple[int, ...]) -> str | None:
    """Why what a teacher answers is no answer to a picture of `shape` (height, width), in words for a person; None where it is one."""
    ostia = found.ostium_probability
    for what, soft in (("mask", found.probability), ("map of openings", ostia)):
        if soft is None:
            if what == "mask":
                return "its answer has no soft mask"
            continue
        if soft.shape != shape:
            return f"its {what} has the shape {soft.shape}, the picture {shape}"
        if not np.isfinite(soft).all():
            return f"its {what} holds values that are no numbers"
        if soft.min() < -SLACK or soft.max() > 1 + SLACK:
            return f"its {what} holds values that are no probabilities"
    return None if np.isfinite(found.reliability) else "its answer holds values that are no numbers"


def _told(found: Segmentation, *, mask_source: Literal["teacher", "ensemble"], models: tuple[tuple[str, str], ...]) -> Segmentation:
    return replace(found, mask_source=mask_source, models=models)
