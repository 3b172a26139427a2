import dataclasses
import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from export.cli import app  # noqa: E402
from export.errors import DataError, TrainingError  # noqa: E402
from export.networks.conditions import UNKNOWN  # noqa: E402
from export.training import checkpoint  # noqa: E402
from export.training.conditions import scenes, sources  # noqa: E402
from export.training.conditions import training as module  # noqa: E402
from export.training.conditions.augmentation import seen_anew  # noqa: E402
from export.training.conditions.recipe import CPU, SMOKE, learning_rate  # noqa: E402
from export.training.conditions.samples import GradedSamples, Source, read_source, severity_weights, tally  # noqa: E402
from export.training.conditions.scenes import choose_graded, read_scene, render_graded_scenes, scene_path  # noqa: E402
from export.training.conditions.sources import gather  # noqa: E402
from export.training.conditions.training import CONFUSIONS, CURVES, HISTORY, ConditionsTraining, Validation, Watcher  # noqa: E402
from tests.export.conditions_samples import aihub_set, drawn_scalp, drawn_scenes  # noqa: E402

pytestmark = pytest.mark.export


@pytest.fixture(autouse=True)
def small_and_single(monkeypatch):
    """Small pictures and one thread."""
    monkeypatch.setitem(module.ScalpNet.__init__.__globals__["SIZES"], "small", (48, 64))
    torch.set_num_threads(1)


@pytest.fixture
def drawn(tmp_path):
    """Sources and validation of drawn scalps."""
    found = tuple(Source(path, grades, "rendered") for path, grades in drawn_scenes(tmp_path / "drawn"))
    rng = np.random.default_rng(1)
    grades = [(i % 4, (i + 1) % 4, (i + 2) % 4) for i in range(8)]
    pictures = np.stack([drawn_scalp(g, rng, 48, 64) for g in grades])
    return found, Validation(pictures, np.array(grades, np.int64))


def test_resumed_equals_uninterrupted(drawn, tmp_path):
    whole = ConditionsTraining(tmp_path / "whole", SMOKE, 3)
    whole.run(*drawn, Watcher())
    ConditionsTraining(tmp_path / "parts", SMOKE, 3).run(*drawn, Watcher(), until=4)
    resumed = ConditionsTraining.resumed(tmp_path / "parts")
    assert resumed.progress.step == 4
    resumed.run(*drawn, Watcher())
    assert resumed.progress.step == whole.progress.step == SMOKE.steps
    assert resumed.progress.f1 == whole.progress.f1
    for mine, theirs in ((whole.network, resumed.network), (whole.average, resumed.average)):
        for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.allclose(a.float(), b.float(), atol=1e-5)
    other = ConditionsTraining(tmp_path / "other", SMOKE, 4)
    other.run(*drawn, Watcher())
    assert any(not torch.allclose(a, b, atol=1e-5) for a, b in zip(whole.network.parameters(), other.network.parameters(), strict=True))


def test_it_learns_and_tells(drawn, tmp_path, monkeypatch):
    monkeypatch.setitem(module.ScalpNet.__init__.__globals__["SIZES"], "small", (96, 128))
    found, validation = drawn
    validation = Validation(validation.pictures.repeat(2, 1).repeat(2, 2), validation.grades)
    monkeypatch.setattr(module, "LOG_EVERY", 5)
    seen = []
    recipe = dataclasses.replace(SMOKE, steps=50, rate=3e-3, rounds=1, validate_every=25, batch=16, ema=0.9)
    watcher = Watcher(validated=lambda step, f1: seen.append((step, f1)))
    progress = ConditionsTraining(tmp_path / "run", recipe, 1).run(found, validation, watcher)
    losses = [loss for _, loss in progress.loss]
    assert np.mean(losses[-4:]) < 0.85 * np.mean(losses[:2])
    assert [step for step, _ in seen] == [25, 50]
    assert set(seen[-1][1]) == {"dandruff", "sebum", "erythema"}
    assert json.loads((tmp_path / "run" / HISTORY).read_text())["f1"]["sebum"][-1] == [50, seen[-1][1]["sebum"]]
    curves = (tmp_path / "run" / CURVES).read_text()
    assert curves.count("<polyline") == 4
    assert "macro-F1" in curves
    assert (tmp_path / "run" / CONFUSIONS).read_text().count("<rect") == 1 + 3 * 16


def test_other_pictures_than_before_are_refused(drawn, tmp_path):
    ConditionsTraining(tmp_path / "run", SMOKE, 3).run(*drawn, Watcher(), until=4)
    found, validation = drawn
    with pytest.raises(TrainingError, match="not the pictures that this training learnt from"):
        ConditionsTraining.resumed(tmp_path / "run").run(found[:-1], validation, Watcher())
    with pytest.raises(TrainingError, match="no picture to learn from"):
        ConditionsTraining(tmp_path / "none", SMOKE, 3).run((), validation, Watcher())


def test_a_checkpoint_of_another_program_is_refused(drawn, tmp_path):
    training = ConditionsTraining(tmp_path / "run", SMOKE, 3)
    training.run(*drawn, Watcher(), until=1)
    path = tmp_path / "run" / checkpoint.NAME
    torch.save(torch.load(path, weights_only=True) | {"recipe": {"name": "cpu"}}, path)
    with pytest.raises(TrainingError, match="start anew"):
        ConditionsTraining.resumed(tmp_path / "run")


def test_numbers_that_are_not_finite_never_reach_a_checkpoint(drawn, tmp_path, monkeypatch):
    training = ConditionsTraining(tmp_path / "run", SMOKE, 3)
    training.run(*drawn, Watcher(), until=4)
    before = (tmp_path / "run" / checkpoint.NAME).read_bytes()
    with monkeypatch.context() as patched, pytest.raises(TrainingError, match=r"not finite at step 4.*another --seed"):
        patched.setattr(module, "conditions_loss", lambda found, *_: torch.sqrt(found.grades.sum() * 0))
        training.run(*drawn, Watcher())
    assert all(torch.isfinite(p).all() for p in training.network.parameters())
    assert (tmp_path / "run" / checkpoint.NAME).read_bytes() == before


def test_a_source_that_is_gone_is_named(drawn, tmp_path):
    found, validation = drawn
    for source in found:
        source.path.unlink()
    with pytest.raises(TrainingError, match=r"\.npy.*rendered again"):
        ConditionsTraining(tmp_path / "run", SMOKE, 3).run(found, validation, Watcher())
    with pytest.raises(TrainingError, match="put it back"):
        read_source(Source(tmp_path / "gone.jpg", (0, 0, 0), "labelled"))


def test_the_rate_starts_again_and_each_round_is_twice_as_long():
    recipe = dataclasses.replace(CPU, steps=1000, rounds=3)
    rates = np.array([learning_rate(recipe, step) for step in range(recipe.steps)])
    assert rates.max() == pytest.approx(recipe.rate)
    assert rates[0] < rates[15] < recipe.rate
    restarts = np.flatnonzero(np.diff(rates) > 0.5 * recipe.rate) + 1
    assert len(restarts) == 2
    first, second, third = np.diff([30, *restarts, 1000])
    assert second == pytest.approx(2 * first, abs=3)
    assert third == pytest.approx(4 * first, abs=4)
    assert rates[-1] < 0.02 * recipe.rate


def test_rare_grades_are_drawn_as_often_as_common_ones():
    """Algorithm 2: with one condition varying, each of its grades has the same weight in all."""
    grades = np.zeros((100, 3), np.int64)
    grades[:, 0] = [0] * 80 + [1] * 10 + [2] * 8 + [3] * 2
    weights = severity_weights(grades)
    assert weights.sum() == pytest.approx(1)
    assert weights[-1] > weights[85] > weights[0]
    varying = 6 * weights - 2 / 100  # six grades have examples; the conditions that are the same everywhere give 1/100 each
    assert [varying[grades[:, 0] == grade].sum() for grade in range(4)] == pytest.approx([1.0] * 4)


def test_samples_are_the_same_whenever_asked_for_and_follow_the_weights(drawn):
    found, _ = drawn
    rare = (*tuple(dataclasses.replace(s, grades=(0, 0, 0)) for s in found[:-1]), dataclasses.replace(found[-1], grades=(3, 3, 3)))
    samples = GradedSamples(rare, (48, 64), 1, 0, 200)
    later = GradedSamples(rare, (48, 64), 1, 50, 10)
    assert torch.equal(samples[53][0], later[3][0])
    assert not torch.equal(samples[53][0], samples[54][0])
    picture, grades, maps = samples[0]
    assert (picture.shape, grades.shape, maps.shape) == ((48, 64, 3), (3,), (2, 3, 4))
    assert (picture.dtype, maps.dtype) == (torch.uint8, torch.float32)
    share = np.mean([int(samples[i][1][0]) == 3 for i in range(200)])
    assert 0.35 < share < 0.65


def test_looking_anew_changes_light_but_no_grade():
    rng = np.random.default_rng(0)
    flaky = drawn_scalp((3, 0, 0), rng)
    planes = np.dstack([flaky, cv2.inRange(flaky, np.array((215,) * 3), np.array((255,) * 3))])
    whole = float(np.mean(planes[..., 3] > 0))
    for seed in range(12):
        picture, rest = seen_anew(planes, np.random.default_rng(seed), 60, 80)
        assert picture.shape == (60, 80, 3)
        assert rest.shape == (60, 80, 1)
        flakes = rest[..., 0] > 200
        assert 0.3 * whole < flakes.mean() < 2 * whole
        assert picture[flakes].mean() > picture[rest[..., 0] == 0].mean(), "planes go where the picture goes"
    one, same = (seen_anew(flaky, np.random.default_rng(4), 60, 80) for _ in range(2))
    assert np.array_equal(one[0], same[0])
    assert one[1].shape == (60, 80, 0)


def test_maps_tell_what_share_of_each_cell_is_flaked_and_nothing_of_other_pictures(drawn, tmp_path):
    found, _ = drawn
    severe = [source for source in found if source.grades[0] == 3][:1]
    maps = torch.stack([GradedSamples(severe, (48, 64), 1, 0, 8)[i][2] for i in range(8)])
    assert float(maps.min()) >= 0
    assert 0.01 < float(maps[:, 0].mean()) < 0.2
    cv2.imwrite(str(tmp_path / "a.png"), drawn_scalp((3, 0, 0), np.random.default_rng(0), 64, 64))
    of_a_camera = GradedSamples([Source(tmp_path / "a.png", (3, 0, 0), "labelled")], (48, 64), 1, 0, 1)[0][2]
    assert bool((of_a_camera == UNKNOWN).all())


def test_every_combination_of_grades_comes_equally_often_and_tests_have_other_seeds():
    chosen = list(choose_graded(128, 7))
    counts = {}
    for choice in chosen:
        counts[choice.grades] = counts.get(choice.grades, 0) + 1
    assert set(counts.values()) == {2}
    assert len(counts) == 64
    assert list(choose_graded(50, 7)) == chosen[:50]
    tests = list(choose_graded(128, 7, first_seed=2**31))
    assert max(c.seed for c in chosen) < 2**31 <= min(c.seed for c in tests)


def test_scenes_are_kept_whole_and_rendered_once(tmp_path):
    told = []
    ((path, grades),) = render_graded_scenes(tmp_path, 1, 4, workers=1, advance=told.append)
    choice = next(iter(choose_graded(1, 4)))
    assert (path, grades) == (scene_path(tmp_path, choice), choice.grades)
    whole, written = path.read_bytes(), path.stat().st_mtime_ns
    render_graded_scenes(tmp_path, 1, 4, workers=1, advance=told.append)
    assert path.stat().st_mtime_ns == written
    assert sum(told) == 2
    for damaged in (b"", whole[:60], whole[:1000]):
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match="rendered again"):
            read_scene(path)
    render_graded_scenes(tmp_path, 1, 4, workers=1)
    assert path.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_labelled_set_and_generated_pictures_are_learnt_from_apart(tmp_path):
    aihub_set(tmp_path / "set")
    (tmp_path / "made").mkdir()
    cv2.imwrite(str(tmp_path / "made" / "g.png"), drawn_scalp((3, 0, 1), np.random.default_rng(0), 64, 64))
    (tmp_path / "made" / "grades.csv").write_text("picture,dandruff,sebum,erythema\ng.png,3,0,1\nh.png,0,0,0\n")
    found = gather(tmp_path / "run", SMOKE, 1, data=tmp_path / "set", generated=tmp_path / "made")
    counts = tally(found.sources)
    assert counts["generated"]["dandruff"] == [0, 0, 0, 1]
    assert sum(counts["labelled"]["sebum"]) == len(found.sources) - 1
    assert len(found.validation.pictures) == len(found.validation.grades) == 8
    assert any("1 generated pictures" in note for note in found.notes)
    assert any("picture that cannot be read: 1" in note for note in found.notes)
    with pytest.raises(DataError, match="--strict"):
        gather(tmp_path / "run", SMOKE, 1, data=tmp_path / "set", generated=tmp_path / "made", strict=True)
    training = ConditionsTraining(tmp_path / "run", SMOKE, 1)
    training.run(found.sources, found.validation, Watcher(), until=2)
    assert ConditionsTraining.resumed(tmp_path / "run").learnt_from["grades"]["generated"]["erythema"] == [0, 1, 0, 0]


def test_rendered_validation_is_kept_and_made_again_where_damaged(tmp_path, monkeypatch):
    asked = []

    def frames(count, seed):
        asked.append(count)
        rng = np.random.default_rng(seed)
        for index in range(count):
            yield drawn_scalp((index % 4, 0, 0), rng), (index % 4, 0, 0)

    monkeypatch.setattr(sources, "graded_frames", frames)
    monkeypatch.setattr(sources, "render_graded_scenes", lambda *_, **__: drawn_scenes(tmp_path / "drawn", 4))
    one = gather(tmp_path / "run", SMOKE, 1)
    same = gather(tmp_path / "run", SMOKE, 1)
    assert asked == [SMOKE.validation]
    assert np.array_equal(one.validation.pictures, same.validation.pictures)
    (tmp_path / "run" / sources.VALIDATION).write_bytes(b"PK\x03\x04")
    assert np.array_equal(gather(tmp_path / "run", SMOKE, 1).validation.grades, one.validation.grades)
    assert asked == [SMOKE.validation] * 2


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """The commands on drawn scalps."""

    def frames(count, seed):
        rng = np.random.default_rng(seed)
        for index in range(count):
            grades = (index % 4, index // 4 % 4, (index + 1) % 4)
            yield drawn_scalp(grades, rng, 96, 128), grades

    from export.conversion import conditions as conversion
    from export.evaluation import conditions as evaluation

    monkeypatch.setattr(sources, "render_graded_scenes", lambda *_, **__: drawn_scenes(tmp_path / "drawn"))
    for place in (sources, scenes, conversion, evaluation):
        monkeypatch.setattr(place, "graded_frames", frames)
    return frames


def test_the_command_trains_resumes_and_writes_a_part_that_can_be_evaluated(quick, tmp_path):
    run = CliRunner().invoke
    out = tmp_path / "run"
    made = run(app, ["train", "conditions", "--recipe", "smoke", "--seed", "5", "--ordinal", "--out", str(out)])
    assert made.exit_code == 0, made.output
    card = json.loads((out / "card.json").read_text())
    assert card["validated_on_real_labels"] is False
    assert card["repeat"] == "trichoscope-export train conditions --recipe smoke --ordinal --seed 5 --out TRAINING"
    assert run(app, ["train", "conditions", "--recipe", "smoke", "--out", str(out)]).exit_code == 1
    assert run(app, ["train", "conditions", "--resume", "--out", str(out)]).exit_code == 0
    judged = run(
        app, ["evaluate", "conditions", "--bundle", str(out / "part"), "--rendered", "8", "--json", "--confusions", str(tmp_path / "c.svg")]
    )
    assert judged.exit_code == 0, judged.output
    found = json.loads(judged.stdout)
    assert found["conditions"]["dandruff"]["pictures"] == 8
    assert found["conditions"]["dandruff"]["majority"]["accuracy"] == 0.25
    assert (tmp_path / "c.svg").read_text().startswith("<svg")
    aihub_set(tmp_path / "set")
    judged = run(app, ["evaluate", "conditions", str(tmp_path / "set"), "--bundle", str(out / "part")])
    assert judged.exit_code == 0, judged.output
    assert "8 pictures of set" in judged.stdout
    whole = run(app, ["evaluate", "conditions", str(tmp_path / "set"), "--part", "all", "--bundle", str(out / "part")])
    assert "32 pictures of set" in whole.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "conditions", "--recipe", "tpu"], "is no recipe"),
        (["train", "conditions", "--backbone", "vgg"], "is no backbone"),
        (["train", "conditions", "--resume"], "no checkpoint"),
        (["train", "conditions", "--recipe", "smoke", "--data", "nowhere"], "no such folder"),
        (["train", "conditions", "--recipe", "smoke", "--weights", "nowhere.pt"], "timm's names"),
        (["evaluate", "conditions", "--part", "some"], "choose test or all"),
        (["evaluate", "conditions", "--bundle", "nowhere"], "neither a bundle nor a part"),
    ],
)
def test_the_commands_say_what_is_wrong(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
