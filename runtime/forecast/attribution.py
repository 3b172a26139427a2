"""Why a forecast says what it says: what it would say without one input, in numbers, in words and as a picture.

Each input is taken away as the network has learnt that it may be missing (a series wholly, a marker "not known", the picture plain
grey), the rest left as it is; the change of the score is what this input is worth here. The changes need not add up: inputs work together.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.bundles.roles import ForecastRole
from runtime.forecast.inputs import GREY, MARKERS, RECORDS, Known
from runtime.forecast.result import Attribution

UNMOVED = 0.005  # of the score: half a point of a hundred is not worth a word
RAISES, LOWERS = "#c0392b", "#1b6ca8"


@dataclass(frozen=True)
class Input:
    """One input that can be taken away: its kind, its name, its value in words (None where it is not known), its place in its tensor."""

    kind: Literal["picture", "series", "marker"]
    name: str
    value: str | None
    place: int


def inputs_of(found: Known, role: ForecastRole) -> tuple[Input, ...]:
    """All inputs of a forecast: the picture, each series, each marker."""
    pictures = () if role.picture is None else (Input("picture", "picture", "the newest picture" if found.has_picture else None, 0),)
    series = tuple(
        Input("series", s.name, f"{found.last[s.name]:.4g} {s.unit}".strip() if s.name in found.last else None, i)
        for i, s in enumerate(role.series)
    )
    return (*pictures, *series, *(Input("marker", m.name, found.answers[m.name], i) for i, m in enumerate(role.markers)))


def with_each_taken_away(found: Known, role: ForecastRole, inputs: Sequence[Input]) -> dict[str, NDArray[Any]]:
    """The tensors as a batch: first as they are, then with one of `inputs` taken away each."""
    batch = {name: np.repeat(tensor, 1 + len(inputs), 0) for name, tensor in found.tensors.items()}
    for row, each in enumerate(inputs, 1):
        if each.kind == "picture" and role.picture is not None:
            batch[role.picture.name][row] = _grey(role)
        elif each.kind == "series":
            batch[RECORDS][row][:, [each.place, each.place + len(role.series)]] = 0
        else:
            batch[MARKERS][row, each.place] = 0
    return batch


def _grey(role: ForecastRole) -> NDArray[Any]:
    from runtime.inference.pictures import picture_tensor

    assert role.picture is not None
    return np.asarray(picture_tensor(np.full((role.picture.height, role.picture.width, 3), GREY, np.uint8), role.picture)[0])


def attributions(inputs: Sequence[Input], scores: NDArray[np.float64], words: str) -> list[Attribution]:
    """By falling size: what each input is worth. `scores` (1 + inputs,) as of `with_each_taken_away`; `words` names what is forecast."""
    found = []
    for each, without in zip(inputs, scores[1:], strict=True):
        # what is not known is taken away already: what is left are the last bits of other sums
        change = float(scores[0] - without) if each.value is not None else 0.0
        found.append(Attribution(input=each.name, kind=each.kind, value=each.value, change=change, words=_words(each, change, words)))
    return sorted(found, key=lambda a: -abs(a.change))


def _words(each: Input, change: float, what: str) -> str:
    if each.value is None:
        return f"{each.name}: not known, and so without effect"
    name = "the picture" if each.kind == "picture" else f"{each.name} ({'last ' if each.kind == 'series' else ''}{each.value})"
    if abs(change) < UNMOVED:
        return f"{name}: hardly changes {what}"
    points = max(1, round(100 * abs(change)))
    return f"{name}: {'raises' if change > 0 else 'lowers'} {what} by {points} point{'s' if points > 1 else ''} of 100"


def attribution_picture(found: Sequence[Attribution], title: str, kind: Literal["svg", "png", "pdf"]) -> bytes:
    """The attributions as a picture with a bar each, to the right where an input raises the forecast."""
    import matplotlib
    from matplotlib.figure import Figure  # loaded only where pictures are drawn

    shown = [a for a in found if a.value is not None][::-1]
    figure = Figure(figsize=(8, 1.4 + 0.34 * max(len(shown), 1)), layout="constrained")
    axes = figure.subplots()
    changes = [100 * a.change for a in shown]
    labels = [a.input if a.kind == "picture" else f"{a.input}: {a.value}" for a in shown]
    axes.barh(range(len(shown)), changes, color=[RAISES if c > 0 else LOWERS for c in changes])
    axes.set_yticks(range(len(shown)), [label.replace("$", r"\$") for label in labels])
    axes.axvline(0, color="#333", linewidth=0.8)
    axes.set_xlabel("points of 100; right: raises the forecast, left: lowers it")
    axes.set_title(title.replace("$", r"\$"), fontsize=10)
    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "trichoscope"}):  # the same picture for the same figures
        figure.savefig(out, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()
