"""What may be kept as a picture: its size, kind and wholeness are checked before anything is written, its thumbnail made."""

from __future__ import annotations

import io
from typing import Literal

from PIL import Image

from runtime.errors import PictureError

Suffix = Literal[".jpg", ".png"]

MAX_PICTURE_BYTES = 64 * 1024 * 1024  # a 24 megapixel PNG of skin is about 40 MiB
THUMBNAIL_QUALITY = 80
_FORMATS: dict[str, str] = {".jpg": "JPEG", ".png": "PNG"}


def checked_thumbnail(picture: bytes, suffix: Suffix, size_px: tuple[int, int] | None, longer_side_px: int) -> bytes:
    """A small JPEG of an encoded picture, which proves on the way that all of it can be decoded.

    Args:
        picture: the encoded file.
        suffix: the kind that it must be.
        size_px: (width, height) that it must have, None for any.
        longer_side_px: of the thumbnail.

    Raises:
        PictureError: too large, of another kind or size, truncated, or not a picture.
    """
    if suffix not in _FORMATS:
        raise PictureError(f"pictures are kept as .jpg or .png, not {suffix!r}")
    if not 0 < len(picture) <= MAX_PICTURE_BYTES:
        raise PictureError(f"a picture of {len(picture)} bytes is not kept: at most {MAX_PICTURE_BYTES} bytes, and not empty")
    try:
        with Image.open(io.BytesIO(picture), formats=(_FORMATS[suffix],)) as image:
            if size_px is not None and image.size != size_px:  # read from the header: nothing has been decoded yet
                sizes = f"{image.width}x{image.height} px, its measurement {size_px[0]}x{size_px[1]} px"
                raise PictureError(f"the picture is {sizes}: they do not belong together: keep the picture that was measured")
            image.thumbnail((longer_side_px, longer_side_px))
            small = io.BytesIO()
            image.convert("RGB").save(small, "JPEG", quality=THUMBNAIL_QUALITY)
    except PictureError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(f"the picture cannot be decoded as {_FORMATS[suffix]} ({error}): take it again") from error
    return small.getvalue()
