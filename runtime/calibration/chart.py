"""A colour chart in a picture: where its patches are and what they should be is said in a table, what they are is read from the picture."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibrationError
from calib.fitting import light_part
from calib.light import balance, colour_matrix, even_out, flat_field, grey_balance
from calib.profile_parts import Light
from runtime.errors import ConfigError

COLUMNS = ("x", "y", "blue", "green", "red")
MAX_BYTES, MAX_PATCHES = 64 * 1024, 500
HALF_SIDE_SHARE = 0.012  # of the picture's width: half the side of the square that is averaged at a patch's middle

Floats = NDArray[np.float64]


def read_patches(path: Path) -> Floats:
    """x, y (px) of the middle of each patch and its blue, green and red (0…255) by the chart's maker, float64 (n, 5).

    Raises:
        ConfigError: no such file, not those columns, or a row that is none; names the line.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES >> 10} KiB: this is no table of patches")
        rows = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a table of patches ({error}): give a CSV file of {','.join(COLUMNS)}") from error
    header = [column.strip() for column in next(rows, [])]
    if tuple(header) != COLUMNS:
        raise ConfigError(f"{path}: its first line must be {','.join(COLUMNS)}, not {','.join(header)[:80] or 'nothing'}")
    found = []
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        try:
            values = [float(cell) for cell in row]
            if len(values) != len(COLUMNS) or not all(map(math.isfinite, values)) or not all(0 <= v <= 255 for v in values[2:]):
                raise ValueError
        except ValueError:
            raise ConfigError(f"{path}, line {rows.line_num}: write x,y in px and blue,green,red from 0 to 255") from None
        found.append(values)
    if not 1 <= len(found) <= MAX_PATCHES:
        raise ConfigError(f"{path}: {len(found)} patches: 1 to {MAX_PATCHES} can be")
    return np.array(found, np.float64)


def charted(white: NDArray[np.uint8], chart: NDArray[np.uint8], patches: Floats, distance_mm: float) -> Light:
    """What a white target and a colour chart under the same light show, both uint8 (height, width, 3) BGR of one size.

    The chart is evened out and balanced by the white target before its patches are read.

    Raises:
        CalibrationError: an unfit white target or chart, or a patch outside the picture.
    """
    field, grey = flat_field(white), grey_balance(white)
    levels = balance(even_out(chart, field), grey)
    height, width = chart.shape[:2]
    half = max(1, round(HALF_SIDE_SHARE * width))
    measured = np.empty((len(patches), 3))
    for row, (x, y) in zip(measured, np.rint(patches[:, :2]).astype(int), strict=True):
        if not (half <= x < width - half and half <= y < height - half):
            raise CalibrationError(f"the patch at {x}, {y} px lies outside the picture of {width}×{height} px: correct the table")
        row[:] = np.median(levels[y - half : y + half + 1, x - half : x + half + 1].reshape(-1, 3), axis=0)
    return light_part(distance_mm, field, grey, colour_matrix(measured, patches[:, 2:]))
