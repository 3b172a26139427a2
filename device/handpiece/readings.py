"""What a range sensor measured, for how long it holds, and when it is to be believed."""

from __future__ import annotations

from dataclasses import dataclass

from device.handpiece.sentences import RangeStatus

STALE_NS = 200_000_000
AGREE_MM = 30.0  # what a quick hand moves between two readings at 20 a second
AGREE_SHARE = 0.1


@dataclass(frozen=True)
class Reading:
    """One distance to the skin.

    Attributes:
        distance_mm, std_mm: the distance and its standard uncertainty in mm; both None where there is no target, or a fault.
        status: `valid`; `weak`: measured, and not good enough for a scale; `no-target`; `fault` of the sensor.
        received_ns: `time.monotonic_ns()` when its last byte was read.
    """

    distance_mm: float | None
    std_mm: float | None
    status: RangeStatus
    received_ns: int


class Agreement:
    """Keeps readings back that a disturbed line may have made up.

    The first one, and one that follows noise, is believed once another agrees with it that is at most STALE_NS older; in an undisturbed
    stream every reading is believed at once. Of frames damaged at random an eight-bit checksum passes one in 256, and where only digits
    were exchanged for digits, XOR passes one in 16.
    """

    def __init__(self) -> None:
        self._doubtful = True
        self._last: Reading | None = None

    def admits(self, reading: Reading, after_noise: bool) -> bool:
        """Whether `reading` is to be handed on."""
        self._doubtful |= after_noise
        before, self._last = self._last, reading
        if before is not None and agree(before, reading):
            self._doubtful = False
        return not self._doubtful


def agree(a: Reading, b: Reading) -> bool:
    """Whether two readings, at most STALE_NS apart, may be of one hand."""
    if abs(b.received_ns - a.received_ns) > STALE_NS:
        return False
    if a.distance_mm is None or b.distance_mm is None:
        return a.distance_mm is b.distance_mm
    return abs(a.distance_mm - b.distance_mm) <= max(AGREE_MM, AGREE_SHARE * max(a.distance_mm, b.distance_mm))
