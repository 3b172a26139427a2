"""The private keys that sign bundles: files on the workstation, Ed25519 in PEM (PKCS #8), for nobody else to read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from export.errors import KeyFileError
from runtime.bundles.signing import public_bytes, public_line

PUBLIC_SUFFIX = ".pub"
MAX_KEY_BYTES = 16 * 1024
MAX_PASSPHRASE_BYTES = 1023  # OpenSSL takes no more


def make_keys(path: Path, comment: str = "", passphrase: bytes | None = None) -> str:
    """Write a new private key to `path` (mode 0600) and its public line to `path` with `.pub` behind it; the line.

    Raises:
        KeyFileError: one of the files is there already, or cannot be written; neither is left half done.
    """
    if any(character in comment for character in "\r\n"):
        raise KeyFileError("a comment is one line: leave the line breaks out")
    if passphrase is not None and not 1 <= len(passphrase) <= MAX_PASSPHRASE_BYTES:
        raise KeyFileError(f"a passphrase of {len(passphrase)} bytes: give one of 1 to {MAX_PASSPHRASE_BYTES}")
    public = path.with_name(path.name + PUBLIC_SUFFIX)
    for file in (path, public):
        if os.path.lexists(file):
            raise KeyFileError(f"{file}: is there already: a key is never overwritten; name another file")
    key = Ed25519PrivateKey.generate()
    hidden: KeySerializationEncryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    line = public_line(public_bytes(key), comment)
    written: list[Path] = []
    try:
        for file, data, mode in (
            (path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden), 0o600),
            (public, (line + "\n").encode(), 0o644),
        ):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            written.append(file)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
    except OSError as problem:
        for file in written:
            file.unlink(missing_ok=True)
        raise KeyFileError(f"{path}: {problem.strerror or problem}: name a folder that can be written") from problem
    return line


def read_key(path: Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """The private key in `path`.

    Raises:
        KeyFileError: no such file, others may read it, it is no Ed25519 key, or the passphrase is not the one.
    """
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            data = stream.read(MAX_KEY_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
    except OSError as problem:
        raise KeyFileError(f"{path}: {problem.strerror or problem}: name a private key of `trichoscope-export bundle keygen`") from problem
    if status.st_mode & 0o077:
        raise KeyFileError(f"{path}: others than you may read it (mode {status.st_mode & 0o777:04o}): chmod 600 it")
    try:
        key = load_pem_private_key(data, passphrase)
    except TypeError as problem:  # so it says that a passphrase is missing, or is one too many
        raise KeyFileError(f"{path}: {problem}: give --passphrase-file where it has one, and not where it has none") from problem
    except Exception as problem:  # its exceptions share no base below Exception
        raise KeyFileError(f"{path}: no private key, or another passphrase: name one of `trichoscope-export bundle keygen`") from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: a key of another kind: bundles are signed with Ed25519, see `trichoscope-export bundle keygen`")
    return key


def read_passphrase(path: Path) -> bytes:
    """The first line of a file, without its end. Raises KeyFileError where there is none."""
    try:
        with path.open("rb") as stream:
            line = stream.readline(MAX_KEY_BYTES).rstrip(b"\r\n")
    except OSError as problem:
        raise KeyFileError(f"{path}: {problem.strerror or problem}: name a file with the passphrase in its first line") from problem
    if not line:
        raise KeyFileError(f"{path}: its first line is empty: write the passphrase there")
    return line
