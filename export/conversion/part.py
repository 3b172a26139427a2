"""A role on its way into a bundle: a folder with `role.json` (which role, and the fields of its manifest entry) and the files it names.

`convert` writes one, `quantise` adds variants to it, `verify` proves it, and `bundle build` puts one or more into a bundle.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from export.errors import ConversionError
from runtime.bundles.errors import BundleError
from runtime.bundles.manifest import MANIFEST, MAX_MANIFEST_BYTES, Manifest
from runtime.bundles.parts import MAX_FILE_BYTES
from runtime.bundles.reader import Bundle, read_bundle
from runtime.bundles.roles import (
    ConditionsRole,
    ForecastRole,
    RefinerRole,
    Role,
    RoleName,
    Roles,
    SegmenterRole,
    SeverityRole,
    StageRole,
    TeacherRole,
)
from runtime.bundles.writer import entries, write_bundle

ROLE = "role.json"
MAX_FILES = 32
MODELS: Mapping[RoleName, type[Role]] = {
    "segmenter": SegmenterRole,
    "teacher": TeacherRole,
    "refiner": RefinerRole,
    "severity": SeverityRole,
    "conditions": ConditionsRole,
    "forecast": ForecastRole,
    "stage": StageRole,
}


@dataclass(frozen=True, eq=False)
class RolePart:
    """One role with its files.

    Attributes:
        content: bytes by file name: those that the role names, and others that are to travel with it (curves of the training, say).
    """

    name: RoleName
    role: Role
    content: Mapping[str, bytes]


def role_of(name: str, fields: object, where: str) -> tuple[RoleName, Role]:
    """The role that `name` and `fields` (plain values, as in a manifest) say; `where` names them in errors.

    Raises:
        ConversionError: no such role, or fields that no manifest may have.
    """
    if name not in get_args(RoleName):
        raise ConversionError(f"{where}: role: {str(name)[:40]!r} is none: name one of {', '.join(MODELS)}")
    role: RoleName = next(known for known in MODELS if known == name)
    try:
        return role, MODELS[role].model_validate_json(json.dumps(fields))
    except (ValidationError, TypeError, ValueError) as problem:
        raise ConversionError(f"{where}: fields: {_first(problem)}: make the part again, or give the field") from problem


def as_bundle(part: RolePart) -> Bundle:
    """The part as a bundle of this role alone, for what proves or runs bundles.

    Raises:
        ConversionError: a file that the role names is missing.
    """
    missing = [name for name in part.role.files() if name not in part.content]
    if missing:
        raise ConversionError(f"{part.name}: file {missing[0]!r} is missing: make the part again")
    roles = Roles.model_validate({part.name: part.role})
    content = dict(part.content)
    try:
        manifest = Manifest(name=part.name, release=1, minimum_version="0.1.0", roles=roles, files=entries(content))
    except ValidationError as problem:
        raise ConversionError(f"{part.name}: {_first(problem)}: make the part again") from problem
    return Bundle(manifest, content, "0" * 64)


def is_part(folder: Path) -> bool:
    """Whether the folder is a part and no bundle."""
    return (folder / ROLE).is_file()


def check_part_target(folder: Path) -> None:
    """Whether a part may be written as `folder`: to be asked before anything is computed.

    Raises:
        ConversionError: something is there that is no part.
    """
    if folder.is_symlink() or (folder.exists() and not is_part(folder) and not (folder.is_dir() and not any(folder.iterdir()))):
        raise ConversionError(f"{folder}: exists and is no part of a bundle: name another folder")


def write_part(folder: Path, part: RolePart) -> None:
    """Write the part as the new folder `folder`, or in place of the part that is there: whole or not at all.

    Raises:
        ConversionError: the folder holds something else, cannot be written, or the part lacks a file.
    """
    check_part_target(folder)
    as_bundle(part)
    fields = part.role.model_dump(mode="json")
    files = {**part.content, ROLE: (json.dumps({"role": part.name, "fields": fields}, indent=1) + "\n").encode()}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as problem:
        raise ConversionError(f"{folder}: {problem.strerror or problem}: name a folder that can be written") from problem
    try:
        made.chmod(0o755)
        for name, data in files.items():
            with (made / name).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        _sync(made)
        read_part(made)
        old = made.with_name(made.name + ".old") if folder.exists() else None
        if old is not None:
            folder.rename(old)
        try:
            made.rename(folder)
        except BaseException:  # Ctrl-C too
            if old is not None:
                old.rename(folder)
            raise
        _sync(folder.parent)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as problem:
        raise ConversionError(f"{folder}: {problem.strerror or problem}: free some space or name another folder") from problem
    finally:
        shutil.rmtree(made, ignore_errors=True)


def read_part(folder: Path) -> RolePart:
    """The part in `folder`; only plain files of a bearable size are looked at.

    Raises:
        ConversionError: there is none, it lacks a file, or says what no manifest may.
    """
    text = _read(folder / ROLE, MAX_MANIFEST_BYTES)
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ConversionError(f"{folder / ROLE}: not valid JSON ({problem}): make the part again") from problem
    if not isinstance(said, dict) or set(said) != {"role", "fields"}:
        raise ConversionError(f'{folder / ROLE}: not {{"role": …, "fields": …}}: make the part again')
    name, role = role_of(said["role"], said["fields"], str(folder / ROLE))
    names = sorted({*role.files(), *(path.name for path in folder.iterdir() if not path.name.startswith("."))} - {ROLE})
    if len(names) > MAX_FILES:
        raise ConversionError(f"{folder}: {len(names)} files, at most {MAX_FILES} belong to a part: make the part again")
    return RolePart(name, role, {name: _read(folder / name, MAX_FILE_BYTES) for name in names})


def read_parts(folder: Path) -> Bundle:
    """A bundle (a folder, or a single file), or a part as a bundle of one role.

    Raises:
        ConversionError, BundleError: neither is there.
    """
    if is_part(folder):
        return as_bundle(read_part(folder))
    if not folder.is_file() and not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder}: neither a bundle nor a part of one: name a folder with {MANIFEST} or {ROLE}")
    return read_bundle(folder)


def replace_roles(folder: Path, before: Bundle, roles: Mapping[RoleName, Role], added: Mapping[str, bytes], *, out: Path) -> None:
    """Write `before`, as `read_parts` gave it from `folder`, with other roles and more files as `out`, of the same form.

    A bundle is written without a signature: that of the old one does not hold for it.

    Raises:
        ConversionError, BundleError: see `write_part` and `write_bundle`; what was in `out` stays.
    """
    named = {file for role in before.manifest.roles.present().values() for file in role.files()}
    filled = before.manifest.roles.present() | dict(roles)
    kept = {file for role in filled.values() for file in role.files()}
    content = {name: data for name, data in {**before.content, **added}.items() if name in kept or name not in named}
    if is_part(folder):
        ((name, role),) = roles.items()
        write_part(out, RolePart(name, role, content))
        return
    manifest = before.manifest
    write_bundle(
        out,
        content,
        name=manifest.name,
        release=manifest.release,
        minimum_version=manifest.minimum_version,
        roles=Roles.model_validate(filled),
    )


def _first(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        first = problem.errors(include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'the whole'}: {first['msg']}"
    return str(problem).partition("\n")[0]


def _read(path: Path, most: int) -> bytes:
    try:
        if path.is_symlink() or not path.is_file():
            raise ConversionError(f"{path}: no plain file is there: make the part again")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as problem:
        raise ConversionError(f"{path}: {problem.strerror or problem}: check the folder's rights") from problem
    if not 0 < len(data) <= most:
        raise ConversionError(f"{path}: {'empty' if not data else f'larger than {most} bytes'}: make the part again")
    return data


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
