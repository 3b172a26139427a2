"""The scale that a person gives to `analyze`: one number for all pictures, a table of them, or a calibration profile."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibrationError, ScaleError
from calib.field import FrameScale
from calib.scale import NO_SCALE, Scale, given_scale
from runtime.errors import ConfigError

MAX_TABLE_BYTES = 16 * 1024 * 1024


def scales_from(text: str | None, warn: Callable[[str], None]) -> Callable[[Path], Scale]:
    """What gives each picture its scale.

    Args:
        text: None (no scale), a number of µm per pixel, or the name of a CSV file with the columns `image,um_per_px`.
        warn: called with a message for each picture that the table lacks.

    Raises:
        ConfigError: neither a number nor a readable table, or an absurd scale.
    """
    if text is None:
        return lambda _path: NO_SCALE
    try:
        number = float(text)
    except ValueError:
        table = read_scales(Path(text))
    else:
        try:
            scale = given_scale(number)
        except ScaleError as error:
            raise ConfigError(f"--um-per-px {text}: {error}") from error
        return lambda _path: scale

    def look_up(path: Path) -> Scale:
        if (found := table.get(path.name)) is not None:
            return found
        warn(f"{path}: not in {text}: measured without a scale; add a row {path.name},<µm per pixel>")
        return NO_SCALE

    return look_up


def scales_by_profile(
    profile_file: Path, distance_mm: float | None, distance_std_mm: float | None, warn: Callable[[str], None]
) -> Callable[[Path, NDArray[np.uint8]], FrameScale]:
    """What gives each picture its scale by a calibration profile: the best source that the picture, its hood and the distance offer.

    Args:
        distance_mm, distance_std_mm: at which all pictures were taken, where that is known.
        warn: called with a message for each picture that gets no scale.

    Raises:
        ConfigError: the profile is damaged, foreign or expired.
    """
    from calib.profile import read_profile
    from calib.resolve import resolve_scale

    try:
        profile = read_profile(profile_file)
    except CalibrationError as error:
        raise ConfigError(str(error)) from error
    if profile.expired_at(datetime.now(timezone.utc)):
        raise ConfigError(f"{profile_file}: expired on {profile.expires_utc:%Y-%m-%d}: calibrate anew, or name another profile")

    def resolve(path: Path, image: NDArray[np.uint8]) -> FrameScale:
        found = resolve_scale(profile, image, distance_mm=distance_mm, distance_std_mm=distance_std_mm)
        if found.scale.source == "none":
            warn(f"{path}: measured without a scale: {found.note}")
        return found

    return resolve


def read_scales(path: Path) -> dict[str, Scale]:
    """The table of scales by picture name (without folders).

    Raises:
        ConfigError: no such file, wrong columns, a row that is no scale (with its line), or two scales for one picture.
    """
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_TABLE_BYTES >> 20} MiB: this is no table of scales")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: neither a number of µm per pixel nor a file: give 6.5, or a CSV file with image,um_per_px") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a table of scales ({error})") from error
    rows = csv.reader(io.StringIO(text, newline=""))
    header = [column.strip() for column in next(rows, [])]
    if not {"image", "um_per_px"} <= set(header):
        raise ConfigError(f"{path}: its first line must name the columns image,um_per_px, not {','.join(header) or 'nothing'}")
    image_at, scale_at = header.index("image"), header.index("um_per_px")
    table: dict[str, Scale] = {}
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            where = f"{path}, line {rows.line_num}"
            if len(row) <= max(image_at, scale_at):
                raise ConfigError(f"{where}: too few columns: write image,um_per_px")
            name = Path(row[image_at].strip()).name
            try:
                scale = given_scale(float(row[scale_at]))
            except (ValueError, ScaleError) as error:
                raise ConfigError(f"{where}: {row[scale_at]!r} is no scale for {name} ({error})") from error
            if table.setdefault(name, scale) != scale:
                raise ConfigError(f"{where}: a second, different scale for {name}: keep one")
    except csv.Error as error:
        raise ConfigError(f"{path}, line {rows.line_num}: not CSV ({error})") from error
    return table
