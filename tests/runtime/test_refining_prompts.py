"""Automatic prompts: equal to a plain reading of Algorithm 1, bounded, repeatable, and none where there is nothing to point at."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.refining.prompts import DEFAULT, VARIANTS, Prompts, automatic_prompts, prompt_maps, prompts_as_learnt, representative_points
from tests.runtime.prompt_reference import plain_maps, plain_points

MASKS = arrays(np.bool_, st.tuples(st.integers(8, 48), st.integers(8, 48)))


def hairs(seed: int, shape: tuple[int, int] = (120, 160), n: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    for _ in range(n):
        x = np.linspace(0, shape[1], 40)
        y = rng.uniform(0, shape[0]) + rng.normal(0, 0.5) * x + rng.normal(0, 8) * np.sin(x / rng.uniform(20, 60))
        cv2.polylines(mask, [np.round(np.column_stack((x, y))).astype(np.int32)], False, 1, int(rng.integers(1, 9)))
    return mask.astype(bool)


def grown(mask: np.ndarray, times: int) -> np.ndarray:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=times).astype(bool))


def sides(prompts: Prompts) -> tuple[np.ndarray, np.ndarray]:
    return prompts.points[prompts.positive], prompts.points[~prompts.positive]


def rows(points: np.ndarray) -> set[tuple[float, float]]:
    return {(float(x), float(y)) for x, y in points}


@pytest.mark.parametrize("box_px", [10, 7, 20])
def test_points_are_those_of_a_plain_reading_of_the_paper(box_px):
    for seed in range(4):
        mask = hairs(seed)
        prompts = automatic_prompts(mask, box_px=box_px)
        for found, of in zip(sides(prompts), (mask, ~mask), strict=True):
            plain = plain_points(of, box_px)
            assert len(plain) > 5
            assert np.allclose(found, plain, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(0, 3))
def test_points_of_any_mask_are_those_of_a_plain_reading(mask, times):
    mask = grown(mask, times)
    if not mask.any():
        return
    plain = np.array(plain_points(mask)).reshape(-1, 2)
    assert np.allclose(representative_points(mask), plain, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(0, 3), st.sampled_from(VARIANTS), st.integers(2, 24), st.integers(1, 30), st.integers(0, 2**31))
def test_prompts_of_any_mask_are_bounded_and_lie_at_what_they_point_at(mask, times, variant, box_px, most, seed):
    mask = grown(mask, times)
    before = mask.copy()
    prompts = automatic_prompts(mask, variant=variant, box_px=box_px, most=most, seed=seed)
    assert np.array_equal(mask, before)
    assert prompts.points.dtype == np.float64
    assert prompts.positive.dtype == np.bool_
    assert prompts.points.shape == (len(prompts), 2) == (len(prompts.positive), 2)
    assert not np.any(np.diff(prompts.positive.astype(int)) > 0)  # positives first
    for points, of in zip(sides(prompts), (mask, ~mask), strict=True):
        assert len(points) <= most
        for x, y in points:
            # among the pixels of a box around it
            left, top = max(0, int(np.ceil(x)) - box_px), max(0, int(np.ceil(y)) - box_px)
            pixels = np.argwhere(of[top : int(y) + box_px + 1, left : int(x) + box_px + 1]) + np.array((top, left))
            assert len(pixels)
            assert pixels[:, 1].min() <= x <= pixels[:, 1].max()
            assert pixels[:, 0].min() <= y <= pixels[:, 0].max()
    again = automatic_prompts(mask, variant=variant, box_px=box_px, most=most, seed=seed)
    assert np.array_equal(prompts.points, again.points)
    assert np.array_equal(prompts.positive, again.positive)


def test_variants_differ_in_where_points_lie_and_not_in_number():
    mask = hairs(3)
    positives, negatives = sides(automatic_prompts(mask))
    found = {variant: sides(automatic_prompts(mask, variant=variant)) for variant in VARIANTS}
    assert DEFAULT == "skeleton+complement"
    assert {variant: (len(on), len(off)) for variant, (on, off) in found.items()} == {
        "mask+complement": (len(positives), len(negatives)),
        "skeleton+random": (len(positives), len(negatives)),
        "skeleton": (len(positives), 0),
        "skeleton+complement": (len(positives), len(negatives)),
    }
    for variant in ("skeleton+random", "skeleton"):
        assert np.array_equal(found[variant][0], positives)
    on, off = found["mask+complement"]
    assert mask[on[:, 1].astype(int), on[:, 0].astype(int)].all()
    assert not mask[off[:, 1].astype(int), off[:, 0].astype(int)].any()
    assert len(rows(on)) == len(on)
    assert len(rows(off)) == len(off)
    off = found["skeleton+random"][1]
    assert not mask[off[:, 1].astype(int), off[:, 0].astype(int)].any()
    assert not np.array_equal(off, sides(automatic_prompts(mask, variant="skeleton+random", seed=1))[1])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("mask", [np.zeros((16, 16), bool), np.ones((16, 16), bool), np.zeros((480, 640), bool)])
def test_a_bald_scalp_and_a_full_mask_have_no_prompts(mask, variant):
    prompts = automatic_prompts(mask, variant=variant)
    assert len(prompts) == 0
    assert prompts.points.shape == (0, 2)
    assert not prompt_maps(prompts, mask.shape).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_thousands_of_pieces_give_no_more_than_asked_for_from_all_over_the_picture(variant):
    mask = np.zeros((480, 640), bool)
    mask[::7, ::9] = True
    prompts = automatic_prompts(mask, variant=variant, most=300)
    positives, negatives = sides(prompts)
    assert (len(positives), len(negatives)) == (300, 0 if variant == "skeleton" else 300)
    for points in (positives, negatives) if len(negatives) else (positives,):
        cells = np.histogram2d(points[:, 1], points[:, 0], bins=4, range=((0, 480), (0, 640)))[0]
        assert cells.min() > 5


def test_one_pixel_of_hair_is_one_prompt_at_it():
    mask = np.zeros((16, 16), bool)
    mask[5, 9] = True
    assert sides(automatic_prompts(mask))[0].tolist() == [[9.0, 5.0]]


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        (np.zeros((16, 16), np.uint8), {}),
        (np.zeros(16, bool), {}),
        (np.zeros((16, 16), bool), {"box_px": 1}),
        (np.zeros((16, 16), bool), {"box_px": 257}),
        (np.zeros((16, 16), bool), {"most": 0}),
    ],
)
def test_what_is_no_mask_is_refused(mask, options):
    with pytest.raises(ValueError, match=r"give bool|choose 2 to"):
        automatic_prompts(mask, **options)


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(0, 12), st.just(2)), elements=st.floats(-9, 50)),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 2**12 - 1),
)
def test_maps_are_discs_at_the_points(points, height, width, kinds):
    positive = np.array([bool(kinds >> i & 1) for i in range(len(points))], bool)
    maps = prompt_maps(Prompts(points, positive), (height, width))
    assert maps.dtype == np.float32
    assert np.array_equal(maps, plain_maps(points, positive, (height, width)))


def test_points_far_away_or_no_numbers_are_left_out_of_the_maps():
    points = np.array([[np.nan, 4.0], [np.inf, 4.0], [1e300, -1e300], [4.0, 4.0]])
    maps = prompt_maps(Prompts(points, np.ones(4, bool)), (9, 9))
    assert maps.sum() == 13


def test_prompts_scale_with_their_picture():
    prompts = Prompts(np.array([[0.0, 0.0], [9.0, 4.0]]), np.array([True, False]))
    twice = prompts.scaled(2, 3)
    assert twice.points.tolist() == [[0.5, 1.0], [18.5, 13.0]]
    assert twice.scaled(1 / 2, 1 / 3).points == pytest.approx(prompts.points)


def test_prompts_of_a_larger_picture_are_drawn_at_the_size_that_was_learnt():
    small = np.zeros((480, 640), bool)
    small[:, 100:108] = small[200:206] = True
    large = np.kron(small, np.ones((2, 2), bool))
    assert large.shape == (960, 1280)
    found, wanted = prompts_as_learnt(large, 640), automatic_prompts(small)
    assert np.allclose(found.points, wanted.scaled(2, 2).points)
    assert np.array_equal(found.positive, wanted.positive)
    assert len(automatic_prompts(large)) > 1.5 * len(found)  # as it would be with boxes of 10 px there
    assert np.array_equal(prompts_as_learnt(small, 640).points, wanted.points)
    assert len(prompts_as_learnt(np.zeros((960, 1280), bool), 640)) == 0
