"""A TOML text and where in it each key stands, so that a message can name its line, which the parser itself does not tell.

The scan for lines runs after the parser and trusts its verdict on the syntax. Tables, arrays of tables, dotted and quoted
keys, inline tables and arrays (also over several lines) are followed.
"""

from __future__ import annotations

import contextlib
import re
import sys
from importlib import import_module
from typing import Any

_toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")  # the same parser under two names

KeyPath = tuple[str | int, ...]  # names of tables and keys; numbers count the entries of arrays, from 0

MAX_DEPTH = 100  # parts of a key, and levels of arrays and inline tables, that the scan follows

_STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}(?!")' r"|'''.*?'{3,5}(?!')" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'", re.DOTALL)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_SCALAR = re.compile(r"[^\s,\]}#]+(?: \d[^\s,\]}#]*)?")  # a date and its time may be parted by one blank


class TomlTextError(ValueError):
    """The text is not TOML: `what` is wrong at `line` (from 1) and `column` (from 1, None at the end of the text)."""

    def __init__(self, what: str, line: int, column: int | None) -> None:
        super().__init__(f"{what} (line {line})")
        self.what, self.line, self.column = what, line, column


def parse_toml(text: str) -> dict[str, Any]:
    """The values in `text`.

    Raises:
        TomlTextError: not TOML, or nested beyond what can be read.
    """
    try:
        values: dict[str, Any] = _toml.loads(text)
    except RecursionError:
        raise TomlTextError("nested too deeply", 1, None) from None
    except _toml.TOMLDecodeError as error:
        at = re.search(r"\(at line (\d+), column (\d+)\)", str(error))  # otherwise "(at end of document)"
        what = re.sub(r"\s*\(at [^)]*\)$", "", str(error))
        raise TomlTextError(what, int(at[1]) if at else text.count("\n") + 1, int(at[2]) if at else None) from None
    return values


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of every table header, key and array entry in `text`. A text that is not TOML gives a partial map."""
    scan = _Scan(text)
    with contextlib.suppress(_CannotFollowError):
        scan.document()
    return scan.lines


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """The line of `path`, or of the nearest table around it that the file names; None where it names neither."""
    for length in range(len(path), 0, -1):
        if (line := lines.get(path[:length])) is not None:
            return line
    return None


class _CannotFollowError(Exception):
    """The scan met something that it cannot follow."""


class _Scan:
    """A position in the text and the lines found so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._counted_to = 0
        self._line = 1
        self._entries: dict[KeyPath, int] = {}  # array of tables → how many entries it has

    def document(self) -> None:
        table: KeyPath = ()
        self._skip_blank()
        while self.at < len(self.text):
            if self._take("[["):
                table = self._array_table_header()
            elif self._take("["):
                line = self._line_here()
                table = self._resolve(self._key("]"))
                self._note(table, line)
            else:
                self._pair(table, 0)
            self._skip_blank()

    def _array_table_header(self) -> KeyPath:
        line = self._line_here()
        keys = self._key("]")
        self._expect("]")
        array = (*self._resolve(keys[:-1]), keys[-1])
        number = self._entries.get(array, 0)
        self._entries[array] = number + 1
        self._note(array, line)
        self._note((*array, number), line)
        return (*array, number)

    def _resolve(self, keys: tuple[str, ...]) -> KeyPath:
        """`keys` of a header with the number of the newest entry after each array of tables on the way."""
        path: KeyPath = ()
        for key in keys:
            path = (*path, key)
            if path in self._entries:
                path = (*path, self._entries[path] - 1)
        return path

    def _pair(self, table: KeyPath, depth: int) -> None:
        line = self._line_here()
        path = table
        for key in self._key("="):
            path = (*path, key)
            self._note(path, line)
        self._value(path, depth)

    def _key(self, end: str) -> tuple[str, ...]:
        """The parts of a dotted key, up to and past `end`."""
        parts = []
        while True:
            self._skip_blank()
            if found := _BARE_KEY.match(self.text, self.at):
                parts.append(found[0])
            elif found := _STRING.match(self.text, self.at):
                parts.append(_unquoted(found[0]))
            else:
                raise _CannotFollowError
            self.at = found.end()
            self._skip_blank()
            if self._take(end):
                return tuple(parts)
            self._expect(".")
            if len(parts) > MAX_DEPTH:
                raise _CannotFollowError

    def _value(self, path: KeyPath, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _CannotFollowError
        self._skip_blank()
        if self._take("{"):
            self._skip_blank()
            while not self._take("}"):
                self._pair(path, depth + 1)
                self._skip_blank()
                self._take(",")
                self._skip_blank()
        elif self._take("["):
            self._skip_blank()
            number = 0
            while not self._take("]"):
                self._note((*path, number), self._line_here())
                self._value((*path, number), depth + 1)
                number += 1
                self._skip_blank()
                self._take(",")
                self._skip_blank()
        elif found := _STRING.match(self.text, self.at) or _SCALAR.match(self.text, self.at):
            self.at = found.end()
        else:
            raise _CannotFollowError

    def _note(self, path: KeyPath, line: int) -> None:
        self.lines.setdefault(path, line)

    def _line_here(self) -> int:
        self._line += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        return self._line

    def _skip_blank(self) -> None:
        if found := _BLANK.match(self.text, self.at):
            self.at = found.end()

    def _take(self, token: str) -> bool:
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise _CannotFollowError


def _unquoted(quoted: str) -> str:
    """A quoted key as the parser reads it, escapes resolved."""
    try:
        return next(iter(parse_toml(f"{quoted} = 0")))
    except TomlTextError as error:
        raise _CannotFollowError from error
