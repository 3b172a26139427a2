"""The bench of the measurement: its figures on hand-made findings, the same field twice, the times, and the command."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from calib.scale import given_scale
from device.simulated.scene import render_frame, render_scene
from runtime.analysis.classical import ClassicalSegmenter
from runtime.analysis.segmentation import given_mask
from runtime.bench.growth import loads
from runtime.bench.measurement import accuracy, repeat
from runtime.bench.measurement.report import MeasurementBench
from runtime.commands.bench import app
from runtime.pipeline import analyse

UM_PER_PX = 8.0


@pytest.fixture(scope="module")
def frame():
    return render_frame(3, width=320, height=240, kind="easy", um_per_px=UM_PER_PX)


@pytest.fixture(scope="module")
def measured(frame):
    return analyse(frame.image, name="frame", segmentation=given_mask(frame.mask), scale=given_scale(UM_PER_PX))


def hair_like(measured, true, number, error_um=0.0, std_um=1.0):
    """A found hair on the course of a true one."""
    um = None if error_um is None else true.diameter_um + error_um
    points = [(x, y, None) for x, y in true.points[:, :2].tolist()]
    return measured.hairs[0].model_copy(update={"id": number, "diameter_um": um, "diameter_um_std": std_um, "points": points})


def found_as(measured, hairs, follicles, **changes):
    return measured.model_copy(update={"hairs": hairs, "hair_count": len(hairs), "follicle_count": follicles} | changes)


def test_a_perfect_finding_has_no_error(frame, measured):
    counted = frame.truth.counted
    follicles = sum(f.hairs_counted > 0 for f in frame.truth.follicles)
    terminal = sum(h.diameter_um >= 30 for h in counted)
    kinds = measured.terminal_vellus.model_copy(update={"terminal": terminal, "vellus": len(counted) - terminal})
    found = found_as(measured, [hair_like(measured, h, i) for i, h in enumerate(counted)], follicles, terminal_vellus=kinds)
    figures = accuracy.figures_of([accuracy.compare(found, frame.truth)])
    assert len(counted) >= 3
    assert (figures.hairs.pooled_error, figures.hairs.bias, figures.hairs.within_1_std) == (0, 0, 1)
    assert (figures.follicles.pooled_error, figures.terminal_share_error) == (0, 0)
    widths = figures.widths
    assert (widths.coverage, widths.unmatched, widths.with_width) == (1, 0, len(counted))
    assert widths.mean_absolute_error_um == pytest.approx(0, abs=1e-9)
    assert figures.hairs.correlation is None  # one frame has none


def test_errors_are_pooled_over_hairs_and_frames(frame, measured):
    counted = frame.truth.counted
    elsewhere = hair_like(measured, counted[0], 99).model_copy(update={"points": [(-500.0 + 5 * i, -500.0, None) for i in range(9)]})
    two_off = [hair_like(measured, h, i, 2.0, 1.5) for i, h in enumerate(counted)]
    some = [hair_like(measured, counted[0], 0, -1.0, 1.5), hair_like(measured, counted[1], 1, None), elsewhere]
    frames = [found_as(measured, hairs, follicles, hair_count_std=0.5) for hairs, follicles in ((two_off, 1), (some, 0))]
    figures = accuracy.figures_of([accuracy.compare(found, frame.truth) for found in frames])
    n = len(counted)
    assert figures.hairs.pooled_error == pytest.approx((n - 3) / (2 * n))
    assert figures.hairs.bias == pytest.approx((3 - n) / 2)
    assert figures.hairs.within_1_std == (0.5 if n > 3 else 1.0)
    widths = figures.widths
    assert (widths.true_hairs, widths.found_hairs, widths.with_width) == (2 * n, n + 3, n + 1)
    assert widths.coverage == pytest.approx((n + 2) / (2 * n))
    assert widths.measured == pytest.approx((n + 1) / (2 * n))
    assert widths.unmatched == pytest.approx(1 / (n + 3))
    assert widths.mean_absolute_error_um == pytest.approx((2 * n + 1) / (n + 1))
    assert widths.bias_um == pytest.approx((2 * n - 1) / (n + 1))
    assert (widths.within_1_std, widths.within_2_std) == (pytest.approx(1 / (n + 1)), 1.0)
    in_class = [sum(low <= h.diameter_um < high for h in counted) for low, high in accuracy.WIDTH_CLASSES_UM]
    first = [low <= counted[0].diameter_um < high for low, high in accuracy.WIDTH_CLASSES_UM]
    assert [c.hairs for c in widths.classes] == [k + f for k, f in zip(in_class, first, strict=True)]


def test_what_cannot_be_had_is_none(measured):
    bald = render_scene(1, width=96, height=96, kind="realistic", bald=True, um_per_px=1.0).truth
    assert not bald.counted
    figures = accuracy.figures_of([accuracy.compare(found_as(measured, [], 0), bald)])
    assert (figures.hairs.pooled_error, figures.hairs.bias, figures.terminal_share_error) == (None, 0, None)
    assert (figures.widths.coverage, figures.widths.unmatched, figures.widths.mean_absolute_error_um) == (None, None, None)
    assert accuracy.figures_of([]).hairs.bias is None


def test_the_true_mask_and_the_picture_are_both_measured():
    steps = []
    figures = accuracy.measure_accuracy("easy", [4], ClassicalSegmenter(), lambda: steps.append(1))
    assert len(steps) == 1
    assert figures.from_mask.hairs.true_total == figures.from_image.hairs.true_total > 0
    assert figures.from_mask.widths.coverage > 0.5


def test_windows_are_apart_by_no_more_than_allowed():
    for seed in range(20):
        first, second = repeat.two_windows((600, 800), np.random.default_rng(seed))
        middles = [window.on_scene(np.array([[319.5, 239.5]]))[0] for window in (first, second)]
        apart = np.abs(middles[1] - middles[0])
        assert apart[0] <= 0.1 * 640 + 1e-9
        assert apart[1] <= 0.1 * 480 + 1e-9
        turns = [math.atan2(window.to_scene[1, 0], window.to_scene[0, 0]) for window in (first, second)]
        assert abs(turns[1] - turns[0]) <= math.radians(5) + 1e-9


def test_a_wide_scene_holds_every_window():
    scene = repeat.wide_scene("easy", 2)
    height, width = scene.mask.shape
    corners = np.array([[0, 0], [639, 0], [0, 479], [639, 479]], float)
    for seed in range(20):
        for window in repeat.two_windows((height, width), np.random.default_rng(seed)):
            assert (window.on_scene(corners) >= 0).all()
            assert (window.on_scene(corners) <= (width - 1, height - 1)).all()
    # what a window's frame shows is what lies there in the scene: a ramp tells where each pixel is from
    ramp = np.zeros((height, width, 3), np.float32)
    ramp[..., 0], ramp[..., 1] = np.arange(width) / width, (np.arange(height) / height)[:, None]
    plain = replace(scene.recipe, tint_bgr=(1, 1, 1), gain=1, vignetting=0, noise=0, sharpen=0, bayer=False, chroma_px=0, jpeg_quality=100)
    window, _ = repeat.two_windows((height, width), np.random.default_rng(1))
    image = repeat.photographed(replace(scene, picture=ramp, recipe=plain), window, np.random.default_rng(0))
    at = np.array([[100.0, 80.0], [500.0, 300.0], [320.0, 240.0]])
    seen = image[at[:, 1].astype(int), at[:, 0].astype(int), :2] / 255
    assert seen == pytest.approx(window.on_scene(at) / (width, height), abs=0.02)


def course_hair(measured, points):
    return measured.hairs[0].model_copy(update={"points": [(float(x), float(y), None) for x, y in points]})


def test_only_what_both_frames_show_is_compared(measured):
    own, other = repeat.Window(np.array([[1.0, 0, 0], [0, 1, 0]])), repeat.Window(np.array([[1.0, 0, 50], [0, 1, 0]]))
    hairs = {
        "outside": [(10, 100), (40, 100)],
        "23 px inside": [(0, 200), (73, 200)],
        "25 px inside": [(0, 300), (75, 300)],
        "inside": [(200, 300), (205, 340), (210, 400)],
        "a point": [(300, 300)],
    }
    found = measured.model_copy(update={"hairs": [course_hair(measured, points) for points in hairs.values()]})
    kept = repeat.common_hairs(found, own, other)
    assert [h.points[0][:2] for h in kept] == [(0.0, 300.0), (200.0, 300.0)]
    assert repeat.common_hairs(found, own, own) == [found.hairs[i] for i in (0, 1, 2, 3)]


def test_differences_of_fields_are_pooled():
    fields = [
        repeat.FieldTwice((100, 102), (60.0, 60.6)),
        repeat.FieldTwice((10, 12), (50.0, None)),
        repeat.FieldTwice((0, 0), (None, None)),
    ]
    figures = repeat.figures_of(fields)
    assert figures.hairs_per_field == pytest.approx(112 / 3)
    assert figures.count_difference == pytest.approx(4 / 112)
    assert figures.counts_within_3_percent == 0.5  # of the two with hair
    assert figures.width_difference == pytest.approx(0.6 / 60.3)
    assert figures.widths_within_1_5_percent == 1
    assert repeat.figures_of([]).count_difference is None


def test_the_live_load_is_timed_stage_by_stage():
    load = loads.Load(200, 160, 6, None)
    with loads.one_thread():
        live = loads.measure_load("easy", load, loads.long_haired_seeds("easy", 0, 1), ClassicalSegmenter())
    bench = MeasurementBench({}, {}, live)
    assert list(bench.as_json()) == ["speed"]
    shown = Console(width=400, file=io.StringIO())
    shown.print(*bench.tables())
    assert "200×160" in shown.file.getvalue()


def test_the_command_prints_the_same_to_machines_and_to_people():
    asked = ["measurement", "--frames", "1", "--kind", "easy", "--seed", "4", "--segmenter", "classical"]
    result = CliRunner().invoke(app, [*asked, "--only", "accuracy", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["segmenter"], told["segmenter_problem"], told["first_seed"], told["frames_per_kind"]) == ("classical/1", None, 4, 1)
    assert {"accuracy"} == told.keys() & {"accuracy", "repeat", "speed"}
    given = told["accuracy"]["easy"]["from_mask"]
    assert given["hairs"]["true_total"] == given["widths"]["true_hairs"] > 0
    people = CliRunner().invoke(app, [*asked, "--only", "accuracy"])
    assert people.exit_code == 0, people.output
    assert f"{given['hairs']['pooled_error']:.1%} (≤ 4 %)" in people.stdout
    twice = CliRunner().invoke(app, [*asked, "--only", "repeat"])
    assert twice.exit_code == 0, twice.output
    assert "count: difference" in twice.stdout


def test_a_bundle_that_is_not_there_is_named(tmp_path):
    result = CliRunner().invoke(app, ["measurement", "--frames", "1", "--bundle", str(tmp_path / "absent")])
    assert result.exit_code == 2
    assert "absent: no such bundle" in result.stderr.replace("\n", "")
