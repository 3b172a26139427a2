from contextlib import closing

import numpy as np
import pytest

from runtime.analysis.classical import ClassicalSegmenter
from runtime.analysis.ensemble import EnsembleSegmenter
from runtime.analysis.learned import LearnedSegmenter
from runtime.analysis.segmentation import Segmentation
from runtime.inference.errors import InferenceError
from tests.runtime.bundle_samples import write_sample

SHAPE = (96, 128)


def _soft(**columns: float) -> np.ndarray:
    """A soft mask with upright bands 8 px wide, by the column where they begin."""
    plane = np.zeros(SHAPE, np.float32)
    for at, value in columns.items():
        start = int(at[1:])
        plane[:, start : start + 8] = value
    return plane


def _found(soft: np.ndarray, faint: np.ndarray | None = None, reliability: float = 1.0) -> Segmentation:
    return Segmentation(soft >= 0.5, soft, reliability, False, ostium_probability=np.full(SHAPE, 0.25, np.float32), faint=faint)


@pytest.fixture
def ensemble(tmp_path):
    with closing(EnsembleSegmenter(LearnedSegmenter(write_sample(tmp_path / "dark"), threads=1))) as segmenter:
        yield segmenter


def _fed(monkeypatch, learned: Segmentation, classical: Segmentation) -> None:
    monkeypatch.setattr(LearnedSegmenter, "segment", lambda self, image: learned)
    monkeypatch.setattr(ClassicalSegmenter, "segment", lambda self, image: classical)


def test_hair_is_where_both_agree_or_one_is_all_but_certain(ensemble, monkeypatch):
    _fed(monkeypatch, _found(_soft(c10=0.9, c40=1.0, c70=0.6), reliability=0.7), _found(_soft(c10=0.8, c70=0.0, c100=1.0)))
    found = ensemble.segment(np.zeros((*SHAPE, 3), np.uint8))
    assert found.mask[:, 10:18].all()  # both
    assert not found.mask[:, 70:78].any()  # one, doubtful
    assert not found.mask[:, 100:108].any()  # the other alone
    assert found.probability is not None
    assert found.probability[0, 12] == pytest.approx(0.85)
    assert (found.reliability, found.unfamiliar) == (0.7, False)
    assert found.ostium_probability is not None


def test_hair_that_does_not_count_stays_out_and_is_kept(ensemble, monkeypatch):
    faint = _soft(c10=1.0) > 0
    _fed(monkeypatch, _found(_soft(c10=0.9, c40=0.9), faint), _found(_soft(c10=0.9, c40=0.9)))
    found = ensemble.segment(np.zeros((*SHAPE, 3), np.uint8))
    assert not found.mask[:, 10:18].any()
    assert found.mask[:, 40:48].all()
    assert np.array_equal(found.faint, faint)


def test_on_a_picture_both_are_asked_and_named(ensemble):
    image = np.full((*SHAPE, 3), 170, np.uint8)
    image[:, 40:48] = 15
    found = ensemble.segment(image)
    true = image[..., 0] < 100
    assert 2 * np.sum(found.mask & true) / (found.mask.sum() + true.sum()) > 0.9
    assert ensemble.name.startswith("dark/")
    assert ensemble.name.endswith(ClassicalSegmenter().name)


def test_a_failing_backend_is_an_error_for_whoever_falls_back(ensemble, monkeypatch):
    def fail(self, image):
        raise InferenceError("no memory")

    monkeypatch.setattr(LearnedSegmenter, "segment", fail)
    with pytest.raises(InferenceError):
        ensemble.segment(np.zeros((*SHAPE, 3), np.uint8))
