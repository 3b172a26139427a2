import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.analysis.measurement import Quality
from runtime.analysis.paper.thickness import thickness_statistics
from runtime.analysis.severity import FEATURES, SeverityGrader, severity_features, thickness_figures
from runtime.bundles.errors import BundleError
from runtime.inference.backend import Backend
from runtime.inference.errors import InferenceError
from tests.runtime.bundle_samples import write_sample
from tests.runtime.severity_samples import few_is_severe, hairs, severity_role, write_severity_sample

FINE = Quality(ok=True, reasons=[], sharpness=0.5, exposure=0.5, hair_coverage=0.1)
DARK = Quality(ok=False, reasons=["almost black"], sharpness=0.0, exposure=0.01, hair_coverage=0.0)
EVEN = np.full((1, 4), 0.25, np.float32)


class Answering(Backend):
    """Answers what it is told to, from the third time on: before, what a grader tries it with is answered well."""

    def __init__(self, answer, patience=2):
        super().__init__("answering")
        self.answer, self.patience = answer, patience

    def _activate(self):
        pass

    def _infer(self, inputs):
        self.patience -= 1
        return {"probabilities": EVEN} if self.patience >= 0 else self.answer

    def _deactivate(self):
        pass


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_severity_sample(tmp_path_factory.mktemp("severity") / "few")


@given(st.lists(st.floats(0.1, 60), max_size=80))
def test_thickness_figures_are_the_papers_statistics(widths):
    values = np.array(widths, np.float64)
    stated = thickness_statistics(values)
    wanted = [stated.mean, stated.median, stated.mean_iqr, stated.median_iqr]
    assert np.allclose(thickness_figures(values), [0.0 if value is None else value for value in wanted], rtol=1e-9, atol=1e-9)


def test_features_count_points_with_a_width_and_hairs():
    found = severity_features(hairs([[5, None, 7, 6], [None, None], [6, 6, 40]]), 640)
    assert found.dtype == np.float32
    assert found.shape == (len(FEATURES),)
    told = dict(zip(FEATURES, found.tolist(), strict=True))
    assert told["thickness_samples"] == 6
    assert told["hair_count"] == 3
    assert told["thickness_median_px"] == 6
    assert told["thickness_mean_px"] == pytest.approx(70 / 6)
    assert told["thickness_mean_iqr_px"] == 6  # 40, 5 and 7 are outliers beside four sixes
    assert told["thickness_median_iqr_px"] == 6


def test_without_hair_every_feature_is_nought():
    assert severity_features([], 640).tolist() == [0] * len(FEATURES)
    assert severity_features(hairs([[None, None]]), 640).tolist() == [0, 0, 0, 0, 0, 1]


def test_a_larger_picture_of_the_same_field_has_the_same_features():
    small = severity_features(hairs([[5, 7, 6], [8, 8]]), 640)
    large = severity_features(hairs([[10, 10, 14, 14, 12, 12], [16, 16, 16, 16]]), 1280)
    assert np.allclose(small, large)


def test_a_known_scale_brings_another_magnification_to_the_same_features():
    far = severity_features(hairs([[4, 4, 5, 6], [3, 4, 5, 5]] * 16), 640, 14.0)  # an area four times as large, hairs half as wide
    near = severity_features(hairs([[8, 8, 8, 8, 10, 10, 12, 12], [6, 6, 8, 8, 10, 10, 10, 10]] * 4), 640, 7.0)
    assert np.allclose(far, near)
    assert np.array_equal(near, severity_features(hairs([[8, 8, 8, 8, 10, 10, 12, 12], [6, 6, 8, 8, 10, 10, 10, 10]] * 4), 640))
    larger = severity_features(hairs([[8, 8, 8, 8, 10, 10, 12, 12], [6, 6, 8, 8, 10, 10, 10, 10]] * 4), 1280, 3.5)
    smaller = severity_features(hairs([[4, 4, 5, 6], [3, 4, 5, 5]] * 4), 640, 7.0)
    assert np.allclose(larger, smaller)


def test_the_scale_counts_in_the_grade(bundle):
    with SeverityGrader(bundle) as grader:
        answers = [
            grader.grade(hairs([[6, 6]] * 25), width_px=640, height_px=480, quality=FINE, um_per_px=scale) for scale in (4.0, 7.0, 14.0)
        ]
    assert [answer.severity for answer in answers if answer is not None] == [0, 1, 3]


@pytest.mark.parametrize(("count", "severity"), [(40, 0), (25, 1), (15, 2), (3, 3)])
def test_grades_carry_the_answer_and_where_it_came_from(bundle, count, severity):
    with SeverityGrader(bundle) as grader:
        grade = grader.grade(hairs([[6, 6]] * count), width_px=640, height_px=480, quality=FINE)
    assert grade is not None
    assert grade.severity == severity
    assert len(grade.probabilities) == 4
    assert sum(grade.probabilities) == pytest.approx(1, abs=1e-5)
    assert grade.bundle == bundle.id
    assert grade.validated_on_real_labels is False


def test_a_bald_frame_is_graded_and_a_poor_one_is_not(bundle):
    with SeverityGrader(bundle) as grader:
        bald = grader.grade([], width_px=640, height_px=480, quality=FINE)
        assert bald is not None
        assert bald.severity == 3
        assert grader.grade([], width_px=640, height_px=480, quality=DARK) is None


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"label": EVEN},
        {"probabilities": EVEN[0]},
        {"probabilities": np.full((1, 3), 1 / 3, np.float32)},
        {"probabilities": np.array([[1, 0, 0, 0]])},
        {"probabilities": np.array([[np.nan, 0, 0, 1]], np.float32)},
        {"probabilities": np.array([[np.inf, 0, 0, 0]], np.float32)},
        {"probabilities": np.array([[0.5, 0.2, 0.1, 0.1]], np.float32)},
        {"probabilities": np.array([[1.5, -0.5, 0, 0]], np.float32)},
    ],
)
def test_what_is_no_probability_is_no_grade(bundle, answer):
    grader = SeverityGrader(bundle, backend=lambda model: Answering(answer))
    with pytest.raises(InferenceError, match="probabilities"):
        grader.grade([], width_px=640, height_px=480, quality=FINE)
    with pytest.raises(BundleError, match="install the bundle again"):
        SeverityGrader(bundle, backend=lambda model: Answering(answer, patience=0))


def test_a_slight_excess_of_rounding_is_cut(bundle):
    grader = SeverityGrader(bundle, backend=lambda model: Answering({"probabilities": np.array([[1.0000002, 0, -1e-7, 0]], np.float32)}))
    grade = grader.grade([], width_px=640, height_px=480, quality=FINE)
    assert grade is not None
    assert grade.probabilities == [1, 0, 0, 0]


def test_bundles_that_cannot_serve_are_refused(tmp_path):
    with pytest.raises(BundleError, match="no severity classifier"):
        SeverityGrader(write_sample(tmp_path / "segmenter"))
    other = severity_role(features=tuple(reversed(FEATURES)))
    with pytest.raises(BundleError, match="take a bundle made with this version"):
        SeverityGrader(write_severity_sample(tmp_path / "order", role=other))
    for name, model in (
        ("name", few_is_severe(output="scores")),
        ("sum", few_is_severe(softmax=False)),
        ("three", few_is_severe(grades=3)),
    ):
        with pytest.raises(BundleError, match=r"convert the network again|install the bundle again"):
            SeverityGrader(write_severity_sample(tmp_path / name, model=model))


def test_a_closed_grader_says_so(bundle):
    grader = SeverityGrader(bundle)
    grader.close()
    with pytest.raises(InferenceError, match="not active"):
        grader.grade([], width_px=640, height_px=480, quality=FINE)
