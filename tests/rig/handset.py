"""The far end of the adapter: firmware by PROTOCOL.md, or something else, on the socket that QEMU's serial adapter is wired to."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from device.handpiece import tofsense
from device.simulated.firmware import Firmware

DISTANCE_MM = 23.4
RATE_HZ = 30.0
TICK_S = 0.01
NMEA = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n"
NMEA_EVERY_S = 0.2

Mode = Literal["reference", "satellite", "tofsense", "next-version", "silent", "unplugged"]
Harm = Literal["", "cut", "checksum", "noise"]


class Handset:
    """Speaks from the moment it is made until `close`. `mode` and `harm` may be set at any time by any thread."""

    def __init__(self, path: str) -> None:
        """Connect to QEMU's socket at `path`."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._socket.setblocking(False)
        self._stopping = threading.Event()
        self._random = random.Random(7)
        self._mode: Mode = "reference"
        self.harm: Harm = ""  # done to one sentence in five
        self.firmware = Firmware(time.monotonic(), rate_hz=RATE_HZ)
        self._next_s = time.monotonic()
        self._sent = 0
        self._thread = threading.Thread(target=self._run, name="handset", daemon=True)
        self._thread.start()

    def become(self, mode: Mode) -> None:
        """Speak otherwise from now on, after a restart."""
        self.firmware = Firmware(time.monotonic(), rate_hz=RATE_HZ, protocol=(2, 0) if mode == "next-version" else (1, 0))
        self._mode = mode

    def close(self) -> None:
        """Fall silent for good."""
        self._stopping.set()
        self._thread.join(1.0)
        self._socket.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if select.select([self._socket], [], [], TICK_S)[0]:
                heard = self._socket.recv(4096)
                if not heard:
                    return
            else:
                heard = b""
            for sentence in self._due(heard, time.monotonic()):
                self._send(sentence)

    def _due(self, heard: bytes, now_s: float) -> list[bytes]:
        mode, firmware = self._mode, self.firmware
        if mode in ("reference", "next-version"):
            return [*firmware.hear(heard, now_s), *firmware.due(now_s, DISTANCE_MM)]
        if mode in ("silent", "unplugged") or now_s < self._next_s:
            return []
        if mode == "satellite":
            self._next_s = now_s + NMEA_EVERY_S
            return [NMEA]
        self._next_s = now_s + 1 / RATE_HZ
        return [tofsense.encode(round(DISTANCE_MM), status=0, system_time_ms=int(now_s * 1000))]

    def _send(self, sentence: bytes) -> None:
        self._sent += 1
        at = self._random.randrange(2, len(sentence) - 3)
        if self._sent % 5 == 0 and self.harm == "cut":
            sentence = sentence[:at]
        elif self._sent % 5 == 0 and self.harm == "checksum":
            sentence = sentence[:at] + bytes([sentence[at] ^ 0x01]) + sentence[at + 1 :]
        elif self._sent % 5 == 0 and self.harm == "noise":
            sentence = sentence[:at] + self._random.randbytes(40) + sentence[at:]
        with contextlib.suppress(BlockingIOError):  # overflow policy: what nobody reads is lost, as on a UART
            self._socket.send(sentence)


@contextmanager
def handset(path: str) -> Iterator[Handset]:
    """A handset for as long as the context is open."""
    speaker = Handset(path)
    try:
        yield speaker
    finally:
        speaker.close()
