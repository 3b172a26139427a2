"""The parts of ScalpVision's features one by one: skeleton, suppression, axes, segments and their merging."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.analysis.paper.boxes import principal_axes, suppress
from runtime.analysis.paper.lines import HoughPass, distinct_segments, find_segments, line_count
from runtime.analysis.paper.skeleton import drop_small, morphological_skeleton
from tests.runtime.paper_reference import repeated_opening

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 60), st.integers(1, 60)))


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(0, 5))
def test_distance_ridge_is_the_skeleton_by_repeated_opening(mask: np.ndarray, grown: int) -> None:
    mask = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=grown).astype(bool)
    expected = np.zeros_like(mask) if mask.all() else repeated_opening(mask)
    assert np.array_equal(morphological_skeleton(mask), expected)


def test_skeleton_of_a_blob_deeper_than_a_byte() -> None:
    mask = np.ones((560, 560), bool)
    mask[0] = mask[-1] = False
    mask[:, 0] = mask[:, -1] = False
    assert np.array_equal(morphological_skeleton(mask), repeated_opening(mask))


@settings(max_examples=40, deadline=None)
@given(MASKS, st.integers(1, 30))
def test_small_components_go_and_all_others_stay(mask: np.ndarray, area: int) -> None:
    n, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    sizes = np.bincount(labels.ravel(), minlength=n)
    assert np.array_equal(drop_small(mask, area), mask & (sizes[labels] >= area))


def test_small_components_with_more_pixels_than_16_bit_labels() -> None:
    noise = np.random.default_rng(0).random((900, 900)) < 0.12
    assert noise.sum() > 2**16
    _, labels = cv2.connectedComponents(noise.astype(np.uint8), connectivity=8)
    assert np.array_equal(drop_small(noise, 4), noise & (np.bincount(labels.ravel())[labels] >= 4))


@settings(max_examples=40, deadline=None)
@given(MASKS)
def test_suppression_keeps_boxes_apart_and_leaves_none_that_it_should_keep(skeleton: np.ndarray) -> None:
    y, x = suppress(skeleton)
    every_y, every_x = np.nonzero(skeleton)

    def overlap(ay: np.ndarray, ax: np.ndarray) -> np.ndarray:
        high, wide = (np.maximum(21 - np.abs(a[:, None] - b), 0) for a, b in ((ay, y), (ax, x)))
        return high * wide / 21**2

    among = overlap(y, x)
    np.fill_diagonal(among, 0)
    assert (among <= 0.1).all()
    assert (overlap(every_y, every_x) > 0.1).any(axis=1).all()
    assert skeleton[y, x].all()
    order = np.ravel_multi_index((y, x), skeleton.shape)
    assert (np.diff(order) < 0).all()


@pytest.mark.parametrize("angle_deg", [0, 20, 45, 90, 110, 160])
def test_axis_follows_a_line(angle_deg: float) -> None:
    direction = np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    ends = np.round(50 + np.outer([-40, 40], direction)).astype(int)
    mask = cv2.line(np.zeros((101, 101), np.uint8), ends[0].tolist(), ends[1].tolist(), 1).astype(bool)
    axes = principal_axes(mask, np.array([50]), np.array([50]))
    found = np.array([axes.along_x[0], axes.along_y[0]])
    assert abs(found @ direction) == pytest.approx(1, abs=0.003)
    assert np.hypot(axes.x[0] - 50, axes.y[0] - 50) < 1


def test_axis_in_a_box_cut_by_the_corner() -> None:
    axes = principal_axes(np.eye(6, dtype=bool), np.array([0, 5]), np.array([0, 5]))
    assert axes.x == pytest.approx([2.5, 2.5])
    assert axes.along_x * axes.along_y == pytest.approx([0.5, 0.5])


def plain_distinct(segments: np.ndarray, reach: float) -> np.ndarray:
    kept = np.ones(len(segments), bool)
    for i in range(len(segments)):
        for j in range(i + 1, len(segments)):
            u, v = (segments[k, 2:] - segments[k, :2] for k in (i, j))
            cosine = abs(u @ v) / (np.linalg.norm(u) * np.linalg.norm(v))
            ends = [np.linalg.norm(segments[i, a : a + 2] - segments[j, b : b + 2]) for a in (0, 2) for b in (0, 2)]
            if cosine > 0.9 and min(ends) < reach:
                kept[i if np.linalg.norm(u) < np.linalg.norm(v) else j] = False
    return kept


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [0, 1, 2, 150])
def test_merging_is_that_of_all_pairs(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    segments = rng.uniform(0, 300, (n, 4))
    segments[:, 2:] = segments[:, :2] + rng.choice([-30, -20, 0, 20, 30], (n, 2)) + [0.5, 0]  # many of one length
    assert np.array_equal(distinct_segments(segments, 40.0), plain_distinct(segments, 40.0))


def test_of_two_duplicates_the_shorter_goes_and_of_equals_the_later() -> None:
    assert distinct_segments(np.array([[0, 0, 50, 0], [10, 5, 100, 5.0]])).tolist() == [False, True]
    assert distinct_segments(np.array([[0, 0, 50, 0], [0, 9, 50, 9.0]])).tolist() == [True, False]
    assert distinct_segments(np.array([[0, 0, 50, 0], [0, 40, 50, 40.0]])).tolist() == [True, True]  # 40 px is apart
    assert distinct_segments(np.array([[0, 0, 50, 0], [0, 0, 0, 50.0]])).tolist() == [True, True]


def test_segments_of_all_three_resolutions_lie_on_the_hair() -> None:
    mask = cv2.line(np.zeros((240, 320), np.uint8), (30, 200), (290, 40), 1, 7).astype(bool)
    for one in (HoughPass(1.0), HoughPass(0.5), HoughPass(2.0)):
        segments = find_segments(mask, [one])
        assert len(segments)
        x, y = segments.reshape(-1, 2).T
        assert np.abs((x - 30) * (200 - 40) + (y - 200) * (290 - 30)).max() / np.hypot(160, 260) < 6
    assert line_count(mask) == 1


def test_crowd_of_segments_needs_no_crowd_of_pairs() -> None:
    """A frame of noise: more segments than all pairs of them could be held in memory."""
    noise = np.random.default_rng(1).random((400, 600)) < 0.5
    assert len(find_segments(noise)) > 5000
    assert 0 < line_count(noise) < 500
