"""The whole way of a network, as a fresh workstation and a device go it: train, convert, quantise, verify, build, sign, install, activate,
analyze. The measurement at its end is that of the PyTorch network at its beginning."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from export import cli as workstation  # noqa: E402
from export.conversion import judging  # noqa: E402
from export.conversion import segmenter as conversion  # noqa: E402
from export.conversion.onnx_graph import OUTPUTS, CameraGraph, parity  # noqa: E402
from export.training import checkpoint  # noqa: E402
from export.training import segmenter as training  # noqa: E402
from export.training.recipe import SMOKE  # noqa: E402
from runtime import cli as device  # noqa: E402
from runtime.analysis.ensemble import EnsembleSegmenter  # noqa: E402
from runtime.analysis.learned import LearnedSegmenter  # noqa: E402
from runtime.bundles.reader import read_bundle  # noqa: E402
from runtime.inference.backend import Backend  # noqa: E402
from runtime.pipeline import analyse  # noqa: E402
from tests.export.training_samples import drawn_bald_frames, drawn_frames, drawn_planes, drawn_scenes  # noqa: E402

pytestmark = pytest.mark.export

RECIPE = dataclasses.replace(SMOKE, steps=100, batch=4, rate=1e-2, ema=0.9, overlay_share=0.0, validate_every=100)
SURER = 2.0
"""Added to the logits of hair: so few steps teach a network where hair is, and not to be sure of it."""


class TorchBackend(Backend):
    """The network as it was trained, without ONNX."""

    def __init__(self, network) -> None:
        super().__init__("torch")
        self.graph = CameraGraph(network).eval()

    def _activate(self) -> None:
        pass

    def _infer(self, inputs):
        with torch.no_grad():
            return {name: value.numpy() for name, value in zip(OUTPUTS, self.graph(torch.from_numpy(inputs["picture"])), strict=True)}

    def _deactivate(self) -> None:
        pass


def run(program, *arguments: object) -> str:
    app = workstation.app if program is workstation else device.build(str(arguments[0]))
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, f"{arguments}: {done.output}"
    return done.stdout


def hairs() -> np.ndarray:
    """Two dark hairs on noisy skin."""
    picture = np.maximum(drawn_planes(300)[:240, 200:520, :3], 0)
    picture[:, 210:218] = 25
    return np.clip(picture + np.random.default_rng(0).normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads on two cores that others use as well wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    paths = drawn_scenes(tmp_path / "drawn")
    monkeypatch.setattr(training, "render_scenes", lambda *_, **__: paths)
    for module in (training, conversion, judging):
        monkeypatch.setattr(module, "validation_frames", drawn_frames)
    monkeypatch.setattr(conversion, "bald_frames", drawn_bald_frames)
    monkeypatch.setattr(conversion, "parity", lambda network, model: parity(network, model, sizes=((64, 96), (96, 160))))


@pytest.mark.usefixtures("drawn")
def test_what_was_trained_is_what_the_device_measures(tmp_path, monkeypatch):
    folder = tmp_path / "training"
    training.SegmenterTraining(folder, RECIPE, 3).run(training.Watcher())
    state = checkpoint.load(folder)
    state["average"]["hair.bias"] += SURER
    checkpoint.save(folder, state)

    part, out, key = tmp_path / "part", tmp_path / "hair.bundle", tmp_path / "key"
    run(workstation, "convert", "segmenter", folder, part, "--per-kind", 6)
    run(workstation, "quantise", part, "--precision", "fp16", "--per-kind", 1, "--test-per-kind", 2)
    report = run(workstation, "verify", part, "--json")
    assert [(line["precision"], line["passed"]) for line in map(json.loads, report.splitlines())] == [("fp32", True), ("fp16", True)]
    public = run(workstation, "bundle", "keygen", key).strip()
    run(workstation, "bundle", "build", out, "--part", part, "--name", "hair-live", "--release", 9)
    run(workstation, "bundle", "sign", out, "--key", key)

    config = tmp_path / "trichoscope.toml"
    config.write_text(f"[store]\nfolder = {json.dumps(str(tmp_path / 'state'))}\n[models]\ntrusted_keys = {json.dumps([public])}\n")
    installed = json.loads(run(device, "models", "install", out, "--config", config, "--json"))
    active = json.loads(run(device, "models", "activate", installed["slot"], "--config", config, "--json"))
    assert active["active"] == installed["id"]
    assert active["proof"]["passed"]
    assert json.loads(run(device, "models", "list", "--config", config, "--json"))["serves"] == installed["id"]

    picture = hairs()
    cv2.imwrite(str(tmp_path / "hairs.png"), picture)
    slot = next(tmp_path.glob(f"state/**/{installed['slot']}"))
    monkeypatch.setenv("TRICHOSCOPE_CONFIG", str(config))
    found = json.loads(run(device, "analyze", tmp_path / "hairs.png", "--json"))  # with what is active

    network, _ = conversion.trained_network(folder)
    with LearnedSegmenter(read_bundle(slot), flips=True, backend=lambda _: TorchBackend(network)) as learned:
        wanted = analyse(picture, name="hairs.png", segmentation=EnsembleSegmenter(learned), paper=True)
    assert found["models"]["segmenter"] == wanted.models["segmenter"]
    assert installed["id"] in found["models"]["segmenter"]
    assert wanted.hair_count == 2
    assert found["hair_count"] == wanted.hair_count
    assert found["diameter_px"]["median"] == pytest.approx(wanted.diameter_px.median, rel=0.01)
    for one, other in zip(found["hairs"], wanted.hairs, strict=True):
        assert one["diameter_px"] == pytest.approx(other.diameter_px, rel=0.01)
        assert one["length_px"] == pytest.approx(other.length_px, rel=0.01)
