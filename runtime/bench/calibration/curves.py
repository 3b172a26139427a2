"""Curves of scale over distance from six pictures, asked at fifty other distances, with exact distances and with a sensor's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from calib.curve import fit_curve
from calib.errors import CurveError, DistanceError, TargetNotFoundError
from calib.fitting import square_scale
from calib.plane import fit_planes
from calib.view import look_at
from device.simulated.lens import Lens
from runtime.bench.calibration.errors import ErrorFigures, figures_of
from runtime.bench.calibration.pictures import HEIGHT, WIDTH, draw_kind, draw_optics, draw_tilt, picture_of

PICTURES, ASKED = 6, 50
FROM_MM, TO_MM = 10.0, 35.0
READING_STDS_MM = (0.0, 0.2, 1.0)


@dataclass(frozen=True)
class CurveFigures:
    """Predictions of all curves, by the standard deviation of the distance readings, mm.

    `read` was calibrated at exact distances and asked with readings; `calibrated` was calibrated and asked with readings.
    """

    curves: int
    refused: int
    read: dict[str, ErrorFigures]
    calibrated: dict[str, ErrorFigures]


def measure_curves(kind: str, seeds: Sequence[int], advance: Callable[[], None]) -> CurveFigures:
    """A microscope for each seed, calibrated on six pictures of a target of the kind."""
    rows: dict[tuple[str, float], list[tuple[float, float, float]]] = {}
    refused = 0
    for seed in seeds:
        rng = np.random.default_rng([seed, 17])
        optics = draw_optics(rng)
        distances = np.linspace(FROM_MM, TO_MM, PICTURES) + rng.uniform(-1, 1, PICTURES)
        try:
            scales, stds = _seen(kind, optics.focal_px, [optics.lens(float(d), draw_tilt(rng)) for d in distances], rng)
        except TargetNotFoundError:
            refused += 1
            advance()
            continue
        asked = rng.uniform(distances.min(), distances.max(), ASKED)
        true = 1000 * asked / optics.focal_px
        for reading_std in READING_STDS_MM:
            for way in ("read", "calibrated"):
                told = distances + (rng.normal(0, reading_std, PICTURES) if way == "calibrated" else 0)
                try:
                    curve = fit_curve(
                        told.tolist(), scales, stds, distance_std_mm=reading_std if way == "calibrated" else 0.0, width_px=WIDTH
                    )
                except CurveError:
                    refused += 1
                    continue
                into = rows.setdefault((way, reading_std), [])
                for distance, truth in zip(asked + rng.normal(0, reading_std, ASKED), true, strict=True):
                    try:
                        value, std = curve.at(float(distance), reading_std)
                    except DistanceError:  # a reading beyond the calibrated interval
                        continue
                    into.append((value, std, float(truth)))
        advance()
    made = {
        way: {f"{std:g} mm": _errors(rows[way, std]) for std in READING_STDS_MM if rows.get((way, std))} for way in ("read", "calibrated")
    }
    return CurveFigures(len(seeds), refused, made["read"], made["calibrated"])


def _errors(rows: Sequence[tuple[float, float, float]]) -> ErrorFigures:
    """Of predictions, each with its stated std and the truth."""
    found, stds, true = zip(*rows, strict=True)
    return figures_of(found, stds, true)


def _seen(kind: str, focal_px: float, lenses: Sequence[Lens], rng: np.random.Generator) -> tuple[list[float], list[float]]:
    """Scales and their standard errors as a calibration sees them: one distortion for all pictures."""
    pictures = [picture_of(draw_kind(kind, 1000 * lens.distance_mm / focal_px, rng), lens, rng) for lens in lenses]
    _, fits = fit_planes([look_at(p.image, p.target).points for p in pictures], WIDTH, HEIGHT)
    squared = [square_scale(fit) for fit in fits]
    return [um for um, _ in squared], [std for _, std in squared]
