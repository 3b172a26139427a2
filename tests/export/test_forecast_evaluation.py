import numpy as np
import pytest

from export.errors import EvaluationError
from export.evaluation.forecast import area_under_curve, calibration, calibration_error, figures, gain, table
from export.evaluation.forecast_pictures import calibration_svg, curves_svg

pytestmark = pytest.mark.export


@pytest.fixture(scope="module")
def fonts():
    """Matplotlib keeps the fonts open that it has used once."""
    calibration_svg("", {"nobody": []})


def two(high):
    high = np.asarray(high, float)
    return np.stack([1 - high, high], 1)


def test_area_under_curve_by_hand():
    positive = np.array([False, False, True, True])
    assert area_under_curve(np.array([0.1, 0.4, 0.35, 0.8]), positive) == pytest.approx(0.75)
    assert area_under_curve(np.array([0.5, 0.5, 0.5, 0.5]), positive) == pytest.approx(0.5)
    assert area_under_curve(np.array([1.0, 2.0, 3.0, 4.0]), positive) == 1
    with pytest.raises(EvaluationError, match="same label"):
        area_under_curve(np.array([1.0, 2.0]), np.array([True, True]))


def test_figures_by_hand():
    found = figures(two([0.9, 0.8, 0.6, 0.4, 0.3, 0.1, 0.7, 0.2]), np.array([1, 1, 0, 1, 0, 0, 1, 0]))
    assert (found.accuracy, found.precision, found.recall, found.f1) == (0.75, 0.75, 0.75, 0.75)
    assert found.auc.value == pytest.approx(15 / 16)
    assert found.auc.low <= found.auc.value <= found.auc.high
    assert found.brier == pytest.approx(np.mean(np.square([0.1, 0.2, 0.6, 0.6, 0.3, 0.1, 0.3, 0.2])))


def test_four_labels_are_averaged():
    labels = np.repeat(np.arange(4), 5)
    found = figures(0.1 + 0.6 * np.eye(4)[labels], labels)
    assert (found.accuracy, found.f1, found.auc.value) == (1, 1, 1)


def test_calibration_tells_honest_from_boastful():
    rng = np.random.default_rng(1)
    true = rng.uniform(size=20_000)
    labels = (rng.uniform(size=20_000) < true).astype(np.int64)
    assert calibration_error(two(true), labels) < 0.015
    assert calibration_error(two(np.clip(1.8 * (true - 0.5) + 0.5, 0, 1)), labels) > 0.08
    bins = calibration(two(true), labels)
    assert sum(b.persons for b in bins) == 20_000
    assert [b.told for b in bins] == sorted(b.told for b in bins)


def test_the_gain_is_paired():
    rng = np.random.default_rng(2)
    state, other = rng.normal(size=1500), rng.normal(size=1500)
    labels = (rng.uniform(size=1500) < 1 / (1 + np.exp(-2 * (state + other)))).astype(np.int64)
    both, one = two(1 / (1 + np.exp(-(state + other)))), two(1 / (1 + np.exp(-state)))
    found = gain(both, one, labels)
    assert found.low > 0.05
    assert found.error < 0.025
    assert gain(one, one, labels).value == 0
    with pytest.raises(EvaluationError, match="nothing to compare"):
        gain(both[:5], one, labels)


def test_tables_and_pictures_show_what_was_measured(fonts):
    rows = {"hybrid CNN–LSTM": figures(two([0.9, 0.2, 0.7, 0.4]), np.array([1, 0, 1, 0]))}
    assert "| hybrid CNN–LSTM | 100.0 % |" in table(rows)
    assert "0.91" in table(rows)
    bins = {"hybrid CNN–LSTM": calibration(two([0.9, 0.2, 0.7, 0.4]), np.array([1, 0, 1, 0]))}
    assert b"hybrid CNN" in calibration_svg("title", bins)
    assert b"<svg" in curves_svg("title", {"a": [(1, 0.7), (2, 0.6)]}, {"a": [(2, 0.8)]})
