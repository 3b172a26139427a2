"""The published baselines, our classical mask and any bundles over one folder of pairs: numbers, tables, and a sheet to look at."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from export.errors import EvaluationError
from export.evaluation.baselines import black_hat, contrast_stretching, otsu
from export.evaluation.pairs import Pair, read_pair
from export.evaluation.scores import MaskScore, score
from runtime.analysis.classical import ClassicalSegmenter
from runtime.analysis.segmentation import Mask, Segmentation, Segmenter
from runtime.commands.files import write_png
from runtime.errors import TrichoscopeError

MaskOf = Callable[[NDArray[np.uint8]], Mask]
FIELDS = ("dice", "jaccard", "f1_2px", "boundary_f1", "centre_recall", "false_area")
HEADINGS = ("method", "frames", "F1", "Dice", "Jaccard", "F1 in 2 px", "boundary F1", "centre-line recall", "false area", "ms a frame")
CELL_WIDTH, LOWEST_CELL, HIGHEST_CELL = 420, 24, 1680  # px; strips are squeezed


@dataclass(frozen=True)
class Method:
    """A named way to a mask."""

    name: str
    mask_of: MaskOf


@dataclass(frozen=True)
class Row:
    """One method over all frames: every frame's score, and the milliseconds that each took."""

    method: str
    scores: dict[str, MaskScore]
    ms: list[float]

    def summary(self) -> dict[str, float | int | None]:
        """Pooled F1 over all pixels, the mean over frames of the rest, median milliseconds; None where no frame has the figure."""
        rows = [s for s in self.scores.values() if s.true]
        area = sum(s.found + s.true for s in rows)
        figures: dict[str, float | int | None] = {
            "frames": len(self.scores),
            "frames_without_hair": len(self.scores) - len(rows),
            "f1": 2 * sum(s.true_positive for s in rows) / area if area else None,
        }
        for name in FIELDS:
            values = [v for s in self.scores.values() if (v := getattr(s, name)) is not None]
            figures[name] = float(np.mean(values)) if values else None
        return figures | {"ms": float(np.median(self.ms))}


def segmenter_method(name: str, segmenter: Segmenter) -> Method:
    """A segmenter as a method."""

    def mask_of(image: NDArray[np.uint8]) -> Mask:
        found: Segmentation = segmenter.segment(image)
        return found.mask

    return Method(name, mask_of)


def baseline_methods() -> list[Method]:
    """The published masks and our classical one."""
    return [
        Method("Otsu (Kim 2017)", otsu),
        Method("contrast stretching (Shih 2014, 2015)", contrast_stretching),
        Method("black-hat (Yue 2021)", black_hat),
        segmenter_method("classical", ClassicalSegmenter()),
    ]


def evaluate(pairs: Sequence[Pair], methods: Sequence[Method], advance: Callable[[], None] = lambda: None) -> list[Row]:
    """Every method over every pair; the frame that comes first is also run once untimed, to warm up.

    Raises:
        EvaluationError: nothing to compare, or a pair that cannot be read or whose sizes differ.
    """
    if not pairs or not methods:
        raise EvaluationError("nothing to compare: name a folder with pairs and at least one method")
    rows = [Row(method.name, {}, []) for method in methods]
    for index, pair in enumerate(pairs):
        image, true = read_pair(pair)
        for method, row in zip(methods, rows, strict=True):
            if index == 0:
                method.mask_of(image)
            began = time.perf_counter()
            found = method.mask_of(image)
            row.ms.append((time.perf_counter() - began) * 1e3)
            row.scores[pair.name] = score(found, true)
        advance()
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """The summaries as a Markdown table."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    for row in rows:
        s = row.summary()
        cells = [row.method, str(s["frames"]), *(_number(s[k]) for k in ("f1", *FIELDS[:5])), _percent(s["false_area"]), f"{s['ms']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _number(value: float | int | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | int | None) -> str:
    return "–" if value is None else f"{100 * value:.3f} %"


def as_json(rows: Sequence[Row]) -> str:
    """Everything that was measured, frame by frame, as one JSON object."""
    methods = {row.method: {"summary": row.summary(), "frames": {n: vars(s) for n, s in row.scores.items()}} for row in rows}
    return json.dumps({"schema": "trichoscope/segmentation-evaluation/1", "methods": methods}, allow_nan=False)


def sheet(pairs: Sequence[Pair], method: Method, row: Row, count: int = 3) -> NDArray[np.uint8]:
    """The `count` worst and best frames of a method, uint8 BGR: picture, and picture with missed hair blue and false hair red."""
    order = sorted(pairs, key=lambda pair: _merit(row.scores[pair.name]))
    chosen = order if len(order) <= 2 * count else [*order[:count], *order[-count:]]
    return np.concatenate([_cell(pair, method, row.scores[pair.name]) for pair in chosen])


def _merit(found: MaskScore) -> float:
    return 1 - (found.false_area or 0.0) if found.dice is None else found.dice


def _cell(pair: Pair, method: Method, found: MaskScore) -> NDArray[np.uint8]:
    image, true = read_pair(pair)
    mask = method.mask_of(image)
    shown = image.copy()
    shown[mask & true] = (shown[mask & true] * 0.45 + np.array([40, 130, 40])).astype(np.uint8)
    shown[~mask & true] = (255, 60, 0)
    shown[mask & ~true] = (0, 0, 255)
    height = min(max(round(image.shape[0] * CELL_WIDTH / image.shape[1]), LOWEST_CELL), HIGHEST_CELL)
    cells = [cv2.resize(part, (CELL_WIDTH, height), interpolation=cv2.INTER_AREA) for part in (image, shown)]
    both = np.concatenate(cells, 1)
    text = f"{pair.name}  {method.name}  {_merit(found):.3f}"
    for colour, thick in ((0, 3), (255, 1)):
        cv2.putText(both, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (colour,) * 3, thick, cv2.LINE_AA)
    return np.asarray(both, np.uint8)


def write_sheet(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a contact sheet as PNG, whole or not at all.

    Raises:
        EvaluationError: it cannot be written.
    """
    try:
        write_png(path, picture)
    except TrichoscopeError as problem:
        raise EvaluationError(str(problem)) from problem
