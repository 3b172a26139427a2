import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from export.conversion import forecast as conversion  # noqa: E402
from export.conversion.forecast import PARITY_LENGTHS, forecast_onnx, parity, random_inputs  # noqa: E402
from export.conversion.onnx_graph import IR, OPSET  # noqa: E402
from export.errors import ConversionError  # noqa: E402
from export.networks.hybrid import ARCHITECTURES, Architecture, HybridNet, probabilities  # noqa: E402
from runtime.inference.onnx import OnnxBackend  # noqa: E402

pytestmark = pytest.mark.export
SIZES, SERIES = (2, 3, 3, 4), 8
SMALL_PAPER = Architecture("paper", 32, None)  # its branches at a side that a test can afford


def net(architecture, *, seed=1, **options):
    """A network in which records and markers matter as in a trained one, and not a thousand times less than the picture."""
    torch.manual_seed(seed)
    network = HybridNet(architecture, SIZES, SERIES, **options).eval()
    with torch.no_grad():
        for part in (network.sequence, network.head):
            for weights in () if part is None else part.parameters():
                weights *= 3
    return network


@pytest.fixture(scope="module", params=["device", "paper"])
def network(request):
    return net(ARCHITECTURES["device"] if request.param == "device" else SMALL_PAPER)


@pytest.fixture(scope="module")
def model(network):
    return forecast_onnx(network)


def test_the_weights_are_as_many_as_said():
    with torch.device("meta"):  # no memory for 17 million weights
        counts = {name: sum(p.numel() for p in HybridNet(a, SIZES, SERIES).parameters()) for name, a in ARCHITECTURES.items()}
    assert counts["device"] <= 600_000
    convolutions = sum((9 * i + 1) * o for i, o in ((3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)))
    lstms = 4 * 128 * (16 + 128 + 2) + 4 * 64 * (128 + 64 + 2)
    embeddings = 4 * sum(size + 1 for size in SIZES)
    dense = (32 * 32 * 128 + 64 + 16 + 1) * 128 + 129 * 64 + 65
    assert counts["paper"] == convolutions + lstms + embeddings + dense


def test_the_graph_is_one_that_old_runtimes_take(model):
    graph = onnx.load_from_string(model)
    assert graph.ir_version <= IR
    assert {o.domain for o in graph.opset_import} <= {"", "ai.onnx"}
    assert [o.version for o in graph.opset_import] == [OPSET]
    assert [i.name for i in graph.graph.input] == ["picture", "markers", "records"]
    assert [o.name for o in graph.graph.output] == ["probabilities"]
    assert not any(tensor.external_data for tensor in graph.graph.initializer)


def test_the_graph_gives_the_networks_numbers_at_every_length_and_batch(network, model):
    with OnnxBackend(model) as backend:
        inputs = random_inputs(network, 1, 7, np.random.default_rng(1))
        others = inputs | {"records": random_inputs(network, 1, 7, np.random.default_rng(2))["records"]}
        assert np.abs(backend.infer(inputs)["probabilities"] - backend.infer(others)["probabilities"]).max() > 0.002
    differences = parity(network, model)
    assert set(differences) == {f"length_{n}" for n in (1, 2, 7, 120)} == {f"length_{n}" for n in PARITY_LENGTHS}
    assert max(differences.values()) <= 1e-4


def test_other_numbers_and_no_numbers_are_errors(network, model):
    other = net(network.architecture, seed=2)
    with pytest.raises(ConversionError, match="above"):
        parity(other, model, lengths=(7,))
    with pytest.raises(ConversionError, match="nothing was compared"):
        parity(network, model, lengths=())


def test_stages_come_out_as_a_softmax():
    network = net(SMALL_PAPER, labels=4)
    model = forecast_onnx(network)
    assert max(parity(network, model, lengths=(3,)).values()) <= 1e-4
    assert onnx.load_from_string(model).graph.output[0].type.tensor_type.shape.dim[1].dim_value == 4


@torch.no_grad()
def test_what_follows_the_last_record_changes_nothing_and_gaps_do():
    network = net(SMALL_PAPER)
    inputs = {k: torch.from_numpy(v) for k, v in random_inputs(network, 1, 9, np.random.default_rng(3)).items()}
    inputs["records"][:, -1, SERIES] = 1  # the last month has something
    plain = network(**inputs)
    assert not torch.allclose(network(**(inputs | {"records": inputs["records"].roll(1, 1)})), plain, atol=1e-3)
    padded = inputs | {"records": torch.cat([inputs["records"], torch.zeros(1, 30, 2 * SERIES)], 1)}
    assert torch.allclose(network(**padded), plain, atol=1e-6)
    gap = inputs | {"records": torch.cat([inputs["records"][:, :4], torch.zeros(1, 3, 2 * SERIES), inputs["records"][:, 4:]], 1)}
    assert not torch.allclose(network(**gap), plain, atol=1e-6)
    empty = inputs | {"records": torch.zeros(1, 5, 2 * SERIES)}
    assert torch.isfinite(network(**empty)).all()


@torch.no_grad()
def test_a_branch_alone_sees_nothing_of_the_other():
    rng = np.random.default_rng(4)
    for branches, changed in (("picture", ("markers", "records")), ("records", ("picture",)), ("both", ())):
        network = net(SMALL_PAPER, branches=branches)
        one, two = ({k: torch.from_numpy(v) for k, v in random_inputs(network, 2, 5, rng).items()} for _ in range(2))
        mixed = one | {name: two[name] for name in changed}
        assert torch.equal(network(**one), network(**mixed))
        for name in set(one) - set(changed):
            assert not torch.equal(network(**one), network(**(one | {name: two[name]})))


def test_probabilities_sum_to_one():
    for logits in (torch.randn(5, 1), torch.randn(5, 4)):
        found = probabilities(logits)
        assert found.shape == (5, 2 if logits.shape[1] == 1 else 4)
        assert torch.allclose(found.sum(1), torch.ones(5))


def test_a_graph_too_large_for_a_bundle_is_refused(monkeypatch, tmp_path):
    network = net(dataclasses.replace(SMALL_PAPER))
    monkeypatch.setattr(conversion.ForecastTraining, "resumed", lambda folder: None)
    monkeypatch.setattr(conversion, "proven", lambda run: (network, {}, b"x" * (conversion.MAX_FILE_BYTES + 1), {}))
    with pytest.raises(ConversionError, match="ship the architecture device"):
        conversion.bundle_forecast(tmp_path)
