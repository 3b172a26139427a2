"""The thread that owns a serial port: it opens it, reads it with a deadline, writes what is due, and when the port goes away keeps looking.

Whoever listens gets bytes and is asked what to send; what the bytes mean is none of this module's business.
"""

from __future__ import annotations

import abc
import contextlib
import errno
import logging
import os
import re
import stat
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import serial

from device.backoff import Backoff, FailureBudget
from device.errors import PortError

log = logging.getLogger(__name__)

TICK_S = 0.05  # how long a read waits at most; what is due goes out at least this often
WRITE_S = 0.2
DRAIN_S = 0.1
READ_BYTES = 4096  # of one read at most; the kernel holds as many
STOP_DEADLINE_S = 1.0
CHECK_EVERY_S = 1.0  # whether the path still leads to the device that was opened: the 1 Hz look for hot-plugging

# what pyserial lets through when a device goes away under it
SERIAL_ERRORS = (OSError, termios.error, TypeError, ValueError)
LOST = (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EIO)


@dataclass(frozen=True)
class PortPatience:
    """How long the port's thread waits between attempts, in seconds; the longest bounds how late a returning device is seen.

    Attributes:
        first_retry_s, longest_retry_s: back-off between attempts to open a port that is missing, refused or lost.
        restart_budget, restart_window_s: so many exceptions that nobody foresaw are forgiven in such a time; one more, and it gives up.
    """

    first_retry_s: float = 0.1
    longest_retry_s: float = 1.0
    restart_budget: int = 5
    restart_window_s: float = 300.0


class Listener(abc.ABC):
    """What a port's thread tells, and asks. Every method is called by that thread alone."""

    @abc.abstractmethod
    def opened(self, path: str) -> None:
        """The port is open; nothing was read yet."""

    @abc.abstractmethod
    def received(self, data: bytes) -> None:
        """Bytes came; b"" after each tick without any."""

    @abc.abstractmethod
    def due(self) -> bytes:
        """What to send now."""

    @abc.abstractmethod
    def unsent(self) -> None:
        """What was due was not taken by the port in time, or not wholly."""

    @abc.abstractmethod
    def farewell(self) -> bytes:
        """What to send before the port is closed on purpose."""

    @abc.abstractmethod
    def closed(self, error: PortError) -> None:
        """The port could not be opened, or went away."""

    @abc.abstractmethod
    def crashed(self, error: Exception, gave_up: bool) -> None:
        """An exception that nobody foresaw closed the port; with `gave_up` the thread ends."""


class PortThread:
    """Serves one serial port from `start` to `stop`. All waits end within TICK_S or when `wake` is called."""

    def __init__(self, find: Callable[[], str], baud: int, listener: Listener, patience: PortPatience) -> None:
        """`find` says where the port is now and raises PortError where it is nowhere."""
        self._find = find
        self._baud = baud
        self._listener = listener
        self._patience = patience
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # over _open_port: a wake must not write to a pipe that was closed meanwhile
        self._open_port: serial.Serial | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin. The thread ends only at `stop`, or when it gives up."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="handpiece", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say farewell, close the port, end the thread; at most STOP_DEADLINE_S. Idempotent."""
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self.wake()
        thread.join(STOP_DEADLINE_S)
        if thread.is_alive():
            log.error("the serial port does not let go: its driver did not end within %g s", STOP_DEADLINE_S)

    def wake(self) -> None:
        """Something is due: do not wait for the tick. Any thread."""
        with self._lock:
            if self._open_port is not None:
                self._open_port.cancel_read()

    def _run(self) -> None:
        patience = self._patience
        retry = Backoff(patience.first_retry_s, patience.longest_retry_s)
        budget = FailureBudget(patience.restart_budget, patience.restart_window_s)
        while not self._stopping.is_set():
            try:
                self._serve(self._find(), retry)
            except PortError as error:
                self._listener.closed(error)
            except Exception as error:
                log.exception("serving the serial port failed")
                gave_up = not budget.spend()
                self._listener.crashed(error, gave_up)
                if gave_up:
                    return
            self._stopping.wait(retry.next_s())

    def _serve(self, path: str, retry: Backoff) -> None:
        """Open the port and serve it until the thread is to stop. Raises PortError when it cannot be opened or goes away."""
        listener = self._listener
        with self._opened(path) as port:
            listener.opened(path)
            checked = time.monotonic()
            while not self._stopping.is_set():
                self._write(port, listener.due(), path)
                data = self._read(port, path)
                listener.received(data)
                if data:
                    retry.reset()
                if time.monotonic() - checked >= CHECK_EVERY_S:
                    checked = time.monotonic()
                    self._require_same_device(port, path)
            self._write(port, listener.farewell(), path)
            self._drain(port)

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[serial.Serial]:
        port = open_port(path, self._baud)
        try:
            with self._lock:
                self._open_port = port
            yield port
        finally:
            with self._lock:
                self._open_port = None
            close_port(port)

    def _read(self, port: serial.Serial, path: str) -> bytes:
        try:
            data: bytes = port.read(1)
            if data and (waiting := port.in_waiting):
                data += port.read(min(waiting, READ_BYTES))
        except SERIAL_ERRORS as error:
            raise PortError("absent", f"{path} went away: plug the handpiece in again") from error
        return data

    def _write(self, port: serial.Serial, data: bytes, path: str) -> None:
        if not data:
            return
        try:
            port.write(data)
        except serial.SerialTimeoutException:
            self._listener.unsent()
        except SERIAL_ERRORS as error:
            raise PortError("absent", f"{path} went away: plug the handpiece in again") from error

    @staticmethod
    def _drain(port: serial.Serial) -> None:
        """Give the farewell the time it takes on the line, and no more."""
        deadline = time.monotonic() + DRAIN_S
        with contextlib.suppress(*SERIAL_ERRORS):
            while port.out_waiting and time.monotonic() < deadline:
                time.sleep(DRAIN_S / 20)

    @staticmethod
    def _require_same_device(port: serial.Serial, path: str) -> None:
        """A name such as /dev/serial/by-id/… may lead to another node by now, while the old one is silently dead."""
        try:
            if Path(path).stat().st_rdev == os.fstat(port.fileno()).st_rdev:
                return
        except SERIAL_ERRORS:
            pass
        raise PortError("absent", f"{path} is no longer the device that was opened: plug the handpiece in again")


def open_port(path: str, baud: int) -> serial.Serial:
    """The port at `path`, open, raw, 8N1, locked against other programs that lock, its old input thrown away.

    Raises:
        PortError: `absent`: there is nothing; `refused`: what is there is no serial port, is in use, or is not for this user.
    """
    try:
        if not stat.S_ISCHR(Path(path).stat().st_mode):
            raise PortError("refused", f"{path} is no serial port: name one of /dev/serial/by-id")
        return serial.Serial(path, baud, timeout=TICK_S, write_timeout=WRITE_S, exclusive=True)
    except SERIAL_ERRORS as error:
        raise _open_failure(path, baud, error) from error


def close_port(port: serial.Serial) -> None:
    """Close it without waiting for what was not sent: the kernel would wait up to 30 s for a device that hangs."""
    with contextlib.suppress(*SERIAL_ERRORS):
        port.reset_output_buffer()
    with contextlib.suppress(*SERIAL_ERRORS):
        port.close()


def _open_failure(path: str, baud: int, error: Exception) -> PortError:
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (told := re.search(r"\((\d+), ", str(error))):
        number = int(told[1])  # pyserial keeps the number of a termios error in its text alone
    if number in LOST:
        return PortError("absent", f"{path} is not there: plug the handpiece in, or name another port")
    if number in (errno.EACCES, errno.EPERM):
        return PortError("refused", f"{path} may not be opened by this user: add it to the group dialout")
    if number in (errno.EBUSY, errno.EAGAIN):
        return PortError("refused", f"{path} is in use by another program: end that (ModemManager, a terminal, a second trichoscope)")
    if number == errno.ENOTTY:
        return PortError("refused", f"{path} is no serial port: name one of /dev/serial/by-id")
    if isinstance(error, ValueError):
        return PortError("refused", f"{path} cannot do {baud} baud ({error}): choose another rate with baud=")
    return PortError("refused", f"{path} cannot be opened ({error}): name another port")
