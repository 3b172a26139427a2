import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")

import cv2
from typer.testing import CliRunner

from export.cli import app
from export.conversion.severity import bundle_severity, definition_text
from export.errors import TrainingError
from export.severity_scenes import draw_persons
from export.training.severity import fitting, measuring, training
from export.training.severity.measuring import FIGURES, PATHS, measure_persons, table
from export.training.severity.recipe import SMOKE
from export.training.severity.training import CONFUSION, IMPORTANCES, MODEL, RELIABILITY, RESULTS, STATE, SeverityTraining, Watcher
from runtime.analysis.segmentation import given_mask
from runtime.analysis.severity import FEATURES, SeverityGrader
from tests.export.severity_samples import drawn_rows, measured
from tests.runtime.better_samples import StandInTeacher, captured, refiner_role, teacher_role, write_better
from tests.runtime.refiner_samples import near_points_is_hair

pytestmark = pytest.mark.export


@pytest.fixture
def drawn(monkeypatch):
    """Trainings on persons that are not rendered."""
    monkeypatch.setattr(training, "measure_persons", measured)
    monkeypatch.setattr(training, "TIMED", 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "measure_persons", measured)
        patch.setattr(training, "TIMED", 3)
        folder = tmp_path_factory.mktemp("severity") / "training"
        recipe = replace(SMOKE, persons=48, test_persons=24, trees=60, rate=0.05, leaf=3)
        results = SeverityTraining.begun(folder, recipe, 3).run(Watcher())
    return folder, results


def test_a_training_learns_and_its_part_serves(finished):
    folder, results = finished
    assert results["scores"]["all test frames"]["accuracy"] > results["scores"]["always the most frequent grade"]["accuracy"] + 0.3
    assert results["parity"]["max_abs"] <= 1e-5
    assert results["parity"]["rows"] == 10_000
    assert set(results["feature_sets"]) == set(fitting.FEATURE_SETS)
    part = bundle_severity(folder)
    assert part.role.card.validated_on_real_labels is False
    assert "75–105 hairs" in part.role.card.trained_on
    assert part.role.metrics["accuracy"] == results["scores"]["all test frames"]["accuracy"]
    from export.conversion.part import as_bundle, write_part

    write_part(folder / "part", part)
    with SeverityGrader(as_bundle(part)) as grader:
        rows = drawn_rows(list(draw_persons(40, 9, test=True)))
        answers = [int(grader.probabilities(row).argmax()) for row in table(rows, FEATURES)]
    assert np.mean(np.array(answers) == fitting.grades_of(rows)) > 0.6


def test_pictures_can_be_looked_at(finished):
    folder, _ = finished
    for name in (CONFUSION, IMPORTANCES, RELIABILITY):
        picture = cv2.imread(str(folder / name))
        assert picture is not None
        assert min(picture.shape[:2]) > 300
        assert picture.std() > 1


def test_the_same_seed_gives_the_same_classifier(finished, drawn, tmp_path):
    folder, results = finished
    (tmp_path / STATE).write_bytes((folder / STATE).read_bytes())
    again = SeverityTraining.resumed(tmp_path)
    assert again.seed == 3
    second = again.run(Watcher())
    assert (tmp_path / MODEL).read_bytes() == (folder / MODEL).read_bytes()
    assert second["scores"] == results["scores"]


def test_what_is_not_finished_or_damaged_is_no_part(finished, tmp_path):
    folder, _ = finished
    with pytest.raises(TrainingError, match="not there"):
        bundle_severity(tmp_path)
    for name in (STATE, RESULTS, MODEL, CONFUSION, IMPORTANCES, RELIABILITY):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    bundle_severity(tmp_path)
    results = json.loads((tmp_path / RESULTS).read_text())
    for damaged in ({key: value for key, value in results.items() if key != "scores"}, results | {"golden": [[1, 2]]}, []):
        (tmp_path / RESULTS).write_text(json.dumps(damaged))
        with pytest.raises(TrainingError, match=RESULTS):
            bundle_severity(tmp_path)
    (tmp_path / RESULTS).write_text(json.dumps(results))
    (tmp_path / MODEL).unlink()
    with pytest.raises(TrainingError, match=MODEL):
        bundle_severity(tmp_path)


def test_a_grade_without_persons_is_not_learnt(monkeypatch, tmp_path):
    def only_bald(folder, persons, **options):
        return drawn_rows([person for person in persons if person.severity == 3])

    monkeypatch.setattr(training, "measure_persons", only_bald)
    with pytest.raises(TrainingError, match=r"0 of severity 0 .* take more persons"):
        SeverityTraining.begun(tmp_path / "out", SMOKE, 1).run(Watcher())
    assert not (tmp_path / "out" / RESULTS).exists()


def test_persons_are_never_split():
    rows = drawn_rows(list(draw_persons(40, 2)), fields=2)
    folds = fitting.person_folds(rows, 4, 7)
    assert sorted(i for _, out in folds for i in out.tolist()) == list(range(len(rows)))
    for learnt, out in folds:
        assert not {rows[i].person for i in learnt} & {rows[i].person for i in out}
        assert np.bincount(fitting.grades_of([rows[i] for i in out]), minlength=4).min() > 0


def test_no_grade_of_a_condition_is_a_feature():
    for names in fitting.FEATURE_SETS.values():
        assert set(names) <= set(FIGURES)
    assert not {word for name in FIGURES for word in ("dandruff", "sebum", "erythema", "grade", "severity") if word in name}


def test_importances_find_what_matters():
    rows = drawn_rows(list(draw_persons(60, 4)))
    estimator = fitting.fit(rows, (FEATURES,), replace(SMOKE, trees=30, rate=0.1), 1)
    falls = fitting.importances(estimator, rows, FEATURES, 1, repeats=3)
    assert max(falls, key=lambda name: falls[name][0]) in ("hair_count", "thickness_samples", "thickness_mean_px")
    assert falls["thickness_median_iqr_px"][0] < falls["hair_count"][0] + falls["thickness_samples"][0]


def test_measured_persons_are_kept_and_damaged_ones_measured_anew(monkeypatch, tmp_path):
    calls = []

    def stand_in(person, fields, segmenters):
        assert set(segmenters) == set(PATHS)
        calls.append(person)
        return drawn_rows([person], fields)

    monkeypatch.setattr(measuring, "measure_person", stand_in)
    persons = list(draw_persons(4, 1))
    seen = []
    first = measure_persons(tmp_path, persons, fields=1, workers=1, advance=seen.append)
    assert calls == persons
    assert sum(seen) == 4
    assert measure_persons(tmp_path, persons, fields=1, workers=1) == first
    assert len(calls) == 4
    kept = sorted(tmp_path.glob("*.json"))
    kept[0].write_text("[{}]")
    kept[1].write_bytes(kept[1].read_bytes()[:-40])
    assert measure_persons(tmp_path, persons, fields=1, workers=1) == first
    assert len(calls) == 6
    measure_persons(tmp_path, persons, fields=2, workers=1)
    assert len(calls) == 10


def test_figures_are_kept_for_the_networks_that_have_a_say(monkeypatch, tmp_path):
    from runtime.analysis.segmenters import SegmenterSource

    seen, content = [], near_points_is_hair(iou=(0.2, 0.9, 0.5))
    for number, made in enumerate(
        (
            {},
            {"teacher": teacher_role(use=False)},
            {"teacher": teacher_role(use=True)},
            {"teacher": teacher_role(use=True, threshold=0.4)},
            {"refiner": refiner_role(use=True)},
            {"refiner": refiner_role(use=True), "refining": content},
            {"refiner": refiner_role(use=True, combination="and")},
        )
    ):
        bundle = write_better(tmp_path / str(number), **made)
        monkeypatch.setattr(measuring, "read_source", lambda settings, bundle=bundle: SegmenterSource(bundle, None))
        seen.append(measuring._networks_mark())
    assert seen[0] == seen[1]  # what is not used has no say
    assert len(set(seen)) == len(seen) - 1


@pytest.mark.parametrize(
    ("reasons", "tries"),
    [
        ([None], 1),
        (["the refiner: the refined mask has 0.10 times the area of the mask before"], 1),  # the same on every machine
        (["a better mask was not ready within 30 s", None], 2),
        (["the teacher failed: no memory"] * 9, 0),
    ],
    ids=["ready", "not believed", "late once", "broken"],
)
def test_a_field_on_another_mask_than_captures_have_is_measured_again(reasons, tries):
    asked = []

    class Segmenter:
        name = "as told"

        def segment(self, image):
            asked.append(reasons[len(asked)])
            return replace(given_mask(np.zeros(image.shape[:2], bool)), passed_over=asked[-1])

    image = np.full((64, 96, 3), 180, np.uint8)
    if tries:
        assert measuring._measured_well(image, Segmenter(), 7.0, paper=False).segmentation.passed_over == reasons[-1]
        assert len(asked) == tries
    else:
        with pytest.raises(TrainingError, match="no memory: let nothing else run"):
            measuring._measured_well(image, Segmenter(), 7.0, paper=False)
        assert len(asked) == measuring.TRIES


def test_reasons_that_lie_in_the_field_begin_as_is_told(tmp_path):
    held = write_better(tmp_path / "bundle", teacher=teacher_role(use=True))
    image = np.full((96, 128, 3), 180, np.uint8)
    image[:, 40:50] = 30
    with captured(held, StandInTeacher(np.zeros((96, 128), np.float32))) as segmenter:
        assert segmenter.segment(image).passed_over.startswith(measuring.JUDGED)
    with captured(held, StandInTeacher(np.zeros(1), error=MemoryError("none left"))) as segmenter:
        assert not segmenter.segment(image).passed_over.startswith(measuring.JUDGED)


def test_without_a_learned_segmenter_nothing_is_learnt(monkeypatch, tmp_path):
    from runtime.analysis.segmenters import SegmenterSource

    monkeypatch.setattr(measuring, "read_source", lambda settings: SegmenterSource(None, "the bundle is damaged"))
    with pytest.raises(TrainingError, match="the bundle is damaged"):
        measure_persons(tmp_path, list(draw_persons(4, 1)), fields=1, workers=1)


def test_the_command_writes_a_part_and_refuses_to_write_over_a_training(drawn, tmp_path):
    run = CliRunner().invoke(app, ["train", "severity", "--recipe", "smoke", "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    assert "accuracy" in run.stdout
    assert (tmp_path / "out" / "part" / "role.json").is_file()
    run = CliRunner().invoke(app, ["train", "severity", "--recipe", "smoke", "--out", str(tmp_path / "out")])
    assert run.exit_code == 1
    assert "--resume it" in run.stderr
    run = CliRunner().invoke(app, ["train", "severity", "--resume", "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    for arguments in (["--recipe", "large", "--out", str(tmp_path / "none")], ["--resume", "--out", str(tmp_path / "none")]):
        run = CliRunner().invoke(app, ["train", "severity", *arguments])
        assert run.exit_code == 1
        assert run.stderr.startswith("train severity: ")
        assert not (tmp_path / "none").exists()


def test_the_evaluation_compares_a_part_with_the_majority(finished, monkeypatch, tmp_path):
    folder, _ = finished
    from export.conversion.part import write_part

    write_part(tmp_path / "part", bundle_severity(folder))
    monkeypatch.setattr(measuring, "measure_persons", measured)
    arguments = ["evaluate", "severity", "--bundle", str(tmp_path / "part"), "--persons", "24", "--json"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    assert told["scores"]["all frames"]["accuracy"] > told["scores"]["always the most frequent grade"]["accuracy"]
    assert np.sum(told["confusion"]["live"]) == told["scores"]["live"]["frames"]
    run = CliRunner().invoke(app, ["evaluate", "severity", "--bundle", str(tmp_path / "nothing")])
    assert run.exit_code == 1
    assert run.stderr.startswith("evaluate severity: ")


def test_the_definition_is_told_in_numbers():
    told = definition_text()
    assert told.startswith("0 good: ≥ 165 hairs to be seen per cm²")
    assert "3 severe: 0–18 hairs" in told
    assert "25% of the heads bald" in told
