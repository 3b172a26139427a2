"""The classical segmenter on skins drawn here: every hair colour, and the things that are not hair."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.analysis.classical import ClassicalSegmenter
from runtime.analysis.segmentation import Mask

Picture = NDArray[np.uint8]
SKIN = (125.0, 140.0, 190.0)  # BGR
DARK_SKIN = (45.0, 60.0, 95.0)
BLACK, BROWN, GREY, WHITE, BLOND = (25, 25, 28), (45, 62, 85), (165, 160, 160), (230, 232, 232), (120, 185, 200)


def skin(seed: int = 0, width: int = 640, height: int = 480, colour: tuple[float, float, float] = SKIN) -> NDArray[np.float32]:
    """Hairless skin, float32 0…255: uneven light, soft blotches of redness, fine texture, sensor noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    light = 1.0 - 0.25 * ((x / width - 0.4) ** 2 + (y / height - 0.6) ** 2)
    blotches = cv2.GaussianBlur(rng.normal(size=(60, 80)).astype(np.float32), (0, 0), 3.2) * 3.2
    blotches = cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC)
    texture = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 1.5) * 4
    redness = np.stack([1 - 0.02 * blotches, 1 - 0.03 * blotches, 1 + 0.0 * blotches], axis=2)
    picture = np.asarray(colour, np.float32) * light[..., None] * redness + texture[..., None]
    return np.asarray(picture + rng.normal(size=picture.shape) * 1.5, np.float32)


def bars(
    picture: NDArray[np.float32], colour: tuple[int, int, int], width: int, count: int = 9, seed: int = 3, blur: float = 0.8
) -> tuple[Picture, Mask]:
    """`picture` with `count` straight hairs of `width` px across it, and where they are."""
    rng = np.random.default_rng(seed)
    height, length = picture.shape[:2]
    cover = np.zeros((height, length), np.uint8)
    for _ in range(count):
        x, y, angle = rng.uniform(0.1, 0.9) * length, rng.uniform(0.1, 0.9) * height, rng.uniform(0, np.pi)
        reach = rng.uniform(0.1, 0.5) * length
        step = reach * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(int(v) for v in (x + s * step[0], y + s * step[1])) for s in (-1, 1)]
        cv2.line(cover, ends[0], ends[1], 255, width, cv2.LINE_AA)
    alpha = cv2.GaussianBlur(cover.astype(np.float32) / 255, (0, 0), blur)[..., None]
    mixed = picture * (1 - alpha) + np.asarray(colour, np.float32) * alpha
    return as_image(mixed), cover > 127


def as_image(picture: NDArray[np.float32]) -> Picture:
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def dice(found: Mask, true: Mask) -> float:
    return float(2 * np.count_nonzero(found & true) / max(1, np.count_nonzero(found) + np.count_nonzero(true)))


def found_in(image: Picture) -> Mask:
    return ClassicalSegmenter().segment(image).mask


@pytest.mark.parametrize("width", [4, 9, 20])
@pytest.mark.parametrize("colour", [BLACK, BROWN, GREY, WHITE, BLOND], ids=["black", "brown", "grey", "white", "blond"])
def test_hair_of_each_colour_is_found(colour: tuple[int, int, int], width: int) -> None:
    image, true = bars(skin(), colour, width)
    assert dice(found_in(image), true) > (0.8 if width > 4 else 0.7)


def test_light_hair_on_dark_skin_is_found() -> None:
    image, true = bars(skin(colour=DARK_SKIN), WHITE, 9)
    assert dice(found_in(image), true) > 0.8


@pytest.mark.parametrize(("size", "width"), [((640, 480), 9), ((1280, 1024), 18), ((2560, 1920), 36)])
def test_width_of_the_mask_is_the_hairs_width(size: tuple[int, int], width: int) -> None:
    image, true = bars(skin(width=size[0], height=size[1]), BLACK, width, count=1, blur=1.2 * size[0] / 640)
    found = found_in(image)
    # a drawn bar lacks the shade beside a real hair, for which the border is set a little above half of the contrast
    assert np.count_nonzero(found) == pytest.approx(np.count_nonzero(true), rel=0.14)
    assert dice(found, true) > 0.92


def test_a_thin_hair_beside_a_thick_one_keeps_its_width() -> None:
    image, thick = bars(skin(), BLACK, 16, count=1, seed=1)
    image, thin = bars(image.astype(np.float32), BROWN, 5, count=1, seed=8)
    assert (thick & thin).sum() < 0.2 * thin.sum()
    alone = thin & ~cv2.dilate(thick.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    around = cv2.dilate(alone.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    around &= ~cv2.dilate(thick.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert np.count_nonzero(found_in(image) & around) == pytest.approx(np.count_nonzero(alone), rel=0.2)


def test_gloss_along_a_hair_is_hair() -> None:
    image, true = bars(skin(), BLACK, 14, count=3)
    inside = cv2.erode(true.astype(np.uint8), np.ones((11, 11), np.uint8)) > 0
    glossy = image.copy()
    glossy[inside] = (95, 95, 100)
    assert inside.any()
    assert found_in(glossy)[inside].mean() > 0.95


@pytest.mark.parametrize("seed", range(4))
def test_bald_skin_has_no_hair(seed: int) -> None:
    segmentation = ClassicalSegmenter().segment(as_image(skin(seed, colour=SKIN if seed % 2 else DARK_SKIN)))
    assert segmentation.mask.mean() <= 0.001


def test_flakes_are_no_hair() -> None:
    rng = np.random.default_rng(5)
    picture = skin()
    for _ in range(120):
        x, y = int(rng.uniform(0, 640)), int(rng.uniform(0, 480))
        outline = np.array([[x, y]]) + rng.uniform(-1, 1, (7, 2)) * rng.uniform(2, 12)
        cv2.fillConvexPoly(picture, cv2.convexHull(outline.astype(np.int32)), (225.0, 225.0, 228.0))
    assert found_in(as_image(cv2.GaussianBlur(picture, (0, 0), 0.8))).mean() <= 0.003


def test_the_shadow_of_a_hair_is_no_hair() -> None:
    _, shade = bars(skin(), BLACK, 24, count=2, seed=1)
    soft = cv2.GaussianBlur(shade.astype(np.float32), (0, 0), 7.0)[..., None]
    image, true = bars(np.asarray(skin() * (1 - 0.3 * soft), np.float32), BLACK, 9, count=4, seed=7)
    found = found_in(image)
    shaded = shade & ~cv2.dilate(true.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert found[shaded].mean() < 0.02
    assert dice(found, true) > 0.9


def test_pores_and_moles_are_no_hair() -> None:
    picture = skin()
    for i in range(12):
        cv2.circle(picture, (40 + 50 * i, 60 + 30 * (i % 9)), 3 + i % 8, (40.0, 45.0, 60.0), -1, cv2.LINE_AA)
    assert found_in(as_image(picture)).mean() <= 0.001


@pytest.mark.parametrize("level", [0, 1, 90, 254, 255])
@pytest.mark.parametrize("shape", [(8, 8), (480, 640), (8, 700)])
def test_a_constant_picture_has_no_hair(shape: tuple[int, int], level: int) -> None:
    segmentation = ClassicalSegmenter().segment(np.full((*shape, 3), level, np.uint8))
    assert not segmentation.mask.any()
    assert segmentation.reliability == 1.0


def test_a_grey_picture_is_measured_too() -> None:
    image, true = bars(skin(), BLACK, 9)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.uint8)
    assert dice(found_in(grey), true) > 0.9


@pytest.mark.parametrize("gain", [0.5, 0.7, 1.2])
def test_brightness_of_the_lamp_does_not_matter(gain: float) -> None:
    image, true = bars(skin(), BROWN, 9)
    dimmed = as_image(image.astype(np.float32) * gain)
    assert dice(found_in(dimmed), true) == pytest.approx(dice(found_in(image), true), abs=0.05)


def test_a_mirrored_picture_gives_the_mirrored_mask() -> None:
    image, _ = bars(skin(), BROWN, 9)
    assert dice(found_in(np.ascontiguousarray(image[:, ::-1]))[:, ::-1], found_in(image)) > 0.97


def test_trust_is_lower_where_hair_is_faint() -> None:
    segmenter = ClassicalSegmenter()
    plain, _ = bars(skin(), BLACK, 9)
    faint, _ = bars(skin(), (95, 105, 135), 5, blur=2.0)
    assert segmenter.segment(faint).reliability < segmenter.segment(plain).reliability


def test_the_largest_pictures_are_segmented() -> None:
    segmentation = ClassicalSegmenter().segment(np.zeros((4000, 6000, 3), np.uint8))
    assert segmentation.mask.shape == (4000, 6000)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(8, 90),
    width=st.integers(8, 90),
    seed=st.integers(0, 2**32 - 1),
    low=st.integers(0, 255),
    high=st.integers(0, 255),
)
def test_no_picture_breaks_it(height: int, width: int, seed: int, low: int, high: int) -> None:
    low, high = min(low, high), max(low, high)
    image = np.random.default_rng(seed).integers(low, high + 1, (height, width, 3)).astype(np.uint8)
    before = image.copy()
    segmentation = ClassicalSegmenter().segment(image)
    assert np.array_equal(image, before)
    assert segmentation.mask.shape == (height, width)
    assert segmentation.mask.dtype == np.bool_
    assert segmentation.probability is not None
    assert segmentation.probability.dtype == np.float32
    assert segmentation.probability.shape == (height, width)
    assert np.array_equal(segmentation.probability >= 0.5, segmentation.mask)
    assert np.isfinite(segmentation.probability).all()
    assert 0 <= segmentation.probability.min() <= segmentation.probability.max() <= 1
    assert 0 <= segmentation.reliability <= 1
