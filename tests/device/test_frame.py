from __future__ import annotations

import io
import threading

import cv2
import numpy as np
import pytest
from PIL import Image

from device.errors import FrameDecodeError
from device.frame import Frame
from tests.device.pictures import number_in, picture


def _jpeg(number: int) -> bytes:
    return bytes(cv2.imencode(".jpg", picture(number))[1])


def test_a_frame_is_decoded_once_and_read_only() -> None:
    frame = Frame(sequence=1, captured_ns=2, source="s", jpeg=_jpeg(7))
    assert frame.image is frame.image
    assert number_in(frame.image) == 7
    assert not frame.image.flags.writeable


def test_other_bytes_give_the_pixels_and_jpeg_the_preview() -> None:
    png = bytes(cv2.imencode(".png", picture(3))[1])
    frame = Frame(sequence=1, captured_ns=2, source="s", jpeg=_jpeg(9), encoded=png)
    assert number_in(frame.image) == 3
    assert frame.jpeg is not None and number_in(cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)) == 9


def test_a_turn_flag_is_ignored() -> None:
    turned = io.BytesIO()
    flags = Image.Exif()
    flags[0x0112] = 6  # "turn by 90 degrees"
    Image.fromarray(picture(7)[:, :, ::-1]).save(turned, "JPEG", quality=95, exif=flags)
    frame = Frame(sequence=1, captured_ns=2, source="s", jpeg=turned.getvalue())
    assert frame.image.shape == picture(7).shape
    assert number_in(frame.image) == 7


@pytest.mark.parametrize("content", [b"", b"no picture", _jpeg(1)[:40]])
def test_bytes_that_are_no_picture_are_told_when_decoded(content: bytes) -> None:
    frame = Frame(sequence=41, captured_ns=2, source="the camera", jpeg=content)
    with pytest.raises(FrameDecodeError, match="frame 41 of the camera"):
        _ = frame.image


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_pixels_of_another_kind_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        Frame(sequence=1, captured_ns=2, source="s", image=image)


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="needs"):
        Frame(sequence=1, captured_ns=2, source="s")


def test_many_threads_get_the_same_pixels() -> None:
    frame = Frame(sequence=1, captured_ns=2, source="s", jpeg=_jpeg(5))
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(id(frame.image))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8 and len(set(seen)) == 1
