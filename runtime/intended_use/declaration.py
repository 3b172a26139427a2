"""The declaration by which an operator takes the clinical use upon them: one file in the state folder, and a record that only grows.

`use-declaration.json` is the declaration in force, absent where there is none. `use-declarations.jsonl` keeps every declaration and
withdrawal, a line each. Both may have been altered by anyone who can write there: a file that is not exactly such a declaration is none.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator

from runtime.errors import TrichoscopeError
from runtime.intended_use.text import UseText
from runtime.store.files import fsync_folder, make_folder, write_file

FILE: Final = "use-declaration.json"
RECORD: Final = "use-declarations.jsonl"
SCHEMA: Final = "trichoscope/use-declaration/1"
MAX_FILE_BYTES = 16 * 1024
MAX_RECORD_BYTES = 8 * 1024 * 1024  # of 300 bytes a line, tens of thousands


class DeclarationError(TrichoscopeError):
    """A declaration cannot be written or withdrawn: a bad name, or a state folder that cannot be used."""


class Declaration(BaseModel):
    """Who declared the clinical use of which text, and when. No host name, no client."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["trichoscope/use-declaration/1"] = Field(default=SCHEMA, alias="schema")
    profile: Literal["clinical"] = "clinical"
    text_version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.-]{1,32}$")]
    text_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    operator: Annotated[str, Field(min_length=1, max_length=200)]
    declared_utc: AwareDatetime

    @field_validator("operator")
    @classmethod
    def _a_name(cls, operator: str) -> str:
        if operator != operator.strip() or not operator.isprintable():
            raise ValueError("a name is printable and has no space around it")
        return operator

    @field_validator("declared_utc", mode="before")
    @classmethod
    def _a_text(cls, moment: object) -> object:
        if isinstance(moment, (int, float)):
            raise ValueError("a moment is written as YYYY-MM-DDThh:mm:ss+00:00")
        return moment

    @field_validator("declared_utc")
    @classmethod
    def _in_utc(cls, moment: datetime) -> datetime:
        if moment.utcoffset() != timedelta(0):
            raise ValueError("the moment is not in UTC")
        return moment

    @field_serializer("declared_utc")
    def _written(self, moment: datetime) -> str:
        return moment.isoformat(timespec="seconds")


@dataclass(frozen=True)
class Found:
    """What the state folder holds: a declaration, or None and why (None too where there simply is none)."""

    declaration: Declaration | None
    problem: str | None


def read_declaration(folder: Path) -> Found:
    """The declaration in a state folder. Never raises for what lies there: what is no declaration is none, with the reason."""
    path = folder / FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Found(None, None)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOTDIR:
            return Found(None, None)
        return Found(None, f"{FILE} cannot be read ({_reason(error)})")
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # before a file object is made, which a folder refuses
            return Found(None, f"{FILE} is no regular file")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return Found(None, f"{FILE} cannot be read ({_reason(error)})")
    finally:
        os.close(descriptor)
    if len(raw) > MAX_FILE_BYTES:
        return Found(None, f"{FILE} is larger than a declaration")
    try:
        return Found(Declaration.model_validate(_json(raw)), None)
    except (ValueError, RecursionError) as error:
        return Found(None, f"{FILE} is damaged or not written by this program ({_reason(error)})")


def declare(folder: Path, text: UseText, operator: str, now: datetime | None = None) -> Declaration:
    """Record that `operator` declares the clinical use of `text`, and put it in force.

    Raises:
        DeclarationError: a name that is none, or the folder cannot be written to; a declaration in force before then stays.
    """
    declaration = _made(text, operator, now)
    data = declaration.model_dump_json(by_alias=True, indent=1).encode() + b"\n"
    with _kept(folder) as record:
        # the record comes first: a power cut between the two leaves a declaration on record that is not in force, never the reverse
        _append(record, {"event": "declared"} | declaration.model_dump(mode="json", by_alias=True))
        write_file(folder / FILE, data)
        fsync_folder(folder)
    return declaration


def withdraw(folder: Path, operator: str, now: datetime | None = None) -> bool:
    """End the declaration in force, whatever state its file is in. False where there was none: then nothing is recorded.

    Raises:
        DeclarationError: a name that is none, or the folder cannot be written to.
    """
    name = _name(operator)
    if not os.path.lexists(folder / FILE):
        return False
    before = read_declaration(folder).declaration
    with _kept(folder) as record:
        (folder / FILE).unlink(missing_ok=True)
        fsync_folder(folder)
        _append(
            record,
            {
                "event": "withdrawn",
                "operator": name,
                "withdrawn_utc": _moment(now).isoformat(timespec="seconds"),
                "declared_by": None if before is None else before.operator,
                "text_version": None if before is None else before.text_version,
            },
        )
    return True


def read_record(folder: Path) -> list[dict[str, Any]]:
    """All lines of the record that can be read, the oldest first; no more than MAX_RECORD_BYTES of them."""
    try:
        with (folder / RECORD).open("rb") as file:
            raw = file.read(MAX_RECORD_BYTES)
    except OSError:
        return []
    events = []
    for line in raw.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            event = _json(line)
            if isinstance(event, dict):
                events.append(event)
    return events


def _made(text: UseText, operator: str, now: datetime | None) -> Declaration:
    try:
        return Declaration(text_version=text.version, text_sha256=text.sha256, operator=_name(operator), declared_utc=_moment(now))
    except ValidationError as error:
        raise DeclarationError(f"declaration: {_reason(error)}: declare anew") from error


def _name(operator: str) -> str:
    name = operator.strip()
    if not name or len(name) > 200 or not name.isprintable():
        raise DeclarationError(f"operator {operator[:40]!r}: no name: give the name of the person who declares, 1 to 200 printable letters")
    return name


def _moment(now: datetime | None) -> datetime:
    return (now or datetime.now(timezone.utc)).replace(microsecond=0)


@contextlib.contextmanager
def _kept(folder: Path) -> Iterator[int]:
    """The record, open for appending and locked, as a file descriptor; errors of the file system as DeclarationError."""
    try:
        make_folder(folder)
        descriptor = os.open(folder / RECORD, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_RECORD_BYTES:
                raise DeclarationError(f"{folder / RECORD}: no record of declarations: move it away")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield descriptor
        finally:
            os.close(descriptor)
    except BlockingIOError as error:
        raise DeclarationError(f"{folder}: another declaration is being written: try again") from error
    except (OSError, ValueError) as error:
        raise DeclarationError(f"{folder}: cannot be written to ({_reason(error)}): check its owner, mode and free space") from error


def _append(record: int, event: dict[str, Any]) -> None:
    """Add a line, durably; one that a power cut tore off is closed first, so that it spoils no other."""
    size = os.fstat(record).st_size
    torn = size > 0 and os.pread(record, 1, size - 1) != b"\n"
    line = ("\n" if torn else "") + json.dumps(event, ensure_ascii=False) + "\n"
    data = line.encode()
    if os.write(record, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(record)


def _json(raw: bytes) -> Any:
    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no number")

    return json.loads(raw.decode("utf-8"), parse_constant=refuse)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"[:160]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
