"""A stored measurement with another scale: what was found stays in px as it was found, and all that rests on the scale is made anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calib.field import FrameScale
from runtime.analysis import figures
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.measurement import Hair, Measurement, reading_used, scale_used
from runtime.analysis.micrometres import in_micrometres


def rescaled(measurement: Measurement, scale: FrameScale) -> Measurement:
    """The measurement as `scale` gives it: every figure in µm and per cm² from the px figures; counts, courses and px stay.

    The cut-off of terminal hair stays the one that was used. The hood's opening, which belongs to the picture, is that of the
    measurement.
    """
    opening = None if measurement.field is None else tuple(measurement.field)
    scale = replace(scale, opening_px=opening)
    paths = [_path(hair) for hair in measurement.hairs]
    ostia = [Ostium(follicle.x, follicle.y, tuple(follicle.hair_ids)) for follicle in measurement.follicles]
    width, height = measurement.width_px, measurement.height_px
    counted = figures.counted_hairs(paths, width, height, measurement.hair_count_std)
    kinds = measurement.terminal_vellus
    cutoff = kinds.profile if kinds is not None and kinds.profile is not None else "trichoscopy"
    made = in_micrometres(
        paths,
        ostia,
        width=width,
        height=height,
        counted=counted,
        follicle_std=measurement.follicle_count_std,
        scale=scale,
        cutoff=cutoff,
    )
    stated = {"scale": scale_used(scale), "calibration": scale.profile_id, "scale_reading": reading_used(scale)}
    return measurement.model_copy(update=vars(made) | stated)


def _path(hair: Hair) -> HairPath:
    """The hair as the stages know it."""
    points = np.array([(x, y) for x, y, _ in hair.points], np.float64).reshape(-1, 2)
    return HairPath(
        points=points,
        widths_px=np.array([_number(width) for _, _, width in hair.points], np.float64),
        diameter_px=_number(hair.diameter_px),
        diameter_px_std=_number(hair.diameter_px_std),
        length_px=hair.length_px,
        rooted=hair.rooted,
        confidence=hair.confidence,
        diameter_px_max=_number(hair.diameter_px_max),
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
