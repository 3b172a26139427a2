import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from export.cli import app
from export.errors import EvaluationError
from export.evaluation.baselines import black_hat, contrast_stretching, otsu
from export.evaluation.pairs import find_pairs, paired_frames
from export.evaluation.scores import score
from export.evaluation.segmentation import Method, evaluate, sheet
from tests.runtime.bundle_samples import write_sample

pytestmark = pytest.mark.export


def _frame(hairs: int) -> tuple[np.ndarray, np.ndarray]:
    image = np.full((120, 160, 3), (150, 170, 210), np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    for index in range(hairs):
        x = 30 + 40 * index
        cv2.line(image, (x, -5), (x + 15, 130), (25, 25, 30), 4)
        cv2.line(mask, (x, -5), (x + 15, 130), 255, 4)
    return image, mask


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name, hairs in (("one", 1), ("three", 3), ("bald", 0)):
        image, mask = _frame(hairs)
        cv2.imwrite(str(folder / f"{name}.png"), image)
        cv2.imwrite(str(folder / f"{name}_mask.png"), mask)
    cv2.imwrite(str(folder / "unlabelled.png"), image)
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.mark.parametrize("baseline", [otsu, contrast_stretching, black_hat])
def test_baselines_find_plain_dark_hair(baseline):
    image, mask = _frame(3)
    found = score(baseline(image), mask > 0)
    assert found.dice is not None
    assert found.dice > 0.85


def test_a_true_mask_scores_one_and_a_shifted_one_less():
    _, mask = _frame(2)
    true = mask > 0
    same = score(true, true)
    assert (same.dice, same.jaccard, same.f1_2px, same.boundary_f1, same.centre_recall) == (1, 1, 1, 1, 1)
    moved = score(np.roll(true, 2, 1), true)
    assert moved.dice is not None
    assert moved.dice < 0.8
    assert moved.f1_2px == pytest.approx(1)
    assert moved.boundary_f1 == pytest.approx(1, abs=0.02)
    far = score(np.roll(true, 11, 1), true)
    assert far.centre_recall == 0
    assert far.f1_2px == 0
    assert score(~true, np.zeros_like(true)).false_area == pytest.approx(1 - true.mean())
    with pytest.raises(ValueError, match="against"):
        score(true[1:], true)


def test_dice_and_jaccard_agree():
    rng = np.random.default_rng(0)
    found = score(rng.random((40, 40)) < 0.4, rng.random((40, 40)) < 0.4)
    assert found.dice is not None
    assert found.jaccard == pytest.approx(found.dice / (2 - found.dice))


def test_the_table_has_every_method(data, tmp_path):
    write_sample(tmp_path / "bundle")
    shown = tmp_path / "sheet.png"
    arguments = ["evaluate", "segmentation", str(data), "--bundle", str(tmp_path / "bundle"), "--threads", "1"]
    result = CliRunner().invoke(app, [*arguments, "--sheet", str(shown)])
    assert result.exit_code == 0, result.output
    for name in ("Otsu (Kim 2017)", "Shih 2014, 2015", "Yue 2021", "| classical |", "| dark/1+"):
        assert name in result.stdout
    picture = cv2.imread(str(shown))
    assert picture is not None
    assert picture.shape[0] >= 3 * 100
    described = CliRunner().invoke(app, [*arguments, "--json"])
    methods = json.loads(described.stdout)["methods"]
    dark = next(v for k, v in methods.items() if k.startswith("dark/1"))
    assert dark["summary"]["frames"] == 3
    assert dark["summary"]["frames_without_hair"] == 1
    assert dark["summary"]["dice"] > 0.9
    assert set(dark["frames"]) == {"one", "three", "bald"}


def test_the_table_is_there_although_the_sheet_cannot_be_written(data, tmp_path):
    write_sample(tmp_path / "bundle")
    arguments = ["evaluate", "segmentation", str(data), "--bundle", str(tmp_path / "bundle"), "--threads", "1", "--prefix", "one"]
    result = CliRunner().invoke(app, [*arguments, "--sheet", str(tmp_path / "absent" / "sheet.png")])
    assert result.exit_code == 1
    assert "| dark/1+" in result.stdout
    assert "sheet.png: cannot be written" in " ".join(result.stderr.split())


@pytest.mark.parametrize("shape", [(6000, 16), (16, 12000)], ids=["tall", "wide"])
def test_strips_are_compared_and_shown(tmp_path, shape):
    image, mask = np.full((*shape, 3), 170, np.uint8), np.zeros(shape, np.uint8)
    image[4:10, 4:10], mask[4:10, 4:10] = 20, 255
    cv2.imwrite(str(tmp_path / "strip.png"), image)
    cv2.imwrite(str(tmp_path / "strip_mask.png"), mask)
    frames = list(paired_frames(find_pairs(tmp_path)))
    method = Method("black-hat", black_hat)
    picture = sheet(frames, method, evaluate(frames, [method])[0])
    assert 24 <= picture.shape[0] <= 1680
    assert picture.shape[1:] == (840, 3)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(40)], ids=["empty", "text", "a broken header"])
@pytest.mark.parametrize("name", ["one.png", "one_mask.png"])
def test_a_picture_that_is_none_is_an_error_that_names_it(data, name, content):
    (data / name).write_bytes(content)
    result = CliRunner().invoke(app, ["evaluate", "segmentation", str(data), "--threads", "1"])
    assert result.exit_code == 1
    assert name in result.output
    assert result.stdout == ""


def test_a_folder_that_may_not_be_read(data, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched, pytest.raises(EvaluationError, match="Permission denied"):
        patched.setattr(type(data), "iterdir", refuse)
        find_pairs(data)


def test_a_mask_of_another_size_is_an_error_that_names_it(data):
    cv2.imwrite(str(data / "one_mask.png"), np.zeros((60, 80), np.uint8))
    result = CliRunner().invoke(app, ["evaluate", "segmentation", str(data)])
    assert result.exit_code == 1
    assert "one_mask.png" in result.output
    assert "same size" in " ".join(result.output.split())


def test_folders_without_pairs(data, tmp_path):
    with pytest.raises(EvaluationError, match="no such folder"):
        find_pairs(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match="no picture with a mask"):
        find_pairs(tmp_path / "empty")
    cv2.imwrite(str(data / "one.jpg"), _frame(1)[0])
    with pytest.raises(EvaluationError, match="same name"):
        find_pairs(data)
    with pytest.raises(EvaluationError, match="nothing to compare"):
        evaluate([], [Method("none", otsu)])


def test_speeds_are_compared_in_one_run(tmp_path, monkeypatch):
    from export.evaluation import speed

    monkeypatch.setattr(speed, "U2NETP_SIDE", 32)
    found = speed.compare_speed(write_sample(tmp_path / "bundle"), threads=1, rounds=2)
    assert set(found) >= {"bare_ms", "whole_step_ms", "u2netp_320_ms", "u2netp_over_bare", "whole_step_over_bare"}
    assert min(found.values()) > 0
