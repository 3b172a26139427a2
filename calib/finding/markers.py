"""The markers of a ChArUco board in a picture: which of them are seen, and roughly how the board lies.

Only identity comes from here. Marker corners of a thresholded picture are right to half a pixel, which is enough to say where the corners
of the squares must be, and those are then fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.errors import TargetNotFoundError
from calib.plane import PlaneFit, fit_plane
from calib.points import points_of
from calib.targets import DICTIONARIES, Charuco

Floats = NDArray[np.float64]

LEAST_MARKERS = 3
ENOUGH_MARKERS = 10  # beyond which no enlarged picture is searched
ENLARGED = (2, 3)
LARGEST_ENLARGED_PX = 2600  # width of a picture that is still worth enlarging to
LOOSE, TIGHT = 0.3, 0.13  # shares of a square by which a marker's corner may lie off a rough and a fitted map
AGREEING = 0.6  # of the markers seen must lie as on the board described
FOREIGN = 3  # markers that the board does not have; one or two may be misread
MARKER_STD_PX = 0.4


@dataclass(frozen=True, eq=False)
class SeenBoard:
    """A board as its markers show it.

    Attributes:
        plane: fitted to the markers' corners, good to about a pixel.
        corners_px: float64 (m, 4, 2), of the markers that agree with it.
        numbers: int64 (m,), which markers they are.
    """

    plane: PlaneFit
    corners_px: Floats
    numbers: NDArray[np.int64]


def marker_places(target: Charuco, older: bool = False) -> Floats:
    """Corners of all markers of a board, mm from its middle, x right and y down, float64 (n, 4, 2), clockwise from the upper left.

    Markers are numbered row by row through the white squares; the square in the upper left corner is black. On boards with an even number
    of rows that OpenCV drew before 4.6 it is white (`older`).
    """
    column, row = np.meshgrid(np.arange(target.columns), np.arange(target.rows))
    white = (column + row) % 2 == (0 if older else 1)
    size = np.array([target.columns, target.rows])
    centres = (np.stack([column[white], row[white]], 1) + 0.5 - size / 2) * target.square_mm
    half = target.marker_mm / 2
    return np.asarray(centres[:, None] + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]), np.float64)


def see_markers(picture: NDArray[np.uint8], target: Charuco) -> SeenBoard:
    """The board that the markers in a grey picture, uint8 (height, width), show.

    Raises:
        TargetNotFoundError: too few markers, or markers that are not those of the board described; the message says what they are.
    """
    what = f"the board {target} was not found"
    best: SeenBoard | None = None
    seen: tuple[NDArray[np.int64], Floats] = np.zeros(0, np.int64), np.zeros((0, 4, 2))
    for times in (1, *ENLARGED):
        if times > 1 and picture.shape[1] * times > LARGEST_ENLARGED_PX:
            break
        numbers, corners = detect(picture, target.dictionary, times)
        if len(numbers) > len(seen[0]):
            seen = numbers, corners
        board = _lie(numbers, corners, target, picture.shape[1], picture.shape[0])
        if board is not None and (best is None or len(board.numbers) > len(best.numbers)):
            best = board
        if best is not None and len(best.numbers) >= ENOUGH_MARKERS:
            break
    if best is None:
        raise TargetNotFoundError(f"{what}: {_why(picture, target, seen[0])}")
    _check_agreement(what, target, seen[0], best)
    return best


def detect(picture: NDArray[np.uint8], dictionary: str, times: int = 1) -> tuple[NDArray[np.int64], Floats]:
    """(numbers (n,), corners (n, 4, 2) px) of the markers of a dictionary in a grey picture, looked at `times` enlarged."""
    settings = cv2.aruco.DetectorParameters()
    settings.minMarkerPerimeterRate = 0.02
    settings.adaptiveThreshWinSizeMin, settings.adaptiveThreshWinSizeMax, settings.adaptiveThreshWinSizeStep = 5, 45, 10
    table = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
    large = picture
    if times > 1:
        large = np.asarray(cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC), np.uint8)
    corners, numbers, _ = cv2.aruco.ArucoDetector(table, settings).detectMarkers(large)
    if numbers is None or len(numbers) == 0:
        return np.zeros(0, np.int64), np.zeros((0, 4, 2))
    places = (np.concatenate(corners).reshape(-1, 4, 2).astype(np.float64) + 0.5) / times - 0.5
    return np.asarray(numbers, np.int64).reshape(-1), places


def _lie(numbers: NDArray[np.int64], corners: Floats, target: Charuco, width: int, height: int) -> SeenBoard | None:
    """The board behind markers, in the newer or the older arrangement, whichever more of them agree with."""
    found = [_lie_as(numbers, corners, target, older, width, height) for older in ((False, True) if target.rows % 2 == 0 else (False,))]
    boards = [board for board in found if board is not None]
    return max(boards, key=lambda board: len(board.numbers)) if boards else None


def _lie_as(numbers: NDArray[np.int64], corners: Floats, target: Charuco, older: bool, width: int, height: int) -> SeenBoard | None:
    places = marker_places(target, older)
    there = numbers < len(places)
    numbers, corners = numbers[there], corners[there]
    if len(numbers) < LEAST_MARKERS:
        return None
    flat_mm, flat_px = places[numbers].reshape(-1, 2), corners.reshape(-1, 2)
    side = float(np.median(np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2)))
    square_px = side * target.square_mm / target.marker_mm
    inside: Any = cv2.findHomography(flat_mm, flat_px, cv2.RANSAC, LOOSE * square_px)[1]  # None where there is no map at all
    if inside is None:
        return None
    kept = inside.reshape(-1, 4).sum(1) >= 3
    for last in (False, True):
        if kept.sum() < LEAST_MARKERS:
            return None
        rows = np.repeat(kept, 4)
        try:
            plane = fit_plane(points_of(flat_px[rows], flat_mm[rows], MARKER_STD_PX), width, height)
        except TargetNotFoundError:
            return None
        off = np.linalg.norm(plane.to_picture(flat_mm) - flat_px, axis=1).reshape(-1, 4)
        kept = off.max(1) < TIGHT * square_px + 1
        if last and kept.sum() >= LEAST_MARKERS:
            return SeenBoard(plane, corners[kept], numbers[kept])
    return None


def _check_agreement(what: str, target: Charuco, seen: NDArray[np.int64], board: SeenBoard) -> None:
    own = len(marker_places(target))
    foreign = np.unique(seen[seen >= own])
    if len(foreign) >= FOREIGN:
        raise TargetNotFoundError(
            f"{what}: markers numbered up to {int(foreign.max())} are seen, a board of {target.columns}×{target.rows} squares has "
            f"0–{own - 1}: give the board as it was printed"
        )
    if len(board.numbers) < AGREEING * len(np.unique(seen)):
        raise TargetNotFoundError(
            f"{what}: {len(seen)} markers of {target.dictionary} are seen, numbers {_range(seen)}, and only {len(board.numbers)} of them "
            f"lie as on a board of {target.columns}×{target.rows} squares with markers of {target.marker_mm / target.square_mm:.0%} of a "
            "square: give the board as it was printed"
        )


def _why(picture: NDArray[np.uint8], target: Charuco, numbers: NDArray[np.int64]) -> str:
    """What else may lie there, for the message."""
    board = f"a board of {target.columns}×{target.rows} squares has numbers 0–{target.columns * target.rows // 2 - 1}"
    if len(numbers) >= LEAST_MARKERS:
        return (
            f"{len(numbers)} markers of {target.dictionary} are seen, numbers {_range(numbers)}, and they do not lie as on the board "
            f"({board}): give the board as it was printed"
        )
    own = target.dictionary.rpartition("_")[0]
    for name in DICTIONARIES:
        if name.endswith("_1000") and name.rpartition("_")[0] != own:
            others = detect(picture, name)[0]
            if len(others) >= max(LEAST_MARKERS, 2 * len(numbers) + 1):
                return f"{len(others)} markers of {name.rpartition('_')[0]} are seen, expected {target.dictionary}: give the board's own"
    more = detect(picture, f"{own}_1000")[0]
    if len(more) >= LEAST_MARKERS:
        return f"{len(more)} markers of {own} are seen, numbers {_range(more)}, and {board}: give the board as it was printed"
    return (
        f"{len(numbers)} of its markers are seen, at least {LEAST_MARKERS} are needed ({target.dictionary}): bring the board into view and "
        "focus, and check which target lies there"
    )


def _range(numbers: NDArray[np.int64]) -> str:
    return "none" if len(numbers) == 0 else f"{int(numbers.min())}–{int(numbers.max())}"
