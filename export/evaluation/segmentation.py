"""The published baselines, our classical mask and any bundles over one folder of pairs: numbers, tables, and a sheet to look at."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from export.errors import EvaluationError
from export.evaluation.baselines import black_hat, contrast_stretching, otsu
from export.evaluation.pairs import KINDS, Frame, kind_of
from export.evaluation.scores import MaskScore, score
from runtime.analysis.classical import ClassicalSegmenter
from runtime.analysis.segmentation import Mask, Segmentation, Segmenter, given_mask
from runtime.commands.files import write_png
from runtime.errors import TrichoscopeError

MaskOf = Callable[[NDArray[np.uint8]], Mask | Segmentation]
FIELDS = ("dice", "jaccard", "f1_2px", "boundary_f1", "centre_recall", "false_area")
HEADINGS = ("method", "frames", "F1", "Dice", "Jaccard", "F1 in 2 px", "boundary F1", "centre-line recall", "false area", "ms a frame")
CELL_WIDTH, LOWEST_CELL, HIGHEST_CELL = 420, 24, 1680  # px; strips are squeezed


@dataclass(frozen=True)
class Method:
    """A named way to a mask, or to a segmentation that also says what was passed over for it."""

    name: str
    mask_of: MaskOf

    def found(self, image: NDArray[np.uint8]) -> Segmentation:
        """What it finds in `image`, uint8 (height, width, 3) BGR."""
        answer = self.mask_of(image)
        return answer if isinstance(answer, Segmentation) else given_mask(answer)


@dataclass(frozen=True)
class Row:
    """One method over all frames: every frame's score, the milliseconds that each took, and why another mask than it names stands.

    Attributes:
        passed_over: by the frame's name, the reason why a better mask was not had, so that the one before it was scored.
    """

    method: str
    scores: dict[str, MaskScore]
    ms: list[float]
    passed_over: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The method's name, and on how many frames it passed a better mask over."""
        count = len(self.passed_over)
        return f"{self.method} ({count} of {len(self.scores)} passed over)" if count else self.method

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

    def dice_by_kind(self) -> dict[str, float]:
        """Mean Dice over the frames with hair of each kind that names begin with."""
        found: dict[str, list[float]] = {}
        for name, scored in self.scores.items():
            if (kind := kind_of(name)) and scored.dice is not None:
                found.setdefault(kind, []).append(scored.dice)
        return {kind: float(np.mean(found[kind])) for kind in KINDS if kind in found}


def segmenter_method(name: str, segmenter: Segmenter) -> Method:
    """A segmenter as a method."""
    return Method(name, segmenter.segment)


def baseline_methods() -> list[Method]:
    """The published masks and our classical one."""
    return [
        Method("Otsu (Kim 2017)", otsu),
        Method("contrast stretching (Shih 2014, 2015)", contrast_stretching),
        Method("black-hat (Yue 2021)", black_hat),
        segmenter_method("classical", ClassicalSegmenter()),
    ]


def evaluate(frames: Iterable[Frame], methods: Sequence[Method], advance: Callable[[], None] = lambda: None) -> list[Row]:
    """Every method over every frame; the frame that comes first is also run once untimed, to warm up.

    Raises:
        EvaluationError: nothing to compare, two methods of one name, or a pair that cannot be read or whose sizes differ.
    """
    names = [method.name for method in methods]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise EvaluationError(f"two methods are called {twice[0]!r}: name each bundle once, and parts in folders of different names")
    rows = [Row(method.name, {}, []) for method in methods]
    for index, frame in enumerate(frames):
        for method, row in zip(methods, rows, strict=True):
            if index == 0:
                method.found(frame.image)
            began = time.perf_counter()
            found = method.found(frame.image)
            row.ms.append((time.perf_counter() - began) * 1e3)
            row.scores[frame.name] = score(found.mask, frame.true)
            if found.passed_over is not None:
                row.passed_over[frame.name] = found.passed_over
        advance()
    if not rows or not rows[0].scores:
        raise EvaluationError("nothing to compare: name a folder with pairs and at least one method")
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """The summaries as a Markdown table."""
    kinds = list(rows[0].dice_by_kind()) if rows else []
    headings = (*HEADINGS, *(f"Dice {kind}" for kind in kinds))
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    for row in rows:
        s, by_kind = row.summary(), row.dice_by_kind()
        cells = [row.title, str(s["frames"]), *(_number(s[k]) for k in ("f1", *FIELDS[:5])), _percent(s["false_area"]), f"{s['ms']:.1f}"]
        cells += [_number(by_kind.get(kind)) for kind in kinds]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _number(value: float | int | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | int | None) -> str:
    return "–" if value is None else f"{100 * value:.3f} %"


def as_json(rows: Sequence[Row]) -> str:
    """Everything that was measured, frame by frame, as one JSON object."""
    methods = {
        row.method: {
            "summary": row.summary(),
            "dice_by_kind": row.dice_by_kind(),
            "passed_over": row.passed_over,
            "frames": {n: vars(s) for n, s in row.scores.items()},
        }
        for row in rows
    }
    return json.dumps({"schema": "trichoscope/segmentation-evaluation/1", "methods": methods}, allow_nan=False)


def sheet(frames: Iterable[Frame], method: Method, row: Row, count: int = 3) -> NDArray[np.uint8]:
    """The `count` worst and best frames of a method, uint8 BGR: picture, and picture with missed hair blue and false hair red."""
    order = sorted(row.scores, key=lambda name: _merit(row.scores[name]))
    chosen = order if len(order) <= 2 * count else [*order[:count], *order[-count:]]
    cells = {frame.name: _cell(frame, method, row.scores[frame.name]) for frame in frames if frame.name in chosen}
    return np.concatenate([cells[name] for name in chosen])


def _merit(found: MaskScore) -> float:
    return 1 - (found.false_area or 0.0) if found.dice is None else found.dice


def _cell(frame: Frame, method: Method, found: MaskScore) -> NDArray[np.uint8]:
    image, true = frame.image, frame.true
    mask = method.found(image).mask
    shown = image.copy()
    shown[mask & true] = (shown[mask & true] * 0.45 + np.array([40, 130, 40])).astype(np.uint8)
    shown[~mask & true] = (255, 60, 0)
    shown[mask & ~true] = (0, 0, 255)
    height = min(max(round(image.shape[0] * CELL_WIDTH / image.shape[1]), LOWEST_CELL), HIGHEST_CELL)
    cells = [cv2.resize(part, (CELL_WIDTH, height), interpolation=cv2.INTER_AREA) for part in (image, shown)]
    both = np.concatenate(cells, 1)
    text = f"{frame.name}  {method.name}  {_merit(found):.3f}"
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
