"""Scale over distance from a few pictures: is it right, does it say how sure it is, and does it refuse what makes no curve?"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calib.curve import fit_curve
from calib.errors import CalibrationError, CurveError, DistanceError

WIDTH = 640
DISTANCES = np.array([10.0, 14.0, 19.0, 24.0, 29.0, 35.0])
FOCAL, ZERO = 1900.0, -3.0
TRUE = 1000 / FOCAL * (DISTANCES - ZERO)


def fitted(d, s, **more):
    return fit_curve(list(d), list(s), list(np.asarray(s) * 5e-4), width_px=WIDTH, **more)


def test_an_exact_line_is_found_exactly():
    curve = fitted(DISTANCES, TRUE)
    assert curve.a_um_per_px == pytest.approx(-1000 / FOCAL * ZERO)
    assert curve.b_um_per_px_per_mm == pytest.approx(1000 / FOCAL)
    assert (curve.zero_mm, curve.focal_px) == (pytest.approx(ZERO), pytest.approx(FOCAL))
    assert np.abs(curve.residuals).max() < 1e-9
    assert (curve.low_mm, curve.high_mm, curve.margin_mm) == (10.0, 35.0, pytest.approx(2.5))
    assert curve.excess_std_mm == 0.0
    assert not any(curve.outlier)
    value, std = curve.at(17.3)
    assert value == pytest.approx(1000 / FOCAL * 20.3)
    assert 0 < std < 5e-4 * value
    assert curve.distance_at(value) == pytest.approx(17.3)


def test_uncertainty_is_that_of_fit_and_reading_together():
    curve = fitted(DISTANCES, TRUE, shared_std_share=0.01)
    value, sure = fitted(DISTANCES, TRUE).at(20.0)
    b = curve.b_um_per_px_per_mm
    assert curve.at(20.0, 0.5) == (pytest.approx(value), pytest.approx(math.hypot(sure, b * 0.5, 0.01 * value), rel=1e-4))


def test_covariance_is_that_of_weighted_least_squares_where_distances_are_exact():
    curve = fitted(DISTANCES, TRUE)
    table = np.stack([np.ones(6), DISTANCES], 1) / (TRUE * 5e-4)[:, None]
    np.testing.assert_allclose(np.array(curve.covariance), np.linalg.inv(table.T @ table), rtol=1e-6)


def draws(n, rng, *, sigma, read, stated, span=(10.0, 35.0), share=5e-4):
    """(error over stated uncertainty, relative error) of predictions by n curves of six pictures."""
    over, relative = [], []
    for _ in range(n):
        b, zero = 1000 / rng.uniform(1000, 3500), rng.uniform(-20, 3)
        d = np.linspace(*span, 6) + rng.uniform(-1, 1, 6)
        s = b * (d - zero)
        curve = fit_curve(
            d + rng.normal(0, sigma, 6), s + rng.normal(size=6) * s * share, s * share, distance_std_mm=stated, width_px=WIDTH
        )
        for asked in rng.uniform(d.min(), d.max(), 10):
            try:
                value, std = curve.at(asked + rng.normal(0, read), read)
            except DistanceError:
                continue
            true = b * (asked - zero)
            over.append((value - true) / std)
            relative.append(abs(value / true - 1))
    return np.abs(over), np.array(relative)


def test_six_pictures_at_exact_distances_predict_to_a_thousandth():
    over, relative = draws(250, np.random.default_rng(1), sigma=0, read=0, stated=0)
    assert np.median(relative) <= 1e-3
    assert np.percentile(relative, 95) <= 3e-3
    assert 0.60 <= np.mean(over < 1) <= 0.78
    assert np.mean(over < 2) >= 0.93


@pytest.mark.parametrize(
    ("sigma", "read", "stated"),
    [(0, 0.2, 0), (0, 1, 0), (0.2, 0.2, 0.2), (1, 1, 1), (1, 0, 1), (0.2, 0, 0), (1, 0, 0)],
    ids=lambda value: f"{value:g}",
)
def test_stated_uncertainty_covers_what_readings_cost(sigma, read, stated):
    """Readings at calibration, when asked, or both; also where nobody said that the calibration's distances err (stated 0)."""
    over, _ = draws(250, np.random.default_rng(2), sigma=sigma, read=read, stated=stated)
    assert 0.60 <= np.mean(over < 1) <= 0.78
    assert np.mean(over < 2) >= 0.92


def test_uncertainty_is_never_below_what_was_stated():
    rng = np.random.default_rng(3)
    floor = fitted(DISTANCES, TRUE).at(22.0)[1]
    for _ in range(20):
        assert fitted(DISTANCES, TRUE * (1 + rng.normal(0, 5e-4, 6))).at(22.0)[1] > 0.99 * floor


def test_noisy_distances_do_not_flatten_the_slope():
    """Plain least squares would: by σ²/var(d), here 8 %."""
    rng = np.random.default_rng(4)
    slopes = []
    for _ in range(200):
        d = np.linspace(10, 35, 40)
        s = 0.5 * d
        slopes.append(fit_curve(d + rng.normal(0, 2, 40), s, s * 5e-4, distance_std_mm=2.0, width_px=WIDTH).b_um_per_px_per_mm)
    assert np.mean(slopes) == pytest.approx(0.5, rel=0.01)


def test_one_wrong_picture_among_six_is_left_out_and_named():
    wrong = TRUE.copy()
    wrong[5] *= 1.06
    curve = fitted(DISTANCES, wrong)
    assert curve.outlier == (False,) * 5 + (True,)
    assert curve.high_mm == 29.0
    assert curve.residuals[5] == pytest.approx(0.06 * TRUE[5], rel=0.01)
    assert curve.at(30.0)[0] == pytest.approx(1000 / FOCAL * 33, rel=1e-4)
    with pytest.raises(DistanceError):
        curve.at(35.0)


def test_of_four_pictures_none_is_left_out():
    wrong = TRUE[:4].copy()
    wrong[1] *= 1.03
    curve = fitted(DISTANCES[:4], wrong)
    assert not any(curve.outlier)
    assert curve.excess_std_mm > 0.1
    assert curve.at(14.0)[1] > 0.01 * TRUE[1]


@pytest.mark.parametrize(
    ("d", "s", "says"),
    [
        (DISTANCES[:5], TRUE, r"6 pictures and 5 distances: give one distance for each picture"),
        (DISTANCES[:2], TRUE[:2], r"pictures at 2 different distances \(10, 14 mm\): a curve needs 3 or more"),
        (DISTANCES[:1], TRUE[:1], "pictures at 1 different distance "),
        ([], [], "pictures at 0 different distances"),
        ([12] * 6, TRUE, r"all 6 pictures are at one distance \(12 mm\).*give the hood's height"),
        ([12, 12, 20, 20], [6, 6, 10, 10], "2 different distances"),
        ([12, 12.02, 12.04], [6, 6.01, 6.02], "the distances span 0.04 mm"),
        ([*DISTANCES[:5], math.nan], TRUE, "a distance is a number of mm above 0"),
        ([-1, *DISTANCES[1:]], TRUE, "a distance is a number of mm above 0"),
        (DISTANCES, [*TRUE[:5], math.nan], "without a scale"),
        (DISTANCES, [8.0] * 6, "the scale does not rise with the distance"),
        (DISTANCES, TRUE[[3, 0, 5, 1, 4, 2]] * [1, 1.3, 0.8, 1.1, 1, 1], "do(es)? not (rise|lie on a line)"),
        (DISTANCES, TRUE * 10, "0.3 picture widths: implausible for the lens .* check the pitch of the target"),
        (DISTANCES, TRUE / 10, "30 picture widths: implausible for the lens .* check the pitch of the target"),
        (DISTANCES / 10, TRUE, "that the distances are in mm"),
        (DISTANCES, 1000 / FOCAL * (DISTANCES + 150), "put the lens at -150 mm"),
    ],
)
def test_what_makes_no_curve_is_refused_with_what_to_do(d, s, says):
    with pytest.raises(CurveError, match=says):
        fitted(d, s)


@given(st.permutations(range(6)))
@settings(max_examples=40, deadline=None)
def test_exact_distances_in_another_order_are_always_seen(order):
    d = DISTANCES[list(order)]
    if list(order) == sorted(order):
        fitted(d, TRUE)
    else:
        with pytest.raises(CurveError, match=r"in another order than the pictures.*with the distances 10, 14, 19, 24, 29, 35 mm"):
            fitted(d, TRUE)


def test_readings_that_overtake_each_other_are_no_other_order():
    rng = np.random.default_rng(5)
    overtaken = 0
    for _ in range(60):
        d = np.linspace(10, 20, 8)
        told = d + rng.normal(0, 1, 8)
        fit_curve(told, 0.5 * d, 0.5 * d * 5e-4, distance_std_mm=1.0, width_px=WIDTH)
        overtaken += bool(np.any(np.diff(told) < 0))
    assert overtaken > 20


@pytest.mark.parametrize("distance", [7.4, 37.6, 0.0, -5.0, math.nan, math.inf])
def test_outside_the_interval_there_is_no_scale(distance):
    with pytest.raises(DistanceError, match=r"outside the calibrated 10 to 35 mm \(±2.5 mm of margin\): move the microscope"):
        fitted(DISTANCES, TRUE).at(distance)


def test_the_margin_is_part_of_the_interval():
    curve = fitted(DISTANCES, TRUE)
    assert curve.at(7.5)[0] == pytest.approx(1000 / FOCAL * 10.5)
    assert curve.at(37.5)[0] == pytest.approx(1000 / FOCAL * 40.5)


def test_the_margin_never_reaches_the_lens():
    d = np.array([2.0, 20.0, 40.0])
    curve = fitted(d, 0.5 * (d - 1))
    assert curve.margin_mm == pytest.approx(0.5)
    assert curve.at(1.5)[0] > 0


@pytest.mark.parametrize("std", [-0.1, math.nan, math.inf])
def test_an_uncertainty_is_a_length(std):
    with pytest.raises(DistanceError, match="0 or more"):
        fitted(DISTANCES, TRUE).at(20.0, std)
    with pytest.raises(CurveError, match="0 or more"):
        fitted(DISTANCES, TRUE, distance_std_mm=std)


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0.1, 50)


@given(st.lists(st.tuples(numbers, numbers, numbers), max_size=8), st.floats(0, 5))
@settings(max_examples=100, deadline=None)
def test_whatever_is_given_a_curve_is_sound_or_refused(rows, distance_std):
    try:
        curve = fit_curve(*([row[i] for row in rows] for i in range(3)), distance_std_mm=distance_std, width_px=WIDTH)
    except CalibrationError:
        return
    value, std = curve.at((curve.low_mm + curve.high_mm) / 2, 0.1)
    assert math.isfinite(value) and value > 0
    assert math.isfinite(std) and std > 0
