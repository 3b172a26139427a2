"""Round dark dots on white ground: where some lie, quickly, and where the edges of each lie, finely.

The first look is at a reduced picture: what is darker than a share of the brightest nearby, in round pieces. The second follows rays
from each dot's middle through the picture at full size: the darkness summed along a ray is the distance of the edge, at any blur that
is the same on all sides, and rays that a hair crosses stand out among the others and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Grey = NDArray[np.uint8]
Singles = NDArray[np.float32]
Complexes = NDArray[np.complex128]  # places in the picture, x + iy, px

DARK = 0.52  # of the brightest nearby: what is darker may be a dot
COARSE = 4  # the brightest nearby is looked for in a picture so many times smaller again
REACH = 11  # of its pixels, larger than any dot that is looked for
SPOT_PX = (3, 46)  # sides of a spot's box, px of the reduced picture
FILL = (0.5, 0.95)  # of its box; a disc fills 0.785
MAX_SPOTS = 200  # more are no ring's: only so many of the roundest are looked at
RAYS = 24
WINDOW = 0.48  # of the spacing: how far out from the middle a ray goes; half of the gap to a neighbour
LEAST_RAYS = 14
LEAST_CONTRAST = 0.35  # of white, between ground and the middle of a dot
UNEVEN = 0.12  # of the ground's light: rays that end in something else do not tell it
LOOSE = 0.5  # of the median: edges of rays further from it are no edges
ROUGH = 0.06  # of the spacing: where the rays' ends scatter so much there is no round dot
INK_RANK = 0.85  # of the dots' contrasts: the middles of small and blurred ones are not as dark as the ink
FLOOR_PX = 0.02  # no dot's centre is known better than this

_ANGLES = np.arange(RAYS) * (2 * np.pi / RAYS)
_HARMONICS = np.stack([np.ones(RAYS), np.cos(_ANGLES), np.sin(_ANGLES)], 1).astype(np.float32)
_MEANS = _HARMONICS * np.array([1, 2, 2], np.float32) / np.float32(RAYS)


@dataclass(frozen=True, eq=False)
class Discs:
    """n dots as measured.

    Attributes:
        centres: complex128 (n,), x + iy, px.
        radii: float64 (n,), px.
        std_px: float64 (n,), standard error of a centre's coordinate.
        good: bool (n,), whether there is a whole dot on even ground.
    """

    centres: Complexes
    radii: Floats
    std_px: Floats
    good: Bools


def dark_spots(green: Grey, step: int) -> tuple[Complexes, Floats]:
    """Round dark pieces of a picture, uint8 (height, width), reduced by `step`: centres (k,) and diameters (k,), px of the whole picture.

    At most MAX_SPOTS; centres are right to about a quarter of `step` px.
    """
    height, width = green.shape
    small = cv2.resize(green, (width // step, height // step), interpolation=cv2.INTER_AREA) if step > 1 else green
    least = np.ascontiguousarray(cv2.dilate(small, np.ones((COARSE + 1, COARSE + 1), np.uint8))[::COARSE, ::COARSE])
    bright = cv2.boxFilter(cv2.dilate(least, np.ones((REACH, REACH), np.uint8)), -1, (3, 3))
    level = cv2.resize(cv2.convertScaleAbs(bright, alpha=DARK), small.shape[::-1], interpolation=cv2.INTER_LINEAR)
    dark = cv2.compare(small, level, cv2.CMP_LT)
    # eight neighbours by this algorithm take 0.3 ms, four by the default one 0.45
    _, _, stats, centres = cv2.connectedComponentsWithStatsWithAlgorithm(dark, 8, cv2.CV_16U, cv2.CCL_BOLELLI)
    left, top, wide, high, area = stats[1:].T
    fill = area / (wide * high)
    round_ = (wide >= SPOT_PX[0]) & (high >= SPOT_PX[0]) & (wide <= SPOT_PX[1]) & (high <= SPOT_PX[1]) & (fill > FILL[0]) & (fill < FILL[1])
    longer, shorter = np.maximum(wide, high), np.minimum(wide, high)
    round_ &= longer <= 1.35 * shorter + 1
    round_ &= (left > 0) & (top > 0) & (left + wide < small.shape[1]) & (top + high < small.shape[0])
    chosen = np.flatnonzero(round_)
    if len(chosen) > MAX_SPOTS:
        chosen = chosen[np.argsort(np.abs(fill[chosen] - np.pi / 4), kind="stable")[:MAX_SPOTS]]
    found = centres[1:][chosen] + 0.5
    places = found[:, 0] * (width / small.shape[1]) - 0.5 + 1j * (found[:, 1] * (height / small.shape[0]) - 0.5)
    return places, np.sqrt(area[chosen] * (4 / np.pi)) * step


def measure_discs(green: Grey, centres: Complexes, spacing_px: Floats) -> Discs:
    """Dots about `centres` (n,), px to within a tenth of their spacing; `spacing_px` (n,) from dot to dot of their row."""
    n = len(centres)
    samples = int(np.clip(np.ceil(WINDOW * spacing_px.max()), 8, 48))
    reach = (WINDOW * spacing_px).astype(np.float32)
    out = (np.arange(samples, dtype=np.float32) + np.float32(0.5)) / np.float32(samples)
    span = reach[:, None] * out
    x = (centres.real.astype(np.float32)[:, None, None] + _HARMONICS[:, 1, None] * span[:, None]).reshape(n * RAYS, samples)
    y = (centres.imag.astype(np.float32)[:, None, None] + _HARMONICS[:, 2, None] * span[:, None]).reshape(n * RAYS, samples)
    grey = cv2.remap(green, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32).reshape(n, RAYS, samples)
    end_x, end_y = x[:, -1], y[:, -1]
    whole = ((end_x > 0) & (end_y > 0) & (end_x < green.shape[1] - 1) & (end_y < green.shape[0] - 1)).reshape(n, RAYS)
    # the ground around: a plane, for the light falls off
    outer = (grey[:, :, -1] + grey[:, :, -2] + grey[:, :, -3]) * np.float32(1 / 3)
    level = _median(outer, whole)[:, None]
    even = whole & (np.abs(outer - level) < UNEVEN * level)
    circle = _circle(np.where(even, outer, level))
    circle = _circle(np.where(even, outer, circle @ _HARMONICS.T))
    contrast = 1 - grey[:, :, 0].mean(1) / np.maximum(level[:, 0], 1)
    good = (contrast > LEAST_CONTRAST) & (np.count_nonzero(even, axis=1) >= LEAST_RAYS)
    if not good.any():
        return Discs(centres, np.zeros(n), np.full(n, np.inf), good)
    ink = np.sort(contrast[good])[int(INK_RANK * np.count_nonzero(good))]
    ground = circle[:, 0, None, None] + (circle[:, 1:] @ _HARMONICS[:, 1:].T)[:, :, None] * (out / out[-2])
    ground = np.maximum(ground, 1)
    darkness = np.clip(1 - grey / ground, -0.3 * ink, 1.3 * ink)
    edges = darkness.sum(2) * (reach / (samples * ink))[:, None]
    # rays out of line are dropped, and filled by what the others say until those alone are fitted
    fitted = np.broadcast_to(_median(edges, whole)[:, None], edges.shape)
    kept = whole & (np.abs(edges - fitted) < LOOSE * fitted)
    for _ in range(2):
        fitted = _circle(np.where(kept, edges, fitted)) @ _HARMONICS.T
        rest = np.abs(edges - fitted)
        kept = whole & (rest < np.maximum(3 / 0.6745 * _median(rest, whole), 0.012 * spacing_px)[:, None])
    for _ in range(3):
        circle = _circle(np.where(kept, edges, fitted))
        fitted = circle @ _HARMONICS.T
    count = np.count_nonzero(kept, axis=1)
    rest = (edges - fitted) * kept
    noise = np.sqrt(np.einsum("nr,nr->n", rest, rest) / np.maximum(count - 3, 1))
    radius = circle[:, 0] / spacing_px
    good &= (count >= LEAST_RAYS) & (radius > 0.1) & (radius < 0.4) & (noise < ROUGH * spacing_px)
    std = np.hypot(noise * np.sqrt(2 * RAYS) / np.maximum(count, 1), FLOOR_PX)
    return Discs(centres + circle[:, 1] + 1j * circle[:, 2], circle[:, 0].astype(np.float64), std.astype(np.float64), good)


def _median(values: Singles, kept: Bools) -> Singles:
    """The lower median of values (n, RAYS) where `kept`, 0 where none is; float32 (n,)."""
    ordered = np.sort(np.where(kept, values, np.float32(np.inf)), axis=1)
    count = np.count_nonzero(kept, axis=1)
    return np.asarray(np.where(count > 0, ordered[np.arange(len(values)), np.maximum(count - 1, 0) // 2], 0), np.float32)


def _circle(values: Singles) -> Singles:
    """Mean, cosine and sine of values (n, RAYS) over the rays' angles, float32 (n, 3)."""
    return np.asarray(values @ _MEANS, np.float32)
