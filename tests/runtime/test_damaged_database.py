"""A damaged database is moved aside, reported, and rebuilt from the sidecar files; a full disk or a newer program is not damage."""

import os
import random
import shutil
import sqlite3
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import StoreError
from runtime.store import recovery
from runtime.store.captures import CaptureStore
from runtime.store.database import is_damage
from runtime.store.errors import StoreDamagedError
from runtime.store.migrations import LATEST
from runtime.store.settings import StoreSettings
from tests.runtime.store_samples import keep, plugged, store

KEPT = 12


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A closed state folder with twelve captures, and their rows."""
    folder = tmp_path_factory.mktemp("kept") / "state"
    with store(folder) as opened:
        return folder, keep(opened, KEPT)


@pytest.fixture
def state(kept, tmp_path):
    shutil.copytree(kept[0], tmp_path / "state")
    return tmp_path / "state"


def overwrite(file, at, data):
    with file.open("rb+") as stream:
        stream.seek(at)
        stream.write(data)


def garbage(count, seed=3):
    return random.Random(seed).randbytes(count)


DAMAGES = {
    "cut to half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "cut to a page": lambda file: os.truncate(file, 4096),
    "cut to 50 bytes": lambda file: os.truncate(file, 50),
    "header overwritten": lambda file: overwrite(file, 0, garbage(100)),
    "header zeroed": lambda file: overwrite(file, 0, bytes(100)),
    "version bytes": lambda file: overwrite(file, 18, b"\x77\x77"),
    "schema version": lambda file: overwrite(file, 60, b"\x77\x77\x77\x77"),
    "page size": lambda file: overwrite(file, 16, b"\x33\x33"),
    "first page": lambda file: overwrite(file, 100, garbage(3996)),
    "garbage in the middle": lambda file: overwrite(file, 4096, garbage(file.stat().st_size - 8192)),
    "zeros in the middle": lambda file: overwrite(file, 4096, bytes(file.stat().st_size - 8192)),
    "a letter of a column's name": lambda file: file.write_bytes(file.read_bytes().replace(b"hair_count INTEGER", b"hair_coumt INTEGER")),
    "a text": lambda file: file.write_text("this was a database once\n" * 1000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_moved_aside_and_rebuilt(kept, state, damage):
    file = state / "captures.sqlite"
    DAMAGES[damage](file)
    damaged = file.read_bytes()
    with store(state) as opened:
        assert opened.damage is not None
        assert opened.damage.moved_to == state / "damaged-1"
        assert opened.damage.captures_restored == KEPT
        assert opened.health().damage == opened.damage
        assert opened.list() == kept[1][::-1]
        for row in kept[1]:
            assert opened.picture(row.id).stat().st_size == row.picture_bytes
            assert opened.measurement(row.id).hair_count == row.hair_count
        assert keep(opened)[0].id == KEPT + 1
    assert (state / "damaged-1" / "captures.sqlite").read_bytes() == damaged
    assert opened.damage.reason in (state / "damaged-1" / "reason.txt").read_text()
    with store(state) as again:
        assert again.damage is None
        assert again.health().captures == KEPT + 1


def test_rebuilding_says_at_each_capture_that_it_gets_on(kept, state):
    (state / "captures.sqlite").unlink()
    said = []
    with CaptureStore(state, StoreSettings(folder=state, reserve_mb=0), on_progress=lambda: said.append(1)) as opened:
        assert len(opened.list()) == KEPT
    assert len(said) >= KEPT


@pytest.mark.parametrize("how", ["empty", "gone"])
def test_an_empty_or_lost_database_is_rebuilt(kept, state, how):
    file = state / "captures.sqlite"
    file.write_bytes(b"") if how == "empty" else file.unlink()
    with store(state) as opened:
        assert opened.list() == kept[1][::-1]
        assert opened.damage is not None
        assert (opened.damage.moved_to, opened.damage.captures_restored) == (None, KEPT)
        assert "missing or empty" in opened.damage.reason


def test_a_new_folder_is_no_damage(tmp_path):
    with store(tmp_path / "new") as opened:
        assert opened.damage is None
        assert opened.health().restored == 0


@pytest.mark.parametrize("how", ["zeroed", "emptied", "garbage", "cut", "removed", "last page of it"])
def test_a_damaged_log_loses_nothing(tmp_path, how):
    # after SIGKILL the log holds what the database does not have yet
    process = plugged(tmp_path, "committed", 6)
    process.communicate(timeout=60)
    log = tmp_path / "captures.sqlite-wal"
    size = log.stat().st_size
    assert size > 4096
    if how == "zeroed":
        log.write_bytes(bytes(size))
    elif how == "emptied":
        log.write_bytes(b"")
    elif how == "garbage":
        overwrite(log, 32, garbage(size - 32))
    elif how == "cut":
        overwrite(log, 0, log.read_bytes())
        with log.open("rb+") as stream:
            stream.truncate(size * 2 // 3)
    elif how == "removed":
        log.unlink()
    else:
        overwrite(log, size - 4096, garbage(4096))
    (tmp_path / "captures.sqlite-shm").unlink()
    with store(tmp_path) as opened:
        assert [row.id for row in opened.list()] == [6, 5, 4, 3, 2, 1]
        assert all(opened.measurement(id_).hair_count == id_ % 5 for id_ in range(1, 7))


def test_the_log_goes_with_the_database_it_belongs_to(tmp_path):
    plugged(tmp_path, "committed", 3).communicate(timeout=60)
    log = (tmp_path / "captures.sqlite-wal").read_bytes()
    overwrite(tmp_path / "captures.sqlite", 0, garbage(100))
    with store(tmp_path) as opened:
        assert opened.damage is not None
        assert [row.id for row in opened.list()] == [3, 2, 1]
        # closing the damaged one may not have touched it either: it is all that a person has to look into it
        assert (tmp_path / "damaged-1" / "captures.sqlite-wal").read_bytes() == log


def test_damage_that_is_quoted_in_no_known_alphabet_is_damage(state):
    file = state / "captures.sqlite"
    at = file.read_bytes().index(b"heartbeat")  # a table's name in the schema, which SQLite's words repeat
    overwrite(file, at + 7, b"\x80")
    with store(state) as opened:
        assert opened.damage is not None
        assert len(opened.list()) == KEPT


def test_words_that_were_lost_mean_damage_only_where_sqlite_says_so():
    assert is_damage(sqlite3.DatabaseError())
    assert not is_damage(sqlite3.OperationalError())
    assert not is_damage(sqlite3.OperationalError("database is locked"))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_is_overwritten_no_capture_is_lost(kept, tmp_path_factory, data):
    state = tmp_path_factory.mktemp("any") / "state"
    shutil.copytree(kept[0], state)
    file = state / "captures.sqlite"
    size = file.stat().st_size
    at = data.draw(st.integers(0, size - 1), "at")
    overwrite(file, at, data.draw(st.binary(min_size=1, max_size=min(300, size - at)), "bytes"))
    try:
        with store(state) as opened:
            listed = [row.id for row in opened.list()]
            assert len(listed) == KEPT
            for id_ in listed:
                assert opened.measurement(id_).width_px == 64
    except StoreError as error:
        assert "newer program" in str(error) or "another program" in str(error)
    pictures = [f for f in state.rglob("*.jpg") if f.parent.name in ("captures", "orphans")]
    assert len(pictures) == KEPT
    shutil.rmtree(state)


def test_damage_met_while_open_is_named_and_mended_by_opening_again(kept, state):
    with store(state) as opened:
        opened.list()
        overwrite(state / "captures.sqlite", 4096, garbage((state / "captures.sqlite").stat().st_size - 4096))
        opened._connection.execute("PRAGMA cache_size = 1")
        with pytest.raises(StoreDamagedError, match="restart the daemon"):
            for row in kept[1]:
                opened.thumbnail(row.id)
                opened.list()
    with store(state) as again:
        assert again.damage is not None
        assert again.list() == kept[1][::-1]


def test_a_newer_database_is_refused_and_left_alone(state):
    connection = sqlite3.connect(state / "captures.sqlite")
    connection.execute(f"PRAGMA user_version = {LATEST + 1}")
    connection.close()
    before = (state / "captures.sqlite").read_bytes()
    with pytest.raises(StoreError, match=f"newer program .schema {LATEST + 1}"), store(state):
        pass
    assert (state / "captures.sqlite").read_bytes() == before
    assert not list(state.glob("damaged-*"))


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path):
    connection = sqlite3.connect(tmp_path / "captures.sqlite")
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="another program"), store(tmp_path):
        pass
    assert not list(tmp_path.glob("damaged-*"))


def test_a_sidecar_that_cannot_be_used_goes_to_the_orphans(state):
    names = sorted(f.name for f in (state / "captures").glob("*.json"))
    (state / "captures" / names[0]).write_text("{}")
    (state / "captures" / names[1]).write_bytes(b"\xff\xfe")
    overwrite(state / "captures.sqlite", 0, bytes(100))
    with store(state) as opened:
        assert opened.damage is not None
        assert (opened.damage.captures_restored, opened.damage.pictures_left) == (KEPT - 2, 4)
    assert {f.stem for f in (state / "orphans").iterdir()} == {names[0][:-5], names[1][:-5]}


def test_old_damaged_databases_go(tmp_path):
    for n in range(1, recovery.MAX_DAMAGED_KEPT + 3):
        (tmp_path / "captures.sqlite").write_text("garbage " * 100)
        with store(tmp_path) as opened:
            assert opened.damage is not None
            assert opened.damage.moved_to == tmp_path / f"damaged-{n}"
    assert len(list(tmp_path.glob("damaged-*"))) == recovery.MAX_DAMAGED_KEPT


def test_an_id_given_twice_keeps_both_captures(tmp_path):
    with store(tmp_path / "a") as opened:
        (first,) = keep(opened)
    with store(tmp_path / "b") as opened:
        (second,) = keep(opened)
    for file in (tmp_path / "b" / "captures").iterdir():
        shutil.copy(file, tmp_path / "a" / "captures")
    (tmp_path / "a" / "captures.sqlite").unlink()
    with store(tmp_path / "a") as opened:
        assert [row.id for row in opened.list()] == [2, 1]
        assert {row.picture for row in opened.list()} == {first.picture, second.picture}


def test_the_header_is_where_the_tests_think(kept):
    header = (kept[0] / "captures.sqlite").read_bytes()[:100]
    assert struct.unpack(">I", header[60:64]) == (LATEST,)
