"""From a stream of bytes to binary frames of a fixed length: fixed first bytes, and the sum of all others as the last.

A frame whose sum or content is wrong costs one byte, after which the search goes on: a true frame that begins inside a false one is
found. The buffer holds less than one frame between two calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from device.errors import SentenceError
from device.handpiece.counters import Counters
from device.handpiece.framing import Framed, T


class FrameFramer(Generic[T]):
    """Frames of `size` bytes that begin with `header`; `decode` makes sense of a whole one or raises SentenceError."""

    def __init__(self, header: bytes, size: int, decode: Callable[[bytes], T], counters: Counters) -> None:
        self._header = header
        self._size = size
        self._decode = decode
        self._counters = counters
        self._buffer = bytearray()
        self._noisy = True

    def feed(self, data: bytes) -> list[Framed[T]]:
        """What the frames that `data` completes say, in order."""
        buffer = self._buffer
        buffer += data
        found: list[Framed[T]] = []
        while True:
            start = buffer.find(self._header)
            self._skip(start if start >= 0 else len(buffer) - self._possible_beginning())
            if len(buffer) < self._size or start < 0:
                return found
            frame = bytes(buffer[: self._size])
            try:
                if byte_sum(frame[:-1]) != frame[-1]:
                    raise SentenceError("checksum", f"{frame.hex(' ')} has the sum {byte_sum(frame[:-1]):02x}")
                item = self._decode(frame)
            except SentenceError as error:
                self._counters.rejects[error.reason] += 1
                self._skip(1)
                continue
            del buffer[: self._size]
            self._counters.sentences += 1
            found.append(Framed(item, self._noisy))
            self._noisy = False

    def _possible_beginning(self) -> int:
        """How many of the last bytes may be the beginning of a header."""
        return next((n for n in range(len(self._header) - 1, 0, -1) if self._buffer.endswith(self._header[:n])), 0)

    def _skip(self, length: int) -> None:
        if length:
            self._counters.noise_bytes += length
            self._noisy = True
            del self._buffer[:length]


def byte_sum(data: bytes) -> int:
    """The sum of the bytes modulo 256."""
    return sum(data) & 0xFF
