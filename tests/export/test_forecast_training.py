import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from export.cli import app  # noqa: E402
from export.conversion.forecast import GOLDEN, MODEL, bundle_forecast  # noqa: E402
from export.conversion.part import read_part  # noqa: E402
from export.errors import TrainingError  # noqa: E402
from export.evaluation import forecast as evaluation  # noqa: E402
from export.evaluation.forecast_pictures import calibration_svg  # noqa: E402
from export.networks.hybrid import ARCHITECTURES, GREY, Architecture  # noqa: E402
from export.persons import MARKERS, SERIES  # noqa: E402
from export.training import checkpoint  # noqa: E402
from export.training.forecast import report  # noqa: E402
from export.training.forecast import training as module  # noqa: E402
from export.training.forecast.batches import drawn, looked_at, people  # noqa: E402
from export.training.forecast.forest import forest_probabilities, records_table  # noqa: E402
from export.training.forecast.loop import learning_rate  # noqa: E402
from export.training.forecast.recipe import CONTESTANTS, CPU, HYBRID, RECIPES, SMOKE, Contestant  # noqa: E402
from export.training.forecast.report import CALIBRATION, CURVES, FIGURES, TABLE  # noqa: E402
from export.training.forecast.training import EYES, PLAN, ForecastTraining, Watcher, cohort_for, forecasts  # noqa: E402
from runtime.bundles.golden import unpack  # noqa: E402
from runtime.bundles.roles import Roles  # noqa: E402
from runtime.bundles.writer import write_bundle  # noqa: E402
from runtime.forecast.forecasting import Forecaster  # noqa: E402
from runtime.forecast.inputs import GREY as DEVICE_GREY  # noqa: E402
from runtime.forecast.records import parse_history  # noqa: E402
from tests.runtime.forecast_samples import TODAY, as_bytes, history_dict  # noqa: E402

pytestmark = pytest.mark.export


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    calibration_svg("", {"nobody": []})  # Matplotlib keeps the fonts open that it has used once
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch, "set_num_threads", lambda wanted: None)  # two threads wait for each other where other tests run beside
        patched.setattr(evaluation, "DRAWS", 20)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training by the command, and what it printed."""
    folder = tmp_path_factory.mktemp("forecast") / "run"
    done = CliRunner().invoke(app, ["train", "forecast", "--recipe", "smoke", "--seed", "3", "--out", str(folder)])
    assert done.exit_code == 0, done.output
    return folder, done.stdout


def test_one_command_trains_measures_and_writes_the_part_of_a_bundle(trained):
    folder, printed = trained
    table = (folder / TABLE).read_text()
    assert printed.strip() == table.strip()
    for method in ("hybrid CNN–LSTM", "CNN alone", "LSTM alone", "random forest", "CNN alone, only the picture tells"):
        assert f"| {method} |" in table
    assert "85 % / 82 % / 88 % / 85 %, 0.91" in table
    plain = json.loads((folder / FIGURES).read_text())
    assert plain["schema"] == "trichoscope/forecast-evaluation/1"
    assert plain["methods"]["hybrid CNN–LSTM"]["persons"] == SMOKE.tested
    assert set(plain["gains"]) >= {"CNN alone", "LSTM alone", "LSTM alone, only records and markers tell"}
    for name in (CALIBRATION, CURVES):
        assert "<svg" in (folder / name).read_text()
    role = read_part(folder / "part").role
    assert (role.series, role.markers, role.labels, role.model) == (SERIES, MARKERS, ("low", "high"), MODEL)
    assert role.card.validated_on_real_labels is False
    assert role.card.repeat.endswith("--recipe smoke --architecture device --seed 3 --out TRAINING")
    assert max(value for name, value in role.metrics.items() if name.startswith("parity_")) <= 1e-4
    assert len(unpack((folder / "part" / GOLDEN).read_bytes(), "part")) == 6


def test_what_was_trained_serves_on_the_device(trained, tmp_path):
    folder, _ = trained
    model, role, golden = bundle_forecast(folder)
    assert model == (folder / "part" / MODEL).read_bytes()
    bundle = write_bundle(
        tmp_path / "bundle", {MODEL: model, GOLDEN: golden}, name="hair", release=1, minimum_version="0.1.0", roles=Roles(forecast=role)
    )
    history = parse_history(as_bytes(history_dict()), "c17.json", role, TODAY)
    with Forecaster(bundle) as forecaster:
        result = forecaster.forecast(history, np.full((48, 64, 3), 90, np.uint8))
    assert result.forecast is not None
    assert 0 < result.forecast.score < 1
    assert len(result.attributions) == 1 + len(SERIES) + len(MARKERS)
    done = CliRunner().invoke(app, ["evaluate", "forecast", "--bundle", str(tmp_path / "bundle"), "--persons", "50", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["of"] == bundle.id


def test_evaluate_gives_the_trainings_own_figures_again(trained):
    folder, _ = trained
    done = CliRunner().invoke(app, ["evaluate", "forecast", str(folder), "--persons", "50", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["methods"]["LSTM alone"]["persons"] == 50
    assert set(found["methods"]) == set(json.loads((folder / FIGURES).read_text())["methods"])


def test_a_finished_training_is_not_trained_again(trained):
    folder, printed = trained
    again = CliRunner().invoke(app, ["train", "forecast", "--out", str(folder)])
    assert again.exit_code == 1
    assert "a training is here already" in again.stderr
    before = {path: path.read_bytes() for path in folder.rglob("checkpoint.pt")}
    resumed = CliRunner().invoke(app, ["train", "forecast", "--resume", "--out", str(folder)])
    assert resumed.exit_code == 0
    assert resumed.stdout == printed
    assert {path: path.read_bytes() for path in folder.rglob("checkpoint.pt")} == before


@pytest.mark.parametrize("frozen", [True, False])
def test_resumed_equals_uninterrupted(tmp_path, monkeypatch, frozen):
    recipe = dataclasses.replace(SMOKE, frozen=frozen, persons=12, validated=6)
    monkeypatch.setattr(module, "contestants", lambda head: CONTESTANTS[:3])
    monkeypatch.setitem(RECIPES, "smoke", recipe)
    whole = ForecastTraining(tmp_path / "whole", recipe, 5).run(Watcher())

    class StopError(Exception):
        pass

    def stop(task, step, loss):
        if task == HYBRID.folder and step == 4:  # after its last step, the checkpoint of which is not yet written
            raise StopError

    with pytest.raises(StopError):
        ForecastTraining(tmp_path / "parts", recipe, 5).run(Watcher(step=stop))
    assert checkpoint.load(tmp_path / "parts" / EYES)["step"] == recipe.eye_steps
    assert checkpoint.load(tmp_path / "parts" / HYBRID.folder)["step"] == 2
    resumed = ForecastTraining.resumed(tmp_path / "parts").run(Watcher())
    for which, network in whole.networks.items():
        for a, b in zip(network.parameters(), resumed.networks[which].parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-6)
    image = whole.networks[HYBRID].image
    eyes = checkpoint.load(tmp_path / "whole" / EYES)["network"]
    assert torch.allclose(image.layers[0].weight, eyes["0.layers.0.weight"]) == frozen


def test_stages_are_trained_by_the_same_command(tmp_path):
    done = CliRunner().invoke(app, ["train", "forecast", "--recipe", "smoke", "--head", "stage", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    role = read_part(tmp_path / "run" / "part").role
    assert role.labels == ("stage 0", "stage 1", "stage 2", "stage 3")
    assert "--head stage" in role.card.repeat


def test_the_papers_architecture_is_trained_and_proven_but_not_shipped(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "paper", Architecture("paper", 32, None))  # 256 px take a minute and two gigabytes
    monkeypatch.setattr(report, "contestants", lambda head: CONTESTANTS[:3])
    monkeypatch.setattr(module, "contestants", lambda head: CONTESTANTS[:3])
    done = CliRunner().invoke(app, ["train", "forecast", "--recipe", "smoke", "--architecture", "paper", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "too large for a bundle" in done.stderr
    assert not (tmp_path / "run" / "part").exists()
    assert "| hybrid CNN–LSTM |" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--recipe", "quick"], "'quick' is no recipe"),
        (["--architecture", "large"], "'large' is no architecture"),
        (["--head", "tail"], "'tail' is no head"),
        (["--resume"], "name the folder of a training"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(tmp_path, options, said):
    done = CliRunner().invoke(app, ["train", "forecast", "--out", str(tmp_path / "run"), *options])
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("damage", ["plan", "other recipe", "seed", "checkpoint", "other training", "unfinished"])
def test_a_damaged_training_is_an_error(trained, tmp_path, damage):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    plan = json.loads((folder / PLAN).read_text())
    path = folder / HYBRID.folder / checkpoint.NAME
    if damage == "plan":
        (folder / PLAN).write_text("[" * 9000)
    elif damage == "other recipe":
        (folder / PLAN).write_text(json.dumps(plan | {"recipe": plan["recipe"] | {"steps": 5}}))
    elif damage == "seed":
        (folder / PLAN).write_text(json.dumps(plan | {"seed": "3"}))
    elif damage == "checkpoint":
        path.write_bytes(path.read_bytes()[:4000])
    elif damage == "other training":
        shutil.copy(folder / Contestant("both", "records").folder / checkpoint.NAME, path)
    else:
        torch.save(torch.load(path, weights_only=True) | {"step": 1}, path)
    with pytest.raises(TrainingError, match=r"start anew|--resume"):
        run = ForecastTraining.resumed(folder)
        run.trained(HYBRID)


def test_a_checkpoint_of_another_training_is_not_gone_on_with(trained, tmp_path):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    plan = json.loads((folder / PLAN).read_text())
    (folder / PLAN).write_text(json.dumps(plan | {"seed": 4}))
    with pytest.raises(TrainingError, match="of another training"):
        ForecastTraining.resumed(folder).run(Watcher())


def test_numbers_that_are_not_finite_never_reach_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(module.functional, "mse_loss", lambda told, shown: torch.sqrt(told.sum() * 0))
    with pytest.raises(TrainingError, match=r"not finite at step 0.*another --seed"):
        ForecastTraining(tmp_path / "run", SMOKE, 3).run(Watcher())
    assert not (tmp_path / "run" / EYES / checkpoint.NAME).exists()


def test_a_step_takes_things_away_and_keeps_what_is_last():
    found = people(cohort_for("device", 11, 30))
    recipe = dataclasses.replace(SMOKE, batch=64, dropped=0.0, blind=0.0)
    chosen, batch = drawn(found, recipe, 1, 0)
    again, _ = drawn(found, recipe, 1, 0)
    assert np.array_equal(chosen, again)
    length = batch.records.shape[1]
    for row, who in enumerate(chosen):
        full, many = int(found.cohort.lengths[who]), min(length, int(found.cohort.lengths[who]))
        assert np.array_equal(batch.records[row, :many].numpy(), found.records[who, full - many : full])
        assert not batch.records[row, many:].any()
    assert np.array_equal(batch.markers.numpy(), found.cohort.markers[chosen])
    _, batch = drawn(found, dataclasses.replace(recipe, dropped=0.3, blind=0.3), 1, 1)
    blind = (batch.picture == int(GREY)).flatten(1).all(1)
    assert 5 < int(blind.sum()) < 40
    assert (batch.markers == 0).float().mean() > 0.2
    assert GREY == DEVICE_GREY


def test_a_frozen_branch_sees_what_it_would_see_in_the_picture():
    torch.manual_seed(1)
    run = ForecastTraining(None, SMOKE, 1)
    network = run.network(HYBRID).eval()
    plain = people(cohort_for("device", 12, 5))
    seen = looked_at(plain, network.image, torch.device("cpu"), mirrored=True)
    assert seen.seen.shape == (4, 5, network.image.size)
    assert np.allclose(forecasts(network, plain, run.device), forecasts(network, seen, run.device), atol=1e-6)
    assert not np.allclose(seen.seen[0], seen.seen[1])


def test_the_forest_learns_from_the_records():
    learnt, tested = people(cohort_for("device", 21, 200)), people(cohort_for("device", 22, 200))
    recipe = dataclasses.replace(SMOKE, trees=40)
    found = forest_probabilities(records_table(learnt), learnt.targets("risk", "records"), records_table(tested), recipe, 1, 2)
    assert np.allclose(found.sum(1), 1)
    assert np.isfinite(records_table(learnt)).all()
    assert module.mean_area(found, tested.targets("risk", "records")) > 0.65


def test_the_rate_rises_then_falls():
    rates = [learning_rate(CPU, step, CPU.steps) for step in range(CPU.steps)]
    assert max(rates) == pytest.approx(CPU.rate)
    assert rates[0] < rates[CPU.warm_up // 2] < CPU.rate
    assert rates[-1] < 0.02 * CPU.rate
