"""Serial ports as the kernel and udev name them: what is plugged in, under which stable name, and why one cannot be used.

Read from /sys, /dev/serial/by-id and /proc alone, without opening a port: opening one restarts some controllers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from device.errors import PortError
from device.handpiece.uri import AUTO, HandpieceUri

OWN_NAMES = ("trichoscope", "handpiece")  # in a USB product name; PROTOCOL.md asks firmware for it


@dataclass(frozen=True)
class Roots:
    """Where the kernel's views are; others for tests."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    proc: Path = Path("/proc")


@dataclass(frozen=True)
class PortInfo:
    """A serial port.

    Attributes:
        path: its node, such as /dev/ttyUSB0, which may be another one tomorrow; `by_id` its stable name, None where udev gave it none.
        vendor_id, product_id: of USB, four hexadecimal digits; None for a port that is not USB.
        serial, manufacturer, product: what the device calls itself.
        driver: of the kernel.
        state: `free`, `in-use` or `forbidden`; `why` it cannot be used and what to do, "" where it can.
    """

    path: str
    by_id: str | None
    vendor_id: str | None
    product_id: str | None
    serial: str | None
    manufacturer: str | None
    product: str | None
    driver: str | None
    state: Literal["free", "in-use", "forbidden"]
    why: str

    @property
    def address(self) -> str:
        """The path to open it by: the stable one where there is one."""
        return self.by_id or self.path

    @property
    def calls_itself_ours(self) -> bool:
        """Whether its USB name says that it is a handpiece of this program."""
        return any(name in f"{self.product} {self.by_id}".lower() for name in OWN_NAMES)


def list_ports(roots: Roots = Roots(), *, holders: bool = True) -> list[PortInfo]:
    """Every serial port with hardware behind it, by path. `holders`: also look which program has it open, where /proc shows that."""
    names = _by_id(roots)
    held = _holders(roots) if holders else {}
    consoles = (_text(roots.sys / "class/tty/console/active") or "").split()
    found = []
    for entry in _entries(roots.sys / "class/tty"):
        device = entry / "device"
        if not device.exists() or _text(entry / "type") == "0":  # a place for a UART that is not there
            continue
        path = str(roots.dev / entry.name)
        usb = _usb_folder(device.resolve(), roots.sys)
        state, why = _usability(path, held.get(path), entry.name in consoles)
        driver = device / "driver"
        found.append(
            PortInfo(
                path=path,
                by_id=names.get(path),
                vendor_id=_text(usb / "idVendor") if usb else None,
                product_id=_text(usb / "idProduct") if usb else None,
                serial=_text(usb / "serial") if usb else None,
                manufacturer=_text(usb / "manufacturer") if usb else None,
                product=_text(usb / "product") if usb else None,
                driver=driver.resolve().name if driver.exists() else None,
                state=state,
                why=why,
            )
        )
    return found


def find_port(uri: HandpieceUri, roots: Roots = Roots()) -> str:
    """Where the port of an address is now.

    Raises:
        PortError: `serial:auto` finds none (`absent`), or more than one and no reason to prefer either (`refused`).
    """
    if (uri.scheme, uri.target) != ("serial", AUTO):
        return uri.target
    ports = [port for port in list_ports(roots, holders=False) if port.vendor_id is not None]
    ours = [port for port in ports if port.calls_itself_ours] or ports
    if not ours:
        raise PortError("absent", "no USB serial port is there: plug the handpiece in")
    if len(ours) > 1:
        choice = ", ".join(f"serial:{port.address}" for port in ours)
        raise PortError("refused", f"{len(ours)} serial ports may be the handpiece: write the right one into its address: {choice}")
    return ours[0].address


class PortWatch:
    """Which ports came and went between two looks. Call `look` about once a second; it opens nothing and waits for nothing."""

    def __init__(self, roots: Roots = Roots()) -> None:
        self._roots = roots
        self._known: dict[str, PortInfo] = {}

    def look(self) -> tuple[list[PortInfo], list[PortInfo]]:
        """(arrived, left) since the look before; at the first look everything has arrived. A port plugged in anew under its old path
        between two looks is seen where its names or numbers differ."""
        now = {port.path: port for port in list_ports(self._roots, holders=False)}
        before, self._known = self._known, now
        arrived = [port for path, port in now.items() if before.get(path) != port]
        left = [port for path, port in before.items() if now.get(path) != port]
        return arrived, left


def _usability(path: str, holder: str | None, console: bool) -> tuple[Literal["free", "in-use", "forbidden"], str]:
    if console:
        return "in-use", "it is the console of this machine: use another port"
    if not os.access(path, os.R_OK | os.W_OK):
        return "forbidden", "this user may not open it: add the user to the group dialout"
    if holder is not None:
        return "in-use", f"{holder} has it open: end that first"
    return "free", ""


def _holders(roots: Roots) -> dict[str, str]:
    """Path of a node under /dev → the program that has it open, as far as this user may see."""
    held: dict[str, str] = {}
    for process in _entries(roots.proc):
        if not process.name.isdecimal():
            continue
        for descriptor in _entries(process / "fd"):
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith(f"{roots.dev}/tty"):
                held[target] = f"{_text(process / 'comm') or 'a program'} (process {process.name})"
    return held


def _by_id(roots: Roots) -> dict[str, str]:
    return {str(link.resolve()): str(link) for link in _entries(roots.dev / "serial/by-id")}


def _usb_folder(device: Path, top: Path) -> Path | None:
    """The folder of the USB device that a tty's device folder lies in."""
    for folder in (device, *device.parents):
        if (folder / "idVendor").exists():
            return folder
        if folder == top:
            break
    return None


def _entries(folder: Path) -> Iterable[Path]:
    """What is in a folder, in order; nothing where it is not there (any more), or not for this user."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return ()


def _text(path: Path) -> str | None:
    """The file's one line; None where it is not there (any more). Devices name themselves: what is no plain text is shown as such."""
    try:
        text = path.read_bytes()[:256].decode("utf-8", "replace").strip()
    except OSError:
        return None
    return "".join(character if character.isprintable() else "�" for character in text) or None
