import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.scenes import HAIR, LINE, PLANES
from export.training.augment import crop_of

pytestmark = pytest.mark.export


def _scene(value: int = 180) -> np.ndarray:
    """Skin of one tone with one upright black hair 12 px wide in the middle, centre line included."""
    planes = np.full((480, 640, PLANES), 0, np.uint8)
    planes[..., :3] = value
    planes[:, 314:326, :3] = 20
    planes[:, 314:326, HAIR] = 255
    planes[:, 319:321, LINE] = 255
    return planes


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_the_truth_moves_with_the_picture(seed):
    crop = crop_of(_scene(), np.random.default_rng(seed), 128)
    assert crop.picture.shape == (128, 128, 3)
    assert crop.picture.dtype == np.uint8
    assert crop.marks.shape == (2, 64, 64)
    assert crop.marks.dtype == np.float32
    assert 0 <= crop.marks.min() <= crop.marks.max() <= 1
    if 400 < crop.hair.sum() < 0.9 * crop.hair.size:
        grey = crop.picture.astype(float).mean(2)
        assert abs(grey[crop.hair].mean() - grey[~crop.hair].mean()) > 3  # recoloured hair is paler than skin, never like it
        line = crop.marks[0].repeat(2, 0).repeat(2, 1) > 0.9
        assert np.mean(crop.hair[line]) > 0.9 if line.any() else True


def test_the_same_generator_gives_the_same_crop():
    first, second = (crop_of(_scene(), np.random.default_rng(7), 96, _scene(90)) for _ in range(2))
    assert np.array_equal(first.picture, second.picture)
    assert np.array_equal(first.hair, second.hair)
    assert np.array_equal(first.marks, second.marks)


def test_a_line_thinner_than_a_pixel_stays_hair():
    planes = np.full((480, 640, PLANES), 0, np.uint8)
    planes[..., :3] = 180
    planes[:, 320, :3], planes[:, 320, HAIR] = 40, 255
    planes[:, 320, LINE], planes[:, [319, 321], LINE] = 255, 90
    shown = [crop_of(planes, np.random.default_rng(seed), 256) for seed in range(30)]
    crossing = [crop for crop in shown if crop.marks[0].max() > 0.4]
    assert crossing
    assert all(crop.hair.any() for crop in crossing)


def test_overlaid_hair_is_hair_and_shadows_are_not():
    bare = np.full((480, 640, PLANES), 0, np.uint8)
    bare[..., :3] = 180
    with_hair = [crop_of(bare, np.random.default_rng(seed), 96, _scene()).hair.any() for seed in range(30)]
    assert 2 < sum(with_hair) < 28
