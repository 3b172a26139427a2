"""The database's schema as numbered steps. A step, once released, is never edited: what comes later is a new step.

Step n takes a database from version n-1 to n; `PRAGMA user_version` holds the version. Each step is one transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from runtime.store.files import FILE_MODE, fsync_folder, make_folder

STEPS: Mapping[int, tuple[str, ...]] = {
    1: (
        # AUTOINCREMENT: an id is never given twice, so that order and references survive deletions
        """CREATE TABLE captures (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            boot_id TEXT NOT NULL,
            taken_utc TEXT NOT NULL,
            source TEXT NOT NULL,
            frame_sequence INTEGER NOT NULL,
            captured_ns INTEGER NOT NULL,
            site TEXT,
            picture TEXT NOT NULL UNIQUE,
            picture_bytes INTEGER NOT NULL,
            picture_sha256 TEXT NOT NULL,
            width_px INTEGER NOT NULL,
            height_px INTEGER NOT NULL,
            hair_count INTEGER NOT NULL,
            follicle_count INTEGER NOT NULL,
            diameter_um_median REAL,
            density_per_cm2 REAL,
            measurement_schema TEXT NOT NULL,
            program_version TEXT NOT NULL,
            models TEXT NOT NULL,
            calibration TEXT
        )""",
        # apart from the rows that lists read: a measurement is a hundred times larger
        """CREATE TABLE measurements (
            capture_id INTEGER PRIMARY KEY REFERENCES captures (id) ON DELETE CASCADE,
            json_zlib BLOB NOT NULL
        )""",
        """CREATE TABLE thumbnails (
            capture_id INTEGER PRIMARY KEY REFERENCES captures (id) ON DELETE CASCADE,
            jpeg BLOB NOT NULL
        )""",
        "CREATE TABLE heartbeat (id INTEGER PRIMARY KEY CHECK (id = 1), beats INTEGER NOT NULL, boot_id TEXT NOT NULL)",
        "INSERT INTO heartbeat VALUES (1, 0, '')",
    ),
    2: (
        # later versions of a measurement, by a corrected calibration profile; the blob last, so that lists need not read over it
        """CREATE TABLE recomputations (
            capture_id INTEGER NOT NULL REFERENCES captures (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            sidecar TEXT NOT NULL UNIQUE,
            calibration TEXT NOT NULL,
            made_utc TEXT NOT NULL,
            program_version TEXT NOT NULL,
            diameter_um_median REAL,
            density_per_cm2 REAL,
            json_zlib BLOB NOT NULL,
            PRIMARY KEY (capture_id, number)
        )""",
    ),
    3: ("ALTER TABLE captures ADD COLUMN controls TEXT",),  # the camera's, as JSON
}
LATEST = max(STEPS)


def schema_version(connection: sqlite3.Connection) -> int:
    """The version of the open database; 0 for an empty one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, backups: Path, steps: Mapping[int, tuple[str, ...]] = STEPS) -> int:
    """Bring the database to the newest version and return the version it had.

    A database that has something in it is copied to `backups` first, whole and fsynced.

    Raises:
        sqlite3.Error: the step that failed is undone, those before it stand.
        OSError: the backup could not be made; nothing was changed.
    """
    before = schema_version(connection)
    if 0 < before < max(steps):
        _back_up(connection, backups, f"captures-v{before}.sqlite")
    for version in range(before + 1, max(steps) + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in steps[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return before


def _back_up(connection: sqlite3.Connection, folder: Path, name: str) -> None:
    make_folder(folder)
    part, final = folder / f"{name}.part", folder / name
    part.unlink(missing_ok=True)
    part.touch(mode=FILE_MODE)
    copy = sqlite3.connect(part)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    part.replace(final)
    fsync_folder(folder)
