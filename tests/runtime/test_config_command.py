"""`trichoscope config` as a person or a script calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from runtime import config
from runtime.commands.config import app, toml_value
from runtime.config import Settings, load_settings
from runtime.toml_text import parse_toml

PROGRAM = Path(sys.executable).with_name("trichoscope")


@pytest.fixture(autouse=True)
def _a_bare_machine(monkeypatch, tmp_path):
    for name in [n for n in os.environ if n.startswith(config.VARIABLE_PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(config, "SYSTEM_FILE", tmp_path / "none.toml")


def call(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_check_lists_what_is_not_the_default(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("[server]\nport = 9000\nmax_clients = 8\n[calibration]\num_per_px = 4.0\n")
    done = call("check", "--config", file)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [f"{file}: ok", "  calibration.um_per_px  4.0", "  server.port            9000"]
    assert json.loads(call("check", "--json", "--config", file).stdout) == {
        "file": str(file),
        "ok": True,
        "changed": {"calibration.um_per_px": 4.0, "server.port": 9000},
    }


def test_check_lists_every_mistake_and_fails(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("[server]\nprot = 9000\nmax_clients = 0\n")
    done = call("check", "--config", file)
    assert (done.exit_code, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first == f"{file}:2: server.prot: unknown key: did you mean server.port?"
    assert second.startswith(f"{file}:3: server.max_clients = 0: not allowed: should be greater than or equal to 1")
    machine = call("check", "--json", "--config", file)
    assert machine.exit_code == 1
    answer = json.loads(machine.stdout)
    assert not answer["ok"]
    assert [(p["line"], p["key"]) for p in answer["problems"]] == [(2, "server.prot"), (3, "server.max_clients")]


def test_check_of_the_defaults():
    done = call("check")
    assert done.exit_code == 0
    assert done.stdout.startswith("defaults: ok")


def test_what_show_prints_is_a_file_of_the_same_settings(tmp_path):
    file, shown = tmp_path / "my.toml", tmp_path / "shown.toml"
    text = '[camera]\nuri = "replay:/a b/ä?loop=1"\n[store]\nfolder = "/var/lib/\\"x\\""\n'
    file.write_text(text + '[analysis]\nbundle = "/b"\n[supervision]\nrestart_delay_s = 1e-3\n')
    shown.write_text(call("show", "--config", file).stdout)
    assert load_settings(shown) == load_settings(file) != Settings()
    as_json = json.loads(call("show", "--format", "json", "--config", file).stdout)
    assert as_json == load_settings(file).model_dump(mode="json")
    file.write_text("x")
    assert call("show", "--config", file).exit_code == 1


def test_the_schema_describes_the_file():
    schema = json.loads(call("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(json.loads(Settings().model_dump_json()))
    assert validator.is_valid({})
    assert not validator.is_valid({"server": {"port": "x"}})
    assert not validator.is_valid({"servr": {}})


@given(value=st.text(st.characters(codec="utf-8")) | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False))
def test_values_read_back_as_they_were(value):
    read = parse_toml(f"value = {toml_value(value)}")["value"]
    assert (read, type(read)) == (value, type(value))


def test_the_installed_command(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("[server]\nport = 9000\n")
    done = subprocess.run([PROGRAM, "config", "check", "--config", file], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.splitlines()[0], done.stderr) == (0, f"{file}: ok", "")
