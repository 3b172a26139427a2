"""Reads a bundle as if an enemy had made it: signature first, then hashes, then what the files hold, before a library parses any.

What is verified is what is used: each file is read once, sizes before contents, nothing outside the bundle, and the bytes that were
hashed are the bytes that a backend gets. A bundle is a folder, or a single file (see `runtime.bundles.archive`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from runtime import __version__
from runtime.bundles.archive import ArchiveReader
from runtime.bundles.content import check_content
from runtime.bundles.errors import BundleError
from runtime.bundles.manifest import MANIFEST, MAX_MANIFEST_BYTES, SIGNATURE, Manifest
from runtime.bundles.parts import MAX_FILE_BYTES, FileEntry
from runtime.bundles.signing import MAX_SIGNATURE_BYTES, TrustedKeys, verify

FACTORY = Path(__file__).resolve().parent / "factory"
"""The bundle inside the package: trusted as the program is, checked by its hashes all the same."""
MAX_NESTING = 32


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle whose every file has been verified.

    Attributes:
        content: the bytes of each file by its name, without manifest and signature.
        sha256: of the manifest, which holds those of the files: it stands for the whole bundle.
        manifest_bytes: the manifest as it was read: what was signed.
        signature: the content of `manifest.sig`, None where there is none.
        signed_by: id of the trusted key that signed it; None where no signature was asked for.
    """

    manifest: Manifest
    content: Mapping[str, bytes]
    sha256: str
    manifest_bytes: bytes = b""
    signature: bytes | None = None
    signed_by: str | None = None

    @property
    def id(self) -> str:
        """Name, release and the beginning of the hash, as results carry it."""
        return f"{self.manifest.name}/{self.manifest.release}+{self.sha256[:12]}"


def read_bundle(path: Path, trusted: TrustedKeys | None = None) -> Bundle:
    """The verified bundle at `path`, a folder or a single file.

    Args:
        trusted: keys of which one must have signed it; None takes it unsigned, for bundles that are trusted for where they lie: the
            factory's, or one that a technician names.

    Raises:
        BundleError: there is none, it is not signed as asked for, it is damaged, or holds what this program does not take.
    """
    try:
        folder = path.is_dir()
        there = folder or path.exists()
    except OSError as problem:  # a folder above it may not be looked into
        raise BundleError(f"{path}: {problem.strerror or problem}: name a folder that may be read") from problem
    if not there:
        raise BundleError(f"{path}: no such bundle: name a folder with a {MANIFEST}, or a bundle in a single file")
    if folder:
        text = _read(path, MANIFEST, MAX_MANIFEST_BYTES)
        signature = _read(path, SIGNATURE, MAX_SIGNATURE_BYTES) if os.path.lexists(path / SIGNATURE) else None
        manifest, signed_by = _vouched(text, signature, trusted, path)
        content = {e.name: _checked(_read(path, e.name, min(e.size, MAX_FILE_BYTES)), e, path) for e in manifest.files}
    else:
        with ArchiveReader(path) as archive:
            text = archive.take(MANIFEST, MAX_MANIFEST_BYTES)
            signature = archive.take_if_next(SIGNATURE, MAX_SIGNATURE_BYTES)
            manifest, signed_by = _vouched(text, signature, trusted, path)
            content = {e.name: _checked(archive.take(e.name, min(e.size, MAX_FILE_BYTES)), e, path) for e in manifest.files}
            archive.finish()
    check_content(manifest, content, str(path))
    return Bundle(manifest, content, hashlib.sha256(text).hexdigest(), text, signature, signed_by)


def read_for_use(path: Path, trusted: TrustedKeys | None = None) -> Bundle:
    """As `read_bundle`, of a bundle that is to serve. A part of one on its way, of a teacher alone say, is a bundle that is none to use.

    Raises:
        BundleError: see there; or it has networks for better masks, and not the one whose mask they better.
    """
    bundle = read_bundle(path, trusted)
    roles = bundle.manifest.roles
    if roles.segmenter is None and (roles.teacher is not None or roles.refiner is not None):
        raise BundleError(f"{path}: a teacher or refiner needs the live segmenter beside it: build the bundle with a segmenter too")
    return bundle


def _vouched(text: bytes, signature: bytes | None, trusted: TrustedKeys | None, path: Path) -> tuple[Manifest, str | None]:
    """The manifest, not looked at before its signature was, and who signed it."""
    signed_by = None if trusted is None else verify(text, signature, trusted, str(path))
    return parse_manifest(text, str(path / MANIFEST)), signed_by


def parse_manifest(text: bytes, where: str) -> Manifest:
    """The manifest that `text` is; `where` names it in errors.

    Raises:
        BundleError: too large, no JSON, nested too deep, against the schema, or for a newer program.
    """
    if len(text) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{where}: larger than {MAX_MANIFEST_BYTES} bytes: not a manifest")
    if _depth(text) > MAX_NESTING:
        raise BundleError(f"{where}: nested deeper than {MAX_NESTING}: not a manifest")
    try:
        json.loads(text, object_pairs_hook=_once)
        manifest = Manifest.model_validate_json(text)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{where}: {key or 'the whole'}: {first['msg']}: make the bundle with this version of the program") from problem
    except (ValueError, RecursionError) as problem:
        raise BundleError(f"{where}: not valid JSON ({problem}): copy the bundle again") from problem
    if _numbers(manifest.minimum_version) > _numbers(__version__):
        raise BundleError(
            f"{where}: minimum_version: it needs trichoscope {manifest.minimum_version}, this is {__version__}: "
            "update the program or take an older bundle"
        )
    return manifest


def _numbers(version: str) -> list[int]:
    """The four leading numbers of a version; what follows them, as in 0.2.0.dev1, does not count."""
    return [int(part) for part in [*re.findall(r"\d+", version.partition("+")[0]), 0, 0, 0][:4]]


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object whose keys come once each; two readers must not see two manifests."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _depth(text: bytes) -> int:
    """How deep brackets are nested, counted without parsing; brackets in strings count too, which is harmless."""
    depth = deepest = 0
    for byte in text:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _checked(content: bytes, entry: FileEntry, folder: Path) -> bytes:
    if len(content) != entry.size:
        raise BundleError(f"{folder / entry.name}: {len(content)} bytes, the manifest says {entry.size}: copy the bundle again")
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BundleError(f"{folder / entry.name}: its SHA-256 is not the manifest's, it was changed or damaged: copy the bundle again")
    return content


def _read(folder: Path, name: str, most: int) -> bytes:
    """The bytes of a plain file of at most `most` bytes; neither links nor pipes are followed."""
    path = folder / name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise BundleError(f"{path}: {problem.strerror or problem}: copy the bundle again") from problem
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)  # a folder cannot be made a file object, which would close it
        raise BundleError(f"{path}: not a plain file: copy the bundle again")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > most:
            raise BundleError(f"{path}: {status.st_size} bytes, at most {most} were expected: copy the bundle again")
        try:
            return file.read(most + 1)
        except OSError as problem:
            raise BundleError(f"{path}: {problem.strerror or problem}: copy the bundle again") from problem
