"""Looking at the bytes of a picture file before trusting them: its size from the header first, then whether all of it is there."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL import Image as Pillow

from device.frame import AS_STORED

MAX_PICTURE_PIXELS = 40_000_000  # four times any microscope's sensor; decoded it is 120 MB
MAX_PICTURE_BYTES = 256 * 2**20
PREVIEW_QUALITY = 85
# decoders that hostile bytes may reach; naming their modules also registers them
FORMATS = (
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    TiffImagePlugin.TiffImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
)


class NotAPictureError(Exception):
    """Bytes are no picture, are truncated, or are larger than can be replayed. The message does not name the file: its reader does."""


def picture_size(content: bytes) -> tuple[int, int]:
    """(width, height) in px of an encoded picture, from its header alone: nothing is decoded.

    Raises:
        NotAPictureError: unknown format, a damaged header, or so many pixels that it can only be meant to exhaust memory.
    """
    with _opened(content) as picture:
        width, height = picture.size
        return width, height


def inspect_picture(content: bytes) -> tuple[int, int]:
    """(width, height) in px of an encoded picture that is whole.

    Raises:
        NotAPictureError: as `picture_size`; over MAX_PICTURE_PIXELS (found before anything is decoded), or truncated.
    """
    with _opened(content) as picture:
        width, height = picture.size
        if width * height > MAX_PICTURE_PIXELS:
            raise NotAPictureError(f"{width}×{height} px is over {MAX_PICTURE_PIXELS // 10**6} megapixels: make it smaller")
        picture.load()
    return width, height


@contextmanager
def _opened(content: bytes) -> Iterator[Pillow.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd EXIF is no reason to refuse; a bomb is found by its size
            with Pillow.open(io.BytesIO(content), formats=FORMATS) as picture:
                yield picture
    except NotAPictureError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on hostile bytes
        raise NotAPictureError(f"not a whole picture: {error}") from error


def encode_preview(content: bytes) -> bytes:
    """A JPEG of an encoded picture of any other format.

    Raises:
        NotAPictureError: OpenCV cannot decode it.
    """
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), AS_STORED)
    except cv2.error as error:
        raise NotAPictureError(f"cannot be decoded: {error}") from error
    if image is None:
        raise NotAPictureError("cannot be decoded: an unusual format; save it as PNG or JPEG")
    return encode_jpeg(image, PREVIEW_QUALITY)


def encode_jpeg(image: cv2.typing.MatLike, quality: int) -> bytes:
    """JPEG bytes of uint8 (height, width, 3) BGR. Raises NotAPictureError where OpenCV refuses (a side over 65535 px)."""
    try:
        done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise NotAPictureError(f"no JPEG can be made of it: {error}") from error
    if not done:
        raise NotAPictureError("no JPEG can be made of it")
    return bytes(encoded)
