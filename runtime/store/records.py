"""What the store says and keeps of a capture: its facts, its row, its sidecar file; and how the store itself is doing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, ValidationError

from runtime.analysis.measurement import Measurement
from runtime.errors import StoreError

SIDECAR_SCHEMA: Final = "trichoscope/capture/1"
RECOMPUTED_SCHEMA: Final = "trichoscope/recomputation/1"
MAX_SIDECAR_BYTES = 64 * 1024 * 1024  # a hundred times a crowded scalp's measurement
# nothing that could lead out of its folder
PICTURE_NAME = r"^\d{8,19}-[0-9a-f]{16}\.(jpg|png)$"
RECOMPUTED_NAME = r"^(\d{8,19}-[0-9a-f]{16})\.recomputed-[0-9A-Za-z_-]{1,100}\.json$"

Count = Annotated[int, Field(ge=0)]
# by name; strict, so that a truth value does not come back as a number
ControlName = Annotated[str, Field(max_length=64)]
ControlText = Annotated[str, Field(max_length=256)]
Controls = Annotated[dict[ControlName, StrictBool | StrictInt | StrictFloat | ControlText], Field(max_length=64)]
Read = TypeVar("Read", bound=BaseModel)


class CaptureFacts(BaseModel):
    """How a picture came to be. `captured_ns` is the monotonic clock of this boot; the store adds boot and wall clock."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(max_length=4096, description="the camera's address, as its frames carry it")
    frame_sequence: Count = Field(description="the frame's number in the run of its camera")
    captured_ns: Count = Field(description="monotonic clock of this boot when the frame came in, ns")
    site: str | None = Field(default=None, max_length=64, description="where on the scalp, as the operator chose; null where nobody did")
    controls: Controls | None = Field(default=None, description="the camera's exposure, white balance …; null where they are not known")


class CaptureRow(BaseModel):
    """One kept capture without its hairs. Captures order by `id`; `taken_utc` is information, for clocks with a dead battery lie."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: Annotated[int, Field(ge=1)]
    boot_id: str = Field(description="the boot in which captured_ns counts")
    taken_utc: str = Field(description="wall clock, ISO 8601, as good as the device's clock was")
    source: str
    frame_sequence: Count
    captured_ns: Count
    site: str | None
    picture: str = Field(pattern=PICTURE_NAME, description="file name in the folder of captures")
    picture_bytes: Annotated[int, Field(ge=1)]
    picture_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    width_px: Annotated[int, Field(ge=1)]
    height_px: Annotated[int, Field(ge=1)]
    hair_count: Count
    follicle_count: Count
    diameter_um_median: float | None
    density_per_cm2: float | None
    measurement_schema: str
    program_version: str
    models: dict[str, str]
    calibration: str | None
    controls: Controls | None = Field(default=None, description="the camera's, by name; null in captures of before they were kept")


class Sidecar(BaseModel):
    """The file NAME.json beside a picture: all that the database has of the capture, so that a lost database can be rebuilt."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["trichoscope/capture/1"] = Field(default=SIDECAR_SCHEMA, alias="schema")
    capture: CaptureRow
    measurement: Measurement

    def to_bytes(self) -> bytes:
        """The file's content, UTF-8."""
        return self.model_dump_json(by_alias=True).encode()


class Recomputation(BaseModel):
    """A later version of a capture's measurement, without its hairs. Those of one capture order by `number`, the newest counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    picture: str = Field(pattern=PICTURE_NAME, description="of the capture; its id may change when a lost database is rebuilt")
    number: Annotated[int, Field(ge=1, le=2**31)]
    sidecar: str = Field(pattern=RECOMPUTED_NAME, description="file name in the folder of captures")
    calibration: str = Field(min_length=1, max_length=200, description="id of the profile that it was computed with")
    made_utc: str = Field(description="wall clock, ISO 8601, as good as the device's clock was")
    program_version: str
    diameter_um_median: float | None
    density_per_cm2: float | None


class RecomputedSidecar(BaseModel):
    """The file NAME.recomputed-PROFILE.json: all that the database has of the later version, so that a lost database can be rebuilt."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["trichoscope/recomputation/1"] = Field(default=RECOMPUTED_SCHEMA, alias="schema")
    recomputation: Recomputation
    measurement: Measurement

    def to_bytes(self) -> bytes:
        """The file's content, UTF-8."""
        return self.model_dump_json(by_alias=True).encode()


def read_sidecar(file: Path) -> Sidecar:
    """The sidecar of a capture in `file`. Raises StoreError where it is absent, too large, or none of this version."""
    return _read(file, Sidecar, "a sidecar of a capture")


def read_recomputed(file: Path) -> RecomputedSidecar:
    """The later version of a measurement in `file`. Raises StoreError where it is absent, too large, or none of this version."""
    return _read(file, RecomputedSidecar, "a recomputed measurement")


def _read(file: Path, kind: type[Read], called: str) -> Read:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_SIDECAR_BYTES + 1)
        if len(raw) > MAX_SIDECAR_BYTES:
            raise StoreError(f"{file}: larger than {MAX_SIDECAR_BYTES} bytes: not {called}")
        return kind.model_validate_json(raw)
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise StoreError(f"{file}: not {called} ({place}: {first['msg']})") from None


@dataclass(frozen=True)
class DamageReport:
    """A database that was found damaged, or gone, when the store was opened.

    Attributes:
        reason: what was wrong, in SQLite's words where it has some.
        moved_to: folder with the damaged files; None where there was nothing left to move.
        captures_restored: captures that came back from their sidecar files.
        pictures_left: pictures without a usable sidecar, moved to `orphans/`.
    """

    reason: str
    moved_to: Path | None
    captures_restored: int
    pictures_left: int


@dataclass(frozen=True)
class StoreHealth:
    """How the store is doing.

    Attributes:
        captures: rows in the database.
        free_bytes, reserve_bytes: on the state folder's disk; `full` when free < reserve, captures are then refused.
        missing_pictures: captures whose picture file was not there at the start.
        restored, orphans: at this start, captures taken back from sidecars and stray files moved to `orphans/`.
        damage: what happened to the database at this start, None when nothing did.
    """

    folder: Path
    captures: int
    free_bytes: int
    reserve_bytes: int
    full: bool
    missing_pictures: int
    restored: int
    orphans: int
    damage: DamageReport | None
