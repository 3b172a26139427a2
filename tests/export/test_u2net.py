import dataclasses
import json
import math
import os
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from typer.testing import CliRunner  # noqa: E402

from export.cli import app  # noqa: E402
from export.conversion import u2net as conversion  # noqa: E402
from export.conversion.onnx_graph import IR, MAX_OPSET  # noqa: E402
from export.conversion.part import read_part, read_parts  # noqa: E402
from export.conversion.u2net import CameraU2Net, check_fits_bundle, load_u2net, u2net_onnx, u2net_parity  # noqa: E402
from export.errors import ConversionError, TrainingError  # noqa: E402
from export.networks.live import LiveNet, parameter_count  # noqa: E402
from export.networks.u2net import FEATURES, MEAN, STD, Sides, U2Net, official_input  # noqa: E402
from export.training import segmenter  # noqa: E402
from export.training.segmenter import CURVES, HISTORY, SegmenterTraining, Watcher  # noqa: E402
from export.training.u2net import RECIPES, U2NetTraining, recipe_for, seven_losses, size_of  # noqa: E402
from runtime.analysis.learned import LearnedSegmenter  # noqa: E402
from runtime.bundles.graph import read_graph  # noqa: E402
from runtime.bundles.proof import prove  # noqa: E402
from runtime.inference.onnx import OnnxBackend  # noqa: E402
from tests.export.training_samples import drawn_bald_frames, drawn_frames, drawn_scenes  # noqa: E402
from tests.export.u2net_published import published  # noqa: E402

pytestmark = pytest.mark.export
SMOKE = recipe_for("smoke", "small")
# of the authors' package, filled as below: probability at one pixel, and the mean, of the fused map and the sides 1 to 6
THEIR_NUMBERS = {
    "full": (
        (0.51604, 0.48226),
        (0.46081, 0.49317),
        (0.51107, 0.52276),
        (0.47546, 0.48517),
        (0.48428, 0.48437),
        (0.52562, 0.52394),
        (0.50832, 0.49629),
    ),
    "small": (
        (0.59342, 0.49622),
        (0.4522, 0.49507),
        (0.53824, 0.52016),
        (0.5759, 0.4993),
        (0.5141, 0.48289),
        (0.7647, 0.54043),
        (0.48433, 0.5109),
    ),
}


def filled(network):
    """Every tensor with waves that depend on its place, so that two implementations have the same weights and large differences show."""
    with torch.no_grad():
        for place, (name, tensor) in enumerate(network.state_dict().items()):
            if tensor.is_floating_point():
                wave = torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) * 0.73 + place).reshape(tensor.shape)
                if name.endswith("running_var"):
                    tensor.copy_(1 + 0.5 * wave)
                elif name.endswith("bn_s1.weight"):
                    tensor.copy_(1 + 0.3 * wave)
                else:
                    tensor.copy_(wave * math.sqrt(2 / tensor[0].numel()) if tensor.ndim == 4 else 0.1 * wave)
    return network.eval()


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def small():
    return filled(U2Net("small"))


@pytest.fixture(scope="module")
def networks(small):
    return {"small": small, "full": filled(U2Net("full"))}


@pytest.fixture(scope="module")
def dynamic(small):
    return u2net_onnx(small)


@pytest.fixture
def checkpoint(small, tmp_path):
    path = tmp_path / "u2netp.pth"
    torch.save(small.state_dict(), path)
    return path


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Trainings and conversions on drawn scenes, and on one core: threads wait long for each other beside other work."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    paths = drawn_scenes(tmp_path / "drawn")
    monkeypatch.setattr(segmenter, "render_scenes", lambda *_, **__: paths)
    monkeypatch.setattr(segmenter, "validation_frames", drawn_frames)
    monkeypatch.setattr(conversion, "validation_frames", drawn_frames)
    monkeypatch.setattr(conversion, "bald_frames", drawn_bald_frames)
    monkeypatch.setattr("export.conversion.segmenter.GOLDEN_SIZE", (128, 96))
    monkeypatch.setattr(conversion, "EXAMPLE_PX", (32, 40))


def run(*arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.parametrize(("size", "count"), [("full", 44_009_869), ("small", 1_131_181)])
def test_names_shapes_and_counts_are_the_published_ones(size, count):
    network = U2Net(size)
    assert parameter_count(network) == count
    assert [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()] == list(published(size).items())


@pytest.mark.parametrize("size", ["full", "small"])
def test_its_seven_maps_are_those_of_the_authors_package(networks, size):
    picture = torch.sin(torch.arange(3 * 70 * 101, dtype=torch.float64) * 0.0137).reshape(1, 3, 70, 101).float() * 2
    with torch.no_grad():
        found = networks[size](picture)
    assert found.features.shape == (1, FEATURES)
    for logits, numbers in zip(found.all(), THEIR_NUMBERS[size], strict=True):
        assert logits.shape == (1, 1, 70, 101)
        soft = torch.sigmoid(logits)
        assert (float(soft[0, 0, 20, 33]), float(soft.mean())) == pytest.approx(numbers, abs=3e-5)


def test_pictures_are_prepared_as_published():
    rng = np.random.default_rng(0)
    bgr = rng.integers(0, 201, (2, 5, 7, 3)).astype(np.float64)
    bgr[0, 0, 0, 0], bgr[1] = 180, bgr[1] / 2
    rgb = bgr[..., ::-1]
    wanted = (rgb / rgb.max(axis=(1, 2, 3), keepdims=True) - MEAN) / STD
    found = official_input(torch.from_numpy(bgr.transpose(0, 3, 1, 2).copy()).float())
    assert np.abs(found.numpy() - wanted.transpose(0, 3, 1, 2)).max() < 1e-5
    black = official_input(torch.zeros(1, 3, 4, 4))
    assert torch.allclose(black[0, :, 0, 0], -torch.tensor(MEAN) / torch.tensor(STD))


def test_the_loss_is_the_sum_of_seven_cross_entropies():
    truth = torch.tensor([[[[1.0, 0.0]]]])
    # logits 0: ln 2 a pixel; ± ln 3 says 0.75 of the true class: ln(4 / 3) a pixel
    unsure, sure = torch.zeros(1, 1, 1, 2), torch.tensor([[[[math.log(3), -math.log(3)]]]])
    wrong = -sure  # 0.25: ln 4
    found = Sides(sure, (unsure, unsure, sure, sure, sure, wrong), torch.zeros(1, FEATURES))
    assert float(seven_losses(found, truth)) == pytest.approx(2 * math.log(2) + 4 * math.log(4 / 3) + math.log(4))


def test_every_side_learns():
    network = U2Net("small")
    seven_losses(network(torch.randn(2, 3, 32, 32)), torch.ones(2, 1, 32, 32)).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    assert all(float(network.get_submodule(f"side{side}").weight.grad.abs().sum()) > 0 for side in range(1, 7))


def without_counts(state):
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"model": {f"module.net.{name}": tensor for name, tensor in state.items()}, "epoch": 3},
        without_counts,  # as PyTorch 0.4.0 saved them
    ],
    ids=["plain", "module.", "nested, two prefixes", "old"],
)
def test_a_public_checkpoint_loads(small, tmp_path, wrapped):
    torch.save(wrapped(small.state_dict()), tmp_path / "found.pth", _use_new_zipfile_serialization=wrapped is not without_counts)
    loaded = load_u2net(tmp_path / "found.pth")
    assert loaded.size == "small"
    assert not loaded.training
    wanted = small.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in without_counts(loaded.state_dict()).items())


class Hostile:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_what_is_no_u2net_is_refused_with_the_remedy(small, tmp_path):
    state = small.state_dict()
    one = "stage3.rebnconv2.conv_s1.weight"
    cases = {
        "another": (LiveNet(8).state_dict(), r"no U²-Net.*'stem.*u2net\.pth or u2netp\.pth"),
        "lacks": ({name: tensor for name, tensor in state.items() if name != one}, f"small size, but another.*lacks {one}.*name u2net"),
        "more": (state | {"stage7.weight": torch.zeros(1)}, r"U²-Net has no stage7\.weight"),
        "shape": (state | {one: torch.zeros(16, 16, 5, 5)}, f"of another shape: {one}"),
        "other width": (state | {"stage1.rebnconv1.conv_s1.weight": torch.zeros(24, 64, 3, 3)}, "no U²-Net"),
        "full by one": (state | {"stage1.rebnconv1.conv_s1.weight": torch.zeros(32, 64, 3, 3)}, "full size, but another.*of another shape"),
        "nan": (state | {one: torch.full((16, 16, 3, 3), math.nan)}, f"{one} holds NaN"),
        "sparse": (state | {one: torch.zeros(16, 16, 3, 3).to_sparse()}, "no plain numbers"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.pth"
        torch.save(content, path)
        with pytest.raises(ConversionError, match=message):
            load_u2net(path)
    whole = tmp_path / "whole.pth"
    torch.save(state, whole)
    (tmp_path / "half.pth").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "code.pth").write_bytes(pickle.dumps(Hostile(tmp_path / "executed")))
    torch.save(state | {one: Hostile(tmp_path / "executed")}, tmp_path / "within.pth")
    for name, message in (("half", "damaged"), ("code", "would run|more than weights"), ("within", "would run|more than weights")):
        with pytest.raises(ConversionError, match=message):
            load_u2net(tmp_path / f"{name}.pth")
    assert not (tmp_path / "executed").exists()
    with pytest.raises(ConversionError, match="name a checkpoint"):
        load_u2net(tmp_path / "absent.pth")


def check_graph(model):
    graph = read_graph(model, "u2net")
    assert graph.ir <= IR
    assert graph.opsets[""] <= MAX_OPSET
    return graph


def test_the_graph_for_any_size_gives_the_networks_numbers(small, dynamic):
    check_graph(dynamic)
    assert max(u2net_parity(small, dynamic).values()) <= 1e-4
    picture = np.random.default_rng(1).integers(0, 256, (1, 77, 130, 3), np.uint8)
    with OnnxBackend(dynamic, threads=1) as backend, torch.no_grad():
        found = backend.infer({"picture": picture})
        wanted = torch.sigmoid(small(official_input(torch.from_numpy(picture).permute(0, 3, 1, 2).float())).fused).numpy()
    assert np.ptp(wanted) > 0.1  # not one value everywhere, which any graph would give
    assert np.abs(found["hair"] - wanted).max() <= 1e-4
    assert found["marks"].shape == (1, 3, 39, 65)
    assert not found["marks"].any()
    with pytest.raises(ConversionError, match="does not give the network's numbers"):
        u2net_parity(U2Net("small"), dynamic)


def test_a_checkpoint_becomes_a_network_alone_of_one_size(checkpoint, tmp_path):
    result = run("convert", "u2net", checkpoint, "--out", tmp_path / "alone.onnx", "--size-px", "64x97")
    assert result.exit_code == 0, result.output
    assert max(json.loads(result.stdout)["parity"].values()) <= 1e-4
    assert check_graph((tmp_path / "alone.onnx").read_bytes()).inputs["picture"].shape == (1, 64, 97, 3)


def test_the_full_size_is_converted_too(networks, tmp_path):
    torch.save({f"module.{k}": v for k, v in networks["full"].state_dict().items()}, tmp_path / "u2net.pth")
    network = load_u2net(tmp_path / "u2net.pth")
    assert network.size == "full"
    model = u2net_onnx(network, (40, 56))
    check_graph(model)
    assert max(u2net_parity(network, model, (40, 56)).values()) <= 1e-4


def test_what_is_too_large_for_a_bundle_is_told_before_it_is_computed(monkeypatch):
    check_fits_bundle("small")
    monkeypatch.setattr(conversion, "MAX_FILE_BYTES", 10**8)
    with pytest.raises(ConversionError, match=r"176 MB.*NAME\.onnx"):
        check_fits_bundle("full")


def test_a_checkpoint_becomes_a_teacher(drawn, checkpoint, dynamic, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "u2net_onnx", lambda network: dynamic)  # the same weights: made once
    out = tmp_path / "part"
    result = run("convert", "u2net", checkpoint, "--out", out, "--per-kind", 5)
    assert result.exit_code == 0, result.output
    assert max(json.loads(result.stdout)["parity"].values()) <= 1e-4
    bundle = read_parts(out)
    role = bundle.manifest.roles.teacher
    assert role.threshold == 0.5
    assert "checkpoint_sha256" in role.card.recipe
    assert {"dice_easy", "parity_hair", "false_area_without_hair"} <= set(role.metrics)
    rows = prove(bundle).rows  # the end figures of a network that has learnt nothing hang by a thread
    assert {row.output for row in rows} == {"hair", "marks", "features"}
    assert all(row.passed for row in rows)
    with LearnedSegmenter(bundle, role="teacher", threads=1) as teacher:
        found = teacher.segment(np.full((50, 70, 3), 128, np.uint8))
    assert found.mask.shape == (50, 70)
    assert not found.ostium_probability.any()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "NEW", "--size-px", "64x64"], "a teacher takes pictures of any size"),
        (["--out", "NEW.onnx", "--size-px", "64"], "not HEIGHTxWIDTH"),
        (["--out", "NEW.onnx", "--size-px", "8x64"], "sides of 32"),
        (["--out", "MINE"], "exists and is no part"),
        (["--out", "absent/NEW.onnx"], "in a folder that exists"),
    ],
)
def test_the_command_says_what_is_wrong(checkpoint, tmp_path, more, message):
    (tmp_path / "MINE").mkdir()
    (tmp_path / "MINE" / "letter.txt").write_text("dear")
    paths = [str(tmp_path / word) if word[:1].isupper() or "/" in word else word for word in more]
    result = run("convert", "u2net", checkpoint, *paths)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["MINE", "u2netp.pth"]


def test_recipes_say_their_size():
    assert {(name, size): size_of(recipe_for(name, size)) for name in RECIPES for size in ("full", "small")} == {
        (name, size): size for name in RECIPES for size in ("full", "small")
    }
    with pytest.raises(ValueError, match="no U²-Net"):
        size_of(dataclasses.replace(SMOKE, base_channels=8))
    assert [RECIPES[name].side for name in ("cpu", "gpu")] == [320, 320]


def test_trained_resumed_and_converted(drawn, tmp_path):
    result = run("train", "u2net", "--recipe", "smoke", "--out", tmp_path / "whole", "--seed", 3, "--per-kind", 5)
    assert result.exit_code == 0, result.output
    U2NetTraining(tmp_path / "parts", SMOKE, 3).run(Watcher(), until=4)
    resumed = U2NetTraining.resumed(tmp_path / "parts")
    assert (resumed.progress.step, size_of(resumed.recipe)) == (4, "small")
    resumed.run(Watcher())
    whole = U2NetTraining.resumed(tmp_path / "whole")
    assert whole.progress.step == resumed.progress.step == SMOKE.steps
    for mine, theirs in ((whole.network, resumed.network), (whole.average, resumed.average)):
        for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.allclose(a.float(), b.float(), atol=1e-5)
    assert {HISTORY, CURVES, "part"} <= {p.name for p in (tmp_path / "whole").iterdir()}
    card = read_part(tmp_path / "whole" / "part").role.card
    assert (card.seed, card.steps) == (3, SMOKE.steps)
    assert "train u2net --size small --recipe smoke --seed 3" in card.repeat
    started = run("train", "u2net", "--recipe", "smoke", "--out", tmp_path / "parts")
    assert started.exit_code == 1
    assert "--resume it" in " ".join(started.output.split())
    with pytest.raises(TrainingError, match="does not fit"):  # a live segmenter is none of it
        SegmenterTraining.resumed(tmp_path / "parts")


def test_it_learns(drawn, tmp_path):
    recipe = dataclasses.replace(SMOKE, steps=16, rate=3e-3, validate_every=16, ema=0.8, validation_per_kind=2)
    progress = U2NetTraining(tmp_path / "run", recipe, 1).run(Watcher())
    losses = [loss for _, loss in progress.loss]
    assert losses[-1] < 7 * math.log(2)
    assert progress.dice["easy"][-1][0] == 16


def test_the_camera_graph_is_the_network_behind_its_preparation(small):
    picture = torch.randint(0, 256, (1, 33, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        hair, marks, features = CameraU2Net(small)(picture)
    assert hair.shape == (1, 1, 33, 48)
    assert marks.shape == (1, 3, 17, 24)
    assert features.shape == (1, FEATURES)
