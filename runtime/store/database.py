"""Opening the SQLite file so that a power cut loses nothing, telling damage from a full disk, and SQLite's errors in our words.

Durability: write-ahead log with synchronous=FULL, so that a commit has been fsynced when it returns (https://sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from runtime.errors import StoreError, StoreFullError
from runtime.store.errors import DamagedDatabaseError, StoreDamagedError
from runtime.store.files import FILE_MODE, free_bytes
from runtime.store.migrations import LATEST, STEPS, schema_version

_log = structlog.get_logger(__name__)

HEADER_BYTES, MAGIC = 100, b"SQLite format 3\0"  # https://sqlite.org/fileformat2.html#the_database_header
MAX_WAL_BYTES = 16 * 1024 * 1024  # what the log shrinks back to after a checkpoint
FULL_BELOW_BYTES = 4 * 1024 * 1024  # a disk with less free is full: WAL mode reports that as "disk I/O error"
MAX_PLAUSIBLE_VERSION = 1000  # a user_version beyond this is a damaged header, not a newer program
STEPS_PER_CHECK = 50_000  # SQLite's virtual machine instructions between two looks at the clock, some milliseconds

_DAMAGE_WORDS = ("malformed", "not a database", "unsupported file format", "database corruption")


def is_damage(error: BaseException) -> bool:
    """Whether an error of SQLite means that the file's content is wrong, as opposed to the disk or its owner."""
    if isinstance(error, UnicodeDecodeError):  # SQLite's words about damage quote the damage, which need not be UTF-8
        return True
    if type(error) is sqlite3.DatabaseError and not str(error):  # Python 3.10 leaves such words out; want of access has a class of its own
        return True
    return isinstance(error, sqlite3.Error) and any(word in str(error).lower() for word in _DAMAGE_WORDS)


def open_database(
    file: Path, busy_timeout_s: float, check_deadline_s: float, on_progress: Callable[[], None] = lambda: None
) -> sqlite3.Connection:
    """The database in `file`, made where it is missing, checked, with every pragma set; not yet migrated.

    `on_progress` is called again and again while it is checked.

    Raises:
        DamagedDatabaseError: its content is wrong.
        StoreError: written by a newer program, or another program's.
        sqlite3.Error, OSError: the disk or the file's owner stand in the way.
    """
    # SQLite gives -wal and -shm the mode of the database, so the mode is settled before it opens it
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        os.fchmod(descriptor, FILE_MODE)
        header = os.pread(descriptor, HEADER_BYTES, 0)
    finally:
        os.close(descriptor)
    _check_header(file, header)
    connection = sqlite3.connect(file, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    # damage inside a value is found by validating rows one by one, not by an exception that hides all of them
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        try:
            _set_pragmas(connection, file)
            _refuse_foreign(connection, file)
            _check_integrity(connection, check_deadline_s, on_progress)
            _check_schema(connection)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if is_damage(error):
                raise DamagedDatabaseError(str(error)) from error
            raise
    except BaseException:
        connection.close()
        raise
    return connection


def _check_header(file: Path, header: bytes) -> None:
    """What SQLite would take for something else than damage: a version byte makes a file read-only, a newer schema "malformed"."""
    if not header:
        return
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise DamagedDatabaseError("file is not a database")
    if not {header[18], header[19]} <= {1, 2}:
        raise DamagedDatabaseError("unknown file format version in the header")
    _refuse_newer(file, int.from_bytes(header[60:64], "big"))


def _refuse_newer(file: Path, version: int) -> None:
    if version > MAX_PLAUSIBLE_VERSION:
        raise DamagedDatabaseError(f"impossible schema version {version} in the header")
    if version > LATEST:
        raise StoreError(
            f"{file}: written by a newer program (schema {version}, this one knows {LATEST}): install that program again, "
            "or name another state folder (store.folder); nothing was changed"
        )


def _set_pragmas(connection: sqlite3.Connection, file: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(
            f"{file}: the file system cannot hold a write-ahead log ({mode}): name a state folder on a local disk (store.folder)"
        )
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF", "cell_size_check = ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"PRAGMA journal_size_limit = {MAX_WAL_BYTES}")


def _refuse_foreign(connection: sqlite3.Connection, file: Path) -> None:
    version = schema_version(connection)
    _refuse_newer(file, version)
    if version < 0:
        raise DamagedDatabaseError(f"impossible schema version {version} in the header")
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(f"{file}: a database of another program: move it away, or name another state folder (store.folder)")


def _check_integrity(connection: sqlite3.Connection, deadline_s: float, on_progress: Callable[[], None]) -> None:
    """SQLite's quick_check, given up (with a warning) after `deadline_s` so that a large store still starts."""
    end = time.monotonic() + deadline_s

    def too_late() -> int:
        on_progress()
        return int(time.monotonic() > end)

    connection.set_progress_handler(too_late, STEPS_PER_CHECK)
    try:
        found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        _log.warning("database check not finished", deadline_s=deadline_s)
        return
    finally:
        connection.set_progress_handler(None, 0)
    if found != ["ok"]:
        raise DamagedDatabaseError("; ".join(map(str, found))[:500])


def _check_schema(connection: sqlite3.Connection) -> None:
    """Tables and columns against what the steps up to this version make: a flipped letter in a name is a valid schema to SQLite."""
    version = schema_version(connection)
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        for step in range(1, version + 1):
            for statement in STEPS[step]:
                model.execute(statement)
        if _columns(connection) != _columns(model):
            raise DamagedDatabaseError(f"tables or columns are not those of schema version {version}")


def _columns(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    """(table, number, name, type, not null, default, part of primary key) of every column."""
    return set(
        connection.execute("SELECT m.name, c.* FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'").fetchall()
    )


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def in_our_words(folder: Path, doing: str) -> Iterator[None]:
    """Turn the errors of SQLite and of the disk into StoreError, StoreFullError or StoreDamagedError, each with its remedy."""
    try:
        yield
    except DamagedDatabaseError as error:
        raise StoreDamagedError(f"{folder}: a new database is damaged at once ({error}): the disk fails: replace it") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _store_error(folder, doing, error) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(folder, doing) from error
        reason = error.strerror or str(error)
        in_the_way = "a part of the path is a file: move that away, or name another state folder (store.folder)"
        remedies = {
            errno.EROFS: "the disk is mounted read-only: mount it writable, or name another state folder (store.folder)",
            errno.ENOTDIR: in_the_way,
            errno.EEXIST: in_the_way,
            errno.EIO: "the disk fails: back it up and replace it",
        }
        remedy = remedies.get(error.errno or 0, "make the folder writable for the daemon's user, or name another one (store.folder)")
        raise StoreError(f"{folder}: {doing} failed ({reason}): {remedy}") from error


def _store_error(folder: Path, doing: str, error: sqlite3.Error | UnicodeDecodeError) -> StoreError:
    text = str(error).lower()
    if is_damage(error):
        return StoreDamagedError(
            f"{folder}: the database is damaged ({error}): restart the daemon; it moves the file aside and rebuilds from the sidecar files"
        )
    if "full" in text or ("i/o error" in text and _little_space(folder)):
        return _full(folder, doing)
    if "locked" in text or "busy" in text:
        return StoreError(f"{folder}: {doing} failed ({error}): another program has the database open: close it")
    if "readonly" in text or "unable to open" in text:
        return StoreError(
            f"{folder}: {doing} failed ({error}): make the folder and its files writable for the daemon's user, "
            "or name another one (store.folder)"
        )
    return StoreError(f"{folder}: {doing} failed ({error}): check the disk (dmesg), then restart the daemon")


def _little_space(folder: Path) -> bool:
    try:
        return free_bytes(folder) < FULL_BELOW_BYTES
    except OSError:
        return False


def _full(folder: Path, doing: str) -> StoreFullError:
    return StoreFullError(f"{folder}: {doing} failed, the disk is full: free some space there; nothing was kept")
