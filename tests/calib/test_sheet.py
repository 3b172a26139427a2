"""Printed targets: their true scale, read back from the bytes of each kind of file."""

import io
import re
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from calib.drawing import Disc, Drawing, rectangle
from calib.errors import TargetError
from calib.sheet import FOOT_MM, MARGIN_MM, Sheet, lay_out, parse_sheet, sheet_bytes
from calib.targets import HoodRing, parse_target


@pytest.fixture(scope="module", autouse=True)
def fonts():
    """Matplotlib keeps the files of its fonts open for good: the first text of all tests opens them before any of them is watched."""
    sheet_bytes(lay_out(parse_target("dots:1")), "pdf", PROGRAM)


PROGRAM = "trichoscope 9.9"
BOARD = "charuco:6x5,2,1.5,DICT_4X4_50"
NUMBER = r"-?[0-9.]+"


def shapes_of_pdf(data):
    """(page in mm, closed shapes of straight lines as arrays of points in mm from the page's upper left corner)."""
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([0-9.]+) ([0-9.]+) \]", data)
    width, height = (float(side) / 72 * 25.4 for side in box)
    pages = []
    for found in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", data, re.S):
        try:
            pages.append(zlib.decompress(found[1]).decode("latin-1"))
        except zlib.error:
            continue
    page = max((text for text in pages if re.search(r" m\n", text)), key=lambda text: text.count(" m\n"))
    polygons = re.findall(rf"(?:{NUMBER} {NUMBER} [ml]\n){{3,}}h", page)
    shapes = [np.array([[float(v) for v in line.split()[:2]] for line in polygon.split("\n")[:-1]]) for polygon in polygons]
    return (width, height), [np.column_stack([s[:, 0] / 72 * 25.4, height - s[:, 1] / 72 * 25.4]) for s in shapes]


def shapes_of_svg(data):
    """The same from an SVG."""
    text = data.decode()
    size = re.search(r'<svg [^>]*width="([0-9.]+)mm" height="([0-9.]+)mm" viewBox="0 0 ([0-9.]+) ([0-9.]+)"', text)
    width, height, across, down = map(float, size.groups())
    assert across / width == pytest.approx(down / height, rel=1e-6)  # else the picture would be fitted into the page
    shapes = []
    for path in re.findall(r'<path d="([^"]+)"', text):
        for polygon in re.findall(r"((?:[ML] [-0-9. ]+\s)+)z", path):
            shapes.append(
                np.array([[float(v) for v in point.split()] for point in re.findall(r"[ML] ([-0-9. ]+)", polygon)]) * width / across
            )
    return (width, height), shapes


READERS = {"pdf": shapes_of_pdf, "svg": shapes_of_svg}


def boxes(shapes):
    """(left, top, width, height) of each shape, float64 (n, 4)."""
    return np.array([[*s.min(0), *np.ptp(s, axis=0)] for s in shapes])


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_a_board_is_of_its_true_size_in_its_place_with_a_true_ruler(kind):
    sheet = lay_out(parse_target(BOARD), (80.0, 70.0))
    page, shapes = READERS[kind](sheet_bytes(sheet, kind, PROGRAM))
    assert page == pytest.approx((80, 70), abs=1e-4)
    box = boxes(shapes)
    squares = box[np.all(np.abs(box[:, 2:] - 2.0) < 1e-4, axis=1)]
    expected = [(34 + 2 * i, 20.5 + 2 * j) for j in range(5) for i in range(6) if (i + j) % 2 == 0]
    assert sorted(map(tuple, np.round(squares[:, :2], 3))) == sorted(expected)
    assert np.sum(np.all(np.abs(box[:, 2:] - 1.5) < 1e-4, axis=1)) == 15  # the markers
    (ruler,) = box[np.abs(box[:, 2] - 50.0) < 1e-4]
    strokes = box[(np.abs(box[:, 3] - 3.0) < 1e-4) & (box[:, 2] < 0.2)]
    assert len(strokes) == 6 and ruler[0] == pytest.approx(MARGIN_MM, abs=1e-4)
    np.testing.assert_allclose(np.diff(np.sort(strokes[:, 0] + strokes[:, 2] / 2))[1:-1], 10, atol=1e-4)
    assert strokes[:, 0].min() == pytest.approx(ruler[0], abs=1e-4)
    assert np.max(strokes[:, 0] + strokes[:, 2]) == pytest.approx(ruler[0] + 50, abs=1e-4)


def test_a_dot_of_a_file_is_as_wide_as_the_drawing_says():
    drawing = Drawing(10, 10, (Disc(1.0, -2.0, 0.25),))
    data = sheet_bytes(Sheet(parse_target("dots:1"), drawing, 10, 10, (5, 5)), "svg", PROGRAM).decode()
    path = max(re.findall(r'<path d="([^"]+)"', data), key=lambda d: d.count("C"))
    points = np.array([[float(v) for v in c.split()[-2:]] for c in re.findall(r"[MC] ([-0-9. \n]+)", path)]) / 72 * 25.4
    np.testing.assert_allclose(points.min(0), [5.75, 2.75], atol=1e-4)
    np.testing.assert_allclose(points.max(0), [6.25, 3.25], atol=1e-4)


def grey_and_mm_per_px(data):
    """The PNG's grey levels, and its scale by its own header."""
    with Image.open(io.BytesIO(data)) as picture:
        dpi = picture.info["dpi"]
        assert dpi[0] == dpi[1]
        return np.asarray(picture.convert("L")), 25.4 / dpi[0]


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("dpi", [600.0, 1270.0])
def test_dots_of_a_png_lie_at_their_pitch(dpi, bare):
    sheet = lay_out(parse_target("dots:0.7"), (16.0, 13.0) if bare else (66.0, 42.0), bare=bare)
    grey, mm_per_px = grey_and_mm_per_px(sheet_bytes(sheet, "png", PROGRAM, dpi))
    assert mm_per_px == pytest.approx(25.4 / dpi, rel=1e-5)
    if not bare:
        grey = grey[: round((42 - FOOT_MM - MARGIN_MM) / mm_per_px)]  # without ruler and text
    count, labels = cv2.connectedComponents((grey < 250).astype(np.uint8))
    drawn = np.array([(d.y_mm, d.x_mm) for d in sheet.drawing.shapes])
    assert count - 1 == len(drawn)
    middles = np.array(ndimage.center_of_mass(255.0 - grey, labels, range(1, count))) * mm_per_px
    order, found = np.lexsort(np.round(drawn, 3).T), np.lexsort(np.round(middles / 0.7).T)
    away = middles[found] - drawn[order]
    np.testing.assert_allclose(away - away.mean(0), 0, atol=0.07 * mm_per_px)


def test_levels_are_painted_one_over_the_other():
    drawing = Drawing(8, 8, (rectangle(-2, -2, 4, 4), rectangle(-1, -1, 2, 2, 1.0), Disc(0, 0, 0.5, 0.0), Disc(3, 3, 0.5, 0.5)))
    for bare in (0, 20):
        sheet = (
            Sheet(parse_target("dots:1"), drawing, 45, 45, (22.5, 22.5), bare)
            if bare
            else Sheet(parse_target("dots:1"), drawing, 8, 8, (4, 4))
        )
        grey, mm_per_px = grey_and_mm_per_px(sheet_bytes(sheet, "png", PROGRAM, 254.0))
        at = [
            grey[round(y / mm_per_px), round(x / mm_per_px)]
            for x, y in np.add(sheet.middle_mm, [(0, 0), (0.8, 0), (1.5, 0), (3, 3), (3.8, 0)])
        ]
        np.testing.assert_allclose(np.array(at, float), [0, 255, 0, 128, 255], atol=1)


def test_the_opening_of_a_hood_ring_is_clear():
    drawing = Drawing(10, 10, (Disc(0, 0, 5.0), Disc(4.5, 0, 0.2, 1.0)), hole_mm=8.0)
    data = sheet_bytes(Sheet(HoodRing(9, 1), drawing, 10, 10, (5, 5)), "png", PROGRAM, 508.0)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "LA"
        grey, solid = (np.asarray(band) for band in picture.split())
    assert grey.shape == (200, 200)
    assert np.mean(solid < 128) == pytest.approx(np.pi * 4**2 / 100, rel=1e-3)
    assert solid[100, 100] == 0 and solid[100, 5] == 255 and grey[100, 190] == 255 and grey[100, 5] == 0


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_sheet_gives_the_same_bytes(kind):
    first, second = (sheet_bytes(lay_out(parse_target("checker:1")), kind, PROGRAM, 300.0) for _ in range(2))
    assert first == second
    assert first != sheet_bytes(lay_out(parse_target("checker:1.1")), kind, PROGRAM, 300.0)


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_a_bare_page_is_as_large_as_its_drawing(kind):
    sheet = lay_out(parse_target("checker:0.5"), bare=True)
    page, shapes = READERS[kind](sheet_bytes(sheet, kind, PROGRAM))
    assert page == pytest.approx((sheet.drawing.width_mm, sheet.drawing.height_mm), abs=1e-4)
    assert np.sum(np.all(np.abs(boxes(shapes)[:, 2:] - 0.5) < 1e-4, axis=1)) == len(sheet.drawing.shapes)


@pytest.mark.parametrize("text", ["dots:0.2", "checker:2", "micrometer:10", "micrometer:100", "dots:10", BOARD])
def test_a_page_of_its_own_size_holds_the_target_and_a_ruler_of_50_mm(text):
    sheet = lay_out(parse_target(text))
    assert sheet.ruler_mm == 50 and len(sheet.drawing.shapes) >= 32
    assert sheet.width_mm >= sheet.drawing.width_mm + 2 * MARGIN_MM - 1e-9
    assert sheet.height_mm >= sheet.drawing.height_mm + 2 * MARGIN_MM + FOOT_MM - 1e-9


@pytest.mark.parametrize(
    ("target", "size", "bare", "what"),
    [
        ("dots:5", (50.0, 40.0), False, "give at least"),
        ("dots:0.2", (210.0, 297.0), False, "smaller sheet"),
        (BOARD, (50.0, 30.0), False, "larger than a sheet"),
        ("dots:0.5", (40.0, 60.0), False, "no room for a ruler"),
        ("checker:3", (9.0, 9.0), True, "no room"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(target, size, bare, what):
    with pytest.raises(TargetError, match=what):
        lay_out(parse_target(target), size, bare=bare)


def test_a_png_too_coarse_or_too_large_is_refused():
    with pytest.raises(TargetError, match=r"1\.2 px at 150 dpi.*508 dpi"):
        sheet_bytes(lay_out(parse_target("dots:0.2")), "png", PROGRAM, 150.0)
    with pytest.raises(TargetError, match="megapixels"):
        sheet_bytes(lay_out(parse_target("dots:1"), (210.0, 297.0)), "png", PROGRAM, 2400.0)


@pytest.mark.parametrize(("text", "size"), [("60x40", (60, 40)), (" 60.5×40mm", (60.5, 40)), ("A4", (210, 297)), ("card", (85.6, 54))])
def test_sizes_of_sheets(text, size):
    assert parse_sheet(text) == size


@pytest.mark.parametrize("text", ["", "a0x", "60", "0x40", "-5x10", "1.2.3x4", "2000x10", "nanxnan", "letter"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(TargetError, match="no size"):
        parse_sheet(text)
