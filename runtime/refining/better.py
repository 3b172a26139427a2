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
from runtime.bundles.roles import RefinerRole
from runtime.errors import TrichoscopeError
from runtime.refining.prompts import automatic_prompts
from runtime.refining.refiner import LEAST_AREA, MOST_AREA, Refiner, combined, open_refiner, why_not_asked, why_refused

BetterRole = Literal["teacher", "refiner"]
ROLES: Final = frozenset({"teacher", "refiner"})
THREADS: Final = 1  # the calling one: a session's own would not be as nice as it
GIVE_UP_AFTER: Final = 5
"""Failures in a row after which a network is given up until the program starts again: what fails so often only costs time."""
LOGGED: Final = 20
"""Failures that are logged one by one."""
LONGEST_REASON: Final = 200

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


def has_better(bundle: Bundle, roles: Collection[str] = ROLES) -> bool:
    """Whether `bundle` has networks for better masks that may be used: those of `roles`, a refiner only where evidence chose it."""
    there = bundle.manifest.roles
    return (there.teacher is not None and "teacher" in roles) or _refiner(bundle, roles) is not None


def _refiner(bundle: Bundle, roles: Collection[str]) -> RefinerRole | None:
    role = bundle.manifest.roles.refiner
    return role if role is not None and role.use and "refiner" in roles else None


def _open_teacher(bundle: Bundle) -> Teacher:
    role = bundle.manifest.roles.teacher
    return LearnedSegmenter(bundle, role="teacher", threads=THREADS, flips=role is not None and role.flips)


class BetterMasks:
    """The better masks of fields, by a bundle's teacher and refiner; their sessions are open from the first need to `release`.

    Used by one thread at a time.

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
        self._with_teacher = bundle.manifest.roles.teacher is not None and "teacher" in roles
        self._role = _refiner(bundle, roles)
        self._open_teacher = open_teacher
        self._open_refiner = open_refiner
        self._teacher: Teacher | None = None
        self._refiner: Refiner | None = None
        self._failed: dict[BetterRole, int] = {"teacher": 0, "refiner": 0}  # in a row
        self._logged = 0

    def work(self, image: NDArray[np.uint8], had: Callable[[], Masks | None], ready: Callable[[Segmentation], bool]) -> str | None:
        """Find the better masks of `image`, uint8 (height, width, 3) BGR, each better than the one before.

        Args:
            had: gives what is there without them, waited for; None where nobody wants better ones any more.
            ready: is told of each that is ready; whether anybody waits for the next one.

        Returns:
            Why the best one is not to be had, in words for a person; None where it is, and where nobody waits any more.
        """
        try:
            with_teacher = self._taught(image) if self._with_teacher else None
            masks = had()
            if masks is None:
                return None
            found, threshold = masks.live, masks.threshold
            if with_teacher is not None:
                found, threshold = self._believed(image, with_teacher, masks)
                if not ready(found):
                    return None
            if self._role is not None:
                ready(self._refined(image, found, threshold, self._role))
        except PassedOverError as reason:
            return str(reason)[:LONGEST_REASON]
        return None

    def release(self) -> None:
        """Give memory and threads back; they are taken again where they are needed."""
        teacher, self._teacher = self._teacher, None
        refiner, self._refiner = self._refiner, None
        for each in (teacher, refiner):
            if each is not None:
                each.close()

    def _taught(self, image: NDArray[np.uint8]) -> tuple[Segmentation, str, float]:
        """What the teacher alone finds, its name and its threshold."""
        with self._passed_over("teacher"):
            if self._teacher is None:
                self._teacher = self._open_teacher(self._bundle)
            found = self._teacher.segment(image)
            if found.probability is None or not np.isfinite(found.probability).all() or not np.isfinite(found.reliability):
                raise PassedOverError("its answer holds values that are no numbers")
            return found, self._teacher.name, self._teacher.threshold

    def _believed(self, image: NDArray[np.uint8], taught: tuple[Segmentation, str, float], masks: Masks) -> tuple[Segmentation, float]:
        """The mean of the teacher's soft mask and the classical one, and the threshold, where its area is near that of the live mask."""
        alone, name, threshold = taught
        with self._passed_over("teacher"):
            found = averaged(image, alone, masks.classical, threshold)
            had, area = np.count_nonzero(masks.live.mask), np.count_nonzero(found.mask)
            if had and not LEAST_AREA * had <= area <= MOST_AREA * had:
                times = f"{area / had:.2f} times the area of the mask before"
                raise PassedOverError(f"its mask has {times}, {LEAST_AREA:g} to {MOST_AREA:g} are believed")
        return _told(found, mask_source="teacher", models=(("teacher", name),)), threshold

    def _refined(self, image: NDArray[np.uint8], before: Segmentation, threshold: float, role: RefinerRole) -> Segmentation:
        """`before` and the refiner's answer to its prompts in one, in each reading."""
        with self._passed_over("refiner"):
            prompts = automatic_prompts(before.mask, variant=role.prompts)
            if (reason := why_not_asked(prompts)) is not None:
                raise PassedOverError(reason)
            if self._refiner is None:
                self._refiner = self._open_refiner(self._bundle)
            refined = self._refiner.refine(image, prompts)
            if (reason := why_refused(before.mask, refined, role.threshold)) is not None:
                raise PassedOverError(reason)
            readings = []
            for share, reading in zip(READINGS, (before, *before.others), strict=False):
                soft, mask = combined(role.combination, reading, refined, share * role.threshold, share * threshold)
                readings.append(replace(reading, probability=soft, mask=mask, others=()))
            first, *others = readings
            models = (*before.models, ("refiner", self._refiner.name))
        return _told(replace(first, others=tuple(others)), mask_source="ensemble", models=models)

    @contextmanager
    def _passed_over(self, role: BetterRole) -> Iterator[None]:
        """Whatever is raised inside becomes the reason why `role` is passed over; what fails too often in a row is not tried again.

        Raises:
            PassedOverError: something was raised, or the network was given up before.
        """
        if self._failed[role] >= GIVE_UP_AFTER:
            raise PassedOverError(f"the {role} failed on {GIVE_UP_AFTER} fields in a row and is given up: restart the program")
        try:
            yield
        except PassedOverError as reason:  # of this field, which is no failure of the network
            raise PassedOverError(f"the {role}: {reason}") from reason
        except Exception as error:  # whatever it is, the field keeps the mask that it has
            self._failed[role] += 1
            self._logged += 1
            expected = isinstance(error, TrichoscopeError)
            why = str(error) if expected else f"{type(error).__name__}: {error}"
            if self._logged <= LOGGED:
                log.warning("a better mask is passed over", role=role, why=why, exc_info=not expected)
            self._give_back(role)
            raise PassedOverError(f"the {role} failed: {why}") from error
        else:
            self._failed[role] = 0

    def _give_back(self, role: BetterRole) -> None:
        """What has failed may have lost its senses, or lacked the memory that it holds."""
        if role == "teacher":
            lost: Teacher | Refiner | None = self._teacher
            self._teacher = None
        else:
            lost, self._refiner = self._refiner, None
        if lost is not None:
            lost.close()


def _told(found: Segmentation, *, mask_source: Literal["teacher", "ensemble"], models: tuple[tuple[str, str], ...]) -> Segmentation:
    return replace(found, mask_source=mask_source, models=models)
