"""The V4L2 driver against everything that a camera and its cable do, on a kernel that answers as Linux does."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest

from device.errors import (
    CameraBandwidthError,
    CameraBusyError,
    CameraDeniedError,
    CameraLostError,
    CameraModeError,
    CameraNotFoundError,
    CameraRefusedError,
    CameraTimeoutError,
    CameraUriError,
    DeviceError,
    NotACameraError,
)
from device.simulated.v4l2_device import Faults, SimulatedDevice, SimulatedFormat, paint
from device.v4l2.camera import bgr_from_yuyv
from device.v4l2.stream import BUFFERS, Negotiated
from tests.device.plugged import SMALL, Plugged

SECOND = 10**9


@pytest.fixture
def plugged() -> Iterator[Plugged]:
    plugged = Plugged()
    yield plugged
    plugged.assert_nothing_is_held()


def test_frames_are_the_cameras_own_bytes_with_the_drivers_number_and_time(plugged: Plugged) -> None:
    with plugged.camera() as camera:
        frames = [camera.read(1.0) for _ in range(20)]
        assert [frame.sequence for frame in frames] == list(range(20))
        assert [frame.jpeg for frame in frames] == [paint(n, "MJPG", 64, 48) for n in range(20)]
        assert all(b.captured_ns - a.captured_ns == pytest.approx(SECOND / 30, abs=2000) for a, b in pairwise(frames))
        assert camera.counts.good == 20 and camera.dropped == 0
        assert plugged.kernel.open_mappings == BUFFERS


def test_the_camera_says_who_it_is(plugged: Plugged) -> None:
    with plugged.camera() as camera:
        info = camera.info
    assert (info.driver, info.width, info.height, info.fps) == ("v4l2", 64, 48, 30.0)
    assert info.identity == "usb:1d6b:0102:SIM0001"
    # what automatics govern is not recorded: it would be another value each time
    assert info.controls["auto_exposure"] == 3 and info.controls["gain"] == 10 and "exposure_time_absolute" not in info.controls


def test_without_a_serial_number_the_place_is_part_of_the_identity(plugged: Plugged) -> None:
    plugged.device.serial = ""
    with plugged.camera() as camera:
        assert camera.info.identity == "usb:1d6b:0102@usb-simulated-1-1"


@pytest.mark.parametrize(
    ("faults", "count"),
    [
        (Faults(flag_every=5), "error_flag"),
        (Faults(half_every=5), "no_end"),
        (Faults(zero_every=5), "zeroed"),
        (Faults(blank_every=5), "zeroed"),
        (Faults(tear_every=5), "torn"),
        (Faults(skip_every=5), "gaps"),
    ],
)
def test_damaged_pictures_are_dropped_and_counted(plugged: Plugged, faults: Faults, count: str) -> None:
    plugged.device.faults = faults
    with plugged.camera("v4l2:auto?width=320&height=240") as camera:
        frames = [camera.read(1.0) for _ in range(40)]
        assert {frame.jpeg for frame in frames} == {paint(n, "MJPG", 320, 240) for n in range(8)}
        assert all(frame.sequence % 5 != 4 for frame in frames)
        counts = camera.counts
        assert getattr(counts, count) == 9 and counts.good == 40
        assert counts.dropped == camera.dropped == (0 if count == "gaps" else 9)


@pytest.mark.parametrize(
    ("faults", "count"), [(Faults(flag_every=5), "error_flag"), (Faults(half_every=5), "short"), (Faults(blank_every=5), "zeroed")]
)
def test_damaged_uncompressed_pictures_are_dropped_and_counted(plugged: Plugged, faults: Faults, count: str) -> None:
    plugged.device.faults = faults
    with plugged.camera("v4l2:auto?format=yuyv") as camera:
        assert all(camera.read(1.0).sequence % 5 != 4 for _ in range(12))
        assert getattr(camera.counts, count) == camera.dropped == 2


def test_uncompressed_pictures_are_converted_when_someone_asks(plugged: Plugged) -> None:
    with plugged.camera("v4l2:auto?format=yuyv&fps=10") as camera:
        assert camera.info.fps == 10
        frame = camera.read(1.0)
    assert frame.jpeg is None
    assert frame.image.shape == (480, 640, 3) and frame.image is frame.image and not frame.image.flags.writeable
    there_and_back = cv2.cvtColor(frame.image, cv2.COLOR_BGR2YUV_YUY2)
    sent = np.frombuffer(paint(0, "YUYV", 640, 480), np.uint8).reshape(480, 640, 2)
    assert float(np.abs(there_and_back[:, :, 0].astype(int) - sent[:, :, 0]).mean()) < 1


def test_lines_with_padding_are_cut() -> None:
    lines = np.full((4, 24), 128, np.uint8)
    lines[:, 0:16:2] = 200
    image = bgr_from_yuyv(lines.tobytes(), Negotiated("YUYV", 8, 4, 24, 30.0))
    assert image.shape == (4, 8, 3) and np.ptp(image) == 0 and 210 <= image[0, 0, 0] <= 220


@pytest.mark.parametrize(
    ("faults", "error", "told"),
    [
        (Faults(open_errno=errno.EACCES), CameraDeniedError, "group video"),
        (Faults(open_errno=errno.EBUSY), CameraBusyError, "held by cheese (4711): close that program"),
        (Faults(open_errno=errno.ENODEV), CameraNotFoundError, "plug the microscope in"),
        (Faults(format_errno=errno.EBUSY), CameraBusyError, "cheese (4711)"),
        (Faults(format_errno=errno.EIO), CameraRefusedError, "Input/output error, EIO"),
        (Faults(format_errno=errno.ENODEV), CameraNotFoundError, "went away"),
        (Faults(buffers_errno=errno.EBUSY), CameraBusyError, "close that program"),
        (Faults(buffers_errno=errno.ENOMEM), CameraRefusedError, "its buffers"),
        (Faults(start_errno=errno.ENOSPC), CameraBandwidthError, "a port of its own"),
        (Faults(start_errno=errno.EIO), CameraRefusedError, "unplug the microscope, wait"),
        (Faults(start_errno=errno.EPROTO), CameraRefusedError, "EPROTO"),
        (Faults(other_picture=True), CameraModeError, "and then gives"),
    ],
)
def test_what_keeps_it_from_streaming_has_a_name_and_a_remedy(
    plugged: Plugged, faults: Faults, error: type[DeviceError], told: str
) -> None:
    plugged.device.faults, plugged.device.held_by = faults, ["cheese (4711)"]
    address = "v4l2:/dev/v4l/by-id/usb-Trichoscope_Scalp_scope_SIM0001-video-index0"
    camera = plugged.camera(address)
    for _ in range(2):
        with pytest.raises(error) as raised, camera:
            pass
        assert told in str(raised.value)
        plugged.assert_nothing_is_held()
    plugged.device.faults = Faults()
    with camera:  # the same object opens once the fault is gone
        assert camera.read(1.0).sequence == 0


@pytest.mark.parametrize(
    ("formats", "told"),
    [
        ([], "no format at all"),
        ([SimulatedFormat("H264", ((640, 480),), (30.0,))], "H264; expected MJPG or YUYV"),
        ([SimulatedFormat("MJPG", ((320, 240),), (30.0,))], "offers no 64×48, but MJPG 320×240"),
    ],
)
def test_a_camera_without_a_usable_mode_is_named_with_what_it_has(plugged: Plugged, formats: list[SimulatedFormat], told: str) -> None:
    plugged.device.formats = formats
    with pytest.raises(CameraModeError, match=told), plugged.camera("v4l2:/dev/video0?width=64&height=48"):
        pass


@pytest.mark.parametrize(
    ("path", "error", "told"),
    [
        ("/dev/video0", None, ""),
        ("/dev/v4l/by-id/usb-Trichoscope_Scalp_scope_SIM0001-video-index0", None, ""),
        ("/dev/video1", NotACameraError, "use /dev/v4l/by-id/usb-Trichoscope_Scalp_scope_SIM0001-video-index0"),
        ("/dev/video7", CameraNotFoundError, "there is no /dev/video7"),
        ("/dev/null", NotACameraError, "no video device"),
    ],
)
def test_a_path_is_a_camera_or_it_is_told_why_not(plugged: Plugged, path: str, error: type[DeviceError] | None, told: str) -> None:
    if error is None:
        with plugged.camera(f"v4l2:{path}") as camera:
            assert camera.read(1.0).jpeg is not None
        return
    with pytest.raises(error) as raised, plugged.camera(f"v4l2:{path}"):
        pass
    assert told in str(raised.value)


def test_what_only_encodes_or_outputs_is_no_camera(plugged: Plugged) -> None:
    plugged.device.driver_caps, plugged.device.metadata = 0x04000002, False  # VIDEO_OUTPUT and STREAMING
    with pytest.raises(NotACameraError, match="gives no pictures"), plugged.camera("v4l2:/dev/video0"):
        pass


@pytest.mark.parametrize(
    "address",
    ["v4l2:", "v4l2:video0", "v4l2:auto?width=12.5", "v4l2:auto?format=gif", "v4l2:auto?exposure=3", "v4l2:auto?gain=loud"],
)
def test_wrong_addresses_are_refused_before_anything_opens(plugged: Plugged, address: str) -> None:
    with pytest.raises(CameraUriError):
        plugged.camera(address)


def test_room_for_a_smaller_format_is_used(plugged: Plugged) -> None:
    plugged.device.formats = [SimulatedFormat("YUYV", ((64, 48),), (30.0,)), SimulatedFormat("MJPG", ((64, 48),), (30.0,))]
    with plugged.camera() as camera:
        assert camera.read(1.0).jpeg is None
    plugged.device.faults = Faults(start_errno=errno.ENOSPC, refused_formats=("YUYV",))
    with plugged.camera() as camera:
        assert camera.read(1.0).jpeg == paint(0, "MJPG", 64, 48)


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EINVAL, errno.EIO])
def test_unplugged_while_streaming_is_lost(plugged: Plugged, number: int) -> None:
    plugged.device.faults.unplugged_errno = number
    with plugged.camera() as camera:
        camera.read(1.0)
        plugged.kernel.unplug(plugged.device)
        with pytest.raises(CameraLostError, match="Scalp scope"):
            camera.read(1.0)
    plugged.assert_nothing_is_held()
    plugged.kernel.plug(plugged.device, 4)  # back under another number
    with camera:
        assert camera.read(1.0).sequence == 0


def test_a_connection_that_breaks_down_is_lost(plugged: Plugged) -> None:
    with plugged.camera() as camera:
        camera.read(1.0)
        plugged.device.faults.dequeue_errno = errno.EIO
        with pytest.raises(CameraLostError, match="broke off"):
            camera.read(1.0)


def test_gone_without_waking_the_wait_is_found_all_the_same(plugged: Plugged, monkeypatch: pytest.MonkeyPatch) -> None:
    with plugged.camera() as camera:
        plugged.device.faults.frozen = True
        began = plugged.kernel.now_ns()
        monkeypatch.setattr(plugged.kernel, "wait", lambda fd, wake, s: (plugged.kernel.clock.sleep((wake, wake), s) and False, False))
        plugged.kernel.unplug(plugged.device)
        with pytest.raises(CameraLostError):
            camera.read(60.0)
        assert plugged.kernel.now_ns() - began <= SECOND


@pytest.mark.parametrize(
    ("freeze", "told"),
    [
        (lambda f: setattr(f, "frozen", True), "sent nothing"),
        (lambda f: setattr(f, "identical", True), "the same picture over and over"),
        (lambda f: setattr(f, "stuck_sequence", True), "repeated"),
        (lambda f: setattr(f, "half_every", 1), "only damaged pictures"),
    ],
)
def test_frozen_is_seen_within_three_seconds(plugged: Plugged, freeze: Callable[[Faults], None], told: str) -> None:
    with plugged.camera("v4l2:auto?width=320&height=240") as camera:
        for _ in range(5):
            camera.read(1.0)
        freeze(plugged.device.faults)
        began = plugged.kernel.now_ns()
        with pytest.raises(CameraTimeoutError, match=told):
            while True:
                camera.read(2.0)
        assert plugged.kernel.now_ns() - began <= 3 * SECOND


def test_a_plain_picture_is_the_same_each_time_without_being_frozen(plugged: Plugged) -> None:
    plain = bytes(cv2.imencode(".jpg", np.zeros((480, 640, 3), np.uint8))[1])
    plugged.device.paint = lambda *_: plain
    with plugged.camera("v4l2:auto") as camera:
        assert [camera.read(1.0).sequence for _ in range(200)][-1] == 199


def test_a_reader_that_comes_late_gets_the_gap_told(plugged: Plugged) -> None:
    with plugged.camera() as camera:
        camera.read(1.0)
        plugged.kernel.clock.sleep((camera._wake, camera._wake), 1.0)  # a second without reading: four buffers fill, the rest is lost
        sequences = [camera.read(1.0).sequence for _ in range(6)]
    assert sequences[:4] == [1, 2, 3, 4] and sequences[4] > 25
    assert camera.counts.gaps == sequences[5] - 6


def test_the_drivers_32_bit_number_turns_over(plugged: Plugged) -> None:
    with plugged.camera() as camera:
        next(iter(plugged.kernel._handles.values())).sequence = 2**32 - 3
        assert [camera.read(1.0).sequence - 2**32 for _ in range(6)] == [-3, -2, -1, 0, 1, 2]
        assert camera.counts.gaps == 0


@pytest.mark.parametrize("faults", [Faults(no_timestamp=True), Faults(wrong_clock=True)])
def test_where_the_drivers_time_cannot_be_believed_it_is_that_of_dequeuing(plugged: Plugged, faults: Faults) -> None:
    plugged.device.faults = faults
    with plugged.camera() as camera:
        frames = []
        for _ in range(10):
            frames.append(camera.read(1.0))
            assert frames[-1].captured_ns == pytest.approx(plugged.kernel.now_ns(), abs=1000)
    assert all(a.captured_ns < b.captured_ns for a, b in pairwise(frames))


def test_a_kept_frame_is_not_overwritten_by_later_ones(plugged: Plugged) -> None:
    with plugged.camera() as camera:
        first = camera.read(1.0)
        for _ in range(2 * BUFFERS + 3):
            camera.read(1.0)
    assert first.jpeg == paint(0, "MJPG", 64, 48)


def test_two_on_one_camera_the_second_is_told_that_it_is_busy(plugged: Plugged) -> None:
    with plugged.camera() as first:
        with pytest.raises(CameraBusyError, match="another program"), plugged.camera():
            pass
        assert first.read(1.0).sequence == 0
    with plugged.camera() as second:
        assert second.read(1.0).sequence == 0


def test_auto_takes_the_one_camera_and_never_another_instead(plugged: Plugged) -> None:
    webcam = SimulatedDevice(name="Webcam", port="1-2", link="usb-Webcam", serial="")
    plugged.kernel.plug(SimulatedDevice(name="Encoder", port="1-3", link="", formats=[SimulatedFormat("H264", ((64, 48),), (30.0,))]))
    with plugged.camera() as camera:
        assert camera.info.identity == "usb:1d6b:0102:SIM0001"
    plugged.kernel.plug(webcam)
    with pytest.raises(CameraUriError, match=r"there are 2: name one of v4l2:/dev/v4l/by-id/usb-Tri.*usb-Webcam"), plugged.camera():
        pass
    with plugged.camera(f"v4l2:/dev/v4l/by-id/usb-Webcam-video-index0?{SMALL.partition('?')[2]}") as camera:
        assert camera.info.identity == "usb:1d6b:0102@usb-simulated-1-2"


def test_auto_with_none_there(plugged: Plugged) -> None:
    plugged.kernel.unplug(plugged.device)
    with pytest.raises(CameraNotFoundError, match="no camera is there: plug the microscope in"), plugged.camera():
        pass
