"""Grades and indices as commands print them: in the words of the profile of use, and with what is to be known of their models."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from rich.console import Console

from runtime.analysis.fallback import FallingBackSegmenter
from runtime.analysis.graders import Graders
from runtime.analysis.scalp.indices import Index
from runtime.commands.graded import graded_columns, graded_table
from runtime.intended_use.declaration import declare
from runtime.intended_use.in_force import profile_in_force
from runtime.intended_use.settings import UseSettings
from runtime.intended_use.text import packaged_text
from runtime.pipeline import analyse
from tests.runtime.drawn import FIVE, hairs_on_skin
from tests.runtime.graded_bundle_samples import write_graded

PROGRAM = Path(sys.executable).with_name("trichoscope")
ALL = ("severity", "conditions")


def use_of(profile, folder):
    if profile == "clinical":
        declare(folder, packaged_text(), "Ida Meyer")
    return profile_in_force(UseSettings(profile=profile), folder)


def measured(bundle, **changes):
    with Graders(bundle, ALL, thorough=True) as graders:
        found = analyse(hairs_on_skin(FIVE)[0], name="five.png", segmentation=FallingBackSegmenter(None), paper=True, graders=graders)
    return found.model_copy(update=changes)


def printed(*measurements, use):
    console = Console(file=io.StringIO(), width=200)
    table = graded_table(measurements, use)
    if table is None:
        return ""
    console.print(table)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    return measured(write_graded(tmp_path_factory.mktemp("graded") / "graded", severity=1, conditions=(0, 2, 3)))


def test_the_words_are_those_of_the_profile(graded, tmp_path):
    text = printed(graded, use=use_of("wellness", tmp_path))
    for word in ("flaking", "shine", "redness", "none to be seen", "shiny", "red ("):
        assert word in text
    assert "dandruff" not in text and "erythema" not in text
    clinical = printed(graded, use=use_of("clinical", tmp_path))
    for word in ("dandruff", "excess sebum", "erythema index", "none (", "moderate (", "severe ("):
        assert word in clinical


def test_it_is_said_once_that_models_were_not_validated_and_only_where_it_is_so(graded, tmp_path):
    use = use_of("wellness", tmp_path)
    assert printed(graded, graded, use=use).count(use.not_validated) == 1
    real = measured(write_graded(tmp_path / "real", severity=1, conditions=(0, 2, 3), validated=True))
    assert use.not_validated not in printed(real, use=use)
    assert use.not_validated in printed(real, graded, use=use)


def test_an_index_that_is_doubtful_or_missing_is_marked(graded, tmp_path):
    doubtful = Index(value=7.25, unit="% of skin", reliable=False, reason="it glitters")
    missing = Index(value=None, unit="100 ln R/G", reliable=False, reason="no colour")
    sure = Index(value=3.0, unit="% of skin", reliable=True)
    scalp = graded.scalp.model_copy(update={"flakes": sure, "shine": doubtful, "erythema": missing})
    text = printed(*[graded.model_copy(update={"scalp": scalp})] * 2, use=use_of("wellness", tmp_path))
    (row, again) = [line for line in text.splitlines() if line.startswith("five.png")]
    assert [cell.strip() for cell in row.split("│")][-3:] == ["3.0 %", "7.2 % ?", "—"]
    assert row == again
    assert [line for line in text.splitlines() if line.startswith("?")] == [
        "? shine, share of the skin: it glitters.",
        "? redness, measured: no colour.",
    ]


def test_without_anything_graded_or_measured_there_is_no_table(graded, tmp_path):
    bare = graded.model_copy(update={"alopecia": None, "conditions": None, "scalp": None})
    assert printed(bare, use=use_of("wellness", tmp_path)) == ""
    assert set(graded_columns(bare).values()) == {None}


def test_columns_of_a_table_file_are_numbers_under_names_that_no_profile_changes(graded):
    found = graded_columns(graded)
    assert (found["dandruff_grade"], found["sebum_grade"], found["erythema_grade"]) == (0, 2, 3)
    assert found["grades_validated_on_real_labels"] is False
    assert found["flakes_index"] == graded.scalp.flakes.value
    assert found["shine_index_reliable"] is graded.scalp.shine.reliable


def test_analyze_grades_with_the_bundle_that_is_named_and_with_given_masks_with_the_one_that_serves(tmp_path):
    write_graded(tmp_path / "graded", severity=1, conditions=(0, 2, 3), segmenter=False)
    picture, mask = hairs_on_skin(FIVE)
    cv2.imwrite(str(tmp_path / "five.png"), picture)
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "five_mask.png"), mask.astype("uint8") * 255)
    environment = {**os.environ, "TRICHOSCOPE_STORE__FOLDER": str(tmp_path / "state")}

    def analyze(*arguments, **more):
        command = [PROGRAM, "analyze", "five.png", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=True, env=environment | more)

    done = analyze("--bundle", "graded", "--csv", "table.csv")
    assert "flaking" in done.stdout and packaged_text().of("wellness").not_validated in done.stdout
    (row,) = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    assert (row["dandruff_grade"], row["erythema_grade"]) == ("0", "3")
    done = analyze("--use-masks", "masks", "--json", TRICHOSCOPE_ANALYSIS__BUNDLE=str(tmp_path / "graded"))
    found = json.loads(done.stdout)
    assert found["models"]["segmenter"] == "given"
    assert found["conditions"]["sebum"]["severity"] == 2
