"""`trichoscope devices`: the cameras and serial ports that are plugged in, what they offer, and why one of them cannot be used."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from device.handpiece.ports import PortInfo
    from device.v4l2.controls import Control
    from device.v4l2.enumerate import CameraListing
    from device.v4l2.modes import Offer

FILE_COLUMNS = 1000  # of a table that goes to no terminal; it is as wide as its content
TRY_FOR_S = 5.0  # until the first picture


def devices(
    address: Annotated[
        str | None,
        typer.Argument(metavar="[ADDRESS]", help="A camera address to try: it is opened and a picture taken.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """List the cameras and serial ports that are there, or try one camera."""
    if address is not None:
        _try(address, as_json)
        return
    from device.handpiece.ports import list_ports
    from device.v4l2.camera import V4l2Camera
    from device.v4l2.enumerate import list_cameras

    cameras, ports = list_cameras(V4l2Camera.kernel), list_ports()
    if as_json:
        found = {"cameras": [camera_as_json(each) for each in cameras], "serial_ports": [port_as_json(each) for each in ports]}
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else FILE_COLUMNS, highlight=False)
    for camera in cameras:
        console.print(_camera_table(camera), "")
    for port in ports:
        console.print(_port_table(port), "")
    for there, what in ((cameras, "camera"), (ports, "serial port")):
        if not there:
            console.print(f"No {what} is plugged in.")


def _try(address: str, as_json: bool) -> None:
    """Open a camera and take a picture of it. Exit code 2 for an address that cannot be, 1 for a camera that does not serve."""
    from device.camera import make_camera
    from device.errors import CameraUriError, DeviceError

    try:
        camera = make_camera(address)
        with camera:
            frame = camera.read(TRY_FOR_S)
            height, width, _ = frame.image.shape
            info = camera.info
    except DeviceError as error:
        typer.echo(f"{address}: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, CameraUriError) else 1) from error
    found = {
        "address": address,
        "driver": info.driver,
        "identity": info.identity,
        "width_px": width,
        "height_px": height,
        "fps": info.fps,
        "jpeg_bytes": None if frame.jpeg is None else len(frame.jpeg),
        "controls": dict(info.controls),
    }
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        kind = "uncompressed" if frame.jpeg is None else f"JPEG of {len(frame.jpeg)} bytes"
        typer.echo(f"{address}: a picture came, {width}×{height}, {kind}, {info.fps:g} a second promised; identity {info.identity}")


def camera_as_json(camera: CameraListing) -> dict[str, Any]:
    """A camera with its modes and controls; what could not be had is null."""
    return {
        "name": camera.name,
        "serial": camera.serial,
        "node": camera.node,
        "address": camera.address,
        "state": camera.state,
        "problem": camera.problem,
        "identity": camera.identity,
        "driver": camera.driver,
        "bus": camera.bus,
        "usb_id": camera.usb_id,
        "speed_mbps": camera.speed_mbps,
        "preferred_mode": None if camera.preferred is None else _mode_as_json(camera.preferred),
        "modes": [_mode_as_json(each) for each in camera.modes],
        "controls": [_control_as_json(each) for each in camera.controls],
    }


def port_as_json(port: PortInfo) -> dict[str, Any]:
    """A serial port; what could not be had is null. It is not opened: that would restart some controllers."""
    return {
        "name": port.product or port.manufacturer,
        "serial": port.serial,
        "node": port.path,
        "address": f"serial:{port.address}",
        "state": port.state,
        "problem": port.why or None,
        "driver": port.driver,
        "usb_id": _usb_id(port),
        "calls_itself_handpiece": port.calls_itself_ours,
    }


def _usb_id(port: PortInfo) -> str | None:
    return f"{port.vendor_id}:{port.product_id}" if port.vendor_id and port.product_id else None


def _mode_as_json(mode: Offer) -> dict[str, Any]:
    rates = sorted((float(1 / each) for each in mode.rates.intervals), reverse=True)
    return {
        "format": mode.format,
        "width_px": mode.width,
        "height_px": mode.height,
        "fps": [round(each, 3) for each in rates],
        "any_fps_between": mode.rates.any_between,
    }


def _control_as_json(control: Control) -> dict[str, Any]:
    return {
        "name": control.name,
        "kind": control.kind,
        "value": control.value,
        "low": control.low,
        "high": control.high,
        "step": control.step,
        "default": control.default,
        "active": control.active,
        "choices": {str(number): words for number, words in control.choices.items()} or None,
    }


def _camera_table(camera: CameraListing) -> Table:
    rows = [("camera", camera.name), ("state", camera.problem or camera.state), ("address", camera.address)]
    bus = ", ".join(str(each) for each in (camera.driver, camera.bus, camera.speed_mbps and f"{camera.speed_mbps} Mbit/s") if each)
    rows.append(("node", camera.node + (f" ({bus})" if bus else "")))
    rows.append(("serial", (camera.serial or "none") + (f" ({camera.usb_id})" if camera.usb_id else "")))
    if camera.preferred is not None:
        rows.append(("taken by default", str(camera.preferred)))
    if camera.modes:
        rows.append(("modes", ", ".join(str(each) for each in camera.modes)))
    if camera.controls:
        rows.append(("controls", ", ".join(_control_in_words(each) for each in camera.controls)))
    return _table(rows)


def _control_in_words(control: Control) -> str:
    value = "?" if control.value is None else control.choices.get(control.value, str(control.value))
    reach = "" if control.choices or control.kind == "boolean" else f" of {control.low}–{control.high}"
    return f"{control.name} {value}{reach}" + ("" if control.active else ", automatic")


def _port_table(port: PortInfo) -> Table:
    rows = [("serial port", port.product or port.manufacturer or port.path), ("state", port.why or port.state)]
    rows.append(("address", f"serial:{port.address}"))
    rows.append(("node", port.path + (f" ({port.driver})" if port.driver else "")))
    usb = _usb_id(port)
    rows.append(("serial", (port.serial or "none") + (f" ({usb})" if usb else "")))
    return _table(rows)


def _table(rows: list[tuple[str, str]]) -> Table:
    table = Table(show_header=False, show_edge=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, value in rows:
        table.add_row(title, Text(value))
    return table
