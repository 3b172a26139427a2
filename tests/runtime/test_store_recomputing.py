"""Later versions of a measurement: their figures are given, the original stays byte for byte, no plug, disk or damage loses either."""

import errno
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import StoreError, StoreFullError
from runtime.store import recomputing
from runtime.store.errors import CaptureNotFoundError
from runtime.store.migrations import STEPS, schema_version
from tests.runtime.store_samples import ROOT, calibrated, facts, keep, measurement, picture, store

OLD, NEW, THIRD = "11aa" * 8, "22bb" * 8, "33cc" * 8
STEPS_OF_A_VERSION = ("version written", "version's folder synced", "version inserted", "version committed")


def keep_calibrated(opened, count=1, um_per_px=5.0):
    """Keep captures measured with the profile OLD."""
    return [opened.add(picture(seed=i), ".jpg", calibrated(OLD, um_per_px, hair_count=i % 5), facts(i)) for i in range(count)]


def files(folder):
    """Every file of the folder of captures, with its content."""
    return {file.name: file.read_bytes() for file in (folder / "captures").iterdir()}


def kept_rows(folder):
    """What the tables of the original hold, as SQLite has it."""
    connection = sqlite3.connect(folder / "captures.sqlite")
    tables = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in ("captures", "measurements")}
    connection.close()
    return tables


def test_the_newest_version_is_given_and_the_original_kept_byte_for_byte(tmp_path):
    with store(tmp_path) as opened:
        first, second = keep_calibrated(opened, 2)
    before, rows_before = files(tmp_path), kept_rows(tmp_path)
    with store(tmp_path) as opened:
        version = opened.add_version(first.id, calibrated(NEW, 6.0, first.hair_count))
        assert (version.number, version.calibration) == (1, NEW)
        row = opened.get(first.id)
        assert (row.diameter_um_median, row.density_per_cm2, row.calibration) == (30.0, pytest.approx(1e4 / 36), NEW)
        assert row.model_copy(update=first.model_dump(include={"diameter_um_median", "density_per_cm2", "calibration"})) == first
        assert opened.list() == [second, row]
        assert opened.measurement(first.id) == calibrated(NEW, 6.0, first.hair_count)
        assert opened.original_measurement(first.id) == calibrated(OLD, 5.0, first.hair_count)
        assert opened.versions(first.id) == (version,)
        assert opened.versions(second.id) == ()
        assert opened.measurement(second.id) == opened.original_measurement(second.id)
        assert (opened.calibrated_with(OLD), opened.calibrated_with(NEW)) == ((second.id,), (first.id,))
    assert kept_rows(tmp_path) == rows_before
    added = {name: content for name, content in files(tmp_path).items() if name not in before}
    assert files(tmp_path) == before | added
    assert list(added) == [f"{Path(first.picture).stem}.recomputed-{NEW}.json"]
    with store(tmp_path) as again:
        assert again.list() == [second, row]
        assert again.damage is None
        assert (again.health().orphans, again.health().restored) == (0, 0)


def test_a_figure_that_the_new_profile_cannot_give_is_null_and_not_the_old_one(tmp_path):
    with store(tmp_path) as opened:
        (first,) = keep_calibrated(opened)
        opened.add_version(first.id, calibrated(NEW, None, first.hair_count))
        row = opened.get(first.id)
        assert (row.diameter_um_median, row.density_per_cm2, row.calibration) == (None, None, NEW)
        assert opened.list() == [row]


def test_back_and_forth_between_profiles_writes_no_file_twice(tmp_path):
    with store(tmp_path) as opened:
        (first,) = keep_calibrated(opened)
        seen = files(tmp_path)
        for number, (profile, um) in enumerate([(NEW, 6.0), (OLD, 5.0), (NEW, 6.0), (THIRD, 7.0), (NEW, 6.1)], start=1):
            assert opened.add_version(first.id, calibrated(profile, um, first.hair_count)).number == number
            assert opened.measurement(first.id).scale.um_per_px == um
            assert opened.get(first.id).calibration == profile
            now = files(tmp_path)
            assert len(now) == len(seen) + 1
            assert {name: now[name] for name in seen} == seen
            seen = now
        assert [version.calibration for version in opened.versions(first.id)] == [NEW, OLD, NEW, THIRD, NEW]
    (tmp_path / "captures.sqlite").unlink()
    with store(tmp_path) as rebuilt:
        assert [version.calibration for version in rebuilt.versions(first.id)] == [NEW, OLD, NEW, THIRD, NEW]
        assert rebuilt.measurement(first.id).scale.um_per_px == 6.1


@pytest.mark.parametrize("id_", ["a/../../b", "sha256:00ff", "ü" * 150])
def test_an_id_that_is_no_file_name_stays_in_the_folder(tmp_path, id_):
    with store(tmp_path) as opened:
        (first,) = keep_calibrated(opened)
        version = opened.add_version(first.id, calibrated(id_, 6.0, first.hair_count))
        assert (tmp_path / "captures" / version.sidecar).is_file()
        assert opened.calibrated_with(id_) == (first.id,)
    with store(tmp_path) as again:
        assert again.versions(first.id) == (version,)
        assert again.health().orphans == 0


def test_what_is_no_version_of_the_capture_is_refused(tmp_path):
    with store(tmp_path) as opened:
        (first,) = keep_calibrated(opened)
        before = files(tmp_path)
        with pytest.raises(ValueError, match="this measurement has none"):
            opened.add_version(first.id, measurement(first.hair_count))
        with pytest.raises(ValueError, match="the size and the hairs"):
            opened.add_version(first.id, calibrated(NEW, 6.0, first.hair_count + 1))
        with pytest.raises(ValueError, match="the size and the hairs"):
            opened.add_version(first.id, calibrated(NEW, 6.0, first.hair_count, size=(48, 64)))
        for unknown in (0, 99, 2**70):
            for ask in (lambda id_: opened.add_version(id_, calibrated(NEW, 6.0)), opened.original_measurement, opened.measurement):
                with pytest.raises(CaptureNotFoundError, match="no capture"):
                    ask(unknown)
        assert files(tmp_path) == before
        assert opened.versions(first.id) == ()


# recomputes the capture given and is unplugged at the step given
PLUGGED = """
import os, signal, sys
from pathlib import Path
from runtime.store.captures import CaptureStore
from runtime.store.settings import StoreSettings
from tests.runtime.store_samples import calibrated
folder, step, id_ = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def at_step(name):
    if name == step:
        os.kill(os.getpid(), signal.SIGKILL)
with CaptureStore(folder, StoreSettings(folder=folder, reserve_mb=0), at_step) as opened:
    opened.add_version(id_, calibrated(sys.argv[4], 6.0, opened.get(id_).hair_count))
"""


@pytest.mark.parametrize("step", STEPS_OF_A_VERSION)
def test_a_pulled_plug_leaves_the_version_before_or_the_new_one_whole(tmp_path, step):
    with store(tmp_path) as opened:
        first, second = keep_calibrated(opened, 2)
        opened.add_version(first.id, calibrated(THIRD, 7.0, first.hair_count))
    before, rows_before = files(tmp_path), kept_rows(tmp_path)
    command = [sys.executable, "-c", PLUGGED, str(tmp_path), step, str(first.id), NEW]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with store(tmp_path) as opened:
        # the file was whole at each of these steps, so the version comes back
        assert [version.calibration for version in opened.versions(first.id)] == [THIRD, NEW]
        assert opened.measurement(first.id) == calibrated(NEW, 6.0, first.hair_count)
        assert opened.get(first.id).calibration == NEW
        assert opened.original_measurement(first.id) == calibrated(OLD, 5.0, first.hair_count)
        assert opened.measurement(second.id) == calibrated(OLD, 5.0, second.hair_count)
        assert opened.health().orphans == 0
        assert opened.damage is None
    assert kept_rows(tmp_path) == rows_before
    assert before.items() <= files(tmp_path).items()
    assert len(files(tmp_path)) == len(before) + 1


def test_a_half_written_version_is_removed_and_the_one_before_stands(tmp_path):
    with store(tmp_path) as opened:
        (first,) = keep_calibrated(opened)
    part = tmp_path / "captures" / f"{Path(first.picture).stem}.recomputed-{NEW}.json.part"
    part.write_bytes(b"{")
    with store(tmp_path) as opened:
        assert not part.exists()
        assert opened.list() == [first]
        assert opened.versions(first.id) == ()


@pytest.mark.parametrize("step", STEPS_OF_A_VERSION[:-1])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), sqlite3.OperationalError("database or disk is full")])
def test_what_was_refused_does_not_come_back_at_the_next_start(tmp_path, step, error):
    def fail(name):
        if name == step:
            raise error

    with store(tmp_path) as opened:
        (first,) = keep_calibrated(opened)
        before = files(tmp_path)
        opened._at_step = fail
        with pytest.raises(StoreFullError, match="disk is full"):
            opened.add_version(first.id, calibrated(NEW, 6.0, first.hair_count))
        assert opened.get(first.id) == first
    with store(tmp_path) as again:
        assert again.list() == [first]
        assert again.versions(first.id) == ()
        assert files(tmp_path) == before


def test_below_the_reserve_nothing_is_recomputed(tmp_path):
    with store(tmp_path) as opened:
        (first,) = keep_calibrated(opened)
    with store(tmp_path, reserve_mb=1_000_000) as opened:
        with pytest.raises(StoreFullError, match="in reserve"):
            opened.add_version(first.id, calibrated(NEW, 6.0, first.hair_count))
        assert opened.versions(first.id) == ()


def test_the_file_reaches_the_disk_before_the_row(tmp_path, monkeypatch):
    done = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor):
        done.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        real_fsync(descriptor)

    def replace(self, target):
        done.append(("rename", self.name))
        return real_replace(self, target)

    with store(tmp_path) as opened:
        (first,) = keep_calibrated(opened)
        opened._at_step = lambda step: done.append(("step", step))
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", replace)
        part = opened.add_version(first.id, calibrated(NEW, 6.0, first.hair_count)).sidecar + ".part"
    assert done == [
        ("fsync", part),
        ("rename", part),
        ("step", "version written"),
        ("fsync", "captures"),
        ("step", "version's folder synced"),
        ("step", "version inserted"),
        ("step", "version committed"),
    ]


@pytest.fixture(scope="module")
def recomputed(tmp_path_factory):
    """A closed state folder with six captures, of which four have later versions, and what it gives."""
    folder = tmp_path_factory.mktemp("recomputed") / "state"
    with store(folder) as opened:
        rows = keep_calibrated(opened, 6)
        for row in rows[1:5]:
            opened.add_version(row.id, calibrated(NEW, 6.0, row.hair_count))
        opened.add_version(rows[2].id, calibrated(THIRD, 7.0, rows[2].hair_count))
        return folder, all_answers(opened)


def answers(opened, id_):
    return opened.get(id_), opened.versions(id_), opened.measurement(id_), opened.original_measurement(id_)


def all_answers(opened):
    return [answers(opened, row.id) for row in opened.list()]


@pytest.fixture
def state(recomputed, tmp_path):
    shutil.copytree(recomputed[0], tmp_path / "state")
    return tmp_path / "state"


def test_a_rebuilt_database_has_the_versions_again(recomputed, state):
    (state / "captures.sqlite").write_bytes(random.Random(3).randbytes(50_000))
    before = files(state)
    with store(state) as opened:
        assert opened.damage is not None
        assert opened.damage.captures_restored == 6
        assert all_answers(opened) == recomputed[1]
        assert opened.health().orphans == 0
    assert files(state) == before


def test_the_files_of_a_lost_folder_are_written_anew_as_they_were(recomputed, state):
    before = files(state)
    for name in before:
        if name.endswith(".json"):
            (state / "captures" / name).unlink()
    with store(state) as opened:
        assert all_answers(opened) == recomputed[1]
    assert files(state) == before  # the original's sidecar has the original's figures, not the newest


def test_a_damaged_row_of_a_version_is_rebuilt_from_its_file(recomputed, state):
    connection = sqlite3.connect(state / "captures.sqlite")
    connection.execute(
        "UPDATE recomputations SET density_per_cm2 = 'many', sidecar = '../outside.json' WHERE capture_id = 3 AND number = 2"
    )
    connection.commit()
    connection.close()
    with store(state) as opened:
        assert opened.damage is not None
        assert all_answers(opened) == recomputed[1]


def test_a_version_damaged_in_the_database_is_read_from_its_file(recomputed, state):
    with store(state) as opened:
        opened._connection.execute("UPDATE recomputations SET json_zlib = x'00ff00'")
        assert all_answers(opened) == recomputed[1]
        newest = opened.versions(3)[-1]
        (state / "captures" / newest.sidecar).unlink()
        with pytest.raises(StoreError, match="cannot be read"):
            opened.measurement(3)
        assert opened.original_measurement(3).calibration == OLD


@pytest.mark.parametrize("damage", ["no JSON", "of no capture", "another name", "its capture is gone"])
def test_a_file_that_cannot_be_used_goes_to_the_orphans(recomputed, state, damage):
    (state / "captures.sqlite").unlink()
    newest = recomputed[1][-3][1][-1]  # of capture 3, which has two
    file = state / "captures" / newest.sidecar
    stays = True
    if damage == "no JSON":
        file.write_bytes(b"\xff\xfe{")
    elif damage == "of no capture":
        file = file.rename(file.with_name(file.name.replace("00000003-", "00000009-")))
    elif damage == "another name":
        file.write_bytes(file.read_bytes().replace(newest.sidecar.encode(), newest.sidecar.replace("33cc", "44dd").encode()))
    else:
        file.with_name(newest.picture.replace(".jpg", ".json")).write_text("{}")
        stays = False
    with store(state) as opened:
        assert len(opened.list()) == (6 if stays else 5)
        if stays:
            assert [version.calibration for version in opened.versions(3)] == [NEW]
            assert opened.measurement(3).calibration == NEW
            assert [each.name for each in (state / "orphans").iterdir()] == [file.name]
        else:
            assert len(list((state / "orphans").iterdir())) == 4  # picture, sidecar and both versions


def test_rebuilding_says_at_each_version_that_it_gets_on(state, monkeypatch):
    monkeypatch.setattr(recomputing, "VERSIONS_PER_COMMIT", 2)
    (state / "captures.sqlite").unlink()
    said = []
    opened = store(state)
    opened._on_progress = lambda: said.append(1)
    with opened:
        assert len(opened.calibrated_with(NEW)) == 3
    assert len(said) >= 6 + 5


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_is_overwritten_no_version_is_lost(recomputed, tmp_path_factory, data):
    state = tmp_path_factory.mktemp("any") / "state"
    shutil.copytree(recomputed[0], state)
    file = state / "captures.sqlite"
    at = data.draw(st.integers(0, file.stat().st_size - 1), "at")
    with file.open("rb+") as stream:
        stream.seek(at)
        stream.write(data.draw(st.binary(min_size=1, max_size=300), "bytes"))
    try:
        with store(state) as opened:
            assert [len(opened.versions(row.id)) for row in opened.list()] == [0, 1, 1, 2, 1, 0]
            assert [opened.measurement(id_).calibration for id_ in range(1, 7)] == [OLD, NEW, THIRD, NEW, NEW, OLD]
            assert all(opened.original_measurement(id_).calibration == OLD for id_ in range(1, 7))
    except StoreError as error:
        assert "newer program" in str(error) or "another program" in str(error)
    assert len([file for file in state.rglob("*.recomputed-*.json") if file.parent.name in ("captures", "orphans")]) == 5
    shutil.rmtree(state)


FIRST_STEP_SHA256 = "75db0ba043ea3f00fe2513fdf6d12ae174ea841f6d976ebd5084e7315f657611"


def test_the_first_step_is_never_edited():
    assert hashlib.sha256("\n".join(STEPS[1]).encode()).hexdigest() == FIRST_STEP_SHA256


def test_a_database_of_the_first_version_is_backed_up_and_migrated(tmp_path):
    with store(tmp_path) as opened:
        kept = keep(opened, 3)
    connection = sqlite3.connect(tmp_path / "captures.sqlite", isolation_level=None)
    connection.execute("DROP TABLE recomputations")
    connection.execute("ALTER TABLE captures DROP COLUMN controls")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with store(tmp_path) as opened:
        assert opened.damage is None
        assert opened.list() == kept[::-1]
        opened.add_version(kept[1].id, calibrated(NEW, 6.0, kept[1].hair_count))
        assert opened.get(kept[1].id).calibration == NEW
        assert opened.get(kept[2].id) == kept[2]
    backup = sqlite3.connect(tmp_path / "backups" / "captures-v1.sqlite")
    assert (schema_version(backup), backup.execute("SELECT count(*) FROM captures").fetchone()) == (1, (3,))
    assert backup.execute("SELECT count(*) FROM sqlite_master WHERE name = 'recomputations'").fetchone() == (0,)
    backup.close()
