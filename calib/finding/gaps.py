"""The white gaps between the black squares of a ChArUco board and its markers: how wide they are, and how sharp the camera sees them.

Across a gap the picture is a bright bar between two black grounds, and many gaps laid over each other make a profile almost without noise.
Its width tells how large the markers are beside the squares (the corners of a thresholded marker would be off by the blur), and its edges
the point spread, which at the corners of squares is mixed up with the marker behind the gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.bar import fit_bars
from calib.errors import TargetNotFoundError
from calib.plane import PlaneFit
from calib.targets import Charuco

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]

MOST_MARKERS = 40
PROFILE_STEP_PX = 0.5
SIDE = np.linspace(-0.3, 0.3, 9)  # where along a side, in squares
BLACK_SPREADS, BLACK_SQUARE = 3.0, 0.33  # how far into the black square is looked
CLEAR_SPREADS, LEAST_BORDER = 1.5, 0.4  # how far from the bits behind the marker's border one stays, and the share of it that is looked at
TELLING_SPREADS = 2.4  # of the point spread gap and border must be wide, or they run into each other
SPREAD_PRIOR = 0.7  # of ln σ
OTHER_RATIOS = (0.75, 0.6, 0.5, 0.85)  # from which the fit begins where it does not settle from that described
MOST_RESIDUAL = 0.1  # root mean square of what the bar may leave, of its contrast
RATIO_SHARE, RATIO_PX = 0.015, 0.5  # by which a marker's side over the square's may differ from what is described


@dataclass(frozen=True)
class Gap:
    """The gap between squares and markers: its width and σ of the point spread, px."""

    width_px: float
    spread_px: float


def measure_gap(picture: Float32s, target: Charuco, plane: PlaneFit, middles_mm: Floats, spread_px: float) -> Gap | None:
    """The mean gap about markers whose middles are at (n, 2) on the board, None where it is too narrow for its blur or not in view.

    `picture` is float32 (height, width), `plane` of the squares' corners, `spread_px` about what the point spread is.
    """
    square_px = 1000 * target.square_mm / plane.um_per_px
    gap_px = (1 - target.marker_mm / target.square_mm) / 2 * square_px
    cells = int(target.dictionary[len("DICT_")]) + 2
    cell_px = target.marker_mm / target.square_mm * square_px / cells
    border_px = max(cell_px - CLEAR_SPREADS * spread_px, LEAST_BORDER * cell_px)
    inwards_px = np.arange(-min(BLACK_SPREADS * spread_px, BLACK_SQUARE * square_px), gap_px + border_px, PROFILE_STEP_PX)
    from_middle, beside = (part.ravel() for part in np.meshgrid(0.5 - inwards_px / square_px, SIDE))
    one, other = np.stack([from_middle, beside], 1), np.stack([beside, from_middle], 1)
    own = np.concatenate([one, -one, other, -other]) * target.square_mm
    places = plane.to_picture((middles_mm[:, None] + own).reshape(-1, 2)).reshape(len(middles_mm), -1, 2)
    inside = ((places > 0) & (places < np.array(picture.shape[::-1]) - 1)).all((1, 2))
    if not inside.any():
        return None
    places = places[inside][:MOST_MARKERS].astype(np.float32)
    levels = cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_CUBIC)
    profile = levels.reshape(-1, len(inwards_px)).mean(0)
    bar = fit_bars(
        inwards_px[None], profile[None], np.zeros(1), np.array([gap_px]), spread_px, spread_prior=SPREAD_PRIOR, shading=0.02, iterations=15
    )
    width, spread = float(bar.width_px[0]), float(bar.spread_px[0])
    if not bar.ok[0] or bar.left_step[0] <= 0 or bar.residual[0] > MOST_RESIDUAL * bar.left_step[0]:
        return None
    if min(width, cell_px) < TELLING_SPREADS * spread:
        return None
    return Gap(width, spread)


def check_ratio(picture: Float32s, target: Charuco, plane: PlaneFit, middles_mm: Floats, spread_px: float) -> None:
    """Refuse a board whose markers are larger or smaller beside the squares than described; arguments as of `measure_gap`.

    Raises:
        TargetNotFoundError: the ratio is another.
    """
    square_px = 1000 * target.square_mm / plane.um_per_px
    described = target.marker_mm / target.square_mm
    gap = None
    for ratio in (described, *(other for other in OTHER_RATIOS if abs(other - described) > 0.05)):
        if (1 - ratio) / 2 * square_px > TELLING_SPREADS * spread_px:
            gap = measure_gap(picture, replace(target, marker_mm=ratio * target.square_mm), plane, middles_mm, spread_px)
        if gap is not None:
            break
    if gap is None:
        return
    ratio = 1 - 2 * gap.width_px / square_px
    if abs(ratio - described) > RATIO_SHARE + RATIO_PX / square_px:
        raise TargetNotFoundError(
            f"the board {target} was not found: its markers are {ratio:.3f} of a square wide, {described:.3f} are described: "
            "give the square's and the marker's side as printed"
        )
