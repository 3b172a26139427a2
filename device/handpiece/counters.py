"""What came over a serial line, counted: so that a bad cable shows as a number and not as a strange reading."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace


@dataclass
class Counters:
    """Counts since the sensor's context was entered, over all openings of its port. Owned by one thread; others get a `copy`.

    Attributes:
        bytes_in: everything that was read; `noise_bytes`: those that belong to no sentence.
        sentences: sentences or frames whose checksum, form and fields were right; `unknown`: those among them of a kind that this
            program does not know.
        readings: readings handed on; `withheld`: right ones that followed noise and that no other agreed with.
        rejects: reason → how many sentences or frames were refused for it.
        lost_edges: button edges that the handpiece counted and that never arrived; `dropped_edges`: those that found the queue full.
        unsent: writes that the port did not take in time.
    """

    bytes_in: int = 0
    noise_bytes: int = 0
    sentences: int = 0
    unknown: int = 0
    readings: int = 0
    withheld: int = 0
    lost_edges: int = 0
    dropped_edges: int = 0
    unsent: int = 0
    rejects: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        """All rejects together."""
        return sum(self.rejects.values())

    def copy(self) -> Counters:
        """The counts as they stand; goes on counting nothing."""
        return replace(self, rejects=Counter(self.rejects))
