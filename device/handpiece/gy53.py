"""GY-53 and its kin (GY-VL53L0X, GY-56): ST's VL53L0X behind a small controller with a UART.

8 bytes: 5A 5A, 15 (kind of data), 03 (bytes of data), distance in mm big-endian, measuring mode, sum of the seven before. The command
A5 45 EA makes it send without being asked.

In random bytes four fixed bytes and the sum pass once in 2⁴⁰ places, 9·10⁻⁷ times in a million bytes; with a distance that the sensor can
mean, 6·10⁻⁸ times.
"""

from __future__ import annotations

from dataclasses import dataclass

from device.errors import SentenceError
from device.handpiece.frames import byte_sum
from device.handpiece.sentences import RangeStatus

HEADER = b"\x5a\x5a\x15\x03"
SIZE = 8
BAUD = 9600
CONTINUOUS = b"\xa5\x45\xea"
MAX_DISTANCE_MM = 4000  # of the farthest-reaching of the family
NOTHING_FROM_MM, NOTHING_TO_MM = 8180, 8191  # what the chip answers where nothing comes back
STD_MM = 10.0  # as for the TOFSense


@dataclass(frozen=True)
class Gy53Frame:
    """One frame: distance in mm (None without a target), the sensor's measuring mode."""

    distance_mm: int | None
    status: RangeStatus
    mode: int


def decode(frame: bytes) -> Gy53Frame:
    """The content of 8 bytes whose header and sum are right.

    Raises:
        SentenceError: a distance that the sensor cannot mean (reason `field`).
    """
    distance_mm, mode = int.from_bytes(frame[4:6], "big"), frame[6]
    if NOTHING_FROM_MM <= distance_mm <= NOTHING_TO_MM or distance_mm == 0:
        return Gy53Frame(None, "no-target", mode)
    if distance_mm > MAX_DISTANCE_MM:
        raise SentenceError("field", f"{distance_mm} mm is nothing that a GY-53 measures")
    return Gy53Frame(distance_mm, "valid", mode)


def encode(distance_mm: int, mode: int = 0) -> bytes:
    """A frame as the sensor would send it."""
    body = HEADER + distance_mm.to_bytes(2, "big") + bytes([mode])
    return body + bytes([byte_sum(body)])
