import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calib.errors import TargetNotFoundError
from calib.finding.boards import find_board
from calib.finding.corners import fit_corners, saddles
from calib.finding.markers import marker_places
from calib.plane import fit_plane
from calib.targets import Charuco, Checker, parse_target
from device.simulated.faults import CameraFaults
from tests.calib.flat_scenes import WORN, Scene, lens, off_truth, scene

CHARUCO = "charuco:14x11,{p},{m},DICT_5X5_250"


def true_corners(taken: Scene) -> NDArray[np.float64]:
    """Where all inner corners of a plain board's sheet are seen, px."""
    pitch = taken.target.pitch_mm
    count = round(taken.flat.picture.shape[1] * taken.flat.um_per_px / 1000 / pitch) - 2
    along = (np.arange(1, count) - count / 2) * pitch
    return taken.seen(np.stack(np.meshgrid(along, along), -1).reshape(-1, 2))


@pytest.mark.parametrize(("pitch_px", "within"), [(11.0, 0.06), (24.0, 0.02), (95.0, 0.02)])
def test_corners_of_a_plain_board_are_found_where_they_are(pitch_px: float, within: float) -> None:
    taken = scene("checker:{p}", pitch_px)
    points = find_board(taken.image, taken.target)
    truth = true_corners(taken)
    off = off_truth(points.pixels, truth)
    assert np.abs(off.mean(0)).max() < 0.01
    assert np.sqrt(np.mean(off**2)) < within
    whole = ((truth > 0.5 * pitch_px) & (truth < np.array([639, 479]) - 0.5 * pitch_px)).all(1)
    assert len(points) >= 0.98 * whole.sum()
    fit = fit_plane(points, 640, 480)
    assert fit.um_per_px == pytest.approx(taken.um_per_px, rel=1.5e-4)


@pytest.mark.parametrize(("pitch_px", "within"), [(22.0, 0.04), (46.0, 0.02), (80.0, 0.02)])
def test_corners_of_a_charuco_board_have_their_own_places(pitch_px: float, within: float) -> None:
    taken = scene(CHARUCO, pitch_px)
    points = find_board(taken.image, taken.target)
    off = points.pixels - taken.seen(points.target_mm)
    assert np.abs(off.mean(0)).max() < 0.01  # no half pixel of a detector's
    assert np.sqrt(np.mean(off**2)) < within
    fit = fit_plane(points, 640, 480)
    assert fit.um_per_px == pytest.approx(taken.um_per_px, rel=1.5e-4)


@pytest.mark.parametrize("text", ["checker:{p}", CHARUCO], ids=["checker", "charuco"])
@pytest.mark.parametrize("faults", [WORN, CameraFaults(defocus_px=2.5, noise=0.01)], ids=["worn", "blurred"])
def test_a_worn_or_blurred_camera_sees_the_scale_too(text: str, faults: CameraFaults) -> None:
    taken = scene(text, 52.0, faults=faults)
    fit = fit_plane(find_board(taken.image, taken.target), 640, 480)
    assert fit.um_per_px == pytest.approx(taken.um_per_px, rel=3e-4)
    assert fit.tilt_deg == pytest.approx(3.6, abs=0.4)


@pytest.mark.parametrize("text", ["checker:{p}", CHARUCO], ids=["checker", "charuco"])
@pytest.mark.parametrize(("width", "height", "pitch_px"), [(320, 240, 36.0), (960, 540, 70.0)])
def test_small_and_large_pictures(text: str, width: int, height: int, pitch_px: float) -> None:
    taken = scene(text, pitch_px, under=lens(width, height))
    fit = fit_plane(find_board(taken.image, taken.target), width, height)
    assert fit.um_per_px == pytest.approx(taken.um_per_px, rel=5e-4)


def test_a_part_of_a_board_will_do() -> None:
    taken = scene(CHARUCO, 40.0, shift_px=(250.0, 140.0), turn=2.6)
    points = find_board(taken.image, taken.target)
    assert 20 < len(points) < 100
    assert np.abs(points.pixels - taken.seen(points.target_mm)).max() < 0.1
    small = scene("checker:{p}", 60.0, larger=0.7)
    fit = fit_plane(find_board(small.image, small.target), 640, 480)
    assert fit.um_per_px == pytest.approx(small.um_per_px, rel=1e-3)


def test_a_board_as_opencv_draws_it_is_ours() -> None:
    board = cv2.aruco.CharucoBoard((14, 11), 0.5, 0.375, cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_250))
    theirs = np.array(board.getObjPoints())[:, :, :2] - np.array([7, 5.5]) * 0.5
    assert marker_places(Charuco(14, 11, 0.5, 0.375, "DICT_5X5_250")) == pytest.approx(theirs, abs=1e-5)
    older = cv2.aruco.CharucoBoard((8, 6), 0.5, 0.375, cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_250))
    older.setLegacyPattern(True)
    theirs = np.array(older.getObjPoints())[:, :, :2] - np.array([4, 3]) * 0.5
    assert marker_places(Charuco(8, 6, 0.5, 0.375, "DICT_5X5_250"), older=True) == pytest.approx(theirs, abs=1e-5)
    picture = cv2.copyMakeBorder(older.generateImage((560, 420)), 30, 30, 40, 40, cv2.BORDER_CONSTANT, value=255)
    image = np.repeat(cv2.GaussianBlur(picture, (0, 0), 0.9)[..., None], 3, 2)
    points = find_board(image, Charuco(8, 6, 0.5, 0.375, "DICT_5X5_250"))
    assert len(points) == 35
    assert points.pixels == pytest.approx(points.target_mm / 0.5 * 70 + np.array([319.5, 239.5]), abs=0.05)


@pytest.fixture(scope="module")
def board_seen() -> Scene:
    return scene(CHARUCO, 46.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("charuco:14x11,{p},{m},DICT_4X4_250", "markers of DICT_5X5 are seen, expected DICT_4X4_250"),
        ("charuco:14x11,{p},{m},DICT_6X6_250", "markers of DICT_5X5 are seen"),
        ("charuco:5x4,{p},{m},DICT_5X5_50", "0–9"),
        ("charuco:12x9,{p},{m},DICT_5X5_250", "lie as on|numbered up to"),
        ("charuco:11x14,{p},{m},DICT_5X5_250", "lie as on"),
    ],
)
def test_another_board_than_described_is_refused(board_seen: Scene, text: str, says: str) -> None:
    pitch = board_seen.target.pitch_mm
    with pytest.raises(TargetNotFoundError, match=says):
        find_board(board_seen.image, parse_target(text.format(p=pitch, m=0.75 * pitch)))


@pytest.mark.parametrize("ratio", [0.5, 0.6, 0.7, 0.8])
def test_other_markers_than_described_are_refused(board_seen: Scene, ratio: float) -> None:
    pitch = board_seen.target.pitch_mm
    with pytest.raises(TargetNotFoundError, match=r"0\.7[45]\d of a square wide"):
        find_board(board_seen.image, Charuco(14, 11, pitch, ratio * pitch, "DICT_5X5_250"))


def test_a_marked_board_is_no_plain_one_nor_the_other_way_round(board_seen: Scene) -> None:
    with pytest.raises(TargetNotFoundError, match=r"which target lies there|marks"):
        find_board(board_seen.image, Checker(board_seen.target.pitch_mm))
    with pytest.raises(TargetNotFoundError, match="0 of its markers"):
        find_board(scene("checker:{p}", 46.0).image, board_seen.target)


@pytest.mark.parametrize("target", [Checker(0.5), Charuco(14, 11, 0.5, 0.375, "DICT_5X5_250")], ids=["checker", "charuco"])
@pytest.mark.parametrize(
    "image",
    [
        np.full((480, 640, 3), 200, np.uint8),
        np.zeros((480, 640, 3), np.uint8),
        np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8),
        np.repeat((127 + 100 * np.sin(np.arange(640) / 5.0)).astype(np.uint8)[None, :, None].repeat(480, 0), 3, 2),
    ],
    ids=["white", "black", "noise", "stripes"],
)
def test_what_is_no_board_is_refused(image: NDArray[np.uint8], target: Checker | Charuco) -> None:
    with pytest.raises(TargetNotFoundError, match=r"was not found: .*(bring|check|give)"):
        find_board(image, target)


@pytest.mark.parametrize("target", [Checker(0.5), Charuco(14, 11, 0.5, 0.375, "DICT_5X5_250")], ids=["checker", "charuco"])
@pytest.mark.parametrize(("text", "pitch_px"), [("dots:{p}", 30.0), ("dots:{p}", 11.0), ("micrometer:{u}", 14.0)])
def test_another_target_is_no_board(target: Checker | Charuco, text: str, pitch_px: float) -> None:
    with pytest.raises(TargetNotFoundError):
        find_board(scene(text, pitch_px).image, target)


def test_two_squares_of_a_board_are_too_few() -> None:
    taken = scene("checker:{p}", 230.0, larger=2.0)
    with pytest.raises(TargetNotFoundError, match=r"was not found"):
        find_board(taken.image, taken.target)


def test_a_corner_of_known_edges_is_fitted_with_its_blur() -> None:
    fine = np.arange(61 * 20) / 20 - 30 + 1 / 40 - 0.5
    x, y = np.meshgrid(fine, fine)
    x, y = x - 0.3, y + 0.2  # the corner lies at (30.3, 29.8)
    first, second = 0.3, 0.3 + np.pi / 2 + 0.03
    signs = np.sign(np.cos(first) * y - np.sin(first) * x) * np.sign(np.cos(second) * y - np.sin(second) * x)
    sharp = (120 + 80 * signs).reshape(61, 20, 61, 20).mean((1, 3)).astype(np.float32)
    picture = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 1.4), np.float32)
    found = saddles(picture, 1.2)[0]
    found = found[np.argmin(np.sum((found - (30, 30)) ** 2, 1))][None]
    assert found[0] == pytest.approx([30.3, 29.8], abs=1.0)
    corners = fit_corners(picture, found, np.array([[0.35, 0.3 + np.pi / 2]]), 15.0)
    assert corners.settled.all()
    assert corners.places[0] == pytest.approx([30.3, 29.8], abs=0.01)
    assert corners.spread_px == pytest.approx(np.hypot(1.4, 0.29), rel=0.02)
