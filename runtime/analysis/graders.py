"""What a bundle grades beside the hairs: severity of hair loss and the conditions of the scalp, as far as it has roles for them.

A grade is an addition: where its network is missing, cannot be used or fails on a picture, the measurement stands without it. The
networks, and ONNX Runtime with them, are loaded only where a bundle has such a role.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray
from typing_extensions import Self  # typing.Self needs 3.11

from runtime.analysis.measurement import Conditions, Grade, Hair, Quality
from runtime.bundles.reader import Bundle
from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from runtime.analysis.scalp.grading import ConditionGrader
    from runtime.analysis.severity import SeverityGrader

GIVE_UP_AFTER = 5
"""Failures in a row after which a network is given up: what fails so often only costs time."""
LOGGED = 20
"""Failures that are logged one by one; a network that fails now and then for days must not fill the log."""

log = structlog.get_logger(__name__)


class _Closable(Protocol):
    def close(self) -> None: ...


GradingRole = Literal["severity", "conditions"]
Answer = TypeVar("Answer")
Grader = TypeVar("Grader", bound=_Closable)


@dataclass(frozen=True)
class Graded:
    """What was graded of one picture; `models` names the bundle by each role that was asked, also where it gave no grade."""

    alopecia: Grade | None = None
    conditions: Conditions | None = None
    models: tuple[tuple[str, str], ...] = ()


class Graders:
    """The graders of one bundle, for one thread; none where `bundle` is None. Never raises.

    Used by one thread at a time; `problem` and `failures` may be read by others.

    Args:
        roles: those that may be used; a profile of use decides on them.
        thorough: for captures: the conditions too, whose network is too slow for every live frame.
    """

    def __init__(self, bundle: Bundle | None, roles: Collection[str], *, threads: int = 1, thorough: bool = False) -> None:
        self._problem: str | None = None
        self._failures = 0
        self._in_a_row: dict[GradingRole, int] = {}
        self._severity: SeverityGrader | None = None
        self._conditions: ConditionGrader | None = None
        if bundle is None:
            return
        there = bundle.manifest.roles
        if there.severity is not None and "severity" in roles:
            from runtime.analysis.severity import SeverityGrader

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

    def grade(self, image: NDArray[np.uint8], hairs: list[Hair], quality: Quality, um_per_px: float | None = None) -> Graded:
        """The grades of a picture, uint8 (height, width, 3) BGR, with the hairs found in it and its scale at the middle."""
        alopecia = seen = None
        models = []
        if (severity := self._severity) is not None:
            height, width = image.shape[:2]
            alopecia = self._asked(
                "severity",
                lambda: severity.grade(hairs, width_px=width, height_px=height, quality=quality, um_per_px=um_per_px),
            )
            models.append(("severity", severity.name))
        if (conditions := self._conditions) is not None:
            seen = self._asked("conditions", lambda: conditions.grade(image))
            models.append(("conditions", conditions.name))
        return Graded(alopecia, seen, tuple(models))

    def close(self) -> None:
        """Give memory and threads back; from here on nothing is graded."""
        self._give_back("severity")
        self._give_back("conditions")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _made(self, make: Callable[[], Grader]) -> Grader | None:
        try:
            return make()
        except Exception as problem:  # whatever it is, hair is measured without grades
            self._problem = f"a grade is missing: {problem}"
            log.warning("a grader cannot be used", why=str(problem), exc_info=not isinstance(problem, TrichoscopeError))
            return None

    def _asked(self, role: GradingRole, ask: Callable[[], Answer]) -> Answer | None:
        try:
            answer = ask()
        except Exception as error:  # whatever it is, the picture keeps its measurement
            self._note(role, error)
            return None
        self._in_a_row[role] = 0
        return answer

    def _note(self, role: GradingRole, error: Exception) -> None:
        self._failures += 1
        self._in_a_row[role] = self._in_a_row.get(role, 0) + 1
        if self._failures <= LOGGED:
            log.warning("a picture was not graded", role=role, why=str(error), exc_info=not isinstance(error, TrichoscopeError))
        if self._in_a_row[role] >= GIVE_UP_AFTER:
            self._problem = (
                f"a grade is missing: {role} failed on {GIVE_UP_AFTER} pictures in a row ({error}): "
                "restart the program; where that does not help, install the bundle again"
            )
            log.error("a grader is given up", role=role, why=self._problem)
            self._give_back(role)

    def _give_back(self, role: GradingRole) -> None:
        given: _Closable | None
        if role == "severity":
            given, self._severity = self._severity, None
        else:
            given, self._conditions = self._conditions, None
        if given is not None:
            given.close()
