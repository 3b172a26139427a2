import dataclasses
import json
import pickle
import shutil
from collections import namedtuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from export.cli import app  # noqa: E402
from export.errors import TrainingError  # noqa: E402
from export.scenes import choose_scenes  # noqa: E402
from export.training import checkpoint, segmenter  # noqa: E402
from export.training.cache import check_room, read_scene, render_scenes, scene_path  # noqa: E402
from export.training.recipe import RECIPES, SMOKE  # noqa: E402
from export.training.segmenter import CURVES, HISTORY, SegmenterTraining, Watcher, learning_rate  # noqa: E402
from tests.export.training_samples import drawn_frames, drawn_scenes  # noqa: E402

pytestmark = pytest.mark.export
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Trainings on drawn scenes."""
    paths = drawn_scenes(tmp_path / "drawn")
    monkeypatch.setattr(segmenter, "render_scenes", lambda *_, **__: paths)
    monkeypatch.setattr(segmenter, "validation_frames", drawn_frames)
    torch.set_num_threads(1)


def test_resumed_equals_uninterrupted(drawn, tmp_path):
    whole = SegmenterTraining(tmp_path / "whole", SMOKE, 3)
    whole.run(Watcher())
    SegmenterTraining(tmp_path / "parts", SMOKE, 3).run(Watcher(), until=4)
    resumed = SegmenterTraining.resumed(tmp_path / "parts")
    assert resumed.progress.step == 4
    resumed.run(Watcher())
    assert resumed.progress.step == whole.progress.step == SMOKE.steps
    for mine, theirs in ((whole.network, resumed.network), (whole.average, resumed.average)):
        for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.allclose(a.float(), b.float(), atol=1e-5)
    other = SegmenterTraining(tmp_path / "other", SMOKE, 4)
    other.run(Watcher())
    assert any(not torch.allclose(a, b, atol=1e-5) for a, b in zip(whole.network.parameters(), other.network.parameters(), strict=True))


def test_it_learns_and_tells(drawn, tmp_path):
    seen = []
    recipe = dataclasses.replace(SMOKE, steps=60, rate=1e-2, validate_every=30, batch=4, warm_up=5, ema=0.9, validation_per_kind=3)
    training = SegmenterTraining(tmp_path / "run", recipe, 1)
    progress = training.run(Watcher(validated=lambda step, dice: seen.append((step, dice))))
    losses = [loss for _, loss in progress.loss]
    assert losses[-1] < 0.75 * losses[0]
    assert progress.dice["easy"][-1][0] == 60
    assert (60, {k: v[-1][1] for k, v in progress.dice.items()}) in seen
    assert json.loads((tmp_path / "run" / HISTORY).read_text())["loss"] == [[s, v] for s, v in progress.loss]
    curves = (tmp_path / "run" / CURVES).read_text()
    assert curves.startswith("<svg")
    assert curves.count("<polyline") == 1 + len(progress.dice)


def test_the_rate_rises_then_falls():
    recipe = RECIPES["cpu"]
    rates = [learning_rate(recipe, step) for step in range(recipe.steps)]
    assert max(rates) == pytest.approx(recipe.rate)
    assert rates[0] < rates[recipe.warm_up // 2] < recipe.rate
    assert rates[-1] < 0.02 * recipe.rate


@pytest.mark.parametrize("damage", ["truncated", "pickle", "other", "recipe"])
def test_a_damaged_checkpoint_is_an_error_and_stays(drawn, tmp_path, damage):
    folder = tmp_path / "run"
    SegmenterTraining(folder, SMOKE, 3).run(Watcher(), until=1)
    path = folder / checkpoint.NAME
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "pickle":
        path.write_bytes(pickle.dumps({"recipe": print}))
    elif damage == "other":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        state = torch.load(path, weights_only=True)
        torch.save(state | {"recipe": {"name": "cpu"}}, path)
    before = path.read_bytes()
    with pytest.raises(TrainingError, match="start anew"):
        SegmenterTraining.resumed(folder)
    assert path.read_bytes() == before


def test_a_nearly_full_disk_keeps_the_last_checkpoint(drawn, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    training = SegmenterTraining(folder, SMOKE, 3)
    training.run(Watcher(), until=4)
    before = (folder / checkpoint.NAME).read_bytes()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 5 * 10**8))
    with pytest.raises(TrainingError, match="GB free"):
        training.run(Watcher())
    assert (folder / checkpoint.NAME).read_bytes() == before
    with pytest.raises(TrainingError, match="GB free"):
        check_room(folder)


def test_scenes_are_kept_whole_and_rendered_once(tmp_path, monkeypatch):
    choice = next(iter(choose_scenes(1, 4)))
    told = []
    assert render_scenes(tmp_path, 1, 4, workers=1, advance=told.append) == [scene_path(tmp_path, choice)]
    path = scene_path(tmp_path, choice)
    written = path.stat().st_mtime_ns
    render_scenes(tmp_path, 1, 4, workers=1, advance=told.append)
    assert path.stat().st_mtime_ns == written
    assert sum(told) == 2
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="rendered again"):
        read_scene(path)
    np.save(path, np.zeros((4, 4), np.uint8))
    with pytest.raises(TrainingError, match="not the planes"):
        read_scene(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 10**9))
    with pytest.raises(TrainingError, match="free some space"):
        render_scenes(tmp_path, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--recipe", "tpu"], "is no recipe"), (["--resume"], "no checkpoint"), ([], "--resume it")],
    ids=["recipe", "nothing to resume", "a training is there"],
)
def test_the_command_says_what_is_wrong(tmp_path, arguments, message):
    if not arguments:
        (tmp_path / checkpoint.NAME).write_bytes(b"")
    result = CliRunner().invoke(app, ["train", "segmenter", "--out", str(tmp_path), *arguments])
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
