from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from runtime.commands import simulate
from runtime.commands.simulate import app, parse_size
from runtime.errors import TrichoscopeError


def _run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["frames", "--size", "160x120", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_frames_are_written_with_their_truth(tmp_path: Path) -> None:
    code, out, _ = _run("--n", "2", "--out", str(tmp_path / "new"), "--kind", "realistic", "--seed", "5", "--json")
    assert code == 0
    names = ["realistic_000005", "realistic_000006"]
    expected = {f"{n}{end}" for n in names for end in (".jpg", ".json", "_mask.png")} | {"scales.csv"}
    assert {file.name for file in (tmp_path / "new").iterdir()} == expected
    with (tmp_path / "new" / "scales.csv").open(newline="") as lines:
        scales = {row["image"]: float(row["um_per_px"]) for row in csv.DictReader(lines)}
    hairs = 0
    for name in names:
        truth = json.loads((tmp_path / "new" / f"{name}.json").read_text())
        assert truth["schema"] == "scalp-groundtruth/1" and (truth["width"], truth["height"]) == (160, 120)
        assert truth["frame"] == f"{name}.jpg" and truth["mask"] == f"{name}_mask.png"
        assert truth["scale"]["um_per_px_center"] == pytest.approx(scales[f"{name}.jpg"], rel=1e-4)
        assert cv2.imread(str(tmp_path / "new" / f"{name}.jpg")).shape == (120, 160, 3)
        mask = cv2.imread(str(tmp_path / "new" / f"{name}_mask.png"), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (120, 160) and set(mask.ravel().tolist()) <= {0, 255}
        hairs += truth["hair_count"]
    assert json.loads(out) | {"folder": ""} == {
        "frames": 2,
        "folder": "",
        "kind": "realistic",
        "width_px": 160,
        "height_px": 120,
        "first_seed": 5,
        "hair_count": hairs,
        "follicle_count": json.loads(out)["follicle_count"],
    }


def test_nothing_is_replaced_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "easy_000001.json").write_text("mine")
    code, _, err = _run("--n", "2", "--out", str(tmp_path))
    assert code == 2 and "easy_000001.json: exists already" in err.replace("\n", "") and "--force" in err
    assert [file.name for file in tmp_path.iterdir()] == ["easy_000001.json"]
    assert _run("--n", "2", "--out", str(tmp_path), "--force")[0] == 0
    assert json.loads((tmp_path / "easy_000001.json").read_text())["width"] == 160


def test_scales_of_other_frames_are_kept(tmp_path: Path) -> None:
    assert _run("--n", "1", "--out", str(tmp_path))[0] == 0
    assert _run("--n", "1", "--out", str(tmp_path), "--seed", "3")[0] == 0
    assert [line.split(",")[0] for line in (tmp_path / "scales.csv").read_text().split()] == ["image", "easy_000000.jpg", "easy_000003.jpg"]


def test_a_scales_file_of_another_kind_is_not_destroyed(tmp_path: Path) -> None:
    (tmp_path / "scales.csv").write_text("note,value\n")
    code, _, err = _run("--n", "1", "--out", str(tmp_path))
    assert code == 2 and "scales.csv" in err
    assert (tmp_path / "scales.csv").read_text() == "note,value\n"


def test_a_full_disk_leaves_no_half_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = simulate.write_atomically

    def full(path: Path, data: bytes) -> None:
        if path.name == "easy_000001.jpg":
            raise TrichoscopeError(f"{path}: cannot be written (No space left on device)")
        write(path, data)

    monkeypatch.setattr(simulate, "write_atomically", full)
    code, _, err = _run("--n", "3", "--out", str(tmp_path))
    assert code == 2 and "No space left" in err.replace("\n", " ")
    assert [file.name for file in tmp_path.glob("*.jpg")] == ["easy_000000.jpg"]
    assert "easy_000000.jpg" in (tmp_path / "scales.csv").read_text()


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = _run("--n", "1", "--out", str(tmp_path / "file" / "below"))
    assert code == 2 and "file" in err


@pytest.mark.parametrize("size", ["", "640", "0x0", "63x480", "99999x99999", "-1x5", "640x480x3", "axb"])
def test_sizes_that_cannot_be_rendered_are_refused(size: str) -> None:
    with pytest.raises(TrichoscopeError, match="--size"):
        parse_size(size)


def test_an_unknown_kind_is_refused_with_those_known(tmp_path: Path) -> None:
    code, _, err = _run("--n", "1", "--out", str(tmp_path), "--kind", "bad")
    assert code == 2 and "realistic" in err
