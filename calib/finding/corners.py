"""Corners where four squares of a chessboard meet: where they might be, and where exactly.

Candidates are saddle points of the smoothed picture, −det of the Hessian large. A corner is then fitted by

    I(u, v) = (b₀ + b₁u + b₂v) (1 + a S(e₁/σ) S(e₂/σ)),   S(z) = 2Φ(z) − 1,   eᵢ the distance from edge i,

two edges that cross at the corner, each at an angle of its own, under a point spread of σ, in uneven light. The long edges fix it far
better than its nearest pixels do. Only a band along both edges is looked at, so that a marker printed inside a square is out of it;
what the model does not know (the halo of sharpening, motion) is symmetric about the corner and does not move it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]
Bools = NDArray[np.bool_]

ROUNDS = 5
SAMPLE = 60  # corners that settle the common spread
START_SPREAD_PX = 1.2
NARROWEST_SPREAD_PX, WIDEST_SPREAD_PX = 0.3, 8.0
LONGEST_REACH_PX = 18.0
BAND_SPREADS, BAND_PX = 3.0, 1.5  # half the width of the band along an edge
WEAK = 0.3  # of the response of the strongest corners; what answers less is none
STRONGEST = 12  # candidates from which that is reckoned
RIM_PX = 2  # at the picture's border sharpening and compression have nothing to go by
STRAY_PX = 2.0  # by which a corner may lie off where it was expected
WINDOW_SAMPLES = 1_500_000
X, Y, FIRST, SECOND, DEPTH, LIGHT, SPREAD = 0, 1, 2, 3, 4, slice(5, 8), 8  # where the parameters stand
PARAMETERS = 9


@dataclass(frozen=True, eq=False)
class Corners:
    """Fitted corners.

    Attributes:
        places: float64 (n, 2), px.
        std_px: float64 (n,), of one coordinate.
        depth: float64 (n,), a: contrast over twice the mean light, its sign tells which squares are dark.
        residual: float64 (n,), root mean square of what the model leaves, over the contrast's half.
        settled: bool (n,).
        spread_px: σ of all of them together.
    """

    places: Floats
    std_px: Floats
    depth: Floats
    residual: Floats
    settled: Bools
    spread_px: float


def saddles(picture: Float32s, smooth_px: float) -> tuple[Floats, Floats]:
    """Saddle points (n, 2) of a picture smoothed by `smooth_px`, to about half a pixel, and their orientations (n,).

    The orientation is an angle modulo π, the direction in which the picture is darkest; it turns by a quarter from corner to corner.
    """
    smooth = cv2.GaussianBlur(picture, (0, 0), smooth_px)
    xx, yy, xy = (cv2.Sobel(smooth, cv2.CV_32F, dx, dy, ksize=3) for dx, dy in ((2, 0), (0, 2), (1, 1)))
    xx, yy = xx / 4, yy / 4  # Sobel's own gains
    xy = xy / 4
    response = np.sqrt(np.maximum(xy * xy - xx * yy, 0))
    side = 2 * max(1, round(1.5 * smooth_px)) + 1
    peak = (response == cv2.dilate(response, np.ones((side, side), np.uint8))) & (response > 0)
    margin = 2
    peak[:margin] = peak[-margin:] = False
    peak[:, :margin] = peak[:, -margin:] = False
    rows, columns = np.nonzero(peak)
    if len(rows) == 0:
        return np.zeros((0, 2)), np.zeros(0)
    strength = response[rows, columns]
    strong = np.sort(strength)[-min(STRONGEST, len(strength)) :]
    kept = strength > WEAK * float(np.median(strong))
    rows, columns = rows[kept], columns[kept]
    # the curvature across direction φ is (xx + yy)/2 + …cos 2φ + …sin 2φ: most positive where the picture is darkest
    angle = np.arctan2(xy[rows, columns], (xx[rows, columns] - yy[rows, columns]) / 2) / 2 + math.pi / 2
    return np.stack([columns, rows], 1).astype(float), np.asarray(angle, np.float64)


def fit_corners(picture: Float32s, places: Floats, edges: Floats, reach_px: float, band_px: float = math.inf) -> Corners:
    """Fit a corner at about each of the places (n, 2), within a pixel or two.

    Args:
        picture: float32 (height, width), grey levels.
        places: float64 (n, 2).
        edges: float64 (n, 2), angles of the two edges through each, rad.
        reach_px: how far along the edges is looked.
        band_px: how far beside them at most.
    """
    reach = min(max(reach_px, 2.5), LONGEST_REACH_PX)
    some = slice(None, None, max(1, len(places) // SAMPLE))
    spread = START_SPREAD_PX
    for _ in range(2):
        band = _band(spread, reach, band_px)
        found, _, _, settled = _fit(picture, places[some], edges[some], spread, reach, band, shared=False)
        good = settled if settled.any() else np.ones_like(settled)
        spread = float(np.median(found[good, SPREAD]))
    band = _band(spread, reach, band_px)
    batch = max(1, int(WINDOW_SAMPLES / (2 * reach + 3) ** 2))
    cuts = [slice(k, k + batch) for k in range(0, len(places), batch)]
    parts = [_fit(picture, places[cut], edges[cut], spread, reach, band, shared=True) for cut in cuts]
    found, std, residual, settled = (np.concatenate([part[k] for part in parts]) for k in range(4))
    depth = found[:, DEPTH]
    half = np.maximum(np.abs(depth) * np.maximum(found[:, LIGHT.start], 1.0), 1e-3)
    return Corners(found[:, :2], std, depth, residual / half, settled, spread)


def _band(spread: float, reach: float, most: float) -> float:
    return max(min(BAND_SPREADS * spread + BAND_PX, most, reach), 1.2)


def _fit(
    picture: Float32s, places: Floats, edges: Floats, spread: float, reach: float, band: float, shared: bool
) -> tuple[Floats, Floats, Floats, Bools]:
    """(parameters (n, 9), std of the corner, residual in grey levels, whether it settled); all share `spread` or have their own."""
    n, half = len(places), math.ceil(reach) + 1
    corner = np.rint(places).astype(np.intp)
    along = np.arange(-half, half + 1)
    rows, columns = corner[:, 1, None] + along, corner[:, 0, None] + along
    height, width = picture.shape
    there = (np.abs(rows - (height - 1) / 2) <= (height - 1) / 2 - RIM_PX)[:, :, None]
    there = there & (np.abs(columns - (width - 1) / 2) <= (width - 1) / 2 - RIM_PX)[:, None, :]
    levels = picture[np.clip(rows, 0, height - 1)[:, :, None], np.clip(columns, 0, width - 1)[:, None, :]].reshape(n, -1)
    u = np.tile(along, len(along)).astype(np.float32)
    v = np.repeat(along, len(along)).astype(np.float32)
    # pixels that lie in no corner's band need not be carried along
    turn = np.angle(np.exp(1j * (edges - np.median(edges, 0))))
    room = band + STRAY_PX + reach * float(np.abs(turn).max())
    near = np.min([np.abs(math.cos(a) * v - math.sin(a) * u) for a in np.median(edges, 0)], 0) < room
    near &= u * u + v * v < (reach + STRAY_PX) ** 2
    u, v, levels, there = u[near], v[near], levels[:, near], there.reshape(n, -1)[:, near]
    found = np.zeros((n, PARAMETERS))
    found[:, :2], found[:, FIRST : SECOND + 1], found[:, SPREAD] = places - corner, edges, spread
    found[:, LIGHT.start] = np.maximum(levels.mean(1), 1.0)
    free = PARAMETERS - 1 if shared else PARAMETERS
    rounds = ROUNDS if shared else ROUNDS + 2
    step = np.zeros((n, free))
    slopes = np.empty((n, PARAMETERS, levels.shape[1]), np.float32)
    for round_number in range(rounds + 1):
        shape, slopes_of_shape, counts = _shape(found, u, v, reach, band)
        counts = counts * there
        light = (found[:, 5, None] + (found[:, 6, None] * u + found[:, 7, None] * v) / half).astype(np.float32)
        if round_number == 0:  # the contrast and its sign, by regression on the first shape
            top = np.sum(counts * shape * (levels - light), 1)
            found[:, DEPTH] = np.clip(top / np.maximum(np.sum(counts * shape * shape * light, 1), 1e-6), -1.5, 1.5)
        depth = found[:, DEPTH, None].astype(np.float32)
        rest = levels - light * (1 + depth * shape)
        slopes[:, : SECOND + 1] = slopes_of_shape[:, :4] * (light * depth)[:, None]
        slopes[:, DEPTH] = light * shape
        slopes[:, 5] = 1 + depth * shape
        slopes[:, 6], slopes[:, 7] = slopes[:, 5] * (u / half), slopes[:, 5] * (v / half)
        slopes[:, SPREAD] = slopes_of_shape[:, 4] * (light * depth)
        used = slopes[:, :free]
        weighted = used * counts[:, None]
        normal = (weighted @ used.transpose(0, 2, 1)).astype(float)
        index = np.arange(free)
        normal[:, index, index] *= 1 + 1e-4
        normal[:, index, index] += 1e-3
        if round_number == rounds:
            break
        step = np.linalg.solve(normal, (weighted @ rest[:, :, None]).astype(float))[:, :, 0]
        step[:, :2] = np.clip(step[:, :2], -1, 1)
        step[:, FIRST : SECOND + 1] = np.clip(step[:, FIRST : SECOND + 1], -0.1, 0.1)
        found[:, :free] += step
        found[:, DEPTH] = np.clip(found[:, DEPTH], -1.5, 1.5)
        found[:, SPREAD] = np.clip(found[:, SPREAD], NARROWEST_SPREAD_PX, WIDEST_SPREAD_PX)
    seen = np.maximum(counts.sum(1, dtype=float), free + 1.0)
    square = np.sum(counts * rest * rest, 1, dtype=float)
    inverse = np.linalg.inv(normal)
    std = np.sqrt(np.maximum((inverse[:, 0, 0] + inverse[:, 1, 1]) / 2 * square / (seen - free), 1e-12))
    moved = np.abs(found[:, :2] - (places - corner)).max(1)
    settled = (np.abs(step[:, :2]).max(1) < 0.05) & (moved < max(STRAY_PX, 0.3 * reach))
    found[:, :2] += corner
    return found, std, np.sqrt(square / seen), settled


def _shape(found: Floats, u: Float32s, v: Float32s, reach: float, band: float) -> tuple[Float32s, Float32s, Float32s]:
    """(S S (n, k), its derivatives by x, y, both angles and σ (n, 5, k), how far each pixel counts (n, k))."""
    du, dv = u - found[:, X, None].astype(np.float32), v - found[:, Y, None].astype(np.float32)
    spread = found[:, SPREAD, None].astype(np.float32)
    signs, bells, distances, sines, cosines = [], [], [], [], []
    for k in (FIRST, SECOND):
        sine, cosine = (f(found[:, k, None]).astype(np.float32) for f in (np.sin, np.cos))
        distance = cosine * dv - sine * du
        z = distance / spread
        signs.append(2 * ndtr(z) - 1)
        bells.append(np.exp(-z * z / 2) * (np.float32(2 / math.sqrt(2 * math.pi)) / spread))
        distances.append(distance)
        sines.append(sine)
        cosines.append(cosine)
    shape = signs[0] * signs[1]
    slopes = np.empty((len(found), 5, len(u)), np.float32)
    by_first, by_second = bells[0] * signs[1], bells[1] * signs[0]
    slopes[:, 0] = by_first * sines[0] + by_second * sines[1]
    slopes[:, 1] = -by_first * cosines[0] - by_second * cosines[1]
    for place, by, sine, cosine in ((2, by_first, sines[0], cosines[0]), (3, by_second, sines[1], cosines[1])):
        slopes[:, place] = by * (-sine * dv - cosine * du)
    slopes[:, 4] = -(by_first * distances[0] + by_second * distances[1]) / spread
    beside = np.minimum(np.abs(distances[0]), np.abs(distances[1]))
    out = np.sqrt(du * du + dv * dv)
    counts = np.clip(band + np.float32(0.5) - beside, 0, 1) * np.clip(reach + np.float32(0.5) - out, 0, 1)
    return shape, slopes, np.asarray(counts, np.float32)
