"""Domain randomisation: a scene, or a camera's picture, as another microscope, lamp and firmware might show it.

Nothing here changes a grade: cuts keep what share of the skin flakes cover, light and white balance move as little as those of a camera
that was set, for redness is a colour. Each picture is a function of its source and one random generator.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.lens import defocus, lateral_colour, motion, vignette
from device.simulated.sensor import expose, jpeg_bytes

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
SMALLEST_CUT = 0.8  # of a side


def seen_anew(source: Image, rng: np.random.Generator, height: int, width: int, *, rendered: bool) -> tuple[Image, Image]:
    """uint8 (height, width, 3) BGR of `source`, uint8 (h, w, 3 or more), and its further planes cut likewise, (height, width, rest).

    Args:
        rendered: `source` is a scene before lens and sensor, and gets theirs in full; a camera's picture has its own already, and gets
            a fraction.
    """
    whole = _cut(source, rng, height, width)
    cut, rest = whole[..., :3], np.ascontiguousarray(whole[..., 3:])
    picture = lit(cut.astype(np.float32) * np.float32(1 / 255), rng, 1.0 if rendered else 0.6)
    if rendered:
        picture = defocus(picture, float(rng.uniform(0.2, 0.8) if rng.random() < 0.7 else rng.uniform(0.6, 1.3)))
        if rng.random() < 0.2:
            picture = motion(picture, float(rng.uniform(0.5, 2.5)), float(rng.uniform(0, math.pi)))
        if rng.random() < 0.3:
            picture = lateral_colour(picture, float(rng.uniform(0.1, 0.7)))
        noise, sharpen = float(rng.uniform(0.0, 0.03) * rng.random() ** 0.5), float(rng.uniform(0, 0.6))
        image = expose(np.asarray(picture, np.float32), rng, noise=noise, sharpen=sharpen)
    else:
        image = np.asarray(cv2.convertScaleAbs(picture, alpha=255), np.uint8)
    if rng.random() < 0.6:
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
    planes = [cv2.resize(part[..., index], (width, height), interpolation=how) for index in range(part.shape[2])]
    return np.asarray(np.stack(planes, 2), np.uint8)  # OpenCV takes four planes at most together


def lit(picture: Float, rng: np.random.Generator, strength: float) -> Float:
    """`picture`, float32 (height, width, 3) BGR 0…1, under other lamps: gain, fall-off, white balance, saturation, gamma."""
    height, width = picture.shape[:2]
    far = 0.06 if rng.random() < 0.2 else 0.015  # beside what the scene's own camera has; some are set badly
    balance = np.exp(rng.normal(0, (far, far * 0.3, far)) * strength)
    gain = math.exp(rng.uniform(-0.35, 0.2) * strength)
    saturation = float(rng.uniform(1 - 0.1 * strength, 1 + 0.1 * strength))
    grey = np.tile(np.array([0.114, 0.587, 0.299]), (3, 1))
    matrix = (grey + (np.eye(3) - grey) * saturation) * (balance * gain)[:, None]
    shown = np.asarray(cv2.transform(picture, matrix.astype(np.float32)), np.float32)
    if rng.random() < 0.7:
        centre = tuple(rng.normal(0, 0.12, 2))
        shown *= vignette((height, width), float(rng.uniform(0, 0.4) * strength), (float(centre[0]), float(centre[1])))[..., None]
    if rng.random() < 0.4:
        coarse = rng.normal(0, rng.uniform(0.01, 0.1) * strength, (3, 3)).astype(np.float32)
        shown *= cv2.resize(1 + coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    np.clip(shown, 0, 1, out=shown)
    gamma = math.exp(rng.uniform(-0.12, 0.12) * strength)
    return np.asarray(np.power(shown, np.float32(gamma)), np.float32)
