"""Ports on a made-up machine: /sys, /dev and /proc as a folder, and the ways in which opening one fails."""

from __future__ import annotations

import errno
import os
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
import serial

from device.errors import PortError
from device.handpiece.port import open_port
from device.handpiece.ports import PortWatch, Roots, find_port, list_ports
from device.handpiece.uri import parse_handpiece_uri

AUTO = parse_handpiece_uri("serial:auto")


class Machine:
    """A machine without a port."""

    def __init__(self, folder: Path) -> None:
        self.roots = Roots(folder / "sys", folder / "dev", folder / "proc")
        for root in (self.roots.sys / "class/tty", self.roots.dev / "serial/by-id", self.roots.proc):
            root.mkdir(parents=True)

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def plug(self, name: str, place: str, *, product: str = "FT232R USB UART", number: str = "A1", by_id: str | None = None) -> None:
        """A USB converter with one tty, as the kernel shows it."""
        usb = self.roots.sys / "devices/usb1" / place
        for key, value in {"idVendor": "0403", "idProduct": "6001", "serial": number, "manufacturer": "FTDI", "product": product}.items():
            self.write(usb / key, value)
        device = usb / f"{place}:1.0" / name
        tty = device / "tty" / name
        tty.mkdir(parents=True)
        (self.roots.sys / "drivers/ftdi_sio").mkdir(parents=True, exist_ok=True)
        (device / "driver").symlink_to(self.roots.sys / "drivers/ftdi_sio")
        (tty / "device").symlink_to(device)
        (self.roots.sys / "class/tty" / name).symlink_to(tty)
        (self.roots.dev / name).touch()
        if by_id is not None:
            (self.roots.dev / "serial/by-id" / by_id).symlink_to(self.roots.dev / name)

    def unplug(self, name: str) -> None:
        (self.roots.sys / "class/tty" / name).unlink()
        (self.roots.dev / name).unlink()
        for link in (self.roots.dev / "serial/by-id").iterdir():
            if not link.exists():
                link.unlink()

    def uart(self, name: str, kind: str | None) -> None:
        """A UART of the board; `kind` 0 is a place for one that is not there."""
        tty = self.roots.sys / "class/tty" / name
        (tty / "device").mkdir(parents=True)
        if kind is not None:
            self.write(tty / "type", kind)
        (self.roots.dev / name).touch()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_usb_port_with_all_that_is_known_of_it(machine: Machine) -> None:
    machine.plug("ttyUSB0", "1-2", by_id="usb-FTDI_FT232R_A1-if00-port0")
    (port,) = list_ports(machine.roots)
    assert port.path == str(machine.roots.dev / "ttyUSB0")
    assert port.address == port.by_id == str(machine.roots.dev / "serial/by-id/usb-FTDI_FT232R_A1-if00-port0")
    assert (port.vendor_id, port.product_id, port.serial, port.manufacturer) == ("0403", "6001", "A1", "FTDI")
    assert (port.product, port.driver, port.state, port.why) == ("FT232R USB UART", "ftdi_sio", "free", "")
    assert not port.calls_itself_ours


def test_only_ports_with_hardware_are_ports(machine: Machine) -> None:
    machine.uart("ttyS0", "0")
    machine.uart("ttyS1", "4")
    machine.uart("ttyTHS1", None)
    (machine.roots.sys / "class/tty/tty1").mkdir()
    found = list_ports(machine.roots)
    assert [Path(port.path).name for port in found] == ["ttyS1", "ttyTHS1"]
    assert all(port.vendor_id is port.by_id is port.driver is None and port.address == port.path for port in found)


def test_why_a_port_cannot_be_used(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.uart("ttyS0", "4")
    machine.write(machine.roots.sys / "class/tty/console/active", "tty0 ttyS0")
    machine.plug("ttyUSB0", "1-2")
    machine.plug("ttyUSB1", "1-3")
    machine.write(machine.roots.proc / "41/comm", "ModemManager")
    (machine.roots.proc / "41/fd").mkdir()
    (machine.roots.proc / "41/fd/7").symlink_to(machine.roots.dev / "ttyUSB0")
    (machine.roots.proc / "self").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("ttyUSB1"))
    console, held, forbidden = list_ports(machine.roots)
    assert console.state == "in-use" and "console" in console.why
    assert held.state == "in-use" and "ModemManager (process 41)" in held.why
    assert forbidden.state == "forbidden" and "dialout" in forbidden.why
    assert list_ports(machine.roots, holders=False)[1].state == "free"


def test_a_machine_without_any_of_it_has_no_ports(tmp_path: Path) -> None:
    assert list_ports(Roots(tmp_path / "sys", tmp_path / "dev", tmp_path / "proc")) == []


def test_names_that_devices_give_themselves_are_made_harmless(machine: Machine) -> None:
    machine.plug("ttyUSB0", "1-2", product="evil\x1b[2J\x00" + "x" * 1000)
    (port,) = list_ports(machine.roots)
    assert port.product is not None and port.product.isprintable() and len(port.product) <= 256


def test_this_machine_can_be_looked_at() -> None:
    for port in list_ports():
        assert port.path.startswith("/dev/") and (port.state == "free") == (port.why == "")


def test_auto_takes_the_only_one(machine: Machine) -> None:
    with pytest.raises(PortError, match="no USB serial port") as told:
        find_port(AUTO, machine.roots)
    assert told.value.state == "absent"
    machine.uart("ttyTHS1", None)
    machine.plug("ttyUSB0", "1-2", by_id="usb-FTDI_A1")
    assert find_port(AUTO, machine.roots) == str(machine.roots.dev / "serial/by-id/usb-FTDI_A1")


def test_auto_does_not_guess_but_knows_our_own(machine: Machine) -> None:
    machine.plug("ttyUSB0", "1-2", by_id="usb-A")
    machine.plug("ttyUSB1", "1-3", number="B2", by_id="usb-B")
    with pytest.raises(PortError, match=r"2 serial ports.*usb-A.*usb-B") as told:
        find_port(AUTO, machine.roots)
    assert told.value.state == "refused"
    machine.plug("ttyACM0", "1-4", product="Trichoscope Handpiece", by_id="usb-T")
    assert find_port(AUTO, machine.roots).endswith("usb-T")


def test_a_named_port_is_taken_as_it_stands(machine: Machine) -> None:
    assert find_port(parse_handpiece_uri("serial:/dev/ttyUSB7"), machine.roots) == "/dev/ttyUSB7"
    assert find_port(parse_handpiece_uri("pty:auto"), machine.roots) == "auto"


def test_what_came_and_went_between_two_looks(machine: Machine) -> None:
    watch = PortWatch(machine.roots)
    assert watch.look() == ([], [])
    machine.plug("ttyUSB0", "1-2", by_id="usb-A")
    arrived, left = watch.look()
    assert [port.path for port in arrived] == [str(machine.roots.dev / "ttyUSB0")] and left == []
    assert watch.look() == ([], [])
    machine.unplug("ttyUSB0")
    machine.plug("ttyUSB0", "1-3", number="B2", by_id="usb-B")  # another one under the old path
    arrived, left = watch.look()
    assert [port.serial for port in arrived] == ["B2"] and [port.serial for port in left] == ["A1"]
    machine.unplug("ttyUSB0")
    assert [port.serial for port in watch.look()[1]] == ["B2"]


@pytest.mark.parametrize(
    ("error", "state", "named"),
    [
        (serial.SerialException(errno.ENOENT, "could not open port"), "absent", "not there"),
        (serial.SerialException(errno.ENODEV, "could not open port"), "absent", "not there"),
        (serial.SerialException("Could not configure port: (5, 'Input/output error')"), "absent", "not there"),
        (termios.error(errno.EIO, "Input/output error"), "absent", "not there"),
        (serial.SerialException(errno.EACCES, "could not open port"), "refused", "dialout"),
        (serial.SerialException(errno.EBUSY, "could not open port"), "refused", "in use"),
        (serial.SerialException(errno.EAGAIN, "could not lock"), "refused", "in use"),
        (serial.SerialException("Could not configure port: (25, 'Inappropriate ioctl')"), "refused", "no serial port"),
        (ValueError("Failed to set custom baud rate (123): …"), "refused", "baud="),
        (OSError(errno.EMFILE, "Too many open files"), "refused", "Too many open files"),
    ],
)
def test_why_a_port_cannot_be_opened(error: Exception, state: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(serial, "Serial", fail)
    with pytest.raises(PortError, match=named) as told:
        open_port("/dev/null", 123)
    assert told.value.state == state and "/dev/null" in str(told.value)


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.touch(), os.mkfifo])
def test_what_is_no_character_device_is_refused_without_being_opened(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "thing")
    with pytest.raises(PortError, match="no serial port"):
        open_port(str(tmp_path / "thing"), 9600)
