import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.simulated.head_shape import VIEWS
from export.datasets import norwood
from export.datasets.norwood import grade_of_label, grades_of, load, read_set, split, view_of_name, write_rendered_set
from export.errors import DataError

pytestmark = pytest.mark.export
ANNOTATION = norwood.ANNOTATION


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set") / "set"
    write_rendered_set(folder, 14, 5, 64)
    return folder


@pytest.fixture
def copied(rendered, tmp_path):
    """The set again, to be spoilt."""
    for path in rendered.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(rendered)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path


def annotate(folder, person, **changes):
    path = folder / person / ANNOTATION
    path.write_text(json.dumps({k: v for k, v in (json.loads(path.read_text()) | changes).items() if v is not None}))


def test_a_whole_set_has_nothing_to_complain_of(rendered):
    persons, problems = read_set(rendered, strict=True)
    assert len(persons) == 14 and problems.count == {}
    assert grades_of(persons) == dict.fromkeys(("I", "II", "III", "IV", "V", "VI", "VII"), 2)
    assert all(set(p.files) == set(VIEWS) and p.age == 40 and p.gender == "male" for p in persons)
    heads, unreadable = load(persons, 48, strict=True)
    assert unreadable.count == {}
    assert heads.pictures.shape == (14, 5, 48, 48, 3) and heads.present.min() == 1
    assert heads.grades.tolist() == [p.grade for p in persons]
    top = cv2.imread(str(rendered / persons[0].key / "Top-Down.jpg"))
    expected = cv2.resize(top, (48, 48), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(heads.pictures[0, VIEWS.index("top")], expected)


def test_one_annotation_at_the_top_by_id_or_as_a_list(copied):
    rows = {}
    for path in sorted(copied.glob(f"*/{ANNOTATION}")):
        rows[path.parent.name] = json.loads(path.read_text())
        path.unlink()
    without_ids = {k: {n: v for n, v in row.items() if n != "id"} for k, row in rows.items()}
    expected = {k: grade_of_label(row["label"]) for k, row in rows.items()}
    for table in (without_ids, list(rows.values()), {"annotations": list(rows.values())}):
        (copied / ANNOTATION).write_text(json.dumps(table))
        persons, problems = read_set(copied)
        assert {p.key: p.grade for p in persons} == expected and problems.count == {}


def test_everything_wrong_is_named_and_counted_and_not_learnt_from(copied):
    annotate(copied, "1", label=None)
    annotate(copied, "2", label="Stage 9")
    annotate(copied, "3", age="-3")
    (copied / "4" / ANNOTATION).unlink()
    (copied / "5" / ANNOTATION).write_text("{")
    for name in ("Back.jpg", "Left.jpg", "Right.jpg"):
        (copied / "6" / name).unlink()
    for name in ("Back.jpg", "Left.jpg", "Right.jpg", "Front.jpg"):
        (copied / "7" / name).unlink()
    (copied / "8" / "front_2.jpg").write_bytes((copied / "8" / "Front.jpg").read_bytes())
    (copied / "9" / "portrait.png").write_bytes((copied / "9" / "Front.jpg").read_bytes())
    (copied / "9" / "mask_front.png").write_bytes(b"x")
    (copied / "10" / "Back.jpg").write_bytes(b"broken")
    (copied / ANNOTATION).write_text(json.dumps({"77": {"label": 3}}))
    persons, problems = read_set(copied)
    assert {p.key for p in persons} == {"3", "6", "8", "9", "10", "11", "12", "13", "14"}
    wrong = {kind: count for kind, count in problems.count.items() if kind != "class without example"}
    assert wrong == {
        "missing label": 2,  # one without, one whose annotation is broken
        "unknown grade": 1,
        "implausible age, taken as not known": 1,
        "person without an annotation": 1,
        "broken annotation": 1,
        "views missing, learnt from the others": 2,
        "too few views, person left out": 1,
        "view twice, none used": 1,
        "file of no view, or of several": 1,
        "annotation without pictures": 1,
    }
    assert "2: 'Stage 9'" in problems.names["unknown grade"]
    by_key = {p.key: p for p in persons}
    assert by_key["3"].age is None and "front" not in by_key["8"].files
    assert set(by_key["6"].files) == {"front", "top"}
    heads, unreadable = load(persons, 32)
    assert unreadable.count == {"unreadable picture": 1} and "Back.jpg" in unreadable.names["unreadable picture"][0]
    row = heads.names.index("10")
    assert heads.present[row].tolist() == [1, 1, 0, 1, 1] and heads.pictures[row, 2].max() == 0
    with pytest.raises(DataError, match="--strict"):
        read_set(copied, strict=True)
    with pytest.raises(DataError, match=r"Back\.jpg"):
        load((by_key["10"],), 32, strict=True)


def test_a_class_without_example_is_told(copied):
    persons, _ = read_set(copied)
    for person in persons:
        if person.grade == 4:
            annotate(copied, person.key, label="type_3")
    found, problems = read_set(copied)
    assert problems.names == {"class without example": ["IV"]} and len(found) == 14
    with pytest.raises(DataError, match="IV"):
        read_set(copied, strict=True)


def test_a_person_without_any_readable_picture_is_left_out(copied):
    for path in (copied / "1").glob("*.jpg"):
        path.write_bytes(b"broken")
    persons, _ = read_set(copied)
    heads, problems = load(persons, 32)
    assert "1" not in heads.names and len(heads) == 13
    assert problems.names["person without a readable picture"] == ["1"] and problems.count["unreadable picture"] == 5


def test_no_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read_set(tmp_path / "none")
    with pytest.raises(DataError, match="nobody to learn from"):
        read_set(tmp_path)
    for text in ("[", "[" * 100_000, '[{"label": 1}]', '[{"id": 1}, {"id": 1}]', "3"):
        (tmp_path / ANNOTATION).write_text(text)
        with pytest.raises(DataError, match=ANNOTATION.replace(".", r"\.")):
            read_set(tmp_path)


def test_parts_are_split_by_person_and_stage(rendered):
    persons, _ = read_set(rendered)
    many = tuple(
        norwood.Person(f"{p.key}-{i // 2}", p.folder / str(i), p.grade, p.files, None, None, None) for p in persons for i in range(20)
    )
    parts = split(many, 1)
    keys = {name: {p.key for p in part} for name, part in parts.items()}
    assert sum(len(part) for part in parts.values()) == len(many)
    assert not (keys["training"] & keys["validation"] or keys["training"] & keys["test"] or keys["validation"] & keys["test"])
    assert keys == {name: {p.key for p in part} for name, part in split(many[::-1], 1).items()}
    assert keys != {name: {p.key for p in part} for name, part in split(many, 2).items()}
    for part in parts.values():
        assert len(set(grades_of(part).values())) == 1  # each stage in the same share


@pytest.mark.parametrize(
    ("label", "grade"),
    [
        *((n, n) for n in range(1, 8)),
        ("Stage 7", 7),
        ("type_3", 3),
        ("VII", 7),
        ("iv", 4),
        ("III vertex", 3),
        ("Norwood IIIa", 3),
        ("norwood scale: 5", 5),
        ("6", 6),
        (2.0, 2),
        ("", None),
        ("Stage 8", None),
        (0, None),
        (8, None),
        (2.5, None),
        (True, None),
        (None, None),
        ("bald", None),
        ("12", None),
        ("I-II", None),
        ([3], None),
    ],
)
def test_labels(label, grade):
    assert grade_of_label(label) == grade


@given(st.one_of(st.text(max_size=200), st.integers(), st.floats(), st.none(), st.lists(st.integers())))
@settings(max_examples=200)
def test_any_label_is_a_grade_or_none(label):
    assert grade_of_label(label) in (None, 1, 2, 3, 4, 5, 6, 7)


@pytest.mark.parametrize(
    ("stem", "view"),
    [
        ("Top-Down", "top"),
        ("front_8", "front"),
        ("31Front_jpg.rf.9e3f", "front"),
        ("img_top_down", "top"),
        ("LEFT", "left"),
        ("right (1)", "right"),
        ("Back", "back"),
        ("portrait", None),
        ("left_right", None),
        ("", None),
    ],
)
def test_views_by_name(stem, view):
    assert view_of_name(stem) == view
