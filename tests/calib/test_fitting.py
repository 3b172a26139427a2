"""A profile from seen targets, held against the pinhole camera that saw them; points are projected, not found, so that truth is exact."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from calib.errors import CurveError, ProfileError
from calib.fitting import fit_profile, light_part, square_scale
from calib.light import ColourMatrix, FlatField, GreyBalance
from calib.perspective import perspective_focal_px
from calib.plane import fit_plane, fit_planes
from calib.points import TargetPoints, points_of
from calib.profile import LIFETIME, Device, Hood, profile_id, read_profile, write_profile
from calib.targets import Dots
from device.simulated.lens import Lens
from tests.calib.profile_samples import HOOD, NOW

WIDTH, HEIGHT, FOCAL, ZERO = 640, 480, 1900.0, -2.0
DISTANCES = (10.0, 14.0, 19.0, 24.0, 29.0, 35.0)
DEVICE = Device(microscope="pinhole", width_px=WIDTH, height_px=HEIGHT)
TARGET = Dots(0.5)
TALL = Hood(name="tall", height_mm=45.0, height_std_mm=0.1)


@dataclass(frozen=True)
class Seen:
    points: TargetPoints
    psf_sigma_px: float | None
    n_points: int


def seen(distance, rng, tilt=(0.0, 0.0), noise=0.03):
    """A grid of points 30 px apart, as a camera sees it whose projection centre is at ZERO."""
    lens = Lens(WIDTH, HEIGHT, FOCAL, distance - ZERO, tilt, 0.35, -1.15, (2.0, -1.5))
    pitch = 30 * lens.centre_um_per_px / 1000
    grid = np.stack(np.meshgrid(np.arange(-14, 15), np.arange(-11, 12)), -1).reshape(-1, 2) * pitch
    pixels, _ = lens.project(np.concatenate([grid * 1000, np.zeros((len(grid), 1))], 1))
    inside = (pixels > 4).all(1) & (pixels < np.array([WIDTH - 5, HEIGHT - 5])).all(1)
    pixels = pixels[inside] + rng.normal(0, noise, (inside.sum(), 2))
    return Seen(points_of(pixels, grid[inside], noise), 1 + abs(distance - 20) / 10, int(inside.sum()))


def tilts(rng):
    return tuple(np.radians(rng.uniform(-3.5, 3.5, 2)))


@pytest.fixture(scope="module")
def views():
    rng = np.random.default_rng(7)
    return [seen(d, rng, tilts(rng)) for d in DISTANCES]


def fit(views, distances=DISTANCES, **more):
    about = {"device": DEVICE, "target": TARGET, "made_by": "Ann", "now": NOW.replace(microsecond=5), "program": "test 1"}
    return fit_profile(views, distances, **(about | more))


def test_six_tilted_pictures_give_the_camera(views, tmp_path):
    profile = fit(views)
    curve = profile.scale_curve
    assert curve is not None
    for distance in np.linspace(9, 36, 20):
        value, std = curve.at(distance)
        true = 1000 * (distance - ZERO) / FOCAL
        assert abs(value / true - 1) < 5e-4
        assert abs(value - true) < 4 * std
    lens = profile.radial_lens
    assert lens is not None
    plain = Lens(WIDTH, HEIGHT, FOCAL, 20.0, (0.0, 0.0), 0.35, -1.15, (2.0, -1.5))
    x, y = np.meshgrid(np.linspace(20, 620, 7), np.linspace(20, 460, 5))
    pixels = np.stack([x.ravel(), y.ravel()], 1)
    straight = plain.on_skin(pixels) / plain.centre_um_per_px + plain.centre_px
    assert np.abs(lens.undistort(pixels) - straight).max() < 0.3
    assert profile.lens is not None
    assert 0 < profile.lens.k1_std < 0.01
    assert [sharpness.psf_sigma_px for sharpness in profile.point_spread] == [1 + abs(d - 20) / 10 for d in DISTANCES]
    assert [view.n_points for view in profile.views] == [view.n_points for view in views]
    assert [view.file for view in profile.views] == [f"picture {n}" for n in range(1, 7)]
    assert profile.id == profile_id(profile.content())
    assert (profile.made_utc, profile.expires_utc) == (NOW, NOW + LIFETIME)
    assert read_profile(write_profile(tmp_path, profile)) == profile
    np.testing.assert_allclose([view.residual_um_per_px for view in profile.views], curve.residuals)


def test_tilt_is_taken_out_of_the_scale():
    rng = np.random.default_rng(8)
    errors = []
    for _ in range(12):
        view = seen(20.0, rng, tuple(np.radians(rng.choice([-1, 1], 2) * 3.5)))
        plane = fit_plane(view.points, WIDTH, HEIGHT)
        true = 1000 * (20.0 - ZERO) / FOCAL
        assert plane.um_per_px / true - 1 > 1e-3
        value, std = square_scale(plane)
        errors.append((value - true) / std)
        assert abs(value / true - 1) < 5e-4
    assert np.mean(np.abs(errors) < 2) > 0.8


def test_a_hood_of_one_height_needs_no_curve():
    rng = np.random.default_rng(9)
    hood = Hood(name="clear 20", height_mm=20.0, height_std_mm=0.1)
    profile = fit([seen(20.0, rng, tilts(rng)) for _ in range(3)], [20.0] * 3, hood=hood)
    assert profile.curve is None
    assert profile.hood_scale is not None
    assert profile.hood_scale.um_per_px == pytest.approx(22000 / FOCAL, rel=5e-4)
    assert 0 < profile.hood_scale.um_per_px_std < 0.01
    assert all(view.residual_um_per_px is None for view in profile.views)
    one = fit([seen(20.0, rng)], [20.0], hood=hood)
    assert one.lens is not None
    assert one.lens.k1_std is None
    assert one.hood_scale is not None


def test_a_wrong_picture_is_named_in_the_profile(views):
    distances = list(DISTANCES)
    distances[5] = 36.5
    profile = fit(views, distances, files=[f"{n}.png" for n in "abcdef"])
    assert [view.file for view in profile.views if not view.used] == ["f.png"]
    assert profile.curve is not None
    assert profile.curve.high_mm == 29.0


@pytest.mark.parametrize(
    ("distances", "more", "says"),
    [
        (DISTANCES[:5], {}, "6 pictures and 5 distances"),
        ([20.0] * 6, {}, "all 6 pictures are at one distance"),
        ([14.0] * 6, {"hood": HOOD}, "pictures are at 14 mm and hood 'clear 20' holds the skin at 20 mm"),
        (DISTANCES, {"hood": TALL}, "'tall' holds the skin at 45 mm, the pictures cover 10 to 35 mm"),
        (DISTANCES[::-1], {}, "in another order than the pictures"),
        ([d / 10 for d in DISTANCES], {}, "implausible for the lens"),
    ],
)
def test_pictures_that_make_no_profile_are_refused(views, distances, more, says):
    with pytest.raises(CurveError, match=says):
        fit(views, distances, **more)


def scaled(views, factor):
    return [replace(v, points=replace(v.points, target_mm=v.points.target_mm * factor)) for v in views]


@pytest.fixture(scope="module")
def tilted():
    rng = np.random.default_rng(11)
    return [seen(d, rng, tuple(np.radians(rng.choice([-1, 1], 2) * rng.uniform(1.5, 3.5, 2)))) for d in DISTANCES]


@pytest.mark.parametrize("factor", [0.4, 0.5, 2.0, 3.0])
def test_a_wrong_pitch_is_seen_by_the_perspective(tilted, factor):
    says = rf"focal length of 1[89]\d\d px.*check the pitch of the target \(about {1 / factor:.0f}?[.\d]* of the one stated would fit\)"
    with pytest.raises(CurveError, match=says):
        fit(scaled(tilted, factor))
    fit(scaled(tilted, 1.1))


def test_views_that_are_flat_or_of_oblong_pixels_tell_no_focal_length(tilted):
    planes = fit_planes([v.points for v in tilted], WIDTH, HEIGHT)[1]
    assert perspective_focal_px(planes) == pytest.approx(FOCAL, rel=0.1)
    assert perspective_focal_px(planes[:2]) is None
    rng = np.random.default_rng(12)
    flat = fit_planes([seen(d, rng).points for d in DISTANCES], WIDTH, HEIGHT)[1]
    assert perspective_focal_px(flat) is None
    oblong = [replace(v.points, pixels=v.points.pixels * (1, 0.97)) for v in tilted]
    assert perspective_focal_px(fit_planes(oblong, WIDTH, HEIGHT)[1]) is None


def test_what_no_profile_can_hold_is_named(views):
    with pytest.raises(ProfileError, match="note: String should have at most 2000 characters"):
        fit(views, note="x" * 3000)
    with pytest.raises(CurveError, match="0 pictures"):
        fit([], [])
    tiny = [Seen(points_of(v.points.pixels, v.points.target_mm / 1000), None, v.n_points) for v in views]
    with pytest.raises(CurveError, match=r"picture 1: 0\.00632 µm per pixel is no microscope's scale: check the pitch"):
        fit(tiny)


def test_the_targets_tolerance_is_common_to_all(views):
    plain, loose = (fit(views, pitch_std_percent=percent).scale_curve for percent in (0.0, 0.5))
    assert plain is not None
    assert loose is not None
    (value, std), (same, wider) = plain.at(20.0), loose.at(20.0)
    assert value == same
    assert wider == pytest.approx(np.hypot(std, 0.005 * value))


def test_light_is_kept(views):
    relative = np.linspace(0.123456, 1, 2 * 3 * 3).reshape(2, 3, 3)
    part = light_part(20.0, FlatField(relative), GreyBalance((1.1, 1.0, 0.9)), ColourMatrix(((1.0, 0.0, 0.0),) * 3, 2.5))
    profile = fit(views, light=[part])
    assert profile.light == (part,)
    np.testing.assert_allclose(np.array(part.flat_field), relative, atol=5e-5)
    assert (part.grey_gains, part.colour_residual) == ((1.1, 1.0, 0.9), 2.5)
