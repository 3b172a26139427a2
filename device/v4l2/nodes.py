"""One /dev/video node: which device stands behind it, by what the kernel, sysfs and udev's links tell, and whether it is a camera."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from device.errors import CameraNotFoundError, CameraRefusedError, NotACameraError
from device.present import CAMERA_LINKS
from device.v4l2 import structs
from device.v4l2.kernel import Kernel
from device.v4l2.troubles import told

SYSFS = "/sys/class/video4linux"


@dataclass(frozen=True)
class NodeFacts:
    """Who stands behind a node.

    Attributes:
        node: /dev/videoN; `by_id` the link that follows the device from one N to another, None where udev made none.
        name: what the camera calls itself; `driver` the kernel's ("uvcvideo"); `bus` where it is plugged in ("usb-0000:00:14.0-1").
        serial: of the USB device, None where it has none; `usb_id` vendor and product, "1d6b:0102".
        speed_mbps: of its USB connection.
        captures, streams, metadata: what the node does. A UVC camera has two nodes, of which one carries only metadata.
    """

    node: str
    by_id: str | None
    name: str
    driver: str
    bus: str
    serial: str | None
    usb_id: str | None
    speed_mbps: int | None
    captures: bool
    streams: bool
    metadata: bool

    @property
    def identity(self) -> str:
        """Tells this camera from every other and stays the same from day to day.

        One without a serial number cannot be told from another of its kind, so where it is plugged in belongs to its identity:
        after a change of ports it is a stranger, which costs a calibration; taken for its twin it would give wrong micrometres.
        """
        if self.usb_id is None:
            return ":".join((self.driver, self.name, self.bus))
        return f"usb:{self.usb_id}:{self.serial}" if self.serial else f"usb:{self.usb_id}@{self.bus}"

    @property
    def label(self) -> str:
        """For messages."""
        return f"{self.name} ({self.node})"

    @property
    def address(self) -> str:
        """The camera address to write into a configuration."""
        return f"v4l2:{self.by_id or self.node}"


def links_by_id(kernel: Kernel) -> dict[str, str]:
    """/dev/videoN → its link in /dev/v4l/by-id."""
    return {kernel.resolve(f"{CAMERA_LINKS}/{name}"): f"{CAMERA_LINKS}/{name}" for name in reversed(kernel.names(CAMERA_LINKS))}


@contextmanager
def opened(kernel: Kernel, path: str) -> Iterator[tuple[int, NodeFacts]]:
    """The node's descriptor and its facts, for as long as the context lasts. It need not be a camera, only a video node.

    Raises:
        CameraNotFoundError, CameraBusyError, CameraDeniedError, CameraRefusedError: it cannot be opened.
        NotACameraError: the path is something else; then it was not opened, since opening some devices does something.
    """
    kind = kernel.is_video_node(path)
    if kind is None:
        raise CameraNotFoundError(f"there is no {path}: plug the microscope in")
    if not kind:
        raise NotACameraError(f"{path} is no video device: `trichoscope devices` lists the cameras and their addresses")
    with told(kernel, path, "being opened"):
        fd = kernel.open(path)
    try:
        yield fd, _facts(kernel, fd, path)
    finally:
        kernel.close(fd)


def require_camera(kernel: Kernel, facts: NodeFacts) -> None:
    """Raise NotACameraError, naming the right node where one is known, unless pictures can be streamed from the node."""
    if facts.captures and facts.streams:
        return
    if facts.metadata:
        sibling = _sibling(kernel, facts.node)
        rather = f"use {sibling}" if sibling else "use the camera's other node"
        raise NotACameraError(f"{facts.node} carries only metadata of {facts.name}, no pictures: {rather}")
    raise NotACameraError(
        f"{facts.node} ({facts.name}, driver {facts.driver}) gives no pictures by streaming: "
        "`trichoscope devices` lists the cameras and their addresses"
    )


def _facts(kernel: Kernel, fd: int, path: str) -> NodeFacts:
    capability = structs.Capability()
    try:
        with told(kernel, path, "saying what it is"):
            kernel.ioctl(fd, structs.QUERYCAP, capability)
    except CameraRefusedError as error:
        raise NotACameraError(f"{path} does not answer as a camera does: {error}") from error
    does = capability.device_caps if capability.capabilities & structs.CAP_DEVICE_CAPS else capability.capabilities
    node = kernel.resolve(path)
    usb = _usb_folder(kernel, node)
    vendor, product = kernel.attribute(f"{usb}/idVendor"), kernel.attribute(f"{usb}/idProduct")
    speed = kernel.attribute(f"{usb}/speed") or ""
    return NodeFacts(
        node=node,
        by_id=path if path.startswith(f"{CAMERA_LINKS}/") else links_by_id(kernel).get(node),
        # the driver's name is cut after 31 bytes, and UVC's often says the same twice
        name=kernel.attribute(f"{usb}/product") or structs.text(capability.card) or node,
        driver=structs.text(capability.driver),
        bus=structs.text(capability.bus_info),
        serial=kernel.attribute(f"{usb}/serial") or None,
        usb_id=f"{vendor}:{product}" if vendor and product else None,
        speed_mbps=int(speed) if speed.isdecimal() else None,
        captures=bool(does & structs.CAP_VIDEO_CAPTURE),
        streams=bool(does & structs.CAP_STREAMING),
        metadata=bool(does & structs.CAP_META_CAPTURE),
    )


def _usb_folder(kernel: Kernel, node: str) -> str:
    """The folder of the USB device in sysfs: the parent of the interface that the node belongs to. It need not exist."""
    interface = kernel.resolve(f"{SYSFS}/{node.rpartition('/')[2]}/device")
    return interface.rpartition("/")[0]


def _sibling(kernel: Kernel, node: str) -> str | None:
    """Another node of the same USB device, by its link where it has one; the lowest."""
    usb, links = _usb_folder(kernel, node), links_by_id(kernel)
    for name in kernel.names(SYSFS):
        other = f"/dev/{name}"
        if other != node and _usb_folder(kernel, other) == usb:
            return links.get(other, other)
    return None
