"""Wires and ruled lines under the simulated microscope: how wide they are, and what is refused."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from calib.drawing import Disc, Drawing, draw_target, flat_picture, rectangle
from calib.errors import TargetNotFoundError
from calib.field import FrameScale
from calib.lens import RadialLens
from calib.scale import given_scale
from calib.targets import parse_target
from calib.wire import across_um_per_px, measure_wire
from device.simulated.faults import CameraFaults
from device.simulated.flat import grey_flat, photograph_flat
from device.simulated.lens import lens_for

FAULTS = CameraFaults(vignetting=0.15, defocus_px=1.0, noise=0.01, sharpen=0.4, jpeg_quality=88)


def pictured(um_per_px, angle_deg, width_um=50.0, *, faults=FAULTS, dark=True, off_um=(0.0, 0.0), others=(), length=1.6, seed=0, k1=0.0):
    """A bar of `width_um` across the picture, and the lens."""
    # the bar's edges lie on pixels of the flat picture, so that it is exactly as wide as is said
    fine = width_um / (2 * math.ceil(2 * width_um / um_per_px))
    ink, paper = (0.0, 1.0) if dark else (1.0, 0.0)
    across, tall = length * 640 * um_per_px / 1000, 3.0 if others else width_um / 200
    shapes = (
        rectangle(-across, -tall, 2 * across, 2 * tall, paper),
        rectangle(-across / 2, -width_um / 2000, across, width_um / 1000, ink),
    )
    flat = grey_flat(flat_picture(Drawing(across + 0.2, tall, (*shapes, *others)), fine), fine, math.radians(angle_deg), off_um)
    lens = lens_for(640, 480, um_per_px, 12.0, k1=k1)
    flat = replace(flat, around=0.06 + 0.79 * paper)
    return photograph_flat(flat, lens, faults, np.random.default_rng(seed)), lens


@pytest.mark.parametrize(
    ("um_per_px", "angle_deg", "changes"),
    [
        (6.0, 37.0, {}),
        (3.1, -72.0, {"dark": False, "off_um": (150.0, -90.0)}),
        (13.0, 3.0, {}),
        (8.0, 88.5, {"off_um": (-300.0, 0.0)}),
        (5.0, -20.0, {"length": 0.5}),  # a line that ends within the picture
        (6.0, 2.0, {"faults": CameraFaults(defocus_px=2.2, noise=0.01)}),
        (12.0, 37.0, {"faults": CameraFaults()}),  # sharper than a lens is
        (4.0, 61.0, {"faults": CameraFaults(defocus_px=0.8, sharpen=1.2, noise=0.005, jpeg_quality=80)}),
    ],
)
def test_a_bar_is_as_wide_as_it_is(um_per_px, angle_deg, changes):
    image, _ = pictured(um_per_px, angle_deg, **changes)
    wire = measure_wire(image)
    assert wire.width_px == pytest.approx(50 / um_per_px, abs=2 * wire.width_std_px)
    assert wire.width_std_px < 0.05
    assert wire.dark == changes.get("dark", True)
    assert abs((wire.angle_deg - angle_deg + 90) % 180 - 90) < 1.0
    assert np.all(wire.places_px > 0) and np.all(wire.places_px < (640, 480))


def test_dust_beside_and_upon_a_bar_moves_nothing():
    rng = np.random.default_rng(3)
    dust = tuple(Disc(float(x), float(y), 0.03) for x, y in rng.uniform(-1.5, 1.5, (25, 2)))
    clean, dusty = (measure_wire(pictured(6.0, 25.0, others=others)[0]).width_px for others in ((), (*dust, Disc(0.4, 0.03, 0.04))))
    assert dusty == pytest.approx(clean, abs=0.03)


def test_one_line_of_a_ruling_is_measured():
    drawing = draw_target(parse_target("micrometer:100"), 8.0, 5.0)
    image = photograph_flat(
        grey_flat(flat_picture(drawing, 1.0), 1.0, 0.3), lens_for(640, 480, 4.0, 10.0), FAULTS, np.random.default_rng(1)
    )
    wire = measure_wire(image, 28 / 4.0)
    assert wire.width_px * 4.0 == pytest.approx(28.0, abs=0.7)


def test_the_scale_across_a_wire_is_the_lens_s_there():
    image, lens = pictured(5.0, 2.0, off_um=(0.0, 700.0), k1=-0.8)
    square = (640 / 2) ** 2 + (480 / 2) ** 2
    # to first order the correction of a distortion is its opposite
    field = FrameScale(given_scale(5.0), RadialLens(640, 480, lens.centre_px, 0.8 * square / lens.focal_px**2))
    wire = measure_wire(image)
    local = across_um_per_px(field, wire)
    assert local > 5.01
    assert wire.width_px * local == pytest.approx(50.0, abs=3 * wire.width_std_px * local)
    assert across_um_per_px(FrameScale(given_scale(5.0)), wire) == 5.0


def seen(text, um_per_px):
    flat = grey_flat(flat_picture(draw_target(parse_target(text), 6.0, 5.0), um_per_px / 3), um_per_px / 3, 0.2)
    return photograph_flat(flat, lens_for(640, 480, um_per_px, 10.0), FAULTS, np.random.default_rng(2))


def blank():
    return np.full((480, 640, 3), 190, np.uint8)


def edge():
    image = blank()
    image[:, 320:] = 40
    return image


def noise():
    return np.random.default_rng(5).integers(0, 256, (480, 640, 3)).astype(np.uint8)


def hopelessly_blurred():
    return cv2.GaussianBlur(pictured(12.0, 30.0)[0], (0, 0), 4.0)


def thinner_than_pixels():
    return pictured(35.0, 30.0)[0]


@pytest.mark.parametrize(
    "picture",
    [blank, edge, noise, hopelessly_blurred, thinner_than_pixels, lambda: seen("dots:0.3", 7.0), lambda: seen("checker:0.4", 8.0)],
)
def test_no_width_of_what_is_no_bar(picture):
    with pytest.raises(TargetNotFoundError, match=r".+: .+"):
        measure_wire(picture())


def test_a_bar_of_quite_another_width_is_not_taken():
    image, _ = pictured(4.0, 10.0, width_um=200.0)
    assert measure_wire(image).width_px == pytest.approx(50.0, abs=0.1)
    with pytest.raises(TargetNotFoundError, match=r".+: .+"):
        measure_wire(image, 5.0)
