"""What the daemon tells the service manager: ready, how it is, alive, stopping (the sd_notify protocol, one datagram each).

Without $NOTIFY_SOCKET, that is in a shell, all of it is nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from types import TracebackType

import structlog
from typing_extensions import Self  # typing.Self needs 3.11

log = structlog.get_logger(__name__)

EXTENSION_S = 30  # of the start's deadline, from each word on
EXTEND_EVERY_S = 5.0


class ServiceManager:
    """The connection to systemd for as long as the context is open; leaving it says that the daemon stops.

    Attributes:
        watchdog_s: the watchdog must be fed more often than this; None where systemd watches nothing.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from `environment`."""
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address  # @: the abstract namespace
        microseconds = environment.get("WATCHDOG_USEC", "")
        meant_for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s = int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) and meant_for_us else None
        self._socket: socket.socket | None = None
        self._extended_at: float | None = None

    def __enter__(self) -> Self:
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)  # a manager that does not read must not hold us up
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._socket is not None:
            self._send("STOPPING=1")
            self._socket.close()
            self._socket = None

    def extend_start(self) -> None:
        """The start takes long, and gets on: another EXTENSION_S from now. Call it as often as you like."""
        now = time.monotonic()
        if self._extended_at is None or now - self._extended_at >= EXTEND_EVERY_S:
            self._extended_at = now
            self._send(f"EXTEND_TIMEOUT_USEC={EXTENSION_S * 1_000_000}")

    def say_ready(self) -> None:
        """The page is served."""
        self._send("READY=1")

    def say_status(self, line: str) -> None:
        """One line that `systemctl status` shows."""
        self._send("STATUS=" + line.replace("\n", " ")[:500])

    def feed_watchdog(self) -> None:
        """Every part gets on."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            log.warning("systemd could not be told", message=message, why=str(error))
