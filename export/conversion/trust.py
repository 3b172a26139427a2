"""How far a network's masks can be trusted, fitted on rendered frames whose true masks are known: reliability and familiarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.errors import ConversionError
from runtime.analysis.learned import FIGURES, faint_hair, hair_pieces, uncertainty_figures
from runtime.bundles.roles import Trust

THRESHOLDS, FAINT_THRESHOLDS = (0.35, 0.4, 0.45, 0.5, 0.55), (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
RIDGE = 1e-3
BEYOND = 1.1
"""A picture is unfamiliar beyond this multiple of the distance that 99.5 % of the rendered frames stay within."""
SHRINKAGE = 0.1
"""How much of the features' correlation is not believed, so that axes that hardly vary on rendered frames do not decide alone."""


@dataclass(frozen=True, eq=False)
class Sample:
    """What a network says of one rendered frame, and the truth.

    Attributes:
        soft: float32 (height, width), probability of hair.
        faintness: float32 (height / 2, width / 2).
        features: float32 (c,).
        truth: bool (height, width), hair that counts.
    """

    kind: str
    soft: NDArray[np.float32]
    faintness: NDArray[np.float32]
    features: NDArray[np.float32]
    truth: NDArray[np.bool_]

    def found(self, threshold: float, faint_threshold: float) -> NDArray[np.bool_]:
        """The mask at these thresholds, as the segmenter makes it."""
        faint = faint_hair(self.soft, self.faintness, faint_threshold)
        return hair_pieces(self.soft if faint is None else np.where(faint, np.float32(0), self.soft), threshold)


def mask_dice(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Dice of two masks, 1 where both are empty."""
    total = int(found.sum()) + int(true.sum())
    return 2 * int((found & true).sum()) / total if total else 1.0


def best_thresholds(samples: Sequence[Sample]) -> tuple[float, float]:
    """The threshold of the probability and that of the faintness with the greatest mean Dice over `samples`."""

    def mean_dice(threshold: float, faint_threshold: float) -> float:
        return float(np.mean([mask_dice(s.found(threshold, faint_threshold), s.truth) for s in samples if s.truth.any()]))

    faint = max(FAINT_THRESHOLDS, key=lambda f: mean_dice(THRESHOLDS[len(THRESHOLDS) // 2], f))
    return max(THRESHOLDS, key=lambda t: mean_dice(t, faint)), faint


def fit_trust(samples: Sequence[Sample], threshold: float, faint_threshold: float) -> tuple[Trust, dict[str, float]]:
    """The trust of a network and figures about the fit, from rendered frames.

    Reliability is the ridge regression of true Dice on the uncertainty figures, over frames with hair.

    Raises:
        ConversionError: fewer frames than there are figures to fit.
    """
    figures, features, dice = [], [], []
    for sample in samples:
        features.append(sample.features)
        if sample.truth.any():
            figures.append(uncertainty_figures(sample.soft))
            dice.append(mask_dice(sample.found(threshold, faint_threshold), sample.truth))
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
