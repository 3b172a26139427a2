import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from runtime.analysis import sampling


def test_the_law_of_a_random_sum():
    rng = np.random.default_rng(5)
    # as many units as a binomial law gives, whose variance is 1 − p of Poisson's, each with its hairs
    units = rng.binomial(20, 1 - sampling.UNIT_EVENNESS, 40_000)
    hairs = rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2], size=(40_000, 20))
    counts = np.where(np.arange(20) < units[:, None], hairs, 0).sum(1)
    assert counts.var() / counts.mean() == pytest.approx(sampling.dispersion([]), rel=0.03)
    assert sampling.dispersion(None) == sampling.UNIT_EVENNESS == pytest.approx(units.var() / units.mean(), rel=0.03)


def test_units_of_the_field_outweigh_what_is_assumed_as_they_grow_in_number():
    assert sampling.unit_moments([]) == sampling.unit_moments([0, 0]) == pytest.approx((1.8, 3.8))
    means = [sampling.unit_moments([4] * n)[0] for n in (0, 2, 20, 2000)]
    assert means == sorted(means)
    assert means[-1] == pytest.approx(4, abs=0.02)


@pytest.mark.parametrize("count", [1, 4, 30, 1000])
def test_a_plain_count_gets_the_exact_poisson_interval(count):
    low, high = sampling.rate_interval(count, count**0.5, 1.0)
    assert low == pytest.approx(stats.chi2.ppf(0.025, 2 * count) / 2)
    assert high == pytest.approx(stats.chi2.ppf(0.975, 2 * count + 2) / 2)


def test_of_nothing_found_the_interval_tells_what_may_have_been_missed():
    low, high = sampling.rate_interval(0.0, 3.0, 2.0)
    assert low == 0
    assert high == pytest.approx(2 * 3.689, rel=1e-3)
    assert sampling.rate_interval(5.0, 0.0, 1.0)[0] == 0.0


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 3), st.floats(1e-3, 1))
def test_an_interval_of_a_density_holds_it(value, relative_std, relative_step):
    low, high = sampling.rate_interval(value, value * relative_std, value * relative_step)
    assert 0 <= low <= value <= high < np.inf


def test_shares():
    assert sampling.share_interval(0, 0) is None
    assert sampling.share_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # Newcombe, Stat. Med. 17 (1998) 857
    assert sampling.share_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert sampling.share_interval(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(7)
    held = {"mean": 0, "median": 0, "cv": 0}
    for _ in range(400):
        values = rng.normal(70, 14, 40)
        for name, interval, true in (
            ("mean", sampling.mean_interval(values.mean(), values.std(ddof=1), len(values)), 70),
            ("median", sampling.median_interval(values), 70),
            ("cv", sampling.variation_interval(values), 0.2),
        ):
            held[name] += interval[0] <= true <= interval[1]
    assert 0.93 <= held["mean"] / 400 <= 0.975
    assert 0.93 <= held["median"] / 400 <= 0.985
    assert 0.90 <= held["cv"] / 400 <= 0.975


def test_the_scales_uncertainty_widens_means_and_medians():
    values = np.full(50, 70.0)
    assert sampling.mean_interval(70.0, 0.0, 50, 0.05) == pytest.approx((70 - 6.86, 70 + 6.86), abs=0.01)
    assert sampling.median_interval(values, 0.05) == pytest.approx((70 - 6.86, 70 + 6.86), abs=0.01)


def test_too_few_values_have_no_interval():
    assert sampling.mean_interval(5.0, 1.0, 1) is None
    assert sampling.median_interval(np.arange(5.0)) is None
    assert sampling.median_interval(np.arange(6.0)) == pytest.approx((0.0, 5.0))
    assert sampling.variation_interval(np.arange(1.0, 10.0)) is None
    assert sampling.variation_interval(np.full(12, 5.0)) is None


def test_fields_that_differ_more_than_sampling_explains_are_noticed():
    assert sampling.between_fields([20], [0.1], 1.5) == 1.0
    assert sampling.between_fields([0, 0], [0.1, 0.1], 1.5) == 1.0
    assert sampling.between_fields([20, 21, 19, 20], [0.1] * 4, 1.5) == 1.0
    assert sampling.between_fields([5, 40, 10, 30], [0.1] * 4, 1.5) > 5
    assert sampling.between_fields([10, 20, 40], [0.1, 0.2, 0.4], 1.5) == 1.0, "by density, not by count"
