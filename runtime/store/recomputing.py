"""Later versions of a measurement, beside the original: how they are named and numbered, and made to agree again after a pulled plug.

When a calibration profile is corrected, the figures of the captures that were made with it are computed anew from their pixels. What
was kept when the capture was taken (picture, sidecar, row, measurement) is never touched: a version is a file of its own, then a row.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import structlog

from runtime import __version__
from runtime.analysis.measurement import Measurement
from runtime.errors import StoreError
from runtime.store.database import transaction
from runtime.store.files import fsync_folder, write_file
from runtime.store.records import RECOMPUTED_NAME, CaptureRow, Recomputation, RecomputedSidecar, read_recomputed
from runtime.store.rows import all_versions, capture_pictures, insert_recomputed, load_recomputed, versions

_log = structlog.get_logger(__name__)

VERSIONS_PER_COMMIT = 100  # each commit waits for the disk
LONGEST_ID = 80  # characters of a profile's id in a file's name


def is_recomputed(name: str) -> bool:
    """Whether a file of the folder of captures is a later version of a measurement."""
    return re.match(RECOMPUTED_NAME, name) is not None


def next_version(connection: sqlite3.Connection, capture: CaptureRow, measurement: Measurement) -> RecomputedSidecar:
    """What is to be written for `measurement`, computed anew, as the newest version of `capture`.

    Raises:
        ValueError: no profile stands behind it, or it is of another picture.
        StoreError: the versions before it cannot be read.
    """
    if measurement.calibration is None:
        raise ValueError(f"capture {capture.id}: a later version is made with a calibration profile, this measurement has none")
    found = (measurement.width_px, measurement.height_px, measurement.hair_count)
    if found != (capture.width_px, capture.height_px, capture.hair_count):
        raise ValueError(f"capture {capture.id}: a later version has the size and the hairs of the first, not {found}")
    before = versions(connection, capture.id)
    number = 1 + max((version.number for version in before), default=0)
    name = _file_name(capture.picture, measurement.calibration)
    if name in {version.sidecar for version in before}:  # back to a profile that was in use before: no file is written twice
        name = _file_name(capture.picture, f"{measurement.calibration[: LONGEST_ID - 12]}-{number}")
    version = Recomputation(
        picture=capture.picture,
        number=number,
        sidecar=name,
        calibration=measurement.calibration,
        made_utc=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        program_version=__version__,
        diameter_um_median=measurement.diameter_um.median if measurement.diameter_um else None,
        density_per_cm2=measurement.density_per_cm2.value if measurement.density_per_cm2 else None,
    )
    return RecomputedSidecar(recomputation=version, measurement=measurement)


def reconcile_versions(connection: sqlite3.Connection, captures: Path, names: set[str], on_progress: Callable[[], None]) -> list[Path]:
    """Make rows and files of later versions agree; the captures themselves agree already.

    Args:
        captures: the folder of pictures and sidecars.
        names: of the files in it that `is_recomputed`.

    Returns:
        The files that cannot be used: damaged, or of a capture that is not there.

    Raises:
        DamagedDatabaseError: a row cannot be read.
        sqlite3.Error, OSError: the disk stands in the way; what was done so far stands.
    """
    known = {version.sidecar: version for version in all_versions(connection)}
    unknown = sorted(names - known.keys())
    ids = {Path(picture).stem: id_ for picture, id_ in capture_pictures(connection).items()} if unknown else {}
    strays: list[Path] = []
    for start in range(0, len(unknown), VERSIONS_PER_COMMIT):
        with transaction(connection):
            for name in unknown[start : start + VERSIONS_PER_COMMIT]:
                on_progress()
                if not _restore(connection, captures / name, ids):
                    strays.append(captures / name)
        done = min(start + VERSIONS_PER_COMMIT, len(unknown))
        _log.info("recomputed measurements taken back from their files", restored=done - len(strays), files=len(unknown))
    missing = sorted(known.keys() - names)
    for name in missing:
        on_progress()
        _write_missing(connection, captures, known[name])
    if missing:
        fsync_folder(captures)
    return strays


def _file_name(picture: str, calibration: str) -> str:
    return f"{Path(picture).stem}.recomputed-{re.sub(r'[^0-9A-Za-z_-]', '-', calibration)[:LONGEST_ID]}.json"


def _restore(connection: sqlite3.Connection, file: Path, ids: dict[str, int]) -> bool:
    """Insert the version in `file`, where it is whole and its capture is there: `ids` by the names of pictures without their ending."""
    try:
        sidecar = read_recomputed(file)
    except StoreError as error:
        _log.warning("a recomputed measurement cannot be used", reason=str(error))
        return False
    version = sidecar.recomputation
    id_ = ids.get(Path(version.picture).stem)
    if id_ is None or version.sidecar != file.name:
        _log.warning("a recomputed measurement without its capture", file=file.name, picture=version.picture)
        return False
    taken = {other.number for other in versions(connection, id_)}
    if version.number in taken:  # the number was given again after the row was lost: this one comes last
        version = version.model_copy(update={"number": max(taken) + 1})
    insert_recomputed(connection, id_, version, sidecar.measurement)
    return True


def _write_missing(connection: sqlite3.Connection, captures: Path, version: Recomputation) -> None:
    try:
        measurement = load_recomputed(connection, version.sidecar)
    except StoreError as error:
        _log.error("a recomputed measurement can be read neither from the database nor from its file", reason=str(error))
        return
    write_file(captures / version.sidecar, RecomputedSidecar(recomputation=version, measurement=measurement).to_bytes())
    _log.warning("the file of a recomputed measurement written anew", file=version.sidecar)
