"""Finds the corners of a chessboard's squares, plain (of any size, any part of it) or with ArUco markers that number its corners."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from calib.errors import TargetNotFoundError
from calib.finding.colour import green_place, luma
from calib.finding.corners import Corners, fit_corners, saddles
from calib.finding.gaps import check_ratio
from calib.finding.grid import grow_grid, largest_block, square_steps
from calib.finding.markers import see_markers
from calib.plane import PlaneFit, fit_plane
from calib.points import TargetPoints
from calib.targets import Charuco, Checker

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEAST_CORNERS, LEAST_LINES = 9, 3  # corners, and rows and columns of them, below which a plane is not worth fitting
SMOOTH_PX = (1.2, 2.2, 0.7)  # in which candidates are looked for, one after the other
REACH = 0.46  # of a square, how far along its edges a corner is fitted
MARGIN_PX = 4.0  # nearer to the border a corner is not fitted
CLEAR_PX = 1.0  # between the band that is fitted and a marker
LEAST_BAND_PX = 1.2
TURNED = math.cos(math.radians(50))  # of twice the angle between a corner's orientation and its neighbours'
FIT_RESIDUAL = 0.35  # root mean square of what the corner leaves, of half the contrast
SHALLOW = 0.4  # a corner with less of the usual contrast is none
TRUE_SHARE = 0.35  # of the places found must be corners; those of squares at the rim of a small board only look like some
PLAIN_STD = 0.2  # standard deviation inside a square, of the contrast
PLAIN_SHARE = 0.8  # of the squares must be plain
HALF_WAY = (0.25, 0.75)  # between dark and bright lies an edge; between the dots of a grid it is nearly all bright
ALMOST_ALL = 0.9  # of the corners in view; where fewer were fitted the rest are looked for again


def find_board(image: NDArray[np.uint8], target: Charuco | Checker) -> TargetPoints:
    """The inner corners of a board in a picture, uint8 (height, width, 3) BGR.

    Of a ChArUco board X and Y count from its middle, x right and y down as printed; of a plain one from any corner, in any quarter turn.

    Raises:
        TargetNotFoundError: there is no such board, too little of it, or another one.
    """
    picture = luma(image)
    corners, index = _charuco(picture, target) if isinstance(target, Charuco) else _checker(picture, target)
    _enough(f"the board {target} was not found", index)
    middle = np.array([target.columns, target.rows]) / 2 - 1 if isinstance(target, Charuco) else np.zeros(2)
    pixels = green_place(image).of(corners.places)
    mm = np.asarray((index - middle) * target.square_mm, np.float64)
    return TargetPoints(pixels, mm, corners.std_px, np.arange(len(index), dtype=np.int64))


def _enough(what: str, index: Integers) -> None:
    columns, rows = (len(np.unique(index[:, axis])) for axis in (0, 1))
    if len(index) < LEAST_CORNERS or min(columns, rows) < LEAST_LINES:
        raise TargetNotFoundError(
            f"{what}: found {len(index)} corners of squares in {rows} rows and {columns} columns, at least {LEAST_CORNERS} in "
            f"{LEAST_LINES} and {LEAST_LINES} are needed: bring more of the board into view, in focus"
        )


def _only(corners: Corners, kept: Bools) -> Corners:
    return Corners(
        corners.places[kept], corners.std_px[kept], corners.depth[kept], corners.residual[kept], corners.settled[kept], corners.spread_px
    )


def _good(corners: Corners, index: Integers) -> Bools:
    """Which of the fitted corners are corners of one board: settled, of the usual contrast, dark and bright in turns."""
    if not corners.settled.any():
        return corners.settled
    signed = corners.depth * np.where(index.sum(1) % 2 == 0, 1.0, -1.0)
    usual = float(np.median(signed[corners.settled]))
    limit = min(FIT_RESIDUAL, 3 * float(np.median(corners.residual[corners.settled])) + 0.02)
    return np.asarray(corners.settled & (signed / (usual or 1.0) > SHALLOW) & (corners.residual < limit), np.bool_)


def _inside(places: Floats, picture: Float32s) -> Bools:
    return np.asarray(((places > MARGIN_PX) & (places < np.array(picture.shape[::-1]) - 1 - MARGIN_PX)).all(1), np.bool_)


def _charuco(picture: Float32s, target: Charuco) -> tuple[Corners, Integers]:
    """(corners, column and row of each among the inner corners)."""
    height, width = picture.shape
    board = see_markers(np.rint(picture).astype(np.uint8), target)
    column, row = np.meshgrid(np.arange(target.columns - 1), np.arange(target.rows - 1))
    index = np.stack([column.ravel(), row.ravel()], 1).astype(np.int64)
    mm = (index + 1 - np.array([target.columns, target.rows]) / 2) * target.square_mm
    plane: PlaneFit = board.plane
    what = f"the board {target} was not found"
    for last in (False, True):
        places, edges = expected_corners(plane, mm, 0.1 * target.square_mm)
        square_px = 1000 * target.square_mm / plane.um_per_px
        inside = _inside(places, picture)
        _enough(what, index[inside])
        corners = fit_corners(picture, places[inside], edges[inside], REACH * square_px, clear_band(target, square_px))
        good = _good(corners, index[inside]) & (np.linalg.norm(corners.places - places[inside], axis=1) < 0.25 * square_px)
        seen = index[inside][good]
        _enough(what, seen)
        corners = _only(corners, good)
        points = TargetPoints(corners.places, mm[inside][good], corners.std_px, np.arange(len(seen), dtype=np.int64))
        plane = fit_plane(points, width, height)
        if last or good.mean() > ALMOST_ALL:
            break
    check_ratio(picture, target, plane, plane.to_target(board.corners_px.mean(1)), corners.spread_px)
    return corners, seen


def clear_band(target: Charuco | Checker, square_px: float) -> float:
    """How far beside the edges of squares nothing else is printed, px; infinite on a plain board."""
    if isinstance(target, Checker):
        return math.inf
    return max((1 - target.marker_mm / target.square_mm) / 2 * square_px - CLEAR_PX, LEAST_BAND_PX)


def expected_corners(plane: PlaneFit, mm: Floats, step_mm: float) -> tuple[Floats, Floats]:
    """Where points (n, 2) of a board should be seen, px (n, 2), and the angles (n, 2), rad, of the edges along X and Y through them."""
    places = plane.to_picture(mm)
    ways = [plane.to_picture(mm + step) - places for step in ((step_mm, 0.0), (0.0, step_mm))]
    return places, np.stack([np.arctan2(way[:, 1], way[:, 0]) for way in ways], 1)


def _checker(picture: Float32s, target: Checker) -> tuple[Corners, Integers]:
    """(corners, column and row of each, from anywhere)."""
    what = f"the board {target} was not found"
    best: tuple[Floats, Integers, Floats] | None = None
    for smooth_px in SMOOTH_PX:
        found = _grid(picture, smooth_px)
        if found is not None and (best is None or len(found[0]) > len(best[0])):
            best = found
        if best is not None and len(best[0]) >= 4 * LEAST_CORNERS:
            break
    if best is None:
        raise TargetNotFoundError(f"{what}: nothing in the picture looks like the corners of squares: bring the board into view and focus")
    places, index, steps = best
    _enough(what, index)
    pitch = float(np.linalg.norm(steps[0]))
    edges = np.broadcast_to(np.arctan2(steps[:, 1], steps[:, 0]), (len(places), 2))
    corners = fit_corners(picture, places, edges, REACH * pitch)
    good = _good(corners, index)
    if good.sum() < TRUE_SHARE * len(good):
        raise TargetNotFoundError(
            f"{what}: of {len(good)} places on a square grid only {int(good.sum())} are corners of squares: check which target lies there"
        )
    _check_squares(what, picture, corners, index, good, pitch)
    return _only(corners, good), index[good]


def _grid(picture: Float32s, smooth_px: float) -> tuple[Floats, Integers, Floats] | None:
    """(saddle points that alternate on a square grid (n, 2), their column and row, the steps); None where there is no grid."""
    places, angles = saddles(picture, smooth_px)
    inside = _inside(places, picture)
    places, angles = places[inside], angles[inside]
    steps = square_steps(places)
    if steps is None:
        return None
    index, on = grow_grid(places, steps, np.array([(picture.shape[1] - 1) / 2, (picture.shape[0] - 1) / 2]))
    on = largest_block(index, on)
    if on.sum() < 4:
        return None
    places, angles, index = places[on], angles[on], index[on]
    turned = np.exp(2j * angles) * np.where(index.sum(1) % 2 == 0, 1, -1)
    usual = np.mean(turned)
    alternate = np.real(turned * np.conj(usual)) > TURNED * abs(usual)
    if alternate.sum() < 4:
        return None
    return places[alternate], index[alternate], steps


def _check_squares(what: str, picture: Float32s, corners: Corners, index: Integers, good: Bools, pitch: float) -> None:
    """Refuse a grid of corners whose squares are not plain, dark and bright by turns."""
    low = index.min(0)
    table = np.full((*(index.max(0) - low + 1),), -1)
    table[index[good, 0] - low[0], index[good, 1] - low[1]] = np.flatnonzero(good)
    four = np.stack([table[:-1, :-1], table[1:, :-1], table[1:, 1:], table[:-1, 1:]], -1)
    at = np.argwhere((four >= 0).all(-1))
    if len(at) < 4:
        raise TargetNotFoundError(
            f"{what}: only {len(at)} whole squares are in view, at least 4 are needed: "
            "bring more of it into view, and check which target lies there"
        )
    quads = corners.places[four[at[:, 0], at[:, 1]]]  # (n, 4, 2)
    inset = min(max((1.5 * corners.spread_px + 0.5) / pitch, 0.15), 0.4)
    share = np.linspace(inset, 1 - inset, 5)
    s, t = (part.ravel() for part in np.meshgrid(share, share))
    weights = np.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t])
    inner = _levels(picture, np.einsum("nkd,kj->njd", quads, weights))
    edge = _levels(picture, (quads + np.roll(quads, -1, 1)) / 2)
    even = at.sum(1) % 2 == 0
    if not even.any() or even.all():
        raise TargetNotFoundError(f"{what}: the squares in view touch nowhere: bring more of the board into view")
    # lit unevenly: each square beside its neighbours of the other kind
    mean = inner.mean(1)
    light = np.median(mean[even]), np.median(mean[~even])
    contrast = abs(light[0] - light[1])
    grain = float(np.median(inner.std(1)))
    plain = inner.std(1) < PLAIN_STD * contrast
    marked = "" if grain < PLAIN_STD * contrast else ": all squares are uneven"
    for kind in (even, ~even):
        if plain[kind].mean() < PLAIN_SHARE:
            raise TargetNotFoundError(
                f"{what}: {int((~plain).sum())} of {len(plain)} squares carry marks, as those of a ChArUco board do, or are none{marked}: "
                "give the target that lies there"
            )
    half_way = (float(np.median(edge)) - min(light)) / max(contrast, 1e-6)
    if not HALF_WAY[0] < half_way < HALF_WAY[1]:
        raise TargetNotFoundError(
            f"{what}: the places between dark spots are {half_way:.0%} bright where the edges of squares are half bright: "
            "these are no squares, perhaps dots: give the target that lies there"
        )


def _levels(picture: Float32s, places: Floats) -> Floats:
    """The picture at places (…, 2), float64 (…,)."""
    return np.asarray(map_coordinates(picture, [places[..., 1], places[..., 0]], order=1, mode="nearest"), np.float64)
