"""After a pulled plug: a damaged database moved aside, captures taken back from their sidecar files, strays put away.

A capture is a picture, its sidecar and its row, made durable in this order. So at a start there may be a picture and sidecar without
a row (the plug came before the commit, or the database lost it): it is taken back. A picture or a sidecar alone was never
acknowledged: it moves to `orphans/`, where only people delete (a power cut adds one at most). A row without its picture is reported
and kept: its numbers are still true. Later versions of a measurement follow once the captures agree (see `recomputing`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from runtime.errors import StoreError
from runtime.store.database import transaction
from runtime.store.files import PART_SUFFIX, fsync_folder, make_folder, move_into, write_file
from runtime.store.recomputing import is_recomputed, reconcile_versions
from runtime.store.records import Sidecar, read_sidecar
from runtime.store.rows import capture_pictures, has_capture, insert_capture, load_measurement, load_original

_log = structlog.get_logger(__name__)

CAPTURES_PER_COMMIT = 100  # each commit waits for the disk
MAX_DAMAGED_KEPT = 5  # damaged databases set aside; the oldest goes, for a disk that fails daily must not fill itself


@dataclass(frozen=True)
class Reconciled:
    """What a start found between files and rows: file names of pictures missing, counts of captures restored and files put away."""

    missing_pictures: tuple[str, ...]
    restored: int
    orphans: int


def set_aside(database: Path, reason: str) -> Path:
    """Move the database with its -wal and -shm into the next free `damaged-N/` beside it, with the reason. Returns that folder."""
    kept = sorted((f for f in database.parent.glob("damaged-*") if f.name[8:].isdigit()), key=lambda f: int(f.name[8:]))
    folder = database.with_name(f"damaged-{int(kept[-1].name[8:]) + 1 if kept else 1}")
    make_folder(folder)
    # the log first: a database without its log is at worst older, a log beside a new database would be poison
    move_into(folder, [database.with_name(database.name + tail) for tail in ("-wal", "-shm", "")])
    write_file(folder / "reason.txt", f"{reason}\n".encode())
    fsync_folder(folder)
    for old in kept[: max(0, len(kept) + 1 - MAX_DAMAGED_KEPT)]:
        _log.warning("old damaged database removed", folder=str(old))
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    return folder


def reconcile(connection: sqlite3.Connection, captures: Path, orphans: Path, on_progress: Callable[[], None] = lambda: None) -> Reconciled:
    """Make rows and files agree. `captures` is the folder of pictures and sidecars; `on_progress` is called at each of them.

    Raises:
        DamagedDatabaseError: a row cannot be read.
        sqlite3.Error, OSError: the disk stands in the way; what was done so far stands.
    """
    sizes = _file_sizes(captures)
    for name in [name for name in sizes if name.endswith(PART_SUFFIX)]:
        (captures / name).unlink()
        del sizes[name]
    recomputed = {name for name in sizes if is_recomputed(name)}
    for name in recomputed:
        del sizes[name]
    known = capture_pictures(connection)
    stems = {Path(name).stem for name in known}
    restored, strays = 0, [captures / name for name in sizes if Path(name).stem not in stems and not name.endswith(".json")]
    sidecars = sorted(name for name in sizes if name.endswith(".json") and Path(name).stem not in stems)
    for start in range(0, len(sidecars), CAPTURES_PER_COMMIT):
        with transaction(connection):
            for name in sidecars[start : start + CAPTURES_PER_COMMIT]:
                on_progress()
                if (picture := _restore(connection, captures / name, sizes)) is None:
                    strays.append(captures / name)
                else:
                    strays.remove(picture)
                    restored += 1
        _log.info("captures taken back from sidecars", restored=restored, sidecars=len(sidecars))
    strays += reconcile_versions(connection, captures, recomputed, on_progress)
    if strays:
        _log.warning("files of captures that were never finished put away", files=[f.name for f in strays[:20]], count=len(strays))
        move_into(orphans, strays)
    missing = tuple(sorted(name for name in known if name not in sizes))
    if missing:
        _log.error("pictures of captures are missing", files=missing[:20], count=len(missing))
    without = {name: id_ for name, id_ in known.items() if f"{Path(name).stem}.json" not in sizes}
    _write_missing_sidecars(connection, captures, without, on_progress)
    return Reconciled(missing, restored, len(strays))


def _file_sizes(folder: Path) -> dict[str, int]:
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries if entry.is_file(follow_symlinks=False)}


def _restore(connection: sqlite3.Connection, file: Path, sizes: dict[str, int]) -> Path | None:
    """Insert the capture of one sidecar whose picture is whole; returns the picture, or None where it cannot be."""
    try:
        sidecar = read_sidecar(file)
    except StoreError as error:
        _log.warning("sidecar cannot be used", reason=str(error))
        return None
    row = sidecar.capture
    if Path(row.picture).stem != file.stem or sizes.get(row.picture) != row.picture_bytes:
        _log.warning("sidecar without its whole picture", sidecar=file.name, picture=row.picture)
        return None
    if has_capture(connection, row.id):  # the id was given again after the row was lost: this one comes last
        newest = connection.execute("SELECT max(id) FROM captures").fetchone()[0]
        row = row.model_copy(update={"id": newest + 1})
    insert_capture(connection, row, sidecar.measurement, None)
    return file.with_name(row.picture)


def _write_missing_sidecars(connection: sqlite3.Connection, captures: Path, known: dict[str, int], on_progress: Callable[[], None]) -> None:
    for picture, id_ in known.items():
        on_progress()
        try:
            sidecar = Sidecar(capture=load_original(connection, id_), measurement=load_measurement(connection, id_))
        except StoreError as error:
            _log.error("a capture can be read neither from the database nor from its sidecar", picture=picture, reason=str(error))
            continue
        write_file((captures / picture).with_suffix(".json"), sidecar.to_bytes())
    if known:
        fsync_folder(captures)
        _log.warning("missing sidecars written anew", count=len(known))
