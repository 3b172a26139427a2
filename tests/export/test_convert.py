import json
import os
import pickle
import struct

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnx  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from export.cli import app  # noqa: E402
from export.conversion import loading, torch_graph  # noqa: E402
from export.conversion.onnx_graph import IR, MAX_OPSET, checked  # noqa: E402
from export.conversion.part import as_bundle, read_part  # noqa: E402
from export.conversion.torch_graph import TensorSpec, network_onnx, parse_input, torch_parity  # noqa: E402
from export.errors import ConversionError  # noqa: E402
from runtime.bundles.proof import prove  # noqa: E402
from runtime.inference.onnx import OnnxBackend  # noqa: E402
from tests.export import own_networks  # noqa: E402
from tests.runtime.bundle_samples import card  # noqa: E402

pytestmark = pytest.mark.export

HERE = "tests.export.own_networks"
PICTURE = TensorSpec("picture", (1, 3, 32, 48))
OUTPUTS = ("presence", "grades")
BATCH = {"picture": {0: "batch"}}


def run(*arguments: object):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def own(factory: str, out, *more: object):
    shape = ["--input", "picture:1x3x32x48", "--output", "presence", "--output", "grades"]
    return run("torch", f"{HERE}:{factory}", out, *shape, "--exporter", "tracing", *more)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("own") / "weights.pt"
    torch.save(own_networks.Grader().state_dict(), path)
    return path


def safetensors(tensors: dict[str, torch.Tensor]) -> bytes:
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        raw = tensor.numpy().tobytes()
        kind = {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_an_own_network_becomes_a_graph_with_its_numbers(tmp_path, checkpoint):
    out = tmp_path / "own.onnx"
    result = own("grader", out, "--checkpoint", checkpoint, "--dynamic-batch", "--scale", "0.01", "--mean", "0.4", "0.5", "0.6")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert set(told["parity"]) == set(OUTPUTS)
    assert max(told["parity"].values()) <= 1e-4
    graph = onnx.load(out)
    assert graph.ir_version <= IR
    assert all(entry.version <= MAX_OPSET for entry in graph.opset_import)
    assert [o.name for o in graph.graph.output] == list(OUTPUTS)
    network = own_networks.grader()
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    pictures = np.random.default_rng(0).normal(0, 1, (5, 3, 32, 48)).astype(np.float32)
    with OnnxBackend(out.read_bytes()) as backend, torch.no_grad():
        found = backend.infer({"picture": pictures})
        wanted = network.eval()(torch.from_numpy(pictures))
    for name in OUTPUTS:  # by name, though the network's dictionary has them in another order
        assert np.abs(found[name] - wanted[name].numpy()).max() <= 1e-4
    fed = json.loads((tmp_path / "own.json").read_text())
    assert (fed["width"], fed["height"], fed["mean"], fed["colour"]) == (48, 32, [0.4, 0.5, 0.6], "RGB")


def test_an_own_network_becomes_a_part_that_proves_itself(tmp_path, checkpoint):
    fields = tmp_path / "fields.json"
    said = {"card": card().model_dump(mode="json"), "conditions": ["dandruff", "sebum", "erythema"], "labels": ["0", "1", "2", "3"]}
    fields.write_text(json.dumps(said))
    out = tmp_path / "part"
    result = own("grader", out, "--checkpoint", checkpoint, "--role", "conditions", "--fields", fields, "--scale", "0.004")
    assert result.exit_code == 0, result.output
    part = read_part(out)
    assert part.name == "conditions"
    assert part.role.picture.scale == 0.004
    proof = prove(as_bundle(part))
    assert proof.passed, proof.failures()
    assert {row.output for row in proof.rows} == set(OUTPUTS)
    before = sorted(p.name for p in tmp_path.iterdir())
    fields.write_text(json.dumps(said | {"labels": ["0"]}))
    refused = own("grader", out, "--checkpoint", checkpoint, "--role", "conditions", "--fields", fields)
    assert refused.exit_code == 1
    assert "labels" in refused.output
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert read_part(out).role == part.role


def test_an_own_estimator_becomes_a_part_that_proves_itself(tmp_path):
    fields = {"card": card().model_dump(mode="json"), "input": "rows", "features": ["a", "b", "c"], "labels": ["0", "1", "2", "3"]}
    (tmp_path / "fields.json").write_text(json.dumps(fields))
    out = tmp_path / "part"
    given = ("--features", 3, "--name", "rows", "--role", "severity", "--fields", tmp_path / "fields.json")
    result = run("sklearn", f"{HERE}:classifier", out, *given)
    assert result.exit_code == 0, result.output
    part = read_part(out)
    assert 0 <= json.loads(result.stdout)["parity"]["probabilities"] <= 1e-5
    assert part.role.metrics["parity_probabilities"] <= 1e-5
    assert prove(as_bundle(part)).passed
    rows = np.random.default_rng(1).normal(0, 1, (50, 3)).astype(np.float32)
    with OnnxBackend(part.content[part.role.model]) as backend:
        found = backend.infer({"rows": rows})["probabilities"]
    assert np.abs(found - own_networks.classifier().predict_proba(rows)).max() <= 1e-5


@pytest.mark.parametrize(("factory", "message"), [("coarse", "differ by"), ("numberless", "NaN or infinite")])
def test_an_own_estimator_whose_graph_does_not_give_its_numbers_is_refused(tmp_path, factory, message):
    result = run("sklearn", f"{HERE}:{factory}", tmp_path / "o.onnx", "--features", 3)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


class Code:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("kind", ["an archive", "an old file"])
def test_a_checkpoint_with_code_is_refused_by_name_and_nothing_runs(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    torch.save({"state_dict": Code()}, path, _use_new_zipfile_serialization=kind == "an archive")
    result = own("grader", tmp_path / "out.onnx", "--checkpoint", path)
    assert result.exit_code == 1
    assert "evil.pt" in result.output
    assert "mkdir" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["evil.pt"]
    path.write_bytes(pickle.dumps(Code()))
    assert own("grader", tmp_path / "out.onnx", "--checkpoint", path).exit_code == 1
    assert [p.name for p in tmp_path.iterdir()] == ["evil.pt"]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {"checkpoint": 1, "model": {"state_dict": s}},
        lambda s: {"average": s, "network": {k: v * 0 for k, v in s.items()}},
    ],
    ids=["state_dict", "parallel", "two deep", "averaged first"],
)
def test_weights_are_found_under_the_usual_keys(tmp_path, wrapped):
    state = own_networks.grader().state_dict()
    torch.save(wrapped(state), tmp_path / "c.pt")
    network = loading.network_from(f"{HERE}:grader", tmp_path / "c.pt")
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), state.values(), strict=True))


def test_safetensors_are_read(tmp_path):
    torch.manual_seed(3)
    state = own_networks.Grader().state_dict()
    (tmp_path / "c.safetensors").write_bytes(safetensors(state))
    network = loading.network_from(f"{HERE}:grader", tmp_path / "c.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), state.values(), strict=True))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_no_bytes_break_the_safetensors_reader(tail, place, value):
    whole = bytearray(safetensors({"a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}) + tail)
    whole[place % len(whole)] = value
    try:
        found = loading.read_safetensors(bytes(whole), "x")
    except ConversionError:
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())


def test_a_safetensors_file_cannot_point_outside():
    for offsets in ([0, 400], [-8, 0], [8, 0]):
        text = json.dumps({"a": {"dtype": "F32", "shape": [100], "data_offsets": offsets}}).encode()
        with pytest.raises(ConversionError, match="not a safetensors file"):
            loading.read_safetensors(struct.pack("<Q", len(text)) + text + bytes(16), "x")


def spoilt(path, change):
    state = own_networks.grader().state_dict()
    torch.save(change(state), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "heads.bias"}, "it lacks heads.bias"),
        (lambda s: s | {"more": torch.ones(1)}, "the network lacks more"),
        (lambda s: s | {"heads.bias": torch.ones(4)}, "of another shape"),
        (lambda s: s | {"heads.bias": s["heads.bias"] * float("nan")}, "heads.bias holds NaN"),
        (lambda s: [1, 2], "no weights"),
    ],
    ids=["a name less", "a name more", "another shape", "NaN", "a list"],
)
def test_a_checkpoint_that_does_not_fit_is_told(tmp_path, change, message):
    spoilt(tmp_path / "c.pt", change)
    result = own("grader", tmp_path / "o.onnx", "--checkpoint", tmp_path / "c.pt")
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "o.onnx").exists()


def test_a_damaged_checkpoint_is_refused(tmp_path, checkpoint):
    content = bytearray(checkpoint.read_bytes())
    at = content.index(b"heads.bias") if b"heads.bias" in content else len(content) // 2
    for name, data in (("cut", content[: len(content) // 2]), ("flipped", content[: at + 200] + b"!" + content[at + 201 :]), ("none", b"")):
        path = tmp_path / f"{name}.pt"
        path.write_bytes(bytes(data))
        result = own("grader", tmp_path / "o.onnx", "--checkpoint", path)
        assert result.exit_code == 1, name
        assert f"{name}.pt" in result.output
    assert not (tmp_path / "o.onnx").exists()


def test_a_checkpoint_that_is_no_file_is_refused_without_reading(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path):
        result = own("grader", tmp_path / "o.onnx", "--checkpoint", path)
        assert result.exit_code == 1
        assert str(path) in result.output
    assert not (tmp_path / "o.onnx").exists()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("no_such", "mend the factory"),
        ("no_network", "return a torch.nn.Module"),
        ("broken", "no such GPU"),
        ("ends", "SystemExit"),
        ("stubborn", "does not run on the example"),
    ],
)
def test_a_factory_that_fails_is_told(tmp_path, factory, message):
    result = own(factory, tmp_path / "o.onnx")
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_no_graph_can_hold_leaves_nothing_behind(tmp_path):
    (tmp_path / "o.onnx").write_bytes(b"what was there")
    result = run("torch", f"{HERE}:stubborn", tmp_path / "o.onnx", "--input", "x:2x3x3", "--output", "y", "--exporter", "tracing")
    assert result.exit_code == 1
    assert "cannot be exported" in result.output
    assert "eig" in result.output
    assert (tmp_path / "o.onnx").read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 1


def test_control_flow_that_tracing_lost_is_found_by_parity():
    network, spec, axes = own_networks.forgetful(), TensorSpec("records", (1, 3, 2)), {"records": {1: "length"}}
    model = network_onnx(network, [spec], ["sum"], axes=axes, exporter="tracing")
    with pytest.raises(ConversionError, match="parity"):
        torch_parity(network, model, [spec], ["sum"], axes=axes)


def test_recurrent_networks_are_traced_and_right_at_other_lengths():
    network, spec = own_networks.recurrent().eval(), TensorSpec("records", (1, 5, 4))
    axes = {"records": {0: "batch", 1: "length"}}
    assert torch_graph.chosen_exporter(network, "auto") == "tracing"
    with pytest.raises(ConversionError, match="recurrent"):
        torch_graph.chosen_exporter(network, "dynamo")
    model = network_onnx(network, [spec], ["probabilities"], axes=axes)
    assert torch_parity(network, model, [spec], ["probabilities"], axes=axes)["probabilities"] <= 1e-4
    records = np.random.default_rng(1).normal(0, 1, (3, 19, 4)).astype(np.float32)
    with OnnxBackend(model) as backend, torch.no_grad():
        found = backend.infer({"records": records})["probabilities"]
        assert np.abs(found - network(torch.from_numpy(records)).numpy()).max() <= 1e-4
    shape = onnx.load_from_string(model).graph.output[0].type.tensor_type.shape
    assert shape.dim[0].dim_param == "batch"


def test_dynamo_gives_the_same_numbers():
    pytest.importorskip("onnxscript", reason="PyTorch's newer exporter needs onnxscript")
    network = own_networks.grader().eval()
    model = network_onnx(network, [PICTURE], OUTPUTS, axes=BATCH, exporter="dynamo")
    assert max(torch_parity(network, model, [PICTURE], OUTPUTS, axes=BATCH).values()) <= 1e-4
    assert b"own_networks" not in model  # no paths of the workstation


def test_other_numbers_and_no_numbers_are_errors():
    model = network_onnx(own_networks.grader(), [PICTURE], OUTPUTS, exporter="tracing")
    torch.manual_seed(9)
    with pytest.raises(ConversionError, match="above"):
        torch_parity(own_networks.Grader(), model, [PICTURE], OUTPUTS)
    with pytest.raises(ConversionError, match=r"nothing was compared|outputs"):
        torch_parity(own_networks.grader(), model, [PICTURE], ())


@pytest.mark.parametrize("text", ["picture", "picture:", "picture:1x3xa", "1x3", "p:0x3", "p:1x3:float99", "p:999999x999999", "a b:1"])
def test_inputs_that_are_none_are_told(text):
    with pytest.raises(ConversionError, match="--input"):
        parse_input(text)


def test_operators_of_others_and_newer_opsets_are_refused():
    def graph(domain: str, opset: int) -> onnx.ModelProto:
        node = onnx.helper.make_node("Relu", ["x"], ["y"], domain=domain)
        tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
        opsets = [onnx.helper.make_opsetid("", opset), *([onnx.helper.make_opsetid(domain, 1)] if domain else [])]
        return onnx.helper.make_model(onnx.helper.make_graph([node], "g", tensors[:1], tensors[1:]), opset_imports=opsets)

    assert checked(graph("", 17))
    with pytest.raises(ConversionError, match=r"of com\.microsoft"):
        checked(graph("com.microsoft", 17))
    with pytest.raises(ConversionError, match="opset 20"):
        checked(graph("", 20))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segmenter", "NONE", "OUT"], "no checkpoint"),
        (["segmenter", "NONE", "MINE"], "is no part of a bundle"),
        (["segmenter", "NONE", "OUT.onnx"], "no checkpoint"),
        (["torch", f"{HERE}:grader", "OUT", "--input", "p:1x3x8x8", "--output", "y"], "needs --role"),
        (["torch", f"{HERE}:grader", "OUT.onnx", "--input", "p:1x3x8x8", "--output", "y", "--layout", "NHWC"], "colours in NHWC"),
        (["torch", f"{HERE}:grader", "OUT.onnx", "--input", "p:1x3x32x48", "--output", "y", "--dynamic", "q:1=n"], "--dynamic"),
        (["torch", f"{HERE}:grader", "OUT.onnx", "--input", "p:1x3x32x48", "--output", "y"], "1 were named|KeyError"),
        (["sklearn", f"{HERE}:broken", "OUT.onnx", "--features", "3"], "no such GPU"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, arguments, message):
    (tmp_path / "MINE").mkdir()
    (tmp_path / "MINE" / "letter.txt").write_text("dear")
    words = [str(tmp_path / word) if word in ("NONE", "MINE", "OUT", "OUT.onnx") else word for word in arguments]
    result = run(*words)
    assert result.exit_code == 1, result.output
    assert any(part in " ".join(result.output.split()) for part in message.split("|")), result.output
    assert [p.name for p in tmp_path.iterdir()] == ["MINE"]
