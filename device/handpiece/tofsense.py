"""Nooploop TOFSense over UART: the frame NLink_TOFSense_Frame0 of its active output mode.

16 bytes, little-endian (Nooploop, TOFSense user manual, "Protocol unpack"): 57, 00, reserved, id, system time u32 in ms, distance u24
in mm, distance status u8, signal strength u16, range precision u8 (FF on the TOFSense and TOFSense-P, cm on the -F), sum of the 15
bytes before.

In random bytes a frame passes header and sum once in 2²⁴ places, and a distance up to MAX_DISTANCE_MM with a status that exists once in
19,000 of those: once in 3·10¹¹ bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from device.errors import SentenceError
from device.handpiece.frames import byte_sum
from device.handpiece.sentences import RangeStatus

HEADER = b"\x57\x00"
SIZE = 16
BAUD = 921_600
MAX_DISTANCE_MM = 25_000  # of the farthest-reaching of the family
STD_MM = 10.0  # these sensors err by about ±10 mm near by (DESIGN section 5); the frame states nothing better

# "generally only a distance status of 0 indicates that the data is available" (manual); the others are those of ST's VL53L1X
STATUSES: dict[int, RangeStatus] = {
    0: "valid",
    1: "weak",  # standard deviation above 15 mm
    2: "weak",  # signal too weak
    4: "no-target",  # phase out of bounds
    5: "fault",  # hardware or laser
    7: "no-target",  # phase wrapped round
    8: "fault",  # internal algorithm
    14: "no-target",  # measured, invalid
    255: "no-target",
}


@dataclass(frozen=True)
class TofsenseFrame:
    """One frame. Distance in mm, time in ms since the sensor's start; `precision_cm` is None where the sensor states none."""

    id: int
    system_time_ms: int
    distance_mm: int
    status: RangeStatus
    signal_strength: int
    precision_cm: int | None


def decode(frame: bytes) -> TofsenseFrame:
    """The content of 16 bytes whose header and sum are right.

    Raises:
        SentenceError: a distance or a status that the sensor cannot mean (reason `field`).
    """
    sensor, time_ms, packed, strength, precision = struct.unpack("<3xBIIHBx", frame)
    distance_mm, status = packed & 0xFFFFFF, packed >> 24
    if distance_mm > MAX_DISTANCE_MM or status not in STATUSES:
        raise SentenceError("field", f"{distance_mm} mm with status {status} is nothing that a TOFSense measures")
    return TofsenseFrame(sensor, time_ms, distance_mm, STATUSES[status], strength, None if precision == 0xFF else precision)


def encode(distance_mm: int, *, status: int = 0, system_time_ms: int = 0, strength: int = 3, sensor: int = 0) -> bytes:
    """A frame as the sensor would send it."""
    packed = (distance_mm & 0xFFFFFF) | status << 24
    body = HEADER + struct.pack("<BBIIHB", 0xFF, sensor, system_time_ms & 0xFFFFFFFF, packed, strength, 0xFF)
    return body + bytes([byte_sum(body)])
