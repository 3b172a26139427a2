"""The pictures that a camera offers, and which of them to take for a wanted size and rate."""

from __future__ import annotations

import errno
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from device.errors import CameraModeError
from device.v4l2 import structs
from device.v4l2.kernel import Kernel

ENOUGH_FPS = 25.0  # below that a live picture jerks; uncompressed pictures are taken only where they come this fast
JPEG = frozenset({"MJPG", "JPEG"})
UNCOMPRESSED = "YUYV"
USABLE = JPEG | {UNCOMPRESSED}
MAX_LISTED = 64  # of formats, of sizes and of rates each: no camera has more, and a driver that never ends must not hold us


@dataclass(frozen=True)
class Rates:
    """Intervals between frames in seconds: a list, or everything from the shortest to the longest."""

    intervals: tuple[Fraction, ...]
    any_between: bool = False

    @property
    def fastest_fps(self) -> float:
        """Frames per second at the shortest interval; 0 where the driver tells none."""
        return float(1 / min(self.intervals)) if self.intervals else 0.0

    def interval_for(self, fps: float) -> Fraction | None:
        """The longest interval that still gives `fps` frames a second, else the shortest; None where the driver tells none."""
        if not self.intervals:
            return None
        wanted = 1 / Fraction(fps).limit_denominator(1000)
        if self.any_between:
            return min(max(wanted, min(self.intervals)), max(self.intervals))
        enough = [each for each in self.intervals if each <= wanted * Fraction(1001, 1000)]  # 333333/10⁷ s counts as 30 a second
        return max(enough) if enough else min(self.intervals)


@dataclass(frozen=True)
class Offer:
    """A format and size that a camera offers, with its rates. `format` is a four-character code."""

    format: str
    width: int
    height: int
    rates: Rates

    def __str__(self) -> str:
        fps = self.rates.fastest_fps
        return f"{self.format} {self.width}×{self.height}" + (f" up to {fps:g}/s" if fps else "")


@dataclass(frozen=True)
class Wish:
    """What is wanted of a camera. `exact`: this size and no other, because a person asked for it.

    Attributes:
        width, height: px; `fps` frames per second; `format` MJPG, YUYV, or None for the better of the two.
    """

    width: int
    height: int
    fps: float
    format: str | None = None
    exact: bool = False


def list_offers(kernel: Kernel, fd: int, wish: Wish | None = None) -> list[Offer]:
    """Every format and size of a camera; of one that offers any size within bounds, the smallest, the largest and the wished one.

    Raises:
        OSError: ENODEV, the camera is gone; that a camera lists none of something is no error.
    """
    return [
        Offer(name, width, height, _rates(kernel, fd, code, width, height))
        for code, name in _formats(kernel, fd)
        for width, height in _sizes(kernel, fd, code, wish)
    ]


def choose(name: str, offers: Sequence[Offer], wish: Wish) -> list[Offer]:
    """The offers of the best size, the best one first; the others are for a bus without room for it.

    Uncompressed pictures are the better ones where they come fast enough. A size that is not offered is replaced by the nearest unless it
    was asked for.

    Raises:
        CameraModeError: there is nothing usable, or not what was asked for; says what there is.
    """
    usable = [each for each in offers if each.format in USABLE]
    if not usable:
        what = ", ".join(sorted({each.format for each in offers})) or "no format at all"
        raise CameraModeError(f"{name} offers no picture that can be used ({what}; expected MJPG or YUYV): connect a UVC microscope")
    if wish.format is not None:
        formats = JPEG if wish.format in JPEG else {wish.format}
        usable = [each for each in usable if each.format in formats]
        if not usable:
            raise CameraModeError(f"{name} offers no {wish.format}, but {_listed(offers)}: leave format= out of its address")
    sizes = {(each.width, each.height) for each in usable}
    size = (wish.width, wish.height)
    if size not in sizes:
        if wish.exact:
            raise CameraModeError(
                f"{name} offers no {wish.width}×{wish.height}, but {_listed(usable)}: set width and height in its address"
            )
        size = min(sizes, key=lambda s: (_unlikeness(s, size), s))
    return sorted((each for each in usable if (each.width, each.height) == size), key=_rank)


def _rank(offer: Offer) -> tuple[int, float]:
    if offer.format == UNCOMPRESSED and offer.rates.fastest_fps >= ENOUGH_FPS:
        return 0, 0.0
    return (1 if offer.format in JPEG else 2), -offer.rates.fastest_fps


def _unlikeness(one: tuple[int, int], other: tuple[int, int]) -> float:
    """0 for the same size; sides count by their ratio."""
    return max(abs(math.log(one[0] / other[0])), abs(math.log(one[1] / other[1])))


def _listed(offers: Sequence[Offer]) -> str:
    shown = [str(each) for each in offers[:12]]
    return ", ".join(shown) + (f" and {len(offers) - len(shown)} more" if len(offers) > len(shown) else "")


def _formats(kernel: Kernel, fd: int) -> list[tuple[int, str]]:
    found = []
    for index in range(MAX_LISTED):
        described = structs.FormatDescription(index=index, type=structs.VIDEO_CAPTURE)
        if not _asked(kernel, fd, structs.ENUM_FMT, described):
            break
        found.append((int(described.pixelformat), structs.fourcc_name(described.pixelformat)))
    return found


def _sizes(kernel: Kernel, fd: int, code: int, wish: Wish | None) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for index in range(MAX_LISTED):
        size = structs.FrameSize(index=index, pixel_format=code)
        if not _asked(kernel, fd, structs.ENUM_FRAMESIZES, size):
            break
        values = [int(v) for v in size.size.values]
        if size.type == structs.DISCRETE:
            found.append((values[0], values[1]))
            continue
        low_w, high_w, step_w, low_h, high_h, step_h = values
        found += [(low_w, low_h), (high_w, high_h)]
        if wish is not None and _on_grid(wish.width, low_w, high_w, step_w) and _on_grid(wish.height, low_h, high_h, step_h):
            found.append((wish.width, wish.height))
        break  # the kernel's interface has only one entry of these types
    return [(w, h) for w, h in dict.fromkeys(found) if w > 0 and h > 0]


def _on_grid(value: int, low: int, high: int, step: int) -> bool:
    return low <= value <= high and (value - low) % max(1, step) == 0


def _rates(kernel: Kernel, fd: int, code: int, width: int, height: int) -> Rates:
    found: list[Fraction] = []
    for index in range(MAX_LISTED):
        entry = structs.FrameInterval(index=index, pixel_format=code, width=width, height=height)
        if not _asked(kernel, fd, structs.ENUM_FRAMEINTERVALS, entry):
            break
        if entry.type == structs.DISCRETE:
            found += _seconds(entry.intervals[0])
        else:
            return Rates(tuple(_seconds(entry.intervals[0]) + _seconds(entry.intervals[1])), any_between=True)
    return Rates(tuple(found))


def _seconds(fraction: structs.Fraction) -> list[Fraction]:
    """The interval, or nothing where the driver gives 0 or no fraction."""
    if not (fraction.numerator and fraction.denominator):
        return []
    return [Fraction(fraction.numerator, fraction.denominator)]


def _asked(kernel: Kernel, fd: int, request: int, argument: object) -> bool:
    """Whether there was an answer; an end of the list, or a driver that does not know the question, is none."""
    try:
        kernel.ioctl(fd, request, argument)
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise
        return False
    return True
