from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.analysis.follicles import find_follicles
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.segmentation import Segmentation
from tests.runtime.strokes import SKIN, Stroke, analysed, drawn


def with_roots(strokes: list[Stroke], roots: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Drawn hairs and a dark blurred spot where each goes on below the skin."""
    mask, picture = drawn(strokes)
    shade = np.zeros(mask.shape, np.float32)
    for x, y in roots:
        cv2.circle(shade, (round(x), round(y)), 9, 1.0, -1)
    shade = cv2.GaussianBlur(shade, (0, 0), 3)[:, :, None]
    return mask, np.minimum(picture, SKIN - 70 * shade).astype(np.uint8)


def test_the_dark_end_is_the_root_and_comes_first() -> None:
    mask, picture = with_roots([([(60, 120), (250, 90)], 9)], [(56, 121)])
    hairs, ostia = analysed(mask, picture)
    assert [hair.rooted for hair in hairs] == [True]
    assert hairs[0].points[0] == pytest.approx([60, 120], abs=8)
    assert len(ostia) == 1 and ostia[0].hairs == (0,)


def test_hairs_of_one_unit_share_an_ostium() -> None:
    strokes: list[Stroke] = [([(60, 120), (260, 70)], 8), ([(60, 122), (260, 150)], 8), ([(62, 220), (280, 200)], 8)]
    mask, picture = with_roots(strokes, [(56, 121), (58, 220)])
    hairs, ostia = analysed(mask, picture)
    assert len(hairs) == 3
    assert sorted(len(ostium.hairs) for ostium in ostia) == [1, 2]
    assert sorted(k for ostium in ostia for k in ostium.hairs) == [0, 1, 2]


def test_a_hair_that_crosses_the_picture_has_no_root_in_it() -> None:
    mask, picture = drawn([([(-20, 60), (340, 160)], 9)])
    hairs, ostia = analysed(mask, picture)
    assert [hair.rooted for hair in hairs] == [False]
    assert ostia == ()


def test_no_hair_no_ostium() -> None:
    picture = np.full((40, 40, 3), SKIN, np.uint8)
    assert analysed(np.zeros((40, 40), bool), picture) == ((), ())


def heat_of(shape: tuple[int, int], openings: list[tuple[float, float]]) -> np.ndarray:
    """What a network says of `openings`: a blurred spot of probability at each."""
    heat = np.zeros(shape, np.float32)
    for x, y in openings:
        cv2.circle(heat, (round(x), round(y)), 6, 0.95, -1)
    return cv2.GaussianBlur(heat, (0, 0), 2)


def told(mask: np.ndarray, picture: np.ndarray, openings: list[tuple[float, float]]) -> tuple[tuple[HairPath, ...], tuple[Ostium, ...]]:
    hairs, _ = analysed(mask, picture)
    segmentation = Segmentation(mask, None, 1.0, False, ostium_probability=heat_of(mask.shape, openings))
    return find_follicles(hairs, picture, segmentation)


def test_openings_that_the_segmenter_tells_outweigh_the_dark_end() -> None:
    mask, picture = with_roots([([(60, 120), (250, 90)], 9)], [(56, 121)])
    hairs, ostia = told(mask, picture, [(253, 89)])
    assert hairs[0].rooted
    assert hairs[0].points[0] == pytest.approx([250, 90], abs=8)
    assert [ostium.hairs for ostium in ostia] == [(0,)]


def test_openings_without_a_hair_are_empty_ones_and_come_last() -> None:
    mask, picture = with_roots([([(60, 120), (250, 90)], 9)], [(56, 121)])
    _, ostia = told(mask, picture, [(57, 121), (120, 200), (200, 30)])
    assert [ostium.hairs for ostium in ostia] == [(0,), (), ()]
    assert (ostia[1].x, ostia[1].y) == pytest.approx((200, 30), abs=4)
    bare = np.zeros(mask.shape, bool)
    _, alone = told(bare, np.full((*mask.shape, 3), SKIN, np.uint8), [(120, 200)])
    assert [ostium.hairs for ostium in alone] == [()]


def test_a_hair_that_only_passes_an_opening_is_not_rooted_in_it() -> None:
    mask, picture = drawn([([(-20, 60), (340, 160)], 9)])
    hairs, ostia = told(mask, picture, [(160, 110), (60, 200)])
    assert [hair.rooted for hair in hairs] == [False]
    assert [ostium.hairs for ostium in ostia] == [()]
    assert (ostia[0].x, ostia[0].y) == pytest.approx((60, 200), abs=4)


def test_hairs_keep_their_order_and_number() -> None:
    strokes: list[Stroke] = [([(40, 20 + 48 * k), (200 + 10 * k, 28 + 48 * k)], 6) for k in range(5)]
    mask, picture = with_roots(strokes, [(36, 20 + 48 * k) for k in range(5)])
    hairs, ostia = told(mask, picture, [(37, 20 + 48 * k) for k in range(5)])
    assert len(hairs) == 5 and len(ostia) == 5
    lengths = [hair.length_px for hair in hairs]
    assert lengths == sorted(lengths, reverse=True)
    assert {k for ostium in ostia for k in ostium.hairs} == set(range(5))


def test_a_root_under_another_hair_is_told_by_the_heat_map_alone() -> None:
    strokes: list[Stroke] = [([(40, y), (280, y)], 8) for y in (30, 90, 210)]
    mask, picture = drawn([*strokes, ([(-20, 150), (340, 150)], 12), ([(100, -20), (100, 260)], 12)])
    roots = [(38.0, y) for y in (30.0, 90.0, 210.0)]
    hairs, ostia = told(mask, picture, roots)
    assert sum(hair.rooted for hair in hairs) == len(ostia) == 3
    hairs, ostia = told(mask, picture, [*roots, (200, 152)])
    assert sum(hair.rooted for hair in hairs) == len(ostia) == 4
    assert min(np.hypot(ostium.x - 200, ostium.y - 152) for ostium in ostia) < 6


def test_no_hair_is_rooted_in_two_openings() -> None:
    strokes: list[Stroke] = [([(60, 30 + 30 * k), (250, 40 + 25 * k)], 7) for k in range(6)]
    mask, picture = drawn(strokes)
    ends = [(x, y) for stroke, _ in strokes for x, y in stroke]
    hairs, ostia = told(mask, picture, ends)
    rooted = [k for ostium in ostia for k in ostium.hairs]
    assert len(rooted) == len(set(rooted))
    assert sorted(rooted) == [k for k, hair in enumerate(hairs) if hair.rooted]


PLACE = st.tuples(st.integers(-30, 350), st.integers(-30, 270))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(PLACE, PLACE), max_size=14), st.lists(PLACE, max_size=10), st.sampled_from([0.0, 1.0, np.nan]))
def test_every_rooted_hair_has_one_opening_whatever_is_seen(
    hairs: list[tuple[tuple[int, int], tuple[int, int]]], openings: list[tuple[int, int]], elsewhere: float
) -> None:
    paths = []
    for a, b in hairs:
        points = np.linspace(a, b, 12).astype(float)
        paths.append(
            HairPath(points, np.full(12, np.nan), float("nan"), float("nan"), float(np.hypot(*(points[-1] - points[0]))), False, 0.5)
        )
    heat = heat_of((240, 320), openings)
    heat[:20, :20] = elsewhere
    mask = np.zeros((240, 320), bool)
    turned, ostia = find_follicles(
        tuple(paths), np.full((240, 320, 3), SKIN, np.uint8), Segmentation(mask, None, 0.0, True, ostium_probability=heat)
    )
    assert len(turned) == len(paths)
    for before, after in zip(paths, turned, strict=True):
        assert any(np.array_equal(after.points, before.points[::way]) for way in (1, -1))
    rooted = sorted(k for ostium in ostia for k in ostium.hairs)
    assert rooted == [k for k, hair in enumerate(turned) if hair.rooted]
    assert all(np.isfinite([ostium.x, ostium.y]).all() for ostium in ostia)
