from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.analysis.breadth import breadth_of
from runtime.analysis.continuation import best_pairs
from runtime.analysis.leftover import unexplained
from runtime.analysis.skeleton import skeleton_graph
from runtime.analysis.tracing import trace_hairs
from tests.runtime.strokes import Stroke, arc, distance, drawn, traced


def on_course(points: np.ndarray, stroke: Stroke) -> float:
    """Share of points within half a width of a stroke's middle."""
    return float((distance(points, stroke[0]) < stroke[1] / 2 + 1).mean())


@pytest.mark.parametrize("angle", [90, 60, 40, 25, 15])
@pytest.mark.parametrize("width", [3, 8, 14])
def test_two_hairs_go_straight_through_their_crossing(angle: float, width: float) -> None:
    half = np.radians(angle) / 2
    reach = np.array([np.cos(half), np.sin(half)]) * 150
    strokes: list[Stroke] = [
        ([(200 - reach[0], 200 - reach[1]), (200 + reach[0], 200 + reach[1])], width),
        ([(200 - reach[0], 200 + reach[1]), (200 + reach[0], 200 - reach[1])], width),
    ]
    hairs = traced(drawn(strokes, 400, 400)[0])
    assert len(hairs) == 2
    best = [max(on_course(hair.points, stroke) for stroke in strokes) for hair in hairs]
    assert min(best) > 0.9
    assert all(hair.length_px > 270 for hair in hairs)


def test_many_curved_hairs_that_cross_are_all_found() -> None:
    strokes: list[Stroke] = [
        (arc((30, 60), 20, 330, 0.0015), 7),
        (arc((40, 300), -40, 330, 0.002), 6),
        (arc((200, 20), 80, 330, -0.002), 8),
        (arc((350, 40), 120, 330, 0.0015), 4),
    ]
    mask, picture = drawn(strokes, 400, 400)
    hairs = traced(mask, picture)
    assert len(hairs) == 4
    for stroke in strokes:
        assert max(on_course(hair.points, stroke) for hair in hairs) > 0.9


def test_hairs_of_one_root_stay_two() -> None:
    strokes: list[Stroke] = [([(60, 120), (260, 70)], 8), ([(60, 120), (260, 170)], 8)]
    hairs = traced(drawn(strokes)[0])
    assert len(hairs) == 2
    for hair in hairs:
        turn = hair.points[len(hair.points) // 2] - hair.points[0], hair.points[-1] - hair.points[len(hair.points) // 2]
        cosine = turn[0] @ turn[1] / np.hypot(*turn[0]) / np.hypot(*turn[1])
        assert cosine > 0.95  # none turns round at the root


def test_a_hair_that_ends_on_another_is_its_own() -> None:
    strokes: list[Stroke] = [([(20, 120), (300, 120)], 8), ([(150, 120), (190, 20)], 6)]
    hairs = traced(drawn(strokes)[0])
    assert len(hairs) == 2
    assert hairs[0].length_px == pytest.approx(280, abs=12)


def test_a_flake_over_a_hair_does_not_part_it() -> None:
    mask, _ = drawn([(arc((20, 60), 15, 280, 0.001), 8)])
    mask[:, 140:165] = False
    assert len(traced(mask)) == 1


def test_two_hairs_end_to_end_but_turned_are_not_joined() -> None:
    mask, _ = drawn([([(20, 120), (140, 120)], 7), ([(160, 124), (230, 220)], 7)])
    assert len(traced(mask)) == 2


def test_a_hair_beside_others_of_the_frame_is_seen_by_their_width() -> None:
    single: list[Stroke] = [([(20, 30 + 40 * k), (300, 40 + 40 * k)], 9) for k in range(4)]
    pair: list[Stroke] = [([(20, 200), (300, 210)], 9), ([(60, 208), (260, 215)], 9)]
    mask, picture = drawn(single + pair)
    assert len(traced(mask, picture)) == 6


def fan(seed: int, count: int) -> list[Stroke]:
    """Hairs across the picture that run into one another at small angles."""
    rng = np.random.default_rng(seed)
    rise = 150 * np.tan(np.radians(rng.uniform(-9, 9, count)))
    return [([(20, y - dy), (300, y + dy)], 8) for y, dy in zip(rng.uniform(80, 160, count), rise, strict=True)]


@pytest.mark.parametrize(("reliability", "found"), [(1.0, 9), (0.5, 8)])
def test_a_hair_lost_in_a_tangle_is_found_in_what_the_others_leave_of_a_reliable_mask(reliability: float, found: int) -> None:
    strokes = fan(17, 9)
    mask, picture = drawn(strokes)
    hairs = trace_hairs(skeleton_graph(mask), mask, picture, reliability)
    assert len(hairs) == found
    assert all(max(on_course(hair.points, stroke) for stroke in strokes) > 0.7 for hair in hairs)


def test_what_is_unexplained_is_the_hair_that_was_not_found() -> None:
    strokes: list[Stroke] = [([(20, 40 * k + 30), (300, 40 * k + 30)], 9) for k in range(4)]
    mask, _ = drawn(strokes)
    known = traced(mask)
    both, _ = drawn([*strokes, ([(20, 205), (300, 205)], 9)])
    rest, usual = unexplained(known, breadth_of(known, both).own(25.0), both, 24.0)
    assert usual == pytest.approx(9, abs=1)
    assert rest[205, 40:280].all()
    assert not rest[:190].any()
    assert not unexplained(known, breadth_of(known, mask).own(25.0), mask, 24.0)[0].any()


def test_the_rim_of_a_blob_is_looked_at_no_longer_than_that_of_the_widest_hair() -> None:
    mask = np.zeros((400, 400), bool)
    mask[:250] = mask[300:390] = True  # a blob of 250 px, and what is left of another
    known = traced(mask[:290])
    rest, usual = unexplained(known, np.array([250.0] * len(known)), mask, 24.0)
    assert usual == 250
    assert rest[345, 100:300].all()


def test_confidence_grows_with_length_and_with_the_masks_reliability() -> None:
    mask, picture = drawn([([(20, 60), (300, 70)], 8), ([(20, 160), (60, 160)], 8)])
    relied, doubted = (trace_hairs(skeleton_graph(mask), mask, picture, trust) for trust in (1.0, 0.6))
    assert relied[0].confidence > relied[1].confidence > doubted[1].confidence
    assert relied[0].confidence > doubted[0].confidence > doubted[1].confidence
    assert 0 < doubted[1].confidence < relied[0].confidence < 1


def test_specks_and_short_stubs_do_not_count() -> None:
    mask, _ = drawn([([(20, 20), (36, 24)], 4), ([(100, 100), (103, 103)], 3), ([(20, 200), (200, 180)], 5)])
    assert len(traced(mask)) == 1


def test_points_are_close_together_and_inside_the_picture() -> None:
    mask, _ = drawn([(arc((-20, 60), 15, 400, 0.001), 8)])
    (hair,) = traced(mask)
    assert np.hypot(*np.diff(hair.points, axis=0).T).max() <= 8
    assert hair.points[:, 0].min() < 1  # it is followed to the border
    assert (hair.points >= -1).all() and (hair.points[:, 0] <= 320).all()


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((8, 8), bool),
        np.ones((8, 8), bool),
        np.ones((1, 1), bool),
        np.ones((1, 50), bool),
        np.eye(60, dtype=bool),
        np.ones((120, 160), bool),
        np.pad(np.ones((100, 130), bool), 10),
        np.indices((90, 90)).sum(0) % 2 == 0,
        np.random.default_rng(1).random((120, 120)) > 0.5,
        np.random.default_rng(2).random((200, 200)) > 0.97,
    ],
    ids=["empty", "full", "one pixel", "one row", "diagonal", "all hair", "blob", "checkers", "noise", "specks"],
)
def test_masks_that_are_no_hair_are_answered(mask: np.ndarray) -> None:
    hairs = traced(mask)
    assert len(hairs) <= mask.size // 24
    assert all(np.isfinite(hair.points).all() and hair.length_px > 0 for hair in hairs)


@given(st.integers(0, 10_000))
@settings(max_examples=12, derandomize=True)
def test_turning_the_picture_does_not_change_the_count(seed: int) -> None:
    random = np.random.default_rng(seed)
    courses = [arc(tuple(random.uniform(60, 240, 2)), random.uniform(0, 360), 200, random.normal(0, 0.001)) for _ in range(3)]  # type: ignore[arg-type]
    mask, _ = drawn([(course, 6) for course in courses], 300, 300)
    counts = [len(traced(np.rot90(mask, k).copy())) for k in range(4)]
    assert max(counts) - min(counts) <= 1


@given(st.integers(2, 7), st.integers(0, 100_000))
@settings(max_examples=80, derandomize=True)
def test_best_pairs_match_no_end_twice_and_come_near_the_optimum(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    links = [pair for pair in itertools.combinations(range(count), 2) if random.random() < 0.7]
    if not links:
        return
    first, second = np.array(links).T
    gain = random.uniform(0.1, 5.0, len(links))
    partner = best_pairs(count, first, second, gain)
    matched = partner >= 0
    assert np.array_equal(partner[partner[matched]], np.flatnonzero(matched))
    worth = dict(zip(links, gain.tolist(), strict=True))
    got = sum(worth[(i, int(partner[i]))] for i in range(count) if partner[i] > i)

    def best(free: frozenset[int]) -> float:
        if len(free) < 2:
            return 0.0
        one = min(free)
        rest = free - {one}
        return max([best(rest)] + [worth[(one, other)] + best(rest - {other}) for other in rest if (one, other) in worth])

    assert got >= 0.66 * best(frozenset(range(count)))  # odd rings lose their weakest link
