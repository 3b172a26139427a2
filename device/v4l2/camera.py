"""The UVC microscope as a camera: finds it, takes its best mode, and hands out the pictures that are whole.

Address: `v4l2:/dev/v4l/by-id/…` follows a microscope from one /dev/videoN to another; `v4l2:auto` takes the one camera that is there.
Options: `width`, `height` (640×480; a size that was written must be offered, else the nearest is taken), `fps` (30), `format` (mjpg or
yuyv; by default yuyv where it reaches 25 frames a second), and controls by the names in `controls.NAMES`, such as
`exposure_time_absolute=156`, which switch their automatic off.

A frame carries the driver's sequence and timestamp and the camera's JPEG bytes as they came; pixels are decoded, or converted, when
someone asks. Pictures that the driver flags, or that a look at the bytes finds damaged, are dropped and counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import ClassVar

import cv2
import numpy as np

from device.camera import Camera, CameraInfo, CameraUri, ControlValues
from device.errors import CameraBandwidthError, CameraTimeoutError, CameraUriError
from device.frame import Frame, Image
from device.v4l2 import structs
from device.v4l2.controls import NAMES, Controls
from device.v4l2.enumerate import AUTO, find_camera
from device.v4l2.kernel import Kernel, LinuxKernel
from device.v4l2.modes import UNCOMPRESSED, Offer, Wish, choose, list_offers
from device.v4l2.nodes import NodeFacts, opened, require_camera
from device.v4l2.sifting import FrameCounts, Sieve
from device.v4l2.stream import Negotiated, RawPicture, Stream, negotiate
from device.v4l2.troubles import lost, told

log = logging.getLogger(__name__)

FORMATS = {"mjpg": "MJPG", "yuyv": UNCOMPRESSED}
LOOK_EVERY_S = 0.5  # a device that is gone without waking the wait is found so soon
FROZEN_S = 2.5  # the same picture over and over for so long; a person is to hear of it within 3 s


class V4l2Camera(Camera):
    """A camera of V4L2. `kernel` stands for Linux; a test puts another in its place, on an object or on the class."""

    kernel: ClassVar[Kernel] = LinuxKernel()

    def __init__(self, uri: CameraUri, kernel: Kernel | None = None) -> None:
        """Take the address apart; nothing is opened.

        Raises:
            CameraUriError: an option that is unknown or out of range, or a target that is neither auto nor a path.
        """
        super().__init__(uri)
        uri.refuse_unknown_options({"width", "height", "fps", "format", *NAMES.values()})
        if uri.target != AUTO and not uri.target.startswith("/"):
            raise CameraUriError(f"{uri}: name the camera, v4l2:/dev/v4l/by-id/…, or write v4l2:auto; `trichoscope devices` lists them")
        if uri.options.get("format", "mjpg") not in FORMATS:
            raise CameraUriError(f"{uri}: format={uri.options['format']} is neither mjpg nor yuyv")
        self._wish = Wish(
            width=_whole(uri, "width", 640, 16, 16384),
            height=_whole(uri, "height", 480, 16, 16384),
            fps=uri.number("fps", 30.0, low=0.1, high=240.0),
            format=FORMATS.get(uri.options.get("format", "")),
            exact="width" in uri.options or "height" in uri.options,
        )
        self._set = {name: _whole(uri, name, 0, -(2**31), 2**31 - 1) for name in uri.options if name in NAMES.values()}
        self._kernel = kernel if kernel is not None else self.kernel
        self._lock = threading.Lock()  # over `_wake`, which `cancel` uses from other threads
        self._wake: int | None = None
        self._stack = ExitStack()
        self._fd = -1
        self._facts: NodeFacts | None = None
        self._picture: Negotiated | None = None
        self._stream: Stream | None = None
        self._controls: Controls | None = None
        self._recorded: Mapping[str, int | bool] = {}
        self._sieve = Sieve(is_jpeg=True, bytes_expected=0)
        self._last_taken_ns = 0

    def cancel(self) -> None:
        """Make a waiting `read`, or else the next one, raise CameraTimeoutError soon."""
        with self._lock:
            if self._wake is not None:
                os.eventfd_write(self._wake, 1)

    @property
    def counts(self) -> FrameCounts:
        """What came of the pictures since the camera was opened last; immutable."""
        return self._sieve.counts

    @property
    def dropped(self) -> int:
        """Pictures not handed out because they were damaged."""
        return self._sieve.counts.dropped

    @property
    def controls(self) -> Controls:
        """The controls of the open camera, for the thread that reads it. Raises DeviceError when it is not open."""
        self._require_open()
        assert self._controls is not None
        return self._controls

    def _open(self) -> None:
        kernel = self._kernel
        with ExitStack() as stack:
            path = find_camera(kernel, self.uri.target)
            self._fd, facts = stack.enter_context(opened(kernel, path))
            require_camera(kernel, facts)
            with told(kernel, facts.node, "being asked for its modes"):
                offers = choose(facts.node, list_offers(kernel, self._fd, self._wish), self._wish)
            self._facts = facts
            self._controls = Controls(kernel, self._fd, facts.node)
            for name, value in self._set.items():
                self._controls.write(name, value)
            self._recorded = self._controls.recorded()
            self._stream = Stream(kernel, self._fd, facts.node)
            self._picture = self._start(self._stream, facts, offers)
            stack.callback(self._stream.stop)
            picture = self._picture
            self._sieve = Sieve(
                is_jpeg=picture.format != UNCOMPRESSED,
                bytes_expected=picture.height * picture.bytes_per_line,
                pixels=picture.width * picture.height,
            )
            self._last_taken_ns = self._opened_ns
            with self._lock:
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            stack.callback(self._forget_wake)
            self._stack = stack.pop_all()
        log.info("%s is %s: %s at %g frames a second", self.uri, facts.name, offers[0], self._picture.fps)

    def _start(self, stream: Stream, facts: NodeFacts, offers: list[Offer]) -> Negotiated:
        """Start streaming the first of the offers that the bus has room for."""
        refused: CameraBandwidthError | None = None
        for offer in offers:
            try:
                picture = negotiate(self._kernel, self._fd, facts.node, offer, self._wish.fps)
                stream.start()
                return picture
            except CameraBandwidthError as error:
                log.info("%s: no room for %s", facts.node, offer)
                refused = refused or error
        assert refused is not None
        raise refused

    def _close(self) -> None:
        self._stack.close()
        self._stream = self._controls = self._picture = None

    def _forget_wake(self) -> None:
        with self._lock:
            if self._wake is not None:
                os.close(self._wake)
                self._wake = None

    def _info(self) -> CameraInfo:
        assert self._facts is not None and self._picture is not None
        return CameraInfo(
            driver="v4l2",
            source=str(self.uri),
            width=self._picture.width,
            height=self._picture.height,
            fps=self._picture.fps,
            identity=self._facts.identity,
            controls=dict(self._recorded),
        )

    def _lock_controls(self, values: ControlValues | None) -> ControlValues:
        whole = {name: int(value) for name, value in (values or {}).items() if isinstance(value, int)}
        self._recorded = self.controls.lock(whole or None)
        return self._recorded

    def _release_controls(self) -> None:
        self.controls.release()
        self._recorded = self.controls.recorded()

    def _read(self, timeout_s: float) -> Frame:
        kernel, stream = self._kernel, self._stream
        assert stream is not None and self._facts is not None and self._wake is not None
        node, before = self._facts.label, self._sieve.counts
        deadline = kernel.now_ns() + int(timeout_s * 1e9)
        while True:
            left_s = (deadline - kernel.now_ns()) / 1e9
            if left_s <= 0:
                raise CameraTimeoutError(f"{node} sent {_what_came(before, self._sieve.counts)} for {timeout_s:g} s")
            try:
                ready, woken = kernel.wait(self._fd, self._wake, min(left_s, LOOK_EVERY_S))
                if woken:
                    with contextlib.suppress(BlockingIOError):
                        os.eventfd_read(self._wake)
                    raise CameraTimeoutError(f"{node}: reading was cancelled")
                if not ready:
                    kernel.ioctl(self._fd, structs.QUERYCAP, structs.Capability())  # answers of itself, unless the device is gone
                    continue
                picture = stream.take()
            except OSError as error:
                raise lost(node, error) from error
            if picture is not None and (sequence := self._sieve.pass_on(picture, kernel.now_ns())) is not None:
                if self._sieve.same_for_ns(kernel.now_ns()) > FROZEN_S * 1e9:
                    raise CameraTimeoutError(f"{node} has sent the same picture over and over for {FROZEN_S:g} s")
                return self._frame(picture, sequence)

    def _frame(self, picture: RawPicture, sequence: int) -> Frame:
        agreed = self._picture
        assert agreed is not None
        now_ns, taken_ns = self._kernel.now_ns(), picture.taken_ns
        # some firmware counts its own clock wrong, and the driver's estimate then lies in the future or goes back
        believable = taken_ns is not None and self._last_taken_ns < taken_ns <= now_ns
        self._last_taken_ns = taken_ns if believable and taken_ns is not None else now_ns
        source = str(self.uri)
        if agreed.format != UNCOMPRESSED:
            return Frame(sequence=sequence, captured_ns=self._last_taken_ns, source=source, jpeg=picture.data)
        data = picture.data
        return Frame(sequence=sequence, captured_ns=self._last_taken_ns, source=source, convert=lambda: bgr_from_yuyv(data, agreed))


def bgr_from_yuyv(data: bytes, picture: Negotiated) -> Image:
    """uint8 (height, width, 3) BGR of packed YUV 4:2:2 (ITU-R BT.601, studio range, which is what UVC means by YUY2)."""
    lines = np.frombuffer(data, np.uint8, picture.height * picture.bytes_per_line).reshape(picture.height, picture.bytes_per_line)
    packed = np.ascontiguousarray(lines[:, : 2 * picture.width]).reshape(picture.height, picture.width, 2)
    return np.asarray(cv2.cvtColor(packed, cv2.COLOR_YUV2BGR_YUY2), np.uint8)


def _what_came(before: FrameCounts, after: FrameCounts) -> str:
    """What a read got that ended without a picture."""
    flaws = after.since(before)
    return f"only damaged pictures ({flaws})" if flaws else "nothing"


def _whole(uri: CameraUri, name: str, default: int, low: int, high: int) -> int:
    value = uri.number(name, default, low=low, high=high)
    if value != int(value):
        raise CameraUriError(f"{uri}: {name}={uri.options[name]} is not a whole number")
    return int(value)
