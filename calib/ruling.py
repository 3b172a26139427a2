"""Errors of ruled lines: every point of a line shares the ruling's own error, and neighbouring lines err alike.

On two photographs of a bought stage micrometer the lines lie up to 0.1 µm off, smoothly over several of them. Least squares that took
each point for itself would explain that by a distortion of the lens, and be sure of it. So the errors of a ruler's points get a covariance
V = D + Z K Zᵀ: their own (D, diagonal), and their line's with K = τ²·exp(−|Δ number| / REACH) (generalised least squares; Aitken 1935).
V is inverted by Woodbury's identity, so that the cost grows with the points and not with their square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

REACH = 4.0  # lines after which an error is mostly another
FIRST_TAU, LEAST_TAU, MOST_TAU = 0.01, 0.001, 0.01  # of the pitch: before anything is known, and what is weighed by afterwards
NO_TAU = 1e-4  # of the pitch; lines that err by less than this are a drawing's
FREE = 6  # parameters that take part of the lines' scatter
LEAST_OWN = 0.3  # of the finder's stated standard error


@dataclass(frozen=True, eq=False)
class RulingErrors:
    """The inverse covariance of n points on m lines, in units of the finder's stated standard errors."""

    line: Indices  # (n,), 0 … m − 1
    weight: Floats  # (n,), D⁻¹
    share: Floats  # (n,), what one unit of a line's error is to a point: 1 / its standard error
    core: Floats  # (m, m), (K⁻¹ + Zᵀ D⁻¹ Z)⁻¹

    def weighed(self, table: Floats) -> Floats:
        """V⁻¹ · table, float64 (n, k)."""
        own = self.weight[:, None] * table
        sums = np.zeros((len(self.core), table.shape[1]))
        np.add.at(sums, self.line, self.share[:, None] * own)
        return np.asarray(own - (self.weight * self.share)[:, None] * (self.core @ sums)[self.line], np.float64)


def ruling_errors(rest: Floats, std: Floats, line: Indices, at: Floats, trust: Floats, *, known: bool, bounded: bool) -> RulingErrors:
    """What the residuals say of the errors.

    Args:
        rest: (n,), residuals over `std`.
        std: (n,), the finder's standard errors, in the unit of `at`.
        line: (n,), each point's line, from 0.
        at: (m,), where each line lies along the ruler.
        trust: (n,), 0…1, how far each point is a point of its line.
        known: whether the residuals are those of a fit; else the lines are taken to err as much as they may.
        bounded: hold τ within what a ruler's errors are weighed by; else it is what the lines show, as an uncertainty must be.
    """
    pitch = float(np.median(np.diff(np.sort(at))))
    count = np.bincount(line, trust, len(at))
    mean = np.bincount(line, trust * rest, len(at)) / np.maximum(count, 1e-9)
    own = max(float(np.median(np.abs(rest - mean[line]))) / 0.6745, LEAST_OWN)
    tau = FIRST_TAU * pitch
    if known:
        freedom = len(at) / max(len(at) - FREE, 0.3 * len(at))
        shared = float(np.mean(mean**2)) * freedom - own**2 / max(float(count.mean()), 1.0)
        tau = float(np.sqrt(max(shared, 0.0)) * std.mean())
        tau = float(np.clip(tau, LEAST_TAU * pitch, MOST_TAU * pitch)) if bounded else max(tau, NO_TAU * pitch)
    alike = np.exp(-np.abs(at[:, None] - at) / (REACH * pitch))
    share, weight = 1 / std, trust / own**2
    core = np.linalg.inv(np.linalg.inv(tau**2 * alike) + np.diag(np.bincount(line, weight * share * share, len(at))))
    return RulingErrors(line, weight, share, core)
