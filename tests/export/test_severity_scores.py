import numpy as np
import pytest

from export.errors import EvaluationError
from export.evaluation.severity import confusion, majority, markdown, reliability, score

pytestmark = pytest.mark.export


def test_all_right_and_all_wrong():
    truth = [0, 1, 2, 3]
    right = score(np.eye(4), truth)
    assert (right.accuracy, right.macro_f1, right.weighted_f1, right.kappa, right.brier, right.calibration_error) == (1, 1, 1, 1, 0, 0)
    wrong = score(np.eye(4)[::-1], truth)
    assert wrong.accuracy == 0
    assert wrong.within_one == 0.5
    assert wrong.kappa == pytest.approx(-1)
    assert wrong.brier == 2


def test_scores_by_hand():
    stated = np.array([[0.7, 0.1, 0.1, 0.1], [0.6, 0.2, 0.1, 0.1], [0.1, 0.8, 0.05, 0.05]])
    found = score(stated, [0, 1, 1])
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.macro_f1 == pytest.approx((2 / 3 + 2 / 3) / 4)
    assert found.weighted_f1 == pytest.approx(2 / 3)
    assert found.brier == pytest.approx((0.09 + 0.03 + 0.36 + 0.64 + 0.02 + 0.01 + 0.04 + 0.005) / 3)
    assert confusion(stated.argmax(1), np.array([0, 1, 1])).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_sklearn_agrees():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    stated, truth = rng.dirichlet(np.ones(4), 200), rng.integers(0, 4, 200)
    found, answer = score(stated, truth), stated.argmax(1)
    assert found.macro_f1 == pytest.approx(metrics.f1_score(truth, answer, average="macro"))
    assert found.weighted_f1 == pytest.approx(metrics.f1_score(truth, answer, average="weighted"))
    assert found.kappa == pytest.approx(metrics.cohen_kappa_score(truth, answer, weights="quadratic"))


def test_reliability_counts_every_answer_once():
    rng = np.random.default_rng(1)
    stated, truth = rng.dirichlet(np.ones(4), 300), rng.integers(0, 4, 300)
    bins = reliability(stated, truth)
    assert sum(b.answers for b in bins) == 300
    assert all(0.25 <= b.stated <= 1 and 0 <= b.right <= 1 for b in bins)
    assert reliability(np.eye(4), [0, 1, 2, 3])[-1].stated == 1


def test_the_majority_is_the_commonest_grade():
    stated = majority([0, 0, 0, 1], 5)
    assert stated.shape == (5, 4)
    assert score(stated, [0, 0, 1, 2, 3]).accuracy == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("stated", "truth"),
    [(np.zeros((0, 4)), []), (np.eye(4), [0, 1]), (np.eye(3), [0, 1, 2]), (np.eye(4) * np.nan, [0, 1, 2, 3]), (np.eye(4), [0, 1, 2, 4])],
)
def test_what_cannot_be_compared_is_refused(stated, truth):
    with pytest.raises(EvaluationError, match="severity"):
        score(stated, truth)


def test_the_table_has_a_row_for_each_name():
    rows = markdown({"one": score(np.eye(4), [0, 1, 2, 3]), "two": score(np.eye(4), [0, 1, 2, 2])}).splitlines()
    assert len(rows) == 4
    assert rows[2].startswith("| one | 4 | 1.000 |")
