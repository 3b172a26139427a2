import numpy as np
import pytest

pytest.importorskip("torch")

from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, recall_score

from export.errors import EvaluationError
from export.evaluation.grades import confusion_table, confusions_svg, figures_of, markdown, mean_macro_f1, score_conditions

pytestmark = pytest.mark.export


def _answers(grades):
    """Probabilities whose mode is `grades`, int (n, 3)."""
    return np.eye(4, dtype=np.float32)[grades] * 0.6 + 0.1


def test_figures_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(5):
        true = rng.choice(4, 80, p=(0.5, 0.2, 0.2, 0.1))
        found = np.clip(true + rng.integers(-1, 2, 80), 0, 3)
        figures = figures_of(confusion_table(true, found))
        assert figures.accuracy == pytest.approx(accuracy_score(true, found))
        assert figures.macro_f1 == pytest.approx(f1_score(true, found, average="macro"))
        assert figures.recall == pytest.approx(recall_score(true, found, average=None))
        assert figures.kappa == pytest.approx(cohen_kappa_score(true, found, weights="quadratic"))


def test_each_condition_is_set_beside_its_commonest_grade():
    true = np.array([[0, 1, 3]] * 6 + [[2, 1, 0]] * 4)
    scores = score_conditions(true, _answers(true), np.where(true > 0, 0.9, 0.2))
    assert [s.name for s in scores] == ["dandruff", "sebum", "erythema"]
    assert [s.macro_f1 for s in scores] == [1, 1, 1]
    assert [s.majority.accuracy for s in scores] == [0.6, 1.0, 0.6]
    assert [s.majority_grade for s in scores] == [0, 1, 3]
    assert scores[0].without_example == (1, 3)
    assert scores[0].figures.recall == (1.0, None, 1.0, None)
    assert scores[1].figures.kappa is None, "one grade alone has no chance agreement to exceed"
    assert [s.presence_accuracy for s in scores] == [1, 1, 1]
    assert mean_macro_f1(scores) == 1
    table = markdown(scores)
    assert "| dandruff | 10 | 1.000 (0.600)" in table
    assert "1.000 / – / 1.000 / –" in table


def test_wrong_answers_cost_what_they_are_away():
    true = np.repeat(np.arange(4), 10)
    near, far = true.copy(), true.copy()
    near[:5], far[:5] = 1, 3
    assert figures_of(confusion_table(true, near)).kappa > figures_of(confusion_table(true, far)).kappa


@pytest.mark.parametrize(
    ("true", "found", "message"),
    [([], [], "nothing can be compared"), ([0, 1], [0], "nothing can be compared"), ([0, 4], [0, 1], "0 to 3"), ([0], [-1], "0 to 3")],
)
def test_what_cannot_be_compared_is_refused(true, found, message):
    with pytest.raises(EvaluationError, match=message):
        confusion_table(np.array(true, np.int64), np.array(found, np.int64))


def test_confusions_are_drawn_with_their_counts():
    true = np.array([[0, 0, 0]] * 7 + [[1, 2, 3]] * 13)
    picture = confusions_svg("a <title>", score_conditions(true, _answers(true)))
    assert picture.startswith("<svg")
    assert "a &lt;title&gt;" in picture
    assert picture.count(">13</text>") == 3
    assert picture.count(">7</text>") == 3
