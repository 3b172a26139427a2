"""A bundle as a single file: the plainest tar (POSIX ustar), manifest first, then its signature, then the files in the manifest's order.

There is one way to write such a file, and only that is read: each header must be, byte for byte, the one that this module writes for the
name and the size that are expected next. So no link, path, duplicate or hidden entry can be in it, and nothing is read before its size
is known to be allowed. `tar xf` unpacks it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from runtime.bundles.errors import BundleError
from runtime.bundles.manifest import MANIFEST, SIGNATURE

BLOCK = 512
SUFFIX = ".bundle"
TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
    b"x": "an extended header",
    b"g": "an extended header",
    b"L": "an extended header",
    b"S": "a sparse file",
}
AGAIN = "get the bundle again, or write it with `trichoscope-export bundle build`"


def pack(content: Sequence[tuple[str, bytes]]) -> bytes:
    """The single file of `content`: names and bytes in their order."""
    parts = []
    for name, data in content:
        parts += [header(name, len(data)), data, bytes(-len(data) % BLOCK)]
    return b"".join([*parts, bytes(2 * BLOCK)])


def header(name: str, size: int) -> bytes:
    """The 512 bytes before a file: mode 0644, no owner, no time, so that the same content is the same file."""
    fields = [
        name.encode("ascii").ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        b"%011o\0" % size,
        b"00000000000\0",
        b" " * 8,  # the place of the checksum while it is summed
        b"0",
        bytes(100),
        b"ustar\x0000",
    ]
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


class ArchiveReader:
    """Takes files out of a single-file bundle, in its order. Used by one thread, as a context."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._ahead: bytes | None = None

    def __enter__(self) -> ArchiveReader:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as problem:
            raise BundleError(f"{self.path}: {problem.strerror or problem}: name a bundle that may be read") from problem
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BundleError(f"{self.path}: neither a folder nor a plain file: name a bundle")
        self._file = os.fdopen(descriptor, "rb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def take(self, name: str, most: int) -> bytes:
        """The next file, which must be `name` and have at most `most` bytes.

        Raises:
            BundleError: it is something else, is larger, or ends early.
        """
        block = self._next_header()
        size = self._judged(block, name)
        if size > most:
            raise BundleError(f"{self.path}: {name}: {size} bytes, at most {most} were expected: {AGAIN}")
        self._ahead = None
        content = self._read(size)
        padding = self._read(-size % BLOCK)
        if len(content) != size or len(padding) != -size % BLOCK:
            raise BundleError(f"{self.path}: {name}: the file ends in the middle of it: {AGAIN}")
        if any(padding):
            raise BundleError(f"{self.path}: {name}: something is hidden behind it: {AGAIN}")
        return content

    def take_if_next(self, name: str, most: int) -> bytes | None:
        """As `take`; None where another file, or none, is next."""
        return self.take(name, most) if _name(self._next_header()) == name else None

    def finish(self) -> None:
        """Make sure that nothing else is in the file.

        Raises:
            BundleError: something is.
        """
        block = self._next_header()
        if any(block):
            raise BundleError(f"{self.path}: {_name(block)[:64]!r} is not among the manifest's files, or comes twice: {AGAIN}")
        if len(block) != BLOCK or self._read(BLOCK) != bytes(BLOCK) or self._read(1):
            raise BundleError(f"{self.path}: it does not end where it should: {AGAIN}")

    def _next_header(self) -> bytes:
        if self._ahead is None:
            self._ahead = self._read(BLOCK)
        return self._ahead

    def _judged(self, block: bytes, wanted: str) -> int:
        """The size that `block` says, if it is the very header of `wanted`; what is wrong with it otherwise."""
        if len(block) != BLOCK or not any(block):
            raise BundleError(f"{self.path}: it ends before {wanted}: {AGAIN}")
        if block[257:262] != b"ustar":
            raise BundleError(f"{self.path}: not a bundle in a single file (compressed, encrypted or something else): {AGAIN}")
        name, kind = _name(block), block[156:157]
        if name.startswith("/") or ".." in name.split("/"):
            raise BundleError(f"{self.path}: {name[:64]!r} is a path out of the bundle: {AGAIN}")
        if kind != b"0":
            raise BundleError(f"{self.path}: {name[:64]!r} is {TYPES.get(kind, 'of an unknown kind')}, no plain file: {AGAIN}")
        if name != wanted:
            raise BundleError(f"{self.path}: {name[:64]!r} is where {wanted!r} should be: {AGAIN}")
        try:
            size = int(block[124:135], 8)
        except ValueError:
            size = -1
        if size < 0 or block != header(wanted, size):
            raise BundleError(f"{self.path}: {wanted}: its header was changed or damaged: {AGAIN}")
        return size

    def _read(self, count: int) -> bytes:
        if self._file is None:
            raise BundleError(f"{self.path}: not open")
        try:
            return self._file.read(count)
        except OSError as problem:
            raise BundleError(f"{self.path}: {problem.strerror or problem}: {AGAIN}") from problem


def _name(block: bytes) -> str:
    return block[:100].partition(b"\0")[0].decode("ascii", "backslashreplace")


def files_of(manifest: bytes, signature: bytes | None, names: Sequence[str], content: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """A bundle's files in the order of a single file; `names` are the manifest's, in its order."""
    first = [(MANIFEST, manifest)] + ([] if signature is None else [(SIGNATURE, signature)])
    return first + [(name, content[name]) for name in names]
