"""One configuration from file, environment and command line; each mistake named with its place and its remedy."""

import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from calib.scale import NO_SCALE, given_scale
from runtime import config
from runtime.config import MAX_FILE_BYTES, InvalidConfigError, Settings, load_settings
from runtime.errors import ConfigError
from runtime.store.settings import default_state_folder


@pytest.fixture(autouse=True)
def _a_bare_machine(monkeypatch, tmp_path):
    for name in [n for n in os.environ if n.startswith(config.VARIABLE_PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(config, "SYSTEM_FILE", tmp_path / "etc" / "trichoscope.toml")


def problems(tmp_path, text, **more):
    file = tmp_path / "my.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidConfigError) as caught:
        load_settings(file, **more)
    assert str(caught.value).splitlines() == [str(p) for p in caught.value.problems]
    assert isinstance(caught.value, ConfigError)
    return [str(p).removeprefix(f"{tmp_path}/") for p in caught.value.problems]


def test_without_a_file_the_defaults_hold():
    assert load_settings() == Settings()
    assert Settings().server.port == 8420
    assert Settings().calibration.scale() == NO_SCALE


def test_every_field_is_described():
    tables = Settings.model_fields
    assert len(tables) == 10
    for name, table in tables.items():
        assert table.description, name
        assert issubclass(table.annotation, BaseModel)
        for key, field in table.annotation.model_fields.items():
            assert field.description, f"{name}.{key}"
        assert table.annotation.model_config["extra"] == "forbid"
        assert table.annotation.model_config["frozen"]


def test_file_environment_and_command_line_in_this_order(tmp_path, monkeypatch):
    file = tmp_path / "my.toml"
    file.write_text("[server]\nport = 1001\nmax_clients = 3\n[calibration]\num_per_px = 4\n[store]\nreserve_mb = 7\n")
    monkeypatch.setenv("TRICHOSCOPE_SERVER__PORT", "1002")
    monkeypatch.setenv("TRICHOSCOPE_STORE__RESERVE_MB", "8")
    monkeypatch.setenv("TRICHOSCOPE_CAMERA__URI", "replay:/frames?fps=5")
    got = load_settings(file, {"server.port": 1003, "camera.uri": None, "store.folder": tmp_path})
    assert (got.server.port, got.server.max_clients, got.store.reserve_mb) == (1003, 3, 8)
    assert (got.camera.uri, got.store.folder) == ("replay:/frames?fps=5", tmp_path)
    assert got.calibration.scale() == given_scale(4.0)


def test_where_the_file_is_looked_for(tmp_path, monkeypatch):
    for name, port in (("etc", 1), ("named", 2), ("given", 3)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trichoscope.toml").write_text(f"[server]\nport = {port}\n")
    assert load_settings().server.port == 1
    monkeypatch.setenv(config.FILE_VARIABLE, str(tmp_path / "named" / "trichoscope.toml"))
    assert load_settings().server.port == 2
    assert load_settings(tmp_path / "given" / "trichoscope.toml").server.port == 3
    monkeypatch.setenv(config.FILE_VARIABLE, str(tmp_path / "gone.toml"))
    with pytest.raises(InvalidConfigError, match=r"gone\.toml: no such file"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\n\nprot = 1\n", "my.toml:3: server.prot: unknown key: did you mean server.port?"),
        ("[sever]\nport = 1\n", "my.toml:1: sever: unknown key: did you mean server?"),
        ("server.port = 1\nserver.zzz = 2\n", "my.toml:2: server.zzz: unknown key: known here are host, max_clients, port"),
        ("port = 1\n", "my.toml:1: port: unknown key: did you mean server.port?"),
        ("[server]\nport = 'x'\n", "my.toml:2: server.port = 'x': not allowed: should be a valid integer"),
        ("[server]\nport = true\n", "my.toml:2: server.port = True: not allowed: should be a valid integer"),
        ("[server]\nport = 70000\n", "my.toml:2: server.port = 70000: not allowed: should be less than or equal to 65535"),
        ("server = {\nhost = '0.0.0.0'}\n", None),
        ("server = { port = 1,\thost = '0.0.0.0' }\n", "my.toml:1: server.host = '0.0.0.0': not allowed: the page has no log-in"),
        ("server = 4\n", "my.toml:1: server = 4: not a table: write [server]"),
        ("[[server]]\nport = 4\n", "my.toml:1: server = [{'port': 4}]: not a table: write [server]"),
        ("[calibration]\num_per_px = nan\n", "my.toml:2: calibration.um_per_px = nan: not allowed: should be "),
        (
            "[calibration]\num_per_px = 0.0\n",
            "my.toml:2: calibration.um_per_px = 0.0: not allowed: should be greater than or equal to ",
        ),
        ("\n[calibration]\num_per_px_std = 1.0\n", "my.toml:2: calibration: not allowed: um_per_px_std is given"),
        (
            "[calibration]\num_per_px = 4\num_per_px_std = 5\n",
            "my.toml:1: calibration: not allowed: um_per_px_std is larger",
        ),
        ("[analysis]\nterminal_cutoff_um = 35\n", "my.toml:2: analysis.terminal_cutoff_um = 35: not allowed: should be 30 or 40"),
        ("[analysis]\nsegmenter = 'best'\n", "my.toml:2: analysis.segmenter = 'best': not allowed: should be 'learned' or 'classical'"),
        ("[analysis]\nbundle = 'here'\n", "my.toml:2: analysis.bundle = 'here': not allowed: give an absolute path"),
        ("[analysis]\nbundle = 5\n", "my.toml:2: analysis.bundle = 5: not allowed: give a path in quotation marks"),
        ("[camera]\nuri = 'usb:0'\n", "my.toml:2: camera.uri = 'usb:0': not allowed: "),
        ("[camera]\nread_timeout_s = '2'\n", "my.toml:2: camera.read_timeout_s = '2': not allowed: should be a valid number"),
        ("[store]\nfolder = 'here'\n", "my.toml:2: store.folder = 'here': not allowed: give an absolute path"),
        ("[store]\nfolder = 5\n", "my.toml:2: store.folder = 5: not allowed: give a path in quotation marks"),
        ("[store]\nfolder = [\n", "my.toml:3: not TOML: "),
        ("[server]\nport = \n", "my.toml:2: not TOML: "),
        ("[server]\nport = 1\nport = 2\n", "my.toml:3: not TOML: "),
        ("# x\r\n\r\n[server]\r\nprot = 1\r\n", "my.toml:4: server.prot: unknown key"),
        (b"[server]\nhost = '\xe4'\n", "my.toml:2: byte 0xe4 is not UTF-8: save it as UTF-8"),
        ("[server]\nport = 1\n".encode("utf-16"), "my.toml: written as UTF-16: save it as UTF-8"),
        (b"a = 1\n" * (MAX_FILE_BYTES // 6 + 1), "my.toml: larger than 64 KiB: this is no configuration file"),
        ("a = " + "[" * 30_000 + "\n", "my.toml:"),
    ],
)
def test_each_mistake_is_named(tmp_path, text, expected):
    found = problems(tmp_path, text)
    if expected is None:  # newlines in inline tables are TOML 1.1: either verdict of the parser will do
        return
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_all_mistakes_come_at_once_in_the_order_of_the_file(tmp_path):
    found = problems(tmp_path, "[server]\nport = -1\nhost = 'x'\n[store]\nfoldr = 'x'\n[camera]\nread_timeout_s = 0\n")
    assert [line.split(":")[1] for line in found] == ["2", "3", "5", "7"]


def test_variables_and_command_line_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TRICHOSCOPE_SERVER__PORT", "many")
    monkeypatch.setenv("TRICHOSCOPE_SERVR__HOST", "::1")
    found = problems(tmp_path, "[server]\nport = -1\n", overrides={"camera.uri": "tape:", "store.foldre": "/x"})
    assert [line.partition(" (")[0] for line in found][:2] == [
        "$TRICHOSCOPE_SERVER__PORT: server.port = 'many': not allowed: should be a valid integer",
        "$TRICHOSCOPE_SERVR__HOST: servr: unknown key: did you mean server?",
    ]
    assert sorted(line[:26] for line in found[2:]) == ["command line: camera.uri =", "command line: store.foldre"]


@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_a_variables_text_is_one_value_whatever_it_is(text):
    value = config._variable_value(text)
    assert isinstance(value, (bool, int, float, str))
    if set(text) <= set(string.ascii_letters) and text not in ("true", "false", "inf", "nan"):
        assert value == text


def test_a_byte_order_mark_is_passed_over(tmp_path):
    file = tmp_path / "my.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\nport = 5\n")
    assert load_settings(file).server.port == 5


@pytest.mark.parametrize(("name", "says"), [("gone.toml", "no such file"), (".", "not a regular file"), ("pipe", "not a regular file")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, says):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidConfigError, match=says) as caught:
        load_settings(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))


@given(text=st.text(max_size=200) | st.binary(max_size=200))
def test_no_text_makes_it_crash(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(load_settings(file), Settings)
    except InvalidConfigError as error:
        assert str(error).startswith(str(file))


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/trichoscope:/var/lib/other", "XDG_STATE_HOME": "/x"}, "/var/lib/trichoscope"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/home/op"}, "/x/trichoscope"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/op"}, "/home/op/.local/state/trichoscope"),
        ({"HOME": "/home/op"}, "/home/op/.local/state/trichoscope"),
    ],
)
def test_where_the_state_folder_is(monkeypatch, environment, folder):
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_state_folder() == Path(folder)
    assert Settings().store.folder == Path(folder)


def test_a_bundle_is_the_programs_own_unless_one_is_named(tmp_path, monkeypatch):
    assert load_settings().analysis.bundle is None
    monkeypatch.setenv("TRICHOSCOPE_ANALYSIS__BUNDLE", str(tmp_path))
    assert load_settings().analysis.bundle == tmp_path
    monkeypatch.setenv("TRICHOSCOPE_ANALYSIS__BUNDLE", "~/bundle")
    assert load_settings().analysis.bundle == Path.home() / "bundle"
    monkeypatch.setenv("TRICHOSCOPE_ANALYSIS__BUNDLE", "")
    assert load_settings().analysis.bundle is None


def test_settings_survive_json(tmp_path):
    given = load_settings(None, {"store.folder": tmp_path, "calibration.um_per_px": 3.5, "analysis.bundle": tmp_path})
    assert Settings.model_validate(json.loads(given.model_dump_json())) == given
