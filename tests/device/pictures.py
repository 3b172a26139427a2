"""Pictures that the tests of cameras make for themselves: drawn shapes, each telling its number by its grey level."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def picture(number: int, *, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """Flat grey of level 10 · number, uint8 (height, width, 3)."""
    return np.full((height, width, 3), 10 * number, np.uint8)


def number_in(image: NDArray[np.uint8]) -> int:
    """The number of a picture, after whatever JPEG did to it."""
    return round(float(image.mean()) / 10)


def write_folder(folder: Path, count: int = 3) -> Path:
    """a1.jpg … in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        assert cv2.imwrite(str(folder / f"a{number}.jpg"), picture(number))
    return folder


def write_video(path: Path, count: int = 6, fps: float = 50.0) -> Path:
    """An MJPEG video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for number in range(1, count + 1):
        writer.write(picture(number))
    writer.release()
    return path
