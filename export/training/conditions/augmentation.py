"""Domain randomisation: a camera's picture, real or rendered, as another light and firmware might show it.

Nothing here changes a grade: cuts keep what share of the skin flakes cover, light and white balance move as little as those of a camera
that was set, for redness is a colour. Each picture is a function of its source and one random generator. All is done in eight bits, as a
camera does it, and as two cores have to feed a network that sees every pixel.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.lens import vignette
from device.simulated.sensor import jpeg_bytes

Image = NDArray[np.uint8]
SMALLEST_CUT = 0.9  # of a side: of a smaller part the share that flakes cover may be another grade's
COARSE = 16  # fields of light are drawn so many times smaller
FIELD_ONE = 160  # what stands for 1 in them
BADLY_SET, BADLY, WELL = 0.1, 0.036, 0.009  # share of the cameras, and the spread of a channel's gain in those and in the others


def seen_anew(source: Image, rng: np.random.Generator, height: int, width: int) -> tuple[Image, Image]:
    """uint8 (height, width, 3) BGR of `source`, uint8 (h, w, 3 or more), and its further planes cut likewise, (height, width, rest)."""
    whole = _cut(source, rng, height, width)
    image, rest = np.ascontiguousarray(whole[..., :3]), np.ascontiguousarray(whole[..., 3:])
    image = lit(image, rng)
    if rng.random() < 0.3:
        image = np.asarray(cv2.imdecode(np.frombuffer(jpeg_bytes(image, int(rng.uniform(60, 97))), np.uint8), cv2.IMREAD_COLOR), np.uint8)
    return image, rest


def _cut(source: Image, rng: np.random.Generator, height: int, width: int) -> Image:
    """A part of `source` of its own shape, mirrored or not, stretched to the size wanted."""
    whole_height, whole_width = source.shape[:2]
    share = float(rng.uniform(SMALLEST_CUT, 1))
    rows, columns = max(8, round(share * whole_height)), max(8, round(share * whole_width))
    top, left = int(rng.integers(whole_height - rows + 1)), int(rng.integers(whole_width - columns + 1))
    part = np.ascontiguousarray(source[top : top + rows, left : left + columns][:: rng.choice((-1, 1)), :: rng.choice((-1, 1))])
    how = cv2.INTER_AREA if rows * columns > height * width else cv2.INTER_LINEAR
    if part.shape[2] <= 4:
        return np.asarray(cv2.resize(part, (width, height), interpolation=how), np.uint8).reshape(height, width, -1)
    planes = (part[..., :3], part[..., 3:])  # OpenCV takes four planes at most together
    return np.dstack([cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=how) for plane in planes])


def lit(image: Image, rng: np.random.Generator) -> Image:
    """`image`, uint8 (height, width, 3) BGR, in other light: gain, fall-off, white balance, saturation, gamma."""
    height, width = image.shape[:2]
    far = BADLY if rng.random() < BADLY_SET else WELL
    balance = np.exp(rng.normal(0, (far, far * 0.3, far)))
    gain = math.exp(rng.uniform(-0.2, 0.12))
    saturation = float(rng.uniform(0.94, 1.06))
    grey = np.tile(np.array([0.114, 0.587, 0.299]), (3, 1))
    matrix = (grey + (np.eye(3) - grey) * saturation) * (balance * gain)[:, None]
    shown = np.asarray(cv2.transform(image, matrix), np.uint8)
    if rng.random() < 0.6:
        centre = rng.normal(0, 0.12, 2)
        small = (max(3, height // COARSE), max(3, width // COARSE))
        field = vignette(small, float(rng.uniform(0, 0.25)), (float(centre[0]), float(centre[1])))
        coarse = 1 + rng.normal(0, rng.uniform(0.01, 0.05), (3, 3)).astype(np.float32)
        field = field * cv2.resize(coarse, small[::-1], interpolation=cv2.INTER_CUBIC)
        eight = cv2.resize(np.clip(field * FIELD_ONE, 0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
        shown = np.asarray(cv2.multiply(shown, cv2.merge([eight] * 3), scale=1 / FIELD_ONE), np.uint8)
    gamma = math.exp(rng.uniform(-0.08, 0.08))
    curve = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return np.asarray(cv2.LUT(shown, curve), np.uint8)
