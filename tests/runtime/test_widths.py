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
    mask, picture = drawn([([(160 - way[0], 160 - way[1]), (160 + way[0], 160 + way[1])], width)], 320, 320)
    hairs = measure_widths(traced(mask, picture), picture, given_mask(mask))
    assert len(hairs) == 1
    assert hairs[0].diameter_px == pytest.approx(width, abs=0.6 + 0.04 * width)


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


def test_no_hair_has_no_width() -> None:
    picture = np.zeros((20, 20, 3), np.uint8)
    assert measure_widths((), picture, given_mask(np.zeros((20, 20), bool))) == ()


def test_widths_belong_to_points() -> None:
    mask, picture = drawn([([(20, 40), (300, 200)], 8)])
    (hair,) = measure_widths(traced(mask, picture), picture, given_mask(mask))
    assert hair.widths_px.shape == (len(hair.points),)
    assert np.nanmedian(hair.widths_px) == pytest.approx(8, abs=0.7)
