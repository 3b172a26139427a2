"""Raw colour to comparable colour: even out the light, balance grey by a white target, and correct colours by a chart.

All three act on the levels 0…255 as the camera gives them. Its gamma is not known, and a gain on levels behind a power law is a gain on
light before it (another one), so that grey stays grey at every level; only for a curve with a toe or shoulder is that an approximation.
A black level that is not 0 is neither known nor taken off. Order: flat field, grey balance, matrix. Channels are blue, green, red.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibrationError

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]

ROWS, COLUMNS = 24, 32
LEAST_CELL_PX = 4  # a side
WHITE_FROM, WHITE_TO = 60.0, 250.0  # median level of a usable picture's middle; above, channels clip
SATURATED, MAX_SATURATED_SHARE = 254, 0.01
DARK_PERCENT = 5  # of the cells may hold dust
MAX_FALL = 0.25  # the darkest of the others gives at least this share of the brightest, else the picture shows more than a white target
DUST_SHARE = 0.02  # a cell darker or brighter than the smooth light by this share holds dust or a fault
MAX_DUST_SHARE = 0.2  # of all cells
LEAST_LIGHT = 0.02  # of the brightest: what a division by the field can bear
DEGREE = 4  # of the polynomial in x and y that light follows: a lamp ring's and a lens's fall-off need four
ROUNDS = 6
GREEN = 1
GAINS = (0.25, 4.0)  # beyond these no sensible white balance was set
LEAST_PATCHES = 6  # for nine numbers of three equations each
MAX_CHART_RESIDUAL = 25.0  # grey levels; patches in the wrong order leave 40 and more


class LightError(CalibrationError):
    """A picture is no usable picture of a white target or a colour chart; the message says what was seen and what to do."""


@dataclass(frozen=True, eq=False)
class FlatField:
    """How the light falls off over the field.

    Attributes:
        relative: float64 (rows, columns, 3), on an even grid from border to border; the brightest of each channel is 1.
    """

    relative: Floats

    def over(self, width_px: int, height_px: int) -> NDArray[np.float32]:
        """The same at every pixel, float32 (height, width, 3), between the grid's points in proportion."""
        rows, columns = self.relative.shape[:2]
        x = (np.arange(width_px) + 0.5) / width_px * (columns - 1)
        y = (np.arange(height_px) + 0.5) / height_px * (rows - 1)
        gx, gy = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        return np.asarray(cv2.remap(self.relative.astype(np.float32), gx, gy, cv2.INTER_LINEAR), np.float32)


@dataclass(frozen=True)
class GreyBalance:
    """Factors on blue, green and red that make a white target grey; green's is 1."""

    gains: tuple[float, float, float]


@dataclass(frozen=True)
class ColourMatrix:
    """A chart's colours from the camera's, levels 0…255.

    Attributes:
        rows: (3, 3); row by row what of blue, green and red makes blue, green and red.
        residual: root mean square over patches and channels, grey levels.
    """

    rows: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    residual: float


def flat_field(image: Image, rows: int = ROWS, columns: int = COLUMNS) -> FlatField:
    """The light's fall-off from a picture of an even white target, uint8 (height, width, 3) BGR; dust and specks are passed over.

    Raises:
        LightError: saturated, too dark, too small, or not an even white target.
    """
    cells = _cells(image, rows, columns)
    _refuse_unfit(image, cells)
    middles = [(np.arange(n) + 0.5) / n * 2 - 1 for n in (rows, columns)]
    table, grid = _powers(*middles), _powers(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns))
    relative = np.empty_like(cells)
    dusty = np.zeros(rows * columns, np.bool_)
    for channel in range(3):
        levels = cells[..., channel].ravel()
        weight = 1 / levels**2  # what dust takes is a share of the light
        for _ in range(ROUNDS):
            root = np.sqrt(weight)[:, None]
            factors = np.linalg.lstsq(table * root, levels * root[:, 0], rcond=None)[0]
            off = (levels - table @ factors) / levels
            weight = 1 / (1 + (off / (DUST_SHARE / 2)) ** 2) ** 2 / levels**2
        dusty |= np.abs(off) > DUST_SHARE
        light = grid @ factors
        relative[..., channel] = np.maximum(light / light.max(), LEAST_LIGHT).reshape(rows, columns)
    if dusty.mean() > MAX_DUST_SHARE:
        raise LightError(
            f"{dusty.mean():.0%} of the picture is uneven beyond a fall-off of light: this is no plain white target, or it is dirty: "
            "lay plain white paper or a white tile under the microscope"
        )
    return FlatField(relative)


def even_out(image: Image, field: FlatField) -> NDArray[np.float32]:
    """The picture's levels as under even light, float32 (height, width, 3): divided by the field."""
    return np.asarray(image / field.over(image.shape[1], image.shape[0]), np.float32)


def grey_balance(image: Image) -> GreyBalance:
    """The gains that make a picture of a white target grey, from the middle half of it; uint8 (height, width, 3) BGR.

    Raises:
        LightError: saturated, too dark, too small, not an even white target, or of a colour that no balance explains.
    """
    _refuse_unfit(image, _cells(image, ROWS, COLUMNS))
    blue, green, red = _middle(image)
    gains = green / blue, 1.0, green / red
    if not all(GAINS[0] <= gain <= GAINS[1] for gain in gains):
        raise LightError(
            f"the target is coloured (blue {blue:.0f}, green {green:.0f}, red {red:.0f} of 255): lay a neutral white one under the "
            "microscope, and lock the camera's white balance first"
        )
    return GreyBalance(gains)


def balance(levels: NDArray[np.floating] | Image, grey: GreyBalance) -> NDArray[np.float32]:
    """Levels (…, 3) times the gains, float32."""
    return np.asarray(levels * np.asarray(grey.gains, np.float32), np.float32)


def colour_matrix(measured: NDArray[np.floating], reference: NDArray[np.floating]) -> ColourMatrix:
    """The matrix that takes a chart's patches as measured to what the chart's maker states, by least squares.

    Args:
        measured, reference: (n, 3), mean levels 0…255 of each patch, blue, green, red; measured after flat field and grey balance.

    Raises:
        LightError: too few patches, patches that do not span the colours, or another order than the chart's.
    """
    seen, true = (np.asarray(levels, np.float64) for levels in (measured, reference))
    if seen.ndim != 2 or seen.shape != true.shape or seen.shape[1] != 3:
        raise LightError(f"patches of shapes {seen.shape} and {true.shape}: give (n, 3) each, blue, green and red of every patch")
    if len(seen) < LEAST_PATCHES:
        raise LightError(f"{len(seen)} patches: a colour matrix needs {LEAST_PATCHES} or more")
    if not (np.isfinite(seen).all() and np.isfinite(true).all() and seen.min() >= 0 and seen.max() < SATURATED):
        raise LightError("a patch is saturated or no number: take the chart darker, without glare")
    solution, _, rank, singular = np.linalg.lstsq(seen, true, rcond=None)
    if rank < 3 or singular[-1] < 0.01 * singular[0]:
        raise LightError("the patches are all of about one colour: include red, green, blue and grey ones")
    residual = float(np.sqrt(np.mean((seen @ solution - true) ** 2)))
    if residual > MAX_CHART_RESIDUAL:
        raise LightError(
            f"the patches are {residual:.0f} grey levels off the chart's on average: check that they were read in the chart's order, "
            "and that the reference is this chart's"
        )
    blue, green, red = (tuple(map(float, column)) for column in solution.T)
    return ColourMatrix(((blue[0], blue[1], blue[2]), (green[0], green[1], green[2]), (red[0], red[1], red[2])), residual)


def correct_colour(levels: NDArray[np.floating] | Image, matrix: ColourMatrix) -> NDArray[np.float32]:
    """Levels (…, 3) as the chart has them, float32."""
    return np.asarray(levels @ np.asarray(matrix.rows, np.float32).T, np.float32)


def _powers(y: Floats, x: Floats) -> Floats:
    """The terms of the polynomial on a grid, float64 (len(y) · len(x), terms)."""
    gy, gx = np.meshgrid(y, x, indexing="ij")
    return np.stack([gx.ravel() ** i * gy.ravel() ** j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)], 1)


def _cells(image: Image, rows: int, columns: int) -> Floats:
    """The median level of each cell and channel, at least half a level, float64 (rows, columns, 3)."""
    if image.ndim != 3 or image.shape[2] != 3:
        raise LightError(f"a picture of shape {image.shape} has no three colours: give one in colour")
    height, width = image.shape[:2]
    tall, wide = height // rows, width // columns
    if min(tall, wide) < LEAST_CELL_PX:
        raise LightError(f"{width}×{height} px is too small: give a picture of {columns * LEAST_CELL_PX}×{rows * LEAST_CELL_PX} px or more")
    # cells of one size, each in the middle of its place; what is left over at their borders is not looked at
    top = (np.arange(rows) + 0.5) * height / rows - tall / 2
    left = (np.arange(columns) + 0.5) * width / columns - wide / 2
    down = (np.rint(top).astype(int)[:, None] + np.arange(tall)).ravel()
    across = (np.rint(left).astype(int)[:, None] + np.arange(wide)).ravel()
    blocks = image[np.ix_(down, across)].reshape(rows, tall, columns, wide, 3).transpose(0, 2, 4, 1, 3).reshape(rows, columns, 3, -1)
    return np.asarray(np.maximum(np.median(blocks, axis=-1), 0.5), np.float64)


def _middle(image: Image) -> tuple[float, float, float]:
    """Median levels of the middle half."""
    height, width = image.shape[:2]
    part = image[height // 4 : height - height // 4, width // 4 : width - width // 4].reshape(-1, 3)
    blue, green, red = np.maximum(np.median(part, axis=0), 0.5)
    return float(blue), float(green), float(red)


def _refuse_unfit(image: Image, cells: Floats) -> None:
    """Raise LightError for a picture that cannot be one of a white target."""
    saturated = float(np.mean(image.max(2) >= SATURATED))
    brightest = max(_middle(image))
    if saturated > MAX_SATURATED_SHARE or brightest > WHITE_TO:
        raise LightError(f"{saturated:.0%} of the picture is saturated: lower the exposure or the light until white is about 200 of 255")
    if brightest < WHITE_FROM:
        raise LightError(f"white is at {brightest:.0f} of 255, too dark: raise the exposure or the light until it is about 200")
    dark, bright = np.percentile(cells[..., GREEN], (DARK_PERCENT, 100 - DARK_PERCENT))
    if dark < MAX_FALL * bright:
        raise LightError(
            f"the darkest part has {dark / bright:.0%} of the brightest's light: this is no even white target, or it does not "
            "fill the picture: lay plain white paper under the microscope and light it evenly"
        )
