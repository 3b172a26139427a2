"""The bought set of 2,400 head photographs: a folder a person with five views, and `annotation.json` with gender, age, ethnicity, class.

What is known of the layout: the seller's public sample (TrainingDataPro/bald-men) has folders `1`, `2`, … with Top-Down.jpg, Back.jpg,
Front.jpg, Left.jpg and Right.jpg, and rows of id, gender, age, ethnicity and a label such as "Stage 7"; sister sets say `type_3` and
`front_8.png` beside `mask_front_8.png`. So names are read loosely: a view's name anywhere in a file's name, a grade in Arabic or Roman
figures after any word; `annotation.json` lies in each person's folder or once at the top, as a list with ids or by id.

What cannot be learnt from is named and counted, never learnt from in silence; with `strict` any of it refuses the whole set. Pictures
are read into memory only: nothing of a real person is written anywhere.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device.simulated.head import draw_head, render_view
from device.simulated.head_pattern import STAGES
from device.simulated.head_shape import VIEWS, View
from export.datasets.problems import Problems
from export.errors import DataError
from export.training.norwood.heads import Heads, Pictures, person_seeds
from runtime.errors import PictureError
from runtime.staging.views import read_upright

ANNOTATION = "annotation.json"
MAX_ANNOTATION_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 3  # of folders under the set's
MAX_PERSONS = 100_000
LEAST_VIEWS = 2  # of five; persons with fewer are left out
OLDEST = 120
LABELS = ("label", "class", "stage", "type", "grade", "norwood", "norwood_scale", "hair_loss", "hair_loss_stage")
ROMAN = {name: i + 1 for i, name in enumerate(STAGES)}
WORDS = r"(?:(?:stage|type|class|grade|level|norwood|hamilton|scale|nw|hair|loss)[_ :\-]*)*"
GRADE = re.compile(rf"^{WORDS}(?:([1-7])[ _\-]?(?:a|v|vertex)?|(i{{1,3}}|iv|vi{{0,2}})(?:[ _\-](?:a|v|vertex)|a)?)$")
VIEW = re.compile(r"top[-_ ]?down|top|front|back|left|right")
PICTURES = frozenset({".jpg", ".jpeg", ".png"})
SHARES = {"training": 0.7, "validation": 0.15, "test": 0.15}


@dataclass(frozen=True)
class Person:
    """One person of a set.

    Attributes:
        key: the annotation's id, else the folder's name; what sets are split by.
        grade: 1…7.
        files: of the views that are there.
        age: years; None, like the other two, where it is not known.
    """

    key: str
    folder: Path
    grade: int
    files: Mapping[View, Path]
    gender: str | None
    age: int | None
    ethnicity: str | None


def read_set(folder: Path, *, strict: bool = False, least_views: int = LEAST_VIEWS) -> tuple[tuple[Person, ...], Problems]:
    """The persons of the set in `folder` who can be learnt from, and what is wrong. Pictures are not opened yet: `load` does that.

    Raises:
        DataError: no set, an annotation that is none, nobody to learn from; with `strict` anything at all that is wrong.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder: name the folder with a folder a person and {ANNOTATION}")
    problems = Problems()
    table = _table(folder)
    persons: list[Person] = []
    used: set[str] = set()
    for place in _person_folders(folder):
        used |= {str(place.relative_to(folder)), place.name}
        person = _person(place, folder, table, least_views, problems)
        if person is not None:
            persons.append(person)
    for key in sorted(set(table) - used):
        problems.add("annotation without pictures", key)
    for stage, count in grades_of(persons).items():
        if not count:
            problems.add("class without example", stage)
    if strict:
        problems.refuse(str(folder))
    if not persons:
        why = "; ".join(problems.lines())
        raise DataError(f"{folder}: nobody to learn from ({why}): see the layout in export/datasets/norwood.py")
    return tuple(persons), problems


def grades_of(persons: Iterable[Person]) -> dict[str, int]:
    """How many persons each stage has."""
    found = Counter(person.grade for person in persons)
    return {name: found[i + 1] for i, name in enumerate(STAGES)}


def split(persons: tuple[Person, ...], seed: int) -> dict[str, tuple[Person, ...]]:
    """Training, validation and test by person, each stage in the same shares; the same for the same persons and seed.

    All folders of one person (one `key`) come into the same part.
    """
    by_key: dict[str, list[Person]] = {}
    for person in persons:
        by_key.setdefault(person.key, []).append(person)
    parts: dict[str, list[Person]] = {name: [] for name in SHARES}
    by_grade: dict[int, list[str]] = {}
    for key, same in by_key.items():
        by_grade.setdefault(same[0].grade, []).append(key)
    bounds = np.cumsum(list(SHARES.values()))
    for grade in sorted(by_grade):
        keys = sorted(by_grade[grade], key=lambda key: sha256(f"{seed}/{key}".encode()).digest())
        for i, key in enumerate(keys):
            part = int(np.searchsorted(bounds, (i + 0.5) / len(keys)))
            parts[list(SHARES)[min(part, len(SHARES) - 1)]] += by_key[key]
    return {name: tuple(part) for name, part in parts.items()}


def load(
    persons: tuple[Person, ...], side: int, *, strict: bool = False, advance: Callable[[int], None] = lambda done: None
) -> tuple[Heads, Problems]:
    """The pictures of `persons` at `side` px, and what could not be read; a person of whom nothing could be read is left out.

    Raises:
        DataError: with `strict`, a picture that cannot be read.
    """
    pictures: list[Pictures] = []
    present: list[list[float]] = []
    kept: list[Person] = []
    problems = Problems()
    for person in persons:
        views = np.zeros((len(VIEWS), side, side, 3), np.uint8)
        there = [0.0] * len(VIEWS)
        for view, path in person.files.items():
            try:
                image = read_upright(path)
            except PictureError as problem:
                problems.add("unreadable picture", str(problem))
                continue
            views[VIEWS.index(view)] = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
            there[VIEWS.index(view)] = 1.0
        if any(there):
            pictures.append(views)
            present.append(there)
            kept.append(person)
        else:
            problems.add("person without a readable picture", person.key)
        advance(1)
    if strict:
        problems.refuse("the pictures")
    shape = (len(kept), len(VIEWS), side, side, 3)
    return (
        Heads(
            np.stack(pictures) if pictures else np.zeros(shape, np.uint8),
            np.array(present, np.float32).reshape(len(kept), len(VIEWS)),
            np.array([person.grade for person in kept], np.int64),
            tuple(person.key for person in kept),
        ),
        problems,
    )


def write_rendered_set(folder: Path, persons: int, seed: int, side: int = 192) -> None:
    """A small set of the same layout with rendered heads, for tests and for trying the commands: `<person>/…` and `annotation.json`."""
    for number, (head_seed, stage) in enumerate(person_seeds(persons, seed, 0), 1):
        head = draw_head(head_seed, stage)
        place = folder / str(number)
        place.mkdir(parents=True)
        for view in VIEWS:
            name = {"top": "Top-Down"}.get(view, view.capitalize())
            cv2.imwrite(str(place / f"{name}.jpg"), render_view(head, view, side).image)
        about = {"id": str(number), "gender": "male", "age": "40", "ethnicity": "rendered", "label": f"Stage {head.grade}"}
        (place / ANNOTATION).write_text(json.dumps(about))


def grade_of_label(label: object) -> int | None:
    """The grade 1…7 of a label such as 3, "Stage 3", "type_3", "III vertex" (a variant counts as its stage); None where it is none."""
    if isinstance(label, bool) or not isinstance(label, (int, float, str)):
        return None
    if isinstance(label, float) and not label.is_integer():
        return None
    text = str(int(label)) if isinstance(label, (int, float)) else label.strip().lower()[:80]
    found = GRADE.match(text)
    if found is None:
        return None
    figure, roman = found.groups()
    return int(figure) if figure else ROMAN[roman.upper()]


def view_of_name(stem: str) -> View | None:
    """Which view a file's name speaks of; None where it names none, or several."""
    named: set[View] = set()
    for word in VIEW.findall(stem.lower()):
        named.update(view for view in VIEWS if word.startswith(view))
    return named.pop() if len(named) == 1 else None


def _person_folders(folder: Path) -> Iterator[Path]:
    """Folders with pictures directly in them, by name; links are not followed."""
    count = 0
    for place, inside, files in os.walk(folder):
        here = Path(place)
        inside.sort()
        if len(here.relative_to(folder).parts) >= MAX_DEPTH:
            inside.clear()
        if here != folder and any(Path(name).suffix.lower() in PICTURES for name in files):
            count += 1
            if count > MAX_PERSONS:
                raise DataError(f"{folder}: more than {MAX_PERSONS} folders with pictures: name the folder of one data set")
            yield here


def _person(place: Path, root: Path, table: Mapping[str, dict[str, Any]], least: int, problems: Problems) -> Person | None:
    name = str(place.relative_to(root))
    about = _own(place, problems)
    if about is None:
        about = table.get(name, table.get(place.name))
    if about is None:
        problems.add("person without an annotation", name)
        return None
    label = next((about[key] for key in LABELS if about.get(key) not in (None, "")), None)
    if label is None:
        problems.add("missing label", name)
        return None
    grade = grade_of_label(label)
    if grade is None:
        problems.add("unknown grade", f"{name}: {str(label)[:60]!r}")
        return None
    files = _views(place, name, problems)
    if len(files) < len(VIEWS):
        lacking = ", ".join(view for view in VIEWS if view not in files)
        left_out = len(files) < least
        problems.add("too few views, person left out" if left_out else "views missing, learnt from the others", f"{name}: {lacking}")
        if left_out:
            return None
    key = about.get("id")
    return Person(
        key=str(key)[:80] if isinstance(key, (str, int)) and not isinstance(key, bool) and str(key) else name,
        folder=place,
        grade=grade,
        files=files,
        gender=_words(about.get("gender")),
        age=_age(about.get("age"), name, problems),
        ethnicity=_words(about.get("ethnicity")),
    )


def _views(place: Path, name: str, problems: Problems) -> dict[View, Path]:
    found: dict[View, list[Path]] = {}
    for path in sorted(place.iterdir()):
        if path.suffix.lower() not in PICTURES or path.stem.lower().startswith("mask") or not path.is_file():
            continue
        view = view_of_name(path.stem)
        if view is None:
            problems.add("file of no view, or of several", f"{name}/{path.name}")
        else:
            found.setdefault(view, []).append(path)
    for paths in found.values():
        if len(paths) > 1:
            problems.add("view twice, none used", f"{name}: {' and '.join(p.name for p in paths)}")
    return {view: found[view][0] for view in VIEWS if len(found.get(view, ())) == 1}


def _age(value: object, name: str, problems: Problems) -> int | None:
    if value in (None, ""):
        return None
    try:
        age = int(str(value))
    except ValueError:
        age = -1
    if not 0 < age <= OLDEST:
        problems.add("implausible age, taken as not known", f"{name}: {str(value)[:20]!r}")
        return None
    return age


def _words(value: object) -> str | None:
    return value[:80] if isinstance(value, str) and value else None


def _own(place: Path, problems: Problems) -> dict[str, Any] | None:
    """The annotation in a person's own folder."""
    path = place / ANNOTATION
    if not path.is_file():
        return None
    try:
        found = _json(path)
    except DataError as problem:
        problems.add("broken annotation", str(problem))
        return {}
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        problems.add("broken annotation", f"{path}: not an object")
        return {}
    return found


def _table(folder: Path) -> dict[str, dict[str, Any]]:
    """The annotation at the top, by person."""
    path = folder / ANNOTATION
    if not path.is_file():
        return {}
    found = _json(path)
    if isinstance(found, dict):
        for key in ("annotations", "persons", "people", "data"):
            if isinstance(found.get(key), (list, dict)):
                found = found[key]
                break
    if isinstance(found, list):
        rows = {str(row.get("id", row.get("person", ""))): row for row in found if isinstance(row, dict)}
        if len(rows) != len(found) or "" in rows:
            raise DataError(f"{path}: an entry without an id, or an id twice: give each person one entry")
        return rows
    if isinstance(found, dict) and all(isinstance(row, dict) for row in found.values()):
        return {str(key): row for key, row in found.items()}
    raise DataError(f"{path}: neither a list of persons nor an object by person: copy it again")


def _json(path: Path) -> Any:
    """Raises DataError where the file is too large, or no JSON."""
    try:
        if path.stat().st_size > MAX_ANNOTATION_BYTES:
            raise DataError(f"{path}: larger than {MAX_ANNOTATION_BYTES >> 20} MiB: no annotation")
        return json.loads(path.read_bytes())
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror}): check its rights") from problem
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{path}: not valid JSON ({str(problem)[:80]}): copy it again") from problem
