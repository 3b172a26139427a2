"""A target as flat shapes of true size, and those as a flat picture: what is printed, and what the simulated microscope looks at.

Millimetres, x right and y down, origin in the middle of the drawing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.targets import Charuco, Checker, Dots, HoodRing, Micrometer, Target

FINER = 4  # a flat picture is drawn so many times finer and averaged
SHIFT = 8  # bits of a fraction of a pixel in OpenCV's drawing
DOT_SHARE = 0.5  # a dot's diameter, of the pitch
LINE_SHARE = 0.28  # a ruled line's width, of the pitch
FIFTH, TENTH = 1.4, 1.9  # lengths of every fifth and tenth line, of the others'


@dataclass(frozen=True)
class Polygon:
    """A filled polygon; `level` 0 is black, 1 white."""

    points_mm: tuple[tuple[float, float], ...]
    level: float = 0.0


@dataclass(frozen=True)
class Disc:
    """A filled circle."""

    x_mm: float
    y_mm: float
    radius_mm: float
    level: float = 0.0


@dataclass(frozen=True)
class Drawing:
    """Shapes painted one over the other on white ground of `width_mm` × `height_mm`.

    `hole_mm` is the diameter of a round opening in the middle through which what lies below is seen (a hood ring's), 0 for none.
    """

    width_mm: float
    height_mm: float
    shapes: tuple[Polygon | Disc, ...]
    hole_mm: float = 0.0


def rectangle(x_mm: float, y_mm: float, width_mm: float, height_mm: float, level: float = 0.0) -> Polygon:
    """A rectangle from its upper left corner."""
    right, bottom = x_mm + width_mm, y_mm + height_mm
    return Polygon(((x_mm, y_mm), (right, y_mm), (right, bottom), (x_mm, bottom)), level)


def draw_target(target: Target, width_mm: float, height_mm: float) -> Drawing:
    """The target on a sheet of about `width_mm` × `height_mm`: as many squares, dots or lines as fit; a ChArUco board as large as it is."""
    if isinstance(target, Charuco):
        return _charuco(target)
    if isinstance(target, Checker):
        return _checker(target, width_mm, height_mm)
    if isinstance(target, Dots):
        return _dots(target, width_mm, height_mm)
    if isinstance(target, Micrometer):
        return _micrometer(target, width_mm, height_mm)
    assert isinstance(target, HoodRing)
    from calib.ring import ring_drawing

    return ring_drawing(target)


def flat_picture(drawing: Drawing, um_per_px: float) -> NDArray[np.float32]:
    """The drawing as float32 (height, width) 0…1 at `um_per_px`, its middle in the middle; pixels are averages over their area.

    Upright rectangles are covered exactly: edges rounded to parts of a pixel, all corners of a board's column alike, would move its scale.
    """
    width, height = (max(1, round(side * 1000 / um_per_px)) for side in (drawing.width_mm, drawing.height_mm))
    picture = np.ones((height, width), np.float32)
    scale = 1000 / um_per_px
    middle = np.array([width - 1, height - 1]) / 2
    for shape in drawing.shapes:
        if isinstance(shape, Disc):
            centre = np.array([shape.x_mm, shape.y_mm]) * scale + middle
            low, high = centre - shape.radius_mm * scale, centre + shape.radius_mm * scale
        else:
            points = np.array(shape.points_mm) * scale + middle
            low, high = points.min(0), points.max(0)
        left, top = (max(0, math.floor(v)) for v in low)
        right, bottom = (min(side, math.ceil(v) + 2) for v, side in zip(high, (width, height), strict=True))
        if left >= right or top >= bottom:
            continue
        if isinstance(shape, Disc):
            cover = _disc_cover(centre - (left, top), shape.radius_mm * scale, (bottom - top, right - left))
        elif _upright(points):
            cover = np.outer(_cover(low[1], high[1], top, bottom), _cover(low[0], high[0], left, right))
        else:
            cover = _polygon_cover(points - (left, top), (bottom - top, right - left))
        part = picture[top:bottom, left:right]
        part += (np.float32(shape.level) - part) * cover.astype(np.float32)
    return picture


def _upright(points: NDArray[np.float64]) -> bool:
    """Whether points (n, 2) are the corners of a rectangle with upright sides."""
    return len(points) == 4 and all(len(np.unique(points[:, axis])) == 2 for axis in (0, 1))


def _cover(low: float, high: float, first: int, stop: int) -> NDArray[np.float64]:
    """How much of each pixel first … stop − 1 of a row, pixel centres at integers, lies between low and high."""
    at = np.arange(first, stop)
    return np.asarray(np.clip(np.minimum(high, at + 0.5) - np.maximum(low, at - 0.5), 0.0, 1.0), np.float64)


def _disc_cover(centre: NDArray[np.float64], radius: float, shape: tuple[int, int]) -> NDArray[np.float64]:
    """The share of each pixel (height, width) within a circle; across its edge, which is nearly straight there, by the distance to it."""
    fine = (np.arange(max(shape) * FINER) + 0.5) / FINER - 0.5
    away = np.hypot(fine[None, : shape[1] * FINER] - centre[0], fine[: shape[0] * FINER, None] - centre[1])
    inside = np.clip((radius - away) * FINER + 0.5, 0.0, 1.0)
    return np.asarray(inside.reshape(shape[0], FINER, shape[1], FINER).mean((1, 3)), np.float64)


def _polygon_cover(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """The share of each pixel (height, width) within a polygon, to a quarter of a pixel."""
    canvas = np.zeros((shape[0] * FINER, shape[1] * FINER), np.uint8)
    fixed = np.rint(((points + 0.5) * FINER - 0.5) * (1 << SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed.reshape(-1, 1, 2)], 1, cv2.LINE_8, SHIFT)
    return np.asarray(canvas.reshape(shape[0], FINER, shape[1], FINER).mean((1, 3)), np.float64)


def marker_squares(dictionary: str, number: int) -> NDArray[np.bool_]:
    """The cells of an ArUco marker with its black border, bool (n, n), True is black."""
    table = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
    cells = table.markerSize + 2
    return np.asarray(cv2.aruco.generateImageMarker(table, number, cells, borderBits=1) < 128, np.bool_)


def _charuco(target: Charuco) -> Drawing:
    width, height = target.columns * target.square_mm, target.rows * target.square_mm
    left, top = -width / 2, -height / 2
    shapes: list[Polygon | Disc] = []
    number = 0
    for row in range(target.rows):
        for column in range(target.columns):
            x, y = left + column * target.square_mm, top + row * target.square_mm
            if (row + column) % 2 == 0:
                shapes.append(rectangle(x, y, target.square_mm, target.square_mm))
                continue
            cells = marker_squares(target.dictionary, number)
            number += 1
            cell = target.marker_mm / len(cells)
            inset = (target.square_mm - target.marker_mm) / 2
            shapes.append(rectangle(x + inset, y + inset, target.marker_mm, target.marker_mm))
            shapes += [
                rectangle(x + inset + i * cell, y + inset + j * cell, cell, cell, 1.0) for j, i in zip(*np.nonzero(~cells), strict=True)
            ]
    margin = target.square_mm
    return Drawing(width + 2 * margin, height + 2 * margin, tuple(shapes))


def _checker(target: Checker, width_mm: float, height_mm: float) -> Drawing:
    columns, rows = (max(2, int(side / target.square_mm) - 2) for side in (width_mm, height_mm))
    left, top = -columns * target.square_mm / 2, -rows * target.square_mm / 2
    side = target.square_mm
    shapes = tuple(rectangle(left + i * side, top + j * side, side, side) for j in range(rows) for i in range(columns) if (i + j) % 2 == 0)
    return Drawing((columns + 2) * side, (rows + 2) * side, shapes)


def _dots(target: Dots, width_mm: float, height_mm: float) -> Drawing:
    pitch = target.pitch_mm
    columns, rows = (max(2, int(side / pitch)) for side in (width_mm, height_mm))
    x, y = (np.arange(columns) - (columns - 1) / 2) * pitch, (np.arange(rows) - (rows - 1) / 2) * pitch
    shapes = tuple(Disc(float(i), float(j), DOT_SHARE * pitch / 2) for j in y for i in x)
    return Drawing(columns * pitch, rows * pitch, shapes)


def _micrometer(target: Micrometer, width_mm: float, height_mm: float) -> Drawing:
    pitch = target.pitch_mm
    lines = max(11, int(width_mm / pitch) - 4)
    lines -= (lines - 1) % 10
    short = min(6 * pitch, height_mm / 4)
    shapes = []
    for k in range(lines):
        length = short * (TENTH if k % 10 == 0 else FIFTH if k % 5 == 0 else 1.0)
        x = (k - (lines - 1) / 2) * pitch
        shapes.append(rectangle(x - LINE_SHARE * pitch / 2, -length / 2, LINE_SHARE * pitch, length))
    return Drawing((lines + 3) * pitch, 4 * short, tuple(shapes))
