import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.scenes import FAINT, HAIR, LINE, PLANES
from export.training.augment import UNKNOWN, crop_of
from export.training.graphics import burnt_in

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
    assert crop.marks.shape == (3, 64, 64)
    assert crop.marks.dtype == np.float32
    assert 0 <= crop.marks[:2].min() <= crop.marks.max() <= 1
    assert not np.any(crop.gaps & crop.hair)
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


def test_narrow_skin_between_two_hairs_is_a_gap_and_wide_skin_is_none():
    planes = np.full((480, 640, PLANES), 0, np.uint8)
    planes[..., :3] = 180
    for left in (100, 116, 200, 300, 316, 420, 436, 540):  # pairs 4 px apart and single hairs
        planes[:, left : left + 12, :3], planes[:, left : left + 12, HAIR] = 20, 255
    crops = [crop_of(planes, np.random.default_rng(seed), 128) for seed in range(20)]
    gaps = np.concatenate([crop.gaps.ravel() for crop in crops])
    assert 0.001 < gaps.mean() < 0.1
    alone = crop_of(_scene(), np.random.default_rng(3), 128)
    assert not alone.gaps.any()


def test_faint_hair_is_told_inside_hair_only_and_unknown_where_the_colour_was_changed():
    planes = _scene()
    planes[..., FAINT] = planes[..., HAIR]
    maps = [crop_of(planes, np.random.default_rng(seed), 128).marks[2] for seed in range(40)]
    inside = [m[m != UNKNOWN] for m in maps]
    told = [v for v in inside if len(v)]
    assert told
    assert all((v > 0.9).mean() > 0.95 for v in told)
    assert any(not len(v) for v in inside)
    assert all((m == UNKNOWN).any() for m in maps)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_what_is_burnt_in_is_covered_by_its_place(seed):
    image = np.full((96, 128, 3), 127, np.uint8)
    drawn, place = burnt_in(image, np.random.default_rng(seed))
    assert (drawn.shape, drawn.dtype, place.dtype) == (image.shape, np.uint8, np.bool_)
    far = np.abs(drawn.astype(int) - 127).max(2) > 100
    assert not np.any(far & ~place)
    assert np.array_equal(image, np.full_like(image, 127))
