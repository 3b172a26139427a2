"""A client's history as the tensors of a forecast, by the role that the bundle gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundles.roles import ForecastRole
from runtime.forecast.records import History
from runtime.inference.pictures import picture_tensor

STALE_DAYS = 366
"""A picture or a record says how things stand for a year."""
GREY = 128
"""Of a picture of plain grey the forecast's networks have learnt that it stands for none."""
MARKERS, RECORDS = "markers", "records"


@dataclass(frozen=True, eq=False)
class Known:
    """What a forecast is fed, and what of it is known.

    Attributes:
        tensors: by name, batch 1: the picture, `markers` and `records` (see ForecastRole).
        last: of each series that has a value the last one, in its unit.
        answers: of each marker its value, or None.
    """

    tensors: Mapping[str, NDArray[Any]]
    last: Mapping[str, float]
    answers: Mapping[str, str | None]
    has_picture: bool
    intervals: int


def missing(history: History, role: ForecastRole) -> list[str]:
    """What it takes before a forecast may be made, in words; empty where nothing is missing."""
    found: list[str] = []
    lacking = role.minimum_visits - len(history.visits)
    if lacking > 0:
        more = "1 more visit" if lacking == 1 else f"{lacking} more visits"
        found.append(f"{more}: a forecast takes {role.minimum_visits} visits on different days, {len(history.visits)} can be used")
    names = ", ".join(series.name for series in role.series)
    if not history.records:
        found.append(f"a record: no {role.interval} has a usable value of {names}")
    elif history.visits and (history.visits[-1].day - history.records[-1].day).days > STALE_DAYS:
        found.append(
            f"a newer record: the last one is of {history.records[-1].day}, more than a year before the visit of {history.visits[-1].day}"
        )
    return found


def picture_of(history: History) -> str | None:
    """The picture that a forecast looks at: of the newest visit that has one, where that is not more than a year before the last."""
    for visit in reversed(history.visits):
        if visit.picture is not None and (history.visits[-1].day - visit.day).days <= STALE_DAYS:
            return visit.picture
    return None


def known(history: History, role: ForecastRole, image: NDArray[np.uint8] | None) -> Known:
    """The tensors of a history from which nothing is missing.

    `image` is uint8 (height, width, 3) BGR, or None where there is no picture. Several records of one week or month count by their mean.
    """
    answers = {marker.name: history.answers.get(marker.name) for marker in role.markers}
    numbers = [1 + marker.values.index(value) if (value := answers[marker.name]) is not None else 0 for marker in role.markers]
    table = _table(history, role)
    there = np.isfinite(table)
    scaled = (table - np.array([s.mean for s in role.series])) / np.array([s.std for s in role.series])
    tensors: dict[str, NDArray[Any]] = {
        MARKERS: np.array([numbers], np.int64).reshape(1, len(role.markers)),
        RECORDS: np.concatenate([np.where(there, scaled, 0.0), there], 1).astype(np.float32)[None],
    }
    if role.picture is not None:
        shown = np.full((role.picture.height, role.picture.width, 3), GREY, np.uint8) if image is None else image
        tensors[role.picture.name] = picture_tensor(shown, role.picture)
    last = {series.name: _last(history, series.name) for series in role.series}
    return Known(
        tensors=tensors,
        last={name: value for name, value in last.items() if value is not None},
        answers=answers,
        has_picture=image is not None and role.picture is not None,
        intervals=len(table),
    )


def _table(history: History, role: ForecastRole) -> NDArray[np.float64]:
    """Means by week or month, float64 (length, series), NaN where missing; the first and last row hold something."""
    places = [_place(record.day, role.interval) for record in history.records]
    first = max(places[0], places[-1] - role.most_records + 1)
    sums, counts = np.zeros((2, places[-1] - first + 1, len(role.series)))
    for place, record in zip(places, history.records, strict=True):
        if place < first:  # older than the network has learnt to look back
            continue
        for column, series in enumerate(role.series):
            if series.name in record.values:
                sums[place - first, column] += record.values[series.name]
                counts[place - first, column] += 1
    begin = int(np.argmax(counts.any(1)))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)[begin:]


def _place(day: date, interval: str) -> int:
    return day.year * 12 + day.month if interval == "month" else (day.toordinal() - 1) // 7


def _last(history: History, name: str) -> float | None:
    return next((record.values[name] for record in reversed(history.records) if name in record.values), None)
