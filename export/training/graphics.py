"""What programs burn into pictures, captions, rulers, frames and cross-hairs: straight and thin as hair, and none."""

from __future__ import annotations

import math
import string

import cv2
import numpy as np
from numpy.typing import NDArray

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX_SMALL,
)
SIGNS = string.ascii_letters + string.digits + " .:/-%"

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]


def burnt_in(image: Image, rng: np.random.Generator) -> tuple[Image, NDArray[np.bool_]]:
    """`image`, uint8 (height, width, 3), with one to three drawings over it, and where they are, bool (height, width)."""
    drawn = image.copy()
    place = np.zeros(image.shape[:2], np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        colour = _colour(rng)
        draw = (_caption, _ruler, _outline)[int(rng.choice(3, p=(0.5, 0.25, 0.25)))]
        stroke = np.zeros(image.shape[:2], np.uint8)
        draw(stroke, rng)
        if rng.random() < 0.15:  # a plate under it
            plate = cv2.dilate(stroke, np.ones((9, 9), np.uint8))
            x, y, w, h = cv2.boundingRect(plate)
            drawn[y : y + h, x : x + w] = _colour(rng)
            place[y : y + h, x : x + w] = 255
        share = (stroke.astype(np.float32) * np.float32(1 / 255))[..., None]
        drawn = np.asarray(np.rint(drawn + (np.array(colour, np.float32) - drawn) * share), np.uint8)
        place = np.maximum(place, stroke)
    return drawn, place >= 96


def _colour(rng: np.random.Generator) -> Colour:
    if rng.random() < 0.6:
        level = 255 if rng.random() < 0.5 else 0
        return (level, level, level)
    b, g, r = (int(v) for v in rng.integers(0, 256, 3))
    return (b, g, r)


def _point(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(-shape[1] // 4, shape[1])), int(rng.integers(0, shape[0] + 1))


def _caption(stroke: Image, rng: np.random.Generator) -> None:
    text = "".join(rng.choice(list(SIGNS), int(rng.integers(2, 18))))
    font, size, thickness = FONTS[int(rng.integers(len(FONTS)))], float(rng.uniform(0.4, 2.0)), int(rng.integers(1, 4))
    cv2.putText(stroke, text, _point(stroke.shape, rng), font, size, 255, thickness, cv2.LINE_AA)


def _ruler(stroke: Image, rng: np.random.Generator) -> None:
    """A line with ticks, upright or level."""
    x, y = (int(v) for v in rng.integers(0, min(stroke.shape), 2))
    thickness, step, tick = int(rng.integers(1, 3)), int(rng.integers(5, 40)), int(rng.integers(4, 20))
    along = np.arange(0, int(rng.integers(60, 2 * max(stroke.shape))), step)
    ends = [((x, y), (x + int(along[-1]), y))] + [((x + int(a), y), (x + int(a), y + tick)) for a in along]
    upright = rng.random() < 0.5
    for (x0, y0), (x1, y1) in ends:
        start, end = ((y0, x0), (y1, x1)) if upright else ((x0, y0), (x1, y1))
        cv2.line(stroke, start, end, 255, thickness, cv2.LINE_AA)


def _outline(stroke: Image, rng: np.random.Generator) -> None:
    """A circle, a frame, a cross-hair, or a line at any angle."""
    x, y = _point(stroke.shape, rng)
    thickness, size = int(rng.integers(1, 4)), int(rng.integers(10, max(stroke.shape)))
    match int(rng.integers(4)):
        case 0:
            cv2.circle(stroke, (x, y), size, 255, thickness, cv2.LINE_AA)
        case 1:
            cv2.rectangle(stroke, (x, y), (x + size, y + int(rng.integers(10, max(stroke.shape)))), 255, thickness, cv2.LINE_AA)
        case 2:
            cv2.line(stroke, (x - size, y), (x + size, y), 255, thickness, cv2.LINE_AA)
            cv2.line(stroke, (x, y - size), (x, y + size), 255, thickness, cv2.LINE_AA)
        case _:
            angle = float(rng.uniform(0, math.pi))
            step = (round(size * math.cos(angle)), round(size * math.sin(angle)))
            cv2.line(stroke, (x - step[0], y - step[1]), (x + step[0], y + step[1]), 255, thickness, cv2.LINE_AA)
