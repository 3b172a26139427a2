"""Connected patches of a mask, with what tells a flake from a glint and from a hair: area, mean paleness, slenderness, length."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SLENDER = 0.15  # width over length of what may be a pale hair that the mask misses
HAIR_LENGTH_UM = 200.0  # below this length slender things are scratches, rims and grains

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Patches:
    """All patches of a mask; entry 0 is the rest of the picture, with an area of 0.

    Attributes:
        labels: int32 (height, width).
        area_um2, paleness, slenderness (minor over major axis of inertia), length_um: float64 (n,).
    """

    labels: NDArray[np.int32]
    area_um2: Floats
    paleness: Floats
    slenderness: Floats
    length_um: Floats

    @property
    def like_hair(self) -> Mask:
        """bool (n,), long and thin."""
        return np.asarray((self.slenderness < SLENDER) & (self.length_um > HAIR_LENGTH_UM), np.bool_)

    def mask_of(self, chosen: Mask) -> Mask:
        """bool (height, width), the patches that are `chosen`, bool (n,)."""
        return np.asarray(chosen[self.labels], np.bool_)


def patches_of(mask: Mask, pale: NDArray[np.float32], um_per_px: float) -> Patches:
    """The 8-connected patches of `mask`, bool (height, width); `pale` float32 of the same size."""
    count, labels, stats, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    y, x = np.nonzero(mask)
    of = labels[y, x]
    n = np.maximum(np.bincount(of, minlength=count), 1).astype(np.float64)
    dx, dy = x - centres[of, 0], y - centres[of, 1]
    pixel = 1 / 12  # a pixel's own extent
    xx = np.bincount(of, dx * dx, count) / n + pixel
    yy = np.bincount(of, dy * dy, count) / n + pixel
    xy = np.bincount(of, dx * dy, count) / n
    half = np.sqrt((xx - yy) ** 2 / 4 + xy * xy)
    major, minor = (xx + yy) / 2 + half, np.maximum((xx + yy) / 2 - half, pixel / 4)
    area = stats[:, cv2.CC_STAT_AREA].astype(np.float64) * um_per_px**2
    area[0] = 0
    return Patches(
        np.asarray(labels, np.int32),
        area,
        np.bincount(of, pale[y, x], count) / n,
        np.sqrt(minor / major),
        np.sqrt(12 * major) * um_per_px,
    )
