"""A target as a sheet to print: true scale, vector where the file can be, with a ruler that tells whether the printer kept the scale.

Millimetres on the page, x right and y down from its upper left corner. The same target and size give the same bytes: no date is written.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from calib.drawing import Disc, Drawing, Polygon, draw_target, flat_picture, rectangle
from calib.errors import TargetError
from calib.targets import Charuco, HoodRing, Micrometer, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.path import Path as MplPath

SheetKind = Literal["pdf", "svg", "png"]

NAMED_MM = {"a4": (210.0, 297.0), "a5": (148.0, 210.0), "card": (85.6, 54.0)}  # card: ISO/IEC 7810 ID-1
DEFAULT_PITCHES = (60, 45)  # of a grid when nobody says a size: more than a frame of 640×480 px shows
MOST_PITCHES = 200  # of a very fine one
DEFAULT_LINES = 105  # of a ruled line: a hundred divisions
DEFAULT_MM = (6.0, 120.0)  # but a grid's sides stay within these
MARGIN_MM = 5.0  # that office printers leave white
FOOT_MM = 19.0  # of the page, for ruler and text
RULERS_MM = (50, 20)
DEFAULT_PAGE_MM, LEAST_PAGE_MM = 62.0, 45.0  # wide enough for the long ruler, for the text
TICKS_MM = {10: 3.0, 5: 2.2, 1: 1.4}  # how high every n-th millimetre's stroke stands
STROKE_MM = 0.12
POINTS, SMALL_POINTS = 6.0, 5.0  # size of the text
LETTER_MM = 1.4  # of the bold text, about
CUT_GREY = "0.6"  # of the line along which a hood ring's opening is cut out
MAX_SIDE_MM = 1000.0
MAX_SHAPES = 60_000
MAX_PIXELS = 40_000_000  # of a PNG
LEAST_PITCH_PX = 4.0
SHAPES_A_PATH = 2000  # matplotlib's rasteriser has a limit on what one path may hold
MM_PER_INCH = 25.4
ROUND = 0.5522847498  # control points of a circle by four cubic curves; its radius errs by 0.03 % at most


@dataclass(frozen=True)
class Sheet:
    """A page with a target.

    Attributes:
        width_mm, height_mm: of the page.
        middle_mm: where the middle of the drawing lies on it.
        ruler_mm: length of the check ruler at its foot; 0 for a bare page, which has no text either.
    """

    target: Target
    drawing: Drawing
    width_mm: float
    height_mm: float
    middle_mm: tuple[float, float]
    ruler_mm: int = 0


def parse_sheet(text: str) -> tuple[float, float]:
    """(width, height) in mm from "60x40", "a4", "a5" or "card". Raises TargetError where it is no size of a sheet."""
    if (named := NAMED_MM.get(text.strip().lower())) is not None:
        return named
    match = re.fullmatch(r"([0-9.]{1,8})[x×]([0-9.]{1,8})(?:mm)?", text.strip().lower())
    try:
        width, height = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    except ValueError:
        width, height = 0.0, 0.0
    if not (0 < width <= MAX_SIDE_MM and 0 < height <= MAX_SIDE_MM):
        raise TargetError(f"sheet {text!r} is no size: write WIDTHxHEIGHT in mm, for example 60x40, or {', '.join(NAMED_MM)}")
    return width, height


def lay_out(target: Target, size_mm: tuple[float, float] | None = None, *, bare: bool = False) -> Sheet:
    """The target on a page of `size_mm`, as many squares, dots or lines as fit; on one of its own size where that is None.

    A bare page holds the target alone, without margins, ruler and text, and is as large as its drawing.

    Raises:
        TargetError: the target does not fit, there is no room for a ruler, or so much fits that no printer would take it.
    """
    frame_x, frame_y = (0.0, 0.0) if bare else (2 * MARGIN_MM, 2 * MARGIN_MM + FOOT_MM)
    width, height = _default_mm(target) if size_mm is None else (size_mm[0] - frame_x, size_mm[1] - frame_y)
    if not isinstance(target, (Charuco, HoodRing)):  # which are as large as they are
        least, shapes = 4 * target.pitch_mm, width * height / target.pitch_mm**2
        if min(width, height) < least:
            raise TargetError(f"{target}: no room for it on this sheet: give at least {least + frame_x:g}x{least + frame_y:g} mm")
        if shapes > MAX_SHAPES and not isinstance(target, Micrometer):
            raise TargetError(f"{target}: {shapes:,.0f} of them on one sheet, more than {MAX_SHAPES:,} print badly: give a smaller sheet")
    drawing = draw_target(target, width, height)
    if bare:
        return Sheet(target, drawing, drawing.width_mm, drawing.height_mm, (drawing.width_mm / 2, drawing.height_mm / 2))
    page = size_mm
    if page is None:
        page = max(drawing.width_mm + frame_x, DEFAULT_PAGE_MM), drawing.height_mm + frame_y
    if drawing.width_mm + frame_x > page[0] + 1e-6 or drawing.height_mm + frame_y > page[1] + 1e-6:
        needed = f"{drawing.width_mm + frame_x:.1f}x{drawing.height_mm + frame_y:.1f}"
        raise TargetError(f"{target}: larger than a sheet of {page[0]:g}x{page[1]:g} mm: give at least {needed} mm")
    if page[0] < LEAST_PAGE_MM:
        raise TargetError(f"a sheet {page[0]:g} mm wide has no room for a ruler: give {LEAST_PAGE_MM:g} mm at least, or take a bare one")
    ruler = next(length for length in RULERS_MM if length + 2 * MARGIN_MM <= page[0])
    return Sheet(target, drawing, *page, (page[0] / 2, (page[1] - FOOT_MM) / 2), ruler)


def sheet_bytes(sheet: Sheet, kind: SheetKind, program: str, dpi: float = 2400.0) -> bytes:
    """The sheet as a file: PDF in points, SVG in mm, both vector; PNG at `dpi`, which its header tells. `program` stands in the foot.

    Of a bare sheet the PNG is `calib.drawing.flat_picture`, each pixel the average over its area, clear where a hood ring is open.

    Raises:
        TargetError: `dpi` too coarse for the target's pitch, or so fine that the picture would be too large.
    """
    if kind == "png":
        _check_dpi(sheet, dpi)
    if kind == "png" and not sheet.ruler_mm:
        return _bare_png(sheet.drawing, dpi)
    import matplotlib

    form: dict[SheetKind, dict[str, Any]] = {
        "pdf": {"metadata": {"Creator": program, "Producer": None, "CreationDate": None, "Title": str(sheet.target)}},
        "svg": {"metadata": {"Creator": program, "Date": None, "Title": str(sheet.target)}},
        "png": {"metadata": {"Software": program}, "dpi": dpi},
    }
    data = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "trichoscope", "pdf.fonttype": 42}):
        _figure(sheet, program).savefig(data, format=kind, **form[kind])
    return _in_millimetres(data.getvalue(), sheet) if kind == "svg" else data.getvalue()


def _default_mm(target: Target) -> tuple[float, float]:
    if isinstance(target, Micrometer):
        return DEFAULT_LINES * target.pitch_mm, 24 * target.pitch_mm
    if isinstance(target, (Charuco, HoodRing)):
        return 0.0, 0.0
    pitch, (least, most) = target.pitch_mm, DEFAULT_MM
    least = min(least, MOST_PITCHES * pitch)
    width, height = (min(max(n * pitch, least), most) for n in DEFAULT_PITCHES)
    return max(width, 8 * pitch), max(height, 8 * pitch)


def _check_dpi(sheet: Sheet, dpi: float) -> None:
    pixels = sheet.width_mm * sheet.height_mm * (dpi / MM_PER_INCH) ** 2
    if pixels > MAX_PIXELS:
        most = (MAX_PIXELS / (sheet.width_mm * sheet.height_mm)) ** 0.5 * MM_PER_INCH
        raise TargetError(
            f"{sheet.width_mm:.1f}x{sheet.height_mm:.1f} mm at {dpi:g} dpi are {pixels / 1e6:.0f} megapixels, more than "
            f"{MAX_PIXELS / 1e6:g}: give a smaller sheet, at most {most:.0f} dpi, or write PDF or SVG"
        )
    if not isinstance(sheet.target, HoodRing) and (pitch := sheet.target.pitch_mm * dpi / MM_PER_INCH) < LEAST_PITCH_PX:
        least = LEAST_PITCH_PX / sheet.target.pitch_mm * MM_PER_INCH
        raise TargetError(f"{sheet.target}: its pitch is {pitch:.1f} px at {dpi:g} dpi: give {least:.0f} dpi at least, or write PDF or SVG")


def _bare_png(drawing: Drawing, dpi: float) -> bytes:
    from PIL import Image

    grey = np.rint(flat_picture(drawing, 1000 * MM_PER_INCH / dpi) * 255).astype(np.uint8)
    picture = Image.fromarray(grey)
    if drawing.hole_mm:
        height, width = grey.shape
        y, x = np.ogrid[:height, :width]
        radius = np.hypot(x - (width - 1) / 2, y - (height - 1) / 2)
        solid = np.clip(radius - drawing.hole_mm / 2 * dpi / MM_PER_INCH + 0.5, 0, 1)
        picture = Image.merge("LA", (picture, Image.fromarray(np.rint(solid * 255).astype(np.uint8))))
    data = io.BytesIO()
    picture.save(data, format="PNG", dpi=(dpi, dpi))
    return data.getvalue()


def _figure(sheet: Sheet, program: str) -> Figure:
    """The page as a figure of exactly its size, with one axis in mm over all of it."""
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    figure = Figure(figsize=(sheet.width_mm / MM_PER_INCH, sheet.height_mm / MM_PER_INCH))
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    axes.set(xlim=(0, sheet.width_mm), ylim=(sheet.height_mm, 0))
    axes.set_axis_off()
    paths, levels = [], []
    for level, shapes in _runs(sheet.drawing.shapes):
        paths.append(_path(shapes, sheet.middle_mm))
        levels.append(str(level))
    # snapping to pixels would move edges, and an outline would widen what is black
    axes.add_collection(PathCollection(paths, facecolors=levels, edgecolors="none", linewidths=0, snap=False), autolim=False)
    if sheet.drawing.hole_mm:
        axes.add_patch(Circle(sheet.middle_mm, sheet.drawing.hole_mm / 2, fill=False, edgecolor=CUT_GREY, linewidth=0.25, linestyle=":"))
    if sheet.ruler_mm:
        _draw_foot(axes, sheet, program)
    return figure


def _draw_foot(axes: Any, sheet: Sheet, program: str) -> None:
    """Ruler and text at the foot of the page."""
    from matplotlib.collections import PathCollection

    left, base = MARGIN_MM, sheet.height_mm - MARGIN_MM - 8.2
    strokes = [rectangle(left, base - STROKE_MM, sheet.ruler_mm, STROKE_MM)]
    for mm in range(sheet.ruler_mm + 1):
        height = next(height for step, height in TICKS_MM.items() if mm % step == 0)
        # strokes stand in the middle of their millimetre, but for the two at the ends: the line is so long from end to end
        at = min(max(mm - STROKE_MM / 2, 0), sheet.ruler_mm - STROKE_MM)
        strokes.append(rectangle(left + at, base - height, STROKE_MM, height))
    axes.add_collection(
        PathCollection([_path(strokes, (0.0, 0.0))], facecolors="black", edgecolors="none", linewidths=0, snap=False), autolim=False
    )
    plain = {"family": "DejaVu Sans", "va": "baseline", "parse_math": False, "fontsize": POINTS}
    small = plain | {"fontsize": SMALL_POINTS}
    for mm in range(0, sheet.ruler_mm + 1, 10):
        axes.text(left + mm, base - TICKS_MM[10] - 0.5, f"{mm // 10}", ha="center", **small)
    axes.text(left, base + 2.6, f"this line is {sheet.ruler_mm} mm: measure it;", **plain)
    axes.text(left, base + 5.2, "print at 100 %, not 'fit to page'", **plain)
    axes.text(left, base + 7.9, program, **small)
    room = (sheet.width_mm - 2 * MARGIN_MM) / (len(str(sheet.target)) * LETTER_MM)
    axes.text(left, base - 6.7, str(sheet.target), weight="bold", **(plain | {"fontsize": POINTS * min(1.0, room)}))


def _runs(shapes: Sequence[Polygon | Disc]) -> Iterator[tuple[float, list[Polygon | Disc]]]:
    """Successive shapes of one level, which are painted as one: between shapes that touch no seam can show."""
    start = 0
    for i in range(1, len(shapes) + 1):
        if i == len(shapes) or shapes[i].level != shapes[start].level or i - start == SHAPES_A_PATH:
            yield shapes[start].level, list(shapes[start:i])
            start = i


def _path(shapes: Sequence[Polygon | Disc], shift_mm: tuple[float, float]) -> MplPath:
    """One path with all shapes, moved by `shift_mm`."""
    from matplotlib.path import Path as MplPath

    x, y = np.cos(np.arange(5) * np.pi / 2), np.sin(np.arange(5) * np.pi / 2)
    forward = np.stack([x[:-1] - ROUND * y[:-1], y[:-1] + ROUND * x[:-1]], 1)
    back = np.stack([x[1:] + ROUND * y[1:], y[1:] - ROUND * x[1:]], 1)
    curves = np.stack([forward, back, np.stack([x[1:], y[1:]], 1)], 1).reshape(-1, 2)
    circle = np.concatenate([[[1.0, 0.0]], curves, [[1.0, 0.0]]])
    circle_codes = [MplPath.MOVETO] + [MplPath.CURVE4] * 12 + [MplPath.CLOSEPOLY]
    vertices: list[Any] = []
    codes: list[Any] = []
    for shape in shapes:
        if isinstance(shape, Disc):
            vertices.append(circle * shape.radius_mm + (shape.x_mm, shape.y_mm))
            codes.append(circle_codes)
        else:
            vertices.append([*shape.points_mm, shape.points_mm[0]])
            codes.append([MplPath.MOVETO] + [MplPath.LINETO] * (len(shape.points_mm) - 1) + [MplPath.CLOSEPOLY])
    return MplPath(np.concatenate(vertices) + shift_mm, np.concatenate(codes).astype(np.uint8))


def _in_millimetres(svg: bytes, sheet: Sheet) -> bytes:
    """The SVG with its size in mm: matplotlib writes points, which some programs take for pixels."""
    size = f'width="{sheet.width_mm:g}mm" height="{sheet.height_mm:g}mm"'.encode()
    changed, found = re.subn(rb'width="[0-9.]+pt" height="[0-9.]+pt"', size, svg, count=1)
    if not found:
        raise RuntimeError("matplotlib's SVG states no size in points: its version is too new for this program")
    return changed
