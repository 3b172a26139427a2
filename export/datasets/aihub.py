"""AI-Hub's scalp pictures (dataSetSn 216): microscope pictures of 640×480 px with six items graded 0 good to 3 severe.

Layout: any folders with pictures `CLINIC_DEVICE_TIME_PLACE_SITE.jpg` (`0013_A2LEBJJDE00060O_1605839548962_2_TH.jpg`: four digits, the
device's serial number, milliseconds of the visit, number and letters of the place on the head), and labels beside them or elsewhere:
`NAME.json`, an object with `value_1` … `value_6` (text or whole numbers), or a CSV table with these columns and `img_name`, as ScalpVision
publishes it. Pictures and labels meet by name. The items, in order: fine scale, excess sebum, inter-follicular erythema, follicular
erythema with pustules, dandruff, hair loss.

Merged as ScalpVision does: dandruff is the worse of fine scale and dandruff, erythema the worse of both erythemas.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.datasets.problems import Problems
from export.errors import DataError
from export.networks.conditions import CONDITIONS, GRADES
from runtime.commands.pictures import SUFFIXES, read_picture
from runtime.errors import PictureError

ITEMS = ("fine scale", "excess sebum", "inter-follicular erythema", "follicular erythema", "dandruff", "hair loss")
KEYS = tuple(f"value_{number}" for number in range(1, len(ITEMS) + 1))
NAME = re.compile(r"^(?P<clinic>\d{1,6})_(?P<device>[0-9A-Za-z]{3,32})_(?P<time>\d{10,16})_(?P<place>\d{1,3})_(?P<site>[A-Z]{2})$")
MAX_LABEL_BYTES = 64 * 1024
MAX_TABLE_BYTES = 64 * 1024 * 1024
MAX_MEGAPIXELS = 24.0
SHARES = (0.7, 0.15, 0.15)

Items = tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class LabelledPicture:
    """A picture of the data set.

    Attributes:
        visit: one coming of one person to one device; all its pictures are of one head.
        items: the six grades as given; `grades`: dandruff, sebum, erythema, merged.
    """

    path: Path
    device: str
    visit: str
    items: Items

    @property
    def grades(self) -> tuple[int, int, int]:
        """Merged grades of dandruff, sebum and erythema."""
        return merged(self.items)


def merged(items: Items) -> tuple[int, int, int]:
    """Dandruff, sebum and erythema from the six items."""
    fine, sebum, between, follicular, dandruff, _ = items
    return max(fine, dandruff), sebum, max(between, follicular)


@dataclass(frozen=True)
class Split:
    """Parts that share neither a visit nor a device."""

    training: tuple[LabelledPicture, ...]
    validation: tuple[LabelledPicture, ...]
    test: tuple[LabelledPicture, ...]


def load_aihub(
    folder: Path, *, strict: bool = False, advance: Callable[[int, int], None] = lambda done, total: None
) -> tuple[list[LabelledPicture], Problems]:
    """The pictures below `folder` whose labels are whole, sorted by name, and what was wrong with the others.

    Every picture is decoded once, so that none fails in the middle of a training; `advance(done, total)` tells of it.

    Raises:
        DataError: no such folder, or nothing of use in it; with `strict`, anything that is wrong, a grade without example included.
    """
    problems = Problems()
    pictures, labels = _found(folder, problems)
    kept: list[LabelledPicture] = []
    for done, (stem, path) in enumerate(sorted(pictures.items())):
        advance(done, len(pictures))
        parts = NAME.match(stem)
        if stem not in labels:
            problems.add("picture without a label", path.name)
        elif (items := labels[stem]) is not None:
            if parts is None:
                problems.add("name without device and visit", path.name)
            elif _readable(path, problems):
                device = parts["device"]
                kept.append(LabelledPicture(path, device, f"{parts['clinic']}_{device}_{parts['time']}", items))
    for stem in sorted(set(labels) - set(pictures)):
        problems.add("label without a picture", stem)
    advance(len(pictures), len(pictures))
    for name, column in zip(CONDITIONS, zip(*(p.grades for p in kept), strict=True), strict=False):
        for grade in sorted(set(range(GRADES)) - set(column)):
            problems.add("grade without example", f"{name} {grade}")
    if strict:
        problems.refuse(str(folder))
    if not kept:
        found = "; ".join(problems.lines()) or "no picture and no label"
        raise DataError(f"{folder}: nothing to use ({found}): name a folder with pictures and NAME.json labels, or a CSV table of them")
    return kept, problems


def _found(folder: Path, problems: Problems) -> tuple[dict[str, Path], dict[str, Items | None]]:
    """Pictures and labels by stem; a label that is of no use is None, its fault counted."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder: name one with pictures and their labels")
    pictures: dict[str, Path] = {}
    labels: dict[str, Items | None] = {}

    def label(stem: str, items: Items | None) -> None:
        if labels.get(stem, items) != items and items is not None and labels[stem] is not None:
            problems.add("labels that contradict each other", stem)
            items = None
        labels[stem] = items if stem not in labels or labels[stem] is not None else None

    for root, folders, files in os.walk(folder):  # links to folders are not followed
        folders.sort()
        for name in sorted(files):
            path = Path(root) / name
            suffix = path.suffix.lower()
            if suffix in SUFFIXES:
                pictures.setdefault(path.stem, path)  # a picture may lie in the folders of several items
            elif suffix == ".json":
                label(path.stem, _from_json(path, problems))
            elif suffix == ".csv":
                for stem, items in _from_table(path, problems):
                    label(stem, items)
    return pictures, labels


def _bytes(path: Path, most: int, problems: Problems) -> bytes | None:
    try:
        if not path.is_file():
            raise OSError(0, "not a plain file")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as problem:
        problems.add("label that cannot be read", f"{path.name} ({problem.strerror})")
        return None
    if len(content) > most:
        problems.add("label that cannot be read", f"{path.name} (larger than {most} bytes)")
        return None
    return content


def _from_json(path: Path, problems: Problems) -> Items | None:
    content = _bytes(path, MAX_LABEL_BYTES, problems)
    if content is None:
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        problems.add("label that cannot be read", path.name)
        return None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        problems.add("label that cannot be read", path.name)
        return None
    return _items([found.get(key) for key in KEYS], path.name, problems)


def _from_table(path: Path, problems: Problems) -> Iterator[tuple[str, Items | None]]:
    content = _bytes(path, MAX_TABLE_BYTES, problems)
    if content is None:
        return
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error):
        problems.add("label that cannot be read", path.name)
        return
    if not rows or "img_name" not in rows[0] or not set(KEYS) & set(rows[0]):
        return  # some other table
    for row in rows:
        name = row.get("img_name") or ""
        stem = Path(name).stem
        if not stem or Path(name).name != name:
            problems.add("label that cannot be read", f"{path.name}: {name[:60]!r}")
            continue
        yield stem, _items([row.get(key) for key in KEYS], name, problems)


def _items(values: Sequence[object], name: str, problems: Problems) -> Items | None:
    """The six grades; None, and the fault counted, where one is missing or unknown."""
    grades = []
    for value, item in zip(values, ITEMS, strict=True):
        text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
        if value is None or (isinstance(value, str) and not text):
            problems.add("missing grade", f"{name}: {item}")
            return None
        if text not in ("0", "1", "2", "3"):
            problems.add("unknown grade", f"{name}: {item} {str(value)[:20]!r}")
            return None
        grades.append(int(text))
    return (grades[0], grades[1], grades[2], grades[3], grades[4], grades[5])


def _readable(path: Path, problems: Problems) -> bool:
    try:
        read_picture(path, MAX_MEGAPIXELS)
    except PictureError as problem:
        problems.add("picture that cannot be read", str(problem).removeprefix(f"{path.parent}{os.sep}"))
        return False
    return True


def split(pictures: Sequence[LabelledPicture], seed: int, shares: tuple[float, float, float] = SHARES) -> Split:
    """Parts of about the `shares` (of pictures) that have no device in common, and so no visit: a visit is one device's.

    Raises:
        DataError: fewer than three devices.
    """
    by_device: dict[str, list[LabelledPicture]] = {}
    for group in _joined(pictures):
        by_device.setdefault(min(p.device for p in group), []).extend(group)
    if len(by_device) < len(shares):
        raise DataError(
            f"pictures of {len(by_device)} devices: at least {len(shares)} are needed for training, validation and test "
            "without a device in common: add pictures of other devices"
        )
    rng = np.random.default_rng([seed, 31])
    order = [sorted(by_device)[i] for i in rng.permutation(len(by_device))]
    order.sort(key=lambda device: -len(by_device[device]))  # the largest first, so that the shares come out
    parts: list[list[LabelledPicture]] = [[], [], []]
    for place, device in enumerate(order):
        empty = [index for index in range(3) if not parts[index]]
        room = [share * len(pictures) - len(part) for share, part in zip(shares, parts, strict=True)]
        # as many devices left as parts without any: those come first
        target = empty[0] if len(order) - place <= len(empty) else int(np.argmax(room))
        parts[target] += by_device[device]
    return Split(*(tuple(sorted(part, key=lambda p: p.path.name)) for part in parts))


def _joined(pictures: Sequence[LabelledPicture]) -> list[list[LabelledPicture]]:
    """Pictures that share a device or a visit, directly or through others."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.setdefault(key, key) != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    for picture in pictures:
        leader[find(f"visit {picture.visit}")] = find(f"device {picture.device}")
    groups: dict[str, list[LabelledPicture]] = {}
    for picture in pictures:
        groups.setdefault(find(f"device {picture.device}"), []).append(picture)
    return list(groups.values())
