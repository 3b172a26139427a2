"""The bench measures what it was asked for, and says which segmenter served."""

import pytest

from runtime.bench.analysis import BenchPlan, bench_size
from runtime.errors import TrichoscopeError
from tests.runtime.bundle_samples import write_sample

STAGES = ["segment", "quality", "skeleton", "hairs", "widths", "follicles", "paper", "figures", "scalp", "grades", "total"]


def plan(segmenter, bundle=None):
    return BenchPlan(160, 120, 2, "easy", 1, segmenter, None if bundle is None else str(bundle))


def test_the_segmenter_that_served_is_named_beside_the_stages(tmp_path):
    sample = write_sample(tmp_path / "dark")
    for found, name in ((bench_size(plan("classical")), "classical/1"), (bench_size(plan("learned", tmp_path / "dark")), sample.id)):
        assert (found["segmenter"], found["segmenter_problem"], found["segmenter_failures"]) == (name, None, 0)
        assert list(found["stages"]) == STAGES
        assert (found["width_px"], found["height_px"], found["frames"]) == (160, 120, 2)


def test_a_bundle_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(TrichoscopeError, match="absent: no such bundle"):
        bench_size(plan("learned", tmp_path / "absent"))
