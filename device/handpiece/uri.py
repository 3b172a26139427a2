"""Handpiece addresses, and the way from one to its driver.

`serial:/dev/serial/by-id/NAME?driver=reference|tofsense|gy53&baud=115200`, `serial:auto` (the one handpiece that is plugged in),
`pty:/dev/pts/N` (a pseudo-terminal, such as `trichoscope simulate handpiece` opens), `simulated:?…`, `none:`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from device.errors import HandpieceUriError

if TYPE_CHECKING:
    from device.handpiece.range_sensor import RangeSensor

# driver= → "module:class"; imported when an address asks for it
DRIVERS = {
    "reference": "device.handpiece.handpiece:Handpiece",
    "tofsense": "device.handpiece.serial_sensor:Tofsense",
    "gy53": "device.handpiece.serial_sensor:Gy53",
}
SIMULATED = "device.simulated.handpiece:SimulatedHandpiece"
SCHEMES = ("serial", "pty", "simulated", "none")
AUTO = "auto"
LOWEST_BAUD, HIGHEST_BAUD = 1200, 4_000_000


@dataclass(frozen=True)
class HandpieceUri:
    """A handpiece address taken apart: `scheme:target?option=value&…`."""

    scheme: str
    target: str
    options: dict[str, str]

    def __str__(self) -> str:
        query = "&".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.scheme}:{self.target}" + (f"?{query}" if query else "")

    def number(self, name: str, default: int, *, low: int, high: int) -> int:
        """The option as a whole number within [low, high]. Raises HandpieceUriError where it is none."""
        text = self.options.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            raise HandpieceUriError(f"{self}: {name}={text} is not a whole number between {low} and {high}")
        return int(text)

    def refuse_unknown_options(self, known: set[str]) -> None:
        """Raise HandpieceUriError where the address carries an option that its driver does not know."""
        if unknown := sorted(set(self.options) - known):
            raise HandpieceUriError(f"{self}: unknown option {unknown[0]!r}; this handpiece knows {', '.join(sorted(known)) or 'none'}")


def parse_handpiece_uri(text: str) -> HandpieceUri:
    """Take a handpiece address apart.

    Raises:
        HandpieceUriError: no scheme or an unknown one, no target where one is needed, an unknown driver, a wrong option.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        raise HandpieceUriError(f"{text!r} is no handpiece address: begin with {', '.join(f'{s}:' for s in SCHEMES)}")
    target, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise HandpieceUriError(f"{text!r}: options are written name=value&name=value ({error})") from error
    options = dict(pairs)
    if len(options) != len(pairs):
        raise HandpieceUriError(f"{text!r}: an option is given twice")
    uri = HandpieceUri(scheme, target, options)
    if scheme in ("serial", "pty"):
        if not target or "\0" in target:
            raise HandpieceUriError(f"{text!r} names no port: {scheme}:/dev/…" + (f", or {scheme}:{AUTO}" if scheme == "serial" else ""))
        uri.refuse_unknown_options({"driver", "baud"})
        uri.number("baud", LOWEST_BAUD, low=LOWEST_BAUD, high=HIGHEST_BAUD)
        if (driver := options.get("driver", "reference")) not in DRIVERS:
            raise HandpieceUriError(f"{text!r}: there is no driver {driver!r}; choose {', '.join(DRIVERS)}")
    elif scheme == "none" and (target or options):
        raise HandpieceUriError(f"{text!r}: none: stands alone")
    return uri


def make_handpiece(text: str) -> RangeSensor | None:
    """The driver for an address, not yet opened; None for `none:`.

    Raises:
        HandpieceUriError: the address cannot be understood.
    """
    uri = parse_handpiece_uri(text)
    if uri.scheme == "none":
        return None
    place = SIMULATED if uri.scheme == "simulated" else DRIVERS[uri.options.get("driver", "reference")]
    module, _, name = place.partition(":")
    sensor: RangeSensor = getattr(import_module(module), name)(uri)
    return sensor
