"""The store of captures: each a picture file, a sidecar file and a row in SQLite; what it has acknowledged survives a pulled plug.

The state folder holds `captures.sqlite`, `captures/` (NAME.jpg or NAME.png with NAME.json beside, and NAME.recomputed-PROFILE.json
for each later version of its measurement), `orphans/`, `backups/` and `damaged-N/`. One process has it at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType

import structlog
from typing_extensions import Self  # typing.Self needs 3.11

from runtime.analysis.measurement import Measurement
from runtime.errors import BusyError, StoreError, StoreFullError
from runtime.store import recomputing, recovery, rows
from runtime.store.database import in_our_words, is_damage, open_database, transaction
from runtime.store.errors import DamagedDatabaseError, PictureMissingError
from runtime.store.files import free_bytes, fsync_folder, make_folder, write_file
from runtime.store.lock import FolderLock
from runtime.store.migrations import migrate
from runtime.store.pictures import Suffix, checked_thumbnail
from runtime.store.records import (
    CaptureFacts,
    CaptureRow,
    DamageReport,
    Recomputation,
    Sidecar,
    StoreHealth,
    read_recomputed,
    read_sidecar,
)
from runtime.store.settings import StoreSettings

_log = structlog.get_logger(__name__)

MAX_LISTED = 500  # rows in one answer; a longer list is read page by page
MAX_CAPTURE_AGE_S = 3600.0  # a captured_ns further back is not of this boot, and says nothing about the wall clock
CLOSE_DEADLINE_S = 0.3  # the threads that use the store have had their time to end before it is closed
BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


class CaptureStore:
    """Captures under `folder`. The constructor stores its arguments; entering locks, checks, migrates and opens. Any thread may call.

    Args:
        folder: the state folder; made where it is missing.
        at_step: called with the name of each step of an add once it is done; tests pull the plug there.
        on_progress: called again and again while opening checks or rebuilds, which takes minutes where there is much.

    Entering raises StoreError (folder not usable, in use, of a newer program) and StoreFullError. Every method raises
    BusyError when it waited longer than `busy_timeout_s` for another thread, and StoreError when the store is not open.
    """

    def __init__(
        self,
        folder: Path,
        settings: StoreSettings,
        at_step: Callable[[str], None] = lambda step: None,
        *,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.damage: DamageReport | None = None
        self._at_step = at_step
        self._on_progress = on_progress
        self._adding = threading.Lock()  # held while a picture is written, so that lists need not wait for the disk
        self._using = threading.Lock()  # held while the connection is used
        self._connection: sqlite3.Connection | None = None
        self._opened = contextlib.ExitStack()
        self._reconciled = recovery.Reconciled((), 0, 0)
        self._boot_id = ""

    def __enter__(self) -> Self:
        if self._connection is not None:
            raise StoreError(f"{self.folder}: this store is open already")
        self._boot_id = _boot_id()
        with contextlib.ExitStack() as opening, in_our_words(self.folder, "opening the store"):
            for folder in (self.folder, self._captures):
                make_folder(folder)
            opening.enter_context(FolderLock(self.folder / "store.lock"))
            connection = self._open_or_rebuild()
            opening.callback(connection.close)
            self._connection = connection
            self._opened = opening.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._using.acquire(timeout=CLOSE_DEADLINE_S):
            # a thread hangs in the disk: closing would hang with it, and everything acknowledged is on the disk already
            _log.error("the store is busy at its end and is left to the end of the process", folder=str(self.folder))
            return
        try:
            self._connection = None
            with contextlib.suppress(sqlite3.Error):
                self._opened.close()
        finally:
            self._using.release()

    def add(self, picture: bytes, suffix: Suffix, measurement: Measurement, taken: CaptureFacts) -> CaptureRow:
        """Keep a capture; when this returns it is on the disk, and not before.

        Args:
            picture: the encoded picture, of the size that `measurement` states.
            suffix: ".jpg" or ".png", what `picture` is.

        Raises:
            PictureError: `picture` is not what it should be; nothing was kept.
            StoreFullError: the disk is below its reserve; nothing was kept.
            StoreError: the disk refused; nothing was kept.
        """
        size = (measurement.width_px, measurement.height_px)
        thumbnail = checked_thumbnail(picture, suffix, size, self.settings.thumbnail_px)
        sha256 = hashlib.sha256(picture).hexdigest()
        with self._exclusively(self._adding), in_our_words(self.folder, "keeping a capture"):
            with self._database() as connection:
                id_ = rows.next_id(connection)
            name = f"{id_:08d}-{secrets.token_hex(8)}{suffix}"
            row = self._new_row(id_, name, len(picture), sha256, measurement, taken)
            sidecar = Sidecar(capture=row, measurement=measurement).to_bytes()
            self._require_space(len(picture) + len(sidecar))
            file, beside = self._captures / name, (self._captures / name).with_suffix(".json")
            try:
                write_file(file, picture)
                self._at_step("picture written")
                write_file(beside, sidecar)
                self._at_step("sidecar written")
                fsync_folder(self._captures)
                self._at_step("folder synced")
                with self._database() as connection, transaction(connection):
                    rows.insert_capture(connection, row, measurement, thumbnail)
                    self._at_step("row inserted")
            except sqlite3.Error:
                # whether a failed commit reached the disk is SQLite's secret: without its sidecar the picture is taken
                # back at the next start only if the row is there
                _discard(beside)
                raise
            except (OSError, StoreError, BusyError):
                _discard(beside)
                _discard(file)
                raise
        self._at_step("committed")
        return row

    def add_version(self, id_: int, measurement: Measurement) -> Recomputation:
        """Keep the measurement of a capture computed anew with another calibration profile; when this returns it is on the disk.

        From then on `get`, `list` and `measurement` give its figures. What was kept first stays as it is: `original_measurement`.

        Raises:
            CaptureNotFoundError: there is no such capture.
            ValueError: no profile stands behind the measurement, or it is of another picture.
            StoreFullError, StoreError: as from `add`; the version before stands.
        """
        with self._exclusively(self._adding), in_our_words(self.folder, "keeping a recomputed measurement"):
            with self._database() as connection:
                sidecar = recomputing.next_version(connection, rows.load_original(connection, _sane(id_)), measurement)
            version, content = sidecar.recomputation, sidecar.to_bytes()
            self._require_space(len(content))
            beside = self._captures / version.sidecar
            try:
                write_file(beside, content)
                self._at_step("version written")
                fsync_folder(self._captures)
                self._at_step("version's folder synced")
                with self._database() as connection, transaction(connection):
                    rows.insert_recomputed(connection, id_, version, measurement)
                    self._at_step("version inserted")
            except (sqlite3.Error, OSError, StoreError, BusyError):
                _discard(beside)  # where the row has reached the disk all the same, the next start writes the file from it
                raise
        self._at_step("version committed")
        return version

    def list(self, limit: int = 50, before_id: int | None = None) -> list[CaptureRow]:
        """At most `limit` (≤ 500) captures, newest first; the next page is `before_id` = the last one's id.

        The figures of a row are those of the newest version of its measurement.
        """
        if not 1 <= limit <= MAX_LISTED:
            raise ValueError(f"a list holds 1 to {MAX_LISTED} captures, not {limit}")
        before = 2**63 - 1 if before_id is None else max(0, min(before_id, 2**63 - 1))
        with self._use() as connection:
            return rows.list_captures(connection, limit, before)

    def get(self, id_: int) -> CaptureRow:
        """One capture. Raises CaptureNotFoundError."""
        with self._use() as connection:
            return rows.load_capture(connection, _sane(id_))

    def measurement(self, id_: int) -> Measurement:
        """The newest version of the measurement, whole and validated, from the database or, where that is damaged, from its file.

        Raises CaptureNotFoundError.
        """
        with self._use() as connection:
            newest = next(reversed(rows.versions(connection, _sane(id_))), None)
            if newest is not None:
                try:
                    return rows.load_recomputed(connection, newest.sidecar)
                except StoreError as error:
                    _log.error("recomputed measurement read from its file", reason=str(error))
        return self.original_measurement(id_) if newest is None else read_recomputed(self._captures / newest.sidecar).measurement

    def original_measurement(self, id_: int) -> Measurement:
        """The measurement as it was made for the capture; otherwise as `measurement`."""
        with self._use() as connection:
            row = rows.load_original(connection, _sane(id_))
            try:
                return rows.load_measurement(connection, id_)
            except StoreError as error:
                _log.error("measurement read from its sidecar", reason=str(error))
        return read_sidecar((self._captures / row.picture).with_suffix(".json")).measurement

    def versions(self, id_: int) -> tuple[Recomputation, ...]:
        """The later versions of the measurement of a capture, oldest first; none where it was never computed anew."""
        with self._use() as connection:
            return tuple(rows.versions(connection, _sane(id_)))

    def calibrated_with(self, calibration: str) -> tuple[int, ...]:
        """Ids of the captures whose newest version was computed with the profile of this id, oldest first."""
        with self._use() as connection:
            return tuple(rows.calibrated_with(connection, calibration))

    def picture(self, id_: int) -> Path:
        """The picture file. Raises CaptureNotFoundError, PictureMissingError."""
        file = self._captures / self.get(id_).picture
        if not file.is_file():
            raise PictureMissingError(f"{file}: the picture of capture {id_} is missing: restore it from a backup; its numbers are kept")
        return file

    def thumbnail(self, id_: int) -> bytes:
        """A small JPEG; made again where it was lost with the database. Raises CaptureNotFoundError, PictureMissingError, PictureError."""
        with self._use() as connection:
            row = rows.load_capture(connection, _sane(id_))
            found = rows.load_thumbnail(connection, id_)
        if found is not None:
            return found
        file = self.picture(id_)
        suffix: Suffix = ".png" if row.picture.endswith(".png") else ".jpg"
        with in_our_words(self.folder, "reading a picture"):
            made = checked_thumbnail(file.read_bytes(), suffix, None, self.settings.thumbnail_px)
        with contextlib.suppress(StoreError), self._use() as connection:  # on a full disk it is made each time
            rows.save_thumbnail(connection, id_, made)
        return made

    def health(self) -> StoreHealth:
        """How the store is doing, for the health page and the metrics."""
        with self._use() as connection:
            captures = rows.count_captures(connection)
            free = free_bytes(self.folder)
        reserve = self.settings.reserve_mb * 1_000_000
        found = self._reconciled
        return StoreHealth(
            self.folder, captures, free, reserve, free < reserve, len(found.missing_pictures), found.restored, found.orphans, self.damage
        )

    def probe(self) -> int:
        """Write a beat to the disk and wait until it is there: proof for the watchdog that the store advances. Returns the beats so far.

        Raises:
            StoreFullError: written, but the disk is below its reserve: captures are refused.
        """
        with self._use() as connection:
            beats = rows.beat(connection, self._boot_id)
        self._require_space(0)
        return beats

    @property
    def _captures(self) -> Path:
        return self.folder / "captures"

    def _open_or_rebuild(self) -> sqlite3.Connection:
        """The database, migrated and in agreement with the files; a damaged one is moved aside and a new one made from the sidecars."""
        file = self.folder / "captures.sqlite"
        try:
            connection, fresh = self._open(file)
            reason, moved_to = "the database was missing or empty", None
        except DamagedDatabaseError as error:
            reason, moved_to = str(error), recovery.set_aside(file, str(error))
            connection, fresh = self._open(file)
        found = self._reconciled
        if moved_to is not None or (fresh and found.restored):
            self.damage = DamageReport(reason, moved_to, found.restored, found.orphans)
            _log.error("database damaged, a new one started", **vars(self.damage))
        return connection

    def _open(self, file: Path) -> tuple[sqlite3.Connection, bool]:
        """Raises DamagedDatabaseError also where the damage shows only in use, after a check that ran out of time."""
        connection = open_database(file, self.settings.busy_timeout_s, self.settings.check_deadline_s, self._on_progress)
        try:
            fresh = migrate(connection, self.folder / "backups") == 0
            fsync_folder(self.folder)
            self._reconciled = recovery.reconcile(connection, self._captures, self.folder / "orphans", self._on_progress)
        except BaseException as error:
            connection.close()
            if is_damage(error) or isinstance(error, sqlite3.IntegrityError):  # an index that disagrees with its table
                raise DamagedDatabaseError(str(error)) from error
            raise
        return connection, fresh

    def _new_row(self, id_: int, name: str, size: int, sha256: str, measurement: Measurement, taken: CaptureFacts) -> CaptureRow:
        age_s = (time.monotonic_ns() - taken.captured_ns) / 1e9
        since = timedelta(seconds=age_s if 0 <= age_s <= MAX_CAPTURE_AGE_S else 0)
        return CaptureRow(
            id=id_,
            boot_id=self._boot_id,
            taken_utc=(datetime.now(timezone.utc) - since).isoformat(timespec="milliseconds"),
            source=taken.source,
            frame_sequence=taken.frame_sequence,
            captured_ns=taken.captured_ns,
            site=taken.site,
            picture=name,
            picture_bytes=size,
            picture_sha256=sha256,
            width_px=measurement.width_px,
            height_px=measurement.height_px,
            hair_count=measurement.hair_count,
            follicle_count=measurement.follicle_count,
            diameter_um_median=measurement.diameter_um.median if measurement.diameter_um else None,
            density_per_cm2=measurement.density_per_cm2.value if measurement.density_per_cm2 else None,
            measurement_schema=measurement.schema_,
            program_version=measurement.version,
            models=measurement.models,
            calibration=measurement.calibration,
            controls=taken.controls,
        )

    def _require_space(self, needed: int) -> None:
        free, reserve = free_bytes(self.folder), self.settings.reserve_mb * 1_000_000
        if free - needed < reserve:
            raise StoreFullError(
                f"{self.folder}: {free // 1_000_000} MB free on this disk, {self.settings.reserve_mb} MB are kept in reserve "
                "(store.reserve_mb), so captures are not kept: free some space there"
            )

    @contextlib.contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with in_our_words(self.folder, "using the database"), self._database() as connection:
            yield connection

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with self._exclusively(self._using):
            if self._connection is None:
                raise StoreError(f"{self.folder}: the store is not open: use it as a context manager")
            yield self._connection

    @contextlib.contextmanager
    def _exclusively(self, lock: threading.Lock) -> Iterator[None]:
        if not lock.acquire(timeout=self.settings.busy_timeout_s):
            raise BusyError(f"{self.folder}: the store was busy for {self.settings.busy_timeout_s:g} s, the disk may be failing: try again")
        try:
            yield
        finally:
            lock.release()


def _boot_id() -> str:
    try:
        return BOOT_ID_FILE.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return "unknown"


def _discard(file: Path) -> None:
    with contextlib.suppress(OSError):  # what stays is put away at the next start; the first error is the one to report
        file.unlink(missing_ok=True)


def _sane(id_: int) -> int:
    """`id_`, or an id that no capture has where SQLite could not hold it."""
    return id_ if 0 < id_ < 2**63 else 0
