"""How sharp the camera is where a target lies: σ of the point spread, from the target's own edges.

The point spread counts as a Gaussian, pixel and sharpening included: what a straight edge becomes is then Φ(e/σ), and every finder's
model of its points has that σ among its parameters. Here it is fitted again, to each of the points that the plane holds for the target's,
and the median taken. A sharpening camera has a smaller σ than its lens; widths are measured in its pictures, so that is the one wanted.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.bar import fit_bars
from calib.finding.boards import REACH, clear_band, expected_corners
from calib.finding.colour import luma
from calib.finding.corners import fit_corners
from calib.finding.dots import fit_discs
from calib.finding.gaps import measure_gap
from calib.finding.markers import marker_places
from calib.plane import PlaneFit
from calib.points import TargetPoints
from calib.ring import dot_diameters, dot_places
from calib.targets import Charuco, Checker, Dots, HoodRing, Micrometer, Target

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]

DOT_START = 0.25  # radius of a dot over the pitch, where the fit begins
# of a dot's radius, of the pitch of lines: beyond, the point spread cannot be told from the size of what is blurred, or from its neighbours
BLURRED_DOT, BLURRED_LINE = 0.5, 0.135
MOST_POINTS = 80  # nearest to the middle; the point spread of the middle is wanted
LEAST_POINTS = 4
PROFILE_STEP_PX = 0.5
MEAN_ALONG = (-1.0, 0.0, 1.0)  # px along a ruled line over which a profile is averaged
SHORTEST_GAP_PX = 3.0  # between ruled lines; nearer ones blur into each other
SPREAD_PRIOR = 1.5  # of ln σ: as good as none


def point_spread(image: NDArray[np.uint8], target: Target, points: TargetPoints, plane: PlaneFit) -> float | None:
    """σ of the point spread near the middle, px, in a picture, uint8 (height, width, 3) BGR, of a target found and fitted.

    None where the edges do not tell: too few, too close together, or not those of a blurred edge.
    """
    picture = luma(image)
    nearest = np.argsort(np.sum((points.pixels - np.array(plane.lens.middle_px)) ** 2, 1), kind="stable")
    chosen = nearest[plane.used[nearest]][:MOST_POINTS]
    if len(chosen) < LEAST_POINTS:
        return None
    pixels, mm = points.pixels[chosen], points.target_mm[chosen]
    pitch_px = 1000 * _pitch_mm(target) / plane.um_per_px
    if isinstance(target, Charuco | Checker):
        edges = expected_corners(plane, mm, 0.1 * target.square_mm)[1]
        corners = fit_corners(picture, pixels, edges, REACH * pitch_px, clear_band(target, pitch_px))
        if corners.settled.mean() < 0.5:
            return None
        return corners.spread_px if isinstance(target, Checker) else _of_gaps(picture, target, plane, corners.spread_px)
    if isinstance(target, Dots):
        discs = fit_discs(picture, pixels, DOT_START * pitch_px, pitch_px)
        return discs.spread_px if discs.spread_px < BLURRED_DOT * discs.radius_px else None
    if isinstance(target, Micrometer):
        return _of_lines(picture, pixels, plane, pitch_px)
    return _of_ring(picture, target, pixels, mm, plane)


def _pitch_mm(target: Target) -> float:
    return 0.0 if isinstance(target, HoodRing) else target.pitch_mm


def _of_gaps(picture: Float32s, target: Charuco, plane: PlaneFit, spread_px: float) -> float | None:
    """σ from the white gaps about the markers nearest to the middle."""
    middles = marker_places(target).mean(1)
    off = np.sum((plane.to_picture(middles) - np.array(plane.lens.middle_px)) ** 2, 1)
    gap = measure_gap(picture, target, plane, middles[np.argsort(off, kind="stable")[:MOST_POINTS]], spread_px)
    return None if gap is None else gap.spread_px


def _of_lines(picture: Float32s, pixels: Floats, plane: PlaneFit, pitch_px: float) -> float | None:
    """σ from bars fitted across ruled lines through points (n, 2)."""
    way = np.stack([(plane.to_target(pixels + step) - plane.to_target(pixels - step))[:, 0] for step in np.eye(2) / 2], 1)
    across = way / np.linalg.norm(way, axis=1, keepdims=True)
    offsets = np.arange(-0.48 * pitch_px, 0.48 * pitch_px, PROFILE_STEP_PX)
    along = np.stack([-across[:, 1], across[:, 0]], 1)
    places = (pixels[:, None] + offsets[:, None] * across[:, None])[:, None] + np.array(MEAN_ALONG)[:, None, None] * along[:, None, None]
    inside = ((places >= 0) & (places <= np.array(picture.shape[::-1]) - 1)).all((1, 2, 3))
    if inside.sum() < LEAST_POINTS:
        return None
    places = places[inside]
    flat = np.asarray(places.reshape(len(places), -1, 2), np.float32)
    levels = cv2.remap(picture, flat[..., 0], flat[..., 1], cv2.INTER_CUBIC).reshape(places.shape[:3]).mean(1)
    mean = np.median(levels, 0)
    ground = float(np.percentile(mean, 90))
    width = float(np.sum(ground - mean) / max(float(np.max(ground - mean)), 1e-6)) * PROFILE_STEP_PX  # area over depth
    if pitch_px - width < SHORTEST_GAP_PX:
        return None
    half = np.full(len(levels), width / 2)
    bars = fit_bars(
        np.broadcast_to(offsets, levels.shape), levels, -half, half, 1.0, spread_prior=SPREAD_PRIOR, shading=0.02, iterations=15
    )
    if bars.ok.sum() < LEAST_POINTS:
        return None
    spread = float(np.median(bars.spread_px[bars.ok]))
    return spread if spread < BLURRED_LINE * pitch_px else None


def _of_ring(picture: Float32s, target: HoodRing, pixels: Floats, mm: Floats, plane: PlaneFit) -> float | None:
    """σ from the dots of a hood ring at points (n, 2) of the picture, (n, 2) of the ring."""
    places, diameters = dot_places(target.diameter_mm), dot_diameters(target)
    dot = np.argmin(np.sum((mm[:, None] - places) ** 2, 2), 1)
    spreads, counts = [], []
    for diameter in np.unique(diameters[dot]):
        kind = diameters[dot] == diameter
        if kind.sum() >= LEAST_POINTS:
            radius_px = float(diameter) / 2 * 1000 / plane.um_per_px
            spreads.append(fit_discs(picture, pixels[kind], radius_px, 3.2 * radius_px).spread_px)
            counts.append(int(kind.sum()))
    return math.exp(float(np.average(np.log(spreads), weights=counts))) if spreads else None
