"""Writes a bundle, as a folder or a single file: it appears whole or not at all, and is read back before it counts."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from runtime.bundles.archive import SUFFIX, files_of, pack
from runtime.bundles.content import check_content
from runtime.bundles.errors import BundleError
from runtime.bundles.manifest import MANIFEST, SIGNATURE, Manifest
from runtime.bundles.parts import FileEntry, Name
from runtime.bundles.reader import Bundle, read_bundle
from runtime.bundles.roles import Roles

Signer = Callable[[bytes], bytes]
"""From the exact bytes of a manifest to the content of `manifest.sig`."""


def entries(content: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    """The manifest's entries of files given by name."""
    return tuple(FileEntry(name=n, sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for n, data in sorted(content.items()))


def check_target(target: Path, name: str) -> None:
    """Whether a bundle of this name may be written as `target`: to be asked before hours of computing.

    Raises:
        BundleError: there is something that is no bundle, or no bundle can have this name.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as problem:
        raise BundleError(f"{name!r} is no name of a bundle: at most 40 small letters, digits and hyphens, a letter first") from problem
    if target.is_dir() if target.suffix == SUFFIX else target.exists() and not (target / MANIFEST).is_file():
        raise BundleError(f"{target}: exists and is no bundle{' in a single file' * (target.suffix == SUFFIX)}: name another")


def write_bundle(
    folder: Path,
    content: Mapping[str, bytes],
    *,
    name: str,
    release: int,
    minimum_version: str,
    roles: Roles,
    signer: Signer | None = None,
) -> Bundle:
    """Write the files and their manifest as the new folder `folder`, or in place of the bundle that is there.

    A name that ends in `.bundle` becomes a single file. `signer` signs it, if given.

    Raises:
        BundleError: there is something that is no bundle, or it cannot be written, or the manifest would say what no manifest may, or a
            file holds what no bundle may; what was there stays.
    """
    check_target(folder, name)
    try:
        manifest = Manifest(name=name, release=release, minimum_version=minimum_version, roles=roles, files=entries(content))
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{folder}: {key or 'the whole'}: {first['msg']}: no manifest may say that") from problem
    check_content(manifest, content, str(folder))
    text = manifest.to_json().encode()
    return write_files(folder, text, None if signer is None else signer(text), [e.name for e in manifest.files], content)


def write_files(target: Path, manifest: bytes, signature: bytes | None, names: list[str], content: Mapping[str, bytes]) -> Bundle:
    """Write a bundle whose manifest is given as bytes, as a folder, or as a single file where `target` ends in `.bundle`.

    Args:
        names: of the files, in the manifest's order.

    Raises:
        BundleError: it cannot be written, or is no bundle when read back; what was there stays.
    """
    files = files_of(manifest, signature, names, content)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == SUFFIX:
            return _as_file(target, pack(files))
        return _as_folder(target, files)
    except OSError as problem:
        raise BundleError(f"{target}: {problem.strerror or problem}: free some space or name another place") from problem


def _as_file(target: Path, data: bytes) -> Bundle:
    with _temporary_folder(target) as part:
        whole = part / target.name
        _write(whole, data)
        whole.chmod(0o644)
        bundle = read_bundle(whole)
        whole.replace(target)
        _sync(target.parent)
    return bundle


def _as_folder(target: Path, files: list[tuple[str, bytes]]) -> Bundle:
    with _temporary_folder(target) as part:
        part.chmod(0o755)
        for file, data in files:
            _write(part / file, data)
        _sync(part)
        bundle = read_bundle(part)
        old = None
        if target.exists():
            old = part.with_name(part.name + ".old")
            target.rename(old)
        try:
            part.rename(target)
        except BaseException:  # Ctrl-C too
            if old is not None:
                old.rename(target)
            raise
        _sync(target.parent)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    return bundle


def add_signature(path: Path, signer: Signer) -> Bundle:
    """Sign the bundle at `path`, a folder or a single file, in its place; a signature that is there is replaced.

    Raises:
        BundleError: it is no bundle, or cannot be written; it stays as it was.
    """
    bundle = read_bundle(path)
    signature = signer(bundle.manifest_bytes)
    names = [entry.name for entry in bundle.manifest.files]
    try:
        if path.is_dir():
            with _temporary_folder(path) as part:
                _write(part / SIGNATURE, signature)
                (part / SIGNATURE).chmod(0o644)
                (part / SIGNATURE).replace(path / SIGNATURE)
                _sync(path)
        else:
            _as_file(path, pack(files_of(bundle.manifest_bytes, signature, names, bundle.content)))
    except OSError as problem:
        raise BundleError(f"{path}: {problem.strerror or problem}: free some space") from problem
    return read_bundle(path)


@contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target`, which is gone afterwards, whatever happens. Raises OSError where it cannot be made."""
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


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
