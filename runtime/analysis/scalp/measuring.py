"""The measured indices of one frame: flake coverage, shine and redness of the skin between the hairs. No training, no model.

What limits each is said beside it: an index that cannot be had is null with a reason, one that should not be trusted says why.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.scalp.colour import ColourCorrection
from runtime.analysis.scalp.erythema import Redness, read_redness
from runtime.analysis.scalp.flakes import find_flakes, flake_threshold, smooth_paleness
from runtime.analysis.scalp.indices import ERYTHEMA_UNIT, FLAKES_UNIT, SHINE_UNIT, Index, ScalpIndices
from runtime.analysis.scalp.maps import ScalpMaps
from runtime.analysis.scalp.shine import find_shine
from runtime.analysis.scalp.skin import Skin, view_skin

LEAST_SIDE_PX = 16
LEAST_SKIN_PX = 400  # at the working size
LITTLE_SKIN = 0.05  # share of the field below which indices speak of too small a part of it
BLACK, DARK = 0.04, 0.15  # median of the skin's brightest channel: nothing is seen; noise is most of what is seen
BURNT, OVEREXPOSED = 0.9, 0.3  # share of the skin whose red is at the end of the scale
GLITTERING = 0.04  # share of the skin that mirrors, above which a film of moisture hides flakes and blood
COLOURLESS = 0.02  # 95th percentile of the difference between channels in a grey picture
DARK_SKIN = 0.45  # median red level of very dark skin, of which the blood's share is too small to be read
# values from which on a frame looks like grade 1, 2 and 3, set on rendered scenes; see `trichoscope bench scalp`
FLAKE_GRADES = (0.1, 0.6, 1.9)
SHINE_GRADES = (0.9, 1.4, 4.2)
ERYTHEMA_GRADES = (35.0, 50.0, 68.0)  # of calibrated colour: a white balance shifts the index by more than a grade

Mask = NDArray[np.bool_]


def measure_scalp(
    image: NDArray[np.uint8],
    hair_mask: Mask,
    field: Mask | None = None,
    colour: ColourCorrection | None = None,
    um_per_px: float | None = None,
) -> tuple[ScalpIndices, ScalpMaps]:
    """The indices and their maps.

    Args:
        image: uint8 (height, width, 3) BGR; not changed.
        hair_mask: bool (height, width), hair, faint hair too where it is known: it is no skin.
        field: bool (height, width), the usable part of the picture (inside the hood), None where that is all of it.
        colour: how levels become comparable, see `colour.correction_of`; without it erythema is relative to this camera.
        um_per_px: of the image; tells small from large and gives the area. Without it a usual field is supposed for the former.

    Raises:
        ValueError: an image or a mask of another type or shape.
    """
    _refuse(image, hair_mask, field, um_per_px)
    calibrated = colour is not None
    height, width = image.shape[:2]
    if min(height, width) < LEAST_SIDE_PX:
        return _nothing(f"the picture is smaller than {LEAST_SIDE_PX} px", calibrated, height, width)
    view = view_skin(image, hair_mask, field, colour, um_per_px)
    if view is None or np.count_nonzero(view.skin) < LEAST_SKIN_PX:
        return _nothing("no skin is seen between the hairs", calibrated, height, width)
    skin_px = int(np.count_nonzero(view.skin))
    if view.exposed < BLACK:
        return _nothing("the picture is black", calibrated, height, width)
    if view.clipped > BURNT:
        return _nothing("the picture is overexposed", calibrated, height, width)
    smoothed = smooth_paleness(view)
    flakes = find_flakes(view, smoothed, flake_threshold(view, smoothed))
    shine = find_shine(view, flakes)
    redness = read_redness(view)
    shining = float(np.count_nonzero(shine)) / skin_px
    doubt = _doubt(view, skin_px)
    area = None if um_per_px is None else skin_px * view.um_per_px**2 * 1e-8
    indices = ScalpIndices(
        flakes=_share(flakes, skin_px, FLAKES_UNIT, doubt or (_GLITTER if shining > GLITTERING else None), FLAKE_GRADES),
        shine=_share(shine, skin_px, SHINE_UNIT, doubt, SHINE_GRADES),
        erythema=_erythema(redness, doubt, shining, calibrated),
        calibrated=calibrated,
        skin_share=min(1.0, round(skin_px / max(view.field_px, 1), 4)),
        skin_area_cm2=None if area is None else round(area, 5),
    )
    map_ = np.full(view.skin.shape, np.nan, np.float32) if redness is None else redness.map
    return indices, ScalpMaps(view.skin, flakes, shine, map_)


_GLITTER = "the skin glitters all over: dry or blot it"


def _refuse(image: NDArray[np.uint8], hair_mask: Mask, field: Mask | None, um_per_px: float | None) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"scalp: the image is {image.dtype} {image.shape}, not uint8 (height, width, 3)")
    for name, mask in (("hair mask", hair_mask), ("field", field)):
        if mask is not None and (mask.dtype != np.bool_ or mask.shape != image.shape[:2]):
            raise ValueError(f"scalp: the {name} is {mask.dtype} {mask.shape}, not bool {image.shape[:2]}")
    if um_per_px is not None and not (math.isfinite(um_per_px) and um_per_px > 0):
        raise ValueError(f"scalp: {um_per_px} is no scale in µm per px")


def _nothing(reason: str, calibrated: bool, height: int, width: int) -> tuple[ScalpIndices, ScalpMaps]:
    """What is said where nothing could be measured."""

    def null(unit: str) -> Index:
        return Index(value=None, unit=unit, reliable=False, reason=reason)

    indices = ScalpIndices(
        flakes=null(FLAKES_UNIT),
        shine=null(SHINE_UNIT),
        erythema=null(ERYTHEMA_UNIT),
        calibrated=calibrated,
        skin_share=0.0,
        skin_area_cm2=None,
    )
    nowhere = np.zeros((height, width), np.bool_)
    return indices, ScalpMaps(nowhere, nowhere, nowhere, np.full((height, width), np.nan, np.float32))


def _doubt(view: Skin, skin_px: int) -> str | None:
    """Why no index of this picture should be trusted."""
    if view.exposed < DARK:
        return "the picture is too dark"
    if view.clipped > OVEREXPOSED:
        return "the picture is overexposed"
    if skin_px < LITTLE_SKIN * view.field_px:
        return f"less than {LITTLE_SKIN:.0%} of the field is skin"
    return None


def _grade(value: float, cuts: tuple[float, ...]) -> int:
    return sum(value >= cut for cut in cuts)


def _share(mask: Mask, skin_px: int, unit: str, doubt: str | None, cuts: tuple[float, ...]) -> Index:
    value = round(100 * float(np.count_nonzero(mask)) / skin_px, 3)
    return Index(value=value, unit=unit, reliable=doubt is None, reason=doubt, grade_hint=None if doubt else _grade(value, cuts))


def _erythema(redness: Redness | None, doubt: str | None, shining: float, calibrated: bool) -> Index:
    if redness is None:
        return Index(value=None, unit=ERYTHEMA_UNIT, reliable=False, reason="no bare skin is seen between hairs, flakes and shadows")
    if redness.colour < COLOURLESS:
        return Index(value=None, unit=ERYTHEMA_UNIT, reliable=False, reason="the picture has no colour")
    if doubt is None and redness.red_level < DARK_SKIN:
        doubt = "the skin is very dark (or the picture is): redness cannot be read through its pigment"
    if doubt is None and shining > GLITTERING:
        doubt = _GLITTER
    value = round(redness.index, 2)
    hint = _grade(value, ERYTHEMA_GRADES) if doubt is None and calibrated else None
    return Index(value=value, unit=ERYTHEMA_UNIT, reliable=doubt is None, reason=doubt, grade_hint=hint)
