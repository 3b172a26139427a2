"""The handpiece of the reference protocol: a range sensor with a button and three lights."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from device.errors import HandpieceNotReadyError, LightError
from device.handpiece.counters import Counters
from device.handpiece.dialogue import ButtonEdge, ReferenceSession
from device.handpiece.lights import ACK_NS, TRIES, LightDesk
from device.handpiece.port import PortPatience
from device.handpiece.sentences import LIGHTS, MAX_LEVEL, Identity, Light, Trouble
from device.handpiece.serial_sensor import SerialSensor
from device.handpiece.session import Session
from device.handpiece.uri import HandpieceUri

BAUD = 115_200
QUEUED_EDGES = 32
LIGHT_DEADLINE_S = 3 * TRIES * ACK_NS / 1e9  # two other lights may be on their way before this one


class Handpiece(SerialSensor):
    """Range, button edges and lights; every method may be called by any thread.

    Button edges wait in a queue of QUEUED_EDGES. Overflow policy: the oldest is dropped and counted (`counters.dropped_edges`), for what a
    person pressed long ago must not be done now.
    """

    baud = BAUD

    def __init__(self, uri: HandpieceUri, *, patience: PortPatience | None = None, listener: Callable[[], None] = lambda: None) -> None:
        super().__init__(uri, patience=patience, listener=listener)
        self._lights = LightDesk()
        self._edges: deque[ButtonEdge] = deque(maxlen=QUEUED_EDGES)

    @property
    def lights(self) -> Mapping[Light, int]:
        """The levels (0–100) that the handpiece has confirmed since it last started or was plugged in; a copy."""
        with self._changed:
            return dict(self._lights.in_force)

    @property
    def temperature_c(self) -> float | None:
        """Of the light ring, None where it is not known."""
        with self._changed:
            session = self._reference()
            return None if session is None else session.temperature_c(time.monotonic_ns())

    @property
    def trouble(self) -> Trouble | None:
        """What the handpiece says is wrong with it, None where it says nothing."""
        with self._changed:
            session = self._reference()
            return None if session is None else session.trouble(time.monotonic_ns())

    def next_edge(self, timeout_s: float) -> ButtonEdge | None:
        """The oldest button edge that nobody took yet; waits for one at most `timeout_s` seconds (0: not at all), then None."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._edges:
                if (left := deadline - time.monotonic()) <= 0:
                    return None
                self._changed.wait(left)
            return self._edges.popleft()

    def set_light(self, light: Light, level: int, deadline_s: float = LIGHT_DEADLINE_S) -> int:
        """Bring a light to `level` (0–100) and wait until the handpiece has acknowledged it; the level in force, which heat may keep lower.

        What was set is set again by itself when the handpiece comes back after a restart or an unplugging.

        Raises:
            HandpieceNotReadyError: the handpiece is not `ready`.
            LightError: it refused, or did not acknowledge within `deadline_s` seconds.
        """
        if light not in LIGHTS or not 0 <= level <= MAX_LEVEL:
            raise ValueError(f"a light is one of {', '.join(LIGHTS)} at a level of 0 to {MAX_LEVEL}, not {light} at {level}")
        deadline = time.monotonic() + deadline_s
        with self._changed:
            status = self.status
            if status.state != "ready":
                raise HandpieceNotReadyError(status.message)
            ticket = self._lights.ask(light, level)
            self._thread.wake()
            try:
                while (outcome := self._lights.outcome(ticket)) is None and (left := deadline - time.monotonic()) > 0:
                    self._changed.wait(left)
            finally:
                self._lights.withdraw(ticket)
        if outcome is None or outcome.level is None:
            why = f"no answer within {deadline_s:g} s" if outcome is None else outcome.problem
            raise LightError(f"{self.uri}: the {light} light was not set to {level}: {why}")
        return outcome.level

    def _open(self) -> None:
        self._lights = LightDesk()
        self._edges.clear()
        super()._open()

    def _new_session(self, port: str, counters: Counters, now_ns: int) -> Session:
        return ReferenceSession(port, counters, now_ns, self._lights, self._queue_edge)

    def _ended(self, why: str) -> None:
        self._lights.abandon(why)

    def _identity(self) -> Identity | None:
        session = self._reference()
        return None if session is None else session.identity

    def _reference(self) -> ReferenceSession | None:
        return self._session if isinstance(self._session, ReferenceSession) else None

    def _queue_edge(self, edge: ButtonEdge) -> None:
        if len(self._edges) == QUEUED_EDGES:
            self._counters.dropped_edges += 1
        self._edges.append(edge)
