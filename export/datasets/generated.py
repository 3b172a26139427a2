"""Generated pictures beside the real or rendered ones: a folder with pictures and `grades.csv` (`picture,dandruff,sebum,erythema`).

What a translation model makes is added here and nowhere else: to what is learnt from, counted apart, never to validation or test.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from export.datasets.problems import Problems
from export.errors import DataError
from export.networks.conditions import CONDITIONS
from runtime.commands.pictures import read_picture
from runtime.errors import PictureError

TABLE = "grades.csv"
MAX_TABLE_BYTES = 16 * 1024 * 1024
MAX_MEGAPIXELS = 24.0


def load_generated(folder: Path, *, strict: bool = False) -> tuple[list[tuple[Path, tuple[int, int, int]]], Problems]:
    """The pictures of `folder` with their grades of dandruff, sebum and erythema, and what was wrong with the others.

    Raises:
        DataError: no table, or nothing of use in it; with `strict`, anything that is wrong.
    """
    path = folder / TABLE
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TABLE_BYTES + 1)
        if len(content) > MAX_TABLE_BYTES:
            raise ValueError(f"larger than {MAX_TABLE_BYTES} bytes")
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    except (OSError, ValueError, csv.Error) as problem:
        raise DataError(f"{path}: {problem}: write a table with the columns picture,{','.join(CONDITIONS)}") from problem
    problems = Problems()
    found: dict[Path, tuple[int, int, int]] = {}
    for row in rows:
        name = row.get("picture") or ""
        values = [(row.get(condition) or "").strip() for condition in CONDITIONS]
        if not name or Path(name).name != name:
            problems.add("no plain name of a picture", repr(name[:60]))
        elif "" in values:
            problems.add("missing grade", name)
        elif not set(values) <= {"0", "1", "2", "3"}:
            problems.add("unknown grade", name)
        elif folder / name in found:
            problems.add("picture named twice", name)
        else:
            try:
                read_picture(folder / name, MAX_MEGAPIXELS)
            except PictureError as problem:
                problems.add("picture that cannot be read", str(problem))
                continue
            found[folder / name] = (int(values[0]), int(values[1]), int(values[2]))
    if strict:
        problems.refuse(str(folder))
    if not found:
        raise DataError(f"{folder}: no generated picture to use ({'; '.join(problems.lines()) or 'the table is empty'}): check {TABLE}")
    return list(found.items()), problems
