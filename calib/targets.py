"""What can lie under the microscope to be measured by: the targets, their dimensions, and how they are written on a command line."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calib.errors import TargetError

DICTIONARIES = tuple(f"DICT_{bits}X{bits}_{count}" for bits in (4, 5, 6, 7) for count in (50, 100, 250, 1000))  # OpenCV's own
MIN_MM, MAX_MM = 0.005, 50.0  # of a pitch: finer nobody rules, coarser no microscope sees
MAX_SQUARES = 100  # a side of a board
RING_DIAMETER_MM = 8.0
RING_CODES = 6  # hoods that can be told apart


@dataclass(frozen=True)
class Micrometer:
    """A bought stage micrometer: straight lines at one pitch, some of them longer, with or without figures beside them."""

    pitch_um: float

    def __str__(self) -> str:
        return f"micrometer:{self.pitch_um:g}"

    @property
    def pitch_mm(self) -> float:
        """From line to line."""
        return self.pitch_um / 1000


@dataclass(frozen=True)
class Charuco:
    """A chessboard with ArUco markers in its white squares (cv2.aruco.CharucoBoard); each corner has a number of its own."""

    columns: int
    rows: int
    square_mm: float
    marker_mm: float
    dictionary: str

    def __str__(self) -> str:
        return f"charuco:{self.columns}x{self.rows},{self.square_mm:g},{self.marker_mm:g},{self.dictionary}"

    @property
    def pitch_mm(self) -> float:
        """The side of a square."""
        return self.square_mm


@dataclass(frozen=True)
class Checker:
    """A plain chessboard, of any size; the part in view is enough."""

    square_mm: float

    def __str__(self) -> str:
        return f"checker:{self.square_mm:g}"

    @property
    def pitch_mm(self) -> float:
        """The side of a square."""
        return self.square_mm


@dataclass(frozen=True)
class Dots:
    """A square grid of round dark dots, half a pitch in diameter where it is ours; the part in view is enough."""

    pitch_mm: float

    def __str__(self) -> str:
        return f"dots:{self.pitch_mm:g}"


@dataclass(frozen=True)
class HoodRing:
    """The ring of coded dots on the inside rim of the contact hood.

    Attributes:
        diameter_mm: of the circle on which the dots' centres lie.
        code: which of the sequences of large and small dots it carries, so that hoods can be told apart, 0 to RING_CODES − 1.
    """

    diameter_mm: float = RING_DIAMETER_MM
    code: int = 0

    def __str__(self) -> str:
        return f"hood-ring:{self.diameter_mm:g},{self.code}"


Target = Micrometer | Charuco | Checker | Dots | HoodRing

FORMS = (
    "micrometer:PITCH_UM, charuco:COLSxROWS,SQUARE_MM,MARKER_MM,DICT, checker:SQUARE_MM, dots:PITCH_MM or hood-ring[:DIAMETER_MM[,CODE]]"
)


def parse_target(text: str) -> Target:
    """The target that a text such as "dots:0.5" describes; `str` of a target gives such a text back.

    Raises:
        TargetError: no such kind, a number that is none, or a size that cannot be; the message says how it is written.
    """
    kind, _, rest = text.strip().partition(":")
    parts = [part.strip() for part in rest.split(",")] if rest else []
    try:
        target = _parse(kind, parts)
    except (ValueError, TargetError) as error:
        raise TargetError(f"target {text!r}: {error}: write {FORMS}") from None
    if target is None:
        raise TargetError(f"target {text!r} is of no kind that we know: write {FORMS}")
    return target


def _parse(kind: str, parts: list[str]) -> Target | None:
    if kind == "micrometer":
        (pitch,) = _numbers(parts, 1, 1)
        _check("its pitch", pitch / 1000)
        return Micrometer(pitch)
    if kind == "checker":
        (square,) = _numbers(parts, 1, 1)
        _check("its square", square)
        return Checker(square)
    if kind == "dots":
        (pitch,) = _numbers(parts, 1, 1)
        _check("its pitch", pitch)
        return Dots(pitch)
    if kind == "hood-ring":
        numbers = _numbers(parts, 0, 2)
        diameter = numbers[0] if numbers else RING_DIAMETER_MM
        code = numbers[1] if len(numbers) == 2 else 0
        if not 1 <= diameter <= 60:
            raise TargetError(f"a ring of {diameter:g} mm is no hood's: 1 to 60 mm")
        if code not in range(RING_CODES):
            raise TargetError(f"code {code:g} is none: 0 to {RING_CODES - 1}")
        return HoodRing(diameter, int(code))
    if kind == "charuco":
        return _charuco(parts)
    return None


def _charuco(parts: list[str]) -> Charuco:
    if len(parts) != 4:
        raise TargetError(f"a board has four figures, not {len(parts)}")
    columns, cross, rows = parts[0].lower().partition("x")
    if not (cross and columns.isdigit() and rows.isdigit()):
        raise TargetError(f"{parts[0]!r} is no number of squares such as 14x11")
    size = int(columns), int(rows)
    if not all(2 <= side <= MAX_SQUARES for side in size):
        raise TargetError(f"{parts[0]} squares: 2 to {MAX_SQUARES} a side")
    square, marker = _numbers(parts[1:3], 2, 2)
    _check("its square", square)
    if not 0.3 * square <= marker < square:
        raise TargetError(f"a marker of {marker:g} mm in a square of {square:g} mm: 30 % of it at least, and less than all")
    name = parts[3].upper()
    if name not in DICTIONARIES:
        raise TargetError(f"dictionary {parts[3]!r} is none of {', '.join(DICTIONARIES)}")
    needed, there = size[0] * size[1] // 2, int(name.rpartition("_")[2])
    if needed > there:
        raise TargetError(f"{parts[0]} squares need {needed} markers, {name} has {there}")
    return Charuco(*size, square, marker, name)


def _numbers(parts: list[str], least: int, most: int) -> list[float]:
    if not least <= len(parts) <= most:
        raise TargetError(f"{len(parts)} figures where {least if least == most else f'{least} to {most}'} belong")
    numbers = [float(part) for part in parts]
    if not all(math.isfinite(number) for number in numbers):
        raise TargetError("a figure that is no number")
    return numbers


def _check(what: str, millimetres: float) -> None:
    if not MIN_MM <= millimetres <= MAX_MM:
        raise TargetError(f"{what} is {millimetres:g} mm: {MIN_MM:g} to {MAX_MM:g} mm can be")
