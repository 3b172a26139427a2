"""Finds the dots of a square grid of round dark dots: blobs first, then centres by fitting a blurred disc, then the row and column of each.

The picture of a dot is modelled as

    I(x, y) = (b₀ + b₁x + b₂y) (1 − a Φ((r − ρ)/σ)),   ρ the distance from the centre,

uneven light with a slope of its own, and on it a disc of radius r under a point spread of σ; r, σ are those of all dots together (a
mismatch is symmetric and moves no centre), the rest is fitted to each dot. Looked at is luma; `calib.finding.colour` leads from there to
green, whose places count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from calib.errors import TargetNotFoundError
from calib.finding.colour import green_place, luma
from calib.finding.corners import RIM_PX
from calib.finding.grid import grow_grid, largest_block, square_steps
from calib.plane import PlaneFit, fit_plane
from calib.points import TargetPoints
from calib.targets import Dots

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]

LEAST_DOTS, LEAST_LINES = 9, 3  # dots, and rows and columns of them, below which a plane is not worth fitting
LARGEST_PITCH_PX = 110  # side of the window in which a dot and ground beside it must lie
BLOCK_PX = 4
LEAST_CONTRAST = 12.0  # grey levels between dots and ground
LEAST_SHARE = 0.4  # of the usual contrast
LEAST_AREA_PX = 4
UNLIKE = 0.35  # a dot that takes so much more or less light than most is none
ALIKE = 1.7  # areas within this factor are of one kind of dot
LARGEST_SHARE = 0.74  # of the pitch, a dot's diameter; the squares of a chessboard reach 0.8 along their diagonals
ROUND_RESIDUAL = 0.16  # root mean square of what the disc leaves, of the dot's contrast; squares leave more
ROUNDS = 5
WIDEST_SPREAD_PX = 6.0
OUTLINE = 12  # points of a dot's outline from which that of its picture is reckoned
WINDOW_SAMPLES = 3_000_000  # dots are fitted in batches of so many pixels


@dataclass(frozen=True, eq=False)
class Discs:
    """Fitted dots of one kind.

    Attributes:
        centres: float64 (n, 2), px.
        std_px: float64 (n,), of one coordinate of a centre.
        depth: float64 (n,), share of the light that each takes.
        residual: float64 (n,), root mean square of what the model leaves, as a share of the light.
        settled: bool (n,).
        radius_px, spread_px: r and σ of all of them together.
    """

    centres: Floats
    std_px: Floats
    depth: Floats
    residual: Floats
    settled: NDArray[np.bool_]
    radius_px: float
    spread_px: float


def find_dots(image: NDArray[np.uint8], target: Dots) -> TargetPoints:
    """The dots in a picture, uint8 (height, width, 3) BGR, those cut by its border left out.

    Raises:
        TargetNotFoundError: there are no round dots, too few, or they lie on no square grid.
    """
    levels = luma(image)
    places, radius = _blobs(levels)
    what = f"the dot grid {target} was not found"
    if len(places) < LEAST_DOTS:
        raise TargetNotFoundError(
            f"{what}: {len(places)} dark spots of one size are in the picture, at least {LEAST_DOTS} dots are needed: "
            "bring the grid into view and focus, without glare"
        )
    steps = square_steps(places)
    if steps is None:
        raise TargetNotFoundError(f"{what}: {len(places)} dark spots lie on no square grid: bring the dot grid into view")
    pitch = float(np.linalg.norm(steps[0]))
    if 2 * radius > LARGEST_SHARE * pitch:
        raise TargetNotFoundError(
            f"{what}: the dark spots fill {2 * radius / pitch:.0%} of their pitch, as the squares of a chessboard do; "
            f"dots fill half: check which target lies there"
        )
    middle = np.array([(levels.shape[1] - 1) / 2, (levels.shape[0] - 1) / 2])
    index, on = grow_grid(places, steps, middle)
    _enough(what, index[on])
    on = largest_block(index, on)
    _enough(what, index[on])
    discs = fit_discs(levels, places[on], radius, pitch)
    round_ = discs.settled & (np.abs(discs.depth / max(float(np.median(discs.depth)), 0.05) - 1) < UNLIKE)
    round_ &= discs.residual < np.minimum(3 * float(np.median(discs.residual)) + 0.01, ROUND_RESIDUAL * np.abs(discs.depth))
    if round_.sum() < 0.7 * len(round_):
        raise TargetNotFoundError(
            f"{what}: of {len(round_)} dark spots on a square grid only {int(round_.sum())} are round dots: check which target lies there"
        )
    index = index[on][round_]
    _enough(what, index)
    centres, std = green_place(image).of(discs.centres[round_]), discs.std_px[round_]
    number = np.arange(len(index), dtype=np.int64)
    mm = np.asarray(index * target.pitch_mm, np.float64)
    plane = fit_plane(TargetPoints(centres, mm, std, number), image.shape[1], image.shape[0])
    return TargetPoints(centres - _off_centre(plane, mm, discs.radius_px), mm, std, number)


def _off_centre(plane: PlaneFit, mm: Floats, radius_px: float) -> Floats:
    """By how much the disc fitted to the picture of a round dot lies off the picture of the dot's centre, px, float64 (n, 2).

    A lens bends the near and the far side of a dot by different amounts, and a tilt draws the nearer side larger. A disc fitted to edge
    points c + b(θ) in directions n(θ) has its centre at c + 2 ⟨n (b·n)⟩; the offset grows with the square of the dot's radius.
    """
    angle = np.arange(OUTLINE) * (2 * math.pi / OUTLINE)
    way = np.stack([np.cos(angle), np.sin(angle)], 1)
    middle = plane.to_picture(mm)
    outline = plane.to_picture((mm[:, None] + way * (radius_px * plane.um_per_px / 1000)).reshape(-1, 2)).reshape(len(mm), OUTLINE, 2)
    out = outline - middle[:, None]
    normal = out / np.linalg.norm(out, axis=2, keepdims=True)
    return np.asarray(2 * np.mean(normal * (np.sum(out * normal, 2) - radius_px)[:, :, None], 1), np.float64)


def _enough(what: str, index: NDArray[np.int64]) -> None:
    lines = [len(np.unique(index[:, axis])) for axis in (0, 1)]
    if len(index) < LEAST_DOTS or min(lines) < LEAST_LINES:
        raise TargetNotFoundError(
            f"{what}: found {len(index)} dots in {lines[1]} rows and {lines[0]} columns of a square grid, at least {LEAST_DOTS} in "
            f"{LEAST_LINES} and {LEAST_LINES} are needed: bring more of the grid into view, in focus"
        )


def _blobs(picture: Float32s) -> tuple[Floats, float]:
    """Middles (n, 2) of the dark spots of the commonest size that lie wholly in the picture, and the radius of a disc of that area."""
    smooth = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.8), np.float32)
    low, high = _extremes(smooth)
    contrast = high - low
    most = float(np.percentile(contrast, 95))  # a grid may fill a corner of the picture only
    if most < LEAST_CONTRAST:
        return np.zeros((0, 2)), 0.0
    least = LEAST_SHARE * most  # where nothing but ground or nothing but a stain lies there is nothing to split
    dark = (smooth < (low + high) / 2) & (contrast > least)
    _, labels, table, middles = cv2.connectedComponentsWithStats(dark.astype(np.uint8), connectivity=4)
    left, top, width, height, area = (table[:, k].astype(float) for k in range(5))
    inside = (left > 0) & (top > 0) & (left + width < picture.shape[1]) & (top + height < picture.shape[0])
    compact = (np.maximum(width, height) <= 1.6 * np.minimum(width, height) + 1) & (area >= 0.45 * width * height)
    chosen = inside & compact & (area >= LEAST_AREA_PX) & (np.maximum(width, height) < LARGEST_PITCH_PX)
    chosen[0] = False
    if not chosen.any():
        return np.zeros((0, 2)), 0.0
    sizes = np.sort(area[chosen])
    crowd = np.searchsorted(sizes, sizes * ALIKE, "right") - np.searchsorted(sizes, sizes / ALIKE, "left")
    # specks may be as many as dots, but they are smaller
    usual = float(sizes[np.flatnonzero(crowd >= 0.8 * crowd.max())[-1]])
    usual = float(np.median(sizes[(sizes > usual / ALIKE) & (sizes < usual * ALIKE)]))
    alike = chosen & (area > usual / ALIKE) & (area < usual * ALIKE)
    del labels
    return np.asarray(middles[alike], np.float64), math.sqrt(usual / math.pi)


def _extremes(smooth: Float32s) -> tuple[Float32s, Float32s]:
    """The darkest and the brightest near each pixel, evened out, both of the picture's shape."""
    height, width = smooth.shape
    padded = cv2.copyMakeBorder(smooth, 0, -height % BLOCK_PX, 0, -width % BLOCK_PX, cv2.BORDER_REPLICATE)
    blocks = padded.reshape(padded.shape[0] // BLOCK_PX, BLOCK_PX, padded.shape[1] // BLOCK_PX, BLOCK_PX)
    side = LARGEST_PITCH_PX // BLOCK_PX | 1
    kernel = np.ones((side, side), np.uint8)
    extremes = []
    for small in (cv2.erode(blocks.min((1, 3)), kernel), cv2.dilate(blocks.max((1, 3)), kernel)):
        even = cv2.blur(small, (side, side), borderType=cv2.BORDER_REPLICATE)
        large = cv2.resize(even, (padded.shape[1], padded.shape[0]), interpolation=cv2.INTER_LINEAR)
        extremes.append(np.asarray(large[:height, :width], np.float32))
    return extremes[0], extremes[1]


def fit_discs(picture: Float32s, places: Floats, radius_px: float, pitch_px: float) -> Discs:
    """Fit a blurred disc of about `radius_px` at about each of the places (n, 2), whose neighbours are `pitch_px` away.

    Least squares by Gauss–Newton over all dots at once; first some with a radius and spread of their own, whose medians all share then.
    """
    some = places[:: max(1, len(places) // 150)]
    spread = min(1.2, 0.5 * radius_px)
    reach = min(radius_px + 3.5, max(pitch_px - radius_px - 0.5, pitch_px / 2))
    for _ in range(2):
        found = _fit(picture, some, radius_px, spread, reach, shared=False)[0]
        radius_px, spread = float(np.median(found[:, 6])), float(np.median(found[:, 7]))
        reach = min(radius_px + 3 * spread + 1, max(pitch_px - radius_px - 1.5 * spread, pitch_px / 2))
    batch = max(1, int(WINDOW_SAMPLES / (2 * reach + 3) ** 2))
    parts = [_fit(picture, places[k : k + batch], radius_px, spread, reach, shared=True) for k in range(0, len(places), batch)]
    found, std, residual, settled = (np.concatenate([part[k] for part in parts]) for k in range(4))
    light = np.maximum(found[:, 3], 1.0)
    return Discs(found[:, :2], std, found[:, 2], residual / light, settled, radius_px, spread)


def _fit(
    picture: Float32s, places: Floats, radius: float, spread: float, reach: float, shared: bool
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """(parameters x y a b₀ b₁ b₂ r σ (n, 8), std of the centre, residual in grey levels, whether it settled)."""
    n, half = len(places), math.ceil(reach) + 1
    corner = np.rint(places).astype(np.intp)
    along = np.arange(-half, half + 1)
    rows, columns = corner[:, 1, None] + along, corner[:, 0, None] + along
    height, width = picture.shape
    there = (np.abs(rows - (height - 1) / 2) <= (height - 1) / 2 - RIM_PX)[:, :, None]
    there = there & (np.abs(columns - (width - 1) / 2) <= (width - 1) / 2 - RIM_PX)[:, None, :]
    levels = picture[np.clip(rows, 0, height - 1)[:, :, None], np.clip(columns, 0, width - 1)[:, None, :]]
    levels = levels.reshape(n, -1)
    u = np.broadcast_to(along, (len(along), len(along))).ravel().astype(np.float32)
    v = np.repeat(along, len(along)).astype(np.float32)
    found = np.zeros((n, 8))
    found[:, :2] = places - corner
    bright = np.percentile(levels, 90, axis=1)
    found[:, 2], found[:, 3] = np.clip(1 - np.percentile(levels, 5, axis=1) / np.maximum(bright, 1), 0.05, 1), bright
    found[:, 6], found[:, 7] = radius, spread
    free = 6 if shared else 8
    step = np.zeros((n, free))
    slopes = np.empty((n, 8, levels.shape[1]), np.float32)
    for round_number in range(ROUNDS + (0 if shared else 3) + 1):
        x, y, a, b0, b1, b2, r, s = (found[:, k, None].astype(np.float32) for k in range(8))
        dx, dy = u - x, v - y
        rho = np.sqrt(dx * dx + dy * dy) + np.float32(1e-3)
        z = (r - rho) / s
        disc = ndtr(z)
        ring = np.exp(-z * z / 2) * np.float32(1 / math.sqrt(2 * math.pi)) / s
        light = b0 + (b1 * u + b2 * v) / np.float32(half)
        rest = levels - light * (1 - a * disc)
        counts = np.clip(np.float32(reach + 0.5) - rho, 0, 1) * there.reshape(n, -1)
        pull = -light * a * ring
        slopes[:, 0], slopes[:, 1] = pull * dx / rho, pull * dy / rho
        slopes[:, 2] = -light * disc
        slopes[:, 3] = 1 - a * disc
        slopes[:, 4], slopes[:, 5] = slopes[:, 3] * (u / half), slopes[:, 3] * (v / half)
        slopes[:, 6], slopes[:, 7] = pull, -pull * z
        weighted = slopes[:, :free] * counts[:, None]
        normal = (weighted @ slopes[:, :free].transpose(0, 2, 1)).astype(float)
        scale = np.einsum("npp->np", normal)
        normal[:, np.arange(free), np.arange(free)] += 1e-6 * scale + 1e-6
        if round_number == ROUNDS + (0 if shared else 3):
            break
        step = np.linalg.solve(normal, (weighted @ rest[:, :, None]).astype(float))[:, :, 0]
        step[:, :2] = np.clip(step[:, :2], -1, 1)
        found[:, :free] += step
        found[:, 2] = np.clip(found[:, 2], 0.02, 1.5)
        if not shared:
            found[:, 6] = np.clip(found[:, 6], 0.5 * radius, 1.6 * radius)
            found[:, 7] = np.clip(found[:, 7], 0.3, WIDEST_SPREAD_PX)
    seen = np.maximum(counts.sum(1, dtype=float), free + 1.0)
    square = np.sum(counts * rest * rest, 1, dtype=float)
    inverse = np.linalg.inv(normal)
    std = np.sqrt(np.maximum((inverse[:, 0, 0] + inverse[:, 1, 1]) / 2 * square / (seen - free), 1e-12))
    settled = (np.abs(step[:, :2]).max(1) < 0.05) & (np.abs(found[:, :2] - (places - corner)).max(1) < 0.25 * reach + 1)
    found[:, :2] += corner
    return found, std, np.sqrt(square / seen), settled
