import cv2
import numpy as np
import pytest

from export.evaluation.forecast import area_under_curve
from export.persons import LONGEST, MARKERS, SERIES, draw_cohort, draw_person, render_picture, scaled_records

pytestmark = pytest.mark.export


@pytest.fixture(scope="module")
def cohort():
    return draw_cohort(7, 300, lambda picture: cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA))


def test_the_same_numbers_draw_the_same_person():
    first, again, other = draw_person(7, 3), draw_person(7, 3), draw_person(7, 4)
    assert np.array_equal(render_picture(first), render_picture(again))
    assert np.array_equal(first.records, again.records, equal_nan=True)
    assert not np.array_equal(render_picture(first), render_picture(other))
    assert render_picture(first).shape == (256, 256, 3)


def test_records_are_plausible_have_gaps_and_end_with_something(cohort):
    assert cohort.records.shape == (300, LONGEST, len(SERIES))
    assert 1 in cohort.lengths
    for records, length in zip(cohort.records, cohort.lengths, strict=True):
        assert np.isfinite(records[length - 1]).any()
        assert not np.isfinite(records[length:]).any()
    low, high = np.nanmin(cohort.records, (0, 1)), np.nanmax(cohort.records, (0, 1))
    assert (low >= [s.low for s in SERIES]).all()
    assert (high <= [s.high for s in SERIES]).all()
    assert cohort.markers.min() == 0
    assert (cohort.markers.max(0) == [len(marker.values) for marker in MARKERS]).all()
    assert set(np.unique(cohort.stage)) == {0, 1, 2, 3}


def test_what_is_missing_is_zero_and_said(cohort):
    scaled = scaled_records(cohort.records)
    values, there = scaled[..., : len(SERIES)], scaled[..., len(SERIES) :]
    assert np.array_equal(there == 1, np.isfinite(cohort.records))
    assert (values[there == 0] == 0).all()
    assert np.abs(values[there == 1].mean()) < 0.2


def test_each_set_is_told_by_what_it_says(cohort):
    dark = np.mean(
        cohort.pictures.astype(np.float32).mean(3) < 0.75 * np.quantile(cohort.pictures.mean(3), 0.9, (1, 2), keepdims=True), (1, 2)
    )
    course = cohort.logits["records"]
    assert area_under_curve(-dark, cohort.high["picture"]) > 0.65
    assert abs(area_under_curve(-dark, cohort.high["records"]) - 0.5) < 0.1
    assert area_under_curve(course, cohort.high["records"]) > 0.8
    assert abs(area_under_curve(course, cohort.high["picture"]) - 0.5) < 0.1
    assert abs(np.corrcoef(cohort.logits["picture"], course)[0, 1]) < 0.15
    assert np.allclose(cohort.logits["both"] / 2.0, (cohort.logits["picture"] + course) / 2.4)


def test_thin_scalps_show_fewer_and_thinner_hairs(cohort):
    assert np.corrcoef(cohort.logits["picture"], cohort.density)[0, 1] < -0.8
    assert np.corrcoef(cohort.logits["picture"], cohort.miniaturised)[0, 1] > 0.8


def test_nobody_is_no_cohort():
    with pytest.raises(ValueError, match="nobody"):
        draw_cohort(1, 0)
