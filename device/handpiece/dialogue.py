"""The host's side of the reference protocol (PROTOCOL.md): asks who is there, believes nothing before it knows, keeps both sides alive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from device.handpiece.counters import Counters
from device.handpiece.framing import SentenceFramer
from device.handpiece.lights import LightDesk
from device.handpiece.readings import Reading
from device.handpiece.sentences import (
    PROTOCOL,
    AskIdentity,
    ButtonSentence,
    Heartbeat,
    HostHeartbeat,
    Identity,
    Leave,
    LightAcknowledged,
    LightChanged,
    LightRefused,
    RangeSentence,
    Sentence,
    Temperature,
    Trouble,
    encode,
)
from device.handpiece.session import SILENT_NS, Session, Verdict

ASK_NS = 500_000_000
ASK_SELDOM_NS = 5_000_000_000  # of a device that has not answered for NAMELESS_NS: it may be none of ours
NAMELESS_NS = 2_000_000_000
HOST_HEARTBEAT_NS = 1_000_000_000
TEMPERATURE_NS = 30_000_000_000
TROUBLE_NS = 10_000_000_000  # the handpiece repeats what is still wrong every 5 s
EDGES = 1000  # the count of button edges goes round here


@dataclass(frozen=True)
class ButtonEdge:
    """A button (1–9) went down or up; `received_ns` is `time.monotonic_ns()` when that was read, some ms after it happened."""

    button: int
    pressed: bool
    received_ns: int


class ReferenceSession(Session):
    """One opening of a line at whose other end a handpiece is expected."""

    speaks = "a handpiece of the reference protocol"

    def __init__(self, port: str, counters: Counters, opened_ns: int, lights: LightDesk, hand_on: Callable[[ButtonEdge], None]) -> None:
        """`hand_on` is called with every button edge, once each."""
        super().__init__(port, counters, opened_ns)
        self.identity: Identity | None = None
        self._framer = SentenceFramer(counters)
        self._lights = lights
        self._hand_on = hand_on
        self._nameless_since_ns = opened_ns
        self._asked_ns: int | None = None
        self._beat_ns: int | None = None
        self._uptime_s: int | None = None
        self._edge_count: int | None = None
        self._temperature: tuple[float, int] | None = None
        self._trouble: tuple[Trouble, int] | None = None

    def temperature_c(self, now_ns: int) -> float | None:
        """Of the light ring, None where the handpiece has not told it within TEMPERATURE_NS."""
        return self._temperature[0] if self._temperature and now_ns - self._temperature[1] <= TEMPERATURE_NS else None

    def trouble(self, now_ns: int) -> Trouble | None:
        """What the handpiece says is wrong with it, None where it has not said so within TROUBLE_NS."""
        return self._trouble[0] if self._trouble and now_ns - self._trouble[1] <= TROUBLE_NS else None

    @property
    def understood(self) -> bool:
        """Whether the device has said who it is, and speaks a protocol version that this program knows."""
        return self.identity is not None and self.identity.protocol[0] == PROTOCOL[0]

    def due(self, now_ns: int) -> bytes:
        """The question who is there, the host's heartbeat, light commands."""
        out = b""
        if self.identity is None:
            every_ns = ASK_NS if now_ns - self._nameless_since_ns < NAMELESS_NS else ASK_SELDOM_NS
            if self._asked_ns is None or now_ns - self._asked_ns >= every_ns:
                self._asked_ns = now_ns
                out += encode(AskIdentity())
        elif self.understood:
            if self._beat_ns is None or now_ns - self._beat_ns >= HOST_HEARTBEAT_NS:
                self._beat_ns = now_ns
                out += encode(HostHeartbeat())
            out += self._lights.due(now_ns)
        return out

    def farewell(self) -> bytes:
        """Lights out."""
        return encode(Leave()) if self.understood else b""

    def _take(self, data: bytes, now_ns: int) -> None:
        for framed in self._framer.feed(data):
            # it may be another one now, or the same after a restart
            if self._last_good_ns is not None and now_ns - self._last_good_ns > SILENT_NS:
                self._forget(now_ns)
            self._last_good_ns = now_ns
            self._hear(framed.item, framed.after_noise, now_ns)

    def _hear(self, sentence: Sentence, after_noise: bool, now_ns: int) -> None:
        if isinstance(sentence, Identity):
            self._forget(now_ns)  # where it is not our question that it answers, it has started anew
            self.identity = sentence
            if self.understood:
                self._lights.restore()
        elif isinstance(sentence, Heartbeat):
            if self._uptime_s is not None and sentence.uptime_s < self._uptime_s:
                self._forget(now_ns)
            self._uptime_s = sentence.uptime_s
        elif self.understood:
            self._listen(sentence, after_noise, now_ns)

    def _listen(self, sentence: Sentence, after_noise: bool, now_ns: int) -> None:
        match sentence:
            case RangeSentence(distance_mm, std_mm, status):
                self._reads(Reading(distance_mm, std_mm, status, now_ns), after_noise)
            case ButtonSentence(button, pressed, count):
                ahead = 1 if self._edge_count is None else (count - self._edge_count) % EDGES
                if 0 < ahead < EDGES // 2:  # else it is the second sentence of an edge, maybe after a newer one's first
                    self._edge_count = count
                    self.counters.lost_edges += ahead - 1
                    self._hand_on(ButtonEdge(button, pressed, now_ns))
            case LightAcknowledged():
                self._lights.acknowledged(sentence)
            case LightRefused():
                self._lights.refused(sentence)
            case LightChanged():
                self._lights.changed(sentence)
            case Temperature(celsius):
                self._temperature = (celsius, now_ns)
            case Trouble():
                self._trouble = (sentence, now_ns)

    def _forget(self, now_ns: int) -> None:
        """The handpiece restarted, or was away: ask anew who it is."""
        self.identity = None
        self._nameless_since_ns = now_ns
        self._asked_ns = None
        self._uptime_s = self._edge_count = None

    def _judge_speaker(self, now_ns: int) -> Verdict:
        identity = self.identity
        if identity is None:
            if now_ns - self._nameless_since_ns < NAMELESS_NS:
                return Verdict("opening", f"{self.port} is open; asking who is there")
            return Verdict(
                "wrong-protocol",
                f"{self.port} sends sentences of the reference protocol, and does not answer $THQID with its identity: "
                "its firmware is not complete, see PROTOCOL.md",
            )
        name = f"the handpiece {identity.model} {identity.serial} (firmware {identity.firmware}) on {self.port}"
        spoken = ".".join(map(str, identity.protocol))
        if not self.understood:
            newer = identity.protocol[0] > PROTOCOL[0]
            remedy = "update this program" if newer else "update the handpiece's firmware"
            return Verdict("wrong-version", f"{name} speaks version {spoken} of the protocol, this program version {PROTOCOL[0]}: {remedy}")
        return Verdict("ready", f"{name} is ready")
