"""scikit-learn estimators as ONNX graphs that give the same numbers: by skl2onnx, freed of what no program of ours reads.

Estimators come from a training in this process or from a factory that a person names; one is never unpickled here, for a pickle is a
program.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import ConversionError
from runtime.inference.onnx import OnnxBackend

INPUT = "features"
OPSET, OPSET_ML = 17, 3
IR_VERSION = 8
PROBABILITIES, PREDICTION, TRANSFORMED = "probabilities", "prediction", "transformed"
MAX_ROWS = 1_000_000
PROBABILITIES_ABS = 1e-5
"""How far a classifier's probabilities may be from the estimator's."""
UNUSED = frozenset({"nodes_hitrates"})
"""Attributes of tree nodes that say how often a branch is taken, for other compilers: a fifth of the file, and read by none of ours."""
KNOWN = "GradientBoosting*, HistGradientBoosting*, RandomForest*, LogisticRegression, StandardScaler, PCA, and pipelines of them"

Rows = NDArray[np.float32]


def sklearn_onnx(estimator: Any, n_features: int, *, input_name: str = INPUT) -> bytes:
    """`estimator`, fitted on `n_features` columns, as ONNX bytes: input float32 (n, n_features) of that name, one output float32.

    A classifier's output is `probabilities` (n, classes) in the order of its classes, a regressor's `prediction`, a transformer's
    `transformed`. The graph holds standard operators of ai.onnx and ai.onnx.ml alone.

    Raises:
        ConversionError: the estimator is not fitted, is for another number of columns, or skl2onnx does not know it or a part of it.
    """
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    _check(estimator, n_features)
    name = type(estimator).__name__
    options = {"zipmap": False} if _is_classifier(estimator) else {}
    given = _rounded_down(estimator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own use of older interfaces
            model = to_onnx(
                given,
                initial_types=[(input_name, FloatTensorType([None, n_features]))],
                options={id(given): options} if options else None,
                target_opset={"": OPSET, "ai.onnx.ml": OPSET_ML},
            )
    except (MissingConverter, MissingShapeCalculator) as problem:
        raise ConversionError(f"{_unknown_part(estimator, problem)}: skl2onnx does not know it: use one of {KNOWN}") from problem
    except Exception as problem:  # skl2onnx raises nearly anything for what it knows in part
        first = str(problem).strip().partition("\n")[0][:300]
        raise ConversionError(f"{name}: cannot be converted ({type(problem).__name__}: {first}): use one of {KNOWN}") from problem
    return _slim(model, estimator)


def estimator_parity(
    estimator: Any, model: bytes, rows: int = 10_000, seed: int = 0, *, like: NDArray[Any] | None = None
) -> dict[str, float]:
    """How far the ONNX bytes `model` are from `estimator` over `rows` random rows: `rows`, `max_abs`, `mean_abs`, `label_changes` (share).

    A third of the rows is drawn like `like` (rows, features) or, without it, of widely different magnitudes; a third evenly between the
    values at which the trees of the estimator branch, and a third right on those values, where rounding shows. An estimator without trees
    has rows of the first kind alone. The estimator is asked for the same float32 values.

    Raises:
        ConversionError: nothing was compared, the graph cannot be run, or its output has another shape.
        InferenceError: ONNX Runtime failed.
    """
    if not 1 <= rows <= MAX_ROWS:
        raise ConversionError(f"{type(estimator).__name__}: {rows} rows to compare: choose 1 to {MAX_ROWS}")
    given = random_rows(estimator, rows, seed, like=like)
    name = _input_name(model)
    with OnnxBackend(model, name=type(estimator).__name__, threads=1) as backend:
        found = next(iter(backend.infer({name: given}).values()))
    expected = np.asarray(_expected(estimator, given), np.float64).reshape(rows, -1)
    got = np.asarray(found, np.float64).reshape(len(found), -1)
    if got.shape != expected.shape:
        raise ConversionError(f"{type(estimator).__name__}: the graph answers {got.shape}, the estimator {expected.shape}: convert it anew")
    if not (np.isfinite(got).all() and np.isfinite(expected).all()):
        raise ConversionError(f"{type(estimator).__name__}: answers that are not finite: check what it was fitted to")
    apart = np.abs(got - expected)
    changes = float(np.mean(got.argmax(1) != expected.argmax(1))) if _is_classifier(estimator) else 0.0
    return {"rows": float(rows), "max_abs": float(apart.max()), "mean_abs": float(apart.mean()), "label_changes": changes}


def proven_parity(estimator: Any, model: bytes) -> dict[str, float]:
    """The greatest difference of the graph's output, by its name, over 10,000 random rows.

    Raises:
        ConversionError: as `estimator_parity`, or probabilities differ by more than PROBABILITIES_ABS. What others answer has a scale of
            its own; their golden data hold them.
    """
    found = estimator_parity(estimator, model)
    if _is_classifier(estimator) and found["max_abs"] > PROBABILITIES_ABS:
        raise ConversionError(
            f"{type(estimator).__name__}: its probabilities and the graph's differ by {found['max_abs']:.3g} on random rows, at most "
            f"{PROBABILITIES_ABS:g} are allowed: fit it to float32 values, or use one of {KNOWN}"
        )
    return {_output_of(estimator, [""])[1]: found["max_abs"]}


def random_rows(estimator: Any, rows: int, seed: int, *, like: NDArray[Any] | None = None) -> Rows:
    """Random rows for `estimator`, float32 (rows, features), as `estimator_parity` describes them."""
    rng = np.random.default_rng([seed, 21])
    features = int(estimator.n_features_in_)
    if like is None:
        drawn = rng.normal(0, 1, (rows, features)) * 10 ** rng.uniform(-2, 3, (rows, 1))
    else:
        known = np.asarray(like, np.float64).reshape(-1, features)
        spread = known.std(axis=0) + 1e-6
        drawn = known[rng.integers(len(known), size=rows)] + rng.normal(0, 0.3, (rows, features)) * spread
    given = np.asarray(drawn, np.float32)
    columns = _thresholds(estimator, features)
    third = rows // 3
    for column, values in enumerate(columns):
        if not len(values):
            continue
        low, high = float(values.min()), float(values.max())
        margin = 0.1 * (high - low) + 1e-3
        given[third : 2 * third, column] = rng.uniform(low - margin, high + margin, third)
        on = values[rng.integers(len(values), size=rows - 2 * third)].astype(np.float32)
        beside = np.where(rng.random(len(on)) < 0.5, np.float32(np.inf), np.float32(-np.inf)).astype(np.float32)
        given[2 * third :, column] = np.where(rng.random(len(on)) < 0.5, on, np.nextafter(on, beside))
    return given


def _check(estimator: Any, n_features: int) -> None:
    name = type(estimator).__name__
    fitted = getattr(estimator, "n_features_in_", None)
    if not hasattr(estimator, "fit"):
        raise ConversionError(f"{name}: not a scikit-learn estimator: give a fitted one, such as {KNOWN}")
    if fitted is None:
        raise ConversionError(f"{name}: not fitted: fit it before it is converted")
    if int(fitted) != n_features:
        raise ConversionError(f"{name}: fitted to {fitted} features, not {n_features}: name as many as it was fitted to")


def _is_classifier(estimator: Any) -> bool:
    return hasattr(estimator, "predict_proba")


def _expected(estimator: Any, given: Rows) -> Any:
    if _is_classifier(estimator):
        return estimator.predict_proba(given)
    if hasattr(estimator, "predict"):
        return estimator.predict(given)
    return estimator.transform(given)


def _parts(estimator: Any) -> Iterator[Any]:
    """The estimator and everything fitted inside it, pipelines and wrappers opened."""
    yield estimator
    for _, part in getattr(estimator, "steps", []):
        if part is not None and part != "passthrough":
            yield from _parts(part)
    for part in getattr(estimator, "calibrated_classifiers_", []):
        yield from _parts(part.estimator)


def _branches(part: Any) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Of each tree in a part: the column that each branch looks at, and the value at which it branches."""
    for tree in np.asarray(getattr(part, "estimators_", []), object).ravel():
        found = getattr(tree, "tree_", None)
        if found is not None:
            inner = found.children_left >= 0
            yield np.asarray(found.feature[inner], np.int64), np.asarray(found.threshold[inner], np.float64)
    for nodes in _histogram_nodes(part):
        inner = (nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)
        yield np.asarray(nodes["feature_idx"][inner], np.int64), np.asarray(nodes["num_threshold"][inner], np.float64)


def _histogram_nodes(part: Any) -> Iterator[Any]:
    """The nodes of each tree of a HistGradientBoosting estimator, a structured array that is the estimator's own."""
    for trees in getattr(part, "_predictors", []):
        for tree in trees:
            yield tree.nodes


def _rounded_down(estimator: Any) -> Any:
    """The estimator, in a copy whose histogram trees branch at the next float32 at or below: the same for every float32 that is asked.

    skl2onnx rounds those values to the nearest, so that a row between the two would take the other branch.
    """
    if not any(True for part in _parts(estimator) for _ in _histogram_nodes(part)):
        return estimator
    copied = copy.deepcopy(estimator)
    for part in _parts(copied):
        for nodes in _histogram_nodes(part):
            values = np.asarray(nodes["num_threshold"], np.float64)
            near = values.astype(np.float32)
            nodes["num_threshold"] = np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
    return copied


def _unknown_part(estimator: Any, problem: Exception) -> str:
    """The name of the part that the converter stumbled over."""
    names = [type(part).__name__ for part in _parts(estimator)]
    told = str(problem)
    return next((name for name in reversed(names) if name in told), names[0])


def _thresholds(estimator: Any, features: int) -> list[NDArray[np.float64]]:
    """The values at which trees branch, by column; none where there is no tree, or its columns are not the input's (behind a scaler)."""
    columns: list[list[NDArray[np.float64]]] = [[] for _ in range(features)]
    parts = list(_parts(estimator))
    if not any(getattr(part, "steps", None) for part in parts):
        for part in parts:
            for looked_at, values in _branches(part):
                for column in range(features):
                    columns[column].append(values[(looked_at == column) & np.isfinite(values)])
    return [np.concatenate(column) if column else np.empty(0) for column in columns]


def _slim(model: Any, estimator: Any) -> bytes:
    """The graph with the one output that is read, its name ours, without attributes that no one reads or that only state defaults."""
    graph = model.graph
    outputs = {output.name: output for output in graph.output}
    wanted, name = _output_of(estimator, list(outputs))
    kept = outputs[wanted]
    del graph.output[:]
    graph.output.append(kept)
    for node in graph.node:
        for attributes in [a for a in node.attribute if a.name in UNUSED or _is_default(a)]:
            node.attribute.remove(attributes)
        for names in (node.input, node.output):
            for place, tensor in enumerate(names):
                if tensor == wanted:
                    names[place] = name
    graph.output[0].name = name
    _drop_unread(graph)
    model.ir_version = IR_VERSION
    stated = {entry.domain: int(entry.version) for entry in model.opset_import}
    del model.opset_import[:]
    for domain in sorted({"", *(node.domain for node in graph.node)}):
        model.opset_import.add(domain=domain, version=stated.get(domain, OPSET))
    model.doc_string = ""
    graph.name = type(estimator).__name__
    return bytes(model.SerializeToString())


def _output_of(estimator: Any, names: list[str]) -> tuple[str, str]:
    if _is_classifier(estimator):
        return next((name for name in names if name.startswith("prob")), names[-1]), PROBABILITIES
    return names[0], PREDICTION if hasattr(estimator, "predict") else TRANSFORMED


def _is_default(attribute: Any) -> bool:
    """Missing values never take the true branch where the attribute is not there."""
    return attribute.name == "nodes_missing_value_tracks_true" and not any(attribute.ints)


def _drop_unread(graph: Any) -> None:
    """Nodes and constants whose every output goes nowhere, such as the label's."""
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unread = [node for node in graph.node if not read & set(node.output)]
        for node in unread:
            graph.node.remove(node)
        if not unread:
            break
    for constant in [c for c in graph.initializer if c.name not in read]:
        graph.initializer.remove(constant)


def _input_name(model: bytes) -> str:
    import onnx

    try:
        return str(onnx.load_model_from_string(model).graph.input[0].name)
    except Exception as problem:  # protobuf and onnx raise their own
        raise ConversionError(f"not an ONNX graph ({type(problem).__name__}): convert the estimator anew") from problem
