"""The disk and the state folder in the way: full, below the reserve, read-only, not a folder, of an older schema."""

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import StoreError, StoreFullError
from runtime.store import database, files
from runtime.store.database import in_our_words
from runtime.store.migrations import STEPS, migrate, schema_version
from tests.runtime.store_samples import ROOT, keep, store


def free_space(monkeypatch, count):
    real = os.statvfs

    def statvfs(path):
        found = list(real(path))
        found[1], found[4] = 1, count  # f_frsize, f_bavail
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", statvfs)


def test_below_the_reserve_captures_are_refused_and_lists_still_work(tmp_path, monkeypatch):
    with store(tmp_path, reserve_mb=100) as opened:
        (kept,) = keep(opened)
        free_space(monkeypatch, 99_000_000)
        for attempt in (opened.probe, lambda: keep(opened)):  # known before somebody captures
            with pytest.raises(StoreFullError, match=r"99 MB free .* 100 MB are kept in reserve"):
                attempt()
        assert opened.list() == [kept]
        assert opened.health().full
        assert len(list((tmp_path / "captures").iterdir())) == 2
        free_space(monkeypatch, 101_000_000)
        assert keep(opened)[0].id == kept.id + 1
        assert not opened.health().full


def test_opening_below_the_reserve_works(tmp_path, monkeypatch):
    free_space(monkeypatch, 1_000)
    with store(tmp_path, reserve_mb=100) as opened:
        assert opened.health().full


# a limit on file sizes is the nearest to a full disk that needs no privileges: writes fail in the middle of a file
LIMITED = """
import resource, signal, sys
from pathlib import Path
from runtime.errors import StoreError
from tests.runtime.store_samples import facts, keep, measurement, picture, store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with store(Path(sys.argv[1])) as opened:
    kept = keep(opened, 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    refused = 0
    for _ in range(3):
        try:
            opened.add(picture(size=(640, 480)), ".jpg", measurement(size=(640, 480)), facts())
        except StoreError as error:
            refused += 1
    assert opened.list() == kept[::-1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    keep(opened, 1)
    print(refused)
"""


@pytest.mark.parametrize("limit", [0, 1000, 100_000], ids=["nothing fits", "no sidecar", "no picture"])
def test_a_write_that_fails_midway_keeps_nothing_and_recovers(tmp_path, limit):
    command = [sys.executable, "-c", LIMITED, str(tmp_path), str(limit)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["3"]), done.stderr
    with store(tmp_path) as opened:
        assert [row.id for row in opened.list()] == [3, 2, 1]
        assert opened.health().orphans == 0
    assert len(list((tmp_path / "captures").iterdir())) == 6


@pytest.mark.parametrize("step", ["sidecar written", "folder synced", "row inserted"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), sqlite3.OperationalError("database or disk is full")])
def test_what_was_refused_does_not_come_back_at_the_next_start(tmp_path, step, error):
    def fail(name):
        if name == step:
            raise error

    with store(tmp_path) as opened:
        (kept,) = keep(opened)
        opened._at_step = fail
        with pytest.raises(StoreFullError, match="disk is full"):
            keep(opened)
        assert opened.list() == [kept]
        opened._at_step = lambda name: None
        assert keep(opened)[0].id == kept.id + 1
    with store(tmp_path) as again:
        assert [row.id for row in again.list()] == [kept.id + 1, kept.id]
        assert again.health().restored == 0


def test_the_database_that_cannot_grow_keeps_nothing_and_recovers(tmp_path):
    # the row's place in the log is refused while picture and sidecar have been written
    program = LIMITED.replace("picture(size=(640, 480))", "picture()").replace("measurement(size=(640, 480))", "measurement(400)")
    with store(tmp_path) as opened:
        keep(opened)
    biggest_file = 70_000  # larger than picture and sidecar of 400 hairs, smaller than the log becomes
    program = program.replace("for _ in range(3)", "for _ in range(40)").replace(
        "assert opened.list() == kept[::-1]", "listed = opened.list()"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(biggest_file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 0
    with store(tmp_path) as opened:
        assert opened.damage is None
        assert opened.health().missing_pictures == 0
        assert len(opened.list(500)) == len(list((tmp_path / "captures").glob("*.jpg")))


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StoreFullError, "disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), StoreFullError, "disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), StoreError, "mount it writable"),
        (OSError(errno.EIO, "Input/output error"), StoreError, "disk fails"),
        (PermissionError(errno.EACCES, "Permission denied"), StoreError, "writable for the daemon's user"),
        (sqlite3.OperationalError("database or disk is full"), StoreFullError, "disk is full"),
        (sqlite3.OperationalError("disk I/O error"), StoreError, "check the disk"),
        (sqlite3.OperationalError("attempt to write a readonly database"), StoreError, "writable for the daemon's user"),
        (sqlite3.OperationalError("database is locked"), StoreError, "close it"),
        (sqlite3.DatabaseError("database disk image is malformed"), StoreError, "restart the daemon"),
    ],
)
def test_errors_name_folder_and_remedy(tmp_path, error, kind, says):
    with pytest.raises(kind, match=says) as caught, in_our_words(tmp_path, "keeping a capture"):
        raise error
    assert str(tmp_path) in str(caught.value)
    assert type(caught.value) is kind or kind is StoreError


def test_sqlites_io_error_on_a_full_disk_is_called_full(tmp_path, monkeypatch):
    free_space(monkeypatch, database.FULL_BELOW_BYTES - 1)
    with pytest.raises(StoreFullError), in_our_words(tmp_path, "opening the store"):
        raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that even root cannot write")
def test_an_unwritable_folder_is_named():
    with (
        pytest.raises(StoreError, match=r"/sys/kernel/trichoscope: opening the store failed .*store\.folder"),
        store(Path("/sys/kernel/trichoscope")),
    ):
        pass


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_folder_of_another_mode_is_named(tmp_path, mode):
    tmp_path.chmod(mode)
    try:
        with pytest.raises(StoreError, match="make the folder writable"), store(tmp_path):
            pass
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("below", [False, True])
def test_a_file_in_place_of_the_folder_is_named(tmp_path, below):
    (tmp_path / "file").write_text("x")
    folder = tmp_path / "file" / "state" if below else tmp_path / "file"
    with pytest.raises(StoreError, match="is a file"), store(folder):
        pass


def test_a_failed_opening_leaves_the_folder_free(tmp_path):
    (tmp_path / "captures").write_text("in the way")
    for _ in range(2):
        with pytest.raises(StoreError, match="is a file"), store(tmp_path):
            pass
    (tmp_path / "captures").unlink()
    with store(tmp_path) as opened:
        keep(opened)


NEXT = max(STEPS) + 1
MORE_STEPS = dict(STEPS) | {NEXT: ("ALTER TABLE captures ADD COLUMN operator TEXT", "UPDATE captures SET operator = 'vertex'")}
BROKEN_STEPS = dict(STEPS) | {NEXT: ("ALTER TABLE captures ADD COLUMN operator TEXT", "UPDATE nothing SET operator = 'vertex'")}


@pytest.fixture
def older(tmp_path):
    """An open database of today's schema with two captures, as a later program finds it."""
    with store(tmp_path) as opened:
        keep(opened, 2)
    connection = sqlite3.connect(tmp_path / "captures.sqlite", isolation_level=None)
    yield connection
    connection.close()


def test_migration_backs_up_first(older, tmp_path):
    assert migrate(older, tmp_path / "backups", MORE_STEPS) == NEXT - 1
    assert schema_version(older) == NEXT
    assert older.execute("SELECT operator FROM captures").fetchall() == [("vertex",), ("vertex",)]
    backup = tmp_path / "backups" / f"captures-v{NEXT - 1}.sqlite"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    copy = sqlite3.connect(backup)
    assert (schema_version(copy), copy.execute("SELECT count(*) FROM captures").fetchone()) == (NEXT - 1, (2,))
    copy.close()
    assert [f.name for f in (tmp_path / "backups").iterdir() if f.suffix == files.PART_SUFFIX] == []


def test_a_failed_migration_is_undone(older, tmp_path):
    with pytest.raises(sqlite3.OperationalError, match="nothing"):
        migrate(older, tmp_path / "backups", BROKEN_STEPS)
    assert schema_version(older) == NEXT - 1
    assert "operator" not in [column[1] for column in older.execute("PRAGMA table_info(captures)")]
    with store(tmp_path) as opened:
        assert len(opened.list()) == 2


def test_todays_schema_needs_no_backup(older, tmp_path):
    assert migrate(older, tmp_path / "backups") == NEXT - 1
    assert not (tmp_path / "backups").exists()


def test_a_check_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    with store(tmp_path) as opened:
        keep(opened, 3)
    monkeypatch.setattr(database, "STEPS_PER_CHECK", 1)
    monkeypatch.setattr(database.time, "monotonic", iter(range(10**6)).__next__)
    with store(tmp_path, check_deadline_s=0.5) as opened:
        monkeypatch.undo()
        assert len(opened.list()) == 3
