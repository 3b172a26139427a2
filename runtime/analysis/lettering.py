"""Text on a picture: Pillow's bundled font, with the µ and ² that it lacks set from its own letters."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]  # blue, green, red

_SUPERSCRIPT = 0.66  # size of a raised figure over that of the text
_STEM = 0.085  # thickness of an upright stroke over the size of the text


def text_width(text: str, size_px: int) -> int:
    """Width of `text` in px when its font is `size_px` high."""
    return int(np.ceil(sum(advance for _, _, advance in _runs(text, size_px))))


def write(picture: NDArray[np.uint8], x: int, y: int, text: str, size_px: int, colour: Colour) -> None:
    """Write `text` into `picture`, uint8 (height, width, 3) BGR, with the top left of its line at (x, y); clipped."""
    drawn = Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]))
    draw = ImageDraw.Draw(drawn)
    fill = colour[::-1]
    ascent = _font(size_px).getmetrics()[0]
    at = float(x)
    for run, font, advance in _runs(text, size_px):
        if run == "µ":
            left, top, _, bottom = font.getbbox("u")
            draw.text((at, y), "u", font=font, fill=fill)
            stem = max(1, round(_STEM * size_px))
            draw.rectangle((at + left, y + top, at + left + stem - 1, y + bottom + 0.22 * size_px), fill=fill)
        elif run == "²":
            draw.text((at, y + ascent - font.getmetrics()[0] - 0.32 * size_px), "2", font=font, fill=fill)
        else:
            draw.text((at, y), run, font=font, fill=fill)
        at += advance
    picture[:] = np.asarray(drawn)[:, :, ::-1]


def _runs(text: str, size_px: int) -> Iterator[tuple[str, ImageFont.FreeTypeFont, float]]:
    """The parts that are set in one go, each with its font and how far it moves the pen."""
    plain = _font(size_px)
    run = ""
    for letter in f"{text}\0":
        if letter not in "µ²\0":
            run += letter
            continue
        if run:
            yield run, plain, plain.getlength(run)
            run = ""
        if letter == "µ":
            yield letter, plain, plain.getlength("u")
        elif letter == "²":
            small = _font(round(_SUPERSCRIPT * size_px))
            yield letter, small, small.getlength("2")


@lru_cache(maxsize=16)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(max(size_px, 1))
    assert isinstance(font, ImageFont.FreeTypeFont)  # with a size, Pillow gives no bitmap font
    return font
