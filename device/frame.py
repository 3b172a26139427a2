"""One captured picture as it leaves the camera: its bytes, decoded only when somebody asks, with its sequence and its time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from device.errors import FrameDecodeError

Image = NDArray[np.uint8]

AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # a photo's turn flag is ignored: coordinates are those of the stored pixels


class Frame:
    """A captured frame. Immutable once published; safe to share between threads.

    Attributes:
        sequence: number given by the source, strictly increasing while it streams; gaps are lost frames.
        captured_ns: `time.monotonic_ns()` at the moment the source handed the frame out.
        source: the camera address, or the file of a replayed frame.
        jpeg: the camera's own JPEG bytes, or None where the source did not send JPEG.
        stated_um_per_px: scale that the source itself states (simulated microscope, replay folder with scales.csv), else None.
    """

    __slots__ = ("_convert", "_encoded", "_image", "_lock", "captured_ns", "jpeg", "sequence", "source", "stated_um_per_px")

    def __init__(
        self,
        *,
        sequence: int,
        captured_ns: int,
        source: str,
        image: Image | None = None,
        jpeg: bytes | None = None,
        encoded: bytes | None = None,
        convert: Callable[[], Image] | None = None,
        stated_um_per_px: float | None = None,
    ) -> None:
        """Make a frame from pixels, from JPEG bytes, from bytes of another format (`encoded`, which then gives the pixels), or from
        what makes its pixels when they are first asked for (`convert`).

        Raises:
            ValueError: none of image, jpeg, encoded and convert was given, or the image is not uint8 (height, width, 3).
        """
        if image is None and jpeg is None and encoded is None and convert is None:
            raise ValueError("a frame needs an image, JPEG bytes, other encoded bytes or what makes its image")
        if image is not None:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"a frame's image is uint8 (height, width, 3), not {image.dtype} {image.shape}")
            image.flags.writeable = False
        self.sequence = sequence
        self.captured_ns = captured_ns
        self.source = source
        self.jpeg = jpeg
        self.stated_um_per_px = stated_um_per_px
        self._encoded = encoded if encoded is not None else jpeg
        self._convert = convert
        self._image = image
        self._lock = threading.Lock()

    @property
    def image(self) -> Image:
        """The pixels, uint8 (height, width, 3) BGR, read-only; decoded on first use.

        Raises:
            FrameDecodeError: the bytes are not a picture.
        """
        with self._lock:
            if self._image is None and self._convert is not None:
                made, self._convert = self._convert(), None
                made.flags.writeable = False
                self._image = made
            if self._image is None:
                assert self._encoded is not None
                try:
                    image = cv2.imdecode(np.frombuffer(self._encoded, np.uint8), AS_STORED)
                except cv2.error as error:
                    raise FrameDecodeError(f"frame {self.sequence} of {self.source}: {error}") from error
                if image is None:
                    raise FrameDecodeError(
                        f"frame {self.sequence} of {self.source} is not a picture: {len(self._encoded)} bytes could not be decoded"
                    )
                pixels: Image = np.asarray(image, np.uint8)
                pixels.flags.writeable = False
                self._image = pixels
            return self._image

    def __repr__(self) -> str:
        return f"Frame(sequence={self.sequence}, source={self.source!r})"
