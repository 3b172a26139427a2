import dataclasses
import json
from multiprocessing import resource_tracker

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sklearn.metrics import cohen_kappa_score  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from device.simulated.head_shape import VIEWS  # noqa: E402
from export.cli import app  # noqa: E402
from export.conversion import norwood as conversion  # noqa: E402
from export.conversion.norwood import bundle_stage, onnx_stager, stage_onnx, stage_parity, trained_network  # noqa: E402
from export.conversion.part import as_bundle, read_part  # noqa: E402
from export.datasets.norwood import write_rendered_set  # noqa: E402
from export.errors import ConversionError, EvaluationError, TrainingError  # noqa: E402
from export.evaluation import norwood as figures  # noqa: E402
from export.networks.live import parameter_count  # noqa: E402
from export.networks.norwood import GRADES, Staged, StageNet, probabilities  # noqa: E402
from export.training import checkpoint  # noqa: E402
from export.training.norwood.augment import LEFT, RIGHT, augment  # noqa: E402
from export.training.norwood.curves import curves_png  # noqa: E402
from export.training.norwood.heads import TEST, TRAINING, VALIDATION, Heads, person_seeds, rendered_heads  # noqa: E402
from export.training.norwood.recipe import RECIPES, SMOKE  # noqa: E402
from export.training.norwood.training import CURVES, HISTORY, StageTraining, Watcher, learning_rate, shrunk, stage_loss  # noqa: E402
from runtime.bundles.golden import unpack  # noqa: E402
from runtime.inference.onnx import OnnxBackend  # noqa: E402
from runtime.staging.staging import Stager  # noqa: E402

pytestmark = pytest.mark.export
TINY = dataclasses.replace(SMOKE, persons=7, validation_persons=7)


@pytest.fixture(scope="module", autouse=True)
def few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def fonts():
    """Matplotlib keeps a font's file open from its first text on."""
    curves_png("a title", [(1, 1.0)], {"5 views": [(1, 0.5)]})


@pytest.fixture(scope="module")
def heads():
    return rendered_heads(None, 7, 3, TRAINING, 48)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(4)
    made = StageNet(4)
    for module in made.modules():  # statistics as after some training
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return made.eval()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("norwood") / "training"
    StageTraining(folder, TINY, 3).run(Watcher())
    return folder


def test_the_shipped_network_is_small():
    assert all(parameter_count(StageNet(recipe.width)) <= 1_000_000 for recipe in RECIPES.values())


def test_stages_are_ordered_and_shares_sum_to_one(network):
    pictures = torch.randint(0, 256, (3, 5, 3, 32, 32)).float()
    with torch.no_grad():
        found = network(pictures, torch.ones(3, 5))
    assert found.logits.shape == (3, GRADES - 1) and found.view_logits.shape == (3, 5, GRADES - 1)
    assert (found.logits.diff(dim=1) < 0).all() and (found.view_logits.diff(dim=2) < 0).all()
    shares = probabilities(found.logits)
    assert shares.min() >= 0 and torch.allclose(shares.sum(dim=1), torch.ones(3), atol=1e-6)
    assert torch.allclose(found.attention.sum(dim=1), torch.ones(3), atol=1e-6)


def test_views_that_are_not_there_say_nothing(network):
    present = torch.tensor([[1.0, 0, 1, 0, 0]])
    pictures = torch.randint(0, 256, (1, 5, 3, 32, 32)).float()
    other = pictures.clone()
    other[:, [1, 3, 4]] = torch.randint(0, 256, (1, 3, 3, 32, 32)).float()
    with torch.no_grad():
        one, two = network(pictures, present), network(other, present)
        changed = network(pictures.flip(1), present)
    assert torch.equal(one.logits, two.logits)
    assert one.attention[0, [1, 3, 4]].abs().max() == 0 and one.attention.sum() == pytest.approx(1, abs=1e-6)
    assert not torch.allclose(one.logits, changed.logits)


def test_a_single_view_is_what_it_says_alone(network):
    present = torch.zeros(1, 5)
    present[0, 2] = 1
    with torch.no_grad():
        found = network(torch.randint(0, 256, (1, 5, 3, 32, 32)).float(), present)
    assert torch.allclose(found.logits[0], found.view_logits[0, 2], atol=1e-5)


def test_persons_of_training_and_tests_are_others():
    seeds = [{s for s, _ in person_seeds(300, 1, purpose)} for purpose in (TRAINING, VALIDATION, TEST)]
    assert not (seeds[0] & seeds[1] or seeds[0] & seeds[2] or seeds[1] & seeds[2])
    assert all(s % 2 == 0 for s in seeds[0]) and all(s % 2 for part in seeds[1:] for s in part)
    grades = np.bincount(rendered_heads(None, 14, 1, TEST, 32).grades, minlength=8)
    assert grades[1:].tolist() == [2] * 7


def test_kept_heads_are_the_rendered_ones(tmp_path, heads):
    told = []
    kept = rendered_heads(tmp_path, 7, 3, TRAINING, 48, advance=told.append)
    again = rendered_heads(tmp_path, 7, 3, TRAINING, 48, advance=told.append)
    np.testing.assert_array_equal(kept.pictures, heads.pictures)
    np.testing.assert_array_equal(again.pictures, heads.pictures)
    assert sum(told) == 14 and len(list(tmp_path.glob("*.npy"))) == 1
    next(tmp_path.glob("*.npy")).write_bytes(b"\x93NUMPY damaged")
    np.testing.assert_array_equal(rendered_heads(tmp_path, 7, 3, TRAINING, 48).pictures, heads.pictures)


@pytest.fixture(scope="module")
def tracker():
    """The process that Python keeps from its first spawned process on; it stays until the end of the tests."""
    resource_tracker.ensure_running()


def test_workers_render_the_same(tracker):
    from export.training.norwood.heads import _render

    people = person_seeds(18, 3, TRAINING)
    np.testing.assert_array_equal(_render(people, 32, 2, lambda n: None), _render(people, 32, 1, lambda n: None))


def test_augmenting_keeps_sides_apart_and_leaves_views_out():
    levels = np.zeros((5, 48, 48, 3), np.uint8)
    levels[LEFT], levels[RIGHT] = 40, 200
    counts, swapped = set(), set()
    for seed in range(60):
        pictures, kept = augment(levels, np.ones(5, np.float32), 32, np.random.default_rng(seed))
        assert pictures.shape == (5, 32, 32, 3) and kept.shape == (5,)
        assert all((pictures[v].max() == 0) for v in range(5) if not kept[v])
        counts.add(int(kept.sum()))
        if kept[LEFT]:
            swapped.add(bool(pictures[LEFT].mean() > 110))
    assert counts == {1, 2, 3, 4, 5} and swapped == {True, False}
    only = np.array([0, 1, 0, 0, 0], np.float32)
    assert augment(levels, only, 32, np.random.default_rng(1))[1].tolist() == only.tolist()
    one, two = (augment(levels, np.ones(5, np.float32), 32, np.random.default_rng(9))[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_the_loss_grows_with_the_distance():
    above = torch.tensor([[4.0, 4, 4, -4, -4, -4]])  # grade IV
    silent = torch.zeros(1, 5, GRADES - 1)
    losses = [
        float(stage_loss(Staged(above, torch.ones(1, 5) / 5, silent), torch.tensor([grade]), torch.ones(1, 5), 0.0))
        for grade in range(1, 8)
    ]
    assert losses[:4] == sorted(losses[:4], reverse=True) and losses[3:] == sorted(losses[3:]) and losses[3] < 0.1


def test_the_loss_of_absent_views_does_not_count():
    logits, views = torch.zeros(1, GRADES - 1), torch.zeros(1, 5, GRADES - 1)
    views[0, 1:] = 50.0  # wildly wrong, and not there
    present = torch.tensor([[1.0, 0, 0, 0, 0]])
    staged = Staged(logits, present, views)
    assert float(stage_loss(staged, torch.tensor([1]), present, 1.0)) == pytest.approx(2 * np.log(2), rel=1e-5)


def test_resumed_equals_uninterrupted(tmp_path):
    whole = StageTraining(tmp_path / "whole", TINY, 3)
    whole.run(Watcher())
    StageTraining(tmp_path / "parts", TINY, 3).run(Watcher(), until=3)
    resumed = StageTraining.resumed(tmp_path / "parts")
    assert resumed.progress.step == 3
    resumed.run(Watcher())
    for mine, theirs in ((whole.network, resumed.network), (whole.average, resumed.average)):
        for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.allclose(a.float(), b.float(), atol=1e-5)
    assert whole.progress.loss[-1] == pytest.approx(resumed.progress.loss[-1])
    for name in (HISTORY, CURVES, checkpoint.NAME):
        assert (tmp_path / "whole" / name).stat().st_size > 0
    assert learning_rate(TINY, 0) < TINY.rate and learning_rate(TINY, TINY.steps) == pytest.approx(TINY.rate / 100)


def test_it_learns_what_it_is_shown(tmp_path):
    """Persons whose pictures are as bright as they are bald, in place of heads: a training gets them right."""
    grades = np.arange(28) % 7 + 1
    pictures = np.zeros((28, 5, 32, 32, 3), np.uint8) + (20 + 30 * grades).astype(np.uint8)[:, None, None, None, None]
    data = Heads(pictures, np.ones((28, 5), np.float32), grades, tuple(map(str, range(28))))
    recipe = dataclasses.replace(TINY, steps=90, batch=14, rate=1e-2, warm_up=5, ema=0.8, validate_every=90)
    progress = StageTraining(tmp_path, recipe, 2, data=(data, data), trained_on="grey").run(Watcher())
    assert progress.loss[-1][1] < 0.6 * progress.loss[0][1]
    assert progress.kappa["5 views"][-1][1] > 0.6


def test_a_training_goes_on_with_its_own_data_only(tmp_path, heads):
    StageTraining(tmp_path, TINY, 3, data=(heads, heads), trained_on="seven persons").run(Watcher(), until=3)
    with pytest.raises(TrainingError, match="seven persons"):
        StageTraining.resumed(tmp_path)
    assert StageTraining.resumed(tmp_path, data=(heads, heads), trained_on="seven persons").progress.step == 3
    none = Heads(heads.pictures[:0], heads.present[:0], heads.grades[:0], ())
    with pytest.raises(TrainingError, match="0 persons"):
        StageTraining(tmp_path / "none", TINY, 3, data=(none, heads), trained_on="x").run(Watcher())


def test_kappa_is_scikit_learns():
    rng = np.random.default_rng(2)
    true = rng.integers(1, 8, 200)
    found = np.clip(true + rng.integers(-2, 3, 200), 1, 7)
    expected = cohen_kappa_score(true, found, labels=list(range(1, 8)), weights="quadratic")
    assert figures.quadratic_kappa(true, found) == pytest.approx(expected)
    assert figures.quadratic_kappa(np.full(5, 3), np.full(5, 3)) == 0.0
    with pytest.raises(ValueError, match="as many"):
        figures.quadratic_kappa(true, found[:3])


def test_evaluation_by_number_of_views(heads):
    present = heads.present.copy()
    present[:3, 2:] = 0
    partly = Heads(heads.pictures, present, heads.grades, heads.names)
    asked = []

    def perfect(pictures, shown):
        asked.append(shown)
        rows = [int(np.flatnonzero((heads.pictures == picture).all(axis=(1, 2, 3, 4)))[0]) for picture in pictures]
        return np.eye(7, dtype=np.float32)[heads.grades[rows] - 1], shown / shown.sum(axis=1, keepdims=True)

    scores = figures.evaluate(perfect, partly, counts=(5, 2))
    assert [(s.views, s.persons) for s in scores] == [(0, 7), (5, 4), (2, 7)]
    assert scores[0].kappa == 0 and scores[2].kappa == 1 and scores[2].exact == 1
    assert all((shown.sum(axis=1) == 2).all() for shown in asked[-1:])
    assert ((asked[-1] > 0) <= (present > 0)).all()
    recalls = list(scores[1].recall.values())
    assert [recall is not None for recall in recalls] == [grade in heads.grades[3:] for grade in range(1, 8)]
    assert figures.markdown(scores).count("\n") == 4
    json.loads(figures.as_json("x", scores, {"on": "y"}))
    assert figures.confusion_png(scores, "x")[:4] == b"\x89PNG"
    with pytest.raises(EvaluationError, match="nobody"):
        figures.evaluate(perfect, Heads(heads.pictures[:0], present[:0], heads.grades[:0], ()))


def test_the_graph_gives_the_networks_numbers(network):
    model = stage_onnx(network, 32)
    worst = stage_parity(network, model, 32)
    assert set(worst) == {"probabilities", "attention", "view_probabilities"} and max(worst.values()) <= 1e-4
    other = StageNet(4).eval()
    with pytest.raises(ConversionError, match="does not give"):
        stage_parity(other, model, 32)
    with pytest.raises(ConversionError, match="nothing was compared"):
        stage_parity(network, model, 32, views=())


def test_the_device_stages_as_the_workstation_does(network, heads):
    model = stage_onnx(network, 32)
    picture = conversion.PictureInput(name=conversion.INPUT, width=32, height=32)
    with OnnxBackend(model, threads=1) as backend:
        shares, attention = onnx_stager(backend, picture)(heads.pictures, heads.present)
    with torch.no_grad():
        small = torch.from_numpy(shrunk(heads, 32).pictures).permute(0, 1, 4, 2, 3).float()
        found = network(small, torch.from_numpy(heads.present))
    np.testing.assert_allclose(shares, probabilities(found.logits).numpy(), atol=1e-4)
    np.testing.assert_allclose(attention, found.attention.numpy(), atol=1e-4)


def test_a_training_becomes_a_part_that_stages(trained, heads):
    part = bundle_stage(trained, persons=7)
    assert part.role.card.validated_on_real_labels is False
    assert part.role.card.repeat == "trichoscope-export train norwood --recipe smoke --seed 3 --out DIR"
    assert {"kappa_5_views", "kappa_2_views", "within_one_2_views", "parity_probabilities"} <= part.role.metrics.keys()
    cases = unpack(part.content[part.role.golden.file], "golden")
    assert [int(case.inputs["present"].sum()) for case in cases] == [5, 2, 1]
    from export.conversion.part import RolePart

    bundle = as_bundle(RolePart("stage", part.role, part.content))
    views = {view: cv2.resize(heads.pictures[0, i], (90, 120)) for i, view in enumerate(VIEWS)}
    with Stager(bundle, threads=1) as stager:
        result = stager.stage(views, folder="x")
    assert tuple(result.views) == VIEWS and all(said.stage for said in result.views.values())


def test_a_damaged_checkpoint_is_refused(trained, tmp_path):
    with pytest.raises(TrainingError, match="no checkpoint"):
        trained_network(tmp_path)
    state = checkpoint.load(trained)
    checkpoint.save(tmp_path, state | {"average": {}})
    with pytest.raises(TrainingError, match="does not fit"):
        trained_network(tmp_path)


def test_the_commands_from_training_to_evaluation(tmp_path):
    out = tmp_path / "training"
    made = CliRunner().invoke(app, ["train", "norwood", "--recipe", "smoke", "--out", str(out), "--persons", "7"])
    assert made.exit_code == 0, made.output
    assert read_part(out / "part").name == "stage"
    assert json.loads((out / "card.json").read_text())["validated_on_real_labels"] is False
    again = CliRunner().invoke(app, ["train", "norwood", "--recipe", "smoke", "--out", str(out)])
    assert again.exit_code == 1 and "--resume" in again.stderr
    other = CliRunner().invoke(app, ["train", "norwood", "--recipe", "fast", "--out", str(tmp_path / "x")])
    assert other.exit_code == 1 and "cpu, gpu, smoke" in other.stderr
    picture = tmp_path / "confusion.png"
    found = CliRunner().invoke(app, ["evaluate", "norwood", str(out), "--persons", "7", "--json", "--picture", str(picture)])
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["schema"] == "trichoscope/stage-evaluation/1"
    assert [s["views"] for s in told["scores"]] == [0, 5, 4, 3, 2, 1]
    assert picture.read_bytes()[:4] == b"\x89PNG"
    wrong = CliRunner().invoke(app, ["evaluate", "norwood", str(tmp_path / "none")])
    assert wrong.exit_code == 1 and wrong.stderr.startswith("evaluate norwood: ")


def test_training_and_evaluating_on_a_labelled_set(tmp_path):
    write_rendered_set(tmp_path / "set", 28, 9, 64)
    (tmp_path / "set" / "2" / "annotation.json").unlink()
    arguments = ["train", "norwood", "--recipe", "smoke", "--out", str(tmp_path / "t"), "--persons", "7", "--data", str(tmp_path / "set")]
    refused = CliRunner().invoke(app, [*arguments, "--strict"])
    assert refused.exit_code == 1 and "person without an annotation: 1 (2)" in refused.stderr
    assert not (tmp_path / "t").exists()
    made = CliRunner().invoke(app, arguments)
    assert made.exit_code == 0, made.output
    assert "person without an annotation: 1 (2)" in made.stderr
    assert not list((tmp_path / "t").rglob("*.npy"))  # nothing of a person is kept
    card = json.loads((tmp_path / "t" / "card.json").read_text())
    assert "persons of a labelled set" in card["trained_on"] and card["repeat"].endswith("--data DIR --out DIR")
    found = CliRunner().invoke(
        app, ["evaluate", "norwood", str(tmp_path / "t"), "--data", str(tmp_path / "set"), "--part", "all", "--json"]
    )
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["problems"]["person without an annotation"] == 1 and told["scores"][1]["persons"] == 27
