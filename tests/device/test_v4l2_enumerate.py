"""Which cameras are listed, with what, and what is said of those that cannot be used."""

from __future__ import annotations

import errno

from device.simulated.v4l2_device import Faults, SimulatedDevice, SimulatedFormat
from device.v4l2.enumerate import list_cameras
from tests.device.plugged import Plugged


def test_a_camera_is_listed_once_with_all_that_is_known() -> None:
    plugged = Plugged()
    (found,) = list_cameras(plugged.kernel)
    assert (found.name, found.node, found.serial, found.usb_id) == ("Scalp scope (simulated)", "/dev/video0", "SIM0001", "1d6b:0102")
    assert (found.state, found.problem, found.speed_mbps) == ("ready", None, 480)
    assert found.address == "v4l2:/dev/v4l/by-id/usb-Trichoscope_Scalp_scope_SIM0001-video-index0"
    assert str(found.preferred) == "MJPG 640×480 up to 240/s" and len(found.modes) == 5
    assert {"gain", "focus_absolute"} <= {each.name for each in found.controls}
    plugged.assert_nothing_is_held()


def test_listing_does_not_disturb_the_one_that_streams() -> None:
    plugged = Plugged()
    plugged.device.held_by = ["trichoscope (12)"]
    with plugged.camera() as camera:
        camera.read(1.0)
        (found,) = list_cameras(plugged.kernel)
        assert found.state == "busy" and found.problem is not None and "trichoscope (12)" in found.problem
        assert found.modes and found.controls and found.identity == camera.info.identity
        assert camera.read(1.0).sequence == 1
    assert list_cameras(plugged.kernel)[0].state == "ready"
    plugged.assert_nothing_is_held()


def test_what_cannot_be_used_says_why() -> None:
    plugged = Plugged()
    plugged.device.faults = Faults(open_errno=errno.EACCES)
    h264 = SimulatedFormat("H264", ((64, 48),), (30.0,))
    plugged.kernel.plug(SimulatedDevice(name="Encoder", port="1-2", link="", serial="", formats=[h264]))
    plugged.kernel.plug(SimulatedDevice(name="Sulking", port="1-3", link="", faults=Faults(format_errno=errno.EIO)))
    plugged.kernel.plug(SimulatedDevice(name="Output", port="1-4", link="", driver_caps=0x04000002, metadata=False))
    denied, encoder, sulking = list_cameras(plugged.kernel)  # neither the output nor the nodes of metadata
    assert denied.problem is not None and "group video" in denied.problem
    assert (denied.name, denied.modes, denied.identity) == ("Scalp scope (simulated)", (), None)
    assert (
        encoder.problem is not None
        and "expected MJPG or YUYV" in encoder.problem
        and [str(m) for m in encoder.modes] == ["H264 64×48 up to 30/s"]
    )
    assert encoder.address == "v4l2:/dev/video2" and encoder.serial is None
    assert sulking.problem is not None and "refused" in sulking.problem
    assert {each.state for each in (denied, encoder, sulking)} == {"unusable"}
    plugged.assert_nothing_is_held()


def test_nodes_are_in_the_order_of_their_numbers() -> None:
    plugged = Plugged()
    for number, port in ((10, "1-2"), (2, "1-3")):
        plugged.kernel.plug(SimulatedDevice(name=f"at {number}", port=port, link=""), number)
    assert [each.node for each in list_cameras(plugged.kernel)] == ["/dev/video0", "/dev/video2", "/dev/video10"]


def test_nothing_there_is_an_empty_list() -> None:
    plugged = Plugged()
    plugged.kernel.unplug(plugged.device)
    assert list_cameras(plugged.kernel) == []
