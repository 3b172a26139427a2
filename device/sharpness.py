"""How sharp a picture is, for telling which of several pictures of one place is the sharpest, and how far it moved since the last.

Sharpness is asked only where there is something to be sharp: tiles in which hair, or texture of the skin, stands out at a scale that a
little blur leaves alone. It ranks pictures of one place under one light; it is no width of a blur, and more hair gives more of it.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from device.errors import FrameDecodeError
from device.frame import Frame

Grey = NDArray[np.uint8]

TILE = 32  # px: several hairs' widths, so that a tile either holds structure or does not
FINE_SIGMA, EDGE_SIGMA, HAIR_SIGMA = 0.8, 1.6, 4.0  # px: scales of noise, of an edge and of a hair at 640 px width
SHARE = 0.2  # of the tiles: those with most structure
NOISE_PERCENTILE = 5  # of the tiles: those with least detail show what noise leaves
LEAST_STRUCTURE = 1.2  # grey levels of contrast at the scale of hair, on average; noise of 3 grey levels leaves 0.6
MOTION_WIDTH = 160  # px to which a picture is reduced before its motion is measured


def grey_of(frame: Frame) -> Grey:
    """uint8 (height, width). A JPEG is decoded in grey for this alone: the frame does not keep it.

    Raises:
        FrameDecodeError: the bytes are not a picture.
    """
    if frame.jpeg is None:
        return np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.uint8)
    try:
        grey = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise FrameDecodeError(f"frame {frame.sequence} of {frame.source}: {error}") from error
    if grey is None:
        raise FrameDecodeError(f"frame {frame.sequence} of {frame.source} is not a picture: {len(frame.jpeg)} bytes could not be decoded")
    return np.asarray(grey, np.uint8)


def sharpness_of(grey: Grey) -> float:
    """Contrast at the scale of edges, in percent of the mean grey, over the tiles with most contrast at the scale of hair; less noise.

    `grey` is uint8 (height, width). 0 where no tile has enough to be judged by. To divide by the contrast of hair instead of the mean grey
    would not do: a smear takes hairs across it away and leaves those along it sharp, so that the quotient grows. 1 ms at 640×480.
    """
    height, width = grey.shape
    half = (max(1, width // 2), max(1, height // 2))
    edges = cv2.GaussianBlur(grey, (7, 7), EDGE_SIGMA)  # cut off at two sigma, which saves a third of the time
    detail = cv2.absdiff(cv2.GaussianBlur(grey, (5, 5), FINE_SIGMA), edges)
    reduced = cv2.resize(grey, half, interpolation=cv2.INTER_AREA)
    hair = cv2.GaussianBlur(reduced, (0, 0), HAIR_SIGMA / 2)  # at half the size, which costs a quarter
    structure = cv2.absdiff(cv2.resize(edges, half, interpolation=cv2.INTER_AREA), hair)
    tiles = (max(1, width // TILE), max(1, height // TILE))
    details, structures = (cv2.resize(each.astype(np.float32), tiles, interpolation=cv2.INTER_AREA).ravel() for each in (detail, structure))
    count = max(1, int(len(details) * SHARE))
    most = np.argpartition(structures, -count)[-count:]
    if structures[most].mean() < LEAST_STRUCTURE:
        return 0.0
    power = float(np.square(details[most]).mean() - np.percentile(details, NOISE_PERCENTILE) ** 2)
    return 100 * math.sqrt(max(0.0, power)) / max(1.0, float(cv2.mean(reduced)[0]))


def reduced_for_motion(grey: Grey) -> NDArray[np.float32]:
    """float32 (h, MOTION_WIDTH): what `motion_between` compares."""
    height, width = grey.shape
    size = (MOTION_WIDTH, max(2, round(height * MOTION_WIDTH / width)))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def motion_between(one: NDArray[np.float32], other: NDArray[np.float32], width: int) -> float:
    """How far the picture moved, in px of a picture `width` px wide, by phase correlation; to about 2 px. Infinite for unequal sizes."""
    if one.shape != other.shape:
        return float("inf")
    (x, y), _ = cv2.phaseCorrelate(one, other, _window(one.shape[1], one.shape[0]))
    return math.hypot(x, y) * width / MOTION_WIDTH


@functools.lru_cache(maxsize=4)
def _window(width: int, height: int) -> NDArray[np.float32]:
    """Hann's: without it the borders, which never move, outweigh the picture."""
    return np.asarray(cv2.createHanningWindow((width, height), cv2.CV_32F), np.float32)
