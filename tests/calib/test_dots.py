import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calib.errors import TargetNotFoundError
from calib.finding.colour import green_place, luma
from calib.finding.dots import find_dots
from calib.finding.grid import grow_grid, largest_block, square_steps
from calib.plane import fit_plane
from calib.targets import Dots
from device.simulated.faults import CameraFaults
from tests.calib.flat_scenes import SHARP, WORN, Scene, lens, off_truth, scene


def true_dots(taken: Scene) -> NDArray[np.float64]:
    """Where the centres of all dots of the sheet are seen, px."""
    pitch = taken.target.pitch_mm
    sheet = taken.flat.picture.shape[1] * taken.flat.um_per_px / 1000
    count = round(sheet / pitch)
    along = (np.arange(count) - (count - 1) / 2) * pitch
    return taken.seen(np.stack(np.meshgrid(along, along), -1).reshape(-1, 2))


@pytest.mark.parametrize(("pitch_px", "within"), [(11.0, 0.06), (20.0, 0.02), (44.0, 0.015), (75.0, 0.015)])
def test_dots_are_found_where_they_are(pitch_px: float, within: float) -> None:
    taken = scene("dots:{p}", pitch_px)
    points = find_dots(taken.image, taken.target)
    truth = true_dots(taken)
    off = off_truth(points.pixels, truth)
    assert np.abs(off.mean(0)).max() < 0.005
    assert np.sqrt(np.mean(off**2)) < within
    whole = ((truth > 0.5 * pitch_px) & (truth < np.array([639, 479]) - 0.5 * pitch_px)).all(1)
    assert len(points) >= 0.98 * whole.sum()
    fit = fit_plane(points, 640, 480)
    assert fit.um_per_px == pytest.approx(taken.um_per_px, rel=1.5e-4)
    assert fit.used.mean() > 0.99


@pytest.mark.parametrize("faults", [WORN, CameraFaults(defocus_px=2.5, noise=0.01)], ids=["worn", "blurred"])
def test_a_worn_or_blurred_camera_sees_the_scale_too(faults: CameraFaults) -> None:
    taken = scene("dots:{p}", 26.0, faults=faults)
    points = find_dots(taken.image, taken.target)
    fit = fit_plane(points, 640, 480)
    assert fit.um_per_px == pytest.approx(taken.um_per_px, rel=1.5e-4)
    assert fit.tilt_deg == pytest.approx(3.6, abs=0.3)


@pytest.mark.parametrize(("width", "height", "pitch_px"), [(320, 240, 30.0), (960, 540, 50.0)])
def test_small_and_large_pictures(width: int, height: int, pitch_px: float) -> None:
    taken = scene("dots:{p}", pitch_px, under=lens(width, height))
    fit = fit_plane(find_dots(taken.image, taken.target), width, height)
    assert fit.um_per_px == pytest.approx(taken.um_per_px, rel=3e-4)


def test_specks_and_stains_are_no_dots() -> None:
    taken = scene("dots:{p}", 36.0)
    image, rng = taken.image.copy(), np.random.default_rng(2)
    for x, y in rng.uniform([0, 0], [640, 480], (60, 2)):
        cv2.circle(image, (int(x * 16), int(y * 16)), int(rng.uniform(1.0, 2.5) * 16), (60, 60, 60), -1, cv2.LINE_AA, 4)
    cv2.ellipse(image, (420, 300), (70, 40), 20, 0, 360, (90, 90, 90), -1, cv2.LINE_AA)
    points = find_dots(image, taken.target)
    fit = fit_plane(points, 640, 480)
    assert fit.um_per_px == pytest.approx(taken.um_per_px, rel=5e-4)
    assert np.abs(off_truth(points.pixels[fit.used], true_dots(taken))).max() < 0.5


def test_what_lateral_colour_does_to_a_jpeg_is_taken_off() -> None:
    taken = scene("dots:{p}", 30.0, faults=CameraFaults(defocus_px=0.9, chroma_px=0.4, noise=0.004, jpeg_quality=88))
    fit = fit_plane(find_dots(taken.image, taken.target), 640, 480)
    assert fit.um_per_px == pytest.approx(taken.um_per_px, rel=5e-5)  # without, the luma is off by 1.8e-4
    assert green_place(taken.image).zoom == pytest.approx(-0.185 * 0.4 / 400, rel=0.25)


def test_green_lies_where_luma_does_in_a_grey_picture() -> None:
    image = np.repeat(scene("dots:{p}", 30.0).image[..., 1:2], 3, 2)
    place = green_place(image)
    assert abs(place.zoom) < 1e-9
    assert place.of(np.array([[3.0, 4.0]])) == pytest.approx(np.array([[3.0, 4.0]]), abs=1e-6)
    assert luma(image) == pytest.approx(image[..., 1].astype(float), abs=1e-3)
    flat = np.full((480, 640, 3), 120, np.uint8)
    assert green_place(flat).zoom == 0.0


def drawn(places: NDArray[np.float64], radius: float, shape: str = "disc") -> NDArray[np.uint8]:
    """Dark shapes on bright ground, four times finer and averaged."""
    canvas = np.full((1920, 2560), 220, np.uint8)
    for x, y in np.rint(places * 4).astype(int).tolist():
        r = round(radius * 4)
        if shape == "disc":
            cv2.circle(canvas, (x, y), r, 20, -1)
        elif shape == "ring":
            cv2.circle(canvas, (x, y), r, 20, 6)
        else:
            cv2.drawMarker(canvas, (x, y), 20, cv2.MARKER_CROSS, 2 * r, 10)
    small = cv2.GaussianBlur(cv2.resize(canvas, (640, 480), interpolation=cv2.INTER_AREA), (0, 0), 0.8)
    return np.repeat(small[..., None], 3, 2)


def lattice(step_x: float, step_y: float, shear: float = 0.0) -> NDArray[np.float64]:
    j, i = np.mgrid[1 : int(470 / step_y), 1 : int(620 / step_x)]
    return np.stack([(i + shear * (j % 2)) * step_x, j * step_y], -1).reshape(-1, 2)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.full((480, 640, 3), 200, np.uint8), "0 dark spots"),
        (np.zeros((480, 640, 3), np.uint8), "0 dark spots"),
        (np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8), "needed|no square grid"),
        (drawn(np.array([[100.0, 100], [130, 100], [160, 100]]), 6), "at least 9"),
        (drawn(np.random.default_rng(2).uniform(20, 460, (150, 2)), 5), "no square grid"),
        (drawn(lattice(20, 17.3, 0.5), 5), "no square grid"),
        (drawn(lattice(20, 26), 5), "needed|no square grid"),
        (drawn(lattice(20, 20)[:16], 5), "1 rows"),
        (drawn(lattice(24, 24), 7, "ring"), "dark spots|round"),
        (drawn(lattice(24, 24), 7, "cross"), "dark spots|round"),
        (255 - drawn(lattice(24, 24), 6), "not found"),
    ],
    ids=["white", "black", "noise", "three", "scattered", "hexagonal", "oblong", "one row", "rings", "crosses", "bright"],
)
def test_what_is_no_dot_grid_is_refused(image: NDArray[np.uint8], says: str) -> None:
    with pytest.raises(TargetNotFoundError, match=says):
        find_dots(image, Dots(0.5))


@pytest.mark.parametrize(
    "text", ["checker:{p}", "charuco:14x11,{p},{m},DICT_5X5_250", "micrometer:{u}"], ids=["checker", "charuco", "micrometer"]
)
def test_another_target_is_no_dot_grid(text: str) -> None:
    with pytest.raises(TargetNotFoundError):
        find_dots(scene(text, 40.0, faults=SHARP).image, Dots(0.5))


def test_a_bent_grid_is_numbered_to_its_ends() -> None:
    column, row = (part.ravel() for part in np.meshgrid(np.arange(-20, 21), np.arange(-15, 16)))
    flat = 14.0 * np.stack([column, row], 1)
    bent = flat * (1 + 0.08 * np.sum(flat**2, 1, keepdims=True) / 350**2)
    kept = np.random.default_rng(3).random(len(bent)) > 0.1
    places = bent[kept] + 400
    steps = square_steps(places)
    assert steps is not None
    index, on = grow_grid(places, steps, np.array([400.0, 400.0]))
    assert on.mean() > 0.99
    true = np.stack([column, row], 1)[kept][on]
    found = index[on] - index[on][0] + true[0]
    turned = [found, *(np.stack([s * (index[on][:, a] - index[on][0, a]), t * (index[on][:, b] - index[on][0, b])], 1) + true[0]
              for a, b in ((0, 1), (1, 0)) for s in (1, -1) for t in (1, -1))]  # fmt: skip
    assert any((candidate == true).all() for candidate in turned)
    block = largest_block(index, on)
    assert 0.9 < block.mean() <= 1
    alone = np.array([(0, 0), (1, 0), (2, 0)]), np.ones(3, np.bool_)
    assert not largest_block(*alone).any()
