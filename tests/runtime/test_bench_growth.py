"""The bench of growth: its exponents and its line on made-up times, its loads on rendered scalps, and the command."""

import io
import json
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from device.simulated.recipe import draw_recipe
from runtime.analysis.classical import ClassicalSegmenter
from runtime.bench.growth import curve, loads, picture, report
from runtime.commands.bench import app

SIZES = ((640, 480, 40), (1280, 720, 40), (1280, 720, 120), (1920, 1080, 40), (1920, 1080, 400))


def taken(width, height, hairs, ms):
    return loads.LoadTimes(width, height, 1, hairs, hairs, ms, ms, ms, ms, {"skeleton": loads.StageTimes(ms / 2, ms)})


def loads_of(law):
    return [taken(w, h, n, law(w * h / 1e6, n)) for w, h, n in SIZES]


def test_a_straight_cost_is_told_from_one_that_bends():
    straight = curve.line_through(loads_of(lambda megapixels, hairs: 2 + 5 * megapixels + 0.1 * hairs))
    assert (straight.fixed_ms, straight.per_megapixel_ms, straight.per_hair_ms) == pytest.approx((2, 5, 0.1))
    assert straight.worst_ratio == pytest.approx(1)
    bent = curve.line_through(loads_of(lambda megapixels, hairs: 2 + 5 * megapixels + 0.01 * hairs**2))
    assert not 0.8 < bent.worst_ratio < 1.25


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_its_power(power):
    causes = [0.1, 0.3, 1.0, 2.0]
    found = curve.exponents(causes, [7 * cause**power for cause in causes])
    assert (found.whole, found.upper_end) == pytest.approx((power, power))


def test_a_fixed_share_weighs_least_at_the_upper_end():
    causes = [0.1, 0.3, 1.0, 10.0, 20.0]
    found = curve.exponents(causes, [1 + cause for cause in causes])
    assert found.whole < found.upper_end < 1


def test_a_curve_is_in_the_order_of_its_cause():
    by_hairs = curve.curve_of("true hairs", [taken(640, 480, n, 3.0 * n) for n in (80, 20, 40)], lambda load: load.true_hairs)
    assert [load.true_hairs for load in by_hairs.loads] == [20, 40, 80]
    assert (by_hairs.total.whole, by_hairs.stages["skeleton"].whole) == pytest.approx((1, 1))


def test_sizes_are_equally_crowded():
    wanted = {(load.width, load.height): load.hairs for load in curve.pixel_loads()}
    assert wanted[1920, 1080] == 400
    assert wanted[640, 480] == pytest.approx(400 * 640 * 480 / (1920 * 1080), abs=0.5)
    assert [load.hairs for load in curve.hair_loads()] == [20, 40, 80, 160, 400]


def test_loads_are_as_crowded_as_wanted_and_their_times_are_kept():
    threads = cv2.getNumThreads()
    larger = [loads.Load(200, 160, 6, 11.0), loads.Load(320, 240, 18, 11.0)]
    fuller = [loads.Load(320, 240, 6, 11.0), loads.Load(320, 240, 18, 11.0)]
    steps = []
    with loads.one_thread():
        assert cv2.getNumThreads() == 1
        growth = curve.measure_growth("easy", 0, 1, ClassicalSegmenter(), larger, fuller, lambda: steps.append(1))
    assert cv2.getNumThreads() == threads
    assert len(steps) == 3  # what is in both curves is measured once
    assert growth.by_pixels.loads[1] == growth.by_hairs.loads[1]
    for load, times in zip(larger, growth.by_pixels.loads, strict=True):
        assert (times.width_px, times.height_px, times.frames) == (load.width, load.height, 1)
        assert load.hairs / 2 <= times.true_hairs <= load.hairs * 2
        assert 0 < times.p50_ms <= times.p95_ms
        assert {"skeleton", "hairs", "widths"} <= times.stages.keys()
        assert "segment" not in times.stages
    shown = Console(width=400, file=io.StringIO())
    shown.print(*report.tables(growth))
    assert "320×240" in shown.file.getvalue()
    assert "exponent, two largest" in shown.file.getvalue()


def test_only_scalps_with_long_hair_are_drawn():
    assert all(draw_recipe(np.random.default_rng([s, 0]), "easy").clipped_um is None for s in loads.long_haired_seeds("easy", 0, 9))


def test_the_picture_shows_every_load_within_its_frame():
    made_up = loads_of(lambda megapixels, hairs: 2 + 5 * megapixels + 0.1 * hairs)
    one, other = (curve.curve_of(cause, made_up, lambda load: load.true_hairs) for cause in ("<megapixels>", "true hairs"))
    root = ElementTree.fromstring(picture.as_svg(curve.Growth(one, other, curve.line_through(made_up))))
    circles = root.findall(".//{*}circle")
    assert len(circles) == 2 * 2 * len(SIZES)
    assert all(0 < float(c.get("cx")) < picture.PANEL_WIDTH and 0 < float(c.get("cy")) < picture.PANEL_HEIGHT for c in circles)
    labels = [float(text.get("y")) for text in root.findall(".//{*}g")[0].findall("{*}text") if "(" in text.text and text.get("fill")]
    assert len(labels) == 2
    assert abs(labels[0] - labels[1]) >= picture.LABEL_PX - 1e-6


def test_the_command_tells_machines_people_and_draws(tmp_path):
    drawn = tmp_path / "growth.svg"
    asked = ["growth", "--frames", "1", "--kind", "easy", "--segmenter", "classical", "--sizes", "128x96,160×120", "--hairs", "2,4"]
    result = CliRunner().invoke(app, [*asked, "--json", "--picture", str(drawn)])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["bench"], told["segmenter"], told["frames_per_load"]) == ("growth", "classical/1", 1)
    assert [(load["width_px"], load["height_px"]) for load in told["by_pixels"]["loads"]] == [(128, 96), (160, 120)]
    assert {load["width_px"] for load in told["by_hairs"]["loads"]} == {160}
    assert ElementTree.parse(drawn).getroot().tag.endswith("svg")
    people = CliRunner().invoke(app, [*asked, "--picture", str(tmp_path / "absent" / "growth.svg")])
    assert people.exit_code == 2
    assert "growth.svg: No such file or directory: name a file" in people.stderr
    assert "160×120" in people.stdout  # what was measured is told all the same


@pytest.mark.parametrize("sizes", ["640", "640x480", "640x480,640×480", "9x9,640x480", "640x480,9999x480", "640x-480,1x1", ""])
def test_sizes_that_make_no_curve_are_refused(sizes):
    result = CliRunner().invoke(app, ["growth", "--sizes", sizes])
    assert result.exit_code == 2
    assert "--sizes" in result.stderr


@pytest.mark.parametrize("hairs", ["4", "4,4", "a,4", "0,4", "4,6000", "4,"])
def test_numbers_of_hairs_that_make_no_curve_are_refused(hairs):
    result = CliRunner().invoke(app, ["growth", "--hairs", hairs])
    assert result.exit_code == 2
    assert "--hairs" in result.stderr


def test_a_cause_that_does_not_grow_has_no_exponent():
    found = curve.exponents([3.0, 3.0], [1.0, 2.0])
    assert (found.whole, found.upper_end) == (None, None)
    assert report.exponent_text(None) == "—"
