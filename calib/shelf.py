"""The folder of profiles, and which of them fits the connected device: the newest that has not expired; where none fits, why not.

A profile fits where microscope, picture size, focus mode and every control that it recorded are the device's. A control of which the
device says nothing cannot be compared and is named. Files that are damaged or foreign are passed over and named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from calib.errors import ProfileError
from calib.profile import Profile, read_profile
from calib.profile_parts import ControlValue, Device

MAX_FILES = 500  # more are not looked at: some milliseconds each
MOST_NAMED = 5  # files that are named one by one in a reason
SAME_SHARE = 1e-6  # numbers of a control that differ by less are one, however they were written


@dataclass(frozen=True)
class Chosen:
    """What the shelf gave.

    Attributes:
        profile: None where none fits.
        path: its file.
        why: where there is a profile, what is worth knowing beside it ("" for nothing); else why there is none and what to do.
    """

    profile: Profile | None
    path: Path | None
    why: str


def choose(folder: Path, device: Device, now: datetime, *, hood_code: int | None = None, hood: str | None = None) -> Chosen:
    """The newest profile in `folder` that fits.

    Args:
        folder: its files ending in .json are looked at, MAX_FILES at most, the newest names last; a folder that is not there has none.
        now: with a time zone.
        hood_code: of the ring on the hood in use; None for any.
        hood: name of the hood in use; None for any.
    """
    files, problem = _files(folder)
    if problem:
        return Chosen(None, None, problem)
    unusable: list[str] = []
    known: list[tuple[Path, Profile]] = []
    for file in files:
        try:
            known.append((file, read_profile(file)))
        except ProfileError as error:
            unusable.append(str(error))
    fitting, near = [], []
    for file, profile in known:
        differences = _differences(profile, device, hood_code, hood)
        if profile.expired_at(now):
            differences.append(f"expired on {profile.expires_utc:%Y-%m-%d}: calibrate anew")
        if differences:
            foreign = profile.device.microscope != device.microscope
            near.append((foreign, len(differences), -profile.made_utc.timestamp(), file.name, differences))
        else:
            fitting.append((profile.made_utc, profile.id, file, profile))
    if fitting:
        _, _, file, profile = max(fitting, key=lambda entry: entry[:2])
        return Chosen(profile, file, "; ".join([*_reservations(profile, device, now), *_some(unusable)]))
    if not near:
        told = "; ".join(_some(unusable))
        return Chosen(None, None, f"no profile in {folder}{': ' + told if told else ''}: calibrate this microscope")
    *_, name, differences = min(near)
    others = f" (nearest of {len(near)})" if len(near) > 1 else ""
    return Chosen(None, None, "; ".join([f"no profile fits; {name}{others}: {', '.join(differences)}", *_some(unusable)]))


def _files(folder: Path) -> tuple[list[Path], str]:
    """The files to look at, and why there are none ("" where there are)."""
    try:
        found = sorted(entry for entry in folder.iterdir() if entry.suffix == ".json" and not entry.name.startswith("."))
    except FileNotFoundError:
        return [], f"no profile: there is no folder {folder} yet: calibrate this microscope"
    except OSError as error:
        return [], f"no profile: {folder} cannot be read ({error.strerror}): check its owner and mode"
    # names begin with the date, so the last are the newest
    return found[-MAX_FILES:], ""


def _differences(profile: Profile, device: Device, hood_code: int | None, hood: str | None) -> list[str]:
    """What keeps the profile from fitting, in words; the greater obstacles first."""
    made, found = profile.device, []
    if made.microscope != device.microscope:
        found.append(f"made for microscope {made.microscope!r}, this is {device.microscope!r}")
    if (made.width_px, made.height_px) != (device.width_px, device.height_px):
        found.append(f"made for {made.width_px}×{made.height_px}, the camera gives {device.width_px}×{device.height_px}")
    if made.focus_mode != device.focus_mode:
        found.append(f"made with the focus {made.focus_mode}, it is {device.focus_mode} now")
    for name, value in sorted(made.controls.items()):
        if name in device.controls and not _same(value, device.controls[name]):
            found.append(f"made at {name} = {_shown(value)}, the camera has {_shown(device.controls[name])}")
    if hood is not None and (profile.hood is None or profile.hood.name != hood):
        found.append(f"made for {_hood_of(profile)}, in use is hood {hood!r}")
    ring = None if profile.hood is None else profile.hood.ring
    if hood_code is not None and (ring is None or ring.code != hood_code):
        found.append(f"made for {'no ring' if ring is None else f'ring {ring.code}'}, in use is ring {hood_code}")
    return found


def _reservations(profile: Profile, device: Device, now: datetime) -> list[str]:
    """What could not be made sure of a profile that fits."""
    found = []
    if silent := sorted(set(profile.device.controls) - set(device.controls)):
        found.append(f"the camera does not tell {', '.join(silent)}, which the profile recorded")
    if now < profile.made_utc:
        found.append(f"the clock says {now:%Y-%m-%d}, before the profile was made on {profile.made_utc:%Y-%m-%d}: set the clock")
    return found


def _same(one: ControlValue, other: ControlValue) -> bool:
    """Whether two values of a control are one; True is not 1."""
    if isinstance(one, bool) or isinstance(other, bool) or isinstance(one, str) or isinstance(other, str):
        return type(one) is type(other) and one == other
    return abs(one - other) <= SAME_SHARE * max(abs(one), abs(other))


def _shown(value: ControlValue) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _hood_of(profile: Profile) -> str:
    return "no hood" if profile.hood is None else f"hood {profile.hood.name!r}"


def _some(unusable: Sequence[str]) -> list[str]:
    more = len(unusable) - MOST_NAMED
    return [*unusable[:MOST_NAMED], *([f"{more} more files cannot be used"] if more > 0 else [])]
