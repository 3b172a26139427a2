"""Range sensors on a serial port: the port's thread on one side, whoever asks on the other, a lock between them."""

from __future__ import annotations

import abc
import logging
import threading
import time
from collections.abc import Callable
from typing import ClassVar

from device.errors import HandpieceNotReadyError, PortError
from device.handpiece import gy53, tofsense
from device.handpiece.counters import Counters
from device.handpiece.port import Listener, PortPatience, PortThread
from device.handpiece.ports import find_port
from device.handpiece.range_sensor import RangeSensor, SensorStatus
from device.handpiece.readings import Reading
from device.handpiece.sentences import Identity
from device.handpiece.session import Gy53Session, SensorState, Session, TofsenseSession, Verdict
from device.handpiece.uri import HIGHEST_BAUD, LOWEST_BAUD, HandpieceUri

log = logging.getLogger(__name__)

HOPELESS: tuple[SensorState, ...] = ("refused", "wrong-protocol", "wrong-version", "failed")  # a person must do something


class SerialSensor(RangeSensor, Listener):
    """A range sensor that a `Session` understands. Subclasses say which, and at what rate it speaks unless the address says otherwise."""

    baud: ClassVar[int]

    def __init__(self, uri: HandpieceUri, *, patience: PortPatience | None = None, listener: Callable[[], None] = lambda: None) -> None:
        """Store the arguments. `listener` is called by the port's thread after each change of state and each reading."""
        super().__init__(uri)
        rate = uri.number("baud", self.baud, low=LOWEST_BAUD, high=HIGHEST_BAUD)
        self._changed = threading.Condition()
        self._listener = listener
        self._session: Session | None = None
        self._counters = Counters()
        self._verdict = Verdict("opening", f"opening {uri}")
        self._opened = 0
        self._gave_up = False
        self._greeting = b""
        self._beat_ns = time.monotonic_ns()
        self._thread = PortThread(self.find, rate, self, patience or PortPatience())

    def latest(self) -> Reading | None:
        """The last reading; None where none came within 200 ms, and while the sensor is not `ready` or not open."""
        with self._changed:
            return self._session.latest(time.monotonic_ns()) if self._session is not None else None

    @property
    def status(self) -> SensorStatus:
        """The present status; immutable."""
        with self._changed:
            session = self._session
            verdict = self._verdict if session is None else session.judge(time.monotonic_ns())
            port = None if session is None else session.port
            return SensorStatus(verdict.state, verdict.message, port, self._identity(), self._opened, self._beat_ns, self._gave_up)

    @property
    def counters(self) -> Counters:
        """What was counted since the context was entered; a copy."""
        with self._changed:
            return self._counters.copy()

    def wait_until_ready(self, timeout_s: float) -> SensorStatus:
        """Wait, at most `timeout_s` seconds, until the sensor measures. Raises HandpieceNotReadyError where it does not."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.status
            if status.state == "ready":
                return status
            left = deadline - time.monotonic()
            if left <= 0 or status.state in HOPELESS:
                raise HandpieceNotReadyError(status.message)
            with self._changed:
                self._changed.wait(min(left, 0.1))  # silence changes the state too, and notifies nobody

    # what the port's thread tells and asks

    def find(self) -> str:
        """Where the port is now. Raises PortError where it is nowhere."""
        return find_port(self.uri)

    def opened(self, path: str) -> None:
        """A new line: whatever was understood of the last one is forgotten."""
        now_ns = time.monotonic_ns()
        with self._changed:
            self._session = self._new_session(path, self._counters, now_ns)
            self._opened += 1
            self._greeting = self._session.greeting()
            self._verdict = self._session.judge(now_ns)
        self._tell()

    def received(self, data: bytes) -> None:
        """Take the bytes in, and look whether that changes what is to be thought of the device."""
        now_ns = time.monotonic_ns()
        with self._changed:
            assert self._session is not None
            self._beat_ns = now_ns
            readings = self._counters.readings
            if data:
                self._session.receive(data, now_ns)
            news = self._adopt(self._session.judge(now_ns)) or self._counters.readings > readings
            self._changed.notify_all()
        if news:
            self._tell()

    def due(self) -> bytes:
        """The greeting once, then whatever the session wants to say."""
        with self._changed:
            assert self._session is not None
            greeting, self._greeting = self._greeting, b""
            out = greeting + self._session.due(time.monotonic_ns())
            self._changed.notify_all()  # an answer that did not come is an outcome too
            return out

    def unsent(self) -> None:
        """Count it; whoever needs an answer sends again."""
        with self._changed:
            self._counters.unsent += 1

    def farewell(self) -> bytes:
        """What the session says before it ends."""
        with self._changed:
            return b"" if self._session is None else self._session.farewell()

    def closed(self, error: PortError) -> None:
        """The device went away, or never was there."""
        hope = "It is found by itself once it is there" if error.state == "absent" else "It is tried again by itself"
        self._leave(Verdict(error.state, f"{error}. {hope}"))

    def crashed(self, error: Exception, gave_up: bool) -> None:
        """The program is at fault, not the device."""
        self._gave_up = gave_up
        remedy = "read the log and start the program again" if gave_up else "trying again; the log has the details"
        self._leave(Verdict("failed", f"the driver of {self.uri} crashed ({error!r}): {remedy}"))

    # what subclasses say

    @abc.abstractmethod
    def _new_session(self, port: str, counters: Counters, now_ns: int) -> Session:
        """The protocol's state for a line opened at `now_ns`. Called with the lock held."""

    def _ended(self, why: str) -> None:
        """The line is closed. Called with the lock held."""

    def _identity(self) -> Identity | None:
        return None

    def _open(self) -> None:
        self._counters = Counters()
        self._verdict = Verdict("opening", f"opening {self.uri}")
        self._opened, self._gave_up, self._greeting = 0, False, b""
        self._beat_ns = time.monotonic_ns()
        self._thread.start()

    def _close(self) -> None:
        self._thread.stop()
        with self._changed:
            self._session = None
            self._ended("the handpiece was closed")
            self._verdict = Verdict("opening", f"{self.uri} is closed")
            self._changed.notify_all()

    def _leave(self, verdict: Verdict) -> None:
        with self._changed:
            self._session = None
            self._beat_ns = time.monotonic_ns()
            self._ended(verdict.message)
            news = self._adopt(verdict)
            self._changed.notify_all()
        if news:
            self._tell()

    def _adopt(self, verdict: Verdict) -> bool:
        """Take the verdict, with the lock held; whether it is another one than before."""
        before, self._verdict = self._verdict, verdict
        if before.state != verdict.state:
            level = logging.INFO if verdict.state in ("ready", "opening") else logging.WARNING
            log.log(level, "handpiece %s: %s", verdict.state, verdict.message)
        return before != verdict

    def _tell(self) -> None:
        try:
            self._listener()
        except Exception:
            log.exception("whoever listens to the handpiece failed")


class Tofsense(SerialSensor):
    """A Nooploop TOFSense in active output mode."""

    baud = tofsense.BAUD

    def _new_session(self, port: str, counters: Counters, now_ns: int) -> Session:
        return TofsenseSession(port, counters, now_ns)


class Gy53(SerialSensor):
    """A GY-53 or its kin."""

    baud = gy53.BAUD

    def _new_session(self, port: str, counters: Counters, now_ns: int) -> Session:
        return Gy53Session(port, counters, now_ns)
