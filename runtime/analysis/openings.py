"""The openings of the skin (ostia) as the segmentation network sees them: a heat map beside the mask, of evidence and of peaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.segmentation import Mask
from runtime.analysis.skeleton import Floats

AHEAD_WIDTHS = (-0.5, 0.0, 0.5, 1.0)  # along the course from a hair's end: the visible end lies a little before the opening, or in it
AROUND_WIDTHS = (0.75, 1.5)  # radii of the rings around an end on which an opening may lie too
RING_POINTS, ARM_POINTS = 8, 48
ARMS_MOST = 6
LEAST_WIDTH_PX = 4.0
CERTAIN = 1e-3  # probabilities nearer to 0 or 1 are not believed
PEAK_SPACING_PX = 10  # of pictures 640 px wide: two openings are not nearer
PEAK_FIELD_PX = 640


def sampled(plane: NDArray[Any], points: Floats) -> Floats:
    """`plane` (height, width, …) at the pixels nearest to `points`, float64 (…, 2) x and y; the border's pixel for what lies beyond."""
    columns = np.clip(np.rint(points[..., 0]).astype(np.int64), 0, plane.shape[1] - 1)
    rows = np.clip(np.rint(points[..., 1]).astype(np.int64), 0, plane.shape[0] - 1)
    return np.asarray(plane[rows, columns], np.float64)


def log_odds(probability: Floats) -> Floats:
    """ln(p / (1 − p)), what is all but certain taken for CERTAIN."""
    p = np.clip(probability, CERTAIN, 1 - CERTAIN)
    return np.asarray(np.log(p / (1 - p)))


@dataclass(frozen=True, eq=False)
class Heat:
    """The heat map of openings at half size: float32 (⌈height / 2⌉, ⌈width / 2⌉) `plane`, blurred a little, of what is no number 0."""

    plane: NDArray[np.float32]

    @staticmethod
    def of(probability: NDArray[np.float32]) -> Heat:
        """From the probability of an opening at each pixel, float32 (height, width)."""
        half = np.fmin(np.fmax(probability[::2, ::2], np.float32(0)), np.float32(1))
        return Heat(np.asarray(cv2.blur(half, (3, 3)), np.float32))

    def odds_ahead(self, position: Floats, outward: Floats, width: Floats) -> Floats:
        """Log odds of an opening in or just before the end of a hair, float64 (ends,).

        `position` and `outward`, float64 (ends, 2), are pixel coordinates and unit vectors away from the hair; `width` float64 (ends,) px.
        """
        reach = np.maximum(width, LEAST_WIDTH_PX)[:, None] * np.array(AHEAD_WIDTHS)
        at = position[:, None] + outward[:, None] * reach[:, :, None]
        return log_odds(sampled(self.plane, at / 2).max(1, initial=0.0))

    def odds_around(self, position: Floats, width: float) -> Floats:
        """Log odds of an opening within AROUND_WIDTHS times `width` px of each of `position`, float64 (n, 2); float64 (n,)."""
        rings = [ring(RING_POINTS) * far * width for far in AROUND_WIDTHS]
        return log_odds(sampled(self.plane, (position[:, None] + np.concatenate([np.zeros((1, 2)), *rings])) / 2).max(1, initial=0.0))

    def peaks(self, least: float) -> tuple[Floats, Floats]:
        """(where, float64 (n, 2) x and y in pixels, log odds float64 (n,)) of the peaks of probability `least` or more, strongest first."""
        few = self.plane
        side = 2 * round(PEAK_SPACING_PX / 2 * max(1.0, 2 * max(few.shape) / PEAK_FIELD_PX)) + 1
        rows, columns = np.nonzero((few >= cv2.dilate(few, np.ones((side, side), np.uint8))) & (few >= least))
        order = np.argsort(-few[rows, columns], kind="stable")
        rows, columns = rows[order], columns[order]
        # a plateau has many equal peaks: the first of those within the spacing stands for it. Asked for by places, not by pairs: a map
        # that is the same all over has as many peaks as pixels
        near, taken = side // 2, np.zeros(few.shape, np.bool_)
        kept: list[int] = []
        for number, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            if not taken[row, column]:
                taken[max(0, row - near) : row + near + 1, max(0, column - near) : column + near + 1] = True
                kept.append(number)
        rows, columns = rows[kept], columns[kept]
        return np.stack([columns, rows], axis=1).astype(np.float64) * 2, log_odds(few[rows, columns].astype(np.float64))

    def spread(self, least: float) -> float:
        """Share of the picture in which the probability of an opening is above `least`."""
        return float(np.count_nonzero(self.plane > least) / self.plane.size)


def ring(count: int) -> Floats:
    """Unit vectors all around, float64 (count, 2)."""
    angle = np.arange(count) * (2 * np.pi / count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@dataclass(frozen=True, eq=False)
class Arms:
    """Hair that reaches from places to a ring around them, arrays over places.

    Attributes:
        count: float64 (n,), arcs of the ring that are hair, ARMS_MOST at most.
        share: float64 (n,), share of the ring that is hair.
        way: float64 (n, 2), the mean direction of that hair, not of unit length: 0 where it lies on opposite sides.
    """

    count: Floats
    share: Floats
    way: Floats


def arms(mask: Mask, position: Floats, radius: float) -> Arms:
    """The hair of `mask`, bool (height, width), on a ring of `radius` px around each of `position`, float64 (n, 2)."""
    directions = ring(ARM_POINTS)
    at = position[:, None] + directions * radius
    within = (at >= 0).all(2) & (at[..., 0] <= mask.shape[1] - 1) & (at[..., 1] <= mask.shape[0] - 1)
    hair = (sampled(mask, at) > 0) & within
    share = hair.mean(1)
    count = np.minimum((hair & ~np.roll(hair, 1, axis=1)).sum(1), ARMS_MOST).astype(np.float64)
    way = (hair.astype(np.float64) @ directions) / ARM_POINTS / np.maximum(share, 1.5 / ARM_POINTS)[:, None]
    return Arms(count, share, way)
