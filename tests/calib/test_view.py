import math
import re

import numpy as np
import pytest
from numpy.typing import NDArray

import calib.view
from calib.errors import TargetNotFoundError
from calib.lens import straight_lens
from calib.points import TargetPoints, points_of
from calib.targets import Checker, Dots, parse_target
from calib.view import look_at
from device.simulated.faults import draw_faults
from device.simulated.scene import render_scene
from tests.calib.flat_scenes import Scene, lens, scene

TEXTS = {
    "dots": ("dots:{p}", 34.0),
    "checker": ("checker:{p}", 40.0),
    "charuco": ("charuco:14x11,{p},{m},DICT_5X5_250", 48.0),
    "micrometer": ("micrometer:{u}", 14.0),
    "ring": ("hood-ring:5.4", 24.0),
}


@pytest.fixture(scope="module")
def scenes() -> dict[str, Scene]:
    return {kind: scene(text, pitch, turn=0.1 if kind == "micrometer" else 0.4) for kind, (text, pitch) in TEXTS.items()}


@pytest.mark.parametrize("kind", ["dots", "checker", "charuco"])
def test_a_target_tells_scale_tilt_and_sharpness(kind: str, scenes: dict[str, Scene]) -> None:
    taken = scenes[kind]
    view = look_at(taken.image, taken.target)
    assert view.um_per_px == pytest.approx(taken.um_per_px, rel=1.5e-4)
    assert view.um_per_px == pytest.approx(math.sqrt(view.um_per_px_x * view.um_per_px_y), rel=1e-3)
    assert 0 < view.um_per_px_std < 2e-4 * view.um_per_px
    assert view.tilt_deg == pytest.approx(3.6, abs=0.4)
    assert view.psf_sigma_px == pytest.approx(0.95, rel=0.1)
    assert view.n_points == int(view.plane.used.sum()) > 30
    assert len(view.points) >= view.n_points


def test_a_ruler_tells_the_scale_across_its_lines(scenes: dict[str, Scene]) -> None:
    taken = scenes["micrometer"]
    view = look_at(taken.image, taken.target)
    assert view.um_per_px == pytest.approx(taken.um_per_px, rel=2e-3)
    assert view.um_per_px_x is not None and view.um_per_px_y is None and view.tilt_deg is None


def test_the_targets_own_tolerance_is_added(scenes: dict[str, Scene]) -> None:
    taken = scenes["dots"]
    plain, doubtful = (look_at(taken.image, taken.target, pitch_std_percent=p) for p in (0.0, 0.5))
    assert doubtful.um_per_px == plain.um_per_px
    assert doubtful.um_per_px_std == pytest.approx(math.hypot(plain.um_per_px_std, 0.005 * plain.um_per_px))


def test_a_known_lens_is_used(scenes: dict[str, Scene]) -> None:
    taken = scenes["checker"]
    known = look_at(taken.image, taken.target).plane.lens
    assert look_at(taken.image, taken.target, lens=known).plane.lens is known
    straight = look_at(taken.image, taken.target, lens=straight_lens(640, 480))
    assert straight.um_per_px != pytest.approx(taken.um_per_px, rel=1e-3)


@pytest.mark.parametrize("kind", ["dots", "checker", "charuco"])
def test_the_uncertainty_is_honest_on_pictures(kind: str) -> None:
    text, pitch = TEXTS[kind]
    size = []
    for seed in range(7):
        rng = np.random.default_rng(seed)
        under = lens(320, 240, tuple(rng.uniform(-3, 3, 2)), rng.uniform(-0.4, 0.4), rng.uniform(5, 40))
        taken = scene(text, 0.8 * pitch, under=under, turn=rng.uniform(0, 6), faults=draw_faults(rng), seed=seed)
        view = look_at(taken.image, taken.target)
        assert view.um_per_px == pytest.approx(taken.um_per_px, rel=1e-3)
        size.append(abs(view.um_per_px - taken.um_per_px) / view.um_per_px_std)
    assert sorted(size)[5] < 2.5
    assert 0.15 < np.median(size) < 1.6


@pytest.mark.parametrize("asked", ["dots", "checker", "charuco"])
@pytest.mark.parametrize("shown", list(TEXTS))
def test_no_target_is_taken_for_another(asked: str, shown: str, scenes: dict[str, Scene]) -> None:
    if asked == shown:
        return
    with pytest.raises(TargetNotFoundError, match=re.escape(str(scenes[asked].target))):
        look_at(scenes[shown].image, scenes[asked].target)


@pytest.mark.parametrize("kind", list(TEXTS))
def test_a_scalp_a_blank_and_noise_are_no_target(kind: str, scenes: dict[str, Scene]) -> None:
    scalp = np.asarray(render_scene(3, kind="realistic").picture * 255, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    for image in (scalp, noise, np.full((480, 640, 3), 180, np.uint8), np.zeros((480, 640, 3), np.uint8)):
        with pytest.raises(TargetNotFoundError):
            look_at(image, scenes[kind].target)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((480, 640), np.uint8),
        np.zeros((480, 640, 4), np.uint8),
        np.zeros((480, 640, 3), np.float32),
        np.zeros((20, 640, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(TargetNotFoundError, match="picture of"):
        look_at(image, Dots(0.5))


def test_a_scale_that_no_microscope_has_is_refused(scenes: dict[str, Scene]) -> None:
    with pytest.raises(TargetNotFoundError, match="check the pitch"):
        look_at(scenes["dots"].image, Dots(20.0))


def answering(monkeypatch: pytest.MonkeyPatch, points: TargetPoints) -> None:
    monkeypatch.setattr(calib.view, "_find", lambda image, target: points)


def grid_points(step_x: float = 30.0, step_y: float = 30.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    index = np.stack(np.meshgrid(np.arange(18), np.arange(14)), -1).reshape(-1, 2).astype(float)
    return 40 + index * (step_x, step_y), index * 0.3


@pytest.mark.parametrize(("doubt", "says"), [("noise", "lie .* px off"), ("outliers", "only .* points"), ("oblong", "drawn out")])
def test_points_that_are_no_flat_targets_are_refused(monkeypatch: pytest.MonkeyPatch, doubt: str, says: str) -> None:
    rng = np.random.default_rng(1)
    pixels, mm = grid_points(step_y=32.5 if doubt == "oblong" else 30.0)
    pixels = pixels + rng.normal(0, 1.2 if doubt == "noise" else 0.03, pixels.shape)
    if doubt == "outliers":
        pixels[::3] += rng.choice([-6.0, 6.0], pixels[::3].shape)
    answering(monkeypatch, points_of(pixels, mm))
    with pytest.raises(TargetNotFoundError, match=says):
        look_at(np.zeros((480, 640, 3), np.uint8), Checker(0.3))


def test_a_scale_hardly_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, mm = grid_points()
    few = [0, 1, 18, 19]
    answering(monkeypatch, points_of(pixels[few] + np.random.default_rng(2).normal(0, 0.3, (4, 2)), mm[few], 2.0))
    with pytest.raises(TargetNotFoundError, match="only to"):
        look_at(np.zeros((480, 640, 3), np.uint8), parse_target("dots:0.3"))
