"""The hood ring around rendered scalps with hair across it: its scale, the time that it takes, and what is seen where there is none."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.drawing import flat_picture
from calib.errors import TargetNotFoundError
from calib.finding.ring import find_ring
from calib.lens import RadialLens
from calib.plane import PlaneFit, fit_plane, fit_planes
from calib.ring import ring_drawing
from calib.targets import HoodRing
from calib.view import look_at
from device.simulated.faults import draw_faults
from device.simulated.flat import FINER
from device.simulated.lens import Lens
from device.simulated.plate import rim_plate, ringed_scene
from device.simulated.recipe import KINDS
from device.simulated.scene import photograph, render_scene
from device.simulated.sensor import Image
from runtime.bench.calibration.errors import ErrorFigures, figures_of
from runtime.bench.calibration.pictures import HEIGHT, WIDTH, Optics, draw_kind, draw_optics, draw_tilt, picture_of
from runtime.bench.growth.loads import one_thread

BARS_PERCENT = (0.3, 1.0)
NEAREST_MM, FARTHEST_MM = 8.0, 28.0  # heights of hoods, from the lens
RING_RADIUS_PX = (285.0, 345.0)  # a hood is made for its microscope: the ring lies at the edge of its frame
PER_OPTICS = 10  # frames of one microscope
SHIFT_PX = 12.0  # how far a hood sits off the lens's axis


@dataclass(frozen=True)
class RingFigures:
    """Scales from the ring with the distortion known from a profile and without; `false` of `empty` frames without one showed one."""

    held: ErrorFigures
    free: ErrorFigures
    bars_percent: tuple[float, float]
    found_ms_p50: float
    found_ms_p95: float
    empty: int
    false: int
    empty_ms_p50: float


def measure_ring(seeds: Sequence[int], advance: Callable[[], None]) -> RingFigures:
    """A frame for each seed, every PER_OPTICS of one microscope, and beside it the scalp without the ring."""
    held, free, true, took, took_empty, refused, false = [], [], [], [], [], 0, 0
    optics, lens = draw_optics(np.random.default_rng(0)), None
    with one_thread():
        for number, seed in enumerate(seeds):
            rng = np.random.default_rng([seed, 31])
            if lens is None or number % PER_OPTICS == 0:
                optics = draw_optics(rng)
                lens = _known_lens(optics, rng)
            under = optics.lens(float(rng.uniform(NEAREST_MM, FARTHEST_MM)), draw_tilt(rng))
            image, empty, target = _frames(under, seed, rng)
            try:
                ms, plane = _timed(image, target, lens)
                found = find_ring(image, target)
            except TargetNotFoundError:
                refused += 1
            else:
                took.append(ms)
                held.append(plane)
                free.append(fit_plane(found, WIDTH, HEIGHT))
                true.append(under.centre_um_per_px)
            began = time.perf_counter()
            try:
                find_ring(empty, target)
                false += 1
            except TargetNotFoundError:
                took_empty.append(1e3 * (time.perf_counter() - began))
            advance()
    return RingFigures(
        held=_errors(held, true, refused),
        free=_errors(free, true, refused),
        bars_percent=BARS_PERCENT,
        found_ms_p50=_percentile(took, 50),
        found_ms_p95=_percentile(took, 95),
        empty=len(seeds),
        false=false,
        empty_ms_p50=_percentile(took_empty, 50),
    )


def _known_lens(optics: Optics, rng: np.random.Generator) -> RadialLens:
    """The distortion as a calibration finds it."""
    lenses = [optics.lens(distance, draw_tilt(rng)) for distance in (12.0, 18.0, 25.0)]
    pictures = [picture_of(draw_kind("charuco", lens.centre_um_per_px, rng), lens, rng) for lens in lenses]
    return fit_planes([look_at(p.image, p.target).points for p in pictures], WIDTH, HEIGHT)[0]


def _frames(lens: Lens, seed: int, rng: np.random.Generator) -> tuple[Image, Image, HoodRing]:
    """A scalp with the ring around it, the same without, and the ring."""
    um = lens.centre_um_per_px
    diameter = round(2 * float(rng.uniform(*RING_RADIUS_PX)) * um / 1000, 2)
    target = HoodRing(max(1.0, diameter), int(rng.integers(0, 6)))
    kind = KINDS[seed % len(KINDS)]
    scene = render_scene(seed, kind=kind, um_per_px=um, hooded=False)
    drawing = ring_drawing(target)
    plate = rim_plate(flat_picture(drawing, um / FINER), um / FINER, 1000 * drawing.hole_mm)
    turn = float(rng.uniform(0, 2 * math.pi))
    x, y = (float(v) for v in rng.uniform(-1, 1, 2) * SHIFT_PX * um)
    faults = draw_faults(rng)
    pictures = (ringed_scene(scene, plate, lens, turn_rad=turn, shift_um=(x, y), seed=seed), scene.picture)
    with_ring, without = (np.frombuffer(photograph(picture, faults, rng), np.uint8) for picture in pictures)
    image, empty = (np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8) for jpeg in (with_ring, without))
    return image, empty, target


def _timed(image: NDArray[np.uint8], target: HoodRing, lens: RadialLens) -> tuple[float, PlaneFit]:
    """Milliseconds, of the second time: rendering has just filled the caches with other things, which a live view does not do."""
    fit_plane(find_ring(image, target), WIDTH, HEIGHT, lens)
    began = time.perf_counter()
    plane = fit_plane(find_ring(image, target), WIDTH, HEIGHT, lens)
    return 1e3 * (time.perf_counter() - began), plane


def _errors(planes: Sequence[PlaneFit], true: Sequence[float], refused: int) -> ErrorFigures:
    return figures_of([p.um_per_px for p in planes], [p.um_per_px_std for p in planes], true, refused)


def _percentile(values: Sequence[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 2) if values else 0.0
