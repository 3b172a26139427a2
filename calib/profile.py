"""The calibration profile: all that was fitted for one microscope, hood, resolution, focus mode and locked controls, as one JSON file.

`id` is a hash of all the rest, so that an altered file is not taken for the one that a measurement names, and a corrected profile has an
id of its own. A file is written whole or not at all and never edited: a new calibration is a new file beside the old ones.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import AwareDatetime, ConfigDict, Field, ValidationError, field_validator, model_validator

from calib.curve import ScaleCurve
from calib.errors import CalibrationError, ProfileError
from calib.lens import RadialLens
from calib.profile_parts import Curve, Device, HairPlane, Hood, HoodScale, LensFit, Light, Name, Part, Ring, Sharpness, Text, View
from calib.targets import parse_target

__all__ = [
    "Curve", "Device", "HairPlane", "Hood", "HoodScale", "LensFit", "Light", "Profile", "Ring", "Sharpness", "View",
    "profile_id", "read_profile", "sealed", "write_profile",
]  # fmt: skip

SCHEMA: Final = "trichoscope/profile/1"
ID_DIGITS = 16  # of SHA-256 in hexadecimal: enough that no two profiles in the world share them
MAX_PSF_SIGMA_PX = 2.5  # with more blur than this a terminal hair of five pixels is all flank
LIFETIME = timedelta(days=365)
MAX_VIEWS, MAX_LIGHTS = 200, 16
MAX_FILE_BYTES = 1024 * 1024  # a profile with flat fields for six distances is a tenth of it
REMEDY = "use an unaltered copy of it, or calibrate anew"


class Profile(Part):
    """The whole file.

    Attributes:
        id: hash of everything else, see `profile_id`.
        target: what was seen, as `calib.targets.parse_target` reads it.
        curve: None where all pictures were taken at the hood's height; then `hood_scale` holds.
        lens: None where the target told nothing of it.
        point_spread: by rising distance. `max_psf_sigma_px`: beyond it no widths are given.
        pitch_std_percent: the target's own tolerance, which all scales share.
        program: name and version of what made it.
    """

    schema_: Literal["trichoscope/profile/1"] = Field(default=SCHEMA, alias="schema")
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    device: Device
    hood: Hood | None
    target: Name
    curve: Curve | None
    hood_scale: HoodScale | None
    lens: LensFit | None
    point_spread: Annotated[tuple[Sharpness, ...], Field(max_length=MAX_VIEWS)]
    max_psf_sigma_px: Annotated[float, Field(gt=0, le=100)] = MAX_PSF_SIGMA_PX
    light: Annotated[tuple[Light, ...], Field(max_length=MAX_LIGHTS)] = ()
    hair_plane: HairPlane = HairPlane()
    views: Annotated[tuple[View, ...], Field(max_length=MAX_VIEWS)]
    pitch_std_percent: Annotated[float, Field(ge=0, le=100)] = 0.0
    made_utc: AwareDatetime
    made_by: Text
    program: Text
    expires_utc: AwareDatetime
    note: Text = ""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True, populate_by_name=True)

    @field_validator("target")
    @classmethod
    def _known(cls, target: str) -> str:
        try:
            return str(parse_target(target)) and target
        except CalibrationError as error:
            raise ValueError(str(error)) from error

    @field_validator("made_utc", "expires_utc")
    @classmethod
    def _in_utc(cls, moment: datetime) -> datetime:
        if moment.utcoffset() != timedelta(0):
            raise ValueError("times are in UTC")
        return moment

    @model_validator(mode="after")
    def _consistent(self) -> Profile:
        if (self.curve is None) == (self.hood_scale is None):
            raise ValueError("a profile has a curve or the scale at its hood's height, one of them")
        if self.hood_scale is not None and self.hood is None:
            raise ValueError("the scale at a hood's height belongs to a hood")
        if not self.made_utc < self.expires_utc:
            raise ValueError("it expires before it was made")
        distances = [sharpness.distance_mm for sharpness in self.point_spread]
        if distances != sorted(distances):
            raise ValueError("the point spread is not listed by rising distance")
        return self

    @property
    def scale_curve(self) -> ScaleCurve | None:
        """The curve to reckon with, None where there is none."""
        c = self.curve
        if c is None:
            return None
        return ScaleCurve(
            a_um_per_px=c.a_um_per_px,
            b_um_per_px_per_mm=c.b_um_per_px_per_mm,
            covariance=c.covariance,
            distances_mm=tuple(view.distance_mm for view in self.views),
            um_per_px=tuple(view.um_per_px for view in self.views),
            um_per_px_std=tuple(view.um_per_px_std for view in self.views),
            distance_std_mm=c.distance_std_mm,
            low_mm=c.low_mm,
            high_mm=c.high_mm,
            margin_mm=c.margin_mm,
            outlier=tuple(not view.used for view in self.views),
            excess_std_mm=c.excess_std_mm,
            shared_std_share=self.pitch_std_percent / 100,
        )

    @property
    def radial_lens(self) -> RadialLens | None:
        """The lens that bends the field, None where it is not known."""
        if self.lens is None:
            return None
        return RadialLens(self.device.width_px, self.device.height_px, self.lens.centre_px, self.lens.k1, self.lens.k2)

    def psf_at(self, distance_mm: float) -> float | None:
        """σ of the point spread in px, between the calibrated distances in proportion, beyond them as at the nearest; None without any."""
        if not self.point_spread or not math.isfinite(distance_mm):
            return None
        known = np.array([(sharpness.distance_mm, sharpness.psf_sigma_px) for sharpness in self.point_spread])
        return float(np.interp(distance_mm, known[:, 0], known[:, 1]))

    def expired_at(self, now: datetime) -> bool:
        """Whether it is too old at `now` (with a time zone)."""
        return now >= self.expires_utc

    def content(self) -> dict[str, Any]:
        """All but the id, as JSON has it."""
        return self.model_dump(mode="json", by_alias=True, exclude={"id"})

    def to_json(self) -> str:
        """The file's content, for people too; a flat field's rows are kept on one line each."""
        return _written(self.model_dump(mode="json", by_alias=True)) + "\n"


def profile_id(content: Mapping[str, Any]) -> str:
    """The id of a profile's content (JSON values, an `id` among them is passed over): 16 hexadecimal digits of the SHA-256 of its
    canonical JSON (keys sorted, no white space, numbers as shortest, UTF-8)."""
    bare = {key: value for key, value in content.items() if key != "id"}
    canonical = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:ID_DIGITS]


def sealed(profile: Profile) -> Profile:
    """The profile with the id that its content has."""
    return profile.model_copy(update={"id": profile_id(profile.content())})


def read_profile(path: Path) -> Profile:
    """The profile in a file. It may have expired: ask `expired_at`.

    Raises:
        ProfileError: no such file, too large, damaged, altered, of a newer schema or no profile at all; names the file and the remedy.
    """
    raw = _read(path)
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{path}: damaged, no JSON ({_first_line(error)}): {REMEDY}") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        if isinstance(schema, str) and schema.startswith(SCHEMA.rpartition("/")[0] + "/"):
            raise ProfileError(
                f"{path}: of schema {schema[:60]!r}, this program reads {SCHEMA!r}: bring the program up to date, or calibrate anew"
            )
        raise ProfileError(f"{path}: no calibration profile (its schema is {str(schema)[:60]!r}, not {SCHEMA!r}): name a profile's file")
    try:
        profile = Profile.model_validate_json(raw)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, found["loc"])) or "the whole"
        what = str(found["msg"]).removeprefix("Value error, ")
        raise ProfileError(f"{path}: damaged or altered, {where[:100]}: {what}: {REMEDY}") from None
    if profile.id != (real := profile_id(profile.content())):
        raise ProfileError(f"{path}: damaged or altered, it says id {profile.id} but its content is that of {real}: {REMEDY}")
    return profile


def write_profile(folder_or_path: Path, profile: Profile) -> Path:
    """Write a profile as a new file, whole or not at all, fsynced with its folder.

    Args:
        folder_or_path: a file's name ending in .json, or a folder (made where missing), in which the file is called by date and id.

    Returns:
        The file. Where it is there already with this very profile, nothing is written.

    Raises:
        ProfileError: the profile's id is not its content's, another file has that name, or the disk is full or may not be written to.
    """
    if profile.id != profile_id(profile.content()):
        raise ProfileError(f"profile {profile.id}: its id is not its content's: seal it before it is written")
    path = folder_or_path
    try:
        if path.suffix != ".json" or path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            path = path / f"profile-{profile.made_utc:%Y%m%d}-{profile.id}.json"
        _write_new(path, profile.to_json().encode())
    except FileExistsError:
        try:
            same = read_profile(path) == profile
        except ProfileError:
            same = False
        if not same:
            raise ProfileError(f"{path}: another file is there, and profiles are never overwritten: give a new name") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ProfileError(f"{path}: cannot be written ({reason}): check the folder, its rights and the free space") from error
    return path


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # also refuses devices and pipes, which might never end
            raise ProfileError(f"{path}: {'no regular file' if path.exists() else 'no such file'}: name a profile's JSON file")
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ProfileError(f"{path}: cannot be read ({reason}): check its name, owner and mode") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ProfileError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB: this is no calibration profile")
    return raw


def _write_new(path: Path, data: bytes) -> None:
    """Put `data` at `path` atomically. Raises FileExistsError where something is there, and OSError; nothing is left behind."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        try:
            os.link(temporary, path)  # unlike a rename, refuses to replace
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if os.path.lexists(path):
                raise FileExistsError from None
            Path(temporary).rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def _written(value: Any, indent: str = "") -> str:
    """JSON text; what is short stands on one line."""
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    deeper = indent + " "
    if not isinstance(value, (dict, list)) or not value or len(flat) + len(indent) <= 120:
        return flat
    if isinstance(value, dict):
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {_written(part, deeper)}" for key, part in value.items()]
        return "{\n" + ",\n".join(deeper + part for part in parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _written(part, deeper) for part in value) + f"\n{indent}]"
