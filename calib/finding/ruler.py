"""Finding a stage micrometer: which of the waves in a picture is its lines at their true pitch, and every line measured at several places.

`comb_of` numbers the lines of a wave. Here a grid of cells (a line by a band across all lines) is laid by those numbers, measured
(strokes.py), and the numbers are fitted again to what was measured, so that the grid grows to the ends of the lines and to the border.
Then the doubts are gone through: are there enough lines, is hardly one missing, is each a single stroke (not several: a pitch too wide),
are they straight and alone in their direction (no dots, no squares, no hair), do neighbours lie where a smooth lens puts them. Only a
ruler that leaves none is given. A wave that is not the lines' own fails there: of half the pitch every second line is missing, of
five pitches there are five strokes a cell. Where only the fifth and tenth lines are in view, their lengths alternate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.errors import TargetNotFoundError
from calib.finding.comb import Comb, Numbering, comb_of, waves
from calib.finding.strokes import Cells, measure, noise_of
from calib.points import TargetPoints
from calib.scale import MAX_UM_PER_PX, MIN_UM_PER_PX
from calib.targets import Micrometer

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_LINES = 8
LEAST_SIDE_PX = 64
# Every second line stands out where only the fifths and tenths are in view: by so many pitches, and so many standard errors. Of all lines
# the tenths have one parity too, but as one in five they move the mean less than it is uncertain.
LONGER, CERTAIN = 0.15, 5.0
COMBS = 4  # the strongest that are looked into
BAND_PITCHES, BAND_PX = 0.5, (8.0, 20.0)  # length of a cell along its line
MOST_BANDS = 40
BEYOND = 0.6  # share of the common height by which long lines may stand out on each side
GROWTHS = 3
MARGIN, MARGIN_SHARE = 4, 6  # lines looked for beyond those seen: so many, and one for so many seen
SEEN = 0.7  # share of a cell that must lie in the picture
EXPLAINED = 0.6  # least share of a cell's variance that is the line
TYPICAL = 0.7  # and of the middle cell
FAINTEST = 0.25  # contrast of a cell, of its band's median
LEAST_SHARE = 0.08  # and of the middle contrast of all
UNSURE = 0.03  # pitches; a cell that is known no better is none
REACH = 2  # bands from one piece of a line to the next
COMMON = 0.6  # share of lines present in a band where all lines stand
FILLED = 0.75  # share of cells that must be lines where all lines stand
LEAST_HEIGHT = 1.0  # pitches of that part along the lines
SMOOTH_PITCHES = 0.06  # rms by which lines may lie off a smooth course
LEAST_STD_PX = 0.02  # less is not believed of any piece
STRAY = 5.0  # standard deviations; a cell farther off is left out


@dataclass(frozen=True, eq=False)
class _Grid:
    """Cells laid over the picture by a numbering: their lines, bands, places."""

    line: NDArray[np.int64]  # (n,)
    band: NDArray[np.intp]  # (n,)
    own: Floats  # (n, 2) U and V
    pixels: Floats  # (n, 2)
    across: Floats  # (n, 2) unit vectors
    pitch_px: Floats  # (n,)


@dataclass(frozen=True, eq=False)
class _Reading:
    """A comb as measured."""

    numbering: Numbering
    grid: _Grid
    cells: Cells
    good: Bools
    common: Bools  # (bands,) where all lines stand
    step_px: float  # from band to band


def find_ruler(image: NDArray[np.uint8], target: Micrometer) -> TargetPoints:
    """Points along the lines of a stage micrometer, at whatever angle it lies.

    Args:
        image: uint8 (height, width, 3) BGR; the green channel is measured.
        target: gives the pitch from one of the short lines to the next.

    Returns:
        Several points a line: X is the line's number times the pitch (from the first line in view, towards either side), Y is NaN, `line`
        its number. The points of one line share what their line has (where it was ruled, the blocks of a JPEG it lies across).

    Raises:
        TargetNotFoundError: fewer than LEAST_LINES lines, none surely at one pitch, or a pitch that would be no microscope's scale.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise TargetNotFoundError(f"a picture of shape {image.shape} and type {image.dtype}: give uint8 (height, width, 3)")
    if min(image.shape[:2]) < LEAST_SIDE_PX:
        size = f"{image.shape[1]}×{image.shape[0]}"
        raise TargetNotFoundError(f"a picture of {size} px is too small for a ruler: {LEAST_SIDE_PX} px a side at least")
    green = np.ascontiguousarray(image[:, :, 1])
    combs = [comb for wave in waves(green) if (comb := comb_of(green, wave)) is not None]
    combs.sort(key=lambda comb: -comb.strength)
    noise = noise_of(green)
    readings: list[_Reading] = []
    doubts: list[str] = []
    for comb in combs[:COMBS]:
        if any(_same(comb, reading) for reading in readings):
            continue
        reading = _read(green, comb, noise)
        doubt = _doubt(reading) if reading is not None else "no lines that hold together"
        if doubt:
            doubts.append(f"{comb.numbering.pitch_px:.1f} px apart: {doubt}")
        elif reading is not None:
            readings.append(reading)
    if not readings:
        seen = "; ".join(doubts[:2]) if doubts else "nothing that repeats"
        raise TargetNotFoundError(
            f"no ruled lines of {target} found: seen was {seen}; expected are {LEAST_LINES} or more straight lines at one pitch of "
            f"6 to 60 px: bring the ruler into view and focus, and the short lines with it"
        )
    finest = min(reading.numbering.pitch_px for reading in readings)  # a wider one is made of every fifth line
    return _points(max((r for r in readings if r.numbering.pitch_px < 1.5 * finest), key=lambda r: int(r.good.sum())), target)


def _read(green: NDArray[np.uint8], comb: Comb, noise: float) -> _Reading | None:
    numbering = _on_lines(green, comb)
    pitch = numbering.pitch_px
    numbers = numbering.numbers(comb.own)
    first, last = (int(np.rint(v)) for v in np.percentile(numbers, (0.5, 99.5)))
    if last - first + 1 < LEAST_LINES - 2:
        return None
    band_px = float(np.clip(BAND_PITCHES * pitch, *BAND_PX))
    low, high = np.percentile(comb.own[:, 1], (1, 99)) * numbering.unit_px
    bands = _bands(low, high, band_px)
    reading: _Reading | None = None
    for growth in range(GROWTHS):
        margin = MARGIN + (last - first) // MARGIN_SHARE
        grid = _lay(numbering, np.arange(first - margin, last + margin + 1), bands / numbering.unit_px)
        if len(grid.line) < 3 * LEAST_LINES:
            return reading
        trusted = np.ones(len(grid.line), np.bool_) if reading is None else _were_good(reading, grid)
        cells = measure(green, grid.pixels, grid.across, grid.pitch_px, band_px, grid.band, trusted, noise)
        good = _joined(grid, _good(grid, cells), len(bands))
        if good.sum() < 2 * LEAST_LINES:
            return reading
        places = grid.pixels[good] + grid.across[good] * cells.shift_px[good, None]
        numbering, kept = _renumber(numbering, numbering.own(places), grid.line[good])
        good[np.flatnonzero(good)[~kept]] = False
        reading = _Reading(numbering, grid, cells, good, _common(grid, good, len(bands)), float(bands[1] - bands[0]))
        lines = np.unique(grid.line[good])
        first, last = int(lines.min()), int(lines.max())
        if growth == 0:
            extra = BEYOND * (high - low) + 2 * pitch
            bands = _bands(low - extra, high + extra, band_px)
    return reading


def _bands(low: float, high: float, band_px: float) -> Floats:
    """Middles of bands from `low` to `high` px along the lines."""
    count = int(np.clip((high - low) / band_px, 2, MOST_BANDS))
    return low + (np.arange(count) + 0.5) * (high - low) / count


def _lay(numbering: Numbering, lines: NDArray[np.int64], bands: Floats) -> _Grid:
    line, band = (part.ravel() for part in np.meshgrid(lines, np.arange(len(bands)), indexing="ij"))
    along = bands[band]
    own = np.stack([numbering.line_at(line.astype(float), along), along], 1)
    slopes = numbering.slopes(np.nan_to_num(own))
    steep = np.linalg.norm(slopes, axis=1)
    pitch = 1 / np.maximum(steep, 1e-9)
    pixels = numbering.pixels(own)
    w, h = numbering.width_px, numbering.height_px
    with np.errstate(invalid="ignore"):
        fine = np.isfinite(own).all(1) & (np.abs(pitch / numbering.pitch_px - 1) < 0.3)
        fine &= (pixels > -0.5).all(1) & (pixels < np.array([w, h]) - 0.5).all(1)
    across = (slopes / np.maximum(steep, 1e-9)[:, None]) @ numbering.axes
    return _Grid(line[fine].astype(np.int64), band[fine], own[fine], pixels[fine], across[fine], pitch[fine])


def _were_good(reading: _Reading, grid: _Grid) -> Bools:
    """Cells of a new grid that lie on lines and heights where the last reading had good ones."""
    lines = reading.grid.line[reading.good]
    heights = reading.grid.own[reading.good, 1]
    table = {int(k): (float(heights[lines == k].min()), float(heights[lines == k].max())) for k in np.unique(lines)}
    low = np.array([table.get(int(k), (np.inf, -np.inf))[0] for k in grid.line])
    high = np.array([table.get(int(k), (np.inf, -np.inf))[1] for k in grid.line])
    return (grid.own[:, 1] >= low) & (grid.own[:, 1] <= high)


def _good(grid: _Grid, cells: Cells) -> Bools:
    good = (cells.seen > SEEN) & (cells.explained > EXPLAINED) & (cells.std_px < UNSURE * grid.pitch_px)
    good &= np.abs(cells.shift_px) < 0.3 * grid.pitch_px
    if not good.any():
        return good
    sign = np.sign(np.median(cells.contrast[good]))
    good &= cells.contrast * sign > 0
    contrast = np.abs(cells.contrast)
    for band in np.unique(grid.band):
        mine = grid.band == band
        if (mine & good).any():
            good[mine] &= contrast[mine] > FAINTEST * np.median(contrast[mine & good])
    return np.asarray(good & (contrast > LEAST_SHARE * np.median(contrast[good])), np.bool_)


def _joined(grid: _Grid, good: Bools, bands: int) -> Bools:
    """The good cells that hang together along their line with one where all lines stand; others are letters and chance."""
    if not good.any():
        return good
    first = int(grid.line.min())
    table = np.zeros((int(grid.line.max()) - first + 1, bands + 2 * REACH), np.bool_)
    place = grid.line - first, grid.band + REACH
    table[place] = good
    joined = table & np.pad(_common(grid, good, bands), REACH)
    for _ in range(bands):
        near = np.logical_or.reduce([np.roll(joined, step, 1) for step in range(-REACH, REACH + 1)])
        if (near & table == joined).all():
            break
        joined = near & table
    return np.asarray(joined[place], np.bool_)


def _renumber(numbering: Numbering, own: Floats, line: NDArray[np.int64]) -> tuple[Numbering, Bools]:
    """The numbering fitted to cells' lines, and which cells lie on it."""
    weights = np.ones(len(line))
    for _ in range(4):
        numbering = numbering.fitted(own, line.astype(float), weights)
        rest = np.abs(numbering.numbers(own) - line)
        level = max(float(np.median(rest)) / 0.6745, 1e-3)
        weights = 1 / (1 + (rest / (2 * level)) ** 2)
    return numbering, rest < max(STRAY * level, 0.03)


def _common(grid: _Grid, good: Bools, bands: int) -> Bools:
    """Bands in which most of the lines stand."""
    lines = grid.line[good]
    inner = (grid.line >= lines.min()) & (grid.line <= lines.max())
    there = np.bincount(grid.band[inner], minlength=bands)
    present = np.bincount(grid.band[inner & good], minlength=bands)
    return (present >= COMMON * there) & (present >= LEAST_LINES // 2)


def _on_lines(green: NDArray[np.uint8], comb: Comb) -> Numbering:
    """The comb's numbering with its whole numbers on the lines, where so far they lie on the bright crests.

    Lines are what the ground beyond their ends is not, and narrower than what lies between them. Where neither tells, they are dark.
    """
    numbering = comb.numbering
    low, high = np.percentile(comb.own[:, 1], (2, 98))
    first, last = np.percentile(numbering.numbers(comb.own), (1, 99))
    number = np.arange(np.ceil(first), np.floor(last) + 0.5)
    inside, pitch = np.linspace(low, high, 9), numbering.pitch_px / numbering.unit_px
    crest, trough = (_level(green, numbering, number + half, inside) for half in (0.0, 0.5))
    every = np.arange(first, last, 1 / 12)
    filled = _level(green, numbering, every, inside, np.mean)
    beyond = _level(green, numbering, every, np.array([low - 1.2 * pitch, low - 0.9 * pitch, high + 0.9 * pitch, high + 1.2 * pitch]))
    clues = np.clip((np.array([filled, beyond, beyond]) - trough) / max(crest - trough, 1e-3), 0, 1)
    told = clues[np.isfinite(clues)]
    bright = len(told) > 0 and float(told.mean()) < 0.48
    shifted = numbering.coefficients.copy()
    shifted[0] -= 0.0 if bright else 0.5
    return replace(numbering, coefficients=shifted)


def _level(
    green: NDArray[np.uint8], numbering: Numbering, numbers: Floats, along: Floats, of: Callable[..., np.floating] = np.median
) -> float:
    """The middle (or mean) level where lines of these numbers (n,) pass V = `along` (m,); NaN where all that is out of the picture."""
    k, v = (part.ravel() for part in np.meshgrid(numbers, along))
    at = numbering.pixels(np.stack([numbering.line_at(k, v), v], 1))
    at = np.rint(at[np.isfinite(at).all(1)]).astype(np.intp)
    at = at[(at >= 0).all(1) & (at < green.shape[::-1]).all(1)]
    return float(of(green[at[:, 1], at[:, 0]])) if len(at) else np.nan


def _doubt(reading: _Reading) -> str:
    """Why this is no ruler at its true pitch; "" where nothing speaks against it."""
    grid, cells, good = reading.grid, reading.cells, reading.good
    pitch = reading.numbering.pitch_px
    first, end = _longest(reading.common)
    height = (end - first) * reading.step_px
    lines = np.unique(grid.line[good])
    within = (grid.band >= first) & (grid.band < end) & (grid.line >= lines.min()) & (grid.line <= lines.max()) & (cells.seen > SEEN)
    standing = np.unique(grid.line[within & good])
    if len(standing) < LEAST_LINES:
        return f"{len(standing)} lines side by side"
    if height < LEAST_HEIGHT * pitch:
        return f"pieces only {height:.0f} px long, no lines"
    filled = float(np.mean(good[within]))
    if filled < FILLED:
        return f"only {100 * filled:.0f} % of the lines are there"
    explained = float(np.median(cells.explained[within]))
    if explained < TYPICAL:
        return f"only {100 * explained:.0f} % of what is seen there is lines"
    profile = cells.profiles[first:end].mean(0)
    flank = np.abs(np.linspace(-0.5, 0.5, profile.shape[0])) >= 0.3
    rise = (profile - profile[0]) * np.sign(profile[profile.shape[0] // 2] - profile[0])
    if rise[flank].max() > 0.6 * rise.max() or rise[profile.shape[0] // 2] < 0.5 * rise.max():
        return "several strokes from one to the next"
    places = _places(reading)
    rest = reading.numbering.numbers(reading.numbering.own(places)) - grid.line[good]
    rough = float(np.sqrt(np.mean(rest**2)))
    if rough > SMOOTH_PITCHES:
        return f"their distances change by {100 * rough:.0f} % without rule"
    if _alternating(reading, standing):
        return "every second one is longer, as the fifth and tenth lines are: the short lines between them are not in view"
    return ""


def _alternating(reading: _Reading, lines: NDArray[np.int64]) -> bool:
    """Whether every second line reaches farther than its neighbours, at either end."""
    grid, good = reading.grid, reading.good
    lasts = []
    for side in (1, -1):
        reach = np.array([(side * grid.band[good & (grid.line == line)]).max() for line in lines])
        looked = np.array([(side * grid.band[(grid.line == line) & (reading.cells.seen > SEEN)]).max() for line in lines])
        known = looked > reach  # the line ends in the picture
        if known.sum() < LEAST_LINES:
            continue
        number, end = lines[known].astype(float), reach[known] * reading.step_px
        parity = np.where(lines[known] % 2 == 0, 0.5, -0.5)
        table = np.column_stack([parity, np.ones(len(number)), number - number.mean()])
        found, *_ = np.linalg.lstsq(table, end, rcond=None)
        rest = end - table @ found
        std = np.sqrt(np.mean(rest**2) / len(end)) * 2
        lasts.append((abs(float(found[0])), float(std)))
    return any(size > LONGER * reading.numbering.pitch_px and size > CERTAIN * std for size, std in lasts)


def _longest(common: Bools) -> tuple[int, int]:
    """First and end of the longest run of True; a single False between longer runs, where a base line crosses, does not end it."""
    common = common.copy()
    common[2:-2] |= common[:-4] & common[1:-3] & common[3:-1] & common[4:]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], common, [False]]).astype(np.int8)))
    if len(edges) == 0:
        return 0, 0
    starts, ends = edges[::2], edges[1::2]
    most = int(np.argmax(ends - starts))
    return int(starts[most]), int(ends[most])


def _same(comb: Comb, reading: _Reading) -> bool:
    one, other = comb.numbering, reading.numbering
    apart = abs((one.angle_rad - other.angle_rad + np.pi / 2) % np.pi - np.pi / 2)
    return abs(one.pitch_px / other.pitch_px - 1) < 0.1 and apart < 0.2


def _places(reading: _Reading) -> Floats:
    """Where the good cells' lines lie in the picture, (n, 2)."""
    grid, good = reading.grid, reading.good
    return np.asarray(grid.pixels[good] + grid.across[good] * reading.cells.shift_px[good, None])


def _points(reading: _Reading, target: Micrometer) -> TargetPoints:
    um_per_px = target.pitch_um / reading.numbering.pitch_px
    if not MIN_UM_PER_PX <= um_per_px <= MAX_UM_PER_PX:
        raise TargetNotFoundError(
            f"lines {reading.numbering.pitch_px:.1f} px apart are there, but as {target} they would give {um_per_px:.3g} µm per px, "
            f"no microscope's scale ({MIN_UM_PER_PX:g} to {MAX_UM_PER_PX:g}): check the pitch that is written on the ruler"
        )
    line = reading.grid.line[reading.good]
    number, cells = np.unique(line, return_counts=True)
    kept = np.isin(line, number[cells >= 2])  # one piece alone may be a letter's
    line, places = line[kept], _places(reading)[kept]
    across = (line - line.min()) * target.pitch_mm
    std = np.maximum(reading.cells.std_px[reading.good][kept], LEAST_STD_PX)
    return TargetPoints(places, np.stack([across, np.full(len(line), np.nan)], 1), std, line - line.min())
