"""A bundle's severity grades on rendered persons that no training draws, as the device gives them, beside the majority baseline."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from export.errors import EvaluationError
from export.evaluation.severity import SeverityScores, confusion, majority, score
from export.training.severity.fitting import graded, grades_of
from export.training.severity.measuring import PATHS, WITHOUT_SCALE, Row, table
from runtime.analysis.severity import FEATURES, SeverityGrader
from runtime.bundles.reader import Bundle

Confusions = dict[str, list[list[int]]]


def evaluate_bundle(
    bundle: Bundle, rows: Sequence[Row], *, threads: int = 1
) -> tuple[dict[str, SeverityScores], dict[str, list[list[int]]]]:
    """Scores of all rows, of each path and each range of scales, and of the baseline; and confusions (true × given) by path.

    Rows whose quality is not ok have no grade, and are left out.

    Raises:
        BundleError: the bundle has no usable severity classifier.
        EvaluationError: no row is graded.
    """
    kept = graded(rows)
    if not kept:
        raise EvaluationError("severity: no frame of ok quality: take more persons")
    with SeverityGrader(bundle, threads=threads) as grader:
        stated, unscaled = (np.array([grader.probabilities(row) for row in table(kept, names)]) for names in (FEATURES, WITHOUT_SCALE))
    truth = grades_of(kept)
    hood = np.array([row.person.hooded for row in kept])
    of_path = {path: np.array([row.path == path for row in kept]) for path in PATHS}
    picked = of_path | {"at the hood's scale": hood, "at other scales": ~hood}
    scores = {"all frames": score(stated, truth)}
    scores |= {name: score(stated[which], truth[which]) for name, which in picked.items() if which.any()}
    scores["where no scale is known"] = score(unscaled, truth)
    scores["always the most frequent grade"] = score(majority(truth, len(truth)), truth)
    answer = stated.argmax(axis=1)
    return scores, {path: confusion(answer[which], truth[which]).tolist() for path, which in of_path.items()}


def as_json(name: str, scores: dict[str, SeverityScores], confusions: Confusions) -> str:
    """One line for machines."""
    return json.dumps({"bundle": name, "scores": {key: s.to_dict() for key, s in scores.items()}, "confusion": confusions})
