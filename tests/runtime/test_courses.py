import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.analysis.courses import NO_WIDTH_PX, courses_of, percentiles, runs
from runtime.analysis.hairs import HairPath

numbers = st.floats(-1e6, 1e6) | st.just(float("nan"))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(numbers, max_size=12), min_size=1, max_size=6), st.floats(0, 100), st.randoms(use_true_random=False))
def test_percentiles_of_groups_are_those_of_numpy_in_any_order(groups: list[list[float]], percent: float, random) -> None:
    pairs = [(k, value) for k, group in enumerate(groups) for value in group]
    random.shuffle(pairs)
    owner = np.array([k for k, _ in pairs], np.int64)
    found = percentiles(np.array([v for _, v in pairs], float), owner, len(groups), percent)
    for got, group in zip(found, groups, strict=True):
        known = np.array(group)[np.isfinite(group)] if group else np.zeros(0)
        if len(known):
            assert got == pytest.approx(float(np.percentile(known, percent)), rel=1e-9, abs=1e-6)
        else:
            assert np.isnan(got)


def test_runs_keep_to_one_hair_and_bridge_small_gaps() -> None:
    owner = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1])
    wanted = np.array([1, 1, 0, 0, 1, 0, 1, 1, 0, 1], bool)
    first, last = runs(wanted, owner, 1)
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == [(0, 1), (4, 6), (7, 9)]
    assert all(len(side) == 0 for side in runs(np.zeros(10, bool), owner, 1))


def test_a_hair_of_unknown_width_has_a_stand_in() -> None:
    def hair(widths: list[float]) -> HairPath:
        points = np.stack([np.arange(len(widths)) * 4.0, np.zeros(len(widths))], axis=1)
        return HairPath(points, np.array(widths), float("nan"), float("nan"), 4.0 * (len(widths) - 1), False, 1.0)

    hairs = courses_of((hair([5, 7, 9]), hair([float("nan")] * 2)))
    assert hairs.rough_widths().tolist() == pytest.approx([float(np.percentile([5, 7, 9], 35)), NO_WIDTH_PX])
    assert hairs.spacing_px.tolist() == [4.0, 4.0]
    assert hairs.owner.tolist() == [0, 0, 0, 1, 1]
