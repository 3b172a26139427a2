"""From a stream of bytes to sentences: finds them in any noise, loses none that is whole, and counts what it refuses.

A sentence begins at `$`, whatever went before: noise in front of a whole sentence never takes that sentence with it. The buffer holds
less than one sentence between two calls.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Generic, TypeVar

from device.errors import SentenceError
from device.handpiece.counters import Counters
from device.handpiece.sentences import MAX_LENGTH, Sentence, UnknownSentence, parse

T = TypeVar("T")

_RUN = re.compile(rb"\$[ -#%-~]*")


@dataclass(frozen=True)
class Framed(Generic[T]):
    """What was found, and whether noise or a refused sentence lay between it and the one before (or the start)."""

    item: T
    after_noise: bool


class SentenceFramer:
    """Bytes in, sentences out. Overflow policy: what runs on for more than MAX_LENGTH characters without an end is refused and dropped."""

    def __init__(self, counters: Counters, talker: bytes = b"TS") -> None:
        """`talker`: whose sentences are wanted, the handpiece's or the host's (TH); an echo of the other side's is refused."""
        self._counters = counters
        self._talker = talker
        self._buffer = bytearray()
        self._noisy = True  # the line may have been opened in the middle of a sentence

    def feed(self, data: bytes) -> list[Framed[Sentence]]:
        """The sentences that `data` completes, in order."""
        buffer = self._buffer
        buffer += data
        found: list[Framed[Sentence]] = []
        while True:
            start = buffer.find(b"$")
            self._skip(len(buffer) if start < 0 else start)
            if start < 0:
                return found
            run = _RUN.match(buffer)
            assert run is not None
            end = run.end()
            tail = bytes(buffer[end : end + 2])
            if end + 2 > MAX_LENGTH:
                self._refuse("length", end)
            elif tail == b"\r\n":
                self._judge(bytes(buffer[: end + 2]), found)
            elif tail in (b"", b"\r"):
                return found  # not all of it is here
            else:
                self._refuse("cut" if tail.startswith(b"$") else "character", end)

    def _judge(self, line: bytes, found: list[Framed[Sentence]]) -> None:
        try:
            sentence = parse(line)
            if not line.startswith(self._talker, 1):
                raise SentenceError("talker", f"{line!r} is an echo")
        except SentenceError as error:
            self._refuse(error.reason, len(line))
            return
        del self._buffer[: len(line)]
        self._counters.sentences += 1
        self._counters.unknown += isinstance(sentence, UnknownSentence)
        found.append(Framed(sentence, self._noisy))
        self._noisy = False

    def _refuse(self, reason: str, length: int) -> None:
        self._counters.rejects[reason] += 1
        self._skip(length)

    def _skip(self, length: int) -> None:
        if length:
            self._counters.noise_bytes += length
            self._noisy = True
            del self._buffer[:length]
