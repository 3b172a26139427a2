"""The capture loop on the V4L2 driver: whatever happens on the bus becomes a state, and the picture comes back by itself."""

from __future__ import annotations

import errno
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pytest
from typing_extensions import Self  # typing.Self needs 3.11

from device.camera import parse_uri
from device.capture import CaptureLoop, CaptureState, CaptureStatus, Patience
from device.simulated.v4l2_device import Faults, SimulatedDevice
from device.simulated.v4l2_kernel import SimulatedKernel
from device.slot import LatestFrameSlot
from device.v4l2.camera import V4l2Camera
from tests.eventually import eventually

ADDRESS = "v4l2:/dev/v4l/by-id/usb-Trichoscope_Scalp_scope_SIM0001-video-index0?width=64&height=48&fps=200"
# retries so long that only the look at what is plugged in can bring the picture back
PATIENT = Patience(frame_s=0.2, first_retry_s=3600, longest_retry_s=3600)
QUICK = Patience(frame_s=0.2, first_retry_s=0.01, longest_retry_s=0.02)


class Captured:
    """A loop over a simulated microscope, on the real clock, with the states it went through."""

    def __init__(self, patience: Patience = QUICK, faults: Faults | None = None) -> None:
        self.device = SimulatedDevice(faults=faults or Faults())
        self.kernel = SimulatedKernel()
        self.slot = LatestFrameSlot()
        self.messages: dict[CaptureState, str] = {}
        self.loop = CaptureLoop(
            ADDRESS,
            self.slot,
            make=lambda text: V4l2Camera(parse_uri(text), self.kernel),
            patience=patience,
            listener=self._note,
            plugged_in=self.kernel.present,
        )

    def _note(self) -> None:
        self.messages[self.loop.status.state] = self.loop.status.message

    def __enter__(self) -> Self:
        self.kernel.plug(self.device)
        self.loop.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.loop.__exit__(kind, error, trace)
        assert not self.loop.alive
        assert (self.kernel.open_descriptors, self.kernel.open_mappings) == (0, 0)

    def until(self, check: Callable[[CaptureStatus], bool]) -> None:
        eventually(lambda: check(self.loop.status))


def test_unplugged_and_plugged_back_under_another_number() -> None:
    with Captured(PATIENT) as captured:
        captured.until(lambda s: s.state == "streaming")
        captured.kernel.unplug(captured.device)
        captured.until(lambda s: s.state == "absent")
        assert "Plug the camera in again" in captured.messages["absent"] and captured.slot.latest() is None
        assert captured.kernel.plug(captured.device, 6) == "/dev/video6"
        captured.until(lambda s: s.state == "streaming")
        assert captured.loop.status.reconnects == 1 and captured.loop.status.failures == 0


def test_a_camera_that_was_never_there_is_taken_once_it_is() -> None:
    with Captured(PATIENT) as captured:
        captured.kernel.unplug(captured.device)
        captured.until(lambda s: s.state == "absent")
        captured.kernel.plug(captured.device)
        captured.until(lambda s: s.state == "streaming" and s.frames > 3)


@pytest.mark.parametrize(
    ("faults", "state", "told"),
    [
        (Faults(format_errno=errno.EBUSY), "busy", "close that program. The picture comes by itself"),
        (Faults(start_errno=errno.ENOSPC), "no_bandwidth", "a port of its own"),
        (Faults(format_errno=errno.EIO), "refused", "unplug the microscope"),
        (Faults(open_errno=errno.EACCES), "denied", "group video"),
        (Faults(other_picture=True), "no_mode", "set another width and height"),
        (Faults(frozen=True), "frozen", "sent nothing"),
        (Faults(stuck_sequence=True), "frozen", "1 repeated|repeated"),
        (Faults(half_every=1), "frozen", "only damaged pictures"),
        (Faults(dequeue_errno=errno.EIO), "absent", "broke off"),
    ],
)
def test_each_trouble_is_a_state_that_says_what_to_do_and_passes(faults: Faults, state: CaptureState, told: str) -> None:
    with Captured(faults=faults) as captured:
        captured.until(lambda s: state in captured.messages)
        assert any(each in captured.messages[state] for each in told.split("|")), captured.messages
        captured.device.faults = Faults()
        captured.until(lambda s: s.state == "streaming" and s.frames > 5)
        assert captured.loop.status.failures == 0 and not captured.loop.status.gave_up


def test_a_path_that_is_no_camera_is_a_state_too() -> None:
    kernel = SimulatedKernel()
    loop = CaptureLoop(
        "v4l2:/dev/null", LatestFrameSlot(), make=lambda text: V4l2Camera(parse_uri(text), kernel), plugged_in=kernel.present
    )
    with loop:
        eventually(lambda: loop.status.state == "not_a_camera")
        assert "/dev/null is no video device" in loop.status.message


def test_damaged_pictures_and_gaps_reach_the_status_apart() -> None:
    with Captured(faults=Faults(half_every=5, skip_every=7)) as captured:
        captured.until(lambda s: s.frames > 70)
        status = captured.loop.status
        sent = status.frames + status.damaged + status.lost
        assert status.damaged == pytest.approx(sent / 5, abs=0.05 * sent + 2)
        assert status.lost >= sent // 8


def test_controls_are_held_over_a_reconnection() -> None:
    with Captured() as captured:
        captured.until(lambda s: s.state == "streaming")
        captured.loop.hold_controls()
        captured.until(lambda s: s.camera is not None and s.camera.controls.get("auto_exposure") == 1)
        held = captured.loop.status.camera
        assert held is not None and held.controls["exposure_time_absolute"] == 312
        captured.kernel.unplug(captured.device)
        captured.until(lambda s: s.state == "absent")
        fresh = SimulatedDevice()  # as after a power cut: automatics on again, exposure elsewhere
        next(c for c in fresh.controls.values() if c.name.startswith("Exposure")).value = 99
        captured.kernel.plug(fresh)
        captured.until(lambda s: s.camera is not None and dict(s.camera.controls) == dict(held.controls))
        captured.loop.release_controls()
        captured.until(lambda s: s.camera is not None and s.camera.controls.get("auto_exposure") == 3)


def test_a_hundred_reconnections_leave_nothing_behind() -> None:
    def descriptors() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    with Captured() as captured:
        captured.until(lambda s: s.state == "streaming")
        threads, before = threading.active_count(), descriptors()
        for cycle in range(100):
            captured.kernel.unplug(captured.device)
            captured.until(lambda s: s.state == "absent")
            captured.device.faults.unplugged_errno = (errno.ENODEV, errno.EINVAL, errno.EIO)[cycle % 3]
            captured.kernel.plug(captured.device, cycle % 4)
            captured.until(lambda s, n=cycle: s.state == "streaming" and s.reconnects == n + 1)
        assert threading.active_count() == threads and descriptors() == before
        assert captured.kernel.open_descriptors == 1
