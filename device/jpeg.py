"""What the bytes of a JPEG say before anything is decoded: whether the end is there, and how large the picture is."""

from __future__ import annotations

import io

from PIL import Image as Pillow


def is_whole_jpeg(data: bytes) -> bool:
    """Whether the bytes begin as a JPEG and hold an end marker: cheap, finds pictures cut short, not damage inside.

    Behind the end marker anything may follow, since cameras pad their pictures.
    """
    return data.startswith(b"\xff\xd8\xff") and data.rfind(b"\xff\xd9") > 3


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in px as the header states it, or None where there is no header that can be read."""
    try:
        with Pillow.open(io.BytesIO(data), formats=("JPEG", "MPO")) as header:  # reads the header alone
            width, height = header.size
            return int(width), int(height)
    except Exception:  # Pillow raises many kinds on hostile bytes, and here they mean one thing
        return None
