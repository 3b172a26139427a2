"""The guided calibration as a state machine: frames and answers go in, what to do and what is seen come out. It knows no terminal.

At each distance: *aim* (every frame is looked at and told), on Enter *take* (the best of several frames is kept, up to a deadline),
then *kept* or *failed*. Enter goes on, r repeats the distance, s skips it, q ends everything without a profile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from calib.targets import Target
from device.camera import Camera
from device.errors import CameraTimeoutError, FrameDecodeError
from runtime.calibration.looking import Look, look
from runtime.errors import TrichoscopeError

Image = NDArray[np.uint8]
Phase = Literal["aim", "take", "kept", "failed", "done", "quit"]

FRAMES = 5  # good looks of which the best is kept
TAKE_S = 20.0  # after so long the best so far is kept, or the distance has failed
FRAME_S = 2.0  # one wait for a frame
SILENCE_S = 20.0  # a camera that is silent for so long has been lost
GOOD, NOT_YET = "good: ", "not yet: "  # how what is said of a frame begins
PATIENCE_S = 900.0  # without an answer


class WalkError(TrichoscopeError):
    """The guided calibration cannot go on: the camera or the person has gone. Nothing was written."""


@dataclass(frozen=True, eq=False)
class Taken:
    """What is kept of one distance: its place in the list, the look, and the frame it was had from."""

    number: int
    distance_mm: float
    look: Look
    image: Image


class Walk:
    """One walk through the distances. Times are seconds of any monotonic clock, always the same one."""

    def __init__(
        self,
        target: Target,
        distances_mm: Sequence[float],
        *,
        frames: int = FRAMES,
        take_s: float = TAKE_S,
        look: Callable[[Image, Target], Look] = look,
    ) -> None:
        self.target = target
        self.distances_mm = tuple(distances_mm)
        self.phase: Phase = "aim"
        self.number = 0  # of the distance
        self.said = ""  # of the latest frame, or of what was answered
        self.good = 0  # looks taken since Enter
        self.frames = frames
        self._take_s = take_s
        self._look = look
        self._since = 0.0
        self._best: Taken | None = None
        self._kept: dict[int, Taken] = {}

    @property
    def kept(self) -> list[Taken]:
        """What was kept, in the order of the distances."""
        return [self._kept[number] for number in sorted(self._kept)]

    @property
    def distance_mm(self) -> float:
        """The distance of now."""
        return self.distances_mm[min(self.number, len(self.distances_mm) - 1)]

    @property
    def over(self) -> bool:
        """Whether nothing more is to be done."""
        return self.phase in ("done", "quit")

    @property
    def task(self) -> str:
        """What the person is to do now, one line."""
        where = f"{self.number + 1} of {len(self.distances_mm)}, {self.distance_mm:g} mm"
        if self.phase == "aim":
            return f"{where}: lay {self.target} at {self.distance_mm:g} mm, then Enter; s skips, q ends"
        if self.phase == "take":
            return f"{where}: hold still, {self.good} of {self.frames} good frames"
        if self.phase == "kept":
            return f"{where}: kept; Enter goes on, r repeats, s leaves it out, q ends"
        if self.phase == "failed":
            return f"{where}: no good frame; Enter tries again, s skips, q ends"
        return "all distances done" if self.phase == "done" else "ended; nothing is written"

    def see(self, image: Image, now_s: float) -> None:
        """A frame, uint8 (height, width, 3) BGR, has come."""
        if self.phase not in ("aim", "take"):
            return
        seen = self._look(image, self.target)
        self.said = (GOOD if seen.taken else NOT_YET) + seen.said
        if self.phase == "take":
            if seen.taken:
                self.good += 1
                if self._best is None or seen.std_share < self._best.look.std_share:
                    self._best = Taken(self.number, self.distance_mm, seen, image)
            self.wait(now_s)

    def wait(self, now_s: float) -> None:
        """Time has passed, with a frame or without."""
        if self.phase != "take" or (self.good < self.frames and now_s - self._since < self._take_s):
            return
        if self._best is None:
            self.phase = "failed"
            return
        self._kept[self.number] = self._best
        self.said = self._best.look.said
        self.phase = "kept"

    def answer(self, text: str, now_s: float) -> None:
        """The person has answered: "" for Enter, or a letter."""
        letter = text.strip().lower()[:1]
        if self.over:
            return
        if letter == "q":
            self.phase = "quit"
        elif letter == "s":
            self._kept.pop(self.number, None)
            self._go_to(self.number + 1)
        elif letter == "r":
            self._kept.pop(self.number, None)
            self._go_to(self.number)
        elif letter:
            self.said = f"{text.strip()[:20]!r} is no answer: Enter, r, s or q"
        elif self.phase == "aim":
            self.phase, self._since, self.good, self._best = "take", now_s, 0, None
        elif self.phase == "kept":
            self._go_to(self.number + 1)
        elif self.phase == "failed":
            self._go_to(self.number)

    def _go_to(self, number: int) -> None:
        self.number, self.good, self._best, self.said = number, 0, None, ""
        self.phase = "aim" if number < len(self.distances_mm) else "done"


class Person(Protocol):
    """Who answers."""

    def answer(self, walk: Walk) -> str | None:
        """What was answered since the last time, None for nothing yet. Does not wait."""

    def show(self, walk: Walk) -> None:
        """Show what is to be done and what is seen."""


def guide(
    walk: Walk,
    camera: Camera,
    person: Person,
    *,
    patience_s: float = PATIENCE_S,
    silence_s: float = SILENCE_S,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Walk to the end with the frames of an open camera and the answers of a person.

    Raises:
        WalkError: the camera is silent for `silence_s`, or nobody answers for `patience_s`.
        DeviceError: the camera went away or ended.
    """
    answered = seen = clock()
    while not walk.over:
        person.show(walk)
        said = person.answer(walk)
        now = clock()
        if said is not None:
            walk.answer(said, now)
            answered = now
            continue
        if walk.phase != "take" and now - answered > patience_s:
            raise WalkError(f"no answer for {patience_s:g} s: start again when somebody is there; nothing was written")
        try:
            frame = camera.read(FRAME_S)
            image = frame.image
        except (CameraTimeoutError, FrameDecodeError) as error:
            walk.said = str(error)
        else:
            seen = clock()
            walk.see(image, seen)
        now = clock()
        walk.wait(now)
        if now - seen > silence_s:
            raise WalkError(f"{camera.uri}: no picture for {silence_s:g} s: check the cable, and start again; nothing was written")
    person.show(walk)
