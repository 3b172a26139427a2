"""Hiding faces before a picture of a head is stored. It errs towards hiding: what lies below the brow of a faced view always goes.

Front, left and right views lose everything below a line at DEFAULT_LINES of the height, over the whole width, whether a face was found
or not; so does the lowest part of a top view, where brows and nose look in. Where OpenCV's Haar cascades (Viola 2001; inside the OpenCV
package, no download) find a face that begins higher in a faced view, the line rises to it; in top and back views a found face is hidden
by a box around it. What is hidden is first reduced to a few cells and then smoothed, so that no filter brings it back.

What it is worth: on 36 front and side photographs of 12 heads, most of them bowed, the cascades found a face in 5, so the line does the
work; no eye, nose or mouth was left in any, brows in a few. Cascades also find faces where none are, which hides too much and never too
little. A face that lies wholly above the line, or one in a top or back view that no cascade finds, stays visible. It is a precaution and
no anonymisation: hair, forehead, ears, scars and clothes remain.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FACED = frozenset({"front", "left", "right"})
DEFAULT_LINES = {"front": 0.36, "left": 0.32, "right": 0.32, "top": 0.8}
"""Share of the height below which a view is hidden at least."""
BROW = 0.25  # of a found box's height: cascades' boxes begin in the forehead
MARGIN = 0.2  # of a found box's size, around it in views without a face
CELLS = 6  # over the width that is hidden
SEARCHED_PX = 320  # faces are looked for at this longest side
SMALLEST_SHARE = 0.15  # of the shorter side: a smaller face is none
CASCADES = ("haarcascade_frontalface_default.xml", "haarcascade_frontalface_alt2.xml", "haarcascade_profileface.xml")

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Hidden:
    """What was hidden: boxes (x, y, width, height) in px, and whether a cascade found a face at all."""

    boxes: tuple[Box, ...]
    found: bool


def hide_face(image: Image, view: str) -> tuple[Image, Hidden]:
    """A copy of a view, uint8 (height, width, 3), with its face hidden, and what was hidden.

    Raises:
        ValueError: no such picture.
    """
    if image.ndim != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"a picture is uint8 (height, width, 3), not {image.dtype} {image.shape}")
    height, width = image.shape[:2]
    faces = find_faces(image)
    boxes: list[Box] = []
    if view in DEFAULT_LINES:
        higher = [round(y + BROW * h) for _, y, _, h in faces if view in FACED]
        line = max(0, min([round(DEFAULT_LINES[view] * height), *higher]))
        boxes.append((0, line, width, height - line))
    if view not in FACED:
        boxes += [_widened(face, width, height) for face in faces]
    hidden = image.copy()
    for x, y, w, h in boxes:
        hidden[y : y + h, x : x + w] = _smeared(hidden[y : y + h, x : x + w])
    return hidden, Hidden(tuple(boxes), bool(faces))


def find_faces(image: Image) -> list[Box]:
    """Boxes (x, y, width, height) that a cascade takes for a face, profiles from both sides; [] where OpenCV brings no cascades."""
    height, width = image.shape[:2]
    scale = min(1.0, SEARCHED_PX / max(height, width))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.equalizeHist(cv2.resize(grey, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA))
    least = max(20, round(SMALLEST_SHARE * min(small.shape)))
    found: list[Box] = []
    for cascade in _cascades():
        for mirrored in (False, True):
            boxes = cascade.detectMultiScale(small[:, ::-1] if mirrored else small, 1.15, 4, minSize=(least, least))
            for x, y, w, h in np.asarray(boxes, np.int64).reshape(-1, 4):
                left = small.shape[1] - x - w if mirrored else x
                found.append((int(left / scale), int(y / scale), int(np.ceil(w / scale)), int(np.ceil(h / scale))))
    return found


@functools.cache
def _cascades() -> tuple[Any, ...]:
    folder = getattr(getattr(cv2, "data", None), "haarcascades", None)  # a system's own OpenCV may come without
    files = [Path(folder) / name for name in CASCADES] if folder else []
    loaded = [cv2.CascadeClassifier(str(file)) for file in files if file.is_file()]
    return tuple(cascade for cascade in loaded if not cascade.empty())


def _widened(box: Box, width: int, height: int) -> Box:
    x, y, w, h = box
    left, top = max(0, round(x - MARGIN * w)), max(0, round(y - MARGIN * h))
    right, bottom = min(width, round(x + w + MARGIN * w)), min(height, round(y + h + MARGIN * h))
    return left, top, right - left, bottom - top


def _smeared(part: Image) -> Image:
    """The part as `CELLS` cells across, smoothly joined: nothing finer is left in it."""
    height, width = part.shape[:2]
    cells = (min(width, CELLS), max(1, min(height, round(CELLS * height / width))))
    few = cv2.resize(part, cells, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
