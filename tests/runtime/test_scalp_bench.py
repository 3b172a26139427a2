"""The bench of the measured indices: ranks beside known grades, and folders that hold no truth or damaged truth."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.analysis.segmentation import Segmentation, given_mask
from runtime.bench.scalp import from_folder, graded, measure_ranks, rank_correlation, rendered
from runtime.errors import PictureError


class Bald:
    """A segmenter that finds no hair."""

    name = "bald"

    def segment(self, image: np.ndarray) -> Segmentation:
        return given_mask(np.zeros(image.shape[:2], np.bool_))


def test_ranks_share_ties_and_say_none_for_nothing() -> None:
    assert rank_correlation(np.array([1.0, 2.0, 3.0, 9.0]), np.array([0, 1, 2, 3])) == 1
    assert rank_correlation(np.array([4.0, 3.0, 2.0, 1.0, np.nan]), np.array([0, 1, 2, 3, 3])) == -1
    assert rank_correlation(np.array([1.0, 1.0, 1.0, 1.0]), np.array([0, 1, 2, 3])) is None
    assert rank_correlation(np.array([1.0, np.nan, 2.0, 3.0]), np.array([0, 1, 2, 3])) is None


def write_frame(folder: Path, name: str, grades: dict[str, int]) -> None:
    image = np.random.default_rng(len(name)).integers(120, 180, (48, 64, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / f"{name}.jpg"), image)
    (folder / f"{name}.json").write_text(json.dumps({"conditions": grades, "difficulty": "hard", "scale": {"um_per_px_center": 7.0}}))


def test_a_folder_of_graded_pictures_is_read(tmp_path: Path) -> None:
    write_frame(tmp_path, "a", {"dandruff": 1, "sebum": 0, "erythema": 3})
    cv2.imwrite(str(tmp_path / "a_mask.png"), np.full((48, 64), 255, np.uint8))
    (tmp_path / "other.json").write_text("[]")
    (found,) = from_folder(tmp_path)
    assert found.grades == (1, 0, 3)
    assert found.um_per_px == 7.0
    assert found.hair is not None and found.hair.all()
    figures = measure_ranks([found], Bald())
    assert {(row.hair, row.frames) for row in figures} == {("true", 1), ("found", 1)}
    assert figures[0].spearman == {"flakes": None, "shine": None, "erythema": None}


@pytest.mark.parametrize("content", ["{", '{"conditions": {"dandruff": 9, "sebum": 0, "erythema": 0}}', "[" * 100_000])
def test_damaged_truth_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(PictureError, match=r"x\.json"):
        list(from_folder(tmp_path))


def test_a_folder_without_truth_or_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="conditions"):
        list(from_folder(tmp_path))
    with pytest.raises(PictureError, match="no-such"):
        list(from_folder(tmp_path / "no-such"))
    write_frame(tmp_path, "a", {"dandruff": 1, "sebum": 0, "erythema": 3})
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(PictureError, match="beside"):
        list(from_folder(tmp_path))
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(PictureError, match=r"a\.jpg"):
        list(from_folder(tmp_path))


def test_rendered_and_graded_pictures_are_grouped() -> None:
    figures = measure_ranks([*rendered("easy", range(2)), *graded("realistic", range(1))], Bald())
    groups = {(row.group, row.hair): row.frames for row in figures}
    assert groups[("rendered", "true")] == groups[("rendered easy", "found")] == 2
    assert groups[("graded", "found")] == 1
    assert ("graded", "true") not in groups
