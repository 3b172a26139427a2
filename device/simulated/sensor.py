"""The sensor and its firmware: shot and read noise, sharpening, eight bits, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.fields import Picture

Image = NDArray[np.uint8]


def expose(picture: Picture, rng: np.random.Generator, *, noise: float, sharpen: float) -> Image:
    """uint8 BGR of a 0…1 picture, with noise (standard deviation at mid grey, 0…1) and unsharp masking of strength `sharpen`.

    The noise is what a Bayer sensor leaves after demosaicing: part of it fine and common to the channels, part coarser and coloured;
    it grows with the square root of the light (shot noise) over a floor (read noise).
    """
    height, width = picture.shape[:2]
    fine = rng.standard_normal((height, width), dtype=np.float32)
    coarse = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32)
    grain = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(0.9)
    grain += fine[..., None] * np.float32(0.8)
    light = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    strength = np.float32(noise) * np.sqrt(np.float32(0.25) + np.float32(1.5) * np.clip(light, 0, 1))
    noisy = picture + grain * strength[..., None]
    if sharpen > 0.01:
        soft = cv2.GaussianBlur(noisy, (0, 0), 1.2)
        noisy += (noisy - soft) * np.float32(sharpen)
    return np.asarray(cv2.convertScaleAbs(np.clip(noisy, 0, 1), alpha=255), np.uint8)


def jpeg_bytes(image: Image, quality: int) -> bytes:
    """JPEG of uint8 BGR, as a UVC camera in MJPG mode sends it."""
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "OpenCV encodes every uint8 picture of a size that a camera has"
    return bytes(encoded)
