"""The sentences of the reference protocol (PROTOCOL.md): bytes to frozen dataclasses and back, one sentence at a time.

A sentence is `$TS` (from the handpiece) or `$TH` (from the host), three letters, fields behind commas, `*`, two hexadecimal digits,
CR LF; the digits are the XOR of all characters between `$` and `*`, as in NMEA 0183. What is not exactly of its form is refused:
a lenient parser is how noise becomes a reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Literal, TypeVar

from device.errors import SentenceError

MAX_LENGTH = 80  # characters of a whole sentence, from $ to LF
PROTOCOL = (1, 0)  # major: what both sides must share; minor: what may be more
MAX_DISTANCE_MM = 5000.0
MAX_STD_MM = 1000.0
MAX_LEVEL = 100

_T = TypeVar("_T")

Light = Literal["white", "cross", "uv"]
RangeStatus = Literal["valid", "weak", "no-target", "fault"]

LIGHTS: tuple[Light, ...] = ("white", "cross", "uv")

_LIGHT_LETTERS: Mapping[bytes, Light] = {b"W": "white", b"X": "cross", b"U": "uv"}
_STATUS_LETTERS: Mapping[bytes, RangeStatus] = {b"A": "valid", b"W": "weak", b"N": "no-target", b"F": "fault"}
_LIGHT_OF = {light: letter.decode() for letter, light in _LIGHT_LETTERS.items()}
_STATUS_OF = {status: letter.decode() for letter, status in _STATUS_LETTERS.items()}

_WHOLE = re.compile(rb"\$([ -#%-)+-~]{5,})\*([0-9A-F]{2})(?:\r\n)?")
_LENGTH = re.compile(rb"(?:0|[1-9][0-9]{0,3})\.[0-9]{1,3}")  # mm
_CELSIUS = re.compile(rb"-?(?:0|[1-9][0-9]{0,2})\.[0-9]")
_INTEGER = re.compile(rb"0|[1-9][0-9]{0,9}")
_VERSION = re.compile(rb"(0|[1-9][0-9]?)\.(0|[1-9][0-9]?)")
_NAME = re.compile(rb"[A-Za-z0-9._-]{1,16}")
_TEXT = re.compile(rb"[A-Za-z0-9 ._:/-]{0,40}")


@dataclass(frozen=True)
class Identity:
    """TSIDN: who the handpiece is. `protocol` is (major, minor)."""

    protocol: tuple[int, int]
    model: str
    serial: str
    firmware: str


@dataclass(frozen=True)
class Heartbeat:
    """TSHBT: the handpiece lives, and for how many seconds since its start; a number below the last one means that it restarted."""

    uptime_s: int


@dataclass(frozen=True)
class RangeSentence:
    """TSRNG: the distance to the skin in mm and its standard deviation in mm; both None where the status says that there is none."""

    distance_mm: float | None
    std_mm: float | None
    status: RangeStatus


@dataclass(frozen=True)
class ButtonSentence:
    """TSBTN: an edge of a button, `count` its running number modulo 1000 over all edges since the handpiece's start."""

    button: int
    pressed: bool
    count: int


@dataclass(frozen=True)
class Temperature:
    """TSTMP: of the LED ring, in °C."""

    celsius: float


@dataclass(frozen=True)
class Trouble:
    """TSERR: something is wrong inside; `code` as listed in PROTOCOL.md, `text` for the technician."""

    code: int
    text: str


@dataclass(frozen=True)
class LightAcknowledged:
    """TSACK: a light command was carried out; `level` (0–100) is what is in force, which heat may keep below what was asked."""

    number: int
    light: Light
    level: int


@dataclass(frozen=True)
class LightRefused:
    """TSNAK: a light command was not carried out; `code` as for TSERR."""

    number: int
    code: int


@dataclass(frozen=True)
class LightChanged:
    """TSLIT: the level of a light changed without a command: heat, or a host that fell silent."""

    light: Light
    level: int


@dataclass(frozen=True)
class AskIdentity:
    """THQID, from the host: say who you are."""


@dataclass(frozen=True)
class HostHeartbeat:
    """THHBT, from the host: it lives; without these the handpiece darkens."""


@dataclass(frozen=True)
class SetLight:
    """THLED, from the host: bring one light to a level of 0–100; `number` (0–999) comes back in the answer."""

    number: int
    light: Light
    level: int


@dataclass(frozen=True)
class Leave:
    """THBYE, from the host: it leaves; darken now."""


@dataclass(frozen=True)
class UnknownSentence:
    """A sentence of the protocol's form whose name this program does not know, as a later minor version may send."""

    name: str


Sentence = (
    Identity
    | Heartbeat
    | RangeSentence
    | ButtonSentence
    | Temperature
    | Trouble
    | LightAcknowledged
    | LightRefused
    | LightChanged
    | AskIdentity
    | HostHeartbeat
    | SetLight
    | Leave
    | UnknownSentence
)


def checksum(body: bytes) -> int:
    """XOR of the characters between `$` and `*`."""
    return reduce(xor, body, 0)


def parse(line: bytes) -> Sentence:
    """One sentence, from `$` to its checksum, with or without the CR LF behind it.

    Raises:
        SentenceError: it is none; `reason` is one of form, checksum, talker, field.
    """
    found = _WHOLE.fullmatch(line)
    if found is None or len(line) > MAX_LENGTH:
        raise SentenceError("form", f"{line[:MAX_LENGTH]!r} is no sentence $…*hh")
    body, stated = found[1], int(found[2], 16)
    if checksum(body) != stated:
        raise SentenceError("checksum", f"{line[:MAX_LENGTH]!r} has the checksum {checksum(body):02X}")
    name, *fields = body.split(b",")
    if len(name) != 5 or name[:2] not in (b"TS", b"TH") or not (name.isalpha() and name.isupper()):
        raise SentenceError("talker", f"{name[:20]!r} is no sentence of the handpiece (TS…) or of the host (TH…)")
    reader = _READERS.get(name)
    return UnknownSentence(name.decode()) if reader is None else reader(fields)


def encode(sentence: Sentence) -> bytes:
    """The sentence as it goes over the line, CR LF included.

    Raises:
        SentenceError: a value that the protocol cannot carry.
    """
    line = wrap(_body(sentence))
    parse(line)  # what this side would refuse, the other would too
    return line


def wrap(body: str) -> bytes:
    """`body` with `$`, checksum and CR LF around it."""
    raw = body.encode("ascii", "replace")
    return b"$%s*%02X\r\n" % (raw, checksum(raw))


def _body(sentence: Sentence) -> str:
    match sentence:
        case Identity((major, minor), model, serial, firmware):
            return f"TSIDN,{major}.{minor},{model},{serial},{firmware}"
        case Heartbeat(uptime_s):
            return f"TSHBT,{uptime_s}"
        case RangeSentence(distance_mm, std_mm, status):
            return f"TSRNG,{_mm(distance_mm)},{_mm(std_mm)},{_STATUS_OF[status]}"
        case ButtonSentence(button, pressed, count):
            return f"TSBTN,{button},{'D' if pressed else 'U'},{count}"
        case Temperature(celsius):
            return f"TSTMP,{celsius:.1f}"
        case Trouble(code, text):
            return f"TSERR,{code},{text}"
        case LightAcknowledged(number, light, level):
            return f"TSACK,{number},{_LIGHT_OF[light]},{level}"
        case LightRefused(number, code):
            return f"TSNAK,{number},{code}"
        case LightChanged(light, level):
            return f"TSLIT,{_LIGHT_OF[light]},{level}"
        case AskIdentity():
            return "THQID"
        case HostHeartbeat():
            return "THHBT"
        case SetLight(number, light, level):
            return f"THLED,{number},{_LIGHT_OF[light]},{level}"
        case Leave():
            return "THBYE"
        case UnknownSentence(name):
            return name


def _mm(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _read_identity(fields: list[bytes]) -> Sentence:
    version, model, serial, firmware = _exactly(fields, 4)
    found = _matching(_VERSION, version, "protocol version major.minor")
    names = [_matching(_NAME, name, "name of up to 16 letters, digits, . _ -")[0].decode() for name in (model, serial, firmware)]
    return Identity((int(found[1]), int(found[2])), *names)


def _read_range(fields: list[bytes]) -> Sentence:
    distance, std, letter = _exactly(fields, 3)
    status = _letter(_STATUS_LETTERS, letter, "status A, W, N or F")
    if status in ("no-target", "fault"):
        if distance or std:
            raise SentenceError("field", f"a range of status {letter.decode()} has no distance")
        return RangeSentence(None, None, status)
    distance_mm, std_mm = (float(_matching(_LENGTH, text, "length in mm such as 23.41")[0]) for text in (distance, std))
    if distance_mm > MAX_DISTANCE_MM or not 0 < std_mm <= MAX_STD_MM:
        raise SentenceError("field", f"a distance of {distance_mm} ± {std_mm} mm cannot be")
    return RangeSentence(distance_mm, std_mm, status)


def _read_button(fields: list[bytes]) -> Sentence:
    button, edge, count = _exactly(fields, 3)
    if edge not in (b"D", b"U"):
        raise SentenceError("field", f"a button goes D or U, not {edge[:20]!r}")
    return ButtonSentence(_integer(button, 1, 9), edge == b"D", _integer(count, 0, 999))


def _read_temperature(fields: list[bytes]) -> Sentence:
    (text,) = _exactly(fields, 1)
    return Temperature(float(_matching(_CELSIUS, text, "temperature in °C such as 31.5")[0]))


def _read_trouble(fields: list[bytes]) -> Sentence:
    code, text = _exactly(fields, 2)
    return Trouble(_integer(code, 1, 99), _matching(_TEXT, text, "text of up to 40 letters, digits and . _ : / -")[0].decode())


def _read_acknowledged(fields: list[bytes]) -> Sentence:
    return LightAcknowledged(*_light_command(fields))


def _read_refused(fields: list[bytes]) -> Sentence:
    number, code = _exactly(fields, 2)
    return LightRefused(_integer(number, 0, 999), _integer(code, 1, 99))


def _read_changed(fields: list[bytes]) -> Sentence:
    letter, level = _exactly(fields, 2)
    return LightChanged(_light(letter), _integer(level, 0, MAX_LEVEL))


def _read_heartbeat(fields: list[bytes]) -> Sentence:
    (uptime,) = _exactly(fields, 1)
    return Heartbeat(_integer(uptime, 0, 2**32 - 1))


def _read_set_light(fields: list[bytes]) -> Sentence:
    return SetLight(*_light_command(fields))


def _without_fields(sentence: Sentence) -> Callable[[list[bytes]], Sentence]:
    def read(fields: list[bytes]) -> Sentence:
        _exactly(fields, 0)
        return sentence

    return read


_READERS: Mapping[bytes, Callable[[list[bytes]], Sentence]] = {
    b"TSIDN": _read_identity,
    b"TSHBT": _read_heartbeat,
    b"TSRNG": _read_range,
    b"TSBTN": _read_button,
    b"TSTMP": _read_temperature,
    b"TSERR": _read_trouble,
    b"TSACK": _read_acknowledged,
    b"TSNAK": _read_refused,
    b"TSLIT": _read_changed,
    b"THQID": _without_fields(AskIdentity()),
    b"THHBT": _without_fields(HostHeartbeat()),
    b"THLED": _read_set_light,
    b"THBYE": _without_fields(Leave()),
}


def _exactly(fields: list[bytes], count: int) -> list[bytes]:
    if len(fields) != count:
        raise SentenceError("field", f"{len(fields)} fields where the protocol has {count}")
    return fields


def _matching(pattern: re.Pattern[bytes], text: bytes, what: str) -> re.Match[bytes]:
    found = pattern.fullmatch(text)
    if found is None:
        raise SentenceError("field", f"{text[:20]!r} is no {what}")
    return found


def _integer(text: bytes, low: int, high: int) -> int:
    value = int(_matching(_INTEGER, text, "whole number")[0])
    if not low <= value <= high:
        raise SentenceError("field", f"{value} is not within {low} and {high}")
    return value


def _letter(letters: Mapping[bytes, _T], text: bytes, what: str) -> _T:
    if text not in letters:
        raise SentenceError("field", f"{text[:20]!r} is no {what}")
    return letters[text]


def _light_command(fields: list[bytes]) -> tuple[int, Light, int]:
    number, letter, level = _exactly(fields, 3)
    return _integer(number, 0, 999), _light(letter), _integer(level, 0, MAX_LEVEL)


def _light(letter: bytes) -> Light:
    return _letter(_LIGHT_LETTERS, letter, "light W, X or U")
