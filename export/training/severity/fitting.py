"""A classifier fitted to the figures of rendered persons, and what is decided on the persons that it learnt from alone.

Persons are never split: all rows of one, live and captured, lie on the same side of every division.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import TrainingError
from export.evaluation.severity import GRADES, SeverityScores, score
from export.training.severity.measuring import PAPER, SCALED, UNSCALED, VIEWS, WITHOUT_SCALE, Row, table
from export.training.severity.recipe import SeverityRecipe
from runtime.analysis.severity import FEATURES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEATURE_SETS: dict[str, tuple[str, ...]] = {
    "hair count alone": ("hair_count",),
    "amount: samples and hairs": ("thickness_samples", "hair_count"),
    "thickness: means and medians": FEATURES[1:5],
    "six (shipped)": FEATURES,
    "six, without a scale": WITHOUT_SCALE,
    "the paper's six, of the mask": PAPER,
    "extended, without a scale": UNSCALED,
    "six and extended, without a scale": (*WITHOUT_SCALE, *UNSCALED),
    "extended, with a scale": (*UNSCALED, *SCALED),
    "six and extended, with a scale": (*FEATURES, *UNSCALED, *SCALED),
}
"""As in the paper's Table 7: what is read, and how far it carries. No grade of a condition is among the features."""

Views = tuple[tuple[str, ...], ...]


def graded(rows: Sequence[Row]) -> list[Row]:
    """The rows that the device would grade: frames whose quality is ok."""
    return [row for row in rows if row.quality_ok]


def grades_of(rows: Sequence[Row]) -> Ints:
    """The true grades, int64 (rows,)."""
    return np.array([row.person.severity for row in rows], np.int64)


def check_grades(rows: Sequence[Row], what: str, persons: int = 1) -> None:
    """Raises TrainingError where a grade has rows of fewer than `persons` persons: some fold would not learn it, or nothing test it."""
    for grade in range(GRADES):
        there = len({row.person for row in rows if row.person.severity == grade})
        if there < persons:
            raise TrainingError(f"{what}: {there} of severity {grade} with a usable frame, {persons} are needed: take more persons")


def classifier(recipe: SeverityRecipe, seed: int) -> Any:
    """The gradient boosting of the recipe, not fitted."""
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(
        learning_rate=recipe.rate,
        n_estimators=recipe.trees,
        max_depth=recipe.depth,
        subsample=recipe.subsample,
        min_samples_leaf=recipe.leaf,
        random_state=seed,
    )


def person_folds(rows: Sequence[Row], folds: int, seed: int) -> list[tuple[Ints, Ints]]:
    """`folds` divisions of the rows (learnt from, held out), persons whole and each grade spread evenly over them."""
    persons = sorted({row.person for row in rows}, key=lambda person: (person.severity, person.seed))
    rng = np.random.default_rng([seed, 14])
    fold_of = {}
    for grade in range(GRADES):
        alike = [person for person in persons if person.severity == grade]
        for place, index in enumerate(rng.permutation(len(alike)).tolist()):
            fold_of[alike[index]] = place % folds
    fold = np.array([fold_of[row.person] for row in rows])
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]


def calibrated(recipe: SeverityRecipe, rows: Sequence[Row], seed: int) -> Any:
    """The classifier with a sigmoid for each grade, to be fitted to what it says of persons of `rows` that it has not learnt from.

    A sigmoid is exact in ONNX; isotonic calibration is not.
    """
    from sklearn.calibration import CalibratedClassifierCV

    return CalibratedClassifierCV(classifier(recipe, seed), method="sigmoid", ensemble=False, cv=person_folds(rows, recipe.folds, seed + 1))


def fit(rows: Sequence[Row], views: Views, recipe: SeverityRecipe, seed: int, *, calibrate: bool = False) -> Any:
    """A classifier fitted to `rows`, each as often as there are `views`: names of as many figures each."""
    seen = [row for _ in views for row in rows]
    given = np.concatenate([table(list(rows), names) for names in views])
    made = calibrated(recipe, seen, seed) if calibrate else classifier(recipe, seed)
    return made.fit(given, grades_of(seen))


def probabilities(estimator: Any, rows: Sequence[Row], names: tuple[str, ...]) -> Floats:
    """What a fitted classifier states for `rows`, float64 (rows, 4)."""
    return np.asarray(estimator.predict_proba(table(list(rows), names)), np.float64)


def held_out(rows: Sequence[Row], recipe: SeverityRecipe, seed: int, *, calibrate: bool) -> SeverityScores:
    """Scores of the six features over the persons learnt from, each stated by a classifier that has not seen the person.

    Frames count twice, with their scale and without.
    """
    stated = np.zeros((len(VIEWS), len(rows), GRADES))

    def one(fold: tuple[Ints, Ints]) -> None:
        learnt, out = ([rows[i] for i in part.tolist()] for part in fold)
        estimator = fit(learnt, VIEWS, recipe, seed, calibrate=calibrate)
        for view, names in enumerate(VIEWS):
            stated[view, fold[1]] = probabilities(estimator, out, names)

    with ThreadPoolExecutor(recipe.workers) as pool:  # trees are grown without holding the interpreter
        list(pool.map(one, person_folds(rows, recipe.folds, seed)))
    return score(stated.reshape(-1, GRADES), np.tile(grades_of(rows), len(VIEWS)))


def compare_sets(learnt: Sequence[Row], tested: Sequence[Row], recipe: SeverityRecipe, seed: int) -> dict[str, SeverityScores]:
    """Scores of each of FEATURE_SETS on `tested`, a classifier of its own fitted to `learnt`; rows of captures, for all have these."""

    def one(names: tuple[str, ...]) -> SeverityScores:
        return score(probabilities(fit(learnt, (names,), recipe, seed), tested, names), grades_of(tested))

    with ThreadPoolExecutor(recipe.workers) as pool:
        return dict(zip(FEATURE_SETS, pool.map(one, FEATURE_SETS.values()), strict=True))


def importances(
    estimator: Any, rows: Sequence[Row], names: tuple[str, ...], seed: int, repeats: int = 10
) -> dict[str, tuple[float, float]]:
    """By how much accuracy falls when a figure is shuffled among `rows`: mean and standard deviation over `repeats`, by name."""
    rng = np.random.default_rng([seed, 15])
    given, true = table(list(rows), names), grades_of(rows)
    whole = float(np.mean(estimator.predict(given) == true))
    found = {}
    for column, name in enumerate(names):
        falls = []
        for _ in range(repeats):
            shuffled = given.copy()
            shuffled[:, column] = given[rng.permutation(len(given)), column]
            falls.append(whole - float(np.mean(estimator.predict(shuffled) == true)))
        found[name] = (round(float(np.mean(falls)), 4), round(float(np.std(falls)), 4))
    return found
