"""A severity training from its persons to a proven classifier: measured, fitted, calibrated, converted, tested, drawn.

Everything is written into one folder, and nothing in it is a pickle. What takes long is the measuring, which is kept person by person; the
rest is made again from it in some minutes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.conversion.sklearn_graph import INPUT, estimator_parity, sklearn_onnx
from export.errors import ConversionError, TrainingError
from export.evaluation.severity import SeverityScores, confusion, majority, markdown, reliability, score
from export.severity_scenes import HOOD_UM_PER_PX, LABELS, draw_persons
from export.training.cache import make_folder
from export.training.severity import fitting, pictures
from export.training.severity.measuring import PATHS, VIEWS, WITHOUT_SCALE, Row, measure_persons, table
from export.training.severity.recipe import SeverityRecipe
from runtime.analysis.severity import FEATURES, PROBABILITIES
from runtime.commands.files import write_atomically
from runtime.inference.onnx import OnnxBackend

STATE, RESULTS, MODEL, TABLE = "training.json", "results.json", "severity.onnx", "scores.md"
CONFUSION, IMPORTANCES, RELIABILITY = "severity-confusion.png", "severity-importances.png", "severity-reliability.png"
PERSONS = "persons"
MAX_STATE_BYTES = 1 << 20
WITHOUT = "where no scale is known"
PARITY_ROWS, PARITY = 10_000, 1e-5
CALIBRATION_GAIN = 0.005  # of the Brier score, by which sigmoids must do better than none: they make the graph larger
GOLDEN_ROWS = 64
TIMED = 300


@dataclass
class Watcher:
    """Who wants to know how far a training is: `persons` are measured by the number given, `said` is a line for a person."""

    persons: Callable[[int], None] = lambda done: None
    said: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class SeverityTraining:
    """A training in a folder; begun by `begun`, gone on with by `resumed`."""

    folder: Path
    recipe: SeverityRecipe
    seed: int

    @staticmethod
    def begun(folder: Path, recipe: SeverityRecipe, seed: int) -> SeverityTraining:
        """A new one.

        Raises:
            TrainingError: one is in the folder already, or it cannot be written to.
        """
        if (folder / STATE).exists():
            raise TrainingError(f"{folder / STATE}: a training is here already: --resume it, or name another folder with --out")
        make_folder(folder)
        write_atomically(folder / STATE, json.dumps({"recipe": recipe.to_dict(), "seed": seed}, indent=1).encode())
        return SeverityTraining(folder, recipe, seed)

    @staticmethod
    def resumed(folder: Path) -> SeverityTraining:
        """The one in the folder, with its recipe and seed.

        Raises:
            TrainingError: there is none, or its state is damaged.
        """
        state = read_json(folder / STATE)
        try:
            return SeverityTraining(folder, SeverityRecipe(**state["recipe"]), int(state["seed"]))
        except (KeyError, TypeError, ValueError) as problem:
            raise TrainingError(f"{folder / STATE}: damaged, or of another program: start anew in another folder") from problem

    def run(self, watcher: Watcher) -> dict[str, Any]:
        """Everything from measuring to pictures; the results, as they are in the folder.

        Raises:
            TrainingError, ConversionError: see the parts.
        """
        began = time.monotonic()
        learnt, tested = self._rows(watcher)
        fitting.check_grades(learnt, "persons to learn from", 2 * self.recipe.folds)
        fitting.check_grades(tested, "persons to test on")
        watcher.said(f"fitting to {len(learnt)} rows, calibration decided by {self.recipe.folds} folds of persons")
        decided = {name: fitting.held_out(learnt, self.recipe, self.seed, calibrate=name == "sigmoid") for name in ("none", "sigmoid")}
        best = "sigmoid" if decided["none"].brier - decided["sigmoid"].brier >= CALIBRATION_GAIN else "none"
        estimator = fitting.fit(learnt, VIEWS, self.recipe, self.seed, calibrate=best == "sigmoid")
        model = sklearn_onnx(estimator, len(FEATURES))
        parity = estimator_parity(estimator, model, PARITY_ROWS, self.seed, like=table(tested, FEATURES))
        if parity["max_abs"] > PARITY:
            raise ConversionError(f"severity: probabilities differ by {parity['max_abs']:.2g} after conversion, {PARITY} is allowed")
        watcher.said("testing on persons that were not learnt from, and comparing feature sets")
        scores, stated, unscaled = self._tested(estimator, learnt, tested)
        captures = [[row for row in rows if row.path == "capture"] for rows in (learnt, tested)]
        sets = fitting.compare_sets(captures[0], captures[1], self.recipe, self.seed)
        falls = {name: self._importances(name, captures) for name in ("six (shipped)", "six and extended, with a scale")}
        truth = fitting.grades_of(tested)
        results = {
            "scores": {name: s.to_dict() for name, s in scores.items()},
            "by_kind": self._by(tested, stated, lambda row: row.person.kind),
            "feature_sets": {name: s.to_dict() for name, s in sets.items()},
            "calibration_decided": {name: s.to_dict() for name, s in decided.items()},
            "calibration": best,
            "importances": falls,
            "reliability": {
                name: [asdict(b) for b in reliability(found, truth)] for name, found in (("with a scale", stated), ("without", unscaled))
            },
            "parity": parity,
            "model_bytes": len(model),
            "row_ms": timed(model),
            "rows": {"learnt": len(learnt), "tested": len(tested)},
            "truth": true_figures([*learnt, *tested]),
            "golden": table(tested, FEATURES)[:: max(1, len(tested) // GOLDEN_ROWS)][:GOLDEN_ROWS].tolist(),
            "seconds": round(self._spent_before() + time.monotonic() - began, 1),
        }
        self._write(model, results, scores, sets, (stated, unscaled), tested)
        return results

    def _spent_before(self) -> float:
        """Seconds of the runs that finished in this folder before."""
        try:
            return max(0.0, float(read_json(self.folder / RESULTS)["seconds"]))
        except (TrainingError, KeyError, TypeError, ValueError):
            return 0.0

    def _rows(self, watcher: Watcher) -> tuple[list[Row], list[Row]]:
        """The rows to learn from and to test on that the device would grade."""
        found = []
        for count, test in ((self.recipe.persons, False), (self.recipe.test_persons, True)):
            persons = list(draw_persons(count, self.seed, test=test))
            rows = measure_persons(
                self.folder / PERSONS, persons, fields=self.recipe.fields, workers=self.recipe.workers, advance=watcher.persons
            )
            kept = fitting.graded(rows)
            watcher.said(f"{len(rows)} rows of {count} persons, {len(rows) - len(kept)} left out for their quality")
            found.append(kept)
        return found[0], found[1]

    def _tested(
        self, estimator: Any, learnt: Sequence[Row], tested: Sequence[Row]
    ) -> tuple[dict[str, SeverityScores], NDArray[np.float64], NDArray[np.float64]]:
        """Scores by name (whole, each path, each range of scales, the baselines); what is stated of each row with a scale, and without."""
        stated, truth = fitting.probabilities(estimator, tested, FEATURES), fitting.grades_of(tested)
        unscaled = fitting.probabilities(estimator, tested, WITHOUT_SCALE)
        picked: dict[str, NDArray[np.bool_]] = {path: np.array([row.path == path for row in tested]) for path in PATHS}
        hood = np.array([row.person.hooded for row in tested])
        picked |= {f"at the hood's scale, {HOOD_UM_PER_PX[0]}–{HOOD_UM_PER_PX[1]} µm/px": hood, "at other scales": ~hood}
        scores = {"all test frames": score(stated, truth)}
        scores |= {name: score(stated[which], truth[which]) for name, which in picked.items() if which.any()}
        scores[WITHOUT] = score(unscaled, truth)
        scores |= {f"{WITHOUT}, {name}": score(unscaled[which], truth[which]) for name, which in picked.items() if which.any()}
        uncalibrated = fitting.fit(learnt, VIEWS, self.recipe, self.seed)
        scores["without calibration"] = score(fitting.probabilities(uncalibrated, tested, FEATURES), truth)
        scores["always the most frequent grade"] = score(majority(fitting.grades_of(learnt), len(tested)), truth)
        return scores, stated, unscaled

    def _importances(self, name: str, captures: Sequence[Sequence[Row]]) -> dict[str, tuple[float, float]]:
        names = fitting.FEATURE_SETS[name]
        estimator = fitting.fit(captures[0], (names,), self.recipe, self.seed)
        return fitting.importances(estimator, captures[1], names, self.seed)

    def _by(self, rows: Sequence[Row], stated: NDArray[np.float64], key: Callable[[Row], str]) -> dict[str, float]:
        right = stated.argmax(axis=1) == fitting.grades_of(rows)
        groups = np.array([key(row) for row in rows])
        return {str(group): round(float(right[groups == group].mean()), 4) for group in np.unique(groups)}

    def _write(
        self,
        model: bytes,
        results: dict[str, Any],
        scores: dict[str, SeverityScores],
        sets: dict[str, SeverityScores],
        stated: tuple[NDArray[np.float64], NDArray[np.float64]],
        tested: Sequence[Row],
    ) -> None:
        answer, truth = stated[0].argmax(axis=1), fitting.grades_of(tested)
        tables = {}
        for path in PATHS:
            which = np.array([row.path == path for row in tested])
            tables[path] = confusion(answer[which], truth[which])
        text = f"# Severity on rendered persons of unseen seeds\n\n{markdown(scores)}\n\n# Feature sets, on captures\n\n{markdown(sets)}\n"
        files = {
            CONFUSION: pictures.confusion_png(tables),
            IMPORTANCES: pictures.importances_png(results["importances"]),
            RELIABILITY: pictures.reliability_png(
                {name: reliability(found, truth) for name, found in zip(("with a scale", "without"), stated, strict=True)}
            ),
            TABLE: text.encode(),
            MODEL: model,
            RESULTS: (json.dumps(results, indent=1) + "\n").encode(),  # last: with it the training is finished
        }
        for name, content in files.items():
            write_atomically(self.folder / name, content)


def timed(model: bytes) -> dict[str, float]:
    """Milliseconds of one row on one thread of ONNX Runtime: median and 95th percentile."""
    row = np.full((1, len(FEATURES)), 10, np.float32)
    took = []
    with OnnxBackend(model, name="severity", threads=1) as backend:
        for _ in range(TIMED):
            began = time.perf_counter()
            backend.infer({INPUT: row})[PROBABILITIES]
            took.append((time.perf_counter() - began) * 1e3)
    return {"p50": round(float(np.median(took)), 4), "p95": round(float(np.quantile(took, 0.95)), 4)}


def true_figures(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """What the frames of each grade show in truth: mean hairs per cm² and share of terminal hair (from 30 µm), by label."""
    found = {}
    for grade, label in enumerate(LABELS):
        alike = [row for row in rows if row.person.severity == grade]
        if alike:
            per_cm2 = [row.true_hairs_per_cm2 for row in alike]
            found[label] = {
                "rows": float(len(alike)),
                "hairs_per_cm2": round(float(np.mean(per_cm2)), 1),
                "hairs_per_cm2_sd": round(float(np.std(per_cm2)), 1),
                "terminal_share": round(float(np.mean([row.true_terminal_share for row in alike])), 3),
            }
    return found


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a training's file.

    Raises:
        TrainingError: it is missing, too large, or no JSON object.
    """
    if not path.is_file():
        raise TrainingError(f"{path}: not there: name the folder of a severity training, or start one without --resume")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_STATE_BYTES + 1)
        found = json.loads(content) if len(content) <= MAX_STATE_BYTES else None
    except (OSError, ValueError, RecursionError) as problem:
        raise TrainingError(f"{path}: cannot be read ({problem}): --resume the training, or start anew") from problem
    if not isinstance(found, dict):
        raise TrainingError(f"{path}: not the file of a training: start anew in another folder")
    return found
