"""The paper's Table 5 on a refiner of ours: four ways to choose prompts, and what each refined mask and ensemble is worth.

For each frame the live mask M̂ is had once; each variant draws its prompts from it, the refiner answers with M_AP, and M_AP, M̂ AND M_AP
and the weighed ensemble are held against the true mask. Answers that the daemon would pass over for their area are scored as they are:
a variant that misleads the refiner is to be seen. Where there is nothing to point at, or the answer is no mask at all, M̂ stands for all
three.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from export.errors import EvaluationError
from export.evaluation.pairs import KINDS, Frame
from export.evaluation.scores import MaskScore, score
from export.evaluation.segmentation import Row
from runtime.analysis.learned import LearnedSegmenter
from runtime.analysis.segmentation import Mask, Segmentation
from runtime.refining.prompts import VARIANTS, Prompts, Variant, automatic_prompts
from runtime.refining.refiner import Refiner, both, weighed, why_no_mask, why_not_asked, why_refused

MASKS = ("M_AP", "M̂ AND M_AP", "weighed")
FIELDS = ("f1", "jaccard", "dice", "f1_2px")
HEADINGS = ("positives", "negatives", "mask", "positives a frame", "negatives a frame", "pixel F1", "Jaccard", "Dice", "F1 in 2 px")
AFTER = ("passed over", "ms a frame")
WORDS: dict[Variant, tuple[str, str]] = {
    "mask+complement": ("random pixels of M̂", "random pixels of 1 − M̂"),
    "skeleton+random": ("P", "random pixels of 1 − M̂"),
    "skeleton": ("P", "none"),
    "skeleton+complement": ("P", "points of 1 − M̂ as P of M̂"),
}


@dataclass(frozen=True, eq=False)
class VariantRows:
    """One variant over all frames.

    Attributes:
        rows: by MASKS; their milliseconds are those of prompts and refiner together.
        positives, negatives: prompts of each frame.
        passed_over: why the daemon would not have used the answer, by the name of the frame.
    """

    variant: Variant
    rows: dict[str, Row]
    positives: list[int] = field(default_factory=list)
    negatives: list[int] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Ablation:
    """The live mask and every variant, over the same frames; `kinds` by the name of a frame."""

    live_name: str
    refiner_name: str
    live: Row
    variants: list[VariantRows]
    kinds: dict[str, str]


def ablate(
    frames: Iterable[Frame],
    segmenter: LearnedSegmenter,
    refiner: Refiner,
    threshold: float,
    *,
    advance: Callable[[], None] = lambda: None,
) -> Ablation:
    """Every variant over every frame; `advance` is called after each frame.

    Args:
        segmenter: gives M̂.
        threshold: probability from which a pixel is hair to the refiner.

    Raises:
        EvaluationError: there is no frame.
        InferenceError: one of the two failed.
    """
    found = Ablation(
        segmenter.name, refiner.name, Row("M̂", {}, []), [VariantRows(v, {m: Row(m, {}, []) for m in MASKS}) for v in VARIANTS], {}
    )
    for frame in frames:
        began = time.perf_counter()
        live = segmenter.segment(frame.image)
        found.live.ms.append((time.perf_counter() - began) * 1e3)
        found.live.scores[frame.name] = score(live.mask, frame.true)
        found.kinds[frame.name] = frame.kind
        for rows in found.variants:
            _judge(rows, frame, live, segmenter.threshold, refiner, threshold)
        advance()
    if not found.kinds:
        raise EvaluationError("nothing to compare: name a folder with pairs, or render at least one frame of each kind")
    return found


def _judge(rows: VariantRows, frame: Frame, live: Segmentation, live_threshold: float, refiner: Refiner, threshold: float) -> None:
    """One variant on one frame, entered in `rows`."""
    began = time.perf_counter()
    prompts = automatic_prompts(live.mask, variant=rows.variant)
    masks, reason = _masks(prompts, frame, live, live_threshold, refiner, threshold)
    ms = (time.perf_counter() - began) * 1e3
    if reason is not None:
        rows.passed_over[frame.name] = reason
    positives = int(np.count_nonzero(prompts.positive))
    rows.positives.append(positives)
    rows.negatives.append(len(prompts) - positives)
    for name, mask in masks.items():
        rows.rows[name].scores[frame.name] = score(mask, frame.true)
        rows.rows[name].ms.append(ms)


def _masks(
    prompts: Prompts, frame: Frame, live: Segmentation, live_threshold: float, refiner: Refiner, threshold: float
) -> tuple[dict[str, Mask], str | None]:
    """The three masks, and why the daemon would have kept M̂, None where it would not."""
    reason = why_not_asked(prompts)
    if reason is None:
        refined = refiner.refine(frame.image, prompts)
        reason = why_refused(live.mask, refined, threshold)
        if why_no_mask(refined, live.mask.shape) is None:
            _, paper = both(live, refined, threshold)
            _, mean = weighed(live, refined, threshold, live_threshold)
            return dict(zip(MASKS, (refined.mask(threshold), paper, mean), strict=True)), reason
    return dict.fromkeys(MASKS, live.mask), reason


def markdown(found: Ablation) -> str:
    """The table, like the paper's: M̂, then three masks for each variant; with the Dice of each kind of frame where there are kinds."""
    kinds = [kind for kind in KINDS if kind in found.kinds.values()]
    headings = (*HEADINGS, *(f"Dice {kind}" for kind in kinds), *AFTER)
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    lines.append(_line(("–", "–", found.live.method, "–", "–"), found.live, found.kinds, kinds, "–"))
    for one in found.variants:
        counts = (f"{np.mean(one.positives):.0f}", f"{np.mean(one.negatives):.0f}")
        passed = f"{len(one.passed_over)} of {len(found.kinds)}"
        lines += [_line((*WORDS[one.variant], mask, *counts), row, found.kinds, kinds, passed) for mask, row in one.rows.items()]
    return "\n".join(lines)


def _line(first: Sequence[str], row: Row, kind_of: dict[str, str], kinds: Sequence[str], passed: str) -> str:
    summary = row.summary()
    by_kind = [_mean_dice(score for name, score in row.scores.items() if kind_of[name] == kind) for kind in kinds]
    figures = [_number(value) for value in (*(summary[name] for name in FIELDS), *by_kind)]
    return "| " + " | ".join((*first, *figures, passed, f"{summary['ms']:.0f}")) + " |"


def _mean_dice(scores: Iterable[MaskScore]) -> float | None:
    values = [one.dice for one in scores if one.dice is not None]
    return float(np.mean(values)) if values else None


def _number(value: float | int | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def as_json(found: Ablation) -> str:
    """Everything that was measured, frame by frame, as one JSON object."""
    variants = {
        one.variant: {
            "positives": dict(zip(found.kinds, one.positives, strict=True)),
            "negatives": dict(zip(found.kinds, one.negatives, strict=True)),
            "passed_over": one.passed_over,
            "masks": {name: _told(row) for name, row in one.rows.items()},
        }
        for one in found.variants
    }
    names = {"live": found.live_name, "refiner": found.refiner_name}
    told = {"schema": "trichoscope/prompt-ablation/1", **names, "kinds": found.kinds, "live_mask": _told(found.live), "variants": variants}
    return json.dumps(told, allow_nan=False)


def _told(row: Row) -> dict[str, object]:
    return {"summary": row.summary(), "frames": {name: vars(one) for name, one in row.scores.items()}}
