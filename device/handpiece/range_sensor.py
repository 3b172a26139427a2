"""The contract that every range sensor keeps, whatever drives it: the latest reading or none, a state with a message, counts."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from types import TracebackType

from typing_extensions import Self  # typing.Self needs 3.11

from device.errors import DeviceError
from device.handpiece.counters import Counters
from device.handpiece.readings import Reading
from device.handpiece.sentences import Identity
from device.handpiece.session import SensorState
from device.handpiece.uri import HandpieceUri


@dataclass(frozen=True)
class SensorStatus:
    """What a range sensor (or the handpiece around it) is doing, at one moment.

    Attributes:
        state: `opening`, `absent`, `refused` (in use, no permission, no serial port), `silent`, `wrong-protocol`, `wrong-version`,
            `ready`, `failed` (a fault of this program).
        message: for a person; says what to do where something must be done.
        port: path of the open port, None while none is open.
        identity: who the handpiece says it is, None for a bare sensor and while it is not known.
        opened: how often the port was opened; all but the first are reconnections.
        beat_ns: `time.monotonic_ns()` when the thread last got on.
        gave_up: the thread has ended and will not try again.
    """

    state: SensorState
    message: str
    port: str | None
    identity: Identity | None
    opened: int
    beat_ns: int
    gave_up: bool = False


class RangeSensor(abc.ABC):
    """A distance to the skin. The constructor only stores; entering the context begins to look for the device, leaving it closes all.

    Entering never fails for want of a device: the state says what is amiss, and the readings come by themselves once it is mended.
    Every method may be called by any thread.
    """

    def __init__(self, uri: HandpieceUri) -> None:
        self.uri = uri
        self._is_open = False

    def __enter__(self) -> Self:
        if self._is_open:
            raise DeviceError(f"{self.uri} is open already")
        self._open()
        self._is_open = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_open = False
        self._close()

    @abc.abstractmethod
    def latest(self) -> Reading | None:
        """The last reading; None where none came within 200 ms, and while the sensor is not `ready` or not open."""

    @property
    @abc.abstractmethod
    def status(self) -> SensorStatus:
        """The present status; immutable."""

    @property
    @abc.abstractmethod
    def counters(self) -> Counters:
        """What was counted since the context was entered; a copy."""

    @abc.abstractmethod
    def wait_until_ready(self, timeout_s: float) -> SensorStatus:
        """Wait, at most `timeout_s` seconds, until the sensor measures.

        Raises:
            HandpieceNotReadyError: it does not; the message is that of the status. At once where waiting does not help.
        """

    @abc.abstractmethod
    def _open(self) -> None: ...

    @abc.abstractmethod
    def _close(self) -> None: ...
