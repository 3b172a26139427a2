"""What our exporters write is what the device's reader takes, and it sees the same as the ONNX library."""

import io
import warnings

import numpy as np
import pytest

from runtime.bundles.errors import BundleError
from runtime.bundles.graph import read_graph

pytestmark = pytest.mark.export


def _checked(data: bytes):
    import onnx

    model, graph = onnx.load_from_string(data), read_graph(data, "here")
    assert graph.ir == model.ir_version
    assert graph.opsets == {("" if entry.domain == "ai.onnx" else entry.domain): entry.version for entry in model.opset_import}
    assert list(graph.inputs) == [entry.name for entry in model.graph.input]
    assert list(graph.outputs) == [entry.name for entry in model.graph.output]
    assert sum(graph.operators.values()) == len(model.graph.node)
    return graph


def _estimators():
    from sklearn.decomposition import PCA
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "boosting": make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=6, max_depth=5)),
        "histogram boosting": HistGradientBoostingClassifier(max_iter=6),
        "scaler, axes, regression": make_pipeline(StandardScaler(), PCA(3), LogisticRegression()),
    }


@pytest.mark.parametrize("what", ["boosting", "histogram boosting", "scaler, axes, regression"])
def test_estimators(what):
    from skl2onnx import to_onnx

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 6)).astype(np.float32)
    grades = np.clip(rows[:, 0] + rows[:, 1] + 1.5, 0, 3).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of its own parts
        fitted = _estimators()[what].fit(rows, grades)
        made = to_onnx(fitted, rows[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    assert _checked(made.SerializeToString()).outputs["probabilities"].shape == (None, 4)


@pytest.mark.parametrize("dynamo", [False, True], ids=["tracing", "dynamo"])
def test_networks(dynamo):
    import onnx
    import onnxslim
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.look, self.remember, self.say = nn.Conv2d(3, 4, 3, padding=1), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 4)

        def forward(self, picture):
            seen = torch.relu(self.look(picture.permute(0, 3, 1, 2).float()))
            if dynamo:
                return torch.softmax(self.say(torch.cat([seen.mean((2, 3)), seen.amax((2, 3))[:, :1]], 1)), 1)
            return torch.softmax(self.say(self.remember(seen.mean(3).transpose(1, 2))[0][:, -1]), 1)

    out, example = io.BytesIO(), torch.zeros((1, 16, 24, 3), dtype=torch.uint8)
    if dynamo:
        pytest.importorskip("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor
        torch.onnx.export(Net().eval(), (example,), out, input_names=["picture"], output_names=["chances"], opset_version=18, dynamo=dynamo)
        slim = onnxslim.slim(onnx.load_from_string(out.getvalue()))
    slim.ir_version = min(slim.ir_version, 10)
    _checked(slim.SerializeToString())


def test_half_precision_and_quantised_weights_in_every_spelling():
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    halves = [
        numpy_helper.from_array(np.array([1.5, -2.0], np.float16), "raw"),
        helper.make_tensor("typed", TensorProto.FLOAT16, [2], [1.5, -2.0]),
        helper.make_tensor("bytes", TensorProto.INT8, [3], [-1, 0, 127]),
        helper.make_tensor("wide", TensorProto.INT64, [2], [-1, 2**40]),
        helper.make_tensor("truth", TensorProto.BOOL, [2], [True, False]),
        helper.make_tensor("double", TensorProto.DOUBLE, [1], [0.25]),
        helper.make_tensor("scalar", TensorProto.FLOAT, [], [0.5]),
    ]
    node = helper.make_node("Add", ["x", "raw"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [2]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], halves)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    assert _checked(model.SerializeToString()).weights == 13
    model.graph.initializer[1].int32_data[0] = 0x7C00  # infinite
    with pytest.raises(BundleError, match="no finite numbers"):
        read_graph(model.SerializeToString(), "here")
    assert onnx.IR_VERSION >= 10
