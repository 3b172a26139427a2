"""The quality of a frame: each fault is named, each good frame passes, and focus is told from contrast."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import runtime.analysis.quality
import runtime.kiosk
from runtime.analysis.quality import assess
from runtime.analysis.segmentation import Mask

Picture = NDArray[np.uint8]


def frame(hair: int = 30, skin: int = 150, blur: float = 1.0, width: int = 640, period: int = 80) -> tuple[Picture, Mask]:
    """Upright hairs a seventh of the period wide on even skin, blurred, and where they are."""
    columns = np.arange(width) % period < period // 7
    mask = np.broadcast_to(columns, (width * 3 // 4, width)).copy()
    grey = np.where(mask, hair, skin).astype(np.float32)
    grey = cv2.GaussianBlur(grey, (0, 0), blur)
    return np.repeat(np.round(grey).astype(np.uint8)[..., None], 3, axis=2), mask


def test_a_good_frame_passes() -> None:
    quality = assess(*frame())
    assert quality.ok
    assert quality.reasons == []
    assert quality.hair_coverage == pytest.approx(11 / 80, abs=0.01)


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0, 3.0])
def test_sharpness_is_the_reciprocal_of_the_blur(sigma: float) -> None:
    assert assess(*frame(blur=sigma)).sharpness == pytest.approx(1 / sigma, rel=0.25)


def test_sharpness_does_not_depend_on_contrast() -> None:
    assert assess(*frame(hair=100)).sharpness == pytest.approx(assess(*frame(hair=20)).sharpness, rel=0.1)


def test_sharpness_does_not_depend_on_resolution() -> None:
    small = assess(*frame(blur=2.0)).sharpness
    large = assess(*frame(blur=4.0, width=1280, period=160)).sharpness
    assert large == pytest.approx(small, rel=0.15)


@pytest.mark.parametrize(
    ("image", "mask", "reason"),
    [
        (*frame(blur=6.0, period=160), "blurred"),
        (*frame(hair=0, skin=4), "almost black"),
        (*frame(hair=2, skin=25), "too dark"),
        (*frame(hair=200, skin=255), "over-exposed"),
        (frame()[0], np.ones((480, 640), np.bool_), "too much hair to count"),
    ],
    ids=["blurred", "black", "dark", "bright", "hairy"],
)
def test_each_fault_is_named(image: Picture, mask: Mask, reason: str) -> None:
    quality = assess(image, mask)
    assert not quality.ok
    assert quality.reasons == [reason]


def covered(share: float) -> tuple[Picture, Mask]:
    """Upright hairs that cover this share of the frame."""
    columns = np.arange(640) % 40 < 40 * share
    mask = np.broadcast_to(columns, (480, 640)).copy()
    grey = cv2.GaussianBlur(np.where(mask, 40, 160).astype(np.float32), (0, 0), 1.0)
    return np.repeat(np.round(grey).astype(np.uint8)[..., None], 3, axis=2), mask


@pytest.mark.parametrize(("share", "reasons"), [(0.55, []), (0.65, ["too much hair to count"])])
def test_hair_over_more_than_six_tenths_of_the_frame_cannot_be_counted(share: float, reasons: list[str]) -> None:
    assert assess(*covered(share)).reasons == reasons


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_soft_mask_that_is_no_number_somewhere_is_a_reason(value: float) -> None:
    image, mask = frame()
    share = mask.astype(np.float32)
    assert assess(image, mask, share=share).ok
    share[200, 300] = value
    assert assess(image, mask, share=share).reasons == ["hair mask incomplete"]
    share[100, 200] = -value
    assert assess(image, mask, share=share).reasons == ["hair mask incomplete"]


def test_the_page_has_words_for_every_reason() -> None:
    source = Path(runtime.analysis.quality.__file__).read_text(encoding="utf-8")
    reasons = re.findall(r'reasons\.append\("(.+?)"\)', source)
    page = (Path(runtime.kiosk.__file__).parent / "texts.js").read_text(encoding="utf-8")
    assert len(reasons) >= 6
    assert [reason for reason in reasons if not re.search(rf"^ +'?{reason}'?: ", page, re.MULTILINE)] == []


def test_bald_skin_is_no_fault() -> None:
    image = np.full((480, 640, 3), (120, 140, 180), np.uint8)
    image += np.random.default_rng(0).integers(0, 6, image.shape).astype(np.uint8)
    quality = assess(image, np.zeros((480, 640), np.bool_))
    assert quality.ok
    assert quality.sharpness == 0
    assert quality.hair_coverage == 0


def test_what_lies_outside_the_field_does_not_count() -> None:
    image, mask = frame()
    field = np.zeros(mask.shape, np.bool_)
    field[100:400, 100:540] = True
    framed = np.where(field[..., None], image, np.uint8(0))
    inside, alone = assess(framed, mask, field), assess(image[100:400, 100:540], mask[100:400, 100:540])
    assert inside.ok
    assert inside.exposure == pytest.approx(alone.exposure)
    assert inside.hair_coverage == pytest.approx(alone.hair_coverage)


def test_an_empty_field_is_no_field() -> None:
    image, mask = frame()
    assert assess(image, mask, np.zeros(mask.shape, np.bool_)) == assess(image, mask)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
def test_no_picture_breaks_it(height: int, width: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    quality = assess(image, rng.random((height, width)) < share, rng.random((height, width)) < 0.5)
    assert quality.ok == (not quality.reasons)
    assert quality.sharpness >= 0
