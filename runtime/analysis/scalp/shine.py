"""Shine: the share of the skin that mirrors the lamps, as glints too small or too white for flakes.

Dichromatic reflection: what a surface mirrors has the lamp's colour, so a glint takes skin towards white whatever the skin's colour is.
Sebum and moisture mirror in points; broad veils of glare without an edge are not told from the light's own fall-off and not counted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.scalp.flakes import GLINT_PALE, GLINT_UM2, LEAST_UM2
from runtime.analysis.scalp.patches import patches_of
from runtime.analysis.scalp.skin import Skin

GLINT = 0.2  # of the way from the skin to white, at the least

Mask = NDArray[np.bool_]


def find_shine(view: Skin, flakes: Mask) -> Mask:
    """Where the skin mirrors, bool (height, width) of the working picture, `flakes` left out."""
    found = patches_of(view.skin & ~flakes & (view.pale > GLINT), view.pale, view.um_per_px)
    small = found.area_um2 < LEAST_UM2
    white = (found.paleness > GLINT_PALE) & (found.area_um2 < GLINT_UM2)
    chosen = (small | white) & ~found.like_hair
    chosen[0] = False
    return found.mask_of(chosen)
