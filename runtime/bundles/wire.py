"""Reads the wire format of protocol buffers from bytes that an enemy may have written: bounded, without recursion, one way only.

Two readers must not see two networks in the same bytes, so whatever a tolerant reader would take one way or another is refused here:
fields that are not in a message's table, single fields that come twice, numbers written longer than needed, groups. Runs of repeated
numbers, which trees have by the hundred thousand, are taken at once.
Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.bundles.errors import BundleError

MAX_FIELDS = 200_000
"""Of all messages of a file together; a run counts once."""
MAX_VARINT = 10
MAX_TEXT_BYTES = 64 * 1024
MAX_PACKED_BYTES = 4 * 1024 * 1024
"""Of whole numbers in one field, which become ten times as large in memory; weights that are larger stand there as they are in memory."""
MAX_RUN = 32 * 1024
"""Fields in one run: the matcher remembers each of them."""
SHORT = 40
"""Bytes of a text up to which it can be part of a run."""

Kind = Literal["number", "float", "bytes", "text", "message", "numbers", "floats", "doubles", "blobs", "texts", "messages"]
MANY = frozenset({"numbers", "floats", "doubles", "blobs", "texts", "messages"})
WIRES = {"number": (0,), "float": (5,), "numbers": (0, 2), "floats": (5, 2), "doubles": (1, 2)}  # of the rest: 2
CONTENT = {0: rb"[\x80-\xff]{0,9}[\x00-\x7f]", 1: rb"[\x00-\xff]{8}", 5: rb"[\x00-\xff]{4}"}


@dataclass(frozen=True)
class Span:
    """A part of the file. `run`: whole fields of one tag of one byte, one after the other; otherwise the content of one field."""

    start: int
    end: int
    run: bool = False


@dataclass(frozen=True)
class Field:
    """What a message's table says of a field number: its name, its kind, and why it is refused where it is."""

    name: str
    kind: Kind = "bytes"
    refused: str = ""


Table = Mapping[int, Field]


class Wire:
    """The bytes of a file, and how many of its fields may still be looked at. `where` names it in errors."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.where = where
        self._left = MAX_FIELDS

    def refuse(self, why: str) -> BundleError:
        """The error that says `why`, to be raised."""
        return BundleError(f"{self.where}: {why}: convert the network again with `trichoscope-export`")

    def message(self, span: Span, table: Table, what: str) -> dict[str, Any]:
        """The fields of the message in `span`, by the names of `table`; `what` names it in errors.

        A number is an int (unsigned), a float, bytes or a message a Span, a text a str; what may be repeated is a list: of Spans (for
        `numbers`, `floats`, `doubles`: see the methods of these names), of str for texts.

        Raises:
            BundleError: it is no such message, or has what the table refuses.
        """
        found: dict[str, Any] = {}
        for field, content in self._fields(span, table, what):
            value: Any = content
            if field.kind in ("text", "texts"):
                value = self.text(content, what)
            elif field.kind == "number":
                value, end = self.varint(content.start + content.run, content.end)
                if end != content.end:
                    raise self.refuse(f"{what}: {field.name} comes twice")
            elif field.kind == "float" and content.end - content.start != 4 + content.run:
                raise self.refuse(f"{what}: {field.name} comes twice")
            if field.kind in MANY:
                found.setdefault(field.name, []).append(value)
            elif field.name in found:
                raise self.refuse(f"{what}: {field.name} comes twice")
            else:
                found[field.name] = value
        return found

    def text(self, span: Span, what: str) -> str:
        """The UTF-8 text in `span`. Raises BundleError where it is none, or too long."""
        if span.end - span.start > MAX_TEXT_BYTES:
            raise self.refuse(f"{what}: a text of {span.end - span.start} bytes")
        try:
            return self.data[span.start : span.end].decode("utf-8")
        except UnicodeDecodeError as problem:
            raise self.refuse(f"{what}: a text that is not UTF-8") from problem

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """The whole number (0 … 2⁶⁴ − 1) that begins at byte `at`, and where it ends. Raises BundleError where there is none."""
        value = shift = 0
        for position in range(at, min(end, at + MAX_VARINT)):
            byte = self.data[position]
            value |= (byte & 127) << shift
            if byte < 128:
                if (byte == 0 and position > at) or value >= 2**64:
                    break  # written longer than needed, or too large
                return value, position + 1
            shift += 7
        raise self.refuse(f"the number at byte {at} is damaged")

    def numbers(self, spans: list[Span]) -> NDArray[np.uint64]:
        """The repeated whole numbers of a field, packed or not, uint64 (n,). Raises BundleError where they are damaged."""
        return np.concatenate([np.zeros(0, np.uint64), *(self._numbers(span) for span in spans)])

    def floats(self, spans: list[Span]) -> NDArray[np.float32]:
        """The repeated floats of a field, float32 (n,). Raises BundleError where they are damaged."""
        return np.concatenate([np.zeros(0, np.float32), *(self._fixed(span, np.dtype("<f4")) for span in spans)])

    def doubles(self, spans: list[Span]) -> NDArray[np.float64]:
        """The repeated doubles of a field, float64 (n,). Raises BundleError where they are damaged."""
        return np.concatenate([np.zeros(0, np.float64), *(self._fixed(span, np.dtype("<f8")) for span in spans)])

    def raw(self, span: Span) -> NDArray[np.uint8]:
        """The bytes in `span`, uint8 (n,), not copied."""
        return np.frombuffer(self.data, np.uint8, span.end - span.start, span.start)

    def _fixed(self, span: Span, dtype: np.dtype[Any]) -> NDArray[Any]:
        raw, size = self.raw(span), dtype.itemsize
        if raw.size % (size + span.run):
            raise self.refuse(f"the numbers at byte {span.start} are damaged")
        rows = raw.reshape(-1, size + span.run)[:, int(span.run) :]
        return np.ascontiguousarray(rows).view(dtype).ravel()

    def _numbers(self, span: Span) -> NDArray[np.uint64]:
        raw = self.raw(span)
        if raw.size > MAX_PACKED_BYTES:
            raise self.refuse(f"{raw.size} bytes of whole numbers in one field, at most {MAX_PACKED_BYTES} are taken")
        ends = np.flatnonzero(raw < 128)
        if raw.size and (not ends.size or ends[-1] != raw.size - 1):
            raise self.refuse(f"the numbers at byte {span.start} are damaged")
        if span.run:  # a tag is below 128 too: tag, end of number, tag, end of number …
            starts, ends = ends[0::2] + 1, ends[1::2]
        else:
            starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])[: ends.size]
        lengths = ends - starts + 1
        longest = int(lengths.max(initial=1))
        last = raw[ends]
        if longest > MAX_VARINT or np.any((lengths == MAX_VARINT) & (last > 1)) or np.any((lengths > 1) & (last == 0)):
            raise self.refuse(f"the numbers at byte {span.start} are damaged")
        values = np.zeros(ends.size, np.uint64)
        for place in range(longest):  # ten at most
            there = lengths > place
            values[there] |= (raw[starts[there] + place] & np.uint8(127)).astype(np.uint64) << np.uint64(7 * place)
        return values

    def _fields(self, span: Span, table: Table, what: str) -> Iterator[tuple[Field, Span]]:
        at, end = span.start, span.end
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise self.refuse(f"more than {MAX_FIELDS} fields")
            start = at
            tag, at = self.varint(at, end)
            number, wire = tag >> 3, tag & 7
            if number == 0 or wire not in (0, 1, 2, 5):
                raise self.refuse(f"no protocol buffer at byte {start}")
            field = table.get(number)
            if field is None:
                raise self.refuse(f"{what}: field {number} is not known here")
            if field.refused:
                raise self.refuse(field.refused)
            if wire not in WIRES.get(field.kind, (2,)):
                raise self.refuse(f"{what}: {field.name} is written as something else")
            if (wire != 2 or field.kind == "blobs") and at - start == 1:
                run = _run(tag).match(self.data, start, end)
                if run is not None:
                    at = run.end()
                    yield field, Span(start, at, run=True)
                    continue
            if wire == 0:
                start = at
                _, at = self.varint(at, end)
                yield field, Span(start, at)
                continue
            size, at = self.varint(at, end) if wire == 2 else (8 if wire == 1 else 4, at)
            if size > end - at:
                raise self.refuse(f"{what}: {field.name} at byte {start} is cut off")
            yield field, Span(at, at + size)
            at += size


@lru_cache(maxsize=128)
def _run(tag: int) -> re.Pattern[bytes]:
    """Fields of `tag`, below 128, one after the other: numbers, or texts of at most SHORT bytes."""
    content = CONTENT.get(tag & 7) or b"|".join(re.escape(bytes([size])) + b"[\\x00-\\xff]{%d}" % size for size in range(SHORT + 1))
    return re.compile(b"(?:" + re.escape(bytes([tag])) + b"(?:" + content + b")){1,%d}" % MAX_RUN)
