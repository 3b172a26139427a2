"""Where the scale of a measured frame is from: the configuration, the calibration profile of the microscope that took it, or the frame.

Which profile fits is decided when the first frame of a camera comes, and again when it is reopened, sends another size, or when the
folder of profiles changes; a frame itself costs no look at the disk. All threads that measure share one object.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import structlog
from pydantic import ValidationError

from calib.errors import CalibrationError, ScaleError
from calib.field import FrameScale
from calib.profile import Device, Profile
from calib.resolve import resolve_scale
from calib.scale import given_scale
from calib.settings import CalibrationSettings
from calib.shelf import choose
from device.camera import CameraInfo, ControlValues
from device.frame import Frame
from runtime.workers.handpiece import Distance

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 3.0  # how late a new profile, or the end of an old one, may be noticed
WARN_BEFORE = timedelta(days=30)  # of a profile's expiry: time enough to get a target and a quiet hour
MOST_FITS = 8  # pictures of so many sizes may alternate in a replayed folder without a look at the disk
CAMERAS_KEPT = 4  # a captured frame may wait until its camera is unplugged and another one there

NO_CAMERA = "no microscope is connected"
NO_PICTURE = "no picture of this microscope has been measured yet"
UNKNOWN_CAMERA = "the microscope that took this picture is not connected any more"


ControlsKey = tuple[tuple[str, int | float | bool | str], ...]


@dataclass(frozen=True)
class Fit:
    """The profile for frames of one camera and size, or why there is none; where there is one, `why` is what to know beside it."""

    profile: Profile | None
    why: str


@dataclass(frozen=True)
class CalibrationState:
    """What gives the connected microscope its scale; all None where the configuration states one.

    Attributes:
        why: why no profile fits, None where one does.
        notice: what a person should know of the profile in use, None where there is nothing.
    """

    profile_id: str | None = None
    made_utc: str | None = None
    expires_utc: str | None = None
    hood: str | None = None
    why: str | None = None
    notice: str | None = None


class FrameScaler:
    """Gives each frame its scale. Any thread may call; the constructor stores its arguments."""

    def __init__(
        self,
        settings: CalibrationSettings,
        folder: Path,
        connected: Callable[[], CameraInfo | None],
        *,
        distance_at: Callable[[int], Distance | None] = lambda moment_ns: None,
        look_every_s: float = LOOK_EVERY_S,
        utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Store the arguments.

        `folder` holds the profiles; `connected` tells what the open camera says of itself, None while none is open; `distance_at`
        the distance from camera to skin at a moment of the monotonic clock, where a range sensor knows it; `utc` is the wall clock,
        with a time zone.
        """
        self._settings = settings
        self._folder = folder
        self._stated = settings.scale()
        self._connected = connected
        self._distance_at = distance_at
        self._look_every_s = look_every_s
        self._utc = utc
        self._lock = threading.Lock()
        self._cameras: deque[CameraInfo] = deque(maxlen=CAMERAS_KEPT)
        self._fits: dict[tuple[int, ControlsKey, int, int], Fit] = {}  # by when the camera was opened, its controls, width, height
        self._looked_at: float | None = None
        self._seen: object = None  # in the folder, at the last look
        self._said: deque[tuple[object, ...]] = deque(maxlen=MOST_FITS)
        self._absurd: float | None = None
        self._latest: tuple[int, Fit] | None = None  # when the camera was opened, and what its latest frame got

    def __call__(self, frame: Frame) -> FrameScale:
        """The scale of `frame`: the configuration's, else that of the profile that fits, else the frame's own, else none with the reason.

        Raises:
            FrameDecodeError: the frame is no picture.
        """
        if self._stated.um_per_px is not None:
            return FrameScale(self._stated)
        fit = self._fit_of(frame)
        found = FrameScale(note=fit.why) if fit.profile is None else _resolved(fit.profile, frame, self._distance_at(frame.captured_ns))
        if found.scale.um_per_px is None and frame.stated_um_per_px is not None:
            return self._own_scale_of(frame) or found
        return found

    def controls_of(self, frame: Frame) -> ControlValues | None:
        """The controls that its camera recorded for `frame`, such as exposure; None where the camera is not known any more."""
        with self._lock:
            camera = self._camera_of(frame)
        return None if camera is None else camera.controls

    def now(self) -> CalibrationState:
        """What gives the connected microscope its scale at this moment. Never waits for the disk."""
        if self._stated.um_per_px is not None:
            return CalibrationState()
        camera, latest = self._connected(), self._latest
        if camera is None:
            return CalibrationState(why=NO_CAMERA)
        if latest is None or latest[0] != camera.opened_ns:
            return CalibrationState(why=NO_PICTURE)
        profile, why = latest[1].profile, latest[1].why
        if profile is None:
            return CalibrationState(why=why)
        return CalibrationState(
            profile_id=profile.id,
            made_utc=profile.made_utc.isoformat(timespec="seconds"),
            expires_utc=profile.expires_utc.isoformat(timespec="seconds"),
            hood=profile.hood.name if profile.hood is not None else None,
            notice="; ".join(filter(None, (self._expiry_notice(profile), why))) or None,
        )

    def _expiry_notice(self, profile: Profile) -> str:
        left = profile.expires_utc - self._utc()
        if left > WARN_BEFORE:
            return ""
        days = max(0, left.days)
        when = "today" if days == 0 else "in 1 day" if days == 1 else f"in {days} days"
        return (
            f"the calibration profile {profile.id} expires {when} ({profile.expires_utc:%Y-%m-%d}), then nothing is given in µm: "
            "calibrate anew (trichoscope calibrate run)"
        )

    def _fit_of(self, frame: Frame) -> Fit:
        height, width = frame.image.shape[:2]  # decoded before the lock is taken
        with self._lock:
            camera = self._camera_of(frame)
            if camera is None:
                return Fit(None, UNKNOWN_CAMERA)
            self._look_into_folder()
            key = (camera.opened_ns, tuple(sorted(camera.controls.items())), width, height)
            fit = self._fits.get(key)
            if fit is None:
                fit = self._choose(camera, width, height)
                while len(self._fits) >= MOST_FITS:
                    del self._fits[next(iter(self._fits))]
                self._fits[key] = fit
            if self._latest is None or self._latest[0] <= camera.opened_ns:
                self._latest = (camera.opened_ns, fit)
            return fit

    def _camera_of(self, frame: Frame) -> CameraInfo | None:
        """The camera that took the frame: the latest that was opened before it."""
        camera = self._connected()
        if camera is not None and (not self._cameras or self._cameras[-1] != camera):  # opened again, or its controls changed
            self._cameras.append(camera)
        return next((each for each in reversed(self._cameras) if each.opened_ns <= frame.captured_ns), None)

    def _look_into_folder(self) -> None:
        """Forget what was chosen where the profiles are others than at the last look, or one has expired."""
        now = time.monotonic()
        if self._looked_at is not None and now - self._looked_at < self._look_every_s:
            return
        self._looked_at = now
        seen, utc = _files_in(self._folder), self._utc()
        if seen != self._seen or any(fit.profile is not None and fit.profile.expired_at(utc) for fit in self._fits.values()):
            self._fits.clear()
        self._seen = seen

    def _choose(self, camera: CameraInfo, width: int, height: int) -> Fit:
        microscope = self._settings.microscope or camera.identity
        try:
            device = Device(microscope=microscope, width_px=width, height_px=height, controls=dict(camera.controls))
            chosen = choose(self._folder, device, self._utc(), hood=self._settings.hood)
            fit = Fit(chosen.profile, chosen.why)
        except (CalibrationError, OSError, ValidationError) as error:  # a picture without a scale is better than none
            fit = Fit(None, f"the calibration profiles of {self._folder} cannot be used: {error}")
        about = {"microscope": microscope, "width_px": width, "height_px": height}
        said = (*about.values(), fit.profile and fit.profile.id, fit.why)
        if said not in self._said:
            self._said.append(said)
            if fit.profile is None:
                log.warning("no calibration profile fits", why=fit.why, **about)
            else:
                log.info("calibration profile chosen", profile=fit.profile.id, why=fit.why, **about)
        return fit

    def _own_scale_of(self, frame: Frame) -> FrameScale | None:
        """The scale that the frame itself states, where it is one."""
        assert frame.stated_um_per_px is not None
        try:
            return FrameScale(given_scale(frame.stated_um_per_px))
        except ScaleError as error:
            if frame.stated_um_per_px != self._absurd:  # said once, not at every frame
                self._absurd = frame.stated_um_per_px
                log.warning("the scale that the camera states is not used", why=str(error))
            return None


def _resolved(profile: Profile, frame: Frame, distance: Distance | None) -> FrameScale:
    try:
        if distance is None:
            return resolve_scale(profile, frame.image)
        return resolve_scale(profile, frame.image, distance_mm=distance.mm, distance_std_mm=distance.std_mm)
    except CalibrationError as error:
        return FrameScale(profile_id=profile.id, note=str(error))


def _files_in(folder: Path) -> object:
    """What tells one state of a folder from another: names, sizes and times of its files; the error where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat()) for entry in entries]
    except OSError as error:
        return error.errno
    return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)
