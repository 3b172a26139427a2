"""The picture that goes to the pages: the camera's own JPEG as it came; only a camera that sends none has one made, once for all pages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import cv2

from device.frame import Frame, Image
from device.jpeg import jpeg_size

QUALITY = 85  # of a preview made here; measuring uses the pixels, not this


@dataclass(frozen=True)
class PreviewPicture:
    """JPEG bytes and their size in px."""

    jpeg: bytes
    width: int
    height: int


class PreviewMaker:
    """Gives each frame's preview picture, made once however many pages ask. On the event loop only."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._number = 0
        self._picture: PreviewPicture | None = None

    async def of(self, number: int, frame: Frame) -> PreviewPicture | None:
        """The preview of the frame that the slot numbered `number`; None where its bytes are no picture."""
        async with self._lock:
            if number != self._number:
                if frame.jpeg is not None:
                    self._picture = _relayed(frame.jpeg)
                else:  # 2 to 20 ms of computing: not on the loop
                    self._picture = await asyncio.to_thread(_encoded, frame.image)
                self._number = number
            return self._picture


def _relayed(jpeg: bytes) -> PreviewPicture | None:
    size = jpeg_size(jpeg)
    return None if size is None else PreviewPicture(jpeg, *size)


def _encoded(image: Image) -> PreviewPicture | None:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return PreviewPicture(data.tobytes(), image.shape[1], image.shape[0]) if done else None
