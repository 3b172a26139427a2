"""The hand that holds the simulated handpiece: how far it is from the skin at any moment, and the script that it follows.

A script is a list of steps, `approach:1.5, tremble:2, press, contact:3, withdraw:1`. A movement takes the seconds it states and ends in
a place (approach and tremble above the skin, contact on it, withdraw and rest far away); anything else is done to the handpiece, and what
that is, the handpiece knows.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from device.errors import HandpieceUriError

# where a movement ends, in mm from the range sensor to the skin, and how much the hand trembles there
PLACES_MM = {"rest": 150.0, "approach": 32.0, "tremble": 32.0, "contact": 18.0, "withdraw": 150.0}
TREMBLE_MM = {"rest": 0.5, "approach": 1.0, "tremble": 2.0, "contact": 0.08, "withdraw": 1.0}
SETTLE_S = 0.3  # how long a hand takes to the skin, and to where it trembles
DEFAULT_SCRIPT = "rest:1, approach:1.5, tremble:2, contact:1.5, press, contact:1.5, withdraw:1.2"
MAX_STEPS = 200
MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class Step:
    """One step: an action's name, and the seconds it takes or the number it states; None where it states none."""

    action: str
    amount: float | None


class Hand:
    """Where the hand is. Every method takes the time in seconds, which must not run backwards; the same seed trembles alike."""

    def __init__(self, seed: int = 7) -> None:
        draw = random.Random(seed)
        self._waves = [(draw.uniform(0.7, 11.0), draw.uniform(0, 2 * math.pi)) for _ in range(5)]  # physiological tremor: up to 12 Hz
        self._place = "rest"
        self._from_mm = PLACES_MM["rest"]
        self._from_tremble_mm = TREMBLE_MM["rest"]
        self._began_s = 0.0
        self._takes_s = 0.0

    @property
    def movement(self) -> str:
        """The movement begun last."""
        return self._place

    def move(self, movement: str, at_s: float, takes_s: float) -> None:
        """Begin a movement of PLACES_MM at `at_s`."""
        self._from_mm, self._from_tremble_mm = self._course(at_s)
        self._place, self._began_s = movement, at_s
        self._takes_s = min(takes_s, SETTLE_S) if movement in ("contact", "tremble") else takes_s

    def distance_mm(self, at_s: float) -> float:
        """From the range sensor to the skin."""
        middle_mm, tremble_mm = self._course(at_s)
        shake = sum(math.sin(2 * math.pi * hertz * at_s + phase) for hertz, phase in self._waves) / len(self._waves)
        return max(1.0, middle_mm + tremble_mm * shake)

    def _course(self, at_s: float) -> tuple[float, float]:
        """Distance without tremor, and the tremor's amplitude, in mm."""
        share = 1.0 if self._takes_s <= 0 else min(1.0, max(0.0, (at_s - self._began_s) / self._takes_s))
        share = share * share * (3 - 2 * share)
        place = self._place
        return (
            self._from_mm + (PLACES_MM[place] - self._from_mm) * share,
            self._from_tremble_mm + (TREMBLE_MM[place] - self._from_tremble_mm) * share,
        )


def parse_script(text: str, others: frozenset[str]) -> list[Step]:
    """The steps of a script; `others` are the actions known beside the movements.

    Raises:
        HandpieceUriError: an unknown action, a number that is none or too large, no step or too many.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not 0 < len(parts) <= MAX_STEPS:
        raise HandpieceUriError(f"a script has 1 to {MAX_STEPS} steps, such as {DEFAULT_SCRIPT!r}, not {len(parts)}")
    return [_step(part, others) for part in parts]


def _step(part: str, others: frozenset[str]) -> Step:
    action, colon, number = (piece.strip() for piece in part.partition(":"))
    if action not in PLACES_MM and action not in others:
        known = f"movements are {', '.join(PLACES_MM)}, other actions {', '.join(sorted(others))}"
        raise HandpieceUriError(f"the script's step {part!r} is unknown: {known}")
    if not colon:
        return Step(action, None)
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if not 0 <= amount <= MAX_SECONDS:
        raise HandpieceUriError(f"the script's step {part!r}: what stands behind the colon is a number between 0 and {MAX_SECONDS:g}")
    return Step(action, amount)
