import dataclasses
import json
import multiprocessing
import os
import pickle
import shutil
import signal
from collections import namedtuple
from multiprocessing import resource_tracker

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from export.cli import app  # noqa: E402
from export.errors import TrainingError  # noqa: E402
from export.scenes import choose_scenes  # noqa: E402
from export.training import cache, checkpoint, segmenter  # noqa: E402
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


def test_killed_between_two_checkpoints_it_ends_where_it_would_have(drawn, tmp_path):
    whole, killed = SegmenterTraining(tmp_path / "whole", SMOKE, 3), SegmenterTraining(tmp_path / "killed", SMOKE, 3)
    whole.run(Watcher())

    def kill(step, dice):
        if step == SMOKE.steps:  # all steps done, the last checkpoint not yet written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed.run(Watcher(validated=kill))
    resumed = SegmenterTraining.resumed(tmp_path / "killed")
    assert resumed.progress.step == SMOKE.validate_every < SMOKE.steps
    resumed.run(Watcher())
    for mine, theirs in ((whole.network, resumed.network), (whole.average, resumed.average)):
        for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.allclose(a.float(), b.float(), atol=1e-5)
    first, second = (torch.load(tmp_path / run / checkpoint.NAME, weights_only=True) for run in ("whole", "killed"))
    for place, moments in first["optimiser"]["state"].items():
        for name, value in moments.items():
            assert torch.allclose(value, second["optimiser"]["state"][place][name], atol=1e-5)
    assert [step for step, _ in first["history"]["loss"]] == [step for step, _ in second["history"]["loss"]]
    assert first["history"]["dice"].keys() == second["history"]["dice"].keys()


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


class Hostile:
    """Its pickle, loaded, would make a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def _one_weight_changed(path):
    """One bit of the first convolution's weights; PyTorch loads such a file without a word."""
    content = bytearray(path.read_bytes())
    weights = torch.load(path, weights_only=True)["network"]["stem.0.weight"].contiguous(memory_format=torch.channels_last)
    place = content.index(weights.permute(0, 2, 3, 1).numpy().tobytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", ["truncated", "empty", "folder", "pickle", "hostile", "hostile in a state", "other", "recipe", "one bit", "huge"]
)
def test_a_damaged_checkpoint_is_an_error_and_stays(drawn, tmp_path, monkeypatch, damage):
    folder = tmp_path / "run"
    SegmenterTraining(folder, SMOKE, 3).run(Watcher(), until=1)
    path = folder / checkpoint.NAME
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "pickle":
        path.write_bytes(pickle.dumps({"recipe": print}))
    elif damage == "hostile":
        path.write_bytes(pickle.dumps(Hostile(tmp_path / "executed")))
    elif damage == "hostile in a state":
        torch.save(torch.load(path, weights_only=True) | {"history": Hostile(tmp_path / "executed")}, path)
    elif damage == "other":
        torch.save({"weights": torch.zeros(3)}, path)
    elif damage == "one bit":
        _one_weight_changed(path)
    elif damage == "huge":
        monkeypatch.setattr(checkpoint, "MAX_BYTES", path.stat().st_size - 1)
    else:
        state = torch.load(path, weights_only=True)
        torch.save(state | {"recipe": {"name": "cpu"}}, path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(TrainingError, match="start anew"):
        SegmenterTraining.resumed(folder)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert not (tmp_path / "executed").exists()


def test_numbers_that_are_not_finite_never_reach_a_checkpoint(drawn, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    training = SegmenterTraining(folder, SMOKE, 3)
    training.run(Watcher(), until=4)
    before = (folder / checkpoint.NAME).read_bytes()
    with monkeypatch.context() as patched, pytest.raises(TrainingError, match=r"not finite at step 4.*another --seed"):
        # the loss is a number, its gradient is none
        patched.setattr(segmenter, "segmenter_loss", lambda outputs, *_: torch.sqrt(outputs.hair.sum() * 0))
        training.run(Watcher())
    assert all(torch.isfinite(p).all() for p in training.network.parameters())
    assert (folder / checkpoint.NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "ended.*--resume"),
        (
            TrainingError("Caught TrainingError in DataLoader worker process 0.\nTraceback:\n\nexport.errors.TrainingError: a.npy: bad"),
            "^a.npy: bad$",
        ),
    ],
    ids=["killed", "a damaged scene"],
)
def test_a_failing_worker_is_told_in_one_line(drawn, tmp_path, monkeypatch, failure, message):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(segmenter, "DataLoader", fail)
    with pytest.raises(TrainingError, match=message):
        SegmenterTraining(tmp_path / "run", SMOKE, 3).run(Watcher())


def test_other_mistakes_are_not_taken_for_a_workers(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter, "segmenter_loss", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        SegmenterTraining(tmp_path / "run", SMOKE, 3).run(Watcher())


def test_a_training_for_a_gpu_is_resumed_on_one(drawn, tmp_path, monkeypatch):
    SegmenterTraining(tmp_path / "run", dataclasses.replace(SMOKE, name="gpu"), 3).run(Watcher(), until=1)
    asked = []
    monkeypatch.setattr(segmenter, "device_for", lambda recipe: asked.append(recipe.name) or "cpu")
    SegmenterTraining.resumed(tmp_path / "run")
    assert asked == ["gpu"]


def test_a_disk_that_refuses_keeps_the_last_checkpoint(drawn, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    training = SegmenterTraining(folder, SMOKE, 3)
    training.run(Watcher(), until=4)
    before = (folder / checkpoint.NAME).read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: No space left.*--resume"):
        training.run(Watcher())
    monkeypatch.undo()
    assert (folder / checkpoint.NAME).read_bytes() == before
    assert not list(folder.glob("*.part"))


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
    whole = path.read_bytes()
    for damaged in (b"", whole[:60], whole[:1000], b"PK\x03\x04" + whole, whole.replace(b"'shape': (", b"'shape': ((", 1)):
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match="rendered again"):
            read_scene(path)
    assert render_scenes(tmp_path, 1, 4, workers=1) == [path]
    assert path.read_bytes() == whole
    np.save(path, np.zeros((4, 4), np.uint8))
    with pytest.raises(TrainingError, match="not the planes"):
        read_scene(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 10**9))
    with pytest.raises(TrainingError, match="free some space"):
        render_scenes(tmp_path, 3, 4)


def _hang(task):
    if task[1].seed % 2:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def tracker():
    """The process that Python keeps from its first spawned process on; it stays until the end of the tests."""
    resource_tracker.ensure_running()


def test_a_worker_that_was_killed_is_told(tracker, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_render", _hang)
    monkeypatch.setattr(cache, "DEADLINE_S", 0.5)
    with pytest.raises(TrainingError, match=r"was ended or hangs.*start again"):
        render_scenes(tmp_path, 6, 4, workers=2)
    assert multiprocessing.active_children() == []


def test_folders_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="--out"):
        SegmenterTraining(tmp_path / "file", SMOKE, 3).run(Watcher())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "planes_of", lambda choice: np.zeros(3))
    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(TrainingError, match=r"\.npy: No space left.*start again"):
        render_scenes(tmp_path / "scenes", 1, 4, workers=1)
    assert list((tmp_path / "scenes").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "tpu"], "is no recipe"),
        (["--resume"], "no checkpoint"),
        ([], "--resume it"),
        (["--out", "{folder}/mine"], "mine/bundle: exists and is no bundle"),
    ],
    ids=["recipe", "nothing to resume", "a training is there", "no room for the bundle"],
)
def test_the_command_says_what_is_wrong(tmp_path, arguments, message):
    if not arguments:
        (tmp_path / checkpoint.NAME).write_bytes(b"")
    (tmp_path / "mine" / "bundle").mkdir(parents=True)
    (tmp_path / "mine" / "bundle" / "letter.txt").write_text("dear")
    named = [argument.format(folder=tmp_path) for argument in arguments]
    result = CliRunner().invoke(app, ["train", "segmenter", "--out", str(tmp_path), *named])
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
