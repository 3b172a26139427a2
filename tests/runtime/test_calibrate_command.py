"""`trichoscope calibrate scale | fit | run` on rendered pictures of known truth, and printed targets read back by `scale`."""

import json
import math
import os
import sys
import termios

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from calib.drawing import draw_target, flat_picture
from calib.profile import read_profile
from calib.targets import parse_target
from device import camera as device_camera
from device.camera import Camera, CameraInfo
from device.errors import CameraEndedError
from device.frame import Frame
from device.simulated.faults import CameraFaults
from device.simulated.flat import Flat, grey_flat, photograph_flat
from device.simulated.lens import Lens
from runtime.calibration.walk import Walk
from runtime.cli import build
from runtime.commands.calibrate.run import AtTerminal, Eager

TARGET = "dots:0.4"
FOCAL_PX = 1400.0
DISTANCES = (12.0, 15.0, 19.0, 24.0, 30.0)
SIZE = (480, 360)
FAULTS = CameraFaults(vignetting=0.15, defocus_px=0.8, noise=0.008, sharpen=0.3, chroma_px=0.2, jpeg_quality=90)


def calibrate(*arguments):
    result = CliRunner().invoke(build("calibrate"), ["calibrate", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def lens_at(distance_mm, tilt=(0.0, 0.0)):
    return Lens(*SIZE, FOCAL_PX, distance_mm, tilt, 0.3, -1.0, (1.5, -1.0))


def pictured(distance_mm, seed, target=TARGET):
    rng = np.random.default_rng(seed)
    lens = lens_at(distance_mm, tuple(rng.normal(0, 0.025, 2)))
    um = 1000 * distance_mm / FOCAL_PX
    drawing = draw_target(parse_target(target), 0.8 * um, 0.65 * um)
    flat = grey_flat(flat_picture(drawing, um / 3), um / 3, float(rng.uniform(-3, 3)), tuple(rng.uniform(-200, 200, 2)))
    return photograph_flat(flat, lens, FAULTS, rng)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A picture of the dots at each distance, and others: white paper, noise, another size."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, distance in enumerate(DISTANCES):
        cv2.imwrite(str(folder / f"{distance:g}.png"), pictured(distance, number))
    white = Flat(np.full((40, 60, 3), 0.8, np.float32), 200.0, around=0.8)
    cv2.imwrite(str(folder / "white.png"), photograph_flat(white, lens_at(15.0), FAULTS, np.random.default_rng(9)))
    cv2.imwrite(str(folder / "noise.png"), np.random.default_rng(1).integers(0, 256, (360, 480, 3)).astype(np.uint8))
    cv2.imwrite(str(folder / "small.png"), cv2.imread(str(folder / "19.png"))[30:330, 40:440])
    assert calibrate("target", "dots:1", "--out", folder / "first.pdf")[0] == 0  # matplotlib keeps the files of its fonts open for good
    return folder


@pytest.fixture
def files(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return [f"{distance:g}.png" for distance in DISTANCES]


def listed(distances=DISTANCES):
    return ",".join(f"{distance:g}" for distance in distances)


def test_scale_prints_one_object_and_draws_what_it_found(files, tmp_path):
    code, out, err = calibrate("scale", "19.png", "--target", TARGET, "--overlay", tmp_path / "over.png")
    found = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert list(found) == ["um_per_px", "um_per_px_std", "um_per_px_x", "um_per_px_y", "tilt_deg", "psf_sigma_px", "n_points"]
    rng = np.random.default_rng(2)
    true = lens_at(19.0, tuple(rng.normal(0, 0.025, 2))).centre_um_per_px
    assert found["um_per_px"] == pytest.approx(true, rel=1e-3)
    assert 0 < found["um_per_px_std"] < 1e-3 * true and found["n_points"] > 80
    over, plain = cv2.imread(str(tmp_path / "over.png")), cv2.imread("19.png")
    assert over.shape == (720, 960, 3)
    greener = over[..., 1].astype(int) - over[..., 2] - cv2.resize(plain, (960, 720))[..., 1] + cv2.resize(plain, (960, 720))[..., 2] > 60
    assert greener.sum() > 10 * found["n_points"]
    wider = json.loads(calibrate("scale", "19.png", "--target", TARGET, "--pitch-std-percent", "1")[1])
    assert wider["um_per_px_std"] == pytest.approx(math.hypot(found["um_per_px_std"], 0.01 * true), rel=1e-2)


def test_scale_says_what_it_did_not_find(files):
    for arguments, code_wanted, said in (
        (("noise.png", "--target", TARGET), 1, "noise.png: "),
        (("none.png", "--target", TARGET), 1, "none.png: no such file"),
        (("19.png", "--target", "dots:many"), 2, "target 'dots:many'"),
        (("19.png", "--target", TARGET, "--lens", "19.png"), 1, "19.png: "),
    ):
        code, out, err = calibrate("scale", *arguments)
        assert (code, out, err.count("\n")) == (code_wanted, "", 1) and err.startswith(said)


@pytest.mark.parametrize("bare", [True, False])
def test_a_printed_target_is_read_back_at_its_true_scale(tmp_path, bare):
    size = ("--sheet", "12x9", "--bare") if bare else ("--sheet", "60x50")
    assert calibrate("target", "dots:0.5", "--out", tmp_path / "t.png", "--dpi", "1270", *size)[0] == 0
    if not bare:  # without the foot: the microscope does not see it
        image = cv2.imread(str(tmp_path / "t.png"))
        cv2.imwrite(str(tmp_path / "t.png"), image[400:1200, 1000:2000])
    code, out, err = calibrate("scale", tmp_path / "t.png", "--target", "dots:0.5")
    assert code == 0, err
    assert json.loads(out)["um_per_px"] == pytest.approx(25400 / 1270, rel=1e-3)


def test_fit_makes_a_profile_that_predicts(files, tmp_path):
    out_file = tmp_path / "profile.json"
    code, out, err = calibrate(
        "fit", *files, "--target", TARGET, "--distances-mm", listed(), "--out", out_file, "--microscope", "Acme 7", "--focus", "refocused",
        "--hood", "clear", "--hood-height-mm", "15", "--hood-ring", "8,2", "--control", "exposure=120", "--by", "Zoë",
        "--expires-days", "30",
        "--white", "white.png", "--white-distances-mm", "15", "--picture", tmp_path / "fit.png", "--json",
    )  # fmt: skip
    assert code == 0, err
    made = read_profile(out_file)
    assert json.loads(out)["id"] == made.id and json.loads(out)["profile"] == str(out_file)
    assert (made.device.microscope, made.device.focus_mode, made.device.controls) == ("Acme 7", "refocused", {"exposure": 120})
    assert made.hood.ring.code == 2 and made.made_by == "Zoë" and (made.expires_utc - made.made_utc).days == 30
    assert made.light[0].flat_field is not None and made.light[0].distance_mm == 15
    assert [view.file for view in made.views] == files and all(view.used for view in made.views)
    assert (tmp_path / "fit.png").exists()
    for name in files:
        assert f"{name}: at" in err
    assert "off line" in err and made.id in err
    for distance in (13.0, 17.3, 28.0):
        code, out, _ = calibrate("predict", out_file, "--distance-mm", distance)
        found = json.loads(out)
        assert code == 0 and found["valid"]
        assert found["um_per_px"] == pytest.approx(1000 * distance / FOCAL_PX, rel=1e-3)
        assert found["um_per_px_std"] < 1e-3 * found["um_per_px"]
    assert not json.loads(calibrate("predict", out_file, "--distance-mm", 40)[1])["valid"]
    # a profile is never overwritten
    before = out_file.read_bytes()
    code, _, err = calibrate("fit", *files, "--target", TARGET, "--distances-mm", listed(), "--out", out_file)
    assert code == 2 and "never overwritten" in err and out_file.read_bytes() == before
    assert "Acme 7" in calibrate("show", out_file)[1]


def test_a_colour_chart_gives_a_matrix(files, tmp_path):
    """The white paper is blueish and darker at the corners; the chart under that light comes out as its maker says."""
    rng = np.random.default_rng(6)
    reference = rng.uniform(30, 170, (12, 3))
    x, y = np.meshgrid(np.linspace(90, 390, 4).round(), np.linspace(80, 280, 3).round())
    gx, gy = np.meshgrid(np.linspace(-1, 1, SIZE[0]), np.linspace(-1, 1, SIZE[1]))
    light = (1 - 0.15 * (gx**2 + gy**2))[..., None] * (1.0, 0.9, 0.8)
    board = np.full((SIZE[1], SIZE[0], 3), 120.0)
    mixed = np.array([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.0, 0.1, 0.9]])
    for colour, left, top in zip(reference, x.ravel().astype(int), y.ravel().astype(int), strict=True):
        board[top - 20 : top + 20, left - 20 : left + 20] = mixed @ colour
    cv2.imwrite(str(tmp_path / "chart.png"), np.rint(board * light).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "paper.png"), np.rint(220 * light).astype(np.uint8))
    rows = np.column_stack([x.ravel(), y.ravel(), reference])
    (tmp_path / "patches.csv").write_text("x,y,blue,green,red\n" + "\n".join(",".join(f"{v:.2f}" for v in row) for row in rows))
    call = ("fit", *files[:3], "--target", TARGET, "--distances-mm", "12,15,19", "--out", tmp_path / "p.json")
    chart = ("--chart", tmp_path / "chart.png", "--chart-patches", tmp_path / "patches.csv")
    white = ("--white", tmp_path / "paper.png", "--white-distances-mm", "15")
    code, _, err = calibrate(*call, *white, *chart)
    assert code == 0, err
    made = read_profile(tmp_path / "p.json").light[0]
    relative = np.array(made.colour_matrix) @ mixed
    np.testing.assert_allclose(relative / relative[0, 0], np.eye(3), atol=0.03)
    assert made.colour_residual < 2 and made.grey_gains[2] == pytest.approx(0.9 / 0.8, abs=0.02)
    assert calibrate(*call, *chart)[0] == 2  # without white
    (tmp_path / "patches.csv").write_text("x,y,blue,green,red\n5000,3,1,2,3\n")
    code, _, err = calibrate(*call[:-1], tmp_path / "q.json", *white, *chart)
    assert code == 1 and "chart.png: the patch at 5000, 3 px lies outside" in err
    for wrong in ("a,b\n", "x,y,blue,green,red\n1,2,3\n", "x,y,blue,green,red\n1,2,3,4,500\n", "x,y,blue,green,red\n"):
        (tmp_path / "patches.csv").write_text(wrong)
        code, _, err = calibrate(*call[:-1], tmp_path / "q.json", *white, *chart)
        assert code == 1 and "patches.csv" in err
    assert not (tmp_path / "q.json").exists()


def test_a_picture_that_fails_is_named_and_ends_it_unless_it_may_be_skipped(files, tmp_path):
    out_file = tmp_path / "profile.json"
    call = ("fit", *files[:3], "noise.png", *files[3:], "--target", TARGET, "--distances-mm", "12,15,19,21,24,30", "--out", out_file)
    code, out, err = calibrate(*call)
    assert (code, out) == (1, "") and "noise.png: " in err and "1 of 6 pictures" in err and "--skip-failed" in err
    assert not out_file.exists()
    code, out, err = calibrate(*call, "--skip-failed", "--json")
    assert code == 0 and json.loads(out)["skipped"] == 1 and "noise.png: " in err and "give --microscope" in err
    assert len(read_profile(out_file).views) == 5


@pytest.mark.parametrize(
    ("arguments", "code_wanted", "said"),
    [
        (("--distances-mm", "12,15,19,24"), 2, "4 distances for 5 pictures"),
        (("--distances-mm", "12,15,x,24,30"), 2, "no list of distances"),
        (("--distances-mm", "12,12,12,12,12"), 1, "all 5 pictures are at one distance"),
        (("--distances-mm", "30,24,19,15,12"), 1, "another order"),
        (("--distances-mm", "1.2,1.5,1.9,2.4,3"), 1, "implausible"),
        (("--distances-mm", listed(), "--hood", "clear"), 2, "--hood-height-mm"),
        (("--distances-mm", listed(), "--hood", "clear", "--hood-height-mm", "50"), 1, "hood 'clear'"),
        (("--distances-mm", listed(), "--white", "white.png"), 2, "--white-distances-mm"),
        (("--distances-mm", listed(), "--white-distances-mm", "12"), 2, "no --white"),
        (("--distances-mm", listed(), "--white", "noise.png", "--white-distances-mm", "12"), 1, "noise.png: "),
        (("--distances-mm", listed(), "--white", "small.png", "--white-distances-mm", "12"), 1, "small.png: 400×300 px"),
        (("--distances-mm", listed(), "--picture", "fit.jpg"), 2, ".png or .svg"),
    ],
)
def test_what_makes_no_profile_is_refused(files, tmp_path, arguments, code_wanted, said):
    code, out, err = calibrate("fit", *files, "--target", TARGET, "--out", tmp_path / "p.json", *arguments)
    assert (code, out) == (code_wanted, "") and said in err
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_two_sizes_make_no_profile(files, tmp_path):
    pictures = (*files[:2], "small.png", *files[3:])
    code, _, err = calibrate("fit", *pictures, "--target", TARGET, "--distances-mm", listed(), "--out", tmp_path / "p.json")
    assert code == 1 and "small.png: 400×300 px, but 12.png has 480×360" in err


class PictureCamera(Camera):
    """Each of the pictures that the address names, twice."""

    def cancel(self): ...

    def _open(self):
        self._frames = [name for name in self.uri.target.split(",") for _ in range(2)]

    def _close(self): ...

    def _info(self):
        return CameraInfo("pictures", str(self.uri), *SIZE, 30.0, identity="picture camera", controls={"exposure": 90})

    def _read(self, timeout_s):
        if not self._frames:
            raise CameraEndedError(f"{self.uri}: no more pictures")
        return Frame(sequence=1, captured_ns=1, source="", image=cv2.imread(self._frames.pop(0)))


@pytest.fixture
def picture_camera(monkeypatch, tmp_path):
    monkeypatch.setitem(device_camera.DRIVERS, "pictures", f"{__name__}:PictureCamera")
    monkeypatch.setenv("TRICHOSCOPE_STORE__FOLDER", str(tmp_path / "state"))


def test_a_guided_run_ends_with_a_profile_where_the_daemon_looks(files, picture_camera, tmp_path):
    address = f"pictures:{','.join(files)}"
    code, out, err = calibrate(
        "run", "--camera", address, "--target", TARGET, "--distances-mm", listed(), "--frames", "2", "--yes", "--json", "--keep",
        tmp_path / "frames",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    (file,) = (tmp_path / "state" / "profiles").glob("*.json")
    made = read_profile(file)
    assert found["profile"] == str(file) and file.with_suffix(".png").exists()
    assert made.device.microscope == "picture camera" and made.device.controls == {"exposure": 90}
    assert made.curve.b_um_per_px_per_mm == pytest.approx(1000 / FOCAL_PX, rel=2e-3)
    assert [view.distance_mm for view in made.views] == list(DISTANCES)
    assert err.count(": kept: ") == len(DISTANCES) and str(file) in err
    assert sorted(kept.name for kept in (tmp_path / "frames").iterdir())[0] == "01_12mm.png"


def test_a_guided_run_that_cannot_end_writes_nothing(files, picture_camera, tmp_path):
    def run(pictures, *more):
        return calibrate("run", "--camera", f"pictures:{pictures}", "--target", TARGET, "--distances-mm", "12,15,19", "--yes", *more)

    code, out, err = run("12.png,15.png", "--frames", "2")  # the camera ends before the third distance
    assert (code, out) == (1, "") and "no more pictures; nothing was written" in err
    code, out, err = run("12.png", "--out", files[0])
    assert code == 2 and "never overwritten" in err
    assert calibrate("run", "--camera", "nothing:", "--target", TARGET, "--distances-mm", "12,15,19", "--yes")[0] != 0
    assert not (tmp_path / "state").exists()


def test_without_a_person_what_fails_is_skipped():
    walk, person = Walk(parse_target(TARGET), (12.0, 15.0), take_s=1.0), Eager(Screen())
    assert person.answer(walk) == ""
    walk.answer("", 0.0)
    assert person.answer(walk) is None
    walk.see(np.full((480, 640, 3), 128, np.uint8), 2.0)
    assert walk.phase == "failed" and person.answer(walk) == "s"


class Screen:
    """Stands for rich's console where stderr is no terminal."""

    is_terminal = False

    def __init__(self):
        self.lines = []

    def print(self, text, **_style):
        self.lines.append(text)


def test_a_person_answers_by_lines(monkeypatch):
    read, write = os.pipe()
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        screen, walk = Screen(), Walk(parse_target(TARGET), (12.0, 15.0))
        with AtTerminal(screen) as person:
            person.show(walk)
            person.show(walk)  # nothing new
            assert person.answer(walk) is None
            os.write(write, b"\nr\nqu")
            assert [person.answer(walk) for _ in range(3)] == ["", "r", None]
            os.write(write, b"it\n")
            assert person.answer(walk) == "quit"
            os.close(write)
            assert person.answer(walk) == "q"  # the end of the input
        assert screen.lines == ["1 of 2, 12 mm: lay dots:0.4 at 12 mm, then Enter; s skips, q ends"]


def test_at_a_terminal_a_key_is_an_answer(monkeypatch):
    person_s, terminal = os.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        before = termios.tcgetattr(terminal)
        walk = Walk(parse_target(TARGET), (12.0, 15.0))
        with AtTerminal(Screen()) as person:
            os.write(person_s, b"\nr")
            assert [person.answer(walk) for _ in range(3)] == ["", "r", None]
            os.write(person_s, b"\x04")
            assert person.answer(walk) == "q"
        assert termios.tcgetattr(terminal) == before
    os.close(person_s)
