import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.analysis.breadth import LOOK_MOST_PX, breadth_of, mask_reach, single_widths
from runtime.analysis.hairs import HairPath
from tests.runtime.strokes import drawn


def straight(start: tuple[float, float], end: tuple[float, float], width: float) -> HairPath:
    count = max(2, round(np.hypot(end[0] - start[0], end[1] - start[1]) / 4) + 1)
    points = np.linspace(start, end, count)
    return HairPath(points, np.full(count, width), width, float("nan"), float(np.hypot(*(points[-1] - points[0]))), False, 1.0)


@given(st.floats(0, np.pi), st.floats(3, 20))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_bar_is_as_wide_as_it_was_drawn(angle: float, width: float) -> None:
    way = 60 * np.array([np.cos(angle), np.sin(angle)])
    start, end = tuple(np.array([100.0, 100.0]) - way), tuple(np.array([100.0, 100.0]) + way)
    mask, _ = drawn([([start, end], width)], 200, 200)
    breadth = breadth_of((straight(start, end, width),), mask)  # type: ignore[arg-type]
    inner = breadth.width[3:-3]
    assert np.median(inner) == pytest.approx(width, abs=1.05)  # a mask of whole pixels
    assert breadth.own(25.0)[0] == pytest.approx(width, abs=1.05)
    assert np.median(breadth.left[3:-3] + breadth.right[3:-3]) == pytest.approx(0, abs=0.4)


def test_off_the_mask_there_is_no_width_and_beyond_reach_it_is_cut_off() -> None:
    mask = np.zeros((60, 60), bool)
    mask[:, 30:] = True
    points, normal = np.array([[10.0, 30.0], [40.0, 30.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    left, right = mask_reach(points, normal, np.array([15.0, 15.0]), mask)
    assert np.isnan([left[0], right[0]]).all()
    assert left[1] == pytest.approx(-10.5, abs=0.1) and right[1] == pytest.approx(15.0)


def test_a_blob_is_not_looked_at_all_over() -> None:
    mask = np.ones((800, 800), bool)
    breadth = breadth_of((straight((400, 380), (400, 420), 500.0),), mask)
    assert breadth.width == pytest.approx(2 * LOOK_MOST_PX)


def test_what_must_be_several_hairs_is_taken_for_one_of_usual_width() -> None:
    assert single_widths(np.array([0.5, 5.0, 6.0, 12.0]), 5.0).tolist() == [1.0, 5.0, 6.0, 5.0]
