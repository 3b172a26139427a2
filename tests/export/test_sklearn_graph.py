import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")

import onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from export.conversion.sklearn_graph import INPUT, estimator_parity, random_rows, sklearn_onnx
from export.errors import ConversionError
from runtime.inference.onnx import OnnxBackend

pytestmark = pytest.mark.export
RNG = np.random.default_rng(0)
ROWS = np.asarray(RNG.normal([500, 9, 9, 20], [300, 4, 4, 10], (300, 4)), np.float32)
GRADES = np.clip(ROWS[:, 0] // 250 + RNG.integers(0, 2, 300), 0, 3).astype(int)
BOOSTED = GradientBoostingClassifier(learning_rate=0.05, n_estimators=40, max_depth=5, subsample=0.6, random_state=0)


@pytest.mark.parametrize(
    ("estimator", "tolerance", "output"),
    [
        (BOOSTED, 1e-5, "probabilities"),
        (HistGradientBoostingClassifier(max_iter=20, random_state=0), 1e-5, "probabilities"),
        (make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=10, random_state=0)), 1e-5, "probabilities"),
        (make_pipeline(StandardScaler(), PCA(2), GradientBoostingClassifier(n_estimators=10, random_state=0)), 1e-5, "probabilities"),
        (CalibratedClassifierCV(BOOSTED, method="sigmoid", ensemble=False, cv=2), 1e-5, "probabilities"),
        (GradientBoostingRegressor(n_estimators=10, random_state=0), 1e-5, "prediction"),
        (HistGradientBoostingRegressor(max_iter=10, random_state=0), 1e-5, "prediction"),
        (make_pipeline(StandardScaler(), PCA(2)), 1e-3, "transformed"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else None,
)
def test_the_graph_gives_the_estimators_numbers(estimator, tolerance, output):
    estimator.fit(ROWS, GRADES)
    model = sklearn_onnx(estimator, 4)
    for like in (None, ROWS):
        found = estimator_parity(estimator, model, like=like)
        assert found["rows"] == 10_000
        assert found["max_abs"] <= tolerance
        assert found["label_changes"] == 0
    graph = onnx.load_model_from_string(model)
    onnx.checker.check_model(graph)
    assert graph.ir_version <= 10
    assert {entry.domain: entry.version for entry in graph.opset_import}[""] <= 18
    assert {node.domain for node in graph.graph.node} <= {"", "ai.onnx.ml"}
    assert [one.name for one in graph.graph.input] == [INPUT]
    assert [one.name for one in graph.graph.output] == [output]


def test_histogram_trees_fitted_to_doubles_branch_where_float32_rows_do():
    doubles = RNG.normal([500, 9, 9, 20], [300, 4, 4, 10], (300, 4))
    estimator = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(doubles, np.clip(doubles[:, 0] // 250, 0, 3))
    nodes = estimator._predictors[0][0].nodes
    before = nodes["num_threshold"].copy()
    model = sklearn_onnx(estimator, 4)
    assert np.array_equal(nodes["num_threshold"], before)
    rows = random_rows(estimator, 3000, 0)
    inner = (nodes["is_leaf"] == 0) & (nodes["feature_idx"] == 0)
    assert set(before[inner].astype(np.float32)) & set(rows[2000:, 0])
    assert estimator_parity(estimator, model)["max_abs"] <= 1e-5


def test_two_classes_and_another_name_of_the_input():
    estimator = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(ROWS, GRADES > 1)
    model = sklearn_onnx(estimator, 4, input_name="figures")
    assert estimator_parity(estimator, model)["max_abs"] <= 1e-5
    with OnnxBackend(model, threads=1) as backend:
        assert backend.infer({"figures": ROWS[:7]})["probabilities"].shape == (7, 2)


def test_another_estimators_graph_is_found_out():
    one = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(ROWS, GRADES)
    other = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(ROWS[:, ::-1], GRADES)
    assert estimator_parity(one, sklearn_onnx(other, 4), 1000)["max_abs"] > 0.01
    with pytest.raises(ConversionError, match="convert it anew"):
        estimator_parity(one, sklearn_onnx(make_pipeline(StandardScaler(), PCA(2)).fit(ROWS), 4), 100)


def test_random_rows_lie_on_both_sides_of_where_trees_branch():
    estimator = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(ROWS, GRADES)
    rows = random_rows(estimator, 3000, 5)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, random_rows(estimator, 3000, 5))
    assert not np.array_equal(rows, random_rows(estimator, 3000, 6))
    tree = estimator.estimators_[0, 0].tree_
    column, value = int(tree.feature[0]), np.float32(tree.threshold[0])
    on = rows[2000:, column]
    assert {value, np.nextafter(value, np.float32(np.inf)), np.nextafter(value, np.float32(-np.inf))} <= set(on.tolist())


@pytest.mark.parametrize(
    ("estimator", "features", "why"),
    [
        (GradientBoostingClassifier(), 4, "not fitted"),
        (BernoulliRBM(2, n_iter=1).fit(np.clip(ROWS / 1000, 0, 1)), 4, "BernoulliRBM: skl2onnx does not know it"),
        (make_pipeline(StandardScaler(), BernoulliRBM(2, n_iter=1)).fit(ROWS), 4, "BernoulliRBM: skl2onnx does not know it"),
        (StandardScaler().fit(ROWS), 5, "fitted to 4 features, not 5"),
        (object(), 4, "not a scikit-learn estimator"),
    ],
)
def test_what_cannot_be_converted_is_named(estimator, features, why):
    with pytest.raises(ConversionError, match=why):
        sklearn_onnx(estimator, features)


def test_comparing_nothing_is_an_error():
    estimator = StandardScaler().fit(ROWS)
    model = sklearn_onnx(estimator, 4)
    with pytest.raises(ConversionError, match="0 rows to compare"):
        estimator_parity(estimator, model, 0)
    with pytest.raises(ConversionError, match="not an ONNX graph"):
        estimator_parity(estimator, b"no graph", 10)
