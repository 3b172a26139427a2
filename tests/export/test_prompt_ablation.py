"""`evaluate prompts`: every variant over pairs and rendered frames, with a refiner that only finds what it is pointed at."""

import json
import math

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from export.cli import app
from export.conversion.part import RolePart, write_part
from export.errors import EvaluationError
from export.evaluation import pairs
from export.evaluation.pairs import Frame
from export.evaluation.prompt_ablation import MASKS, ablate, as_json, markdown
from runtime.analysis.learned import LearnedSegmenter
from runtime.bundles.reader import FACTORY, read_bundle
from runtime.bundles.roles import TeacherRole
from runtime.refining.maps import MapsRefiner
from runtime.refining.prompts import VARIANTS, Prompts
from runtime.refining.refiner import Refined
from tests.export.training_samples import drawn_frames
from tests.runtime.bundle_samples import GOLDEN, MODEL, dark_is_hair, golden, segmenter_role, write_sample
from tests.runtime.refiner_samples import REFINER, REFINER_GOLDEN, near_points_is_hair, refiner_golden, refiner_role, write_refiner

pytestmark = pytest.mark.export


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("bundles") / "near"
    write_refiner(target)
    return target


@pytest.fixture
def data(tmp_path):
    where = tmp_path / "data"
    where.mkdir()
    for name, hairs in (("one", 1), ("three", 3), ("bald", 0)):
        image, mask = picture(hairs)
        cv2.imwrite(str(where / f"{name}.png"), image)
        cv2.imwrite(str(where / f"{name}_mask.png"), mask.astype(np.uint8) * 255)
    return where


def picture(hairs: int) -> tuple[np.ndarray, np.ndarray]:
    image = np.full((96, 128, 3), (150, 170, 210), np.uint8)
    mask = np.zeros((96, 128), bool)
    for index in range(hairs):
        mask[:, 20 + 40 * index : 27 + 40 * index] = True
    image[mask] = 25
    return image, mask


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["evaluate", "prompts", *arguments, "--threads", "1"])
    return done.exit_code, done.stdout, " ".join(done.stderr.split())


def test_the_table_over_pairs_has_every_variant_and_mask(data, folder):
    code, table, errors = run(str(data), "--bundle", str(folder))
    assert code == 0, errors
    lines = table.strip().splitlines()
    assert len(lines) == 2 + 1 + len(VARIANTS) * len(MASKS)
    assert len({line.count("|") for line in lines}) == 1
    assert "Dice easy" not in lines[0]
    assert sum("1 of 3" in line for line in lines) == len(VARIANTS) * len(MASKS)  # the bald frame
    code, told, _ = run(str(data), "--bundle", str(folder), "--json")
    assert code == 0
    found = json.loads(told)
    assert found["schema"] == "trichoscope/prompt-ablation/1"
    assert list(found["variants"]) == list(VARIANTS)
    assert found["live_mask"]["summary"]["dice"] == pytest.approx(1)
    for variant, one in found["variants"].items():
        assert one["passed_over"] == {"bald": "no hair in the mask to point at"}
        assert one["positives"]["bald"] == one["negatives"]["bald"] == 0
        assert one["positives"]["three"] > one["positives"]["one"] > 0
        assert (one["negatives"]["three"] == 0) == (variant == "skeleton")
        assert list(one["masks"]) == list(MASKS)
        assert all(set(mask["frames"]) == {"one", "three", "bald"} for mask in one["masks"].values())
    assert found["variants"]["skeleton"]["masks"]["M_AP"]["summary"]["dice"] > 0.95


def test_rendered_frames_are_told_apart_by_kind_and_a_part_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "validation_frames", drawn_frames)
    part = tmp_path / "part"
    write_part(
        part, RolePart("refiner", refiner_role(), {REFINER: near_points_is_hair(), REFINER_GOLDEN: refiner_golden(near_points_is_hair())})
    )
    live = tmp_path / "live"
    write_sample(live)
    code, table, errors = run("--rendered", "3", "--bundle", str(part), "--live", str(live))
    assert code == 0, errors
    assert all(f"Dice {kind}" in table for kind in ("easy", "realistic", "hard"))
    code, told, errors = run("--rendered", "2", "--bundle", str(part), "--json")  # the factory's segmenter
    assert code == 0, errors
    found = json.loads(told)
    assert sorted(found["kinds"].items()) == [(f"{kind}-000{i}", kind) for kind in ("easy", "hard", "realistic") for i in range(2)]
    assert found["live"] == read_bundle(FACTORY).id


def test_a_teacher_prompts_where_a_part_has_no_segmenter(data, folder, tmp_path):
    role = TeacherRole.model_validate({**segmenter_role().model_dump(), "flips": True})
    write_part(tmp_path / "teacher", RolePart("teacher", role, {MODEL: dark_is_hair(), GOLDEN: golden()}))
    code, told, errors = run(str(data), "--bundle", str(folder), "--live", str(tmp_path / "teacher"), "--json")
    assert code == 0, errors
    found = json.loads(told)
    assert found["live"].startswith("teacher/")
    assert found["live_mask"]["summary"]["dice"] > 0.99


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "either a folder with pairs or --rendered"),
        (["DATA", "--rendered", "2"], "either a folder with pairs or --rendered"),
        (["absent"], "no such folder"),
        (["DATA", "--live", "absent"], "neither a bundle nor a part"),
    ],
)
def test_what_cannot_be_compared_is_an_error_that_says_what_to_do(data, folder, arguments, words):
    code, told, errors = run(*(str(data) if a == "DATA" else a for a in arguments), "--bundle", str(folder))
    assert code == 1
    assert words in errors
    assert told == ""


def test_a_bundle_without_a_refiner(data, tmp_path):
    write_sample(tmp_path / "dark")
    code, _, errors = run(str(data), "--bundle", str(tmp_path / "dark"))
    assert code == 1
    assert "it has no refiner" in errors


class Misled:
    """Answers with all of the picture, or with no mask at all."""

    name = "misled"

    def __init__(self, value: float) -> None:
        self._value = value

    def refine(self, image: np.ndarray, prompts: Prompts) -> Refined:
        return Refined(np.full(image.shape[:2], self._value, np.float32), 0.9)

    def close(self) -> None:
        pass


def test_a_misled_refiner_is_seen_and_an_answer_that_is_no_mask_leaves_the_live_one(tmp_path):
    frames = [Frame("one", "hard", *picture(1))]
    with LearnedSegmenter(write_sample(tmp_path / "dark"), threads=1) as segmenter:
        everything = ablate(frames, segmenter, Misled(1.0), 0.5)
        nonsense = ablate(frames, segmenter, Misled(math.nan), 0.5)
        with pytest.raises(EvaluationError, match="nothing to compare"):
            ablate([], segmenter, Misled(1.0), 0.5)
    for one in everything.variants:
        assert "times the area" in one.passed_over["one"]
        dice = {name: row.scores["one"].dice for name, row in one.rows.items()}
        assert dice["M_AP"] < 0.2
        assert dice["M̂ AND M_AP"] == pytest.approx(1)
    for one in nonsense.variants:
        assert "no numbers" in one.passed_over["one"]
        assert all(row.scores["one"].dice == everything.live.scores["one"].dice for row in one.rows.values())
    json.loads(as_json(nonsense))
    assert "Dice hard" in markdown(nonsense)


def test_frames_are_counted_as_they_are_done(tmp_path):
    bundle = write_refiner(tmp_path / "near")
    done = []
    with LearnedSegmenter(bundle, threads=1) as segmenter, MapsRefiner(bundle, threads=1) as refiner:
        found = ablate([Frame(str(n), "", *picture(n)) for n in (1, 2)], segmenter, refiner, 0.5, advance=lambda: done.append(1))
    assert len(done) == 2
    assert found.refiner_name == found.live_name == bundle.id
