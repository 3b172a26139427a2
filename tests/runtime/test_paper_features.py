"""ScalpVision's features: known bars, what must not matter, bad input, and equality with a plain reading of the paper."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.analysis.measurement import PaperFeatures
from runtime.analysis.paper import paper_features
from runtime.analysis.paper.thickness import section_widths, thickness_statistics
from tests.runtime.paper_reference import repeated_opening


def bar(width_px: int, angle_deg: float = 0.0, shape: tuple[int, int] = (240, 320)) -> np.ndarray:
    """A straight hair of 200 px, `width_px` wide, through the middle, at `angle_deg` to the horizontal."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle = np.radians(angle_deg)
    along = (x - 160) * np.cos(angle) + (y - 120) * np.sin(angle)
    across = (y - 119.75) * np.cos(angle) - (x - 160.25) * np.sin(angle)  # off the grid: no edge through pixel centres
    hair: np.ndarray = (np.abs(along) < 100) & (np.abs(across) < width_px / 2)
    return hair


def strands(seed: int, shape: tuple[int, int] = (240, 320), n: int = 7) -> np.ndarray:
    """Curved hairs of several widths that cross one another."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    for _ in range(n):
        x = np.linspace(0, shape[1], 60)
        y = rng.uniform(0, shape[0]) + rng.normal(0, 0.5) * x + rng.normal(0, 12) * np.sin(x / rng.uniform(30, 90))
        course = np.round(np.column_stack((x, y))).astype(np.int32)
        cv2.polylines(mask, [course], False, 1, int(rng.integers(2, 12)))
    return mask.astype(bool)


@pytest.mark.parametrize("width_px", [2, 3, 6, 9, 14])
def test_bar_along_the_rows_or_the_columns_has_its_own_width(width_px: int) -> None:
    for mask in (bar(width_px), bar(width_px).T):
        thickness = paper_features(mask).thickness_px
        assert thickness.n >= 8
        assert thickness.median == pytest.approx(width_px, abs=0.05)
        assert thickness.median_iqr == pytest.approx(width_px, abs=0.05)


@pytest.mark.parametrize("angle_deg", [12, 17, 40, 45, 90, 133, 140])
@pytest.mark.parametrize("width_px", [6, 11])
def test_slanting_bar_has_its_width_to_a_pixel(width_px: int, angle_deg: float) -> None:
    thickness = paper_features(bar(width_px, angle_deg)).thickness_px
    assert thickness.n >= 5  # at some slants this skeleton is in crumbs, and crumbs are dropped
    assert thickness.median == pytest.approx(width_px, abs=1.0)


def test_one_straight_hair_is_one_line() -> None:
    assert paper_features(bar(6, 30)).line_count == 1
    assert paper_features(bar(6)).line_count == 1


def test_crossing_hairs_are_two_lines_and_keep_their_median_width() -> None:
    crossing = bar(7, 30) | bar(7, 120)
    features = paper_features(crossing)
    assert features.line_count == 2
    assert features.thickness_px.median == pytest.approx(7, abs=1.0)
    # the sections on the crossing itself are the wide ones, and the outlier rule takes them
    assert features.thickness_px.mean_iqr < features.thickness_px.mean + 1e-9


def test_parallel_hairs_near_one_another_are_merged_and_far_ones_are_not() -> None:
    near, far = np.zeros((240, 320), bool), np.zeros((240, 320), bool)
    near[100:106, 40:280] = near[125:131, 40:280] = True
    far[40:46, 40:280] = far[180:186, 40:280] = True
    assert paper_features(near).line_count == 1
    assert paper_features(far).line_count == 2


def test_component_of_less_than_250_px_does_not_count() -> None:
    mask = np.zeros((100, 200), bool)
    mask[20:23, 20:103] = True
    assert mask.sum() == 249
    assert paper_features(mask).thickness_px.n == 0
    mask[23, 20] = True
    assert paper_features(mask).thickness_px.n > 0


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((48, 64), bool),
        np.ones((48, 64), bool),
        np.eye(64, dtype=bool),
        np.ones((8, 8), bool),
        np.ones((1, 1), bool),
        np.ones((1, 900), bool),
        np.pad(np.ones((1, 1), bool), 30),
    ],
    ids=["empty", "full", "diagonal", "8x8", "1x1", "row", "single pixel"],
)
def test_mask_with_nothing_to_measure(mask: np.ndarray) -> None:
    features = paper_features(mask)
    thickness = features.thickness_px
    assert (thickness.n, features.line_count) == (0, 0)
    assert thickness.mean is thickness.median is thickness.mean_iqr is thickness.median_iqr is None


def test_all_but_one_pixel_set_still_ends() -> None:
    mask = np.ones((600, 700), bool)  # distances beyond 255, where the fast transform saturates
    mask[0, 0] = False
    assert isinstance(paper_features(mask), PaperFeatures)


def test_border_sections_count_wherever_the_border_lies() -> None:
    """The published code loses what lies within 10 px of the left and top; a turned picture must give as much."""
    mask = np.zeros((240, 320), bool)
    mask[:, 1:8] = True
    here, there = (paper_features(m).thickness_px for m in (mask, mask[::-1, ::-1]))
    assert here.n == there.n > 8
    assert here.median == there.median == pytest.approx(7, abs=0.05)


def test_same_mask_same_features_whatever_the_seed_and_the_memory_layout() -> None:
    mask = strands(3)
    cv2.setRNGSeed(1)
    first = paper_features(mask)
    cv2.setRNGSeed(99)
    assert paper_features(mask) == first
    assert paper_features(np.asfortranarray(mask)) == first
    wide = np.zeros((480, 640), bool)
    wide[::2, ::2] = mask
    assert paper_features(wide[::2, ::2]) == first
    assert first.line_count > 3


def test_mask_is_left_as_it_was() -> None:
    mask = strands(4)
    mask.flags.writeable = False
    before = mask.copy()
    paper_features(mask)
    assert np.array_equal(mask, before)


def test_outliers_by_interquartile_range() -> None:
    statistics = thickness_statistics(np.array([5.0, 6.0, 7.0, 8.0, 40.0]))
    assert (statistics.n, statistics.mean, statistics.median) == (5, 13.2, 7.0)
    assert (statistics.mean_iqr, statistics.median_iqr) == (6.5, 6.5)


def test_features_are_finite_json() -> None:
    features = json.loads(paper_features(strands(5)).model_dump_json())
    assert features["thickness_px"]["mean"] > 0


@settings(max_examples=40, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 70), st.integers(1, 70))), st.integers(0, 4))
def test_never_raises_and_stays_within_bounds(mask: np.ndarray, grown: int) -> None:
    mask = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=grown).astype(bool)
    features = paper_features(mask)
    assert (features.thickness_px.n == 0) == (features.thickness_px.mean is None)
    if features.thickness_px.mean is not None:
        assert 0 < features.thickness_px.mean < 100


def test_widths_are_those_of_a_plain_reading_of_the_paper() -> None:
    for seed in range(6):
        mask = strands(seed, (150, 200), 4)
        ours, plain = section_widths(mask), plain_widths(mask)
        assert len(ours) > 10
        # walks in other floating-point steps may differ by one of 1/100 px
        assert len(ours) == len(plain)
        assert np.abs(np.sort(ours) - np.sort(plain)).max() < 0.0101


# -- the paper's text, step by step and pixel by pixel -----------------------------------------------------------------


def plain_boxes(skeleton: np.ndarray) -> list[tuple[int, int]]:
    """Greedy suppression over all boxes, lowest and rightmost first, overlap in inclusive pixels."""
    waiting = sorted(((int(y), int(x)) for y, x in np.argwhere(skeleton)), reverse=True)
    kept = []
    while waiting:
        y, x = waiting.pop(0)
        kept.append((y, x))
        waiting = [(v, u) for v, u in waiting if max(0, 21 - abs(v - y)) * max(0, 21 - abs(u - x)) / 21**2 <= 0.1]
    return kept


def plain_walk(mask: np.ndarray, x: float, y: float, ux: float, uy: float) -> float:
    for step in range(1, 5000):
        column, row = int(np.floor(x + ux * step / 100)), int(np.floor(y + uy * step / 100))
        if not (0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and mask[row, column]):
            return (step - 1) / 100
    return 49.99


def plain_widths(mask: np.ndarray) -> np.ndarray:
    """Width at each box along the second principal component of the skeleton's pixels in it."""
    n, labels, stats, _ = cv2.connectedComponentsWithStats(repeated_opening(mask).astype(np.uint8), connectivity=8)
    skeleton = np.isin(labels, [i for i in range(1, n) if stats[i, cv2.CC_STAT_AREA] >= 5])
    widths = []
    for y, x in plain_boxes(skeleton):
        rows, columns = np.nonzero(skeleton[max(y - 10, 0) : y + 10, max(x - 10, 0) : x + 10])
        points = np.column_stack((columns + max(x - 10, 0), rows + max(y - 10, 0))).astype(float)
        mean = points.mean(axis=0)
        values, vectors = np.linalg.eigh((points - mean).T @ (points - mean))
        across = vectors[:, 0] if values[1] > values[0] + 1e-9 else np.array([1.0, 0.0])
        reach = [plain_walk(mask, *mean, *(sign * across)) for sign in (1, -1)]
        if min(reach) > 0:
            widths.append(sum(reach))
    return np.array(widths)
