"""Grades and measured indices as a table for people, in the words of the profile of use; a result without words is not shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from runtime.analysis.measurement import Conditions, Grade, Measurement
from runtime.analysis.scalp.indices import Index
from runtime.intended_use.in_force import UseInForce

INDICES = ("flakes", "shine", "erythema")


def grades_of(m: Measurement) -> dict[str, Grade | None]:
    """The grades of a picture by the key of their words."""
    conditions = m.conditions or Conditions(dandruff=None, sebum=None, erythema=None)
    return {"severity": m.alopecia, "dandruff": conditions.dandruff, "sebum": conditions.sebum, "erythema": conditions.erythema}


def graded_columns(m: Measurement) -> dict[str, object]:
    """The grades and indices of a picture, flat, for CSV; None where one could not be had."""
    row: dict[str, object] = {}
    for key, grade in grades_of(m).items():
        name = "alopecia_severity" if key == "severity" else f"{key}_grade"
        row[name] = grade and grade.severity
    graded = [grade for grade in grades_of(m).values() if grade is not None]
    row["grades_validated_on_real_labels"] = all(grade.validated_on_real_labels for grade in graded) if graded else None
    for name, index in _indices(m):
        row |= {f"{name}_index": index.value, f"{name}_index_reliable": index.reliable}
    return row


def graded_table(measured: Sequence[Measurement], use: UseInForce) -> Group | None:
    """A row a picture; None where nothing was graded or measured that has words."""
    keys = [key for key in ("severity", "dandruff", "sebum", "erythema") if key in use.words and any(grades_of(m)[key] for m in measured)]
    indices = [name for name in INDICES if f"{name}_index" in use.words] if any(m.scalp for m in measured) else []
    if not keys and not indices:
        return None
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("picture", overflow="fold")
    for key in keys:
        table.add_column(use.words[key].name)
    for name in indices:
        table.add_column(use.words[f"{name}_index"].name, justify="right")
    for m in measured:
        found = dict(_indices(m))
        grades = grades_of(m)
        table.add_row(m.image, *(_word(use, key, grades[key]) for key in keys), *(_shown(found.get(name)) for name in indices))
    notes = []
    graded = [grade for m in measured for key, grade in grades_of(m).items() if key in keys and grade is not None]
    if not all(grade.validated_on_real_labels for grade in graded):
        notes.append(f"Grades: {use.not_validated}.")
    for m in measured:
        for name, index in _indices(m):
            if name in indices and not index.reliable:
                notes.append(f"? {use.words[f'{name}_index'].name}: {index.reason}.")
    return Group(table, *(Text(note) for note in dict.fromkeys(notes)))


def _indices(m: Measurement) -> Iterator[tuple[str, Index]]:
    if m.scalp is not None:
        yield from (("flakes", m.scalp.flakes), ("shine", m.scalp.shine), ("erythema", m.scalp.erythema))


def _word(use: UseInForce, key: str, grade: Grade | None) -> str:
    word = None if grade is None else use.word(key, grade.severity)
    return "—" if grade is None or word is None else f"{word} ({grade.probabilities[grade.severity]:.0%})"


def _shown(index: Index | None) -> str:
    if index is None or index.value is None:
        return "—"
    value = f"{index.value:.1f} %" if index.unit.startswith("%") else f"{index.value:.0f}"
    return value if index.reliable else f"{value} ?"
