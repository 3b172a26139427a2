"""The cheap look at the bytes of a JPEG: what USB does to pictures is found, and no whole picture is called damaged."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from device.jpeg import jpeg_flaw
from device.simulated.v4l2_device import paint

WHOLE = paint(3, "MJPG", 320, 240)
SCAN = WHOLE.index(b"\xff\xda") + 14


def _pillow(**options: object) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "whole",
    [
        WHOLE,
        WHOLE + bytes(3000),  # cameras pad
        WHOLE + b"\xff\xd9rubbish",
        _pillow(progressive=True),
        _pillow(subsampling=0, optimize=True),
        _pillow(comment=b"x" * 3000),
        _pillow(restart_marker_blocks=2),
        bytes(cv2.imencode(".jpg", np.full((480, 640, 3), 255, np.uint8))[1]),
        bytes(cv2.imencode(".jpg", np.zeros((480, 640), np.uint8))[1]),
    ],
)
def test_whole_pictures_pass(whole: bytes) -> None:
    assert jpeg_flaw(whole) is None


def test_tables_may_be_missing() -> None:
    # Motion JPEG leaves the standard Huffman tables out
    start = WHOLE.index(b"\xff\xc4")
    length = int.from_bytes(WHOLE[start + 2 : start + 4], "big")
    assert jpeg_flaw(WHOLE[:start] + WHOLE[start + 2 + length :]) is None


@pytest.mark.parametrize(
    ("damaged", "flaw"),
    [
        (b"", "short"),
        (WHOLE[:100], "short"),
        (bytes(5000), "zeroed"),
        (b"x" * 5000, "no_start"),
        (WHOLE[1:], "no_start"),
        (WHOLE[:300], "header"),
        (WHOLE[:600] + bytes(len(WHOLE) - 600), "zeroed"),
        (WHOLE[:200] + bytes(len(WHOLE) - 200), "zeroed"),
        (WHOLE[: len(WHOLE) // 2], "no_end"),
        (WHOLE[: len(WHOLE) // 2] + bytes(len(WHOLE) // 2), "zeroed"),
        (WHOLE[: len(WHOLE) // 2] + bytes(300) + WHOLE[-2000:], "zeroed"),
        (WHOLE[: len(WHOLE) // 2] + WHOLE, "torn"),
        (WHOLE[:2] + b"\xff\xd9" + WHOLE[2:], "header"),
        (WHOLE[:2] + b"\xff\xe0\x00\x01" + WHOLE[2:], "header"),
    ],
)
def test_what_usb_does_to_pictures_is_found_and_named(damaged: bytes, flaw: str) -> None:
    assert jpeg_flaw(damaged) == flaw


@given(st.integers(0, len(WHOLE) - 1))
def test_a_picture_cut_anywhere_is_damaged(length: int) -> None:
    assert jpeg_flaw(WHOLE[:length]) is not None


@given(st.binary(max_size=3000), st.integers(0, len(WHOLE)))
def test_any_bytes_are_judged(rubbish: bytes, length: int) -> None:
    assert jpeg_flaw(WHOLE[:2] + rubbish) is not None or b"\xff\xd9" in rubbish
    jpeg_flaw(WHOLE[:length] + rubbish + WHOLE[length:])


@given(st.lists(st.sampled_from([b"\xff\xfe\x00\x02", b"\xff\xda\x00\x02", b"\xff", b"\xff\xc4\x00\x00"]), max_size=300))
def test_segments_without_end_end(parts: list[bytes]) -> None:
    assert jpeg_flaw(b"\xff\xd8" + b"".join(parts) * 50) is not None


@given(st.integers(SCAN, len(WHOLE) - 300), st.integers(257, 2000))
def test_a_lost_packet_that_was_filled_with_zeros_is_found(at: int, length: int) -> None:
    damaged = WHOLE[:at] + bytes(length) + WHOLE[at + length :]
    assert jpeg_flaw(damaged) == "zeroed"
