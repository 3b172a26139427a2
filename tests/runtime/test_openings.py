import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.analysis.openings import PEAK_SPACING_PX, Heat, arms


def _spot(shape: tuple[int, int], x: float, y: float, height: float = 0.9, sigma: float = 5.0) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))).astype(np.float32)


def test_an_end_before_an_opening_is_told_from_one_behind_it():
    heat = _spot((120, 160), 80, 60)
    position = np.array([[80.0, 52.0], [80.0, 20.0], [80.0, 60.0]])
    outward = np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0]])
    odds = Heat.of(heat).odds_ahead(position, outward, np.full(3, 8.0))
    assert odds[0] == pytest.approx(np.log(4), abs=0.1)
    assert odds[1] < -6
    assert odds[2] == pytest.approx(odds[0])


def test_what_is_no_number_is_no_opening():
    heat = Heat.of(np.full((40, 40), np.nan, np.float32))
    assert heat.odds_ahead(np.array([[20.0, 20.0]]), np.array([[1.0, 0.0]]), np.array([5.0]))[0] < -6
    assert len(heat.peaks(0.3)[0]) == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 5)), max_size=6, unique=True))
def test_every_opening_has_one_peak(places):
    heat = np.zeros((240, 320), np.float32)
    for x, y in places:
        heat = np.maximum(heat, _spot(heat.shape, 40 * x, 40 * y))
    found, _ = Heat.of(heat).peaks(0.4)
    assert len(found) == len(places)
    for x, y in places:
        assert np.hypot(*(found - (40 * x, 40 * y)).T).min() < 3


def test_a_plateau_has_one_peak_and_a_weak_spot_none():
    heat = np.zeros((100, 100), np.float32)
    heat[40:48, 40:48] = 0.8
    assert len(Heat.of(heat).peaks(0.5)[0]) == 1
    assert len(Heat.of(_spot((100, 100), 50, 50, height=0.3)).peaks(0.5)[0]) == 0
    assert Heat.of(np.zeros((1, 1), np.float32)).peaks(0.5)[0].shape == (0, 2)


@pytest.mark.parametrize("heat", [np.ones((480, 640), np.float32), np.add.outer(np.arange(480), np.arange(640)) // 8 % 2 * np.float32(0.7)])
def test_a_map_that_is_the_same_all_over_has_peaks_apart_from_one_another(heat):
    where, _ = Heat.of(heat).peaks(0.5)
    apart = np.abs(where[:, None] - where).max(2)
    np.fill_diagonal(apart, np.inf)
    assert 10 < len(where) <= 480 * 640 / PEAK_SPACING_PX**2
    assert apart.min() > PEAK_SPACING_PX


def test_peaks_come_strongest_first_with_their_odds():
    heat = np.maximum(_spot((120, 160), 40, 60, height=0.5), _spot((120, 160), 120, 60, height=0.9))
    where, odds = Heat.of(heat).peaks(0.2)
    assert where[:, 0] == pytest.approx([120, 40], abs=2)
    assert odds == pytest.approx([np.log(4), -0.2], abs=0.1)


def test_an_opening_beside_a_place_is_around_it():
    heat = Heat.of(_spot((120, 160), 80, 60))
    beside, away = heat.odds_around(np.array([[90.0, 60.0], [20.0, 20.0]]), 8.0)
    assert beside > 1 > -6 > away


def test_hair_that_passes_has_two_arms_and_no_direction():
    mask = np.zeros((100, 100), bool)
    mask[44:57] = True
    found = arms(mask, np.array([[50.0, 50.0], [0.0, 50.0], [50.0, 10.0]]), 20.0)
    assert found.count.tolist() == [2, 1, 0]
    assert found.way[0] == pytest.approx([0, 0], abs=0.05)
    assert found.way[1] == pytest.approx([1, 0], abs=0.05)
    assert found.share[2] == 0
