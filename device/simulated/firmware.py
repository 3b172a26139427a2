"""What a handpiece's firmware does by PROTOCOL.md: what is due at a time, what the host is answered. Bytes and times, no device."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator

from device.handpiece.counters import Counters
from device.handpiece.framing import SentenceFramer
from device.handpiece.sentences import (
    PROTOCOL,
    AskIdentity,
    ButtonSentence,
    Heartbeat,
    Identity,
    Leave,
    Light,
    LightAcknowledged,
    LightChanged,
    LightRefused,
    RangeSentence,
    Sentence,
    SetLight,
    Temperature,
    encode,
)

MODEL, SERIAL, FIRMWARE = "SIM-1", "000001", "1.0"
STD_MM = 0.15
FAR_MM = 120.0  # beyond this the sensor sees no target
HEARTBEAT_S = 1.0
TEMPERATURE_S = 5.0
HOST_SILENT_S = 5.0
REPEAT_S = 0.015  # after which an edge is sent the second time
MAX_PENDING = 16  # edges that wait for their repetition; overflow policy: the oldest is repeated no more


class Firmware:
    """One handpiece, from its start at `started_s` on. Times in seconds of one clock."""

    def __init__(self, started_s: float, *, rate_hz: float = 30.0, seed: int = 7, protocol: tuple[int, int] = PROTOCOL) -> None:
        self.lights: dict[Light, int] = {"white": 0, "cross": 0, "uv": 0}
        self.identity = Identity(protocol, MODEL, SERIAL, FIRMWARE)
        self.mute_acks = 0  # so many light commands are carried out and not acknowledged
        self.refusal: int | None = None  # the code with which light commands are refused
        self.hottest_level = 100
        self._started_s = started_s
        self._period_s = 1 / rate_hz
        self._range_s = self._heartbeat_s = self._temperature_s = started_s
        self._host_heard_s = started_s
        self._edges = 0
        self._repeats: deque[tuple[float, ButtonSentence]] = deque(maxlen=MAX_PENDING)
        self._noise = random.Random(seed)
        self._framer = SentenceFramer(Counters(), talker=b"TH")
        self._greeted = False

    def button(self, pressed: bool, now_s: float) -> list[bytes]:
        """An edge of button 1: what to send at once."""
        edge = ButtonSentence(1, pressed, self._edges)
        self._edges = (self._edges + 1) % 1000
        self._repeats.append((now_s + REPEAT_S, edge))
        return [encode(edge)]

    def due(self, now_s: float, distance_mm: float) -> list[bytes]:
        """What to send by now, with the sensor `distance_mm` from the skin."""
        return [encode(sentence) for sentence in self._due(now_s, distance_mm)]

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """What the host sent: what to answer."""
        return [encode(answer) for framed in self._framer.feed(data) for answer in self._obey(framed.item, now_s)]

    def _due(self, now_s: float, distance_mm: float) -> Iterator[Sentence]:
        if not self._greeted:
            self._greeted = True
            yield self.identity
        if now_s >= self._heartbeat_s:
            self._heartbeat_s = _next(self._heartbeat_s, HEARTBEAT_S, now_s)
            yield Heartbeat(int(now_s - self._started_s))
        if now_s >= self._temperature_s:
            self._temperature_s = _next(self._temperature_s, TEMPERATURE_S, now_s)
            yield Temperature(24.0 + sum(self.lights.values()) * 0.06)
        while self._repeats and now_s >= self._repeats[0][0]:
            yield self._repeats.popleft()[1]
        if any(self.lights.values()) and now_s - self._host_heard_s > HOST_SILENT_S:
            yield from self._darken()
        if now_s >= self._range_s:
            self._range_s = _next(self._range_s, self._period_s, now_s)
            yield self._range(distance_mm)

    def _range(self, distance_mm: float) -> RangeSentence:
        if distance_mm > FAR_MM:
            return RangeSentence(None, None, "no-target")
        return RangeSentence(max(0.0, self._noise.gauss(distance_mm, STD_MM)), STD_MM, "valid")

    def _obey(self, command: Sentence, now_s: float) -> Iterator[Sentence]:
        self._host_heard_s = now_s
        match command:
            case AskIdentity():
                yield self.identity
            case SetLight(number) if self.refusal is not None:
                yield LightRefused(number, self.refusal)
            case SetLight(number, light, level):
                self.lights[light] = min(level, self.hottest_level)
                if self.mute_acks > 0:
                    self.mute_acks -= 1
                else:
                    yield LightAcknowledged(number, light, self.lights[light])
            case Leave():
                yield from self._darken()

    def _darken(self) -> Iterator[Sentence]:
        for light, level in self.lights.items():
            if level:
                self.lights[light] = 0
                yield LightChanged(light, 0)


def _next(due_s: float, period_s: float, now_s: float) -> float:
    """When the next is due: one period on; of periods that were slept through, none is made up for."""
    return due_s + period_s if now_s - due_s < period_s else now_s + period_s
