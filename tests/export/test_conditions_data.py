import json

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from export.datasets import aihub
from export.datasets.aihub import LabelledPicture, load_aihub, merged, split
from export.datasets.generated import load_generated
from export.datasets.problems import Problems
from export.errors import DataError
from tests.export.conditions_samples import DEVICES, aihub_set, drawn_scalp

pytestmark = pytest.mark.export


def test_whole_labels_are_read_and_merged(tmp_path):
    paths = aihub_set(tmp_path)
    pictures, problems = load_aihub(tmp_path)
    assert [p.path for p in pictures] == sorted(paths)
    assert problems.count == {}
    first = pictures[0]
    assert first.device == DEVICES[0]
    assert first.visit == f"0000_{DEVICES[0]}_1606386139601"
    assert first.items == (0, 1, 0, 2, 0, 0)
    assert first.grades == (0, 1, 2)
    assert load_aihub(tmp_path, strict=True)[0] == pictures


def test_the_items_are_merged_as_published():
    assert merged((3, 1, 0, 2, 1, 3)) == (3, 1, 2)
    assert merged((0, 0, 3, 1, 2, 0)) == (2, 0, 3)


def test_scalpvisions_table_is_read(tmp_path):
    paths = aihub_set(tmp_path)
    for path in (tmp_path / "labels").iterdir():
        path.unlink()
    rows = ["value_1,value_2,value_3,value_4,value_5,value_6,img_name", *(f"0,2,0,1,{i % 4},2,{p.name}" for i, p in enumerate(paths))]
    (tmp_path / "train_label.csv").write_text("\n".join(rows))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    pictures, problems = load_aihub(tmp_path)
    assert len(pictures) == len(paths)
    assert set(problems.count) == {"grade without example"}
    assert pictures[1].grades == (1, 2, 1)


def _faulty(tmp_path):
    """A set with one of each fault; what must be counted."""
    paths = aihub_set(tmp_path)
    labels = [tmp_path / "labels" / f"{path.stem}.json" for path in paths]

    def change(index, **values):
        labels[index].write_text(json.dumps(json.loads(labels[index].read_text()) | values))

    labels[0].unlink()
    change(1, value_3=None)
    change(2, value_2="4")
    change(3, value_2=True)
    labels[4].write_text("{not json")
    labels[5].write_text("[" * 5000)
    labels[6].write_text('{"a": "' + "x" * 70_000 + '"}')
    paths[7].write_bytes(paths[7].read_bytes()[:200])
    paths[8].unlink()
    paths[9].rename(paths[9].with_name("scalp.jpg"))
    labels[9].rename(labels[9].with_name("scalp.json"))
    (tmp_path / "more").mkdir()
    other = json.loads(labels[10].read_text()) | {"value_1": "3", "value_2": "3"}
    (tmp_path / "more" / labels[10].name).write_text(json.dumps(other))
    change(11, value_5="")
    return {
        "picture without a label": 1,
        "missing grade": 2,
        "unknown grade": 2,
        "label that cannot be read": 3,
        "picture that cannot be read": 1,
        "label without a picture": 1,
        "name without device and visit": 1,
        "labels that contradict each other": 1,
    }, len(paths)


def test_every_fault_is_named_counted_and_skipped_or_refused(tmp_path):
    wanted, count = _faulty(tmp_path)
    pictures, problems = load_aihub(tmp_path)
    assert problems.count == wanted
    assert len(pictures) == count - 12
    assert any("unknown grade: 2" in line and "'4'" in line for line in problems.lines())
    assert "scalp.jpg" in problems.names["name without device and visit"]
    with pytest.raises(DataError, match=r"picture without a label: 1.*--strict"):
        load_aihub(tmp_path, strict=True)


def test_a_grade_without_example_is_named(tmp_path):
    paths = aihub_set(tmp_path, devices=DEVICES[:1], visits=1, places=2)
    pictures, problems = load_aihub(tmp_path)
    assert len(pictures) == len(paths)
    assert "sebum 3" in problems.names["grade without example"]
    with pytest.raises(DataError, match="grade without example"):
        load_aihub(tmp_path, strict=True)


def test_a_folder_with_nothing_of_use_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        load_aihub(tmp_path / "none")
    with pytest.raises(DataError, match="no picture and no label"):
        load_aihub(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(DataError, match="nothing to use"):
        load_aihub(tmp_path)


def _picture(device, visit, number):
    return LabelledPicture(aihub.Path(f"{device}_{visit}_{number}.jpg"), device, f"{device}_{visit}", (0, 0, 0, 0, 0, 0))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=3, max_size=60), st.integers(0, 50))
def test_parts_never_share_a_device_or_a_visit(places, seed):
    pictures = [_picture(f"D{device}", visit, index) for index, (device, visit) in enumerate(places)]
    if len({p.device for p in pictures}) < 3:
        with pytest.raises(DataError, match="at least 3"):
            split(pictures, seed)
        return
    parts = split(pictures, seed)
    three = (parts.training, parts.validation, parts.test)
    assert sorted(p.path.name for part in three for p in part) == sorted(p.path.name for p in pictures)
    assert all(three)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not {p.device for p in three[one]} & {p.device for p in three[other]}
        assert not {p.visit for p in three[one]} & {p.visit for p in three[other]}
    assert split(list(reversed(pictures)), seed) == parts


def test_a_visit_over_two_devices_keeps_them_together():
    pictures = [_picture(f"D{i}", 0, i) for i in range(5)]
    pictures.append(LabelledPicture(aihub.Path("shared.jpg"), "D0", "D1_0", (0,) * 6))
    for seed in range(8):
        parts = split(pictures, seed)
        for part in (parts.training, parts.validation, parts.test):
            devices = {p.device for p in part}
            assert ("D0" in devices) == ("D1" in devices)


def test_shares_come_out_where_devices_are_many():
    pictures = [_picture(f"D{i % 40}", i % 3, i) for i in range(400)]
    parts = split(pictures, 1)
    assert len(parts.training) == pytest.approx(280, abs=20)
    assert len(parts.test) == pytest.approx(60, abs=20)
    assert split(pictures, 2) != parts


def test_generated_pictures_are_read_and_their_faults_counted(tmp_path):
    import cv2

    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), drawn_scalp((1, 2, 3), rng, 64, 64))
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    rows = ["picture,dandruff,sebum,erythema", "a.png,1,2,3", "b.png,1,2,", "b.png,1,9,0", "../a.png,0,0,0", "c.png,0,0,0", "d.png,0,0,0"]
    (tmp_path / "grades.csv").write_text("\n".join([*rows, "a.png,0,0,0"]))
    found, problems = load_generated(tmp_path)
    assert found == [(tmp_path / "a.png", (1, 2, 3))]
    assert problems.count == {
        "missing grade": 1,
        "unknown grade": 1,
        "no plain name of a picture": 1,
        "picture that cannot be read": 2,
        "picture named twice": 1,
    }
    with pytest.raises(DataError, match="--strict"):
        load_generated(tmp_path, strict=True)
    with pytest.raises(DataError, match="write a table"):
        load_generated(tmp_path / "none")
    (tmp_path / "grades.csv").write_text("picture,dandruff,sebum,erythema\n")
    with pytest.raises(DataError, match="the table is empty"):
        load_generated(tmp_path)


def test_only_the_first_faults_are_kept_by_name():
    problems = Problems()
    for index in range(1000):
        problems.add("fault", f"{index}.jpg")
    assert problems.count["fault"] == 1000
    assert len(problems.names["fault"]) == 20
    assert problems.lines() == ["fault: 1000 (0.jpg, 1.jpg, 2.jpg, …)"]
