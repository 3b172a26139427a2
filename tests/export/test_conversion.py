import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnx  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from export.cli import app  # noqa: E402
from export.conversion import segmenter as conversion  # noqa: E402
from export.conversion.onnx_graph import IR, OPSET, live_onnx, parity  # noqa: E402
from export.conversion.trust import Sample, best_thresholds, familiarity, fit_trust, mask_dice, rank_correlation  # noqa: E402
from export.errors import ConversionError  # noqa: E402
from export.networks.live import LiveNet  # noqa: E402
from export.training import segmenter as training  # noqa: E402
from export.training.recipe import SMOKE  # noqa: E402
from export.training.segmenter import SegmenterTraining, Watcher  # noqa: E402
from runtime.analysis.learned import LearnedSegmenter  # noqa: E402
from runtime.bundles.reader import read_bundle  # noqa: E402
from tests.export.training_samples import drawn_bald_frames, drawn_frames, drawn_scenes  # noqa: E402

pytestmark = pytest.mark.export


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return LiveNet(8).eval()


@pytest.fixture(scope="module")
def model(network):
    return live_onnx(network)


def test_the_graph_is_one_that_old_runtimes_take(model):
    graph = onnx.load_from_string(model)
    assert graph.ir_version <= IR
    assert [o.version for o in graph.opset_import if o.domain in ("", "ai.onnx")] == [OPSET]
    assert [i.name for i in graph.graph.input] == ["picture"]
    assert graph.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_the_graph_gives_the_networks_numbers_at_every_size(network, model):
    differences = parity(network, model, sizes=((64, 64), (96, 160), (256, 320)))
    assert set(differences) == {"hair", "marks", "features"}
    assert max(differences.values()) <= 1e-4


def test_other_numbers_and_no_numbers_are_errors(model):
    torch.manual_seed(2)
    with pytest.raises(ConversionError, match="above"):
        parity(LiveNet(8).eval(), model, sizes=((64, 64),))
    with pytest.raises(ConversionError, match="nothing was compared"):
        parity(LiveNet(8).eval(), model, sizes=())


def test_reliability_follows_the_dice():
    rng = np.random.default_rng(0)
    samples = []
    for doubt in np.linspace(0.01, 0.4, 40):
        truth = np.zeros((64, 64), bool)
        truth[:, 20:40] = True
        soft = np.where(truth, 1 - doubt, doubt) + rng.normal(0, doubt / 2, truth.shape)
        features = rng.normal(0, 1, 4).astype(np.float32)
        samples.append(Sample("easy", np.clip(soft, 0, 1).astype(np.float32), np.zeros((32, 32), np.float32), features, truth))
    trust, figures = fit_trust(samples, 0.5, 0.5)
    assert figures["reliability_rank_correlation"] > 0.7
    assert len(trust.features) == 4
    assert trust.unfamiliar_above > 1
    with pytest.raises(ConversionError, match="too few"):
        fit_trust(samples[:4], 0.5, 0.5)


def test_the_thresholds_follow_what_the_truth_counts():
    rng = np.random.default_rng(3)
    samples = []
    for told in (0.45, 0.48, 0.5):  # the network is never surer than that of the hair that does not count
        soft = np.full((64, 96), 0.02, np.float32)
        soft[:, 20:32] = soft[:, 60:72] = 0.9
        soft[:, 30:32] = 0.42
        truth = np.zeros(soft.shape, bool)
        truth[:, 20:30] = True
        faintness = rng.uniform(0, 0.1, (32, 48)).astype(np.float32)
        faintness[:, 28:38] = told
        samples.append(Sample("hard", soft, faintness, np.zeros(3, np.float32), truth))
    threshold, faint_threshold = best_thresholds(samples)
    assert threshold > 0.42
    assert 0.1 < faint_threshold <= 0.45
    assert all(mask_dice(s.found(threshold, faint_threshold), s.truth) > 0.95 for s in samples)
    assert all(mask_dice(s.found(threshold, 1.0), s.truth) < 0.75 for s in samples)


def test_familiarity_sees_what_breaks_the_correlation():
    rng = np.random.default_rng(1)
    along = rng.normal(0, 3, (200, 1))
    known = np.concatenate([along, along + rng.normal(0, 0.2, (200, 1))], 1)
    mean, axes, distance = familiarity(known)
    assert np.sqrt(np.mean(distance**2)) == pytest.approx(1, abs=0.35)

    def far(x: float, y: float) -> float:
        return float(np.sqrt(np.mean((axes @ (np.array([x, y]) - mean)) ** 2)))

    assert far(4, 4) < np.quantile(distance, 0.99)
    assert far(4, -4) > 1.5 * distance.max()


def test_small_figures():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, np.ones(4)) == 0
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert mask_dice(empty, empty) == 1
    assert mask_dice(empty, full) == 0


def test_a_training_becomes_a_bundle_that_segments(tmp_path, monkeypatch):
    paths = drawn_scenes(tmp_path / "drawn")
    monkeypatch.setattr(training, "render_scenes", lambda *_, **__: paths)
    monkeypatch.setattr(training, "validation_frames", drawn_frames)
    monkeypatch.setattr(conversion, "validation_frames", drawn_frames)
    monkeypatch.setattr(conversion, "bald_frames", drawn_bald_frames)
    monkeypatch.setattr(conversion, "parity", lambda network, model: parity(network, model, sizes=((64, 96),)))
    SegmenterTraining(tmp_path / "run", SMOKE, 3).run(Watcher())
    result = CliRunner().invoke(app, ["bundle", "segmenter", str(tmp_path / "run"), str(tmp_path / "made"), "--per-kind", "6"])
    assert result.exit_code == 0, result.output
    bundle = read_bundle(tmp_path / "made")
    assert bundle.id in result.output
    card = bundle.manifest.roles.segmenter.card
    assert (card.seed, card.steps, card.validated_on_real_labels) == (3, SMOKE.steps, False)
    assert "--recipe smoke --seed 3" in card.repeat
    metrics = bundle.manifest.roles.segmenter.metrics
    assert {"dice_easy", "dice_realistic", "dice_hard", "false_area_without_hair", "parity_hair"} <= set(metrics)
    with LearnedSegmenter(bundle, threads=1) as segmenter:
        assert segmenter.segment(np.zeros((50, 70, 3), np.uint8)).mask.shape == (50, 70)
    shown = CliRunner().invoke(app, ["bundle", "inspect", str(tmp_path / "made"), "--json"])
    assert json.loads(shown.stdout)["id"] == bundle.id
    (tmp_path / "made" / "segmenter.onnx").write_bytes(b"")
    refused = CliRunner().invoke(app, ["bundle", "inspect", str(tmp_path / "made")])
    assert refused.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segmenter", "RUN", "MINE"], "exists and is no bundle"),
        (["segmenter", "RUN", "NEW", "--name", "Hair Live"], "no name of a bundle"),
        (["segmenter", "RUN", "NEW"], "no checkpoint"),
        (["inspect", "MINE"], "manifest.json"),
    ],
    ids=["a folder of something else", "a name with capitals", "no training", "no bundle"],
)
def test_the_command_says_what_is_wrong_before_it_computes(tmp_path, arguments, message):
    (tmp_path / "MINE").mkdir()
    (tmp_path / "MINE" / "letter.txt").write_text("dear")
    paths = [str(tmp_path / word) if word.isupper() else word for word in arguments]
    result = CliRunner().invoke(app, ["bundle", *paths])
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert [p.name for p in tmp_path.iterdir()] == ["MINE"]
