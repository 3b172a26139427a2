"""Which of the pictures that come over USB are handed on: damaged ones are dropped and counted, gaps counted, standstill noticed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields

from device.jpeg import JpegFlaw, jpeg_flaw
from device.v4l2.stream import RawPicture

ZERO_RUN = bytes(1024)  # 512 pixels of luminance 0 and extreme colour: no camera sends that, a lost USB packet leaves it
# a JPEG of one plain colour, about 20 bits a block of 128 px and 700 bytes of tables, is the same each time with nothing being frozen
PLAIN_BITS_PER_PIXEL, PLAIN_BYTES = 0.25, 1024
HALF_TURN, TURN = 2**31, 2**32  # of the driver's 32-bit sequence


@dataclass(frozen=True)
class FrameCounts:
    """What came of the pictures of one stream.

    Attributes:
        good: handed on. All others but `gaps` were dropped.
        error_flag: flagged by the driver as damaged.
        short, no_start, header, torn, zeroed, no_end: found damaged by a look at the bytes, see `device.jpeg.jpeg_flaw`.
        repeated: their sequence was not above that of the picture before.
        gaps: pictures that never came, by the driver's sequence.
    """

    good: int = 0
    error_flag: int = 0
    short: int = 0
    no_start: int = 0
    header: int = 0
    torn: int = 0
    zeroed: int = 0
    no_end: int = 0
    repeated: int = 0
    gaps: int = 0

    @property
    def dropped(self) -> int:
        """Pictures that came and were not handed on."""
        return sum(int(getattr(self, each.name)) for each in fields(self)) - self.good - self.gaps

    def since(self, before: FrameCounts) -> str:
        """What was dropped after `before`, such as "12 zeroed, 3 no end"; "" for nothing."""
        grown = {each.name: getattr(self, each.name) - getattr(before, each.name) for each in fields(self)}
        return ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in grown.items() if n and name not in ("good", "gaps"))


class Sieve:
    """Judges the pictures of one stream, in order. `counts` may be asked by any thread, the rest is for the one that reads."""

    def __init__(self, *, is_jpeg: bool, bytes_expected: int, pixels: int = 0) -> None:
        """`bytes_expected` of an uncompressed picture, `pixels` of any."""
        self._is_jpeg = is_jpeg
        self._bytes_expected = bytes_expected
        self._plain_bytes = PLAIN_BYTES + pixels * PLAIN_BITS_PER_PIXEL / 8
        self._counter: Counter[str] = Counter()
        self._last_raw: int | None = None
        self._sequence = 0
        self._last_data = b""
        self._same_since_ns: int | None = None
        self.counts = FrameCounts()

    def pass_on(self, picture: RawPicture, now_ns: int) -> int | None:
        """The sequence of a picture that is fit to be handed on, without the driver's turn-over; None of one to be dropped."""
        step = 1 if self._last_raw is None else (picture.sequence - self._last_raw) % TURN
        if step == 0 or step >= HALF_TURN:
            self._drop("repeated")
            return None
        first = self._last_raw is None
        self._sequence = picture.sequence if first else self._sequence + step
        self._last_raw = picture.sequence
        self._counter["gaps"] += step - 1
        if picture.flawed:
            self._drop("error_flag")
            return None
        flaw = jpeg_flaw(picture.data) if self._is_jpeg else self._raw_flaw(picture.data)
        if flaw is not None:
            self._drop(flaw)
            return None
        if self._moves(picture.data):
            self._same_since_ns = None
        elif self._same_since_ns is None:
            self._same_since_ns = now_ns
        self._last_data = picture.data
        self._counter["good"] += 1
        self.counts = FrameCounts(**self._counter)
        return self._sequence

    def same_for_ns(self, now_ns: int) -> int:
        """How long every picture has been the same, byte by byte, in ns."""
        return 0 if self._same_since_ns is None else now_ns - self._same_since_ns

    def _moves(self, data: bytes) -> bool:
        """Whether the picture is another than the last, as any two of a living sensor are, or so plain that it says nothing."""
        if data != self._last_data:
            return True
        return len(data) < self._plain_bytes if self._is_jpeg else len(set(data[:: max(1, len(data) // 1000) | 1])) < 8

    def _raw_flaw(self, data: bytes) -> JpegFlaw | None:
        if len(data) < self._bytes_expected:
            return "short"
        return "zeroed" if ZERO_RUN in data else None

    def _drop(self, why: str) -> None:
        self._counter[why] += 1
        self.counts = FrameCounts(**self._counter)
