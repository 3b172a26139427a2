import math
from dataclasses import replace

import numpy as np
import pytest

from calib.finding.boards import find_board
from calib.finding.dots import find_dots
from calib.plane import fit_plane
from calib.points import TargetPoints
from calib.sharpness import point_spread
from calib.targets import Dots
from calib.view import look_at
from device.simulated.faults import CameraFaults
from tests.calib.flat_scenes import lens, scene

PIXEL_PX = 0.289  # σ of a pixel's own width


@pytest.mark.parametrize("defocus_px", [0.7, 1.4, 2.3])
@pytest.mark.parametrize(
    ("text", "pitch_px"),
    [("checker:{p}", 14.0), ("checker:{p}", 45.0), ("dots:{p}", 24.0), ("dots:{p}", 45.0), ("charuco:14x11,{p},{m},DICT_4X4_250", 62.0)],
)
def test_the_spread_is_that_of_the_lens_and_the_pixel(text: str, pitch_px: float, defocus_px: float) -> None:
    taken = scene(text, pitch_px, under=lens(320, 240), faults=CameraFaults(defocus_px=2 * defocus_px, noise=0.006))  # of 640 px
    points = (find_dots if isinstance(taken.target, Dots) else find_board)(taken.image, taken.target)
    spread = point_spread(taken.image, taken.target, points, fit_plane(points, 320, 240))
    assert spread == pytest.approx(math.hypot(defocus_px, PIXEL_PX), rel=0.07)


@pytest.mark.parametrize("defocus_px", [0.8, 1.6])
def test_lines_and_rings_tell_it_too(defocus_px: float) -> None:
    for text, pitch_px, within in (("micrometer:{u}", 24.0, 0.07), ("hood-ring:5.4", 24.0, 0.12)):
        taken = scene(text, pitch_px, turn=0.1, shift_px=(0.0, 0.0), faults=CameraFaults(defocus_px=defocus_px, noise=0.006))
        assert look_at(taken.image, taken.target).psf_sigma_px == pytest.approx(math.hypot(defocus_px, PIXEL_PX), rel=within)


def test_sharpening_is_part_of_it() -> None:
    plain, sharpened = (
        look_at(taken.image, taken.target).psf_sigma_px
        for taken in (scene("checker:{p}", 40.0, under=lens(320, 240), faults=CameraFaults(defocus_px=2.4, sharpen=s)) for s in (0.0, 0.8))
    )
    assert plain is not None and sharpened is not None
    assert 0.6 * plain < sharpened < 0.95 * plain


def test_dots_as_small_as_their_blur_tell_nothing() -> None:
    taken = scene("dots:{p}", 13.0, faults=CameraFaults(defocus_px=2.2, noise=0.006))
    view = look_at(taken.image, taken.target)
    assert view.psf_sigma_px is None
    assert view.um_per_px == pytest.approx(taken.um_per_px, rel=3e-4)


def test_too_few_points_tell_nothing() -> None:
    taken = scene("checker:{p}", 40.0, under=lens(320, 240))
    points = find_board(taken.image, taken.target)
    plane = fit_plane(points, 320, 240)
    few = TargetPoints(points.pixels[:3], points.target_mm[:3], points.std_px[:3], points.line[:3])
    assert point_spread(taken.image, taken.target, points, plane) is not None
    plane = replace(plane, used=np.ones(3, np.bool_), residual_px=np.zeros(3))
    assert point_spread(taken.image, taken.target, few, plane) is None
