"""Captures as rows: every statement that the store sends to SQLite, each within whatever transaction its caller has open."""

from __future__ import annotations

import json
import sqlite3
import zlib

import structlog
from pydantic import ValidationError

from runtime.analysis.measurement import Measurement
from runtime.errors import StoreError
from runtime.store.errors import CaptureNotFoundError, DamagedDatabaseError
from runtime.store.records import MAX_SIDECAR_BYTES, CaptureRow, Recomputation

_log = structlog.get_logger(__name__)

_COLUMNS = tuple(CaptureRow.model_fields)
_ORIGINAL = f"SELECT {', '.join(_COLUMNS)} FROM captures"
_INSERT = f"INSERT INTO captures ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"

# of a capture whose profile was corrected, these are the newest version's; null there is an answer, too
_FOLLOWING = {"diameter_um_median", "density_per_cm2", "calibration"}
_FOLLOWED = ", ".join(f"CASE WHEN r.number IS NULL THEN c.{n} ELSE r.{n} END AS {n}" if n in _FOLLOWING else f"c.{n}" for n in _COLUMNS)
_NEWEST = (
    f"SELECT {_FOLLOWED} FROM captures AS c LEFT JOIN recomputations AS r "
    "ON r.capture_id = c.id AND r.number = (SELECT max(number) FROM recomputations WHERE capture_id = c.id)"
)

_VERSION_COLUMNS = tuple(Recomputation.model_fields)
_VERSIONS = f"SELECT {', '.join(_VERSION_COLUMNS)} FROM recomputations JOIN (SELECT id, picture FROM captures) ON id = capture_id"


def next_id(connection: sqlite3.Connection) -> int:
    """The id of the next capture: one more than any that was ever committed."""
    (given,) = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'captures'").fetchone()
    (present,) = connection.execute("SELECT coalesce(max(id), 0) FROM captures").fetchone()
    return max(int(given), int(present)) + 1


def has_capture(connection: sqlite3.Connection, id_: int) -> bool:
    """Whether a row has this id."""
    return connection.execute("SELECT 1 FROM captures WHERE id = ?", (id_,)).fetchone() is not None


def insert_capture(connection: sqlite3.Connection, row: CaptureRow, measurement: Measurement, thumbnail: bytes | None) -> None:
    """Add the row, its measurement and, where it is at hand, its thumbnail (JPEG)."""
    values = row.model_dump() | {
        "models": json.dumps(row.models, ensure_ascii=False),
        "controls": None if row.controls is None else json.dumps(row.controls, ensure_ascii=False),
    }
    connection.execute(_INSERT, tuple(values[column] for column in _COLUMNS))
    connection.execute("INSERT INTO measurements VALUES (?, ?)", (row.id, _packed(measurement)))
    if thumbnail is not None:
        save_thumbnail(connection, row.id, thumbnail)


def save_thumbnail(connection: sqlite3.Connection, id_: int, thumbnail: bytes) -> None:
    """Put the thumbnail (JPEG) of a capture in, over one that is there."""
    connection.execute("INSERT OR REPLACE INTO thumbnails VALUES (?, ?)", (id_, thumbnail))


def load_capture(connection: sqlite3.Connection, id_: int) -> CaptureRow:
    """One row, its figures those of the newest version. Raises CaptureNotFoundError; StoreError where it cannot be read."""
    return _found(connection.execute(f"{_NEWEST} WHERE c.id = ?", (id_,)).fetchone(), id_)


def load_original(connection: sqlite3.Connection, id_: int) -> CaptureRow:
    """One row as it was kept. Raises CaptureNotFoundError; StoreError where it cannot be read."""
    return _found(connection.execute(f"{_ORIGINAL} WHERE id = ?", (id_,)).fetchone(), id_)


def list_captures(connection: sqlite3.Connection, limit: int, before_id: int) -> list[CaptureRow]:
    """At most `limit` rows with ids below `before_id`, newest first; their figures are those of the newest versions."""
    listed = []
    for found in connection.execute(f"{_NEWEST} WHERE c.id < ? ORDER BY c.id DESC LIMIT ?", (before_id, limit)):
        try:
            listed.append(_row(found))
        except StoreError as error:
            _log.error("row left out of a list", reason=str(error))  # one bad row must not hide the others
    return listed


def capture_pictures(connection: sqlite3.Connection) -> dict[str, int]:
    """Name of the picture → id of every capture. Raises DamagedDatabaseError where a row cannot be read: its sidecar still can."""
    try:
        return {row.picture: row.id for row in map(_row, connection.execute(_ORIGINAL))}
    except StoreError as error:
        raise DamagedDatabaseError(str(error)) from error


def load_measurement(connection: sqlite3.Connection, id_: int) -> Measurement:
    """The first measurement of a capture, whole and validated. Raises StoreError where it is not there or damaged."""
    return _unpacked(connection.execute("SELECT json_zlib FROM measurements WHERE capture_id = ?", (id_,)).fetchone(), id_)


def calibrated_with(connection: sqlite3.Connection, calibration: str) -> list[int]:
    """Ids of the captures whose newest version was computed with the profile of this id, oldest first."""
    return [int(id_) for (id_,) in connection.execute(f"SELECT id FROM ({_NEWEST}) WHERE calibration = ? ORDER BY id", (calibration,))]


def insert_recomputed(connection: sqlite3.Connection, id_: int, version: Recomputation, measurement: Measurement) -> None:
    """Add a later version of the measurement of a capture."""
    values = version.model_dump(exclude={"picture"}) | {"capture_id": id_, "json_zlib": _packed(measurement)}
    names = ", ".join(values)
    connection.execute(f"INSERT INTO recomputations ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values()))


def versions(connection: sqlite3.Connection, id_: int) -> list[Recomputation]:
    """The later versions of a capture's measurement, oldest first. Raises StoreError where a row cannot be read."""
    return [_version(found) for found in connection.execute(f"{_VERSIONS} WHERE capture_id = ? ORDER BY number", (id_,))]


def all_versions(connection: sqlite3.Connection) -> list[Recomputation]:
    """The later versions of all captures. Raises DamagedDatabaseError where a row cannot be read: its file still can."""
    try:
        return [_version(found) for found in connection.execute(_VERSIONS)]
    except StoreError as error:
        raise DamagedDatabaseError(str(error)) from error


def load_recomputed(connection: sqlite3.Connection, sidecar: str) -> Measurement:
    """The later version whose file is `sidecar`, whole and validated. Raises StoreError where it is not there or damaged."""
    return _unpacked(connection.execute("SELECT json_zlib FROM recomputations WHERE sidecar = ?", (sidecar,)).fetchone(), sidecar)


def _packed(measurement: Measurement) -> bytes:
    return zlib.compress(measurement.to_json().encode())


def _unpacked(found: tuple[bytes] | None, of: int | str) -> Measurement:
    if found is None:
        raise StoreError(f"capture {of} has no measurement in the database")
    unpack = zlib.decompressobj()
    try:
        text = unpack.decompress(found[0], MAX_SIDECAR_BYTES)
        if not unpack.eof:
            raise StoreError(f"the measurement of capture {of} is cut short or too large")
        return Measurement.model_validate_json(text)
    except (zlib.error, ValidationError, TypeError) as error:
        raise StoreError(f"the measurement of capture {of} is damaged in the database") from error


def load_thumbnail(connection: sqlite3.Connection, id_: int) -> bytes | None:
    """The thumbnail (JPEG) of a capture; None where there is none yet."""
    found = connection.execute("SELECT jpeg FROM thumbnails WHERE capture_id = ?", (id_,)).fetchone()
    return None if found is None else bytes(found[0])


def count_captures(connection: sqlite3.Connection) -> int:
    """How many captures there are."""
    return int(connection.execute("SELECT count(*) FROM captures").fetchone()[0])


def beat(connection: sqlite3.Connection, boot_id: str) -> int:
    """Write to the disk, durably: one more beat. Returns how many there were in this database's life."""
    connection.execute("UPDATE heartbeat SET beats = beats + 1, boot_id = ? WHERE id = 1", (boot_id,))
    return int(connection.execute("SELECT beats FROM heartbeat").fetchone()[0])


def _found(values: tuple[object, ...] | None, id_: int) -> CaptureRow:
    if values is None:
        raise CaptureNotFoundError(f"there is no capture {id_}: it was never taken, or belongs to another state folder")
    return _row(values)


def _version(values: tuple[object, ...]) -> Recomputation:
    fields = dict(zip(_VERSION_COLUMNS, values, strict=True))
    try:
        return Recomputation.model_validate(fields)
    except ValidationError as error:
        raise StoreError(
            f"a later version of the capture {fields['picture']} is damaged in the database: "
            "restart the daemon; it rebuilds from the sidecar files"
        ) from error


def _row(values: tuple[object, ...]) -> CaptureRow:
    fields = dict(zip(_COLUMNS, values, strict=True))
    try:
        parsed = {"models": json.loads(str(fields["models"]))}
        if fields["controls"] is not None:
            parsed["controls"] = json.loads(str(fields["controls"]))
        return CaptureRow.model_validate(fields | parsed)
    except (ValidationError, json.JSONDecodeError) as error:
        raise StoreError(
            f"the row of capture {fields['id']} is damaged in the database: restart the daemon; it rebuilds from the sidecar files"
        ) from error
