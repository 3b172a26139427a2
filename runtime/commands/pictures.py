"""Pictures from outside: which files a person meant, and their pixels, checked before they are decoded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.picturefile import NotAPictureError, inspect_picture, picture_size
from runtime.analysis.measurement import MIN_SIDE_PX
from runtime.errors import PictureError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
MASK_ENDING = "_mask"
MAX_MEGAPIXELS = 24.0  # 6000×4000; an analysis of this size takes some seconds and about 2 GB
MAX_FILE_BYTES = 256 * 1024 * 1024


def find_pictures(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The pictures that `paths` name, in the order given, a folder's sorted by name; and a complaint for each path that names none.

    In a folder other files are passed over, and so are `NAME_mask.png` files where NAME's picture lies beside them.
    """
    pictures: list[Path] = []
    complaints: list[str] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
            stems = {p.stem for p in inside}
            kept = [p for p in inside if not (p.stem.endswith(MASK_ENDING) and p.stem[: -len(MASK_ENDING)] in stems)]
            if not kept:
                complaints.append(f"{path}: no picture in this folder: give a folder with {', '.join(sorted(SUFFIXES))} files")
            pictures += kept
        else:  # absent files too: they fail by name when read, in their place in the order
            pictures.append(path)
    return pictures, complaints


def read_picture(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> NDArray[np.uint8]:
    """The pixels of a picture file as uint8 (height, width, 3) BGR.

    Grey becomes three equal channels, 16 bits become 8 (by the highest byte), transparency is laid on white.

    Raises:
        PictureError: no such file, not an image, truncated, too small or too large; the message names the file and the remedy.
    """
    data = _bytes_of(path)
    width, height = _size_of(path, data)
    if width * height > max_megapixels * 1e6:
        megapixels = width * height / 1e6
        raise PictureError(f"{path}: {megapixels:.1f} megapixels, more than {max_megapixels:g}: scale the picture down or crop it")
    if min(width, height) < MIN_SIDE_PX:
        raise PictureError(f"{path}: {width}×{height} px is too small to measure: give a picture of at least {MIN_SIDE_PX} px a side")
    image = _decode(path, data)
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise PictureError(f"{path}: pixels of type {image.dtype} are not supported: convert it to 8-bit PNG or JPEG")
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    elif image.shape[2] == 4:
        alpha = image[:, :, 3:].astype(np.uint16)
        image = ((image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(image)


def read_mask(path: Path, width: int, height: int) -> NDArray[np.bool_]:
    """A hair mask file as bool (height, width); bright is hair.

    Raises:
        PictureError: no such file, not an image, or of another size than its picture.
    """
    data = _bytes_of(path)
    size = _size_of(path, data)
    if size != (width, height):
        raise PictureError(f"{path}: the mask is {size[0]}×{size[1]} px, its picture {width}×{height}: give a mask of the same size")
    mask = _decode(path, data)
    grey = mask if mask.ndim == 2 else mask[:, :, :3].max(axis=2)
    half = 1 << (8 * grey.dtype.itemsize - 1)
    return np.asarray(grey >= half)


def _bytes_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PictureError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB: this is no microscope frame")
        data = path.read_bytes()
    except FileNotFoundError:
        raise PictureError(f"{path}: no such file: check the name") from None
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror}): check that it is a file that you may read") from error
    if not data:
        raise PictureError(f"{path}: empty file: copy it again from the camera")
    return data


def _size_of(path: Path, data: bytes) -> tuple[int, int]:
    """Width and height from the header alone, so that nothing huge is ever decoded."""
    try:
        return picture_size(data)
    except NotAPictureError as error:
        raise PictureError(f"{path}: not an image ({error}): give a JPEG, PNG, BMP, TIFF or WebP file") from None


def _decode(path: Path, data: bytes) -> NDArray[Any]:
    # OpenCV fills what a truncated file lacks with grey and only prints a warning; Pillow says so
    try:
        inspect_picture(data)
    except NotAPictureError as error:
        raise PictureError(f"{path}: truncated or corrupt ({error}): copy it again from the camera") from None
    try:
        # UNCHANGED ignores a photo's turn flag, so coordinates are those of the stored pixels
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise PictureError(f"{path}: its kind of image cannot be decoded: convert it to 8-bit PNG or JPEG")
    return image
