"""What must be in order for an appliance to work, looked at piece by piece: the checks behind `trichoscope doctor`.

Each check says what was found and, where something must be done, what. Nothing is changed, and what another program uses is left alone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from calib.errors import CalibrationError
from calib.profile import Device
from calib.shelf import choose
from device.camera import CameraInfo, make_camera
from device.errors import CameraBusyError, DeviceError
from device.frame import Frame
from device.handpiece.ports import find_port, list_ports
from device.handpiece.uri import make_handpiece, parse_handpiece_uri
from runtime.analysis.segmenters import make_segmenter, read_source
from runtime.config import Settings

PICTURE_WITHIN_S = 5.0
READY_WITHIN_S = 5.0  # a handpiece that restarts when its port is opened needs two of them

Verdict = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        verdict: `good`; `note`: works, or could not be looked at, and should be known; `bad`: something must be done.
        found: for a person, with what to do where something must be done.
    """

    name: str
    verdict: Verdict
    found: str


def check_all(settings: Settings) -> list[Check]:
    """Every check of what `settings` ask for; takes some seconds."""
    camera, taken = check_camera(settings)
    return [check_store(settings), camera, check_handpiece(settings), check_calibration(settings, taken), check_segmenter(settings)]


def check_store(settings: Settings) -> Check:
    """Whether captures can be written, and whether there is room."""
    folder, reserve_mb = settings.store.folder, settings.store.reserve_mb
    there = next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))
    try:
        free_mb = shutil.disk_usage(there).free // 2**20
        if not there.is_dir():
            raise NotADirectoryError(0, "not a folder")
        if there == folder:
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"doctor")
                probe.flush()
                os.fsync(probe.fileno())
        elif not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(0, "the folder is not there and this user may not make it")
    except OSError as error:
        what = f"{there}: {error.strerror or error}: make it a folder that the daemon's user may write to, or set store.folder"
        return Check("state folder", "bad", what)
    if free_mb < reserve_mb:
        return Check("state folder", "bad", f"{folder}: {free_mb} MB free, {reserve_mb} MB stay in reserve: free some space on this disk")
    made = "can be written" if there == folder else "will be made at the first start"
    return Check("state folder", "good", f"{folder}: {made}, {free_mb} MB free")


def check_camera(settings: Settings) -> tuple[Check, tuple[CameraInfo, Frame] | None]:
    """Whether the microscope gives a picture; with it the picture and what the camera says of itself."""
    uri = settings.camera.uri
    try:
        with make_camera(uri) as camera:
            frame = camera.read(PICTURE_WITHIN_S)
            height, width, _ = frame.image.shape
            info = camera.info
    except CameraBusyError as error:
        return Check("microscope", "note", f"{uri}: {error}"), None  # most often by the daemon, whose page shows how it is
    except DeviceError as error:
        return Check("microscope", "bad", f"{uri}: {error}"), None
    found = f"{uri}: a picture came, {width}×{height}; identity {info.identity}"
    if info.driver != "v4l2":
        return Check("microscope", "note", f"{found}; this is no real microscope: set camera.uri to v4l2:auto for one"), (info, frame)
    return Check("microscope", "good", found), (info, frame)


def check_handpiece(settings: Settings) -> Check:
    """Whether the configured handpiece measures; where none is configured, whether one is plugged in."""
    uri = parse_handpiece_uri(settings.handpiece.uri)
    if uri.scheme == "none":
        unused = [port for port in list_ports() if port.calls_itself_ours]
        if unused:
            found = f"none configured, and one is plugged in: set handpiece.uri to serial:{unused[0].address}"
            return Check("handpiece", "note", found)
        return Check("handpiece", "good", "none configured")
    try:
        if uri.scheme == "serial":
            path = find_port(uri)
            port = next((each for each in list_ports() if each.path == os.path.realpath(path)), None)
            if port is not None and port.state != "free":  # in use: most often by the daemon
                return Check("handpiece", "note" if port.state == "in-use" else "bad", f"{uri}: {port.why}")
        sensor = make_handpiece(str(uri))
        assert sensor is not None
        with sensor:
            return Check("handpiece", "good", sensor.wait_until_ready(READY_WITHIN_S).message)
    except DeviceError as error:
        return Check("handpiece", "bad", f"{uri}: {error}")


def check_calibration(settings: Settings, taken: tuple[CameraInfo, Frame] | None) -> Check:
    """Whether pictures get a scale: from the configuration, a profile that fits the microscope, or the picture itself."""
    name, wanted = "calibration", settings.calibration
    stated = wanted.scale().um_per_px
    if stated is not None:
        return Check(name, "good", f"the configuration states {stated:g} µm per pixel")
    if taken is None:
        return Check(name, "note", "not looked at, for there is no picture of the microscope")
    info, frame = taken
    height, width, _ = frame.image.shape
    try:
        device = Device(microscope=wanted.microscope or info.identity, width_px=width, height_px=height, controls=dict(info.controls))
        chosen = choose(settings.profiles_folder, device, datetime.now(timezone.utc), hood=wanted.hood)
        profile, why = chosen.profile, chosen.why
    except (CalibrationError, OSError, ValidationError) as error:
        profile, why = None, f"{settings.profiles_folder}: {error}"
    if profile is not None:
        found = f"profile {profile.id} fits, until {profile.expires_utc:%Y-%m-%d}"
        return Check(name, "note" if why else "good", f"{found}; {why}" if why else found)
    if frame.stated_um_per_px is not None:
        return Check(name, "note", f"the pictures state their own scale, {frame.stated_um_per_px:g} µm per pixel; {why}")
    return Check(name, "bad", why)


def check_segmenter(settings: Settings) -> Check:
    """Whether the network that finds hair can be used, as the configuration asks for it."""
    with make_segmenter(read_source(settings.analysis), threads=1) as segmenter:
        if segmenter.problem is not None:
            return Check("hair detection", "bad", segmenter.problem)
        return Check("hair detection", "good", segmenter.name)
