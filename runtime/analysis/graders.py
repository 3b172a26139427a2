"""What a bundle grades beside the hairs: severity of hair loss and the conditions of the scalp, as far as it has roles for them.

A grade is an addition: where its network is missing, cannot be used or fails on a picture, the measurement stands without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray
from typing_extensions import Self  # typing.Self needs 3.11

from runtime.analysis.measurement import Conditions, Grade, Hair, Quality
from runtime.analysis.severity import SeverityGrader
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import Bundle
from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from runtime.analysis.scalp.grading import ConditionGrader

LOGGED = 20
"""Failures that are logged one by one; a network that fails now and then for days must not fill the log."""

log = structlog.get_logger(__name__)


class _Closable(Protocol):
    def close(self) -> None: ...


Answer = TypeVar("Answer")
Grader = TypeVar("Grader", bound=_Closable)


@dataclass(frozen=True)
class Graded:
    """What was graded of one picture; `models` names the bundle by role."""

    alopecia: Grade | None = None
    conditions: Conditions | None = None
    models: tuple[tuple[str, str], ...] = ()


class Graders:
    """The graders of one bundle, for one thread; none where `bundle` is None. Never raises.

    Args:
        roles: those that may be used; a profile of use decides on them.
        thorough: for captures: the conditions too, whose network is too slow for every live frame.
    """

    def __init__(self, bundle: Bundle | None, roles: Collection[str], *, threads: int = 1, thorough: bool = False) -> None:
        self._problem: str | None = None
        self._failures = 0
        self._severity: SeverityGrader | None = None
        self._conditions: ConditionGrader | None = None
        if bundle is None:
            return
        there = bundle.manifest.roles
        if there.severity is not None and "severity" in roles:
            self._severity = self._made(lambda: SeverityGrader(bundle, threads=1))
        if thorough and there.conditions is not None and "conditions" in roles:
            from runtime.analysis.scalp.grading import ConditionGrader

            self._conditions = self._made(lambda: ConditionGrader(bundle, threads=threads))

    @property
    def problem(self) -> str | None:
        """Why a grade that the bundle promises is not given, for a person; None where all is as it should be."""
        return self._problem

    @property
    def failures(self) -> int:
        """Pictures without a grade because its network failed."""
        return self._failures

    def grade(self, image: NDArray[np.uint8], hairs: list[Hair], quality: Quality) -> Graded:
        """The grades of a picture, uint8 (height, width, 3) BGR, with the hairs found in it."""
        severity, conditions = self._severity, self._conditions
        alopecia = seen = None
        models = []
        if severity is not None:
            alopecia = self._asked(lambda: severity.grade(hairs, width_px=image.shape[1], height_px=image.shape[0], quality=quality))
            models.append(("severity", severity.name))
        if conditions is not None:
            seen = self._asked(lambda: conditions.grade(image))
            models.append(("conditions", conditions.name))
        return Graded(alopecia, seen, tuple(models))

    def close(self) -> None:
        """Give memory and threads back; from here on nothing is graded."""
        for grader in (self._severity, self._conditions):
            if grader is not None:
                grader.close()
        self._severity = self._conditions = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _made(self, make: Callable[[], Grader]) -> Grader | None:
        try:
            return make()
        except BundleError as problem:
            self._problem = f"a grade is missing: {problem}"
            log.warning("a grader cannot be used", why=str(problem))
            return None

    def _asked(self, ask: Callable[[], Answer]) -> Answer | None:
        try:
            return ask()
        except Exception as error:  # whatever it is, the picture keeps its measurement
            self._failures += 1
            if self._failures <= LOGGED:
                log.warning("a picture was not graded", why=str(error), exc_info=not isinstance(error, TrichoscopeError))
            return None
