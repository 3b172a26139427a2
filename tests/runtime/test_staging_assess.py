import json
import os

import cv2
import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner

from device.simulated.head import draw_head, render_view
from runtime.bundles.errors import BundleError
from runtime.cli import build
from runtime.inference.errors import InferenceError
from runtime.intended_use.declaration import declare
from runtime.intended_use.text import packaged_text
from runtime.staging import faces
from runtime.staging.result import json_schema
from runtime.staging.staging import Stager, middle, stage_inputs
from tests.runtime.bundle_samples import write_sample
from tests.runtime.staging_samples import (
    STAGES,
    VIEWS,
    brighter_is_balder,
    grey_views,
    rendered_views,
    stage_role,
    write_stage_bundle,
)


@pytest.fixture
def bundle(tmp_path):
    write_stage_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture(autouse=True)
def clinical(tmp_path_factory, monkeypatch):
    """A state folder in which an operator has declared the clinical use; what happens without is a test of its own."""
    state = tmp_path_factory.mktemp("state")
    declare(state, packaged_text(), "A. Operator")
    (state / "clinical.toml").write_text(f'[use]\nprofile = "clinical"\n[store]\nfolder = "{state}"\n')
    monkeypatch.setenv("TRICHOSCOPE_CONFIG", str(state / "clinical.toml"))


def run(*arguments):
    return CliRunner().invoke(build("assess"), ["assess", *map(str, arguments)])


def test_the_stage_of_five_views(tmp_path, bundle):
    grey_views(tmp_path / "views", dict.fromkeys(VIEWS, 72))
    result = run("--views", tmp_path / "views", "--bundle", bundle, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    jsonschema.validate(found, json_schema())
    assert found["schema"] == "trichoscope/stage/1"
    assert found["stage"] == "III" and found["grade"] == 3
    assert list(found["probabilities"]) == list(STAGES)
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert list(found["views"]) == list(VIEWS) and found["missing"] == [] and found["failed"] == []
    assert found["bundle"].startswith("bright/1+") and found["validated_on_real_labels"] is False


def test_without_a_declaration_nothing_is_staged(tmp_path, bundle, monkeypatch):
    folder = grey_views(tmp_path / "views", {"front": 0})
    for profile, words in (("wellness", "the wellness profile offers no stage"), ("clinical", "clinical use is not in force")):
        file = tmp_path / f"{profile}.toml"
        file.write_text(f'[use]\nprofile = "{profile}"\n[store]\nfolder = "{tmp_path / "state"}"\n')
        result = run("--views", folder, "--bundle", bundle, "--config", file, "--out", tmp_path / "out")
        assert result.exit_code == 1 and result.stdout == ""
        assert words in result.stderr and "trichoscope use declare" in result.stderr
        assert not (tmp_path / "out").exists()


def test_two_views_that_disagree_and_what_each_said(tmp_path, bundle):
    grey_views(tmp_path / "views", {"front": 36, "top": 180})
    found = json.loads(run("--views", tmp_path / "views", "--bundle", bundle, "--json").stdout)
    assert found["views"]["front"]["stage"] == "II" and found["views"]["top"]["stage"] == "VI"
    assert [v["attention"] for v in found["views"].values()] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert found["stage"] == "IV" and found["missing"] == ["back", "left", "right"]


def test_a_table_for_people(tmp_path, bundle):
    grey_views(tmp_path / "views", {"front": 0})
    result = run("--views", tmp_path / "views", "--bundle", bundle)
    assert result.exit_code == 0
    for words in (
        "Norwood–Hamilton stage I\n",
        "front",
        "missing: top, back, left, right",
        "bright/1+",
        "validated on real labels: false",
        "model trained on rendered data",
    ):
        assert words in result.stdout


def test_a_damaged_view_costs_the_exit_code_and_not_the_others(tmp_path, bundle):
    folder = grey_views(tmp_path / "views", {"front": 0, "top": 0})
    (folder / "top.png").write_bytes(b"\x89PNG broken")
    (folder / "extra.png").write_bytes(b"x")
    result = run("--views", folder, "--bundle", bundle, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["failed"] == ["top"] and list(found["views"]) == ["front"]
    assert "top.png" in result.stderr and "extra.png" in result.stderr


@pytest.mark.parametrize("broken", ["no folder", "no bundle", "other bundle", "two fronts"])
def test_what_cannot_be_staged_is_one_line(tmp_path, bundle, broken):
    folder = grey_views(tmp_path / "views", {"front": 0})
    if broken == "no folder":
        folder = tmp_path / "none"
    elif broken == "no bundle":
        bundle = tmp_path / "none"
    elif broken == "other bundle":
        write_sample(tmp_path / "other")
        bundle = tmp_path / "other"
    else:
        grey_views(folder, {"front": 0}, ".jpg")
    result = run("--views", folder, "--bundle", bundle, "--json", "--out", tmp_path / "out")
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("assess: ")
    assert not (tmp_path / "out").exists()


def fine(image, box):
    x, y, w, h = box
    grey = cv2.cvtColor(image[y : y + h, x : x + w], cv2.COLOR_BGR2GRAY).astype(np.float32)
    return float(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 3)).mean())


def written(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_nothing_unblurred_is_ever_written(tmp_path, bundle, monkeypatch):
    """Every byte that leaves the process while it stages goes through a watched `os.open`; each picture among it is looked at."""
    folder = rendered_views(tmp_path / "views", 3, 4.0)
    before = written(tmp_path)
    opened = []
    whole_open = os.open

    def watched(path, flags, *rest, **more):
        if flags & (os.O_WRONLY | os.O_RDWR):
            opened.append(os.path.abspath(path))  # noqa: PTH100
        return whole_open(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", watched)
    result = run("--views", folder, "--bundle", bundle, "--json", "--out", tmp_path / "out")
    monkeypatch.undo()
    assert result.exit_code == 0, result.output
    new = {path: data for path, data in written(tmp_path).items() if before.get(path) != data}
    assert {p.parent for p in new} == {tmp_path / "out"}
    assert {p.name for p in new} == {"stage.json", "stage.png", *(f"{view}.png" for view in VIEWS)}
    assert opened and all(path.startswith(str(tmp_path / "out") + os.sep) for path in opened)
    for view in faces.FACED:
        shown, kept = (cv2.imread(str(tmp_path / name / f"{view}.png")) for name in ("views", "out"))
        line = round(faces.DEFAULT_LINES[view] * 256)
        box = (0, line, 256, 256 - line)
        assert fine(kept, box) < 0.25 * fine(shown, box)
        assert render_view(draw_head(3, 4.0), view, 256).face[line:].sum() > 50  # there was something to hide
    sheet = cv2.imread(str(tmp_path / "out" / "stage.png"))
    for i, view in enumerate(VIEWS):
        if view in faces.FACED:
            cell = (i * 240, 40 + 100, 240, 138)
            shown = cv2.resize(cv2.imread(str(folder / f"{view}.png")), (240, 240), interpolation=cv2.INTER_AREA)
            assert fine(sheet, cell) < 0.35 * fine(shown, (0, 100, 240, 138))


def test_without_out_nothing_is_written_at_all(tmp_path, bundle):
    folder = rendered_views(tmp_path / "views", 4, 2.0, 128)
    before = written(tmp_path)
    assert run("--views", folder, "--bundle", bundle, "--json").exit_code == 0
    assert written(tmp_path) == before


def test_the_views_themselves_are_never_replaced(tmp_path, bundle):
    folder = grey_views(tmp_path / "views", {"front": 0})
    before = written(tmp_path)
    result = run("--views", folder, "--bundle", bundle, "--out", tmp_path / "views" / ".." / "views")
    assert result.exit_code == 1 and "--out" in result.stderr
    assert written(tmp_path) == before


def test_a_telephones_picture_is_kept_smaller(tmp_path, bundle):
    folder = grey_views(tmp_path / "views", {"back": 90}, ".jpg", side=1600)
    assert run("--views", folder, "--bundle", bundle, "--out", tmp_path / "out").exit_code == 0
    assert cv2.imread(str(tmp_path / "out" / "back.png")).shape == (1280, 1280, 3)


def test_absent_views_weigh_nothing(tmp_path):
    with Stager(write_stage_bundle(tmp_path / "b"), threads=1) as stager:
        picture = np.full((64, 64, 3), 100, np.uint8)
        result = stager.stage({"top": picture}, folder="x")
        assert list(result.views) == ["top"] and result.views["top"].attention == pytest.approx(1, abs=1e-5)
        with pytest.raises(InferenceError, match="no view to stage"):
            stager.stage({}, folder="x")
        with pytest.raises(InferenceError, match="no view to stage"):
            stager.stage({"below": picture}, folder="x")


def test_inputs_are_in_the_order_of_the_role():
    role = stage_role(views=("top", "front"))
    inputs = stage_inputs(role, {"front": np.full((64, 80, 3), 7, np.uint8)})
    assert inputs["views"].shape == (1, 2, 32, 32, 3) and inputs["views"].dtype == np.uint8
    assert inputs["views"][0, 0].max() == 0 and inputs["views"][0, 1].min() == 7
    assert inputs["present"].tolist() == [[0.0, 1.0]]


def test_an_answer_that_is_none_is_refused(tmp_path):
    picture = {"front": np.full((64, 64, 3), 100, np.uint8)}
    fewer = stage_role(labels=STAGES[:6])
    with Stager(write_stage_bundle(tmp_path / "a", role=fewer), threads=1) as stager, pytest.raises(InferenceError, match="should be"):
        stager.stage(picture, folder="x")
    broken = write_stage_bundle(tmp_path / "b", model=brighter_is_balder(shares=3e38))
    with Stager(broken, threads=1) as stager, pytest.raises(InferenceError, match="no shares"):
        stager.stage(picture, folder="x")


def test_a_bundle_that_stages_nothing_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no role `stage`"):
        Stager(write_sample(tmp_path / "b"))


def test_the_middle_of_ordered_shares():
    assert middle(np.array([0.6, 0.2, 0.2], np.float32)) == 0
    assert middle(np.array([0.4, 0.2, 0.4], np.float32)) == 1
    assert middle(np.array([0.1, 0.1, 0.8], np.float32)) == 2
