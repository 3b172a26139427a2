"""The picture that a client is shown: each measured hair in its own colour, its widths, the follicles, a scale and the counts.

Everything is drawn from the measurement; no number on the picture was had in another way. Strokes and letters grow with
the picture, so that a thumbnail and a full frame read alike.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.lettering import Colour, text_width, write
from runtime.analysis.measurement import Follicle, Hair, Measurement

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

TICK_SPACING_PX = 28  # along the hair, in a picture of _REFERENCE_PX

_REFERENCE_PX = 480  # shorter side of the picture for which the strokes are given
_SUBPIXEL_BITS = 5
_GOLDEN_RATIO = 0.6180339887  # successive colours lie far apart and never fall together
# blue, green, red round the circle of hues without the reds and browns of skin, in which a hair would sink
_COLOURS = np.array(
    [
        (126, 92, 251),
        (182, 114, 244),
        (245, 91, 226),
        (255, 116, 165),
        (255, 131, 124),
        (255, 155, 76),
        (248, 193, 47),
        (196, 217, 42),
        (128, 217, 52),
        (74, 224, 107),
        (46, 234, 178),
        (58, 224, 255),
    ],
    np.float64,
)
_RIBBON = 0.42  # opacity of the colour laid over a hair's measured width
_PANEL = 0.68  # opacity of the panels behind letters
_WHITE: Colour = (255, 255, 255)
_INK: Colour = (28, 22, 20)
_BARS_UM = (5000, 2000, 1000, 500, 200, 100, 50, 20, 10)
_BARS_PX = (500, 200, 100, 50, 20, 10)
_BAR_SHARE = 0.28  # of the picture's width, at most


def draw_overlay(image: Picture, measurement: Measurement) -> Picture:
    """`image`, uint8 (height, width, 3) BGR, with `measurement` of it drawn on a copy.

    Drawn are, from below: a ribbon of each hair's colour as wide as the hair was measured; its centre line; ticks across
    it, as long as the width measured there, at regular spacing; a ring about each follicle, broken where it is empty; the
    usable field's outline where one is known; a scale bar (in px where there is no scale); counts, density and median
    diameter. The input is left as it was.

    Raises:
        ValueError: the picture is not uint8 (height, width, 3), or has another size than the one measured.
    """
    expected = (measurement.height_px, measurement.width_px, 3)
    if image.dtype != np.uint8 or image.shape != expected:
        raise ValueError(f"overlay: picture is {image.dtype} {image.shape}, the measurement is of uint8 {expected}")
    stroke = min(image.shape[:2]) / _REFERENCE_PX
    canvas: Picture = np.array(image, order="C")
    courses = [(hair, _course(hair, image.shape)) for hair in measurement.hairs]
    _ribbons(canvas, courses)
    for hair, course in courses:
        _hair(canvas, course, hair_colour(hair.id), stroke)
    if measurement.field:
        outline = _fixed(np.asarray(measurement.field, np.float64))
        cv2.polylines(canvas, [outline], True, _WHITE, _px(stroke), cv2.LINE_AA, _SUBPIXEL_BITS)
    for follicle in measurement.follicles:
        _follicle(canvas, follicle, stroke)
    bar_width = _scale_bar(canvas, measurement, stroke)
    _caption(canvas, measurement, stroke, image.shape[1] - bar_width)
    return canvas


def hair_colour(hair_id: int) -> Colour:
    """The colour of a hair, blue, green, red: bright, told apart from those of its neighbours in number, unlike skin."""
    at = hair_id * _GOLDEN_RATIO % 1 * (len(_COLOURS) - 1)
    blue, green, red = (round(float(np.interp(at, np.arange(len(_COLOURS)), channel))) for channel in _COLOURS.T)
    return blue, green, red


def caption_parts(measurement: Measurement) -> list[str]:
    """What the caption says, part by part, the most important first."""
    parts = [_counted(measurement.hair_count, "hair")]
    follicles = _counted(measurement.follicle_count, "follicle")
    parts.append(follicles + (f", {measurement.empty_follicle_count} empty" if measurement.empty_follicle_count else ""))
    density = measurement.density_per_cm2
    if density is not None:
        spread = "" if density.std_frame is None else f" ± {density.std_frame:.0f}"
        parts.append(f"{density.value:.0f}{spread} hairs/cm²")
    in_um = measurement.diameter_um
    if in_um is not None and in_um.median is not None:
        parts.append(f"median {in_um.median:.0f} µm")
    elif measurement.diameter_px.median is not None:
        parts.append(f"median {measurement.diameter_px.median:.1f} px")
    return parts


def scale_bar(measurement: Measurement) -> tuple[float, str] | None:
    """Length in px and label of the scale bar, a round length of at most `_BAR_SHARE` of the width; None if none fits."""
    room = _BAR_SHARE * measurement.width_px
    um_per_px = measurement.scale.um_per_px
    if um_per_px is None:
        fitting = [length for length in _BARS_PX if length <= room]
        return (fitting[0], f"{fitting[0]} px, no scale") if fitting else None
    fitting = [length for length in _BARS_UM if length / um_per_px <= room]
    if not fitting:
        return None
    length = fitting[0]
    return length / um_per_px, f"{length // 1000} mm" if length >= 1000 else f"{length} µm"


def _counted(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _px(size: float) -> int:
    return max(1, round(size))


def _fixed(points: Floats) -> NDArray[np.int32]:
    """Points (…, 2) as OpenCV's fixed-point coordinates."""
    return np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _course(hair: Hair, shape: tuple[int, ...]) -> Floats:
    """The hair's points, float64 (n, 3): x, y, diameter in px or NaN; no farther out than a picture's size."""
    course = np.array([(x, y, np.nan if d is None else d) for x, y, d in hair.points], np.float64).reshape(-1, 3)
    size = max(shape[:2])
    course[:, :2] = course[:, :2].clip(-size, 2 * size)
    course[:, 2] = course[:, 2].clip(0, size)
    return course


def _normals(points: Floats) -> Floats:
    """Unit vectors across a course of at least two points, float64 (n, 2)."""
    tangent = np.gradient(points, axis=0)
    length = np.hypot(tangent[:, 0], tangent[:, 1])
    tangent /= np.where(length > 0, length, 1)[:, None]
    return np.column_stack((-tangent[:, 1], tangent[:, 0]))


def _ribbons(canvas: Picture, courses: Iterable[tuple[Hair, Floats]]) -> None:
    """Lay each hair's colour over its measured width; bridge, with the neighbouring widths, where none was had."""
    tinted = canvas.copy()
    for hair, course in courses:
        known = np.flatnonzero(np.isfinite(course[:, 2]))
        if len(course) < 2 or not len(known):
            continue
        points = course[:, :2]
        half = np.interp(np.arange(len(course)), known, course[known, 2])[:, None] / 2
        across = _normals(points) * half
        outline = np.concatenate((points + across, (points - across)[::-1]))
        cv2.fillPoly(tinted, [_fixed(outline)], hair_colour(hair.id), cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.addWeighted(tinted, _RIBBON, canvas, 1 - _RIBBON, 0, dst=canvas)


def _hair(canvas: Picture, course: Floats, colour: Colour, stroke: float) -> None:
    """Centre line and ticks of one hair."""
    if len(course) < 2:
        return
    points = course[:, :2]
    ticks = _ticks(course, max(TICK_SPACING_PX * stroke, 14))
    cv2.polylines(canvas, list(_fixed(ticks)), False, _WHITE, _px(stroke), cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.polylines(canvas, [_fixed(points)], False, colour, _px(1.6 * stroke), cv2.LINE_AA, _SUBPIXEL_BITS)


def _ticks(course: Floats, spacing: float) -> Floats:
    """Ticks of the measured width across a course (n, 3), about every `spacing` px: float64 (m, 2, 2), two ends each."""
    along = np.concatenate(([0.0], np.hypot(*np.diff(course[:, :2], axis=0).T).cumsum()))
    wanted = np.arange(spacing / 2, along[-1], spacing)
    nearest = np.unique(np.abs(along[:, None] - wanted).argmin(axis=0)) if len(wanted) else np.empty(0, np.intp)
    nearest = nearest[np.isfinite(course[nearest, 2])]
    across = _normals(course[:, :2])[nearest] * course[nearest, 2:] / 2
    return np.stack((course[nearest, :2] - across, course[nearest, :2] + across), axis=1)


def _follicle(canvas: Picture, follicle: Follicle, stroke: float) -> None:
    """A ring about an ostium: whole where hair grows from it, broken where it is empty."""
    size = max(canvas.shape[:2])
    if not (-size < follicle.x < 2 * size and -size < follicle.y < 2 * size):
        return
    x, y = _fixed(np.array([follicle.x, follicle.y])).tolist()
    radius = round(max(9 * stroke, 4) * (1 << _SUBPIXEL_BITS))
    arcs = [(0, 360)] if follicle.hair_ids else [(start, start + 24) for start in range(0, 360, 60)]
    for colour, thickness in ((_INK, _px(3.4 * stroke)), (_WHITE, _px(1.6 * stroke))):
        for start, end in arcs:
            cv2.ellipse(canvas, (x, y), (radius, radius), 0, start, end, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _panel(canvas: Picture, left: int, top: int, right: int, bottom: int) -> Picture:
    """Darken a rectangle for letters to stand on, and give it as a view."""
    view = canvas[max(top, 0) : bottom, max(left, 0) : right]
    ink = np.empty_like(view)
    ink[:] = _INK
    cv2.addWeighted(ink, _PANEL, view, 1 - _PANEL, 0, dst=view)
    return view


def _letters(stroke: float) -> tuple[int, int, int]:
    """Size of the letters, inner padding and distance from the border, px."""
    return max(9, round(13 * stroke)), max(3, round(6 * stroke)), max(2, round(10 * stroke))


def _scale_bar(canvas: Picture, measurement: Measurement, stroke: float) -> int:
    """Draw the scale bar at the bottom right; how much of the width it takes, px."""
    bar = scale_bar(measurement)
    size, padding, margin = _letters(stroke)
    if bar is None:
        return margin
    length, label = bar
    height, width = canvas.shape[:2]
    inner = max(round(length), text_width(label, size))
    thickness = max(2, round(3 * stroke))
    left, top = width - margin - inner - 2 * padding, height - margin - size - thickness - round(2.6 * padding)
    if left < 0 or top < 0:
        return margin
    view = _panel(canvas, left, top, width - margin, height - margin)
    x, y = padding + (inner - length) / 2, view.shape[0] - padding - thickness
    ends = _fixed(np.array([[x, y], [x + length, y + thickness]]) - 0.5)
    cv2.rectangle(view, ends[0].tolist(), ends[1].tolist(), _WHITE, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
    write(view, padding + (inner - text_width(label, size)) // 2, round(0.6 * padding), label, size, _WHITE)
    return int(width - left)


def _caption(canvas: Picture, measurement: Measurement, stroke: float, room: int) -> None:
    """Write the counts at the bottom left, in as many lines as it takes, the least important left out if need be."""
    size, padding, margin = _letters(stroke)
    room -= 2 * (margin + padding)
    lines: list[str] = []
    for part in caption_parts(measurement):
        joined = f"{lines[-1]}  ·  {part}" if lines else part
        if lines and text_width(joined, size) <= room:
            lines[-1] = joined
        elif text_width(part, size) <= room:
            lines.append(part)
    pitch = round(1.3 * size)
    lines = lines[: max(1, canvas.shape[0] // (3 * pitch))]
    if not lines:
        return
    height = canvas.shape[0]
    right = margin + 2 * padding + max(text_width(line, size) for line in lines)
    view = _panel(canvas, margin, height - margin - 2 * padding - pitch * len(lines), right, height - margin)
    for i, line in enumerate(lines):
        write(view, padding, padding + i * pitch, line, size, _WHITE)
