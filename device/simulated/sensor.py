"""The sensor and its firmware: mosaic, shot and read noise, sharpening, eight bits, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.fields import Picture

Image = NDArray[np.uint8]


def expose(picture: Picture, rng: np.random.Generator, *, noise: float, sharpen: float, bayer: bool = False) -> Image:
    """uint8 BGR of a 0…1 picture, with noise (standard deviation at mid grey, 0…1) and unsharp masking of strength `sharpen`.

    Noise grows with the square root of the light (shot noise) over a floor (read noise). With `bayer` it is added to the raw values
    behind a mosaic of colour filters and demosaiced with them, which gives coloured fringes at fine edges; without, the grain is an
    imitation of what demosaicing leaves: part of it fine and common to the channels, part coarser and coloured.
    """
    noisy = _mosaic(picture, rng, noise) if bayer else _grain(picture, rng, noise)
    if sharpen > 0.01:
        soft = cv2.GaussianBlur(noisy, (0, 0), 1.2)
        noisy += (noisy - soft) * np.float32(sharpen)
    return np.asarray(cv2.convertScaleAbs(np.clip(noisy, 0, 1), alpha=255), np.uint8)


def _grain(picture: Picture, rng: np.random.Generator, noise: float) -> Picture:
    height, width = picture.shape[:2]
    fine = rng.standard_normal((height, width), dtype=np.float32)
    coarse = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32)
    grain = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(0.9)
    grain += fine[..., None] * np.float32(0.8)
    light = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.float32)
    return np.asarray(picture + grain * _strength(light, noise)[..., None], np.float32)


def _mosaic(picture: Picture, rng: np.random.Generator, noise: float) -> Picture:
    height, width = picture.shape[:2]
    raw = picture[..., 1].copy()
    raw[::2, ::2] = picture[::2, ::2, 2]
    raw[1::2, 1::2] = picture[1::2, 1::2, 0]
    # demosaicing averages: single values are noisier than what the picture will show
    raw += rng.standard_normal((height, width), dtype=np.float32) * _strength(raw, 1.5 * noise)
    whole = np.rint(np.clip(raw, 0, 1) * np.float32(65535)).astype(np.uint16)
    return np.asarray(cv2.demosaicing(whole, cv2.COLOR_BayerBG2BGR) * np.float32(1 / 65535), np.float32)


def _strength(light: NDArray[np.float32], noise: float) -> NDArray[np.float32]:
    return np.asarray(np.float32(noise) * np.sqrt(np.float32(0.25) + np.float32(1.5) * np.clip(light, 0, 1)), np.float32)


def jpeg_bytes(image: Image, quality: int) -> bytes:
    """JPEG of uint8 BGR, as a UVC camera in MJPG mode sends it."""
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "OpenCV encodes every uint8 picture of a size that a camera has"
    return bytes(encoded)
