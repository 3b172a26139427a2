from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.analysis.segmentation import given_mask
from runtime.analysis.widths import measure_widths
from tests.runtime.strokes import Stroke, drawn, traced


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


def test_no_hair_has_no_width() -> None:
    picture = np.zeros((20, 20, 3), np.uint8)
    assert measure_widths((), picture, given_mask(np.zeros((20, 20), bool))) == ()


def test_widths_belong_to_points() -> None:
    mask, picture = drawn([([(20, 40), (300, 200)], 8)])
    (hair,) = measure_widths(traced(mask, picture), picture, given_mask(mask))
    assert hair.widths_px.shape == (len(hair.points),)
    assert np.nanmedian(hair.widths_px) == pytest.approx(8, abs=0.7)
