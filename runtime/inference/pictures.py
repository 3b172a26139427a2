"""From a picture to the input of a network of one size: the one function that the exporter's parity check and the device share."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.bundles.parts import PictureInput


def picture_tensor(image: NDArray[np.uint8], spec: PictureInput) -> NDArray[Any]:
    """`image`, uint8 (height, width, 3) BGR, as the network takes it: (1, h, w, 3) or (1, 3, h, w), uint8 or float32.

    Raises:
        ValueError: `image` is no such picture.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"a picture is uint8 (height, width, 3), not {image.dtype} {image.shape}")
    if spec.resize == "crop":
        image = _middle(image, spec.width / spec.height)
    height, width = image.shape[:2]
    if (width, height) != (spec.width, spec.height):
        smaller = spec.width * spec.height < width * height
        image = np.asarray(
            cv2.resize(image, (spec.width, spec.height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8
        )
    if spec.colour == "RGB":
        image = image[:, :, ::-1]
    tensor: NDArray[Any] = image
    if spec.dtype == "float32":
        tensor = (image.astype(np.float32) * np.float32(spec.scale) - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    if spec.layout == "NCHW":
        tensor = tensor.transpose(2, 0, 1)
    return np.ascontiguousarray(tensor)[None]


def _middle(image: NDArray[np.uint8], ratio: float) -> NDArray[np.uint8]:
    """The largest middle part of `image` whose width is `ratio` times its height."""
    height, width = image.shape[:2]
    wanted_width, wanted_height = min(width, max(1, round(height * ratio))), min(height, max(1, round(width / ratio)))
    left, top = (width - wanted_width) // 2, (height - wanted_height) // 2
    return image[top : top + wanted_height, left : left + wanted_width]
