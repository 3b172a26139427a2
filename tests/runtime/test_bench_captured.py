"""The bench of captured fields: its figures are there and plausible, its command, and what it says of a bundle without better masks."""

import json

import cv2
import pytest
from typer.testing import CliRunner

from runtime.bench import captured as bench
from runtime.bench.captured import CapturedPlan, measure_captured
from runtime.commands.bench import app
from runtime.errors import TrichoscopeError
from tests.runtime.better_samples import refiner_role, teacher_role, write_better

PLAN = CapturedPlan(kind="easy", seed=2**32, fields=2, seconds=0.3, threads=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(bench, "SIZE", (320, 240))
    monkeypatch.setattr(bench, "SETTLE_S", 0.05)
    monkeypatch.setattr(bench, "SHORT_IDLE_S", 0.01)


def test_each_network_is_timed_and_everything_given_back(tmp_path):
    bundle = write_better(tmp_path / "b", teacher=teacher_role(), refiner=refiner_role())
    threads, told = cv2.getNumThreads(), []
    found = measure_captured(bundle, PLAN, told.append)
    assert cv2.getNumThreads() == threads
    assert sum(found.masks.values()) == PLAN.fields
    for times in (found.live, found.opening, found.teacher, found.whole, found.whole_busy):
        assert 0 < times.p50_ms <= times.p95_ms
    assert found.whole.p95_ms >= found.teacher.p50_ms
    assert min(found.rate_alone, found.rate_beside_work, found.rate_beside_captures) > 0
    assert 0 < found.before_mb <= found.most_mb
    assert found.after_mb <= found.most_mb
    assert len(told) == len(set(told)) > 4


def test_the_command_gives_tables_or_one_json_object(tmp_path):
    write_better(tmp_path / "b", teacher=teacher_role())
    asked = ["captured", "--bundle", str(tmp_path / "b"), "--fields", "1", "--seconds", "1", "--kind", "easy"]
    done = CliRunner().invoke(app, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["bench"], found["kind"], found["masks"]) == ("captured", "easy", {"teacher": 1})
    assert found["refiner"] == {"p50_ms": None, "p95_ms": None}
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0
    assert "beside the work on better masks" in shown.stdout


def test_a_bundle_without_better_masks_is_refused_with_the_remedy(tmp_path):
    bundle = write_better(tmp_path / "plain", refiner=refiner_role(use=False))
    with pytest.raises(TrichoscopeError, match="--bundle"):
        measure_captured(bundle, PLAN)
    done = CliRunner().invoke(app, ["captured", "--bundle", str(tmp_path / "plain")])
    assert done.exit_code == 1
    assert "no teacher" in done.stderr
