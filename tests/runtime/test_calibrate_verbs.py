"""`trichoscope calibrate target | predict | verify | show`, as a script calls them: what is printed where, exit codes, files."""

import io
import json
import math
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from calib.drawing import Drawing, draw_target, flat_picture, rectangle
from calib.profile import Sharpness, View
from calib.targets import parse_target
from device.simulated.faults import CameraFaults
from device.simulated.flat import grey_flat, photograph_flat
from device.simulated.lens import lens_for
from runtime.cli import build
from runtime.commands.calibrate.options import UsageError, distances_of, order_of
from tests.runtime.profile_samples import profile, write


def calibrate(*arguments):
    result = CliRunner().invoke(build("calibrate"), ["calibrate", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module", autouse=True)
def fonts(tmp_path_factory):
    """Matplotlib keeps the files of its fonts open for good: the first text of all tests opens them before any of them is watched."""
    assert calibrate("target", "dots:1", "--out", tmp_path_factory.mktemp("fonts") / "dots.pdf")[0] == 0


def test_a_target_is_drawn_as_the_file_s_name_says(tmp_path):
    for ending, begin in ((".pdf", b"%PDF"), (".svg", b"<?xml"), (".PNG", b"\x89PNG")):
        file = tmp_path / f"target{ending}"
        code, out, err = calibrate("target", "charuco:6x5,2,1.5,DICT_4X4_50", "--out", file, "--dpi", "300")
        assert (code, out) == (0, "") and str(file) in err and "ruler must measure 50 mm" in err
        assert file.read_bytes().startswith(begin)
    code, _, err = calibrate("target", "dots:0.5", "--out", file)
    assert code == 2 and "exists already" in err and file.read_bytes().startswith(b"\x89PNG")
    assert calibrate("target", "dots:0.5", "--out", file, "--force", "--sheet", "60x40", "--dpi", "508")[0] == 0
    with Image.open(file) as picture:
        assert picture.size == (1200, 800) and picture.info["dpi"][0] == pytest.approx(508, abs=0.01)


def test_a_bare_png_is_the_flat_target_alone(tmp_path):
    assert calibrate("target", "dots:0.5", "--out", tmp_path / "d.png", "--bare", "--sheet", "8x6", "--dpi", "2540")[0] == 0
    with Image.open(tmp_path / "d.png") as picture:
        pixels = np.asarray(picture)
    np.testing.assert_array_equal(pixels, np.rint(flat_picture(draw_target(parse_target("dots:0.5"), 8, 6), 10.0) * 255))


def test_the_opening_of_a_hood_ring_is_clear(tmp_path):
    assert calibrate("target", "hood-ring:8,3", "--out", tmp_path / "r.png", "--bare", "--dpi", "1270")[0] == 0
    with Image.open(io.BytesIO((tmp_path / "r.png").read_bytes())) as picture:
        alpha = np.asarray(picture.getchannel("A"))
    assert alpha[alpha.shape[0] // 2, alpha.shape[1] // 2] == 0 and alpha[0, 0] == 255


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("dots:x", "--out", "t.pdf"), "target 'dots:x'"),
        (("dots:0.5", "--out", "t.txt"), "t.txt: drawn as PDF, SVG or PNG"),
        (("dots:0.5", "--out", "t.pdf", "--sheet", "5"), "is no size"),
        (("dots:5", "--out", "t.pdf", "--sheet", "50x40"), "no room"),
        (("dots:0.02", "--out", "t.png"), "1.9 px at 2400 dpi"),
    ],
)
def test_a_target_that_cannot_be_drawn_is_refused(tmp_path, monkeypatch, arguments, what):
    monkeypatch.chdir(tmp_path)
    code, out, err = calibrate("target", *arguments)
    assert (code, out) == (2, "") and what in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_predict_gives_the_scale_at_a_distance(tmp_path):
    file = write(tmp_path, profile(6.0, curve=True))
    code, out, err = calibrate("predict", file, "--distance-mm", "20", "--distance-std-mm", "0.2")
    found = json.loads(out)
    assert (code, err, found["valid"]) == (0, "", True)
    assert found["um_per_px"] == pytest.approx(10.0)
    assert found["um_per_px_std"] == pytest.approx(math.sqrt(0.1**2 + 1e-8 + 400e-10), rel=1e-3)
    own = json.loads(calibrate("predict", file, "--distance-mm", "20")[1])["um_per_px_std"]
    assert own == pytest.approx(0.05, rel=0.01)  # by the σ of the calibration's distances, 0.1 mm


@pytest.mark.parametrize(
    ("made", "distance", "why"),
    [
        ({"curve": True}, "7.5", "outside the calibrated 10 to 30 mm"),
        ({"curve": True}, "33", "outside the calibrated"),
        ({"curve": True}, "nan", "outside the calibrated"),
        ({}, "12", "no curve over distances"),
        ({"curve": True, "days": 1, "made": datetime(2020, 1, 1, tzinfo=timezone.utc)}, "20", "expired on 2020-01-02"),
    ],
)
def test_predict_gives_no_number_where_there_is_none(tmp_path, made, distance, why):
    file = write(tmp_path, profile(**made))
    code, out, err = calibrate("predict", file, "--distance-mm", distance)
    assert code == 0 and why in err and str(file) in err
    assert json.loads(out) == {"um_per_px": None, "um_per_px_std": None, "valid": False}


@pytest.mark.parametrize("verb", [("predict", "--distance-mm", "20"), ("show",), ("show", "--json")])
def test_a_damaged_or_foreign_profile_is_refused(tmp_path, verb):
    file = write(tmp_path, profile(curve=True))
    text = file.read_text()
    for content in (text.replace("a test", "a best"), text[:-40], "{}", "", '{"schema": "trichoscope/profile/2"}'):
        file.write_text(content)
        code, out, err = calibrate(verb[0], file, *verb[1:])
        assert (code, out) == (1, "") and str(file) in err and err.count("\n") == 1
    code, out, err = calibrate(verb[0], tmp_path / "none.json", *verb[1:])
    assert (code, out) == (1, "") and "no such file" in err


def test_show_is_for_people_for_programs_and_a_picture(tmp_path):
    views = tuple(
        View(
            file=f"p{n}.png",
            distance_mm=10.0 + 5 * n,
            um_per_px=5.0 + 2.5 * n,
            um_per_px_std=0.001,
            residual_um_per_px=0.0025,
            used=n != 2,
            tilt_deg=None,
            psf_sigma_px=1.0,
            n_points=40,
        )
        for n in range(5)
    )
    sharp = tuple(Sharpness(distance_mm=10.0 + 5 * n, psf_sigma_px=1.0 + n / 5) for n in range(5))
    made = profile(6.0, curve=True, views=views, point_spread=sharp)
    file = write(tmp_path, made)
    code, out, err = calibrate("show", file)
    assert (code, err) == (0, "")
    for told in (made.id, "scripted", "64×48 px", "dots:0.5", "p3.png", "left out", "from 10 to 30 mm", "spacer 12", "+0.25"):
        assert told in out
    code, out, err = calibrate("show", file, "--json", "--picture", tmp_path / "fit.png")
    assert (code, out) == (0, file.read_text())
    assert cv2.imread(str(tmp_path / "fit.png")).shape[1] > 1000
    assert calibrate("show", file, "--picture", tmp_path / "fit.svg")[0] == 0
    first = (tmp_path / "fit.svg").read_bytes()
    assert calibrate("show", file, "--picture", tmp_path / "again.svg")[0] == 0
    assert first == (tmp_path / "again.svg").read_bytes() and b"<svg" in first
    code, _, err = calibrate("show", file, "--picture", tmp_path / "fit.jpg")
    assert code == 2 and ".png or .svg" in err


def test_a_profile_for_one_hood_is_drawn_too(tmp_path):
    file = write(tmp_path, profile(days=1))  # expired, which is told, and can be looked at
    code, out, err = calibrate("show", file, "--picture", tmp_path / "fit.png")
    assert code == 0 and "expired on 2026-01-06" in err and "at the hood's rim" in out
    assert (tmp_path / "fit.png").stat().st_size > 10_000


def wire(path, um_per_px=6.0, width_um=50.0):
    """A picture of a wire that crosses at 25°."""
    fine = width_um / (2 * math.ceil(2 * width_um / um_per_px))
    side = 640 * um_per_px / 1000
    drawing = Drawing(1.7 * side, 0.4, (rectangle(-1.7 * side / 2, -width_um / 2000, 1.7 * side, width_um / 1000),))
    flat = grey_flat(flat_picture(drawing, fine), fine, math.radians(25))
    faults = CameraFaults(defocus_px=0.9, noise=0.008, sharpen=0.3)
    cv2.imwrite(str(path), photograph_flat(flat, lens_for(640, 480, um_per_px, 12.0), faults, np.random.default_rng(4)))
    return path


def test_verify_passes_a_true_scale_and_fails_a_wrong_one(tmp_path):
    image = wire(tmp_path / "wire.png")
    code, out, err = calibrate("verify", image, "--known-um", "50", "--um-per-px", "6", "--um-per-px-std", "0.006")
    found = json.loads(out)
    assert code == 0 and found["passed"] and "passed" in err
    assert found["width_um"] == pytest.approx(50, abs=2 * found["width_um_std"]) and 0.1 < found["width_um_std"] < 0.4
    assert found["error_um"] == pytest.approx(found["width_um"] - 50) and found["known_um"] == 50 and found["um_per_px"] == 6
    code, out, err = calibrate("verify", image, "--known-um", "50", "--um-per-px", "6.12")
    assert code == 1 and not json.loads(out)["passed"] and "FAILED" in err
    assert calibrate("verify", image, "--known-um", "50", "--um-per-px", "6.12", "--tolerance-um", "1")[0] == 0


def test_verify_by_a_profile(tmp_path):
    image = wire(tmp_path / "wire.png")
    made = {"curve": True, "size": (640, 480), "hood": None}
    file = write(tmp_path, profile(6.0, **made))
    code, out, _ = calibrate("verify", image, "--known-um", "50", "--calibration", file, "--distance-mm", "12", "--distance-std-mm", "0.02")
    assert code == 0 and json.loads(out)["source"] == "distance"
    assert calibrate("verify", image, "--known-um", "50", "--calibration", file, "--distance-mm", "13", "--distance-std-mm", "0.02")[0] == 1
    for arguments, why in (((), "--distance-mm"), (("--distance-mm", "50"), "outside the calibrated")):
        code, out, err = calibrate("verify", image, "--known-um", "50", "--calibration", file, *arguments)
        assert (code, out) == (1, "") and why in err and err.count("\n") == 1
    old = write(tmp_path / "old", profile(6.0, days=1, **made))
    code, out, err = calibrate("verify", image, "--known-um", "50", "--calibration", old, "--distance-mm", "12")
    assert (code, out) == (1, "") and "expired" in err


def test_verify_says_what_it_cannot_measure(tmp_path):
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((480, 640, 3), 180, np.uint8))
    code, out, err = calibrate("verify", tmp_path / "blank.png", "--known-um", "50", "--um-per-px", "6")
    assert (code, out) == (1, "") and err.startswith(str(tmp_path / "blank.png")) and "about 8 px wide" in err
    for arguments in (
        (),
        ("--um-per-px", "6", "--calibration", "p.json"),
        ("--um-per-px", "6", "--distance-mm", "3"),
        ("--um-per-px", "-1"),
    ):
        assert calibrate("verify", tmp_path / "blank.png", "--known-um", "50", *arguments)[0] == 2
    assert calibrate("verify", tmp_path / "blank.png", "--known-um", "0", "--um-per-px", "6")[0] == 2


ORDER = {
    "target": parse_target("dots:0.5"),
    "microscope": None,
    "focus": "locked",
    "controls": ["exposure=120", "auto=false", "mode=warm white", "gain=1.5"],
    "distance_std_mm": 0.1,
    "pitch_std_percent": 0.0,
    "hood": "clear",
    "hood_height_mm": 12.0,
    "hood_height_std_mm": 0.1,
    "hood_ring": "8,2,0.01",
    "hair_plane_mm": 0.3,
    "hair_plane_std_mm": 0.3,
    "max_psf_px": 2.5,
    "by": "Zoë",
    "expires_days": 30.0,
    "note": "",
}


def test_options_make_an_order():
    order = order_of(**ORDER)
    assert order.controls == {"exposure": 120, "auto": False, "mode": "warm white", "gain": 1.5}
    assert order.hood.ring.code == 2 and order.hood.ring.diameter_std_mm == 0.01 and order.lifetime.days == 30
    assert order_of(**ORDER | {"hood_ring": "9"}).hood.ring.code == 0


@pytest.mark.parametrize(
    "change",
    [
        {"hood": None},
        {"hood_height_mm": None},
        {"hood": None, "hood_height_mm": None},
        {"hood_ring": "eight"},
        {"hood_ring": "8,1.5"},
        {"hood_ring": "8,9"},
        {"controls": ["exposure"]},
        {"max_psf_px": 0.0},
        {"hair_plane_mm": 99.0},
    ],
)
def test_options_that_make_none_are_refused(change):
    with pytest.raises(UsageError):
        order_of(**ORDER | change)


def test_the_defaults_are_the_profile_s_own():
    from calib.profile import LIFETIME, MAX_PSF_SIGMA_PX
    from calib.profile_parts import HAIR_PLANE_MM, HAIR_PLANE_STD_MM
    from runtime.commands.calibrate import fit, run

    for verb in (fit, run):
        defaults = dict(zip(reversed(verb.__code__.co_varnames[: verb.__code__.co_argcount]), reversed(verb.__defaults__), strict=False))
        assert defaults["max_psf_px"] == MAX_PSF_SIGMA_PX and defaults["expires_days"] == LIFETIME.days
        assert (defaults["hair_plane_mm"], defaults["hair_plane_std_mm"]) == (HAIR_PLANE_MM, HAIR_PLANE_STD_MM)


def test_lists_of_distances():
    assert distances_of("12, 14,16.5,") == [12.0, 14.0, 16.5]
    for text in ("", "a,b", "1,-2", "nan", "12;x", "inf"):
        with pytest.raises(UsageError, match="no list of distances"):
            distances_of(text)
