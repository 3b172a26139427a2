"""The scale of a frame from ring, hood or distance: the best that there is, with its uncertainty, and the reasons where there is none."""

import math
from dataclasses import replace

import numpy as np
import pytest

from calib import resolve
from calib.drawing import draw_target, flat_picture
from calib.errors import TargetNotFoundError
from calib.field import FrameScale, ScaleReading
from calib.lens import straight_lens
from calib.profile import HairPlane, Hood, LensFit, Ring
from calib.resolve import resolve_scale, scale_again
from calib.scale import NO_SCALE
from device.simulated.faults import draw_faults
from device.simulated.flat import grey_flat, photograph_flat
from device.simulated.lens import Lens
from tests.calib.profile_samples import A_STD, B_STD, HOOD, B, curve_part, hood_only, sample

FRAME = np.zeros((480, 640, 3), np.uint8)
RIM = 11.0  # µm/px at the hood's rim, by the sample's curve
SLOPE = (1e-5, -2e-5)


class SeenPlane:
    """What `resolve` reads of a `PlaneFit`."""

    lens = straight_lens(640, 480)
    slope_per_px = SLOPE

    def __init__(self, um_per_px, um_per_px_std):
        self.um_per_px, self.um_per_px_std = um_per_px, um_per_px_std

    def to_picture(self, target_mm):
        return np.asarray(target_mm) * 1000 / self.um_per_px + (319.5, 239.5)


@pytest.fixture
def ring(monkeypatch):
    """A ring in the frame at 11.1 µm/px; `show(None)` hides it."""
    shown = {}

    def show(um_per_px, std=0.02):
        shown["plane"] = None if um_per_px is None else SeenPlane(um_per_px, std)

    def seen(_profile, _ring, _image):
        if shown["plane"] is None:
            raise TargetNotFoundError("no ring in the picture")
        return shown["plane"]

    monkeypatch.setattr(resolve, "_seen_ring", seen)
    show(11.1)
    return show


def test_a_ring_in_the_frame_is_best(ring):
    found = resolve_scale(sample(), FRAME, distance_mm=20.0, distance_std_mm=0.1)
    assert found.scale.source == "fiducial"
    assert found.scale.um_per_px == pytest.approx(11.1 - B * 0.3)
    # the ring's fit, its print, how far the hair is from it, and the slope that brings it there
    parts = (0.02, 11.1 * 0.01 / 8, B * 0.3, B_STD * 0.3)
    assert found.scale.um_per_px_std == pytest.approx(math.hypot(*parts))
    assert found.slope_per_px == SLOPE
    assert found.reading == ScaleReading(ring_um_per_px=11.1, ring_um_per_px_std=0.02, ring_mm=8.0, slope_per_px=SLOPE)
    assert found.profile_id == sample().id
    assert found.lens == sample().radial_lens
    # σ of the point spread where the curve has this scale: 19.9 mm
    assert found.psf_sigma_px == pytest.approx(1.0125)
    assert found.max_psf_sigma_px == 2.5
    assert found.note == ""


def test_without_a_ring_the_hoods_height_gives_the_scale(ring):
    ring(None)
    found = resolve_scale(sample(), FRAME, distance_mm=25.0)
    assert found.scale.source == "hood"
    assert found.scale.um_per_px == pytest.approx(1.0 + B * 19.7)
    assert found.scale.um_per_px_std == pytest.approx(math.hypot(A_STD, B_STD * 19.7, B * 0.1, B * 0.3), rel=1e-3)
    assert found.note == "no ring in the picture"
    assert found.reading == ScaleReading()
    assert found.psf_sigma_px == pytest.approx(1.0375)
    assert found == resolve_scale(sample(), FRAME)
    assert resolve_scale(sample(), None).note == "no picture to look for the hood's ring in"


def test_without_a_hood_a_reading_gives_the_scale():
    profile = sample(hood=None)
    found = resolve_scale(profile, FRAME, distance_mm=20.0, distance_std_mm=1.0)
    assert found.scale.source == "distance"
    assert found.scale.um_per_px == pytest.approx(11.0)  # at the skin itself
    assert found.scale.um_per_px_std == pytest.approx(B, rel=1e-3)
    assert found.reading == ScaleReading(distance_mm=20.0, distance_std_mm=1.0)
    assert found.note == "the profile has no hood"
    assert (found.psf_sigma_px, found.too_blurred) == (1.0, False)
    assert resolve_scale(profile, FRAME, distance_mm=32.0, distance_std_mm=1.0).too_blurred


def test_a_reading_without_uncertainty_has_that_of_the_calibrations():
    found = resolve_scale(sample(hood=None), None, distance_mm=20.0)
    assert found.reading.distance_std_mm == 0.05
    assert found.scale.um_per_px_std == pytest.approx(math.hypot(A_STD, B_STD * 20, B * 0.05), rel=1e-3)
    exact = resolve_scale(sample(hood=None), None, distance_mm=20.0, distance_std_mm=0.0)
    assert exact.scale.um_per_px_std == pytest.approx(math.hypot(A_STD, B_STD * 20))


@pytest.mark.parametrize(
    ("changes", "distance", "says"),
    [
        ({"hood": None}, None, ["the profile has no hood", "no distance reading"]),
        ({"hood": None}, 60.0, ["60 mm lies outside the calibrated 12 to 32 mm"]),
        ({"hood": None}, math.nan, ["nan mm lies outside"]),
        ({"hood": Hood(name="tall", height_mm=50.0, height_std_mm=0.1)}, None, ["hood has no ring", "hood 'tall': 49.7 mm lies outside"]),
    ],
)
def test_where_nothing_gives_a_scale_all_reasons_are_told(changes, distance, says):
    found = resolve_scale(sample(**changes), FRAME, distance_mm=distance)
    assert found.scale == NO_SCALE
    assert found.scale.source == "none"
    for part in says:
        assert part in found.note
    assert found.profile_id == sample(**changes).id


def test_a_hood_outside_the_curve_leaves_the_reading(ring):
    ring(None)
    profile = sample(hood=Hood(name="tall", height_mm=50.0, height_std_mm=0.1, ring=Ring(diameter_mm=8.0)))
    found = resolve_scale(profile, FRAME, distance_mm=20.0)
    assert found.scale.source == "distance"
    assert "no ring in the picture; hood 'tall': 49.7 mm lies outside" in found.note


def test_pictures_of_another_size_have_no_scale(ring):
    found = resolve_scale(sample(), np.zeros((960, 1280, 3), np.uint8), distance_mm=20.0)
    assert found.scale == NO_SCALE
    assert "was made for pictures of 640×480 px, this one has 1280×960" in found.note


def test_a_ring_that_cannot_be_is_not_believed_and_nor_is_the_hood(ring):
    ring(16.0)
    found = resolve_scale(sample(), FRAME)
    assert found.scale == NO_SCALE
    assert "the ring gives 16 µm/px, +45% off the 11 that the profile has at the rim of hood 'clear 20'" in found.note
    assert "the height of hood 'clear 20' is not used where its ring gainsays it" in found.note
    assert resolve_scale(sample(), FRAME, distance_mm=20.0).scale.source == "distance"


def test_a_ring_that_surprises_is_believed_and_noted(ring):
    ring(12.5)
    found = resolve_scale(sample(), FRAME)
    assert found.scale.source == "fiducial"
    assert "the ring's scale is +13.6% off what the profile has" in found.note
    ring(12.5, std=0.5)  # so uncertain a ring surprises nobody
    assert resolve_scale(sample(), FRAME).note == ""


def test_without_a_curve_the_way_to_the_hair_is_uncertain(ring):
    found = resolve_scale(hood_only(), FRAME)
    slope = 11.1 / 20
    assert found.scale.source == "fiducial"
    assert found.scale.um_per_px == pytest.approx(11.1 - slope * 0.3)
    assert found.scale.um_per_px_std == pytest.approx(math.hypot(0.02, 11.1 * 0.01 / 8, slope * 0.3, slope / 2 * 0.3))
    assert found.psf_sigma_px == 1.1
    ring(None)
    found = resolve_scale(hood_only(pitch_std_percent=0.1), FRAME)
    assert found.scale.source == "hood"
    assert found.scale.um_per_px == pytest.approx(RIM - RIM / 20 * 0.3)
    assert found.scale.um_per_px_std == pytest.approx(math.hypot(0.004, 0.011, RIM / 20 * 0.3, RIM / 40 * 0.3))
    found = resolve_scale(hood_only(), FRAME, distance_mm=20.0)
    assert found.scale.source == "hood"
    assert scale_again(hood_only(), "distance", ScaleReading(distance_mm=20.0)).note == "the profile has no curve over distances"


def test_where_the_hair_lies_is_the_profiles_to_say(ring):
    flat = sample(hair_plane=HairPlane(height_mm=0.0, height_std_mm=0.0))
    assert resolve_scale(flat, FRAME).scale.um_per_px == 11.1
    ring(None)
    assert resolve_scale(flat, FRAME).scale.um_per_px == pytest.approx(RIM)


def test_a_profile_without_a_lens_takes_the_rings(ring):
    assert resolve_scale(sample(lens=None), FRAME).lens == SeenPlane.lens
    ring(None)
    assert resolve_scale(sample(lens=None), FRAME).lens is None


def test_the_same_frames_again_give_the_same(ring):
    for image, profile, distance in ((FRAME, sample(), None), (None, sample(), None), (None, sample(hood=None), 21.5)):
        first = resolve_scale(profile, image, distance_mm=distance)
        again = scale_again(profile, first.scale.source, first.reading)
        assert again == replace(first, note="", opening_px=None)


def test_a_corrected_profile_corrects_the_scale(ring):
    first = resolve_scale(sample(), FRAME)
    # the ring turned out to be 1 % larger, and the skin to bulge less
    hood = Hood(name="clear 20", height_mm=20.0, height_std_mm=0.1, ring=Ring(diameter_mm=8.08, code=2))
    corrected = sample(hood=hood, hair_plane=HairPlane(height_mm=0.1, height_std_mm=0.1))
    again = scale_again(corrected, "fiducial", first.reading)
    assert again.scale.um_per_px == pytest.approx(11.1 * 1.01 - B * 0.1)
    assert again.scale.um_per_px_std == pytest.approx(math.hypot(0.02 * 1.01, B * 0.1, B_STD * 0.1))
    assert (again.profile_id, again.slope_per_px) == (corrected.id, SLOPE)
    assert again.reading == first.reading
    twice = scale_again(sample(), "fiducial", again.reading)
    assert twice.scale == first.scale


@pytest.mark.parametrize(
    ("source", "reading", "says"),
    [
        ("none", ScaleReading(), "rests on no profile"),
        ("given", ScaleReading(), "rests on no profile"),
        ("fiducial", ScaleReading(), "what was read of the ring is not there"),
        ("distance", ScaleReading(), "no distance reading"),
        ("distance", ScaleReading(distance_mm=99.0), "outside the calibrated"),
    ],
)
def test_what_cannot_be_had_again_is_none(source, reading, says):
    found = scale_again(sample(), source, reading)
    assert isinstance(found, FrameScale)
    assert found.scale == NO_SCALE
    assert says in found.note
    assert "hood" in scale_again(sample(hood=None), "fiducial", reading).note


@pytest.fixture(scope="module")
def scene():
    """A pinhole camera's profile and a frame of the hood's ring under it, tilted, from the simulated microscope."""
    focal, target = 1700.0, HOOD.ring.target
    curve = curve_part().model_copy(update={"a_um_per_px": 0.0, "b_um_per_px_per_mm": 1000 / focal})
    lens = Lens(640, 480, focal, 20.2, (0.02, -0.015))
    picture = flat_picture(draw_target(target, 9, 9), 4.0)
    rng = np.random.default_rng(3)
    image = photograph_flat(grey_flat(picture, 4.0, 0.7, (60.0, -40.0)), lens, draw_faults(rng), rng)
    return sample(curve=curve, lens=LensFit(centre_px=(319.5, 239.5), k1=0.0, k2=0.0)), image, lens


def test_a_real_ring_is_measured_in_the_frame(scene):
    profile, image, lens = scene
    found = resolve_scale(profile, image)
    assert found.scale.source == "fiducial", found.note
    true = lens.centre_um_per_px - 1000 / 1700 * 0.3
    assert found.reading.ring_um_per_px == pytest.approx(lens.centre_um_per_px, rel=3e-3)
    assert abs(found.scale.um_per_px - true) < 2 * found.scale.um_per_px_std
    # the scale grows towards where the plane falls away
    points = np.array([[100.0, 240.0], [540.0, 240.0], [320.0, 60.0], [320.0, 420.0]])
    there = lens.project(np.concatenate([lens.on_skin(points), np.zeros((4, 1))], 1))[1] / lens.centre_um_per_px
    np.testing.assert_allclose(found.relative(points), there, atol=3e-3)


def test_another_hoods_ring_is_not_taken(scene):
    profile, image, _ = scene
    other = Hood(name="other", height_mm=20.0, height_std_mm=0.1, ring=Ring(diameter_mm=8.0, code=4))
    found = resolve_scale(sample(hood=other, curve=profile.curve), image)
    assert found.scale.source == "hood"
    assert found.note


def test_an_empty_frame_falls_back_on_the_hood(scene):
    found = resolve_scale(scene[0], np.full((480, 640, 3), 128, np.uint8))
    assert found.scale.source == "hood"
    assert found.note
