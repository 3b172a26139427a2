"""How far a network's masks can be trusted, fitted on rendered frames whose true masks are known: reliability and familiarity."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from export.errors import ConversionError
from runtime.analysis.learned import FIGURES, uncertainty_figures
from runtime.bundles.manifest import Trust

RIDGE = 1e-3
BEYOND = 1.1
"""A picture is unfamiliar beyond this multiple of the distance that 99.5 % of the rendered frames stay within."""
SHRINKAGE = 0.1
"""How much of the features' correlation is not believed, so that axes that hardly vary on rendered frames do not decide alone."""

Sample = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]


def mask_dice(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Dice of two masks, 1 where both are empty."""
    total = int(found.sum()) + int(true.sum())
    return 2 * int((found & true).sum()) / total if total else 1.0


def fit_trust(samples: Iterable[Sample], threshold: float) -> tuple[Trust, dict[str, float]]:
    """The trust of a network and figures about the fit, from (soft mask, features, true mask) of rendered frames.

    Reliability is the ridge regression of true Dice on the uncertainty figures, over frames with hair.

    Raises:
        ConversionError: fewer frames than there are figures to fit.
    """
    figures, features, dice = [], [], []
    for soft, feature, truth in samples:
        features.append(feature)
        if truth.any():
            figures.append(uncertainty_figures(soft))
            dice.append(mask_dice(soft >= threshold, truth))
    if len(figures) <= 2 * FIGURES:
        raise ConversionError(f"{len(figures)} frames with hair are too few to fit the reliability: at least {2 * FIGURES + 1}")
    x, y = np.array(figures), np.array(dice)
    spread = x.std(0) + 1e-6
    z = (x - x.mean(0)) / spread
    slope = np.linalg.solve(z.T @ z + RIDGE * len(z) * np.eye(FIGURES), z.T @ (y - y.mean()))
    weights = slope / spread
    constant = y.mean() - float(weights @ x.mean(0))
    mean, axes, distance = familiarity(np.array(features, np.float64))
    trust = Trust(
        features=tuple(round(float(v), 6) for v in mean),
        feature_axes=tuple(tuple(float(f"{v:.6g}") for v in row) for row in axes),
        unfamiliar_above=round(float(np.quantile(distance, 0.995)) * BEYOND, 4),
        weights=(*(round(float(v), 5) for v in weights), round(constant, 5)),
    )
    fitted = x @ weights + constant
    return trust, {"reliability_rank_correlation": rank_correlation(fitted, y), "reliability_mae": float(np.abs(fitted - y).mean())}


def familiarity(
    features: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean (c,), whitening axes (c, c) and each row's distance (n,) of features (n, c): the Mahalanobis distance by root of c.

    The correlation is shrunk towards none (Ledoit and Wolf 2004, with a fixed share).
    """
    mean = features.mean(0)
    spread = features.std(0) + 0.05 * features.std() + 1e-9
    z = (features - mean) / spread
    correlation = (1 - SHRINKAGE) * (z.T @ z) / max(1, len(z) - 1) + SHRINKAGE * np.eye(z.shape[1])
    values, vectors = np.linalg.eigh(correlation)
    axes = (vectors / np.sqrt(values)).T / spread
    distance = np.sqrt(np.mean(((features - mean) @ axes.T) ** 2, 1))
    return mean, np.asarray(axes, np.float64), np.asarray(distance, np.float64)


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's rank correlation of two samples without regard to ties; 0 where one does not vary."""
    ranks = [np.argsort(np.argsort(v)).astype(np.float64) for v in (a, b)]
    if min(np.ptp(a), np.ptp(b)) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
