"""A curved band over a picture: for every pixel near a course, where along it and how far across it the pixel lies.

Everything long and thin on the stage (shafts, their shadows, roots under the skin) is painted through it. It works on stretches of a
course at a time: a distance transform tells each pixel its nearest sample, the sample's tangent then gives exact offsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from device.simulated.fields import Field

STRETCH = 96  # samples treated at once: short enough for a small bounding box, long enough to keep calls few
PIXEL_SIGMA = 0.29  # standard deviation of a pixel's box, √(1/12)


@dataclass(frozen=True, eq=False)
class Course:
    """A course sampled about every pixel. `at` says where each sample lies in the points it was made from (fractional index)."""

    x: Field
    y: Field
    tx: Field
    ty: Field
    at: NDArray[np.float64]

    def along(self, values: NDArray[np.float64]) -> Field:
        """Values given at the original points, at the samples."""
        return np.interp(self.at, np.arange(len(values)), values).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Band:
    """The pixels near a course, each once.

    Attributes:
        pixel: int64 (k,), flat index into the picture.
        sample: int64 (k,), its sample on the course.
        across: float32 (k,), signed distance from the centre line in px, positive to the right of the direction of travel.
        cap: float32 (k,), 1 along the course falling to 0 beyond its ends.
    """

    pixel: NDArray[np.int64]
    sample: NDArray[np.int64]
    across: Field
    cap: Field


def course_of(points_px: NDArray[np.float64]) -> Course:
    """The course through points (n ≥ 2, 2) in px."""
    steps = np.hypot(*np.diff(points_px, axis=0).T)
    arc = np.concatenate([[0.0], np.cumsum(np.maximum(steps, 1e-6))])
    count = max(2, math.ceil(arc[-1]) + 1)
    at = np.interp(np.linspace(0, arc[-1], count), arc, np.arange(len(arc)))
    x, y = (np.interp(at, np.arange(len(arc)), points_px[:, k]) for k in (0, 1))
    tx, ty = np.gradient(x), np.gradient(y)
    norm = np.maximum(np.hypot(tx, ty), 1e-6)
    return Course(x.astype(np.float32), y.astype(np.float32), (tx / norm).astype(np.float32), (ty / norm).astype(np.float32), at)


def band_of(course: Course, reach_px: float, shape: tuple[int, int], slant: float = 0.0) -> Band | None:
    """The pixels of a (height, width) picture within `reach_px` of the course; None where there are none.

    `slant` is the tangent of the angle by which the cut at its end is off the perpendicular.
    """
    height, width = shape
    count = len(course.x)
    overlap = math.ceil(reach_px) + 3
    found: list[tuple[NDArray[np.int64], ...]] = []
    for start in range(0, count, STRETCH):
        stop = min(start + STRETCH, count)
        low, high = max(0, start - overlap), min(count, stop + overlap)
        x, y = course.x[low:high], course.y[low:high]
        core_x, core_y = course.x[start:stop], course.y[start:stop]
        x0, y0 = math.floor(float(core_x.min()) - reach_px) - 1, math.floor(float(core_y.min()) - reach_px) - 1
        x1, y1 = math.ceil(float(core_x.max()) + reach_px) + 2, math.ceil(float(core_y.max()) + reach_px) + 2
        margin = overlap
        x0, y0 = max(x0, -margin), max(y0, -margin)
        x1, y1 = min(x1, width + margin), min(y1, height + margin)
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height or x1 <= x0 or y1 <= y0:
            continue
        column, row = np.rint(x).astype(np.int64) - x0, np.rint(y).astype(np.int64) - y0
        inside = (column >= 0) & (row >= 0) & (column < x1 - x0) & (row < y1 - y0)
        if not inside.any():
            continue
        column, row = column[inside], row[inside]
        seeds = np.full((y1 - y0, x1 - x0), 255, np.uint8)
        seeds[row, column] = 0
        far, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        sample_of = np.zeros(int(labels.max()) + 1, np.int64)
        sample_of[labels[row, column]] = np.flatnonzero(inside) + low
        near = np.flatnonzero(far.ravel() <= reach_px + 1)
        sample = sample_of[labels.ravel()[near]]
        py, px = near // (x1 - x0) + y0, near % (x1 - x0) + x0
        keep = (sample >= start) & (sample < stop) & (px >= 0) & (py >= 0) & (px < width) & (py < height)
        if keep.any():
            found.append((py[keep], px[keep], sample[keep]))
    if not found:
        return None
    rows, columns, samples = (np.concatenate(part) for part in zip(*found, strict=True))
    along = _offset(course, samples, columns, rows)[0]
    samples = np.clip(samples + np.rint(along).astype(np.int64), 0, count - 1)
    along, across = _offset(course, samples, columns, rows)
    cap = np.ones(len(samples), np.float32)
    for end, outward in ((0, -along), (count - 1, along)):
        at_end = samples == end
        cap[at_end] = np.clip(0.5 - outward[at_end], 0, 1)
    if slant:
        beyond = samples - (count - 1) + along + np.float32(slant) * across
        near_end = samples > count - 2 - math.ceil((abs(slant) + 0.1) * reach_px)
        cap[near_end] = np.clip(0.5 - beyond[near_end], 0, 1)
    return Band(rows * width + columns, samples, across, cap)


def _offset(course: Course, sample: NDArray[np.int64], column: NDArray[np.int64], row: NDArray[np.int64]) -> tuple[Field, Field]:
    dx, dy = column.astype(np.float32) - course.x[sample], row.astype(np.float32) - course.y[sample]
    tx, ty = course.tx[sample], course.ty[sample]
    return dx * tx + dy * ty, dy * tx - dx * ty


def soft_cover(across: Field, width: Field, sigma: Field) -> Field:
    """Share of light that a bar of `width` px takes at `across` px from its middle: a bar ∗ a Gaussian of `sigma` px."""
    root = np.float32(math.sqrt(2)) * sigma
    return np.asarray(0.5 * (erf((across + width / 2) / root) - erf((across - width / 2) / root)), np.float32)


def pixel_cover(across: Field, width: Field) -> Field:
    """Share of a pixel that a sharp bar of `width` px covers when its middle passes at `across` px."""
    return np.asarray(np.clip(np.minimum(across + 0.5, width / 2) - np.maximum(across - 0.5, -width / 2), 0, 1), np.float32)
