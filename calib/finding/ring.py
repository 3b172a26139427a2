"""Finding the hood ring at the edge of a frame, in a few milliseconds: dark spots, the circle that they lie on, their code, their centres.

Three spots in a slight bend, as neighbours of a row are, tell where the ring's middle would be and how large it is; the guess on
whose two circles most spots lie is refined to a plane in perspective. Each dot in view is then measured at full size, and the sizes are
compared with the codes of all hoods in all positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.errors import TargetNotFoundError
from calib.finding.discs import dark_spots, measure_discs
from calib.points import TargetPoints
from calib.ring import INNER, LARGE, POSITIONS, ROW_RATIO, SMALL, STEP_RAD, dot_places, ring_code
from calib.targets import RING_CODES, HoodRing

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]
Complexes = NDArray[np.complex128]  # places in the picture, x + iy, px

LEAST_DOTS = 8
SEARCH_PX = 320  # width to which a picture is reduced for the first look
STARTS = 64  # spots from which guesses are made
NEIGHBOURS = 6  # of each
GUESSES = 32  # of each shape, of which the best is followed
NEAR_ROW = 0.04  # of the radius: spots so far from a guessed row may be of it
COHERENT = 0.5  # length of the mean pointer of spots on a circle whose angles are a ring's; 0 for any, 0.8 at 5° of tilt
LIKELY_SHARE = 0.2  # of the dots in view that must lie near a spot for it to be worth measuring them
MEASURED = 48  # dots; more make the scale no better than the ring is printed
SHARE = 0.35  # of them that must be whole; hair may hide the others
ROW_SHARE = 0.25  # of those of each row
CUT = 0.28  # of the spacing: a dot so near the border still shows enough of its edge
LIKELY_SLOPE = 0.02  # change of scale from tilt over a radius of the ring, one standard deviation
LIKELY_OFF = 0.003  # of the radius: how far a spot's centre may be off
OFF_PITCH = 0.12  # of the spacing: a dot further from its place than this is none
HARMED = 4.0  # times the median: standard errors beyond it are of dots that something covers in part
UNTIDY = 0.04  # of the spacing: a ring's dots lie closer to their places than this, most of them; random ones seldom do
SQUASHED = 1.1  # no tilt that a hood allows makes a circle so long
LIMITS = (0.19, 0.29)  # of the spacing: between the radii of small and large dots
UNREAD = 0.018  # of the spacing: radii so near the limit between large and small are not read
WRONG_SHARE = 1 / 12  # of the dots that may be misread

MIDWAY, HALF_GAP = (1 + INNER) / 2, (1 - INNER) / 2
_PAIRS = np.array([(a, b) for a in range(NEIGHBOURS + 1) for b in range(a)])
_UNIT = dot_places(2.0) @ np.array([1, 1j])
_KNOWN = np.column_stack([dot_places(2.0), np.ones(2 * POSITIONS)])
_BELIEF = np.diag([1e-9] * 6 + [(LIKELY_OFF / LIKELY_SLOPE) ** 2] * 2)
_SPACING = ROW_RATIO * STEP_RAD  # of each dot's row, where the ring's radius is 1
_NEXT = np.concatenate([np.roll(np.arange(POSITIONS), -1), POSITIONS + np.roll(np.arange(POSITIONS), -1)])


@dataclass(frozen=True)
class Shape:
    """Three dots of a ring of radius 1: one, and two at the same distance from it.

    Attributes:
        across: least and largest distance of the one from the base between the two, of the base.
        base: length of it.
        from_centre: of the one.
        towards: 1 where the base lies on the side of the ring's centre as seen from the one, else −1.
    """

    across: tuple[float, float]
    base: float
    from_centre: float
    towards: int


# three neighbours of a row bend by STEP_RAD / 4 of their base; a dot and the two that it faces in the other row stand as a gable
_TWO_STEPS, _ONE_STEP = 2 * math.sin(STEP_RAD), 2 * math.sin(STEP_RAD / 2)
ROW = (Shape((0.008, 0.05), _TWO_STEPS, 1.0, 1), Shape((0.008, 0.05), INNER * _TWO_STEPS, INNER, 1))
GABLE = (Shape((0.85, 1.13), _ONE_STEP, INNER, -1), Shape((0.98, 1.28), INNER * _ONE_STEP, 1.0, 1))


@dataclass(frozen=True, eq=False)
class RingSight:
    """A ring as seen, whoever's it is.

    Attributes:
        pixels: float64 (n, 2), centres of the dots seen, px.
        dots: int64 (n,), which each is if the first is counted from an arbitrary one: 0–62 outer row, 63–125 inner row.
        std_px: float64 (n,).
        wrong: int64 (12, 63), how many dots are of another size than they should, by hood (then hoods seen in a mirror) and by which
            dot the first would be.
    """

    pixels: Floats
    dots: Ints
    std_px: Floats
    wrong: Ints


def find_ring(image: NDArray[np.uint8], target: HoodRing) -> TargetPoints:
    """The dots of the hood's ring in a picture, uint8 (height, width, 3) BGR; `target_mm` from the ring's centre.

    Raises:
        TargetNotFoundError: there is no ring, too little of one, or that of another hood.
    """
    sight = see_ring(image)
    n = len(sight.dots)
    ours = sight.wrong[target.code]
    if ours.min() > min(int(sight.wrong.min()), WRONG_SHARE * n):
        raise TargetNotFoundError(_foreign(target, sight))
    known = _KNOWN[_turned(sight.dots, int(np.argmin(ours))), :2]
    return TargetPoints(sight.pixels, known * (target.diameter_mm / 2), sight.std_px, np.arange(n, dtype=np.int64))


def which_ring(image: NDArray[np.uint8]) -> int | None:
    """The code of the hood whose ring is in a picture, uint8 (height, width, 3) BGR; None without one, or where it cannot be told."""
    try:
        seen = _told(see_ring(image))
    except TargetNotFoundError:
        return None
    return seen if seen is not None and seen < RING_CODES else None


def see_ring(image: NDArray[np.uint8]) -> RingSight:
    """A ring of any hood in a picture, uint8 (height, width, 3) BGR.

    Raises:
        TargetNotFoundError: fewer than LEAST_DOTS dots of a ring are seen.
    """
    green = np.asarray(cv2.extractChannel(image, 1), np.uint8)
    step = max(1, round(green.shape[1] / SEARCH_PX))
    best = 0
    while True:
        spots, diameters = dark_spots(green, step)
        for centre, radius in _guesses(spots, diameters):
            seen = _follow(green, centre, radius, spots, diameters)
            if isinstance(seen, RingSight):
                return seen
            best = max(best, seen)
        if step <= 2:
            break
        step //= 2  # dots may be small in a large picture
    if best >= LEAST_DOTS:
        what = f"something like a hood ring is in the picture, but only {best} of its dots are whole, less than a third"
    else:
        what = f"no hood ring in the picture: {best or 'none'} of its dots could be made out, {LEAST_DOTS} at least are needed"
    raise TargetNotFoundError(f"{what}: show more of the ring, in focus, without hair over it")


def _guesses(spots: Complexes, diameters: Floats) -> Iterator[tuple[complex, float]]:
    """Circles (centre, radius of the outer row) on which spots seem to lie, the most likely first."""
    if len(spots) < LEAST_DOTS:
        return
    ones = _some(np.arange(len(spots)), STARTS)
    apart = spots - spots[ones, None]
    square = apart.real**2 + apart.imag**2
    near = np.argpartition(square, NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]
    to = np.take_along_axis(apart, near, 1)
    to[to == 0] = 1e6  # itself: makes no shape
    # two neighbours of a spot: the base between them, and where its middle lies from the spot, along the base and across
    a, b = to[:, _PAIRS[:, 0]], to[:, _PAIRS[:, 1]]
    base = b - a
    middle = (a + b) / (2 * base)
    size = diameters[ones, None] ** 2 / (base.real**2 + base.imag**2)
    even = np.abs(middle.real) < 0.07
    for shapes, apexes in ((ROW, (0.35 * SMALL, 0.65 * LARGE)), (GABLE, (0.6 * SMALL, 1.4 * LARGE))):
        fits = even & (size > apexes[0] ** 2) & (size < apexes[1] ** 2)
        yield from _ranked(spots, ones, base, np.where(fits, middle.imag, 0), shapes)


def _ranked(spots: Complexes, ones: Ints, base: Complexes, across: Floats, shapes: tuple[Shape, ...]) -> Iterator[tuple[complex, float]]:
    """For each of `shapes` the circle on which most spots lie, of those on which three would lie if they were of that shape."""
    for shape in shapes:
        one, pair = np.nonzero((np.abs(across) > shape.across[0]) & (np.abs(across) < shape.across[1]))
        if len(one) == 0:
            continue
        chosen = _some(np.arange(len(one)), GUESSES)
        one, pair = one[chosen], pair[chosen]
        inwards = 1j * base[one, pair] * np.sign(across[one, pair]) * (shape.towards / shape.base)
        centre = spots[ones[one]] + shape.from_centre * inwards
        rest = spots - centre[:, None]
        share = np.sqrt((rest.real**2 + rest.imag**2) / (inwards.real**2 + inwards.imag**2)[:, None])
        count = np.count_nonzero(np.abs(np.abs(share - MIDWAY) - HALF_GAP) < NEAR_ROW, axis=1)
        best = int(np.argmax(count))
        if count[best] >= LEAST_DOTS - 2:
            yield complex(centre[best]), float(np.abs(inwards[best]))


def _follow(green: NDArray[np.uint8], centre: complex, radius: float, spots: Complexes, diameters: Floats) -> RingSight | int:
    """The ring about a guess, or how many dots of one there seem to be."""
    circle = _fit_circle(spots, diameters, centre, radius)
    if circle is None:
        return 0
    centre, radius, on_row, inner = circle
    places = (spots - centre) / radius
    # every step of a row turns this once round: where it points tells the angle of the first dot
    pointer = places[on_row] ** POSITIONS
    pointer *= np.where(inner, -1, 1) / np.maximum(np.abs(pointer), 1e-9)
    phase = pointer.sum()
    if abs(phase) < COHERENT * len(pointer):
        return 0
    first = float(np.angle(phase)) / POSITIONS
    drawn = _UNIT * np.exp(1j * first)
    for slack in (0.3, 0.25):  # the first plane is of the dots that lie near a circle
        dots, matched = _match(drawn, places, slack)
        if len(dots) < LEAST_DOTS:
            return len(dots)
        drawn = _project(_fit_plane(dots, places[matched]))
    spacing = np.abs(drawn[_NEXT] - drawn) * radius
    begun = drawn.copy()
    begun[dots] = places[matched]
    begun = begun * radius + centre
    margin = CUT * spacing
    height, width = green.shape
    in_view = np.flatnonzero(
        (begun.real > margin) & (begun.imag > margin) & (begun.real < width - 1 - margin) & (begun.imag < height - 1 - margin)
    )
    if len(dots) < LIKELY_SHARE * len(in_view) or len(in_view) < LEAST_DOTS:
        return len(dots)
    return _measure(green, _some(in_view, MEASURED), begun, spacing)


def _measure(green: NDArray[np.uint8], dots: Ints, begun: Complexes, spacing: Floats) -> RingSight | int:
    """The ring by the edges of `dots`, begun at their places about which they are looked for, px; or how many of them there are."""
    discs = measure_discs(green, begun[dots], spacing[dots])
    good = discs.good
    count = int(np.count_nonzero(good))
    if count < max(LEAST_DOTS, SHARE * len(dots)):
        return count
    middle = begun.mean()
    unit = float(np.abs(begun[0] - middle))
    found = (discs.centres - middle) / unit
    plane = _fit_plane(dots[good], found[good])
    off = np.abs(_project(plane)[dots] - found) * unit / spacing[dots]
    typical = float(np.sort(off[good])[count // 2])
    a, b, c, d = plane[0], plane[1], plane[3], plane[4]
    # of a matrix whose singular values are as r to 1, the sum of squares over the determinant is r + 1/r
    if typical > UNTIDY or a * a + b * b + c * c + d * d > (SQUASHED + 1 / SQUASHED) * (a * d - b * c):
        return 0
    good = good & (off < min(max(4 * typical, 0.02), OFF_PITCH))
    count = int(np.count_nonzero(good))
    if count > LEAST_DOTS:  # what a hair touches does harm, where there are others
        clear = good & (discs.std_px < HARMED * np.sort(discs.std_px[good])[count // 2])
        cleared = int(np.count_nonzero(clear))
        good, count = (clear, cleared) if cleared >= LEAST_DOTS else (good, count)
    if count < max(LEAST_DOTS, SHARE * len(dots)):
        return count
    inner = dots >= POSITIONS
    for row in (inner, ~inner):  # of a row in view some dots must be seen: else the other row was taken for it
        if np.count_nonzero(good & row) < ROW_SHARE * np.count_nonzero(row) - 1:
            return 0
    seen = dots[good]
    sizes = _sizes(discs.radii[good] / spacing[seen])
    read = np.zeros(2 * POSITIONS, np.float32)
    read[seen] = sizes
    wrong = np.asarray(np.rint((np.count_nonzero(sizes) - _templates() @ read) / 2), np.int64)
    if np.count_nonzero(sizes) < LEAST_DOTS or wrong.min() > WRONG_SHARE * count:
        return 0
    centres = discs.centres[good]
    return RingSight(np.stack([centres.real, centres.imag], 1), seen, discs.std_px[good], wrong)


def _sizes(radii: Floats) -> NDArray[np.float32]:
    """Which dots are large (1), small (−1) or neither (0), by their radii (n,), of the spacing."""
    limit = (LARGE + SMALL) / 4
    for _ in range(2):  # ink spreads and blur shrinks: half-way between the means of both kinds
        large = radii > limit
        if large.all() or not large.any():
            break
        limit = min(max(float(radii[large].mean() + radii[~large].mean()) / 2, LIMITS[0]), LIMITS[1])
    size = radii - limit
    return np.asarray(np.where(np.abs(size) < UNREAD, 0, np.sign(size)), np.float32)


def _fit_circle(spots: Complexes, diameters: Floats, centre: complex, radius: float) -> tuple[complex, float, Bools, Bools] | None:
    """(centre, radius of the outer row, which spots lie on a row (k,), whether those are on the inner one); None where too few do."""
    for slack in (0.05, 0.035, 0.03):
        rest = spots - centre
        far = np.abs(rest)
        inside = far < MIDWAY * radius
        row = np.where(inside, INNER, 1.0)
        off = far - radius * row
        size = diameters / (radius * STEP_RAD * row)
        kept = (np.abs(off) < slack * radius) & (size > 0.7 * SMALL) & (size < 1.3 * LARGE)
        if np.count_nonzero(kept) < LEAST_DOTS - 2:
            return None
        towards = rest[kept] / far[kept]
        table = np.stack([towards.real, towards.imag, row[kept]])
        step = np.linalg.solve(table @ table.T + 1e-6 * np.eye(3), table @ off[kept])
        centre, radius = centre + complex(step[0], step[1]), radius + float(step[2])
        if not radius > 0:
            return None
    return centre, radius, kept, inside[kept]


def _match(drawn: Complexes, places: Complexes, slack: float) -> tuple[Ints, Ints]:
    """(which dots, which spots) lie within `slack` of the spacing of each other."""
    gap = drawn - places[:, None]
    square = gap.real**2 + gap.imag**2
    nearest = square.argmin(1)
    matched = np.flatnonzero(square[np.arange(len(places)), nearest] < (slack * _SPACING[nearest]) ** 2)
    return nearest[matched], matched


def _fit_plane(dots: Ints, places: Complexes) -> Floats:
    """Eight numbers of the projection from the ring (radius 1) to `places` (n,), radii about the ring's middle.

    Linear least squares of x (1 + g·X) = a·X + a₀, and of y alike, with a weak belief that g is small, for a short arc does not tell.
    """
    known = _KNOWN[dots]
    table = np.zeros((2, len(dots), 8))
    table[0, :, 0:3] = table[1, :, 3:6] = known
    values = np.stack([places.real, places.imag])
    np.multiply(values[:, :, None], -known[:, :2], out=table[:, :, 6:])
    rows = table.reshape(-1, 8)
    return np.asarray(np.linalg.solve(rows.T @ rows + _BELIEF, rows.T @ values.ravel()), np.float64)


def _project(plane: Floats) -> Complexes:
    """Where all dots lie, radii about the ring's middle, complex128 (126,)."""
    return np.asarray((_KNOWN @ (plane[0:3] + 1j * plane[3:6])) / (1 + _KNOWN[:, :2] @ plane[6:]), np.complex128)


def _some(values: Ints, most: int) -> Ints:
    """At most so many of them, evenly chosen."""
    return values if len(values) <= most else values[np.arange(most) * len(values) // most]


def _turned(dots: Ints, turn: int) -> Ints:
    """Which dots they are when the first is number `turn`."""
    row = dots // POSITIONS
    return np.asarray((dots + turn - POSITIONS * row) % POSITIONS + POSITIONS * row, np.intp)


@lru_cache(maxsize=1)
def _templates() -> NDArray[np.float32]:
    """Sizes of all dots, 1 large and −1 small, by hood and turn, of hoods and then of their mirror images: float32 (12, 63, 126)."""
    n = np.arange(2 * POSITIONS)
    backward = np.concatenate([-np.arange(POSITIONS) % POSITIONS, POSITIONS + (-1 - np.arange(POSITIONS)) % POSITIONS])
    tables = []
    for order in (n, backward):
        for code in range(RING_CODES):
            sizes = np.where(ring_code(code), 1, -1)
            tables.append([sizes[_turned(order, turn)] for turn in range(POSITIONS)])
    return np.array(tables, np.float32)


def _told(sight: RingSight) -> int | None:
    """The hood that alone fits, hoods seen in a mirror from RING_CODES on; None where several do."""
    least = sight.wrong.min(1)
    best = int(np.argmin(least))
    return best if np.delete(least, best).min() >= least[best] + 2 else None


def _foreign(target: HoodRing, sight: RingSight) -> str:
    seen = _told(sight)
    if seen is None or seen == target.code:
        return (
            f"a ring of {len(sight.dots)} dots is seen, but their sizes are not those of {target}: "
            "bring more of it into view, in focus, or say which hood it is"
        )
    if seen >= RING_CODES:
        return f"the ring of hood {seen - RING_CODES} is seen in a mirror: turn off the camera's mirroring"
    return f"the ring of hood {seen} is seen where that of hood {target.code} is expected: put the right hood on, or give its number"
