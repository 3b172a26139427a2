"""The random-forest baseline: what a person would tabulate of records and markers, and, in a second forest, of the picture too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.persons import HALF_LIFE, MARKERS
from export.training.forecast.batches import People
from export.training.forecast.recipe import ForecastRecipe

DARKER = 0.75  # of the picture's median grey: taken for hair


def records_table(found: People) -> NDArray[np.float64]:
    """Of each series its mean, recent mean, last value, slope and how often it is there; the number of months; markers one-hot.

    float64 (n, columns); what is not known is 0, the mean.
    """
    series = found.records.shape[2] // 2
    values, there = found.records[..., :series].astype(np.float64), found.records[..., series:].astype(np.float64)
    ago = (found.cohort.lengths[:, None] - 1 - np.arange(values.shape[1]))[..., None].astype(np.float64)
    count = np.maximum(there.sum(1), 1)
    mean = (values * there).sum(1) / count
    recent = there * 0.5 ** (np.maximum(ago, 0) / HALF_LIFE)
    weighted = (values * recent).sum(1) / np.maximum(recent.sum(1), 1e-9)
    latest = there * (np.where(there > 0, -ago, -np.inf) == np.where(there > 0, -ago, -np.inf).max(1, keepdims=True))
    last = (values * latest).sum(1)
    centre = (ago * there).sum(1) / count
    spread = ((ago - centre[:, None]) ** 2 * there).sum(1)
    slope = -((ago - centre[:, None]) * (values - mean[:, None]) * there).sum(1) / np.maximum(spread, 1.0)
    columns = [mean, weighted, last, slope, there.mean(1), found.cohort.lengths[:, None].astype(np.float64)]
    columns += [np.eye(len(marker.values) + 1)[found.cohort.markers[:, i]] for i, marker in enumerate(MARKERS)]
    return np.concatenate(columns, 1)


def picture_table(found: People) -> NDArray[np.float64]:
    """Of each picture: mean and spread of its grey, share of dark pixels, mean slope of the grey. float64 (n, 4)."""
    rows = []
    for picture in found.cohort.pictures:
        grey = picture.astype(np.float32).mean(2)
        light = float(np.quantile(grey, 0.9))
        slope = float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())
        rows.append((float(grey.mean()) / light, float(grey.std()) / light, float(np.mean(grey < DARKER * light)), slope / light))
    return np.array(rows, np.float64)


def forest_probabilities(
    learnt: NDArray[np.float64], targets: NDArray[np.int64], asked: NDArray[np.float64], recipe: ForecastRecipe, seed: int, labels: int
) -> NDArray[np.float64]:
    """Of each label for the rows `asked`, float64 (m, labels), by a forest that has learnt from `learnt`."""
    from sklearn.ensemble import RandomForestClassifier

    forest: Any = RandomForestClassifier(recipe.trees, min_samples_leaf=5, random_state=seed % 2**32, n_jobs=1)
    forest.fit(learnt, targets)
    found = np.zeros((len(asked), labels))
    found[:, forest.classes_] = forest.predict_proba(asked)
    return found
