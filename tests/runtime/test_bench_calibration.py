"""`trichoscope bench calibration`: its figures of errors, its pictures' truth, and that the command gives what it says."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from calib.lens import straight_lens
from device.simulated.lens import Lens
from runtime.bench.calibration import hairs, ring
from runtime.bench.calibration.errors import figures_of
from runtime.bench.calibration.hairs import HairFigures
from runtime.bench.calibration.picture import as_svg
from runtime.bench.calibration.pictures import KINDS, any_picture, draw_optics
from runtime.cli import build


@pytest.fixture(scope="module", autouse=True)
def fonts():
    """Matplotlib keeps the files of its fonts open once it has drawn a text; that is no leak of a test."""
    as_svg(HairFigures(1, (12.0, 18.0), (3.6, 5.3), (1.0, 1.0), (1.2, 0.8), (1.0, 1.0), 0.0, 1.5))


def test_errors_are_told_as_they_are():
    f = figures_of([10.1, 9.9, 10.0, 10.4], [0.1, 0.05, 0.1, 0.15], [10.0] * 4, refused=2)
    assert (f.n, f.refused) == (4, 2)
    assert f.median_percent == pytest.approx(1.0) and f.worst_percent == pytest.approx(4.0)
    assert f.bias_percent == pytest.approx(1.0)
    assert (f.within_1_std, f.within_2_std) == (0.5, 0.75)
    assert figures_of([], [], []).median_percent is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_every_kind_with_its_truth(kind):
    picture = any_picture(kind, 3)
    assert picture.image.shape == (480, 640, 3) and np.ptp(picture.image) > 60
    assert any_picture(kind, 3).um_per_px == picture.um_per_px != any_picture(kind, 4).um_per_px
    pitch_px = 1000 * picture.target.pitch_mm / picture.um_per_px
    assert 5 < pitch_px < 200


def test_a_refocused_lens_is_linear_in_distance_with_another_zero():
    optics = draw_optics(np.random.default_rng(5))
    scales = [hairs._refocused(optics, d).centre_um_per_px for d in (12.0, 18.0, 24.0)]
    assert scales[2] - scales[1] == pytest.approx(scales[1] - scales[0], rel=1e-4)
    assert scales[0] / 12.0 != pytest.approx(scales[2] / 24.0, rel=0.01)


def test_the_ring_around_a_scalp_gives_its_scale():
    rng = np.random.default_rng(8)
    under = Lens(640, 480, 1900.0, 18.0, (0.02, -0.03))
    image, empty, target = ring._frames(under, 12, rng)
    _, plane = ring._timed(image, target, straight_lens(640, 480))
    assert plane.um_per_px == pytest.approx(under.centre_um_per_px, rel=1e-3)
    assert np.abs(image.astype(int) - empty).max() > 60, "the ring must be in the picture"


def test_the_command_gives_figures_for_machines():
    done = CliRunner().invoke(build("bench"), ["bench", "calibration", "--only", "targets", "--pictures", "2", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert set(told["targets"]) == set(KINDS) and "hairs" not in told
    for kind in KINDS:
        scale = told["targets"][kind]["scale"]
        assert scale["n"] + scale["refused"] == 2
        assert scale["worst_percent"] is None or scale["worst_percent"] < 2


def test_a_picture_is_only_drawn_of_hairs():
    done = CliRunner().invoke(build("bench"), ["bench", "calibration", "--only", "ring", "--picture", "x.svg"])
    assert done.exit_code == 2


def test_the_figure_is_the_same_at_each_run():
    figures = HairFigures(9, (12.0, 18.0), (3.6, 5.3), (1.001, 0.999), (1.2, 0.8), (1.0, 1.0), 0.2, 1.5)
    drawn = as_svg(figures)
    assert drawn == as_svg(figures) and b"<svg" in drawn and b"<text" not in drawn, "texts are paths"
