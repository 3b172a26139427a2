"""A client's history as a file tells it (`trichoscope/records/1`), every part checked before it is used.

    {"schema": "trichoscope/records/1",
     "client": "C-17",
     "visits": [{"date": "2026-01-31", "density_per_cm2": 171.0, "terminal_share": 0.8, "diameter_um": 62.0, "picture": "c17-3.jpg"}, …],
     "records": [{"date": "2026-01-05", "testosterone": 540, "dht": null, "stress": 6, …}, …],
     "questionnaire": {"family-history": "maternal"},
     "markers": {"ar-rs6152": "G"}}

Which series a record may hold, in which unit and between which values, and which answers and markers there are, the forecast of the
bundle says. What is wrong (a value that nobody has, a date in the future, a date that goes back, the same day again, a key that nobody
knows) is named and counted and takes no part; the rest is used. Who wants none of that says `strict`, and the file is refused.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import PurePosixPath
from typing import Any

from runtime.bundles.roles import ForecastRole
from runtime.forecast.errors import RecordsError

SCHEMA = "trichoscope/records/1"
MAX_FILE_BYTES = 4 << 20
MAX_NESTING = 8
MAX_VISITS, MAX_RECORDS = 1000, 10_000
EARLIEST = date(1990, 1, 1)
# what a visit measured: between what it is plausible
MEASURED = {"density_per_cm2": (0.0, 1000.0), "terminal_share": (0.0, 1.0), "diameter_um": (5.0, 250.0)}
KEYS = ("schema", "client", "visits", "records", "questionnaire", "markers")
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
LONGEST_NAME, SHOWN = 120, 60


@dataclass(frozen=True)
class Problem:
    """What was not used: where it stands in the file, and what is wrong with it."""

    where: str
    what: str


@dataclass(frozen=True)
class Visit:
    """One visit: what was measured (by the names of MEASURED), and the name of its picture beside the file."""

    day: date
    measured: Mapping[str, float]
    picture: str | None


@dataclass(frozen=True)
class Record:
    """What was written down on one day, by the series' names, in their units."""

    day: date
    values: Mapping[str, float]


@dataclass(frozen=True)
class History:
    """All that can be used of a client's file, by rising dates.

    Attributes:
        answers: values of the questionnaire and of genetic markers by their names.
    """

    client: str | None
    visits: tuple[Visit, ...]
    records: tuple[Record, ...]
    answers: Mapping[str, str]
    problems: tuple[Problem, ...]


def parse_history(text: bytes, where: str, role: ForecastRole, today: date, *, strict: bool = False) -> History:
    """The history that `text` tells; `where` names it in errors, `today` is the last day that may be.

    Raises:
        RecordsError: too large, nested too deep, no JSON, not of this schema; with `strict` also where anything cannot be used.
    """
    whole = _parsed(text, where)
    reader = _Reader(role, today)
    history = reader.history(whole)
    if strict and history.problems:
        first, more = history.problems[0], len(history.problems) - 1
        also = f" (and {more} more)" if more else ""
        raise RecordsError(f"{where}: {first.where}: {first.what}{also}: correct it, or leave --strict out to go on without it")
    return history


def _parsed(text: bytes, where: str) -> dict[str, Any]:
    if len(text) > MAX_FILE_BYTES:
        raise RecordsError(f"{where}: larger than {MAX_FILE_BYTES >> 20} MiB: no client has so many records: export one client a file")
    if _depth(text) > MAX_NESTING:
        raise RecordsError(f"{where}: nested deeper than {MAX_NESTING}: not {SCHEMA}: export the records again")
    try:
        whole = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as problem:
        raise RecordsError(f"{where}: not valid JSON ({problem}): export the records again") from problem
    if not isinstance(whole, dict) or whole.get("schema") != SCHEMA:
        raise RecordsError(f'{where}: not "schema": "{SCHEMA}": export the records with a program that writes this')
    return whole


def _depth(text: bytes) -> int:
    """How deep brackets are nested at most; brackets in strings count too, which is harmless."""
    depth = deepest = 0
    for bracket in re.finditer(rb"[][{}]", text):
        depth += 1 if bracket[0] in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object whose keys come once each: two readers must not see two histories."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _shown(value: object) -> str:
    """A value from outside as one line that is fit to be printed."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    try:
        text = ascii(value)
    except ValueError:  # a whole number of more digits than Python prints
        return "a huge number"
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _name_ok(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


class _Reader:
    """Reads one file and collects what is wrong with it."""

    def __init__(self, role: ForecastRole, today: date) -> None:
        self._today = today
        self._series = {series.name: (series.low, series.high) for series in role.series}
        self._answers = {marker.name: marker.values for marker in role.markers}
        self._problems: list[Problem] = []

    def history(self, whole: Mapping[str, Any]) -> History:
        self._unknown("", whole, KEYS)
        client = whole.get("client")
        if client is not None and not _name_ok(client):
            self._complain("client", f"{_shown(client)} is no name of 1 to {LONGEST_NAME} printable characters")
            client = None
        visits = [self._visit(where, row, day) for where, row, day in self._dated("visits", whole.get("visits"), MAX_VISITS)]
        records = [self._record(where, row, day) for where, row, day in self._dated("records", whole.get("records"), MAX_RECORDS)]
        answers: dict[str, str] = {}
        for part in ("questionnaire", "markers"):
            self._categories(part, whole.get(part), answers)
        return History(client, tuple(visits), tuple(r for r in records if r.values), answers, tuple(self._problems))

    def _complain(self, where: str, what: str) -> None:
        self._problems.append(Problem(where, what))

    def _unknown(self, where: str, row: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for key in row:
            if key not in known:
                self._complain(f"{where}{'.' if where else ''}{_shown(key)}", f"nobody knows this key; known are {', '.join(known)}")

    def _dated(self, part: str, rows: object, most: int) -> list[tuple[str, Mapping[str, Any], date]]:
        """The rows of a part that have a usable day, by rising days: (where, row, day)."""
        if rows is None:
            return []
        if not isinstance(rows, list):
            self._complain(part, f"{_shown(rows)} is no list")
            return []
        if len(rows) > most:
            self._complain(part, f"{len(rows)} entries, at most {most} are read: the first {len(rows) - most} were left out")
        dated: list[tuple[str, Mapping[str, Any], date]] = []
        first_of: dict[date, str] = {}
        for index, row in enumerate(rows):
            if index < len(rows) - most:
                continue
            where = f"{part}[{index}]"
            if not isinstance(row, dict):
                self._complain(where, f"{_shown(row)} is no object")
                continue
            day = self._day(f"{where}.date", row.get("date"))
            if day is None:
                continue
            if day in first_of:
                self._complain(where, f"the same day as {first_of[day]}, {day}: a duplicate")
                continue
            first_of[day] = where
            dated.append((where, row, day))
        kept = _longest_rise([day for _, _, day in dated])
        for place, (where, _, day) in enumerate(dated):
            if place not in kept:
                self._complain(where, f"{day} is out of order among its neighbours")
        return [dated[place] for place in sorted(kept)]

    def _day(self, where: str, value: object) -> date | None:
        if not isinstance(value, str) or DAY.fullmatch(value) is None:
            self._complain(where, f"{_shown(value)} is no date such as 2026-01-31")
            return None
        try:
            day = date.fromisoformat(value)
        except ValueError:
            self._complain(where, f"{value} is a day that no calendar has")
            return None
        if day > self._today:
            self._complain(where, f"{value} lies in the future (today is {self._today})")
            return None
        if day < EARLIEST:
            self._complain(where, f"{value} lies before {EARLIEST}")
            return None
        return day

    def _numbers(self, where: str, row: Mapping[str, Any], plausible: Mapping[str, tuple[float, float]]) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, (low, high) in plausible.items():
            value = row.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                self._complain(f"{where}.{name}", f"{_shown(value)} is no number")
            elif isinstance(value, float) and not math.isfinite(value):
                self._complain(f"{where}.{name}", f"{value} is not finite")
            elif not low <= value <= high:  # before it is made a float: it may be a huge whole number
                self._complain(f"{where}.{name}", f"{_shown(value)} is implausible: it lies between {low:g} and {high:g}")
            else:
                found[name] = float(value)
        return found

    def _visit(self, where: str, row: Mapping[str, Any], day: date) -> Visit:
        self._unknown(where, row, ("date", *MEASURED, "picture"))
        picture = row.get("picture")
        if picture is not None and not _plain_path(picture):
            self._complain(f"{where}.picture", f"{_shown(picture)} is no picture in the file's own folder")
            picture = None
        return Visit(day, self._numbers(where, row, MEASURED), picture)

    def _record(self, where: str, row: Mapping[str, Any], day: date) -> Record:
        self._unknown(where, row, ("date", *self._series))
        return Record(day, self._numbers(where, row, self._series))

    def _categories(self, part: str, row: object, answers: dict[str, str]) -> None:
        if row is None:
            return
        if not isinstance(row, dict):
            self._complain(part, f"{_shown(row)} is no object")
            return
        self._unknown(part, row, tuple(self._answers))
        for name, values in self._answers.items():
            value = row.get(name)
            if value is None:
                continue
            if value not in values:
                self._complain(f"{part}.{name}", f"{_shown(value)} is none of {', '.join(values)}")
            elif name in answers and answers[name] != value:
                self._complain(f"{part}.{name}", f"{_shown(value)}, while the questionnaire says {answers[name]}: neither is used")
                del answers[name]
            else:
                answers[name] = value


def _plain_path(value: object) -> bool:
    """Whether this names a file in the folder of the records or below it."""
    if not _name_ok(value) or not isinstance(value, str):
        return False
    path = PurePosixPath(value)
    return not path.is_absolute() and ".." not in path.parts and path.name != "" and "\\" not in value


def _longest_rise(days: list[date]) -> set[int]:
    """Places of the longest run of rising days, so that one wrong date costs one entry and not all that follow it."""
    ends: list[int] = []  # of a run of each length the place with the earliest last day
    before: list[int | None] = []
    key: Callable[[int], date] = days.__getitem__
    for place, day in enumerate(days):
        at = bisect_left(ends, day, key=key)
        before.append(ends[at - 1] if at else None)
        ends[at : at + 1] = [place]
    kept: set[int] = set()
    last: int | None = ends[-1] if ends else None
    while last is not None:
        kept.add(last)
        last = before[last]
    return kept
