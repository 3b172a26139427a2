"""The same hairs seen from several distances, the microscope refocused at each: do they agree in thickness once it is calibrated?

A scalp is rendered once, finely, and laid flat under the lens at each distance. The microscope is calibrated as a technician would: six
pictures of a board at other distances, refocused. Only the part of the scalp that all distances show is compared, hair by hair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.curve import ScaleCurve, fit_curve
from calib.field import FrameScale
from calib.fitting import square_scale
from calib.lens import RadialLens
from calib.plane import fit_planes
from calib.scale import Scale
from calib.view import look_at
from device.simulated.faults import draw_faults
from device.simulated.flat import Flat, photograph_flat
from device.simulated.lens import Lens
from device.simulated.scene import Scene, render_scene
from runtime.analysis.measurement import Measurement
from runtime.analysis.segmentation import Segmenter
from runtime.bench.calibration.pictures import HEIGHT, WIDTH, Optics, draw_kind, draw_optics, draw_tilt, picture_of
from runtime.bench.measurement.matching import match
from runtime.pipeline import analyse

DISTANCES_MM = (12.0, 18.0, 25.0, 35.0)
CALIBRATED_MM = (10.0, 15.0, 20.0, 26.0, 32.0, 37.0)
# a refocused lens: the image lies farther behind it the nearer the skin is. f of the glass, of the sensor's pixel, and how far the
# lens's principal plane lies above the zero of the distances
GLASS_MM, PIXEL_UM, ABOVE_MM = 5.0, 1.4, 6.0
FLAT_UM_PER_PX, FLAT_SIZE = 1.8, (3400, 2600)
COMMON_SHARE = 0.9  # of the nearest view, within which hairs are compared
MIN_SECTIONS = 4


@dataclass(frozen=True)
class HairFigures:
    """Thickness of the same hairs by distance.

    Attributes:
        hairs: how many were measured at all distances.
        distances_mm: where; `um_per_px` the true scale there.
        relative: median over hairs of thickness over the hair's mean of all distances, after calibration.
        relative_before: the same of px times one scale, that of the first distance.
        to_truth: median over hairs of measured over true thickness.
        spread_percent: largest over smallest of `relative`, less one; `spread_before` the factor before.
    """

    hairs: int
    distances_mm: tuple[float, ...]
    um_per_px: tuple[float, ...]
    relative: tuple[float, ...]
    relative_before: tuple[float, ...]
    to_truth: tuple[float, ...]
    spread_percent: float
    spread_before: float


def measure_hairs(seeds: Sequence[int], segmenter: Segmenter, advance: Callable[[], None]) -> HairFigures:
    """One microscope, calibrated, over a scalp for each seed."""
    rng = np.random.default_rng([seeds[0], 23])
    optics = draw_optics(rng)
    curve, bent = _calibrate(optics, rng)
    after, before, true = [], [], []
    for seed in seeds:
        scene = render_scene(seed, width=FLAT_SIZE[0], height=FLAT_SIZE[1], kind="easy", um_per_px=FLAT_UM_PER_PX, bald=False, hooded=False)
        flat = Flat(scene.picture, FLAT_UM_PER_PX)
        half = COMMON_SHARE * _refocused(optics, DISTANCES_MM[0]).centre_um_per_px * np.array([WIDTH, HEIGHT]) / 2
        seen = []
        for distance in DISTANCES_MM:
            lens = _refocused(optics, distance, draw_tilt(rng))
            image = photograph_flat(flat, lens, draw_faults(rng), rng)
            um, um_std = curve.at(distance)
            scale = FrameScale(Scale(um, um_std, "distance"), lens=bent)
            seen.append(_thickness(analyse(image, name="bench", segmentation=segmenter, scale=scale), scene, flat, lens, scale, half))
        for hair in set.intersection(*(set(found) for found in seen)):
            after.append([found[hair][0] for found in seen])
            before.append([found[hair][1] for found in seen])
            true.append(seen[0][hair][2])
        advance()
    return _figures(optics, np.array(after).reshape(-1, len(DISTANCES_MM)), np.array(before).reshape(-1, len(DISTANCES_MM)), np.array(true))


def _refocused(optics: Optics, distance_mm: float, tilt_rad: tuple[float, float] = (0.0, 0.0)) -> Lens:
    """The lens focused on what lies `distance_mm` away."""
    away = distance_mm + ABOVE_MM
    focal_px = 1000 * GLASS_MM * away / (away - GLASS_MM) / PIXEL_UM
    return Lens(WIDTH, HEIGHT, focal_px, away, tilt_rad, optics.k1, optics.k2, optics.offset_px)


def _calibrate(optics: Optics, rng: np.random.Generator) -> tuple[ScaleCurve, RadialLens]:
    pictures = []
    for distance in CALIBRATED_MM:
        lens = _refocused(optics, distance, draw_tilt(rng))
        pictures.append(picture_of(draw_kind("charuco", lens.centre_um_per_px, rng), lens, rng))
    bent, fits = fit_planes([look_at(p.image, p.target).points for p in pictures], WIDTH, HEIGHT)
    squared = [square_scale(fit) for fit in fits]
    return fit_curve(CALIBRATED_MM, [um for um, _ in squared], [std for _, std in squared], width_px=WIDTH), bent


def _thickness(
    found: Measurement, scene: Scene, flat: Flat, lens: Lens, scale: FrameScale, half_um: NDArray[np.float64]
) -> dict[int, tuple[float, float, float]]:
    """By true hair: its thickness in the common part of the scalp as measured, µm and px, and in truth, µm."""
    middle = np.array([scene.lens.width - 1, scene.lens.height - 1]) / 2
    true = {}
    courses = []
    for hair in scene.truth.hairs:
        plane = flat.on_plane((hair.points[:, :2] - middle) * FLAT_UM_PER_PX)
        common = (np.abs(plane) < half_um).all(1)
        if hair.counted and common.sum() >= 2:
            pixels, um = lens.project(np.concatenate([plane, np.zeros((len(plane), 1))], 1))
            courses.append(np.column_stack([pixels, hair.points[:, 3] * FLAT_UM_PER_PX / um]))
            true[len(courses) - 1] = (hair.id, float(np.median(hair.points[common, 3]) * FLAT_UM_PER_PX))
    thickness = {}
    for i, j in match([np.array([p[:2] for p in h.points]).reshape(-1, 2) for h in found.hairs], courses):
        points = np.array([[x, y, np.nan if d is None else d] for x, y, d in found.hairs[i].points], np.float64)
        common = (np.abs(lens.on_skin(points[:, :2])) < half_um).all(1) & np.isfinite(points[:, 2])
        if common.sum() >= MIN_SECTIONS:
            in_um = np.median(points[common, 2] * scale.at(points[common, :2]))
            thickness[true[j][0]] = (float(in_um), float(np.median(points[common, 2])), true[j][1])
    return thickness


def _figures(optics: Optics, after: NDArray[np.float64], before: NDArray[np.float64], true: NDArray[np.float64]) -> HairFigures:
    relative, relative_before = (np.median(v / np.exp(np.log(v).mean(1, keepdims=True)), axis=0) for v in (after, before))
    return HairFigures(
        hairs=len(true),
        distances_mm=DISTANCES_MM,
        um_per_px=tuple(round(_refocused(optics, d).centre_um_per_px, 3) for d in DISTANCES_MM),
        relative=tuple(np.round(relative, 4).tolist()),
        relative_before=tuple(np.round(relative_before, 4).tolist()),
        to_truth=tuple(np.round(np.median(after / true[:, None], axis=0), 4).tolist()),
        spread_percent=round(100 * float(relative.max() / relative.min() - 1), 3),
        spread_before=round(float(relative_before.max() / relative_before.min()), 3),
    )
