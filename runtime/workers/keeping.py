"""How a frame becomes a capture: measured on the captured path, and stored with the very pixels that were measured."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from device.camera import ControlValues
from device.frame import AS_STORED, Frame
from runtime.analysis.measurement import Measurement
from runtime.errors import PictureError
from runtime.store.captures import CaptureStore
from runtime.store.pictures import Suffix
from runtime.store.records import CaptureFacts, CaptureRow

PNG_COMPRESSION = 3  # 9 takes ten times as long and saves a twentieth


class Keeper:
    """Measures and stores frames, one at a time."""

    def __init__(
        self,
        measure: Callable[[Frame], Measurement],
        store: CaptureStore,
        controls_of: Callable[[Frame], ControlValues | None] = lambda frame: None,
    ) -> None:
        """Store the arguments. `controls_of` gives the camera's controls under which a frame was taken, None where nobody knows."""
        self._measure = measure
        self._store = store
        self._controls_of = controls_of

    def __call__(self, frame: Frame, site: str | None) -> CaptureRow:
        """Keep `frame`, taken at `site`. Raises what `measure` and `CaptureStore.add` raise."""
        measurement = self._measure(frame)
        content, suffix = encoded_picture(frame)
        controls = self._controls_of(frame)
        facts = CaptureFacts(
            source=frame.source,
            frame_sequence=frame.sequence,
            captured_ns=frame.captured_ns,
            site=site,
            controls=None if controls is None else dict(controls),
        )
        return self._store.add(content, suffix, measurement, facts)


def encoded_picture(frame: Frame) -> tuple[bytes, Suffix]:
    """The camera's own JPEG where the frame's pixels are those of it, else the pixels as PNG, without loss.

    A source that has pixels of its own (a replayed PNG) sends a JPEG for the preview alone; what is kept must give the same
    numbers when it is measured again.

    Raises:
        FrameDecodeError: the bytes are no picture.
        PictureError: the pixels cannot be written as PNG.
    """
    if frame.jpeg is not None:
        decoded = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), AS_STORED)
        if decoded is not None and np.array_equal(decoded, frame.image):
            return frame.jpeg, ".jpg"
    done, png = cv2.imencode(".png", frame.image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])
    if not done:
        raise PictureError(f"frame {frame.sequence} of {frame.source} could not be written as PNG: capture again")
    return png.tobytes(), ".png"
