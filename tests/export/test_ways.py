"""What `evaluate segmentation` compares of bundles and parts: names of rows, what prompts a refiner, and what was passed over."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from export.cli import app
from export.conversion.part import RolePart, write_part
from export.errors import EvaluationError
from export.evaluation import ways
from export.evaluation.pairs import Frame
from export.evaluation.segmentation import Method, evaluate, markdown, segmenter_method
from runtime.analysis.segmentation import given_mask
from tests.runtime.better_samples import TEACHER, TEACHER_GOLDEN, refiner_role, teacher_role, write_better
from tests.runtime.bundle_samples import dark_is_hair, golden
from tests.runtime.refiner_samples import REFINER, REFINER_GOLDEN, near_points_is_hair, refiner_golden

pytestmark = pytest.mark.export


@pytest.fixture
def data(tmp_path):
    """A field with two hairs and a bald one."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, hairs in (("two", 2), ("bald", 0)):
        image, mask = np.full((120, 160, 3), 180, np.uint8), np.zeros((120, 160), np.uint8)
        for index in range(hairs):
            for canvas, colour in ((image, (30, 30, 30)), (mask, 255)):
                cv2.line(canvas, (40 + 50 * index, -5), (55 + 50 * index, 130), colour, 6)
        cv2.imwrite(str(folder / f"{name}.png"), image)
        cv2.imwrite(str(folder / f"{name}_mask.png"), mask)
    return folder


def part(folder, kind, **changes):
    """A part with the stand-in of that role."""
    if kind == "teacher":
        made = RolePart("teacher", teacher_role(**changes), {TEACHER: dark_is_hair(), TEACHER_GOLDEN: golden()})
    else:
        content = {REFINER: near_points_is_hair(), REFINER_GOLDEN: refiner_golden(near_points_is_hair())}
        made = RolePart("refiner", refiner_role(**changes), content)
    write_part(folder, made)
    return folder


def evaluated(data, *folders, code=0):
    arguments = ["evaluate", "segmentation", str(data), "--json", "--no-baselines", "--threads", "1"]
    result = CliRunner().invoke(app, arguments + [word for folder in folders for word in ("--bundle", str(folder))])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)["methods"] if code == 0 else " ".join(result.output.split())


def test_parts_of_one_role_are_told_apart_and_a_refiner_names_what_prompts_it(data, tmp_path):
    one, two = (part(tmp_path / name / "part", "teacher") for name in ("one", "two"))
    told = evaluated(data, one, two, part(tmp_path / "asked" / "part", "refiner", use=False))
    after = "asked/part after two/part"
    assert list(told) == [
        "one/part, teacher",
        "one/part, teacher & classical",
        "two/part, teacher",
        "two/part, teacher & classical",
        f"{after}, refined alone",
        f"{after}, M̂ AND M_AP",
        f"{after}, weighed",
    ]
    assert told["one/part, teacher"]["summary"]["dice"] > 0.8
    assert told["one/part, teacher"]["passed_over"] == {}
    assert told[f"{after}, weighed"]["passed_over"] == {}
    assert told[f"{after}, weighed"]["summary"]["dice"] > 0.8


def test_two_of_one_name_are_refused(data, tmp_path):
    one = part(tmp_path / "a" / "same" / "part", "teacher")
    assert "'same/part, teacher'" in evaluated(data, one, part(tmp_path / "b" / "same" / "part", "teacher"), code=1)
    assert "name each bundle once" in evaluated(data, one, one, code=1)


def test_a_refiner_that_nothing_prompts_is_refused(data, tmp_path):
    refiner = part(tmp_path / "asked" / "part", "refiner")
    said = evaluated(data, refiner, part(tmp_path / "late" / "part", "teacher"), code=1)
    assert "asked/part: a refiner, and nothing before it" in said


def test_a_bundle_has_its_id_and_what_captures_are_measured_on(data, tmp_path):
    broken = near_points_is_hair(scale=0.1)  # nowhere sure enough of anything
    bundle = write_better(tmp_path / "bundle", refiner=refiner_role(), refining=broken)
    told = evaluated(data, tmp_path / "bundle")
    assert next(iter(told)) == f"{bundle.id}, live network"
    assert list(told)[-1] == f"{bundle.id}, as captures are measured"
    for row in ("weighed", "as captures are measured"):  # on bald skin there is nothing to refine
        assert set(told[f"{bundle.id}, {row}"]["passed_over"]) == {"two"}
        assert told[f"{bundle.id}, {row}"]["frames"]["two"] == told[f"{bundle.id}, live network & classical"]["frames"]["two"]


@pytest.mark.parametrize("used", [False, True])
def test_a_teacher_that_was_not_chosen_has_its_rows_and_prompts_nothing(tmp_path, monkeypatch, used):
    asked = []
    monkeypatch.setattr(ways, "_refined", lambda name, refiner, role, prompting: asked.append((role, prompting.threshold)) or [])
    bundle = write_better(
        tmp_path / "bundle", teacher=teacher_role(use=used, threshold=0.4), refiner=refiner_role(prompts="skeleton", use=False)
    )
    with ways.ExitStack() as stack:
        found, _ = ways.ways_of(bundle, stack, name="it", threads=1, flips=False, prompting=None)
    assert {"it, teacher", "it, teacher & classical"} <= {method.name for method in found}
    assert asked == [(bundle.manifest.roles.refiner, 0.4 if used else 0.5)]


def test_a_refiner_is_prompted_by_the_variant_of_its_role(tmp_path, monkeypatch):
    seen = []
    drawn = ways.prompts_as_learnt
    monkeypatch.setattr(
        ways, "prompts_as_learnt", lambda mask, side, *, variant: seen.append((side, variant)) or drawn(mask, side, variant=variant)
    )
    bundle = write_better(tmp_path / "bundle", refiner=refiner_role(prompts="skeleton", use=False))
    image = np.full((96, 128, 3), 180, np.uint8)
    image[:, 40:50] = 30
    with ways.ExitStack() as stack:
        found, _ = ways.ways_of(bundle, stack, name="it", threads=1, flips=False, prompting=None)
        assert found[-1].found(image).mask.any()
    assert seen == [(320, "skeleton")]


def test_what_was_passed_over_stands_in_the_table():
    class Failing:
        name = "failing"

        def segment(self, image):
            return ways.replace(given_mask(np.zeros((32, 32), bool)), passed_over="it was late" if image.any() else None)

    frames = [Frame(str(level), "", np.full((32, 32, 3), level, np.uint8), np.ones((32, 32), bool)) for level in (0, 1, 2)]
    methods = [segmenter_method("as captures", Failing()), Method("plain", lambda image: np.ones((32, 32), bool))]
    rows = evaluate(frames, methods)
    assert rows[0].passed_over == {"1": "it was late", "2": "it was late"}
    assert "| as captures (2 of 3 passed over) |" in markdown(rows)
    assert "| plain |" in markdown(rows)
    with pytest.raises(EvaluationError, match="'plain'"):
        evaluate(frames, [methods[1], methods[1]])
