import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from export.cli import app
from runtime.bundles.reader import FACTORY
from runtime.inference.tensorrt import building
from runtime.inference.tensorrt.process import WorkerCommand
from tests.runtime.bundle_samples import write_sample
from tests.runtime.tensorrt_standins import STANDIN, command, dark

pytestmark = pytest.mark.export


@pytest.fixture
def standins(monkeypatch):
    monkeypatch.setattr(building, "WorkerCommand", command)


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a GPU")
def test_without_tensorrt_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "WorkerCommand", lambda: WorkerCommand(python=sys.executable))
    result = CliRunner().invoke(app, ["engine", str(FACTORY), "--out", str(tmp_path / "engines")])
    assert result.exit_code == 1 and result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("engine: segmenter: no NVIDIA driver (libcuda.so.1") and "install it" in lines[-1]
    assert not (tmp_path / "engines").exists()


def test_engines_are_built_and_told(tmp_path, standins, monkeypatch):
    write_sample(tmp_path / "bundle", model=dark())
    monkeypatch.chdir(tmp_path)
    arguments = ["engine", "bundle"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["bundle"].startswith("dark/1+")
    (engine,) = told["engines"]
    assert (engine["role"], engine["precision"], engine["fresh"], engine["tensorrt"]) == ("segmenter", "fp32", True, "10.3.0")
    assert Path(engine["engine"]).parent == tmp_path / "engines"
    assert Path(engine["engine"]).stat().st_size == engine["bytes"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith("segmenter: fp32, 0.0 MB, was there: ")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--precision", "fp16"], "no fp16 network"),
        (["--role", "stage"], "has no such role"),
        (["--out", "/dev/null/engines"], "name another folder"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(tmp_path, standins, arguments, why):
    write_sample(tmp_path / "bundle", model=dark())
    result = CliRunner().invoke(app, ["engine", str(tmp_path / "bundle"), "--out", str(tmp_path / "engines"), *arguments])
    assert result.exit_code == 1 and result.stdout == ""
    assert why in result.stderr.strip().splitlines()[-1]


def test_a_bundle_that_is_none(tmp_path, standins):
    result = CliRunner().invoke(app, ["engine", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith("engine: ")


def test_the_stand_ins_are_where_they_are_looked_for():
    assert (STANDIN / "tensorrt.py").is_file()
