from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import label
from skimage.morphology import skeletonize

from runtime.analysis.skeleton import BORDER, FREE, fill_pinholes, skeleton_graph
from tests.runtime.strokes import arc, drawn


def test_a_stroke_is_one_segment_along_its_middle() -> None:
    mask, _ = drawn([([(40, 60), (280, 180)], 9)])
    graph = skeleton_graph(mask)
    longest = int(graph.lengths_px.argmax())
    points = graph.points[graph.offsets[longest] : graph.offsets[longest + 1]]
    off = np.abs((points[:, 1] - 60) - (points[:, 0] - 40) * 0.5) / np.hypot(1, 0.5)
    assert graph.lengths_px[longest] == pytest.approx(np.hypot(240, 120), abs=16)
    assert np.percentile(off, 95) < 1.0
    assert np.median(graph.radius_px) * 2 == pytest.approx(9, abs=1.0)


def test_points_are_in_order_within_every_segment() -> None:
    mask, _ = drawn([([(20, 20), (300, 200)], 5), ([(20, 200), (300, 30)], 7), (arc((30, 120), 0, 240, 0.004), 3)])
    graph = skeleton_graph(mask)
    step = np.hypot(*np.diff(graph.points, axis=0).T)
    inside = np.ones(len(step), bool)
    inside[graph.offsets[1:-1] - 1] = False
    assert len(graph.nodes) >= 1
    assert step[inside].max() < 2.0


def test_a_ring_is_walked_once_round() -> None:
    yy, xx = np.mgrid[:120, :120]
    away = np.hypot(xx - 60, yy - 60)
    graph = skeleton_graph((away > 36) & (away < 42))
    assert graph.lengths_px.sum() == pytest.approx(2 * np.pi * 39, rel=0.08)


def test_hair_that_leaves_the_picture_ends_at_the_border() -> None:
    mask, _ = drawn([([(-30, 60), (350, 160)], 11)])
    graph = skeleton_graph(mask)
    assert (graph.end_nodes == BORDER).sum() == 2
    assert (graph.end_nodes == FREE).sum() == 0


@pytest.mark.parametrize("side", [0, 1, 2, 3])
def test_a_hair_along_the_border_is_kept(side: int) -> None:
    mask = np.zeros((100, 100), bool)
    np.rot90(mask, side)[:2, 10:90] = True
    assert skeleton_graph(mask).lengths_px.max() > 60


def test_pinholes_are_filled_and_gaps_between_hairs_are_not() -> None:
    mask, _ = drawn([([(20, 60), (300, 60)], 13), ([(20, 90), (300, 110)], 13)])
    holed = mask.copy()
    holed[60, 100:104] = False
    filled = fill_pinholes(holed.astype(np.uint8)).astype(bool)
    assert np.array_equal(filled, mask)


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24), elements=st.booleans()))
@settings(max_examples=120)
def test_any_mask_gives_a_consistent_graph(mask: np.ndarray) -> None:
    graph = skeleton_graph(mask)
    segments = len(graph.offsets) - 1
    assert graph.offsets[0] == 0 and graph.offsets[-1] == len(graph.points) == len(graph.radius_px) == len(graph.arc_px)
    assert graph.end_nodes.shape == (segments, 2)
    assert graph.end_nodes.max(initial=-1) < len(graph.nodes)
    assert np.isfinite(graph.points).all() and (graph.radius_px > 0).all()


@given(st.integers(0, 10_000))
@settings(max_examples=25, derandomize=True)
def test_every_skeleton_pixel_lies_in_a_segment_or_at_a_node(seed: int) -> None:
    random = np.random.default_rng(seed)
    strokes = [([tuple(random.uniform(10, 110, 2)), tuple(random.uniform(10, 110, 2))], 1.5) for _ in range(4)]
    mask, _ = drawn(strokes, 120, 120)  # type: ignore[arg-type]
    graph = skeleton_graph(mask)
    if not mask.any():
        return
    ridge = skeletonize(mask)  # type: ignore[no-untyped-call]
    inner = ridge[4:-4, 4:-4].sum()
    assert len(graph.points) >= inner - 6 * label(mask)[1] - 12 * max(len(graph.nodes), 1)
