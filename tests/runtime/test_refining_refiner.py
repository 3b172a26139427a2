"""When a refiner's answer is passed over, and the two ensembles of its mask and ours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.analysis.segmentation import Segmentation, given_mask
from runtime.refining.prompts import Prompts
from runtime.refining.refiner import Refined, both, combined, weighed, why_not_asked, why_not_combined, why_refused

SHAPE = (60, 80)
SOFT = arrays(np.float32, (24, 30), elements=st.floats(0, 1, width=32))
SHARE = st.floats(0, 1)


def bar(left: int = 20, right: int = 30) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[:, left:right] = True
    return mask


def refined(mask: np.ndarray, *, high: float = 0.9, iou: float = 0.8) -> Refined:
    return Refined(np.where(mask, np.float32(high), np.float32(0.02)), iou)


def live(mask: np.ndarray, *, high: float = 0.9, reliability: float = 0.8, faint: np.ndarray | None = None) -> Segmentation:
    soft = np.where(mask, np.float32(high), np.float32(0.02))
    return Segmentation(mask=mask, probability=soft, reliability=reliability, unfamiliar=False, faint=faint)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (refined(bar(20, 21)), "0.10 times the area"),
        (refined(bar(0, 80)), "8.00 times the area"),
        (refined(bar(0, 0)), "0.00 times the area"),
        (Refined(np.zeros((60, 81), np.float32), 0.9), "the shape"),
        (Refined(np.zeros((60, 80, 1), np.float32), 0.9), "the shape"),
        (refined(bar(), iou=float("nan")), "no numbers"),
        (refined(bar(), high=float("nan")), "no numbers"),
        (refined(bar(), high=float("inf")), "no numbers"),
        (refined(bar(40, 50)), "agrees with the mask before by 0.00"),
        (refined(bar(), high=7.0), "no probabilities"),
        (Refined(-refined(bar()).probability, 0.9), "no probabilities"),
    ],
)
def test_nonsense_is_passed_over_with_its_reason(found, words):
    reason = why_refused(bar(), found, 0.5)
    assert reason is not None
    assert words in reason


def test_a_mask_of_a_bearable_area_is_taken():
    for right in (23, 30, 50):
        assert why_refused(bar(), refined(bar(20, right)), 0.5) is None
    rounded = Refined(refined(bar()).probability * np.float32(1.1112), 0.8)  # halves and resizing round
    assert why_refused(bar(), rounded, 0.5) is None
    assert why_refused(bar(0, 0), refined(bar()), 0.5) == "no hair in the mask to refine"


def test_nothing_to_point_at_is_said_before_anything_is_computed():
    assert why_not_asked(Prompts(np.zeros((1, 2)), np.ones(1, bool))) is None
    assert why_not_asked(Prompts(np.zeros((1, 2)), np.zeros(1, bool))) == "no hair in the mask to point at"
    assert why_not_asked(Prompts(np.zeros((0, 2)), np.zeros(0, bool))) is not None


@settings(max_examples=40, deadline=None)
@given(SOFT, SOFT, SHARE, SHARE)
def test_ensembles_of_any_soft_masks_are_masks_and_leave_these_alone(ours, theirs, reliability, iou):
    ours.flags.writeable = theirs.flags.writeable = False
    found = Segmentation(mask=ours >= 0.5, probability=ours, reliability=reliability, unfamiliar=False)
    for combination in ("and", "weighed"):
        soft, mask = combined(combination, found, Refined(theirs, iou), 0.4, 0.5)
        assert soft.dtype == np.float32
        assert mask.dtype == np.bool_
        assert soft.shape == mask.shape == ours.shape
        assert (soft >= np.minimum(ours, theirs) - 1e-6).all()
        assert (soft <= np.maximum(ours, theirs) + 1e-6).all()
        assert not (mask & (ours < 0.5) & (theirs < 0.4)).any()  # where neither has hair there is none
        if combination == "and":
            assert not (mask & ~found.mask).any()


def test_the_ensemble_of_the_paper_is_what_both_masks_have():
    soft, mask = both(live(bar(20, 30)), refined(bar(24, 36)), 0.5)
    assert np.array_equal(mask, bar(24, 30))
    assert np.array_equal(soft >= 0.5, mask)
    soft, mask = both(given_mask(bar(20, 30)), refined(bar(24, 36)), 0.5)  # a mask without a soft one
    assert np.array_equal(mask, bar(24, 30))
    assert soft.max() == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("reliability", "iou", "expected"),
    [(1.0, 0.0, bar(20, 30)), (0.0, 1.0, bar(24, 36)), (0.9, 0.1, bar(20, 30)), (0.1, 0.9, bar(24, 36))],
)
def test_the_more_trusted_mask_decides(reliability, iou, expected):
    soft, mask = weighed(live(bar(20, 30), reliability=reliability), refined(bar(24, 36), iou=iou), 0.5, 0.5)
    assert np.array_equal(mask, expected)
    assert 0 <= soft.min() <= soft.max() <= 1


def test_two_that_trust_themselves_not_at_all_are_averaged():
    soft, _ = weighed(live(bar(20, 30), reliability=0.0), refined(bar(24, 36), iou=0.0), 0.5, 0.5)
    assert soft[5, 22] == pytest.approx(soft[5, 33], abs=1e-6)


def test_hair_that_does_not_count_stays_out_of_both_ensembles():
    everything = bar(20, 30) | bar(50, 60)
    found = live(everything, faint=bar(50, 60))
    found = Segmentation(
        mask=bar(20, 30), probability=found.probability, reliability=0.8, unfamiliar=False, faint=found.faint
    )  # as the learned segmenter gives it: the soft mask has faint hair, the mask has not
    for combination in ("and", "weighed"):
        _, mask = combined(combination, found, refined(everything), 0.5, 0.5)
        assert np.array_equal(mask, bar(20, 30))


def test_an_inverted_answer_of_a_bearable_area_is_refused():
    half = bar(0, 40)
    assert "agrees" in why_refused(half, refined(~half), 0.5)


def test_an_ensemble_that_loses_most_of_the_hair_is_refused():
    assert why_not_combined(bar(20, 30), bar(20, 25)) is None
    assert "0.40 is left" in why_not_combined(bar(20, 30), bar(20, 24))
    assert why_not_combined(bar(0, 0), bar(0, 0)) is None


def test_crumbs_that_the_cut_leaves_are_dropped():
    hair, more, crumb = (np.zeros((240, 320), bool) for _ in range(3))
    hair[:, 80:88] = more[:, 80:88] = more[:, 200:208] = crumb[120:126, 200:206] = True
    for image in (None, np.full((240, 320, 3), 170, np.uint8)):
        assert np.array_equal(both(live(more), refined(hair | crumb), 0.5, image)[1], hair)


def test_slits_of_gloss_that_were_filled_stay_filled_where_the_picture_tells_them():
    slit = np.zeros(SHAPE, bool)
    slit[15:40, 25] = True
    image = np.where(bar()[..., None], np.uint8(30), np.uint8(170)).repeat(3, axis=2)
    glossy = image.copy()
    glossy[slit] = 180
    theirs = refined(bar() & ~slit)
    soft, mask = both(live(bar()), theirs, 0.5, glossy)
    assert np.array_equal(mask, bar())
    assert (soft[slit] >= 0.5).all()
    assert np.array_equal(both(live(bar()), theirs, 0.5)[1], bar() & ~slit)
    assert np.array_equal(both(live(bar()), theirs, 0.5, image)[1], bar() & ~slit)  # dark, so no gloss
