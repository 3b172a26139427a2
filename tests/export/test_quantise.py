import json
from collections import Counter

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import onnxruntime  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from export.cli import app  # noqa: E402
from export.conversion import judging, variants  # noqa: E402
from export.conversion.halves import half_graph, half_nodes  # noqa: E402
from export.conversion.integers import Range, calibrated, integer_graph, integer_nodes  # noqa: E402
from export.conversion.onnx_graph import IR, MAX_OPSET  # noqa: E402
from export.conversion.part import ROLE, RolePart, read_part, read_parts, replace_roles, write_part  # noqa: E402
from export.conversion.variants import ranges_of  # noqa: E402
from export.errors import ConversionError  # noqa: E402
from runtime.bundles.golden import GoldenCase, pack, unpack  # noqa: E402
from runtime.bundles.parts import Golden, Tolerance  # noqa: E402
from runtime.bundles.proof import prove  # noqa: E402
from runtime.bundles.proof_report import plot  # noqa: E402
from runtime.bundles.reader import FACTORY, read_bundle  # noqa: E402
from runtime.bundles.roles import SeverityRole  # noqa: E402
from runtime.inference.onnx import OnnxBackend  # noqa: E402
from tests.export.training_samples import drawn_frames  # noqa: E402
from tests.runtime.bundle_samples import card  # noqa: E402

pytestmark = pytest.mark.export


@pytest.fixture(scope="module", autouse=True)
def fonts():
    plot([prove(read_bundle(FACTORY), roles=["segmenter"])])  # matplotlib keeps the files of its fonts open for good


@pytest.fixture(scope="module")
def factory():
    return read_bundle(FACTORY)


@pytest.fixture(scope="module")
def model(factory):
    return factory.content[factory.manifest.roles.segmenter.model]


@pytest.fixture(scope="module")
def cases(factory):
    file = factory.manifest.roles.segmenter.golden.file
    return unpack(factory.content[file], file)


@pytest.fixture(scope="module")
def ranges(model, cases):
    return ranges_of(model, [case.inputs for case in cases])


def small(nodes, inputs, outputs, constants=None) -> bytes:
    """A graph of float32 tensors; inputs and outputs are (name, shape)."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(values, name) for name, values in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def answers(graph: bytes, **inputs):
    with OnnxBackend(graph, threads=1) as backend:
        return backend.infer(inputs)


def worst(graph: bytes, cases) -> dict[str, float]:
    with OnnxBackend(graph) as backend:
        found = [backend.infer(case.inputs) for case in cases]
    return {k: max(float(np.abs(f[k] - c.outputs[k]).max()) for f, c in zip(found, cases, strict=True)) for k in cases[0].outputs}


def outside(graph: bytes):
    """Names, types and shapes of inputs and outputs."""
    proto = onnx.load_from_string(graph)
    return [(v.name, v.type.tensor_type.elem_type) for v in (*proto.graph.input, *proto.graph.output)]


def test_half_precision_lies_in_the_graph(model, cases):
    half = half_graph(model)
    assert outside(half) == outside(model)
    assert len(half) < 0.55 * len(model)
    proto = onnx.load_from_string(half)
    assert proto.ir_version <= IR
    assert all(entry.version <= MAX_OPSET for entry in proto.opset_import)
    kinds = Counter(tensor.data_type for tensor in proto.graph.initializer)
    assert kinds[TensorProto.FLOAT16] > 100
    typed = onnx.shape_inference.infer_shapes(proto)
    types = {v.name: v.type.tensor_type.elem_type for v in typed.graph.value_info}
    assert {types[node.output[0]] for node in proto.graph.node if node.op_type == "Conv"} == {TensorProto.FLOAT16}
    apart = worst(half, cases)
    assert 0 < apart["hair"] < 0.02
    assert apart["marks"] < 0.02


def test_a_node_that_is_left_out_stays_in_float(model):
    name = next(node for node in half_nodes(model) if "hair/Conv" in node)
    proto = onnx.load_from_string(half_graph(model, left_out=frozenset({name})))
    types = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    conv = next(node for node in proto.graph.node if node.name == name)
    assert [types[part] for part in conv.input[1:]] == [TensorProto.FLOAT, TensorProto.FLOAT]
    everything = half_graph(model, left_out=frozenset(half_nodes(model)))
    assert len(everything) > 0.95 * len(model)


def test_outputs_that_others_read_and_constants_out_of_range():
    nodes = [
        helper.make_node("Relu", ["x"], ["y"], name="relu"),
        helper.make_node("Neg", ["y"], ["z"], name="neg"),
        helper.make_node("Mul", ["z", "large"], ["w"], name="mul"),
        helper.make_node("Softmax", ["w"], ["v"], name="softmax"),
    ]
    graph = small(nodes, [("x", [2, 3])], [("y", [2, 3]), ("z", [2, 3]), ("v", [2, 3])], {"large": np.array([1e6], np.float32)})
    assert half_nodes(graph) == ("relu", "neg")
    x = np.array([[0.5, -1, 2], [1, 1, 3]], np.float32)
    before, after = answers(graph, x=x), answers(half_graph(graph), x=x)
    assert set(after) == {"y", "z", "v"}
    assert all(np.allclose(before[name], after[name], atol=1e-3) and after[name].dtype == np.float32 for name in before)


@pytest.mark.parametrize(("symmetric", "kind"), [(False, np.uint8), (True, np.int8)], ids=["x86", "TensorRT"])
def test_integers_are_written_as_each_machine_wants_them(model, ranges, cases, symmetric, kind):
    graph = integer_graph(model, ranges, symmetric=symmetric)
    assert outside(graph) == outside(model)
    assert len(graph) < 0.45 * len(model)
    proto = onnx.load_from_string(graph)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    zeros = [constants[node.input[2]] for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    assert len(zeros) > 50
    assert {zero.dtype for zero in zeros} == {np.dtype(kind)}
    assert symmetric == all(int(zero) == 0 for zero in zeros)
    made = {node.output[0]: node for node in proto.graph.node}
    for conv in (node for node in proto.graph.node if node.op_type == "Conv"):
        weight = made[conv.input[1]]
        integers, sizes = constants[weight.input[0]], constants[weight.input[1]]
        assert (integers.dtype, weight.op_type, weight.attribute[0].i) == (np.int8, "DequantizeLinear", 0)
        assert sizes.shape == integers.shape[:1]
        if symmetric:
            assert constants[conv.input[2]].dtype == np.float32
        else:
            assert constants[made[conv.input[2]].input[0]].dtype == np.int32
    if symmetric:
        assert not any(values.dtype == np.int32 for values in constants.values())
    assert worst(graph, cases)["features"] < 0.2
    nothing = integer_graph(model, ranges, symmetric=symmetric, left_out=frozenset(integer_nodes(model)))
    assert "QuantizeLinear" not in {node.op_type for node in onnx.load_from_string(nothing).graph.node}


def test_onnx_runtime_fuses_every_convolution_of_the_x86_form(model, ranges, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(integer_graph(model, ranges, symmetric=False), options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node)
    assert kinds["QLinearConv"] == sum(node.op_type == "Conv" for node in onnx.load_from_string(model).graph.node)
    assert kinds["Conv"] + kinds["FusedConv"] == 0


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["Conv", "depthwise", "Gemm", "Gemm transposed", "MatMul"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10_000),
)
def test_sums_in_integers_stay_near(kind, symmetric, bias, narrow, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, rng.uniform(0.1, 10), (2, 4, 6, 6) if kind in ("Conv", "depthwise") else (3, 4)).astype(np.float32)
    extra = {}
    if kind in ("Conv", "depthwise"):
        shape, extra = (8, 1, 3, 3) if kind == "depthwise" else (5, 4, 3, 3), {"group": 4 if kind == "depthwise" else 1}
    else:
        shape, extra = (5, 4) if kind == "Gemm transposed" else (4, 5), {"transB": 1} if kind == "Gemm transposed" else {}
    weight = rng.normal(0, 1, shape).astype(np.float32)
    channels = 5 if kind in ("Conv", "Gemm", "Gemm transposed", "MatMul") else 8
    constants = {"w": weight} | ({"b": rng.normal(0, 1, channels).astype(np.float32)} if bias and kind != "MatMul" else {})
    operator = kind.split()[0].replace("depthwise", "Conv")
    nodes = [
        helper.make_node(operator, ["x", *constants], ["y"], name="sum", **extra),
        helper.make_node("Relu", ["y"], ["r"], name="relu"),
        helper.make_node("Neg", ["r"], ["z"], name="neg"),
    ]
    graph = small(nodes, [("x", list(x.shape))], [("z", None)], constants)
    assert integer_nodes(graph) == ("sum",)
    ranges = ranges_of(graph, [{"x": x}])
    made = integer_graph(graph, ranges, symmetric=symmetric, narrow_weights=narrow)
    before, after = answers(graph, x=x)["z"], answers(made, x=x)["z"]
    reach = float(np.abs(before).max()) + float(np.abs(x).max()) * float(np.abs(weight).sum((1, 2, 3) if weight.ndim == 4 else None).max())
    assert np.abs(before - after).max() <= 0.05 * reach


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40))
def test_ranges_hold_nothing_and_lie_within_the_extremes(values):
    array = np.array(values, np.float32)
    found = calibrated({"t": array}, {"t": (float(array.min()), float(array.max()))})["t"]
    assert isinstance(found, Range)
    assert found.low <= 0 <= found.high
    assert found.low >= min(0.0, float(array.min()))
    assert found.high <= max(0.0, float(array.max()))
    assert found.most <= float(np.abs(array).max())


def test_an_outlier_does_not_spoil_a_range():
    values = np.concatenate([np.random.default_rng(0).normal(0, 1, 200_000), [20.0]]).astype(np.float32)
    found = calibrated({"t": values}, {"t": (float(values.min()), 20.0)})["t"]
    assert 5 < found.most < 15


def test_a_tensor_that_is_not_finite_stops_the_calibration():
    nodes = [helper.make_node("Log", ["x"], ["l"]), helper.make_node("MatMul", ["l", "w"], ["y"], name="sum")]
    graph = small(nodes, [("x", [1, 2])], [("y", [1, 2])], {"w": np.eye(2, dtype=np.float32)})
    with pytest.raises(ConversionError, match="not finite"):
        ranges_of(graph, [{"x": np.zeros((1, 2), np.float32)}])
    with pytest.raises(ConversionError, match="no calibration input"):
        ranges_of(graph, [])


def run(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def part(factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts") / "segmenter"
    role = factory.manifest.roles.segmenter
    write_part(folder, RolePart("segmenter", role, {name: factory.content[name] for name in role.files()}))
    return folder


@pytest.fixture
def drawn(monkeypatch):
    monkeypatch.setattr(judging, "validation_frames", drawn_frames)
    # so that a first try does: what is left out is tested with networks that cost nothing
    monkeypatch.setattr(variants, "MORE", {"fp16": 1.0, "int8": 60.0, "int8-symmetric": 60.0})


def test_a_part_gets_variants_that_prove_themselves(part, drawn, tmp_path):
    before = {path.name: path.read_bytes() for path in part.iterdir()}
    out = tmp_path / "made"
    done = run(
        "quantise",
        part,
        "--out",
        out,
        "--precision",
        "fp16",
        "--precision",
        "int8-symmetric",
        "--per-kind",
        2,
        "--test-per-kind",
        2,
        "--json",
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["segmenter"]
    assert set(told) == {"fp16", "int8-symmetric"}
    for figures in told.values():
        assert figures["within_limits"].keys() == {"dice_change", "median_width_change", "hair_count_change"}
        assert all(value <= figures["limits"][key] for key, value in figures["within_limits"].items())
        assert figures["changed"] > 0
    made = read_part(out)
    assert [variant.precision for variant in made.role.variants] == ["fp16", "int8-symmetric"]
    assert made.role.variants[0].metrics["nodes_left_in_float"] == len(told["fp16"]["left_in_float"])
    assert {path.name: path.read_bytes() for path in part.iterdir()} == before
    verified = run("verify", out, "--json", "--report", tmp_path / "report")
    assert verified.exit_code == 0, verified.output
    proofs = [json.loads(line) for line in verified.stdout.splitlines()]
    assert [(proof["precision"], proof["passed"]) for proof in proofs] == [("fp32", True), ("fp16", True), ("int8-symmetric", True)]
    assert all(len(proof["ends"]) == 3 for proof in proofs)
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"proof.json", "proof.md", "proof.png"}


def test_a_variant_that_is_another_network_does_not_verify(part, drawn, tmp_path):
    out = tmp_path / "made"
    assert run("quantise", part, "--out", out, "--precision", "fp16", "--per-kind", 2, "--test-per-kind", 2).exit_code == 0
    proto = onnx.load(out / "segmenter.fp16.onnx")
    weights = next(t for t in proto.graph.initializer if t.data_type == TensorProto.FLOAT16 and len(t.dims) == 4)
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float16(0.5), weights.name))
    onnx.save(proto, out / "segmenter.fp16.onnx")
    done = run("verify", out)
    assert done.exit_code == 1
    assert "fp16: segmenter: output" in " ".join(done.stderr.split())
    assert run("verify", out, "--precision", "fp32").exit_code == 0
    assert run("verify", out, "--precision", "int8").exit_code == 1


def test_a_bundle_keeps_its_other_roles_and_files(factory, tmp_path):
    role = factory.manifest.roles.segmenter.model_copy(update={"metrics": {"dice_easy": 0.5}})
    replace_roles(FACTORY, factory, {"segmenter": role}, {}, out=tmp_path / "made")
    made = read_bundle(tmp_path / "made")
    assert made.content == factory.content
    assert made.manifest.roles.segmenter.metrics == {"dice_easy": 0.5}
    before, after = factory.manifest.roles.present(), made.manifest.roles.present()
    assert {k: v for k, v in after.items() if k != "segmenter"} == {k: v for k, v in before.items() if k != "segmenter"}
    assert made.signature is None


def test_what_cannot_be_quantised_says_so_and_changes_nothing(tmp_path, factory):
    graph = helper.make_graph(
        [helper.make_node("Cast", ["features"], ["d"], to=TensorProto.DOUBLE), helper.make_node("Cast", ["d"], ["probabilities"], to=1)],
        "g",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    rows = np.eye(4, dtype=np.float32)
    role = SeverityRole(
        model="severity.onnx",
        golden=Golden(file="severity.npz", tolerances=(Tolerance(output="probabilities", absolute=1e-4),)),
        card=card(),
        input="features",
        features=("a", "b", "c", "d"),
        labels=("0", "1", "2", "3"),
    )
    files = {"severity.onnx": model, "severity.npz": pack([GoldenCase({"features": rows}, {"probabilities": rows})])}
    write_part(tmp_path / "part", RolePart("severity", role, files))
    said = (tmp_path / "part" / ROLE).read_bytes()
    done = run("quantise", tmp_path / "part")
    assert done.exit_code == 1
    assert "no network of it can be in another precision" in " ".join(done.output.split())
    assert (tmp_path / "part" / ROLE).read_bytes() == said
    assert read_parts(tmp_path / "part").manifest.roles.severity == role


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quantise", "NONE"], "neither a bundle nor a part"),
        (["quantise", "PART", "--role", "stage"], "it has no role 'stage'"),
        (["verify", "NONE"], "neither a bundle nor a part"),
        (["verify", "PART", "--role", "stage"], "no such role"),
    ],
)
def test_the_commands_say_what_is_wrong(part, tmp_path, arguments, message):
    words = {"NONE": tmp_path / "none", "PART": part}
    done = run(*(words.get(word, word) for word in arguments))
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
