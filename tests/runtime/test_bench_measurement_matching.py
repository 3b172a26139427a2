"""Found hairs are paired with true ones by their courses: one to one, the most common course in sum."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bench.measurement.matching import common_points, match
from tests.runtime.strokes import arc

WIDTH_PX = 6.0
LANE_PX = 60.0  # between drawn hairs, more than any of them is off


def true_course(points, width=WIDTH_PX):
    course = np.asarray(points, float).reshape(-1, 2)
    return np.column_stack([course, np.full(len(course), width)])


def line(y, x0=0.0, x1=120.0, step=3.0):
    x = np.arange(x0, x1, step)
    return np.column_stack([x, np.full(len(x), y)])


drawn_hairs = st.lists(st.tuples(st.floats(-8, 8), st.floats(60, 200), st.floats(-0.003, 0.003)), min_size=1, max_size=6)


@given(drawn_hairs, st.randoms(use_true_random=False), st.integers(0, 2**32 - 1), st.booleans())
def test_hairs_found_in_any_order_reversed_or_off_by_little_find_their_own(hairs, order, seed, backwards):
    rng = np.random.default_rng(seed)
    courses = [np.array(arc((20.0, LANE_PX * i), heading, length, bend)) for i, (heading, length, bend) in enumerate(hairs)]
    # truth has points every 3 px, as the renderer's hairs have; what is found has others
    fine = [np.column_stack([np.interp(np.arange(0, len(c) - 1, 0.3), np.arange(len(c)), c[:, k]) for k in (0, 1)]) for c in courses]
    chosen = [i for i in range(len(hairs)) if order.random() < 0.8]
    order.shuffle(chosen)
    found = [courses[i] + rng.uniform(-1.5, 1.5, courses[i].shape) for i in chosen]
    found = [course[::-1] if backwards else course for course in found]
    assert match(found, [true_course(course) for course in fine]) == list(enumerate(chosen))


@settings(max_examples=60)
@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_no_other_pairing_has_more_in_common(n_found, n_true, seed):
    rng = np.random.default_rng(seed)
    found = [line(rng.uniform(0, 12), x1=rng.uniform(3, 120)) for _ in range(n_found)]
    true = [true_course(line(rng.uniform(0, 12), x1=rng.uniform(3, 120)), rng.uniform(1, 8)) for _ in range(n_true)]
    common = common_points(found, true)
    pairs = match(found, true)
    assert all(common[i, j] > 0 for i, j in pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    padded = np.pad(common, ((0, max(n_true - n_found, 0)), (0, max(n_found - n_true, 0))))
    best = max(sum(padded[i, j] for i, j in enumerate(way)) for way in itertools.permutations(range(len(padded))))
    assert sum(common[i, j] for i, j in pairs) == best


@pytest.mark.parametrize(("off_px", "pairs"), [(0.0, 1), (4.9, 1), (5.1, 0), (40.0, 0)])  # half of 6 px and 2 px more
def test_a_course_beside_the_hair_is_common_to_half_its_width_and_two_px(off_px, pairs):
    assert len(match([line(100 + off_px)], [true_course(line(100.0))])) == pairs


@pytest.mark.parametrize(("astray", "pairs"), [(20, 1), (21, 0)])
def test_half_of_the_found_points_must_lie_along_the_hair(astray, pairs):
    course = line(50.0)  # 40 points
    course[:astray, 1] += 30
    assert len(match([course], [true_course(line(50.0))])) == pairs


def test_of_a_hair_found_in_two_pieces_the_longer_stands_for_it():
    assert match([line(50.0, 0, 40), line(50.0, 45, 120)], [true_course(line(50.0))]) == [(1, 0)]


def test_two_hairs_found_as_one_leave_one_that_is_missed():
    true = [true_course(line(50.0, 0, 50)), true_course(line(50.0, 50, 120))]
    assert match([line(50.0)], true) == [(0, 1)]


def test_a_pair_gives_way_where_that_leaves_more_in_common():
    # the first lies along both hairs, the second along the upper one alone
    assert match([line(53.0), line(49.0)], [true_course(line(50.0)), true_course(line(56.0))]) == [(0, 1), (1, 0)]


def test_nothing_matches_nothing():
    empty = np.empty((0, 2))
    assert match([], []) == match([empty], [true_course(line(5.0))]) == match([line(5.0)], []) == match([], [true_course(line(5.0))]) == []
    assert match([line(5.0)], [true_course(empty)]) == []
