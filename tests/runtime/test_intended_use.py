"""The profiles of use: what each may say and load, what a declaration is worth, what is made of a bad one, and the commands."""

import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from runtime.cli import build
from runtime.intended_use.declaration import (
    FILE,
    MAX_FILE_BYTES,
    RECORD,
    DeclarationError,
    declare,
    read_declaration,
    read_record,
    withdraw,
)
from runtime.intended_use.in_force import profile_in_force
from runtime.intended_use.settings import UseSettings
from runtime.intended_use.text import GRADED, PACKAGED, UseTextError, packaged_text, read_text

CLINICAL = UseSettings(profile="clinical")
NOW = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=timezone.utc)
ILLNESS = re.compile(
    r"alopeci|dandruff|sebum|seborrh|erythem|dermat|norwood|baldness|disease|diagnos|patholog|patient|severity|risk|stage|treat", re.I
)


def test_wellness_is_the_default_and_names_no_illness() -> None:
    found = profile_in_force(UseSettings(), Path("/nonexistent"))
    assert found.profile == "wellness" and found.notice is None
    for words in found.words.values():
        for text in (words.name, *words.grades):
            assert not ILLNESS.search(text), text
    assert not ILLNESS.search(found.not_validated)
    assert {"forecast", "stage"} & (set(found.words) | found.roles) == set()
    assert found.allows("conditions") and found.allows("segmenter") and not found.allows("forecast") and not found.allows("stylist")


@pytest.mark.parametrize("profile", ["wellness", "clinical"])
def test_each_grade_has_a_word_of_its_own(profile: str) -> None:
    text = packaged_text()
    words = (text.profiles.wellness if profile == "wellness" else text.profiles.clinical).words
    for key in GRADED:
        assert len(set(words[key].grades)) == 4
    assert text.profiles.clinical.words["dandruff"].name == "dandruff"
    assert text.profiles.wellness.words["dandruff"].name == "flaking"


def test_clinical_needs_a_declaration_and_ends_with_it(tmp_path: Path) -> None:
    before = profile_in_force(CLINICAL, tmp_path)
    assert before.profile == "wellness" and "trichoscope use declare" in (before.notice or "")
    made = declare(tmp_path, packaged_text(), "Dr. Ada Müller", NOW)
    during = profile_in_force(CLINICAL, tmp_path)
    assert during.profile == "clinical" and during.notice is None and during.declaration == made
    assert during.allows("forecast") and during.allows("stage")
    assert during.word("severity", 3) == "severe" and during.word("severity", 4) is None and during.word("severity", -1) is None
    assert profile_in_force(UseSettings(), tmp_path).profile == "wellness"  # not asked for
    assert withdraw(tmp_path, "Bo", NOW)
    assert profile_in_force(CLINICAL, tmp_path).profile == "wellness"
    assert not withdraw(tmp_path, "Bo")
    assert [(e["event"], e["operator"]) for e in read_record(tmp_path)] == [("declared", "Dr. Ada Müller"), ("withdrawn", "Bo")]
    assert read_record(tmp_path)[1]["declared_by"] == "Dr. Ada Müller"


def test_the_file_says_who_what_and_when_and_no_more(tmp_path: Path) -> None:
    declare(tmp_path, packaged_text(), "Ann", NOW)
    content = json.loads((tmp_path / FILE).read_bytes())
    text = packaged_text()
    assert content == {
        "schema": "trichoscope/use-declaration/1",
        "profile": "clinical",
        "text_version": text.version,
        "text_sha256": text.sha256,
        "operator": "Ann",
        "declared_utc": "2026-03-01T12:00:00+00:00",
    }
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_another_text_needs_another_declaration(tmp_path: Path) -> None:
    changed = tmp_path / "text.toml"
    raw = PACKAGED.read_text(encoding="utf-8")
    changed.write_text(raw.replace(f'version = "{packaged_text().version}"', 'version = "0"'), encoding="utf-8")
    declare(tmp_path, read_text(changed), "Ann")
    found = profile_in_force(CLINICAL, tmp_path)
    assert found.profile == "wellness" and "version 0" in (found.notice or "")
    changed.write_text(raw + "# altered\n", encoding="utf-8")
    declare(tmp_path, read_text(changed), "Ann")
    found = profile_in_force(CLINICAL, tmp_path)
    assert found.profile == "wellness" and "another text" in (found.notice or "")


@pytest.mark.parametrize("content", ["", "[]", 'version = "1"', "version = 3", "profiles = ["])
def test_a_damaged_text_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "text.toml"
    path.write_text(content)
    with pytest.raises(UseTextError, match=r"text\.toml"):
        read_text(path)
    with pytest.raises(UseTextError, match="install"):
        read_text(tmp_path / "none.toml")


def good(folder: Path) -> dict[str, object]:
    declare(folder, packaged_text(), "Ann", NOW)
    content: dict[str, object] = json.loads((folder / FILE).read_bytes())
    return content


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "trichoscope/use-declaration/2"},
        {"operator": ""},
        {"operator": " Ann"},
        {"operator": "Ann\nBo"},
        {"operator": "\u202eAnn"},
        {"operator": "A" * 201},
        {"text_sha256": "0" * 63},
        {"profile": "wellness"},
        {"declared_utc": "yesterday"},
        {"declared_utc": 1e9},
        {"declared_utc": "2026-03-01T12:00:00"},
        {"declared_utc": "2026-03-01T12:00:00+05:00"},
        {"hostname": "kiosk"},
    ],
)
def test_an_altered_declaration_is_none(tmp_path: Path, change: dict[str, object]) -> None:
    content = good(tmp_path)
    assert read_declaration(tmp_path).declaration is not None
    (tmp_path / FILE).write_text(json.dumps(content | change))
    found = profile_in_force(CLINICAL, tmp_path)
    assert found.profile == "wellness" and FILE in (found.notice or "")


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"null", b"{" * 5000, b"[" * 10_000, b"NaN", b"{}" + b" " * MAX_FILE_BYTES])
def test_a_damaged_declaration_is_none(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / FILE).write_bytes(raw)
    found = read_declaration(tmp_path)
    assert found.declaration is None and FILE in (found.problem or "")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=400), data=st.data())
def test_no_bytes_make_a_declaration(tmp_path: Path, raw: bytes, data: st.DataObject) -> None:
    (tmp_path / FILE).unlink(missing_ok=True)
    whole = json.dumps(good(tmp_path)).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    for content in (raw, whole[:at], whole[:at] + raw + whole[at + 1 :]):
        (tmp_path / FILE).write_bytes(content)
        found = read_declaration(tmp_path)
        assert (found.declaration is None) == (found.problem is not None)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_plain_file_is_no_declaration(tmp_path: Path, kind: str) -> None:
    state = tmp_path / "state"
    good(state)
    if kind == "link":
        (state / FILE).rename(tmp_path / "elsewhere")
        (state / FILE).symlink_to(tmp_path / "elsewhere")
    else:
        (state / FILE).unlink()
        (state / FILE).mkdir() if kind == "folder" else os.mkfifo(state / FILE)
    found = read_declaration(state)
    assert found.declaration is None and found.problem


def test_a_declaration_replaces_a_link_and_leaves_its_target_alone(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    state = tmp_path / "state"
    state.mkdir()
    (state / FILE).symlink_to(tmp_path / "target")
    declare(state, packaged_text(), "Ann")
    assert (tmp_path / "target").read_text() == "mine"
    assert read_declaration(state).declaration is not None


def test_a_torn_line_of_the_record_spoils_no_other(tmp_path: Path) -> None:
    declare(tmp_path, packaged_text(), "Ann")
    with (tmp_path / RECORD).open("ab") as file:
        file.write(b'{"event": "decl')
    withdraw(tmp_path, "Bo")
    assert [e["event"] for e in read_record(tmp_path)] == ["declared", "withdrawn"]


def test_a_record_that_is_none_is_refused_and_nothing_comes_into_force(tmp_path: Path) -> None:
    (tmp_path / RECORD).mkdir()
    with pytest.raises(DeclarationError):
        declare(tmp_path, packaged_text(), "Ann")
    assert read_declaration(tmp_path).declaration is None
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DeclarationError):
        declare(file, packaged_text(), "Ann")
    assert read_declaration(file).declaration is None


@pytest.mark.parametrize("operator", ["", "  ", "A\x00", "A" * 201, "\x1b[31m"])
def test_no_name_is_refused(tmp_path: Path, operator: str) -> None:
    with pytest.raises(DeclarationError, match="operator"):
        declare(tmp_path, packaged_text(), operator)
    with pytest.raises(DeclarationError, match="operator"):
        withdraw(tmp_path, operator)
    assert list(tmp_path.iterdir()) == []


def test_the_page_gets_plain_words(tmp_path: Path) -> None:
    declare(tmp_path, packaged_text(), "Ann", NOW)
    api = profile_in_force(CLINICAL, tmp_path).as_api()
    assert json.loads(json.dumps(api)) == api
    assert api["words"]["stage"]["grades"][0] == "I"
    assert api["declared"] == {"operator": "Ann", "declared_utc": "2026-03-01T12:00:00+00:00"}
    assert profile_in_force(UseSettings(), tmp_path).as_api()["declared"] is None


def test_the_commands_declare_show_and_withdraw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRICHOSCOPE_CONFIG", raising=False)
    run = CliRunner()
    state = ["--state", str(tmp_path / "state")]
    asked = run.invoke(build("use"), ["use", "declare", "--operator", "Ann", *state])  # no terminal: nobody can say yes
    assert asked.exit_code == 1 and "--yes" in asked.stderr and asked.stdout == ""
    assert not (tmp_path / "state").exists()
    done = run.invoke(build("use"), ["use", "declare", "--operator", "Ann", "--yes", "--json", *state])
    assert done.exit_code == 0 and json.loads(done.stdout)["operator"] == "Ann"
    assert packaged_text().profiles.clinical.statement.strip() in done.stderr
    shown = run.invoke(build("use"), ["use", "show", "--json", *state])
    assert json.loads(shown.stdout)["profile"] == "wellness"  # the configuration does not ask for more
    assert "profile in force: wellness" in run.invoke(build("use"), ["use", "show", *state]).stdout
    for expected in (True, False):
        ended = run.invoke(build("use"), ["use", "withdraw", "--operator", "Bo", "--yes", "--json", *state])
        assert ended.exit_code == 0 and json.loads(ended.stdout) == {"withdrawn": expected}
    bad = run.invoke(build("use"), ["use", "declare", "--operator", " ", "--yes", *state])
    assert bad.exit_code == 1 and len(bad.stderr.strip().splitlines()[-1]) < 200
