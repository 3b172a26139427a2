from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.analysis.hairs import HairPath
from runtime.analysis.segmentation import given_mask
from runtime.analysis.widths import measure_widths
from tests.runtime.strokes import Stroke, drawn, traced


def hair_of(points: list[tuple[float, float]], width: float = 4.0) -> HairPath:
    course = np.array(points, float).reshape(-1, 2)
    length = float(np.hypot(*np.diff(course, axis=0).T).sum())
    return HairPath(course, np.full(len(course), width), width, float("nan"), length, False, 1.0)


@given(st.floats(3.0, 18.0), st.floats(0.0, 180.0))
@settings(max_examples=30, derandomize=True)
def test_the_width_of_a_straight_hair_at_any_angle(width: float, angle: float) -> None:
    way = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * 100
    x, y = 160.3, 160.4  # edges midway between pixels would all go to the hair
    mask, picture = drawn([([(x - way[0], y - way[1]), (x + way[0], y + way[1])], width)], 320, 320)
    hairs = measure_widths(traced(mask, picture), picture, given_mask(mask))
    assert len(hairs) == 1
    # along the grid every pixel of an edge rounds alike, and the mask that is given is wrong by up to a pixel all along the hair
    rounded = 0.3 if min(angle % 90, 90 - angle % 90) < 1 else 0.0
    assert hairs[0].diameter_px == pytest.approx(width, abs=0.6 + 0.04 * width + rounded)


def test_crossings_do_not_widen_hairs() -> None:
    strokes: list[Stroke] = [([(20, 40), (300, 200)], 8), ([(20, 200), (300, 40)], 12), ([(20, 120), (300, 130)], 6)]
    mask, picture = drawn(strokes)
    hairs = measure_widths(traced(mask, picture), picture, given_mask(mask))
    assert sorted(h.diameter_px for h in hairs) == pytest.approx([6, 8, 12], abs=0.8)
    assert all(np.isnan(h.widths_px).any() for h in hairs)  # sections at the crossing are left out
    assert all(h.diameter_px_std > 0 for h in hairs)


def test_a_broken_soft_mask_is_survived() -> None:
    mask, picture = drawn([([(20, 40), (300, 200)], 8)])
    soft = mask.astype(np.float32)
    soft[:, ::3] = np.nan
    hairs = measure_widths(traced(mask, picture), picture, replace(given_mask(mask), probability=soft))
    assert hairs[0].diameter_px == pytest.approx(8, abs=1.0)


def test_the_picture_corrects_a_mask_that_is_too_wide() -> None:
    mask, picture = drawn([([(20, 40), (300, 200)], 9), ([(20, 180), (140, 236)], 6)])
    picture = cv2.GaussianBlur(picture, (0, 0), 0.8)
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    hairs = traced(wide, picture)
    found = measure_widths(hairs, picture, replace(given_mask(wide), reliability=0.4))
    trusted = measure_widths(hairs, picture, given_mask(wide))
    assert sorted(h.diameter_px for h in found) == pytest.approx([6, 9], abs=0.5)
    assert all(f.diameter_px < t.diameter_px - 0.8 for f, t in zip(found, trusted, strict=True))


def test_a_tapering_tip_does_not_make_a_hair_thin() -> None:
    body: list[Stroke] = [([(20, 100.5), (200, 100.5)], 8)]
    tip: list[Stroke] = [([(200 + 4 * k, 100.5), (204 + 4 * k, 100.5)], 8 - 0.26 * k) for k in range(26)]
    mask, picture = drawn(body + tip)
    path = hair_of([(float(x), 100.5) for x in range(20, 304, 4)], width=8)
    (hair,) = measure_widths((path,), picture, given_mask(mask))
    assert hair.diameter_px == pytest.approx(8, abs=0.5)
    assert np.nanmin(hair.widths_px) < 4  # the taper stays in the widths


def test_a_hair_that_tapers_all_along_is_measured_where_it_is_thick() -> None:
    cone: list[Stroke] = [([(20 + 4 * k, 100.5), (24 + 4 * k, 100.5)], 12 - 0.14 * k) for k in range(66)]
    mask, picture = drawn([*cone, ([(20, 30), (300, 30)], 10), ([(20, 200), (300, 200)], 10)])
    paths = tuple(hair_of([(float(x), y) for x in range(24, 280, 4)], width=8) for y in (100.5, 30.0, 200.0))
    tapering, *_ = measure_widths(paths, picture, given_mask(mask))
    widths = 12 - 0.14 * np.arange(66)
    body = widths[widths > 0.8 * np.median(widths[:33])]
    assert tapering.diameter_px == pytest.approx(np.median(body), abs=0.4)
    assert np.median(body) > np.median(widths) + 2


def test_a_thick_hair_among_thin_ones_is_not_taken_for_several() -> None:
    strokes: list[Stroke] = [([(20, 20.5 + 40 * k), (300, 20.5 + 40 * k)], 6) for k in range(5)]
    mask, picture = drawn([*strokes, ([(20, 220.5), (300, 220.5)], 14)])
    mask[214:221, 60:76] = False  # damage makes some sections narrow
    paths = tuple(hair_of([(float(x), y) for x in range(24, 296, 4)], 6) for y in [20.5 + 40 * k for k in range(5)])
    thick = hair_of([(float(x), 222.5) for x in range(24, 296, 4)], 14)
    *_, found = measure_widths((*paths, thick), picture, given_mask(mask))
    assert found.diameter_px == pytest.approx(14, abs=0.8)


def test_a_hair_far_out_of_focus_is_as_wide_as_in_focus() -> None:
    mask, picture = drawn([([(20, 40), (300, 40)], 8), ([(20, 80), (300, 80)], 8), ([(20, 180), (300, 180)], 14)])
    picture = cv2.GaussianBlur(picture, (0, 0), 0.8)
    picture[120:] = cv2.GaussianBlur(picture[120:], (0, 0), 3.5)
    eaten = mask.copy()
    eaten[120:] = cv2.erode(mask[120:].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0  # 4 px too narrow, as segmenters see it
    paths = tuple(hair_of([(float(x), y) for x in range(40, 284, 4)], w) for y, w in ((40.0, 8), (80.0, 8), (180.0, 10)))
    segmentation = replace(given_mask(eaten), probability=eaten.astype(np.float32), reliability=0.9)
    *sharp, blurred = measure_widths(paths, picture, segmentation)
    assert [hair.diameter_px for hair in sharp] == pytest.approx([8, 8], abs=0.5)
    assert blurred.diameter_px == pytest.approx(14, abs=1.5)


def test_a_light_hair_is_wider_than_a_segmenter_sees_it() -> None:
    mask, picture = drawn([([(20, 100.5), (300, 100.5)], 10)])
    light = np.where(mask[..., None], 230, 120).astype(np.uint8).repeat(3, axis=2)
    path = hair_of([(float(x), 100.5) for x in range(24, 296, 4)], 10)
    soft = replace(given_mask(mask), probability=mask.astype(np.float32), reliability=0.9)
    dark, bright = (measure_widths((path,), seen, soft)[0].diameter_px for seen in (picture, light))
    assert 0.4 < bright - dark < 1.2
    assert measure_widths((path,), light, given_mask(mask))[0].diameter_px == pytest.approx(dark, abs=0.3)


def test_a_doubtful_mask_has_larger_errors() -> None:
    mask, picture = drawn([([(20, 100), (300, 100)], 10)])
    path = hair_of([(float(x), 100.0) for x in range(24, 296, 4)], 10)
    soft = replace(given_mask(mask), probability=mask.astype(np.float32))
    sure, unsure = (measure_widths((path,), picture, replace(soft, reliability=r))[0].diameter_px_std for r in (0.95, 0.7))
    assert 0 < sure < unsure / 3


def test_one_very_wide_strand_changes_no_other_hair() -> None:
    strokes: list[Stroke] = [([(20, 30), (300, 50)], 7), ([(20, 70), (300, 60)], 5)]
    mask, picture = drawn([*strokes, ([(20, 160), (300, 160)], 60)])
    alone, _ = drawn(strokes)
    paths = traced(alone, picture)
    wide = hair_of([(float(x), 160.0) for x in range(60, 260, 4)], 60)
    before, after = measure_widths(paths, picture, given_mask(alone)), measure_widths((*paths, wide), picture, given_mask(mask))
    assert [hair.diameter_px for hair in after[:-1]] == pytest.approx([hair.diameter_px for hair in before], abs=0.1)
    assert after[-1].diameter_px == pytest.approx(60, abs=2)


def test_where_hairs_run_together_their_widths_are_those_of_each_alone() -> None:
    strokes: list[Stroke] = [([(10, 100), (120, 100), (310, 140)], 8), ([(10, 107), (120, 107), (310, 60)], 8)]
    mask, picture = drawn(strokes)
    hairs = measure_widths(traced(mask, picture), picture, given_mask(mask))
    assert [h.diameter_px for h in hairs if h.length_px > 150] == pytest.approx([8, 8], abs=0.8)


def test_of_a_hair_thinner_than_the_picture_resolves_only_that_is_said() -> None:
    mask, picture = drawn([([(20, 40), (300, 40)], 1.2), ([(20, 200.5), (300, 200.5)], 8)])
    picture = cv2.GaussianBlur(picture, (0, 0), 1.5)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.3)
    paths = tuple(hair_of([(float(x), y) for x in range(20, 304, 4)], width) for y, width in ((40.0, 1.2), (200.5, 8.0)))
    thin, thick = measure_widths(paths, picture, replace(given_mask(mask), probability=soft))
    assert np.isnan(thin.diameter_px)
    assert np.isnan(thin.diameter_px_std)
    assert 1.2 < thin.diameter_px_max < 5
    assert thick.diameter_px == pytest.approx(8, abs=0.6)
    assert np.isnan(thick.diameter_px_max)


@pytest.mark.parametrize(
    "points",
    [
        [(5.0, 5.0)],
        [(5.0, 5.0), (6.0, 5.0)],
        [(5.0, 5.0)] * 6,
        [(float(x), 0.0) for x in range(0, 64, 4)],
        [(63.0, float(y)) for y in range(0, 48, 4)],
        [(0.0, 47.0), (63.0, 0.0)],
    ],
)
@pytest.mark.parametrize("soft", [None, 0.0, 1.0, np.nan])
def test_odd_hairs_have_a_defined_result(points: list[tuple[float, float]], soft: float | None) -> None:
    mask = np.zeros((48, 64), bool)
    mask[:4] = mask[:, -4:] = mask[3:8, 3:9] = True
    picture = np.where(mask[..., None], 60, 180).astype(np.uint8).repeat(3, axis=2)
    probability = None if soft is None else np.full(mask.shape, soft, np.float32)
    segmentation = replace(given_mask(mask), probability=probability, reliability=0.7)
    hairs = (hair_of(points), hair_of([(20.0, 20.0), (40.0, 30.0)], width=np.nan))
    found = measure_widths(hairs, picture, segmentation)
    assert len(found) == 2
    for hair, given_hair in zip(found, hairs, strict=True):
        assert hair.widths_px.shape == (len(given_hair.points),)
        assert np.isnan(hair.diameter_px) or 0 < hair.diameter_px < 64
        assert np.isnan(hair.diameter_px) or hair.diameter_px_std > 0


def test_a_section_of_which_nothing_is_left_has_no_width() -> None:
    rows = [40.0 * k + 30 for k in range(4)]
    mask, _ = drawn([([(20, y), (300, y)], 9) for y in rows] + [([(20, 200), (300, 200)], 1)])
    _, picture = drawn([([(20, y), (300, y)], 7) for y in rows])
    paths = tuple(hair_of([(float(x), y) for x in range(24, 296, 4)], width) for y, width in [*((y, 9) for y in rows), (200.0, 1)])
    doubtful = replace(given_mask(mask), reliability=0.2)
    *others, thin = measure_widths(paths, cv2.GaussianBlur(picture, (0, 0), 0.8), doubtful)
    assert all(hair.diameter_px < 7.9 for hair in others)
    assert np.isnan(thin.diameter_px)
    assert thin.diameter_px_max > 0
    assert np.isnan(thin.widths_px).all()


def test_no_hair_has_no_width() -> None:
    picture = np.zeros((20, 20, 3), np.uint8)
    assert measure_widths((), picture, given_mask(np.zeros((20, 20), bool))) == ()


def test_widths_belong_to_points() -> None:
    mask, picture = drawn([([(20, 40), (300, 200)], 8)])
    (hair,) = measure_widths(traced(mask, picture), picture, given_mask(mask))
    assert hair.widths_px.shape == (len(hair.points),)
    assert np.nanmedian(hair.widths_px) == pytest.approx(8, abs=0.7)
