"""The thread that owns the camera: it opens it, reads it with a deadline, and when it goes away keeps looking for it.

Whatever happens to the camera becomes a named state with a message for a person; the loop itself goes on. Frames go to the
latest-frame slot. A picture that is no whole JPEG is dropped and counted: USB cameras send such pictures as a matter of course.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal

from typing_extensions import Self  # typing.Self needs 3.11

from device.backoff import Backoff, FailureBudget
from device.camera import Camera, CameraInfo, ControlValues, make_camera
from device.errors import (
    CameraBandwidthError,
    CameraBusyError,
    CameraDeniedError,
    CameraEndedError,
    CameraLostError,
    CameraModeError,
    CameraNotFoundError,
    CameraRefusedError,
    CameraTimeoutError,
    DeviceError,
    FrameDecodeError,
    NotACameraError,
)
from device.frame import Frame
from device.jpeg import is_whole_jpeg
from device.present import LOOK_EVERY_S, cameras_present
from device.rate import RateMeter
from device.ring import FrameRing
from device.slot import LatestFrameSlot

CaptureState = Literal[
    "opening",
    "streaming",
    "absent",
    "frozen",
    "busy",
    "no_bandwidth",
    "refused",
    "no_mode",
    "denied",
    "not_a_camera",
    "ended",
    "failed",
]

BY_ITSELF = "If it does not come back by itself, unplug the camera and plug it in again"
# what each trouble is called, and what a person may expect; the first class that fits counts, DeviceError fits all
TROUBLES: tuple[tuple[type[DeviceError], CaptureState, str], ...] = (
    (CameraNotFoundError, "absent", "The picture comes by itself once the camera is there"),
    (CameraLostError, "absent", "Plug the camera in again; the picture comes back by itself"),
    (CameraTimeoutError, "frozen", BY_ITSELF),
    (FrameDecodeError, "frozen", BY_ITSELF),
    (CameraBusyError, "busy", "The picture comes by itself once the camera is free"),
    (CameraBandwidthError, "no_bandwidth", "The picture comes by itself once there is room"),
    (CameraRefusedError, "refused", "Trying again"),
    (CameraModeError, "no_mode", "Trying again, in case another camera is plugged in"),
    (CameraDeniedError, "denied", "Trying again"),
    (NotACameraError, "not_a_camera", "Trying again, in case a camera takes its place"),
    (DeviceError, "failed", "Trying again"),
)

log = logging.getLogger(__name__)

STOP_DEADLINE_S = 1.0
CANCEL_EVERY_S = 0.05  # a cancel that comes just before the read begins may be missed, so it is repeated


@dataclass(frozen=True)
class Patience:
    """How long the capture loop waits for what. All times in seconds.

    Attributes:
        frame_s: deadline of one read; a camera slower than that is given three of its own frame periods.
        first_retry_s, longest_retry_s: back-off between attempts to open a camera that is missing or was lost.
        steady_s: a camera that has streamed this long begins again at the first of these.
        first_restart_s, longest_restart_s: back-off after an exception that no driver should let through.
        restart_budget, restart_window_s: so many of those in such a time are forgiven; one more, and the loop gives up.
    """

    frame_s: float = 2.0
    first_retry_s: float = 0.25
    longest_retry_s: float = 5.0
    steady_s: float = 5.0
    first_restart_s: float = 0.5
    longest_restart_s: float = 10.0
    restart_budget: int = 5
    restart_window_s: float = 300.0


@dataclass(frozen=True)
class CaptureStatus:
    """What the capture loop is doing, at one moment.

    Attributes:
        message: for a person; says what to do where something must be done.
        camera: what the open camera says of itself, None while none is open.
        frames: pictures published; `lost`: gaps in the camera's sequence; `damaged`: pictures dropped as not whole.
        opened: how often the camera was opened; all but the first are reconnections.
        failures: attempts that ended in the state failed.
        read_deadline_s: how long one read may take with this camera.
        beat_ns: `time.monotonic_ns()` when the loop last got on (a frame, or an attempt to open).
        gave_up: the loop will not try again.
    """

    state: CaptureState
    message: str
    camera: CameraInfo | None
    beat_ns: int
    read_deadline_s: float
    frames: int = 0
    lost: int = 0
    damaged: int = 0
    opened: int = 0
    failures: int = 0
    gave_up: bool = False

    @property
    def reconnects(self) -> int:
        """How often the camera came back."""
        return max(0, self.opened - 1)


class CaptureLoop:
    """Reads one camera into `slot` for as long as the context is open. Leaving it ends the thread within a second."""

    def __init__(
        self,
        camera_uri: str,
        slot: LatestFrameSlot,
        *,
        make: Callable[[str], Camera] = make_camera,
        patience: Patience | None = None,
        listener: Callable[[], None] = lambda: None,
        plugged_in: Callable[[], object] = cameras_present,
        ring: FrameRing | None = None,
    ) -> None:
        """Store the arguments. `listener` is called by the capture thread after each frame and each change of state.

        `plugged_in` gives what differs when a camera comes or goes; a change ends the wait before the next attempt.
        `ring` gets the frames too, for `choose_frame`.
        """
        self.camera_uri = camera_uri
        self.rate = RateMeter()
        self._slot = slot
        self._make = make
        self._patience = patience or Patience()
        self._listener = listener
        self._plugged_in = plugged_in
        self._ring = ring
        self._holding = False  # whether the camera's controls are to be held
        self._held: ControlValues | None = None  # at which values, once a camera was asked
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._status = CaptureStatus("opening", f"opening {camera_uri}", None, time.monotonic_ns(), self._patience.frame_s)
        self._camera: Camera | None = None
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        deadline = time.monotonic() + STOP_DEADLINE_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            self.ask_to_stop()
            self._thread.join(CANCEL_EVERY_S)
        if self._thread.is_alive():
            log.error("the camera %s does not let go: its driver did not end within %g s", self.camera_uri, STOP_DEADLINE_S)

    def ask_to_stop(self) -> None:
        """End, and close the camera. Returns at once; leaving the context waits for it."""
        self._stopping.set()
        with self._lock:
            camera = self._camera
        if camera is not None:
            camera.cancel()

    def hold_controls(self) -> None:
        """Hold exposure, white balance and focus as they are, over reconnections too: for a visit. Takes effect before the next frame."""
        with self._lock:
            self._holding = True

    def release_controls(self) -> None:
        """Give them back to the camera's automatics. Takes effect before the next frame."""
        with self._lock:
            self._holding, self._held = False, None

    @property
    def status(self) -> CaptureStatus:
        """The present status; immutable."""
        with self._lock:
            return self._status

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        patience = self._patience
        retry = Backoff(patience.first_retry_s, patience.longest_retry_s)
        restart = Backoff(patience.first_restart_s, patience.longest_restart_s)
        budget = FailureBudget(patience.restart_budget, patience.restart_window_s)
        while not self._stopping.is_set():
            began = time.monotonic()
            crash: Exception | None = None
            there = self._plugged_in()
            try:
                self._open_and_stream()
                return  # asked to stop
            except CameraEndedError as error:
                self._say("ended", f"{error}. Choose another camera to go on")
                return
            except DeviceError as error:
                state, outlook = next((name, outlook) for kind, name, outlook in TROUBLES if isinstance(error, kind))
                self._leave(state, f"{error}. {outlook}")
            except Exception as error:
                crash = error
                log.exception("the driver of %s crashed", self.camera_uri)
                self._leave("failed", f"the driver of {self.camera_uri} crashed: {error!r}. Trying again; the log has the details")
            if time.monotonic() - began > patience.steady_s:
                retry.reset()
                restart.reset()
            if crash is not None and not budget.spend():
                self._give_up(crash)
                return
            if crash is not None:
                self._stopping.wait(restart.next_s())
            elif self._changes_within(retry.next_s(), there):
                retry.reset()

    def _changes_within(self, wait_s: float, there: object) -> bool:
        """Wait until it is time to try again; whether something was plugged in or out, which makes it time."""
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0 and not self._stopping.wait(min(LOOK_EVERY_S, left_s)):
            if self._plugged_in() != there:
                return True
        return False

    def _open_and_stream(self) -> None:
        """Open the camera and read it until the loop is asked to stop; whatever goes wrong is raised."""
        self._beat()
        with self._cancellable(self._make(self.camera_uri)) as camera, camera:
            info = camera.info
            timeout_s = max(self._patience.frame_s, 3 / info.fps if info.fps > 0 else 0.0)
            self._change(camera=info, opened=self.status.opened + 1, read_deadline_s=timeout_s)
            last_good = time.monotonic()
            last_sequence: int | None = None
            dropped = 0
            holding = False
            while not self._stopping.is_set():
                holding = self._settle_controls(camera, holding)
                before = camera.dropped
                try:
                    frame = self._read_whole(camera, timeout_s)
                finally:
                    dropped += self._count_dropped(camera.dropped - before)
                if frame is None:
                    if time.monotonic() - last_good > timeout_s:
                        raise FrameDecodeError(f"{self.camera_uri} sends only damaged pictures")
                    self._beat()
                    continue
                last_good = time.monotonic()
                gap = 0 if last_sequence is None else max(0, frame.sequence - last_sequence - 1 - dropped)
                last_sequence, dropped = frame.sequence, 0
                self._publish(frame, gap)

    def _count_dropped(self, pictures: int) -> int:
        """Pictures that the driver dropped as damaged, now counted."""
        if pictures:
            self._change(damaged=self.status.damaged + pictures)
        return pictures

    def _settle_controls(self, camera: Camera, holding: bool) -> bool:
        """Lock or release the camera's controls where that is wanted and not yet so; whether they are locked now."""
        with self._lock:
            wanted, values = self._holding, self._held
        if wanted == holding:
            return holding
        if wanted:
            held = camera.lock_controls(values)
            with self._lock:
                self._held = held if self._holding else None
        else:
            camera.release_controls()
        self._change(camera=camera.info)
        return wanted

    @contextmanager
    def _cancellable(self, camera: Camera) -> Iterator[Camera]:
        with self._lock:
            self._camera = camera
        try:
            yield camera
        finally:
            with self._lock:
                self._camera = None

    def _read_whole(self, camera: Camera, timeout_s: float) -> Frame | None:
        """The next frame, or None where the camera sent a damaged one (counted) or the loop was asked to stop."""
        try:
            frame = camera.read(timeout_s)
        except CameraTimeoutError:
            if self._stopping.is_set():
                return None
            raise
        except FrameDecodeError as error:
            log.debug("dropped: %s", error)
        else:
            if frame.jpeg is None or is_whole_jpeg(frame.jpeg):
                return frame
            log.debug("dropped: frame %d of %s is cut short (%d bytes)", frame.sequence, frame.source, len(frame.jpeg))
        with self._lock:
            self._status = replace(self._status, damaged=self._status.damaged + 1)
        return None

    def _publish(self, frame: Frame, gap: int) -> None:
        self._slot.put(frame)
        if self._ring is not None:
            self._ring.put(frame)
        self.rate.tick()
        with self._lock:
            status = self._status
            began_streaming = status.state != "streaming"
            self._status = replace(
                status,
                frames=status.frames + 1,
                lost=status.lost + gap,
                beat_ns=time.monotonic_ns(),
                state="streaming",
            )
        if began_streaming:
            self._say("streaming", f"streaming from {self.camera_uri}")
        else:
            self._tell()

    def _leave(self, state: CaptureState, message: str) -> None:
        """The camera is closed: forget its picture, so that nobody takes an old one for the present one."""
        if self._stopping.is_set():
            return
        self._slot.clear()
        if self._ring is not None:
            self._ring.clear()
        self._say(state, message, camera=None, failures=self.status.failures + (state == "failed"))

    def _give_up(self, crash: Exception) -> None:
        patience = self._patience
        self._say(
            "failed",
            f"the driver of {self.camera_uri} crashed more than {patience.restart_budget} times within "
            f"{patience.restart_window_s:g} s, last: {crash!r}. Read the log and start the program again",
            gave_up=True,
        )

    def _say(self, state: CaptureState, message: str, **changes: object) -> None:
        before = self.status
        self._change(state=state, message=message, beat_ns=time.monotonic_ns(), **changes)
        if (before.state, before.message) != (state, message):
            level = logging.INFO if state in ("streaming", "ended") else logging.WARNING
            log.log(level, "camera %s: %s", state, message)
        self._tell()

    def _beat(self) -> None:
        self._change(beat_ns=time.monotonic_ns())

    def _change(self, **changes: object) -> None:
        with self._lock:
            self._status = replace(self._status, **changes)  # type: ignore[arg-type]

    def _tell(self) -> None:
        try:
            self._listener()
        except Exception:
            log.exception("whoever listens to the capture loop failed")
