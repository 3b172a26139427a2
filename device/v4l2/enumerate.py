"""Which cameras are plugged in: found by what their nodes can do, not by their numbers, and told with what keeps one from being used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from device.errors import CameraBusyError, CameraNotFoundError, CameraUriError, DeviceError
from device.v4l2 import structs
from device.v4l2.controls import Control, Controls
from device.v4l2.kernel import Kernel
from device.v4l2.modes import Offer, Wish, choose, list_offers
from device.v4l2.nodes import SYSFS, NodeFacts, links_by_id, opened, require_camera
from device.v4l2.troubles import told, trouble

AUTO = "auto"
DEFAULT = Wish(width=640, height=480, fps=30.0)

ListingState = Literal["ready", "busy", "unusable"]


@dataclass(frozen=True)
class CameraListing:
    """A camera as `trichoscope devices` shows it.

    Attributes:
        name: its own; `node` /dev/videoN; `address` what to write into a configuration.
        identity: by which a calibration profile finds it; None while it cannot be asked.
        state: ready, busy (another program streams from it) or unusable; `problem` says why and what to do, None when ready.
        modes: what it offers; `preferred` what would be taken of that for 640×480 at 30 frames a second.
    """

    name: str
    node: str
    address: str
    state: ListingState
    problem: str | None = None
    serial: str | None = None
    identity: str | None = None
    driver: str | None = None
    bus: str | None = None
    usb_id: str | None = None
    speed_mbps: int | None = None
    modes: Sequence[Offer] = ()
    preferred: Offer | None = None
    controls: Sequence[Control] = field(default=())


def video_nodes(kernel: Kernel) -> list[str]:
    """/dev/videoN of every node of V4L2, by number."""
    numbers = [name.removeprefix("video") for name in kernel.names("/dev") if name.startswith("video")]
    return [f"/dev/video{number}" for number in sorted((n for n in numbers if n.isdecimal()), key=int)]


def list_cameras(kernel: Kernel) -> list[CameraListing]:
    """Every camera, by the number of its node; nodes that carry only metadata are left out. Never raises for what a camera does."""
    found = []
    for node in video_nodes(kernel):
        try:
            listing = _listing(kernel, node)
        except DeviceError as error:  # it cannot even be opened: sysfs still knows its name, and which node of a device is the first
            entry = f"{SYSFS}/{node.rpartition('/')[2]}"
            if kernel.attribute(f"{entry}/index") not in (None, "0"):
                continue
            name = kernel.attribute(f"{entry}/name") or node
            state: ListingState = "busy" if isinstance(error, CameraBusyError) else "unusable"
            address = f"v4l2:{links_by_id(kernel).get(node, node)}"
            listing = CameraListing(name=name, node=node, address=address, state=state, problem=str(error))
        if listing is not None:
            found.append(listing)
    return found


def find_camera(kernel: Kernel, target: str) -> str:
    """The path of the node that the target of an address names: the target itself, or with "auto" the one camera that is there.

    Raises:
        CameraNotFoundError: none is there; or the one that is cannot be opened, then as `nodes.opened` raises.
        CameraUriError: "auto", and there are several: a kiosk must not look through a webcam because its microscope is unplugged.
    """
    if target != AUTO:
        return target
    cameras: list[NodeFacts] = []
    refused: DeviceError | None = None
    for node in video_nodes(kernel):
        try:
            with opened(kernel, node) as (fd, facts):
                usable = facts.captures and facts.streams and _usable(kernel, fd, facts)
        except DeviceError as error:
            refused = refused or error
            continue
        if usable and facts.bus not in [each.bus for each in cameras]:  # some cameras have a second node, with pictures of another codec
            cameras.append(facts)
    if len(cameras) > 1:
        listed = ", ".join(f"{each.address} ({each.name})" for each in cameras)
        raise CameraUriError(f"v4l2:auto is for one camera, and there are {len(cameras)}: name one of {listed}")
    if cameras:
        return cameras[0].by_id or cameras[0].node
    raise refused or CameraNotFoundError("no camera is there: plug the microscope in")


def _usable(kernel: Kernel, fd: int, facts: NodeFacts) -> bool:
    with told(kernel, facts.node, "being asked for its modes"):
        offers = list_offers(kernel, fd)
    try:
        choose(facts.node, offers, DEFAULT)
    except DeviceError:
        return False
    return True


def _listing(kernel: Kernel, node: str) -> CameraListing | None:
    """The camera at a node, or None where it is no camera."""
    with opened(kernel, node) as (fd, facts):
        try:
            require_camera(kernel, facts)
        except DeviceError:
            return None
        offers: list[Offer] = []
        preferred: Offer | None = None
        controls: list[Control] = []
        state: ListingState = "ready"
        problem: str | None = None
        try:
            with told(kernel, node, "being asked for its modes"):
                offers = list_offers(kernel, fd)
            controls = Controls(kernel, fd, node).read()
            preferred = choose(node, offers, DEFAULT)[0]
            _try_to_have(kernel, fd, node)
        except DeviceError as error:
            state, problem = ("busy" if isinstance(error, CameraBusyError) else "unusable"), str(error)
    return CameraListing(
        name=facts.name,
        node=facts.node,
        address=facts.address,
        state=state,
        problem=problem,
        serial=facts.serial,
        identity=facts.identity,
        driver=facts.driver,
        bus=facts.bus,
        usb_id=facts.usb_id,
        speed_mbps=facts.speed_mbps,
        modes=offers,
        preferred=preferred,
        controls=controls,
    )


def _try_to_have(kernel: Kernel, fd: int, node: str) -> None:
    """Raise CameraBusyError where another program streams: setting the format that is set already changes nothing, and tells."""
    setting = structs.Format(type=structs.VIDEO_CAPTURE)
    try:
        kernel.ioctl(fd, structs.G_FMT, setting)
        kernel.ioctl(fd, structs.S_FMT, setting)
    except OSError as error:
        raise trouble(kernel, node, "to be set up", error) from error
