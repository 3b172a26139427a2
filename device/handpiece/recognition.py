"""What a device that does not speak the expected protocol does speak, as far as a few hundred bytes tell: for the message."""

from __future__ import annotations

import re

from device.handpiece import gy53, tofsense
from device.handpiece.counters import Counters
from device.handpiece.frames import FrameFramer
from device.handpiece.framing import SentenceFramer

SHOWN = 24
_NMEA = re.compile(rb"\$(?!TS|TH)[A-Z]{2}[A-Z0-9]{1,3},[ -~]*\*[0-9A-F]{2}")


def describe(sample: bytes, expected: str) -> str:
    """What `sample` is and what to do, as the end of a sentence that begins with the port's name.

    Args:
        sample: the last bytes that made no sense.
        expected: what should have been at the other end, in words.
    """
    if driver := recognise(sample):
        return f"speaks like {_DEVICES[driver]} where {expected} was expected: write driver={driver} in the handpiece's address"
    if _NMEA.search(sample):
        return f"speaks NMEA 0183 like a satellite receiver, where {expected} was expected: name another port"
    if sample and sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in sample) > 0.9 * len(sample):
        text = sample[-SHOWN:].decode("ascii", "replace").replace("\r", " ").replace("\n", " ").strip()
        return f"sends text (“{text}”) where {expected} was expected: name another port, or check the handpiece's firmware"
    return f"sends bytes ({sample[-8:].hex(' ')}) that {expected} does not send: check the baud rate, or name another port"


def recognise(sample: bytes) -> str | None:
    """The driver whose sentences or frames are in `sample`, None where it is none of them."""
    if SentenceFramer(Counters()).feed(sample):
        return "reference"
    if FrameFramer(gy53.HEADER, gy53.SIZE, gy53.decode, Counters()).feed(sample):
        return "gy53"
    if FrameFramer(tofsense.HEADER, tofsense.SIZE, tofsense.decode, Counters()).feed(sample):
        return "tofsense"
    return None


_DEVICES = {"reference": "a handpiece of the reference protocol", "gy53": "a GY-53", "tofsense": "a Nooploop TOFSense"}
