"""A simulated kernel with one microscope, and the driver on it; time passes only when the driver waits."""

from __future__ import annotations

from dataclasses import dataclass, field

from device.camera import parse_uri
from device.simulated.v4l2_device import SimulatedDevice
from device.simulated.v4l2_kernel import SimulatedKernel, SteppedClock
from device.v4l2.camera import V4l2Camera

SMALL = "v4l2:auto?width=64&height=48"


@dataclass
class Plugged:
    device: SimulatedDevice = field(default_factory=SimulatedDevice)
    kernel: SimulatedKernel = field(default_factory=lambda: SimulatedKernel(SteppedClock()))

    def __post_init__(self) -> None:
        self.kernel.plug(self.device)

    def camera(self, address: str = SMALL) -> V4l2Camera:
        return V4l2Camera(parse_uri(address), self.kernel)

    def assert_nothing_is_held(self) -> None:
        assert (self.kernel.open_descriptors, self.kernel.open_mappings) == (0, 0)
