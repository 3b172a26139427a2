"""Drawn scalps for the tests of sharpness: hairs on textured skin, seen through blur, motion and light."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]


def scalp(seed: int = 1, hairs: int = 25, size: tuple[int, int] = (640, 480)) -> Grey:
    """uint8 (height, width): dark lines of 3 to 6 px on skin with a little texture."""
    rng = np.random.default_rng(seed)
    width, height = size
    skin = cv2.GaussianBlur(rng.normal(0, 14, (height, width)).astype(np.float32), (0, 0), 2.5) * 3 + 165
    image = np.clip(skin, 0, 255).astype(np.uint8)
    for _ in range(hairs):
        ends = rng.uniform((0, 0), (width, height), (2, 2))
        one, other = (tuple(int(v) for v in end) for end in ends)
        cv2.line(image, one, other, (int(rng.integers(30, 80)),), int(rng.integers(3, 7)), cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), 0.7).astype(np.uint8)


def blurred(image: Grey, sigma_px: float) -> Grey:
    return image if sigma_px == 0 else np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.uint8)


def smeared(image: Grey, length_px: int) -> Grey:
    kernel = np.zeros((length_px, length_px), np.float32)
    np.fill_diagonal(kernel, 1 / length_px)
    return np.asarray(cv2.filter2D(image, -1, kernel), np.uint8)


def moved(image: Grey, x_px: float, y_px: float) -> Grey:
    shift = np.array([[1, 0, x_px], [0, 1, y_px]], np.float32)
    return np.asarray(cv2.warpAffine(image, shift, image.shape[::-1], borderMode=cv2.BORDER_REFLECT), np.uint8)


def noisy(image: Grey, spread: float, seed: int = 0) -> Grey:
    noise = np.random.default_rng(seed).normal(0, spread, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def jpeg(image: Grey, quality: int = 85) -> bytes:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return bytes(data)
