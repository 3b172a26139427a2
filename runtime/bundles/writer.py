"""Writes a bundle: the folder appears whole or not at all, and is read back before it counts."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from runtime.bundles.errors import BundleError
from runtime.bundles.manifest import MANIFEST, Manifest
from runtime.bundles.parts import FileEntry, Name
from runtime.bundles.reader import Bundle, read_bundle
from runtime.bundles.roles import Roles


def entries(content: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    """The manifest's entries of files given by name."""
    return tuple(FileEntry(name=n, sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for n, data in sorted(content.items()))


def check_target(folder: Path, name: str) -> None:
    """Whether a bundle of this name may be written as `folder`: to be asked before hours of computing.

    Raises:
        BundleError: the folder holds something that is no bundle, or no bundle can have this name.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as problem:
        raise BundleError(f"{name!r} is no name of a bundle: at most 40 small letters, digits and hyphens, a letter first") from problem
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder}: exists and is no bundle: name another folder")


def write_bundle(
    folder: Path,
    content: Mapping[str, bytes],
    *,
    name: str,
    release: int,
    minimum_version: str,
    roles: Roles,
) -> Bundle:
    """Write the files and their manifest as the new folder `folder`, or in place of the bundle that is there.

    Raises:
        BundleError: the folder holds something that is no bundle, or cannot be written, or the manifest would say what no manifest may;
            what was there stays.
    """
    check_target(folder, name)
    try:
        manifest = Manifest(name=name, release=release, minimum_version=minimum_version, roles=roles, files=entries(content))
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{folder}: {key or 'the whole'}: {first['msg']}: no manifest may say that") from problem
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as problem:
        raise BundleError(f"{folder}: {problem.strerror or problem}: name a folder that can be written") from problem
    try:
        part.chmod(0o755)
        for file, data in {**content, MANIFEST: manifest.to_json().encode()}.items():
            _write(part / file, data)
        _sync(part)
        bundle = read_bundle(part)
        old = None
        if folder.exists():
            old = part.with_name(part.name + ".old")
            folder.rename(old)
        try:
            part.rename(folder)
        except BaseException:  # Ctrl-C too
            if old is not None:
                old.rename(folder)
            raise
        _sync(folder.parent)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as problem:
        raise BundleError(f"{folder}: {problem.strerror or problem}: free some space or name another folder") from problem
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return bundle


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
