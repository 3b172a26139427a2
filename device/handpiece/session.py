"""One opening of a serial line: what came over it, what is to be sent, and what to think of the device at its other end.

Bytes and times in, bytes and a verdict out: nothing here waits, opens or reads a clock, so that a test needs neither a device nor a second.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from device.handpiece import gy53, tofsense
from device.handpiece.counters import Counters
from device.handpiece.frames import FrameFramer
from device.handpiece.readings import STALE_NS, Agreement, Reading
from device.handpiece.recognition import describe

SensorState = Literal["opening", "absent", "refused", "silent", "wrong-protocol", "wrong-version", "ready", "failed"]

SILENT_NS = 2_500_000_000  # two heartbeats and a half
FOREIGN_NS = 2_000_000_000  # so long bytes may come of which none makes sense: some controllers speak their bootloader's tongue first
SAMPLE_BYTES = 256


@dataclass(frozen=True)
class Verdict:
    """What to think of the device; `message` is for a person and says what to do where something must be done."""

    state: SensorState
    message: str


class Session(abc.ABC):
    """What every protocol has in common. Owned by one thread at a time."""

    def __init__(self, port: str, counters: Counters, opened_ns: int) -> None:
        self.port = port
        self.counters = counters
        self._opened_ns = opened_ns
        self._last_byte_ns: int | None = None
        self._last_good_ns: int | None = None
        self._foreign_since_ns: int | None = None
        self._sample = b""
        self._agreement = Agreement()
        self._latest: Reading | None = None

    def receive(self, data: bytes, now_ns: int) -> None:
        """Take in what was read at `now_ns`."""
        counters = self.counters
        good_before = counters.sentences
        counters.bytes_in += len(data)
        self._last_byte_ns = now_ns
        self._take(data, now_ns)
        if counters.sentences > good_before:
            self._last_good_ns = now_ns
            self._foreign_since_ns, self._sample = None, b""
        else:
            self._foreign_since_ns = now_ns if self._foreign_since_ns is None else self._foreign_since_ns
            self._sample = (self._sample + data)[-SAMPLE_BYTES:]

    def latest(self, now_ns: int) -> Reading | None:
        """The last reading, None where there is none of the last STALE_NS."""
        reading = self._latest
        return None if reading is None or now_ns - reading.received_ns > STALE_NS else reading

    def greeting(self) -> bytes:
        """What to send when the line was opened."""
        return b""

    def due(self, now_ns: int) -> bytes:
        """What to send now."""
        return b""

    def farewell(self) -> bytes:
        """What to send before the line is closed on purpose."""
        return b""

    def judge(self, now_ns: int) -> Verdict:
        """What to think of the device at `now_ns`."""
        if self._heard_since(self._last_good_ns, now_ns):
            return self._judge_speaker(now_ns)
        if self._heard_since(self._last_byte_ns, now_ns) and self._foreign_since_ns is not None:
            if now_ns - self._foreign_since_ns < FOREIGN_NS:
                return Verdict("opening", f"{self.port} is open; waiting for something that makes sense")
            return Verdict("wrong-protocol", f"{self.port} {describe(self._sample, self.speaks)}")
        if now_ns - self._opened_ns < SILENT_NS:
            return Verdict("opening", f"{self.port} is open; waiting for {self.speaks}")
        return Verdict("silent", f"{self.port} is open, and nothing comes: check power and cable of {self.speaks}")

    @property
    @abc.abstractmethod
    def speaks(self) -> str:
        """What is expected at the other end, in words."""

    @abc.abstractmethod
    def _take(self, data: bytes, now_ns: int) -> None:
        """Take the bytes apart; count, and hand every reading to `_reads`."""

    def _judge_speaker(self, now_ns: int) -> Verdict:
        """What to think of a device that has made itself understood lately."""
        return Verdict("ready", f"{self.speaks} on {self.port} measures")

    def _reads(self, reading: Reading, after_noise: bool) -> None:
        if self._agreement.admits(reading, after_noise):
            self.counters.readings += 1
            self._latest = reading
        else:
            self.counters.withheld += 1

    @staticmethod
    def _heard_since(last_ns: int | None, now_ns: int) -> bool:
        return last_ns is not None and now_ns - last_ns <= SILENT_NS


class TofsenseSession(Session):
    """A Nooploop TOFSense that sends by itself."""

    speaks = "a Nooploop TOFSense"

    def __init__(self, port: str, counters: Counters, opened_ns: int) -> None:
        super().__init__(port, counters, opened_ns)
        self._framer = FrameFramer(tofsense.HEADER, tofsense.SIZE, tofsense.decode, counters)

    def _take(self, data: bytes, now_ns: int) -> None:
        for framed in self._framer.feed(data):
            frame = framed.item
            if frame.status in ("valid", "weak"):
                std_mm = max(tofsense.STD_MM, 10.0 * (frame.precision_cm or 0))
                reading = Reading(float(frame.distance_mm), std_mm, frame.status, now_ns)
            else:
                reading = Reading(None, None, frame.status, now_ns)
            self._reads(reading, framed.after_noise)


class Gy53Session(Session):
    """A GY-53, asked at opening to send by itself."""

    speaks = "a GY-53"

    def __init__(self, port: str, counters: Counters, opened_ns: int) -> None:
        super().__init__(port, counters, opened_ns)
        self._framer = FrameFramer(gy53.HEADER, gy53.SIZE, gy53.decode, counters)

    def greeting(self) -> bytes:
        """Send without being asked."""
        return gy53.CONTINUOUS

    def _take(self, data: bytes, now_ns: int) -> None:
        for framed in self._framer.feed(data):
            frame = framed.item
            std_mm = None if frame.distance_mm is None else gy53.STD_MM
            distance_mm = None if frame.distance_mm is None else float(frame.distance_mm)
            self._reads(Reading(distance_mm, std_mm, frame.status, now_ns), framed.after_noise)


SessionMaker = Callable[[str, Counters, int], Session]
