from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calib.drawing import Drawing, draw_target, flat_picture, rectangle
from calib.errors import TargetNotFoundError
from calib.finding.comb import comb_of, waves
from calib.finding.ruler import find_ruler
from calib.finding.strokes import measure
from calib.plane import fit_plane
from calib.points import TargetPoints
from calib.targets import Micrometer, parse_target
from device.simulated.faults import CameraFaults, draw_faults
from device.simulated.flat import Flat, grey_flat, photograph_flat
from device.simulated.lens import Lens

Image = NDArray[np.uint8]
FOCAL_PX = 1900.0  # at 640 px of width


@dataclass(frozen=True)
class Seen:
    image: Image
    flat: Flat
    lens: Lens
    pitch_um: float

    def numbers(self, points: TargetPoints) -> NDArray[np.float64]:
        """Which line truly lies at each point, a whole number on a line."""
        own = self.flat.places(self.lens.on_skin(points.pixels))[:, 0]
        middle = (self.flat.picture.shape[1] - 1) / 2
        return np.asarray((own - middle) * self.flat.um_per_px / self.pitch_um)

    def check_numbers(self, points: TargetPoints, within_px: float) -> None:
        """Every point lies on the line whose number it has."""
        true, told = self.numbers(points), points.line.astype(float)
        way = np.sign(np.polyfit(told, true, 1)[0])
        off = true - way * told
        off -= round(float(np.median(off)))
        pitch_px = self.pitch_um / self.lens.centre_um_per_px
        assert np.abs(off).max() * pitch_px < within_px

    def error(self, points: TargetPoints) -> float:
        height, width = self.image.shape[:2]
        return fit_plane(points, width, height).um_per_px / self.lens.centre_um_per_px - 1


def look_at(
    picture: NDArray[np.float32],
    um_per_px: float,
    pitch_um: float,
    *,
    size: tuple[int, int] = (640, 480),
    turn_deg: float = 0.0,
    tilt_deg: tuple[float, float] = (0.0, 0.0),
    shift: tuple[float, float] = (0.0, 0.0),
    faults: CameraFaults | None = None,
    seed: int = 0,
    dark: bool = False,
) -> Seen:
    """A flat picture (drawn at a third of um_per_px) under a lens with distortion; `shift` in shares of the field."""
    rng = np.random.default_rng(seed)
    width, height = size
    focal = FOCAL_PX * width / 640
    tilt = math.radians(tilt_deg[0]), math.radians(tilt_deg[1])
    lens = Lens(width, height, focal, um_per_px * focal / 1000, tilt, 0.35, -1.1, (2.0, -1.5))
    flat = grey_flat(picture, um_per_px / 3, math.radians(turn_deg), (shift[0] * width * um_per_px, shift[1] * height * um_per_px))
    if dark:
        flat = replace(flat, around=0.06)
    return Seen(photograph_flat(flat, lens, faults or draw_faults(rng), rng), flat, lens, pitch_um)


def sheet(pitch_um: float, um_per_px: float, size: tuple[int, int] = (640, 480)) -> NDArray[np.float32]:
    long = 1.6 * math.hypot(*size) * um_per_px / 1000
    return flat_picture(draw_target(Micrometer(pitch_um), long, 1.3 * size[1] * um_per_px / 1000), um_per_px / 3)


@pytest.mark.parametrize(
    ("pitch_um", "um_per_px", "size", "turn", "tilt", "shift"),
    [
        (100, 12.6, (640, 480), 3.0, (2.0, 0.0), (0.0, 0.0)),
        (50, 2.6, (640, 480), 86.0, (-3.0, 3.0), (0.2, 0.0)),
        (200, 18.0, (640, 480), 148.0, (1.0, -4.5), (0.3, -0.3)),
        (50, 7.0, (320, 240), 40.0, (0.0, 3.0), (0.0, 0.1)),
        (100, 3.6, (1280, 720), 118.0, (3.5, 3.5), (-0.3, 0.2)),
    ],
)
def test_lines_are_numbered_and_the_scale_is_right(
    pitch_um: float, um_per_px: float, size: tuple[int, int], turn: float, tilt: tuple[float, float], shift: tuple[float, float]
) -> None:
    seen = look_at(sheet(pitch_um, um_per_px, size), um_per_px, pitch_um, size=size, turn_deg=turn, tilt_deg=tilt, shift=shift, seed=5)
    points = find_ruler(seen.image, Micrometer(pitch_um))
    lines, pieces = np.unique(points.line, return_counts=True)
    assert len(lines) >= 8
    assert lines[0] == 0
    assert np.median(pieces) >= 4
    assert np.isnan(points.target_mm[:, 1]).all()
    assert points.target_mm[:, 0] == pytest.approx(points.line * pitch_um / 1000)
    seen.check_numbers(points, 0.3)
    assert abs(seen.error(points)) < 2.5e-3


def test_bright_lines_on_dark_ground() -> None:
    seen = look_at(1 - sheet(100, 6.0), 6.0, 100, turn_deg=21, dark=True)
    points = find_ruler(seen.image, Micrometer(100))
    seen.check_numbers(points, 0.3)
    assert abs(seen.error(points)) < 1e-3


def test_heavy_defocus() -> None:
    um_per_px, pitch_um = 8.0, 100.0  # 12.5 px
    seen = look_at(sheet(pitch_um, um_per_px), um_per_px, pitch_um, turn_deg=64, faults=CameraFaults(defocus_px=4.2, noise=0.01))
    points = find_ruler(seen.image, Micrometer(pitch_um))
    seen.check_numbers(points, 1.2)
    assert abs(seen.error(points)) < 2e-3


def like_a_real_one(pitch_um: float, um_per_px: float, short_mm: float, sharp_below: float) -> Seen:
    """With text, a filled rectangle and a base line, and out of focus above `sharp_below` of the height."""
    pitch = pitch_um / 1000
    lengths = (short_mm * (1.9 if k % 10 == 0 else 1.4 if k % 5 == 0 else 1.0) for k in range(-100, 101))
    shapes = [
        rectangle(k * pitch - 0.22 * pitch, -length / 2, 0.44 * pitch, length) for k, length in zip(range(-100, 101), lengths, strict=True)
    ]
    shapes.append(rectangle(-100 * pitch, 0.44 * short_mm, 200 * pitch, 0.12 * pitch))
    picture = flat_picture(Drawing(700 * um_per_px / 1000, 520 * um_per_px / 1000, tuple(shapes)), um_per_px / 3)
    blurred = cv2.GaussianBlur(picture, (0, 0), 0.9 * pitch_um / um_per_px)
    height = np.linspace(0, 1, len(picture))[:, None]
    share = np.clip((sharp_below - height) * 6, 0, 1).astype(np.float32)
    picture = np.asarray(share * blurred + (1 - share) * picture, np.float32)
    seen = look_at(picture, um_per_px, pitch_um, turn_deg=-4, tilt_deg=(1.5, 1.0), faults=CameraFaults(0.1, defocus_px=0.9, noise=0.01))
    image = seen.image.copy()
    cv2.putText(image, "DIC1, red camera, 10x", (30, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (70, 70, 70), 1, cv2.LINE_AA)
    cv2.putText(image, "10uM/tick  89 ticks", (200, 250), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (90, 90, 90), 1, cv2.LINE_AA)
    cv2.rectangle(image, (330, 395), (470, 425), (80, 80, 80), -1)
    for x, y, r in ((70, 400, 3), (420, 240, 4), (500, 60, 2)):
        cv2.circle(image, (x, y), r, (60, 60, 60), -1, cv2.LINE_AA)
    return replace(seen, image=image)


@pytest.mark.parametrize(("um_per_px", "short_mm"), [(1.29, 0.11), (0.322, 0.09)])
def test_pictures_like_the_real_ones(um_per_px: float, short_mm: float) -> None:
    seen = like_a_real_one(10, um_per_px, short_mm, 0.45)
    points = find_ruler(seen.image, Micrometer(10))
    assert len(np.unique(points.line)) >= 0.9 * 640 * um_per_px / 10 - 2
    fit = fit_plane(points, 640, 480)
    assert fit.um_per_px == pytest.approx(seen.lens.centre_um_per_px, rel=2e-3)
    seen.check_numbers(replace(points, pixels=points.pixels[fit.used], line=points.line[fit.used]), 0.8)


def test_hidden_lines_leave_a_gap_in_the_numbers() -> None:
    um_per_px, pitch_um = 6.0, 100.0
    seen = look_at(sheet(pitch_um, um_per_px), um_per_px, pitch_um)
    image = seen.image.copy()
    cv2.rectangle(image, (300, 0), (330, 479), (160, 160, 160), -1)  # the ground's own level: two lines are gone
    points = find_ruler(image, Micrometer(pitch_um))
    lines = np.unique(points.line)
    assert len(lines) < np.ptp(lines) + 1
    seen.check_numbers(points, 0.3)


def test_stated_errors_are_about_right() -> None:
    um_per_px, pitch_um = 9.0, 100.0
    seen = look_at(sheet(pitch_um, um_per_px), um_per_px, pitch_um, turn_deg=31, faults=CameraFaults(defocus_px=1.0, noise=0.03))
    points = find_ruler(seen.image, Micrometer(pitch_um))
    true, told = seen.numbers(points), points.line.astype(float)
    off = true - np.round(true)
    off = (off - np.median(off)) * pitch_um / um_per_px
    assert len(told) > 200
    assert 0.4 < float(np.sqrt(np.mean((off / points.std_px) ** 2))) < 2.0


def flat_grey(level: int) -> Image:
    return np.full((480, 640, 3), level, np.uint8)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_pictures_are_refused(level: int) -> None:
    with pytest.raises(TargetNotFoundError, match=r"nothing that repeats.*expected are 8 or more"):
        find_ruler(flat_grey(level), Micrometer(50))


@pytest.mark.parametrize("sigma_px", [0.0, 1.5, 4.0])
def test_noise_is_refused(sigma_px: float) -> None:
    noise = np.random.default_rng(1).normal(0, 30 * (1 + 2 * sigma_px), (480, 640, 3))
    if sigma_px:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma_px), np.float64)
    with pytest.raises(TargetNotFoundError):
        find_ruler(np.clip(128 + noise, 0, 255).astype(np.uint8), Micrometer(50))


@pytest.mark.parametrize("target", ["dots:0.5", "checker:0.5", "charuco:14x11,0.5,0.375,DICT_5X5_250"])
@pytest.mark.parametrize(("pitch_px", "turn", "blur"), [(15.0, 0.0, 1.0), (24.0, 33.0, 4.0)])
def test_other_targets_are_refused(target: str, pitch_px: float, turn: float, blur: float) -> None:
    um_per_px = 500 / pitch_px
    drawing = draw_target(parse_target(target), 1.0 * um_per_px, 0.8 * um_per_px)
    seen = look_at(flat_picture(drawing, um_per_px / 3), um_per_px, 500, turn_deg=turn, faults=CameraFaults(defocus_px=blur, noise=0.01))
    with pytest.raises(TargetNotFoundError, match="bring the ruler into view"):
        find_ruler(seen.image, Micrometer(500))


def ruled(numbers: list[int], lengths_px: list[float], pitch_px: float, width_px: float, turn_deg: float = 10.0) -> Image:
    um = 10.0
    shapes = tuple(
        rectangle((k * pitch_px - width_px / 2) * um / 1000, -length * um / 2000, width_px * um / 1000, length * um / 1000)
        for k, length in zip(numbers, lengths_px, strict=True)
    )
    return look_at(flat_picture(Drawing(7.5, 5.5, shapes), um / 3), um, pitch_px * um, turn_deg=turn_deg).image


def test_seven_lines_are_too_few() -> None:
    with pytest.raises(TargetNotFoundError, match="8 or more"):
        find_ruler(ruled(list(range(-3, 4)), [120.0] * 7, 30, 8), Micrometer(300))
    assert len(np.unique(find_ruler(ruled(list(range(-4, 5)), [120.0] * 9, 30, 8), Micrometer(300)).line)) == 9


def test_fifth_and_tenth_lines_alone_are_not_taken_for_the_short_ones() -> None:
    numbers = list(range(-12, 13))
    image = ruled(numbers, [200.0 if k % 2 else 270.0 for k in numbers], 35, 5)
    with pytest.raises(TargetNotFoundError, match="short lines between them are not in view"):
        find_ruler(image, Micrometer(10))


def test_lines_without_one_pitch_are_refused() -> None:
    rng = np.random.default_rng(4)
    places = np.cumsum(rng.uniform(0.4, 1.6, 25)) - 12
    shapes = tuple(rectangle(float(x) * 0.2 - 0.03, -0.6, 0.06, 1.2) for x in places)
    seen = look_at(flat_picture(Drawing(9.0, 6.0, shapes), 10 / 3), 10.0, 200)
    with pytest.raises(TargetNotFoundError):
        find_ruler(seen.image, Micrometer(200))


def test_an_impossible_scale_is_refused() -> None:
    image = look_at(sheet(100, 6.0), 6.0, 100).image
    with pytest.raises(TargetNotFoundError, match=r"16\.\d px apart.*check the pitch"):
        find_ruler(image, Micrometer(10_000))


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.zeros((480, 640), np.uint8), "shape"),
        (np.zeros((480, 640, 3), np.uint16), "uint16"),
        (np.zeros((20, 640, 3), np.uint8), "too small"),
    ],
)
def test_what_is_no_picture(image: Image, why: str) -> None:
    with pytest.raises(TargetNotFoundError, match=why):
        find_ruler(image, Micrometer(50))


def grating(pitch_px: float, angle_deg: float, phase: float) -> NDArray[np.float64]:
    y, x = np.mgrid[:240, :320].astype(float)
    turn = math.radians(angle_deg)
    across = (x - 159.5) * math.cos(turn) + (y - 119.5) * math.sin(turn)
    return np.asarray(128 - 80 * np.exp(-((((across / pitch_px - phase + 0.5) % 1 - 0.5) * pitch_px / 2.0) ** 2) / 2))


@pytest.mark.parametrize(("pitch_px", "angle"), [(9.3, 0.0), (14.0, 60.0), (31.0, -40.0)])
def test_a_comb_numbers_a_grating(pitch_px: float, angle: float) -> None:
    green = np.rint(grating(pitch_px, angle, 0.3)).astype(np.uint8)
    wave = min(waves(green), key=lambda wave: abs(wave.pitch_px / pitch_px - 1))
    comb = comb_of(green, wave)
    assert comb is not None
    # crests lie half-way between the dark lines
    across = (comb.numbering.pixels(comb.own) - (159.5, 119.5)) @ (math.cos(math.radians(angle)), math.sin(math.radians(angle)))
    way = np.sign(math.cos(comb.numbering.angle_rad - math.radians(angle)))
    off = comb.numbering.numbers(comb.own) - way * (across / pitch_px - 0.3 - 0.5)
    assert np.abs(off - round(float(np.median(off)))).max() < 0.08


def test_strokes_are_measured_to_a_hundredth_of_a_pixel() -> None:
    pitch, angle = 14.0, 20.0
    green = np.rint(grating(pitch, angle, 0.0)).astype(np.uint8)
    across = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
    along = np.array([-across[1], across[0]])
    number, height = (part.ravel() for part in np.meshgrid(np.arange(-7, 8), np.arange(-4, 5)))
    moved = np.random.default_rng(0).uniform(-2, 2, len(number))
    places = np.array([159.5, 119.5]) + (number * pitch + moved)[:, None] * across + 10.0 * height[:, None] * along
    n = len(number)
    cells = measure(green, places, np.tile(across, (n, 1)), np.full(n, pitch), 10.0, height + 4, np.ones(n, np.bool_), 0.3)
    assert np.abs(cells.shift_px + moved).max() < 0.02
    assert cells.explained.min() > 0.98
    assert (cells.contrast < -60).all()


@pytest.mark.parametrize("size", [(100, 1000), (1000, 64), (640, 640)])
def test_stripes_without_ends_are_no_error_of_ours(size: tuple[int, int]) -> None:
    """Where nothing of the ground beyond the lines is in the picture there is nothing to take a mean of."""
    rng = np.random.default_rng(3)
    for period in (3.7, 11.0, 24.0):
        wave = 128 + 60 * np.sin(2 * np.pi * np.arange(size[1]) / period) + rng.normal(0, 3, (size[0], size[1]))
        image = np.repeat(np.clip(wave, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        with contextlib.suppress(TargetNotFoundError):
            found = find_ruler(image, Micrometer(50.0))
            assert np.isfinite(found.pixels).all()
