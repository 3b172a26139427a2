"""When a teacher or a refiner is used: what is gained on rendered frames, and what must not be lost for it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from export.conversion import evidence
from export.conversion.evidence import Tally, refiner_evidence, teacher_evidence, worth_it
from export.errors import ConversionError
from tests.export.training_samples import drawn_bald_frames, drawn_frames
from tests.runtime.better_samples import refiner_role, teacher_role, write_better

pytestmark = pytest.mark.export


def tally(**changes):
    given = {
        "dice": {"easy": [0.9, 0.92], "hard": [0.7, 0.8]},
        "miscounted": {"easy": 1, "hard": 8},
        "hairs": {"easy": 20, "hard": 40},
        "false_area": [0.001, 0.002],
    }
    return Tally(**given | changes)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"dice": {"easy": [0.91, 0.92], "hard": [0.71, 0.8]}}, True),
        ({}, False),
        ({"dice": {"easy": [0.897, 0.918], "hard": [0.8, 0.9]}}, False),
        ({"dice": {"easy": [0.91, 0.92], "hard": [0.71, 0.8]}, "miscounted": {"easy": 1, "hard": 9}}, False),
        ({"dice": {"easy": [0.91, 0.92], "hard": [0.71, 0.8]}, "false_area": [0.001, 0.0032]}, False),
        ({"dice": {"easy": [0.899, 0.92], "hard": [0.72, 0.8]}, "miscounted": {"easy": 0, "hard": 8}, "false_area": [0.002]}, True),
    ],
    ids=["better", "no better", "a kind loses", "miscounts", "grows hair on skin", "a little worse somewhere"],
)
def test_a_better_mask_gains_and_loses_little(changes, wanted):
    assert worth_it(tally(), tally(**changes)) is wanted


def test_figures_are_told_by_kind():
    told = tally(passed_over=3).metrics("teacher")
    assert told["dice_teacher_hard"] == pytest.approx(0.75)
    assert told["count_error_teacher_hard"] == pytest.approx(0.2)
    assert told["false_area_teacher"] == pytest.approx(0.0015)
    assert told["passed_over_teacher"] == 3
    with pytest.raises(ConversionError, match="no rendered frame has hair"):
        Tally().metrics("teacher")


@pytest.fixture
def drawn(monkeypatch):
    """Frames that are drawn, and from which seeds."""
    seeds = []
    monkeypatch.setattr(evidence, "validation_frames", lambda per_kind, seed: seeds.append(seed) or drawn_frames(per_kind, seed))
    monkeypatch.setattr(evidence, "bald_frames", drawn_bald_frames)
    return seeds


class Thin(evidence.EnsembleSegmenter):
    """A live mask that lacks the rims of hair."""

    def with_classical(self, image):
        found, classical = super().with_classical(image)
        return replace(found, mask=cv2.erode(found.mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)), classical


@pytest.mark.parametrize("thin", [False, True])
def test_a_teacher_is_used_where_it_is_better(tmp_path, monkeypatch, drawn, thin):
    if thin:
        monkeypatch.setattr(evidence, "EnsembleSegmenter", Thin)
    bundle = write_better(tmp_path / "bundle", teacher=teacher_role(use=False))
    use, metrics = teacher_evidence(bundle, bundle, per_kind=3)
    assert use is thin
    for name in ("live_classical", "teacher_classical"):
        assert {f"dice_{name}", f"dice_{name}_hard", f"count_error_{name}_easy", f"false_area_{name}"} <= set(metrics)
    assert (metrics["dice_teacher_classical"] > metrics["dice_live_classical"]) is thin
    assert drawn == [evidence.TEACHER_SEED]


@pytest.mark.parametrize("thin", [False, True])
def test_a_refiner_is_used_with_the_ensemble_that_is_better(tmp_path, monkeypatch, drawn, thin):
    if thin:
        monkeypatch.setattr(evidence, "EnsembleSegmenter", Thin)
    bundle = write_better(tmp_path / "bundle", refiner=refiner_role(use=False, combination="and"))
    found = refiner_evidence(bundle, bundle, None, per_kind=3)
    assert found.use is thin
    if thin:
        assert found.combination == "weighed"
    assert {"dice_prompting", "dice_refined", "dice_both_easy", "count_error_weighed_hard", "false_area_both"} <= set(found.metrics)
    assert drawn == [evidence.REFINER_SEED]


@pytest.mark.parametrize("used", [False, True])
def test_a_refiner_is_prompted_by_a_teacher_that_is_used(tmp_path, monkeypatch, drawn, used):
    monkeypatch.setattr(evidence, "EnsembleSegmenter", Thin)
    live = write_better(tmp_path / "live", refiner=refiner_role())
    taught = write_better(tmp_path / "taught", teacher=teacher_role(use=used), segmenter=False)
    found = refiner_evidence(live, live, taught, per_kind=2)
    assert (found.metrics["dice_prompting"] > 0.9) is used


def test_a_refiner_works_once_for_both_ensembles(tmp_path, monkeypatch, drawn):
    asked = []
    opened = evidence.open_refiner

    class Counted:
        def __init__(self, refiner):
            self.refiner, self.name, self.close = refiner, refiner.name, refiner.close

        def refine(self, image, prompts):
            asked.append(image)
            return self.refiner.refine(image, prompts)

    monkeypatch.setattr(evidence, "open_refiner", lambda bundle, threads: Counted(opened(bundle, threads=threads)))
    bundle = write_better(tmp_path / "bundle", refiner=refiner_role())
    refiner_evidence(bundle, bundle, None, per_kind=2)
    assert len(asked) == len({id(image) for image in asked}) == 3  # of two frames of each kind one is bald
