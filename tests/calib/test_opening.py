"""The hood's opening as a frame shows it."""

from dataclasses import replace

import numpy as np
import pytest

from calib.opening import RIM_PX, opening_in_picture
from calib.plane import fit_plane
from calib.points import points_of
from calib.ring import HOLE, dot_places
from calib.targets import HoodRing
from device.simulated.lens import Lens

RING = HoodRing(8.0)


def seen(lens: Lens, diameter_mm: float = 8.0):
    """The plane fitted to all dots of a ring under the lens."""
    places = dot_places(diameter_mm)
    pixels, _ = lens.project(np.concatenate([1000 * places, np.zeros((len(places), 1))], 1))
    return fit_plane(points_of(pixels, places), lens.width, lens.height)


def test_it_is_the_circle_through_distortion_and_tilt():
    lens = Lens(640, 480, 1900.0, 24.0, (0.05, -0.04), 0.3, -0.8, (2.0, -1.0))
    polygon = np.array(opening_in_picture(seen(lens), RING, 640, 480))
    turn = np.linspace(0, 2 * np.pi, 721)
    circle = np.stack([np.cos(turn), np.sin(turn), 0 * turn], 1) * 1000 * HOLE * 4.0
    true, _ = lens.project(circle)
    within = (np.abs(true[:, 0] - 319.5) <= 320) & (np.abs(true[:, 1] - 239.5) <= 240)
    assert within.any() and not within.all()
    inner = (polygon[:, 0] > 0.5) & (polygon[:, 0] < 638.5) & (polygon[:, 1] > 0.5) & (polygon[:, 1] < 478.5)
    assert inner.sum() > 20
    off = [np.hypot(*(true - corner).T).min() for corner in polygon[inner]]
    assert min(off) > RIM_PX - 1 and max(off) < RIM_PX + 1, "corners of the polygon lie within the rim by as much as they should"


def test_a_picture_within_the_opening_has_none():
    assert opening_in_picture(seen(Lens(640, 480, 1900.0, 12.0)), RING, 640, 480) is None


def test_a_ring_that_lies_elsewhere_gives_no_polygon():
    plane = seen(Lens(640, 480, 1900.0, 24.0))
    away = plane.homography.copy()
    away[:, 2] += 50.0 * np.array([1.0, 0.0, 0.0])
    assert opening_in_picture(replace(plane, homography=away), RING, 640, 480) is None


@pytest.mark.parametrize("size", [(640, 480), (320, 240)])
def test_it_lies_in_the_picture(size):
    width, height = size
    lens = Lens(width, height, 1900.0 * width / 640, 26.0)
    x, y = np.array(opening_in_picture(seen(lens), RING, width, height)).T
    assert x.min() >= -0.5 and y.min() >= -0.5 and x.max() <= width - 0.5 and y.max() <= height - 0.5
