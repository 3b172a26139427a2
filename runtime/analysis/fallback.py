"""The learned segmenter with the classical one behind it: every picture gets a mask, and whoever looks is told which.

A backend can fail long after its network was loaded: for want of memory, or on one picture alone. That picture gets the classical
mask; after several failures in a row the learned segmenter is given up until the program starts again.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import TracebackType

import numpy as np
import structlog
from numpy.typing import NDArray
from typing_extensions import Self  # typing.Self needs 3.11

from runtime.analysis.classical import ClassicalSegmenter
from runtime.analysis.segmentation import ClosableSegmenter, HurriedSegmenter, Segmentation
from runtime.errors import TrichoscopeError
from runtime.inference.backend import Backend
from runtime.inference.errors import InferenceError

INSTEAD = "the classical mask is used instead of the learned one"
STAY_AFTER = 5
"""Failures in a row after which the learned segmenter is given up: what fails so often only costs time."""
LOGGED = 20
"""Failures that are logged one by one; a backend that fails now and then for days must not fill the log."""
LONGEST_REASON = 200

log = structlog.get_logger(__name__)


class FallingBackSegmenter:
    """Finds hair with the learned segmenter, and with the classical one where that cannot. Never raises.

    Used by one thread at a time; `name`, `failures` and `problem` may be read by others. It owns the learned segmenter: `close`, or
    leaving the context, gives that one's memory and threads back.
    """

    def __init__(self, learned: ClosableSegmenter | None, problem: str | None = None) -> None:
        """Store the arguments. Without a `learned` segmenter the classical one serves; `problem` says why, None where it was chosen."""
        self._learned = learned
        self._classical = ClassicalSegmenter()
        self._problem = problem
        self._name = self._classical.name if learned is None else learned.name
        self._failures = 0
        self._in_a_row = 0
        self._gone: str | None = None  # why the learned segmenter that served was given up

    @property
    def name(self) -> str:
        """Of the segmenter that made the last mask; before the first, of the one that will."""
        return self._name

    @property
    def problem(self) -> str | None:
        """Why the classical mask serves although the learned one was wanted, for a person; None where all is as it should be."""
        return self._problem

    @property
    def backend(self) -> Backend | None:
        """What runs the learned segmenter's network, to be asked how it is; None where the classical one serves alone. Any thread."""
        learned = self._learned
        return None if learned is None else learned.backend

    @property
    def failures(self) -> int:
        """Pictures on which the learned segmenter failed."""
        return self._failures

    def segment(self, image: NDArray[np.uint8]) -> Segmentation:
        """The hair in `image`, uint8 (height, width, 3) BGR of at least 8×8 px."""
        learned = self._learned
        why = self._gone
        if learned is not None:
            try:
                found = _finite(learned.segment(image), learned.name)
            except Exception as error:  # whatever it is, this picture still gets its mask
                self._note(error, learned)
                why = f"the learned segmenter failed: {str(error) or type(error).__name__}"[:LONGEST_REASON]
            else:
                self._name, self._in_a_row = learned.name, 0
                return found
        self._name = self._classical.name
        return replace(self._classical.segment(image), passed_over=why)

    def hurry(self) -> None:
        """The program is ending: a better mask is no longer waited for. Returns at once; idempotent. Any thread."""
        learned = self._learned
        if isinstance(learned, HurriedSegmenter):
            learned.hurry()

    def close(self) -> None:
        """Give the learned segmenter's memory and threads back; from here on the classical one serves."""
        learned, self._learned = self._learned, None
        if learned is not None:
            learned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _note(self, error: Exception, learned: ClosableSegmenter) -> None:
        self._failures += 1
        self._in_a_row += 1
        if self._failures <= LOGGED:
            expected = isinstance(error, TrichoscopeError)
            log.warning("the classical mask serves a picture, the learned segmenter failed", why=str(error), exc_info=not expected)
        if self._in_a_row >= STAY_AFTER:
            self._problem = (
                f"{INSTEAD}: {learned.name} failed on {STAY_AFTER} pictures in a row ({error}): "
                "restart the program; where that does not help, install the bundle again"
            )
            log.error("the learned segmenter is given up", why=self._problem)
            self._gone = self._problem[:LONGEST_REASON]
            self.close()


def _finite(found: Segmentation, name: str) -> Segmentation:
    """`found`, where it can be measured: what is no number in a soft mask makes its reliability none either."""
    if not math.isfinite(found.reliability):
        raise InferenceError(f"{name}: the network gave no finite numbers")
    return found
