"""A finished severity training as a part of a bundle: the classifier, its golden rows, its pictures, and the card that says what it is."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from device.simulated.recipe import RENDERER_VERSION
from export.conversion.golden import golden_of
from export.conversion.part import RolePart
from export.conversion.sklearn_graph import INPUT
from export.errors import TrainingError
from export.severity_scenes import DEFINITIONS, HOOD_UM_PER_PX, LABELS
from export.training.severity.measuring import PATHS
from export.training.severity.training import (
    CONFUSION,
    IMPORTANCES,
    MODEL,
    RELIABILITY,
    RESULTS,
    WITHOUT,
    SeverityTraining,
    read_json,
)
from runtime.analysis.severity import FEATURES
from runtime.bundles.parts import MAX_FILE_BYTES, ModelCard
from runtime.bundles.roles import SeverityRole

GOLDEN = "severity.npz"
SINGLE_ROWS = 8
DESCRIPTION = (
    "Grades hair loss of a frame, 0 good to 3 severe, from six figures of its hairs (after ScalpVision, 3.2 and Appendix E): thickness "
    "samples, mean and median thickness with and without outliers, number of hairs; gradient boosting. Figures are of hairs as the "
    "analysis finds them, brought to a field of 4.48 mm at 7 µm per px; without a scale a frame is taken to be one."
)
LIMITS = (
    "Learnt from rendered scalps alone and not validated on labels of real patients. Where a frame has no scale it errs more, and most at "
    "another magnification than {low} to {high} µm per px (of a picture 640 px wide). The grades were learnt in equal numbers, and fields "
    "between two grades were left out: on people, most of whom are good and some in between, fewer answers are right than the metrics "
    "say. Fine or white hair that cannot be seen reads as hair lost. Not graded where the frame's quality is not ok."
)


def bundle_severity(training: Path) -> RolePart:
    """The part of a bundle that the finished training in the folder `training` makes.

    Raises:
        TrainingError: it is not finished, or a file of it is damaged.
    """
    begun = SeverityTraining.resumed(training)
    results = read_json(training / RESULTS)
    model = _read(training / MODEL)
    try:
        rows = np.array(results["golden"], np.float32)
        if rows.ndim != 2 or rows.shape[1] != len(FEATURES):
            raise ValueError(f"golden rows {rows.shape}")
        cases = [{INPUT: row[None]} for row in rows[:SINGLE_ROWS]] + [{INPUT: rows}]
        golden, golden_content = golden_of(GOLDEN, model, cases, end={"severity": 0.0})
        role = SeverityRole(
            model=MODEL,
            golden=golden,
            card=_card(begun, results),
            metrics=_metrics(results),
            input=INPUT,
            features=FEATURES,
            labels=(LABELS[0], LABELS[1], LABELS[2], LABELS[3]),
        )
    except (KeyError, TypeError, ValueError) as problem:
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{training / RESULTS}: damaged, or of another program ({first}): --resume the training") from problem
    content = {MODEL: model, GOLDEN: golden_content}
    content |= {name: _read(training / name) for name in (CONFUSION, IMPORTANCES, RELIABILITY)}
    return RolePart("severity", role, content)


def severity_part(training: Path, *, per_kind: int = 60) -> tuple[SeverityRole, dict[str, bytes]]:
    """Role and files as `bundle_severity` makes them, for the table of trainings; its frames are the training's, whatever `per_kind`."""
    del per_kind
    part = bundle_severity(training)
    assert isinstance(part.role, SeverityRole)
    return part.role, dict(part.content)


def definition_text() -> str:
    """The grades in words and numbers, for cards."""
    parts = []
    for grade, (label, d) in enumerate(zip(LABELS, DEFINITIONS, strict=True)):
        low, high = d.seen_per_cm2
        seen = f"≥ {low:g}" if math.isinf(high) else f"{low:g}–{high:g}"
        bald = f", {d.bald_share:.0%} of the heads bald" if d.bald_share else ""
        parts.append(
            f"{grade} {label}: {seen} hairs to be seen per cm², vellus share {d.vellus_share[0]:g}–{d.vellus_share[1]:g}, "
            f"diameters × {d.diameter_share[0]:g}–{d.diameter_share[1]:g} with spread {d.diameter_spread[0]:g}–{d.diameter_spread[1]:g}, "
            f"{d.empty_share[0]:.0%}–{d.empty_share[1]:.0%} of the openings empty{bald}"
        )
    return "; ".join(parts)


def _card(training: SeverityTraining, results: dict[str, Any]) -> ModelCard:
    recipe = training.recipe
    return ModelCard(
        description=DESCRIPTION,
        recipe=recipe.to_dict() | {"calibration": str(results["calibration"])},
        seed=training.seed,
        steps=recipe.trees,
        seconds=float(results["seconds"]),
        machine=f"{platform.machine()}, {os.cpu_count()} CPU cores, no GPU",
        trained_on=(
            f"{results['rows']['learnt']} rows of {recipe.persons} rendered persons, live and captured (simulated microscope, no real "
            f"picture, renderer v{RENDERER_VERSION}). Grades of a field: {definition_text()}."
        ),
        validated_on_real_labels=False,
        licence="Apache-2.0",
        repeat=f"trichoscope-export train severity --recipe {recipe.name} --seed {training.seed} --out TRAINING",
        limits=LIMITS.format(low=HOOD_UM_PER_PX[0], high=HOOD_UM_PER_PX[1]),
    )


def _metrics(results: dict[str, Any]) -> dict[str, float]:
    """What the card's reader asks for first; the training's folder has the rest."""
    scores = dict(results["scores"])
    named = {"": scores.pop("all test frames"), "live_": scores.pop("live"), "capture_": scores.pop("capture")}
    named["majority_"] = scores.pop("always the most frequent grade")
    for name, found in scores.items():
        scale = "hood_scale_" if "hood" in name else "other_scales_" if "other" in name else ""
        if name.startswith(WITHOUT) and not name.endswith(PATHS):
            named[f"unscaled_{scale}"] = found
        elif scale:
            named[scale] = found
    metrics = {f"{prefix}{key}": float(value) for prefix, found in named.items() for key, value in found.items()}
    return metrics | {
        "parity_max_abs": float(results["parity"]["max_abs"]),
        "parity_rows": float(results["parity"]["rows"]),
        "row_ms_p95": float(results["row_ms"]["p95"]),
    }


def _read(path: Path) -> bytes:
    """A file of the training. Raises TrainingError where it is missing, empty or too large."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as problem:
        raise TrainingError(f"{path}: {problem.strerror or problem}: --resume the training") from problem
    if not 0 < len(content) <= MAX_FILE_BYTES:
        raise TrainingError(f"{path}: empty or too large: --resume the training")
    return content
