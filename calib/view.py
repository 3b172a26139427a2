"""One picture of one target, read: what the microscope sees of it, and everything that this tells about the scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.errors import TargetNotFoundError
from calib.lens import RadialLens
from calib.plane import PlaneFit, fit_plane
from calib.points import TargetPoints
from calib.scale import MAX_UM_PER_PX, MIN_UM_PER_PX
from calib.sharpness import point_spread
from calib.targets import Charuco, Checker, Dots, Micrometer, Target

LEAST_SIDE_PX = 64
LEAST_USED = 0.7  # of the points found must lie where one plane puts them
LARGEST_NOISE_PX, LARGEST_NOISE = 0.6, 0.03  # root mean square of the residuals that a target seen rightly can have, px and of its pitch
# what 20° of tilt does; more is no flat target seen through square pixels, or one whose rows are not as far apart as its columns
LARGEST_ANISOTROPY = 1.06
LARGEST_STD = 0.03  # share of the scale; a scale known worse is none


@dataclass(frozen=True, eq=False)
class TargetView:
    """A target as seen in one picture.

    Attributes:
        target: what was looked for.
        um_per_px: at the middle of the picture, in the target's plane.
        um_per_px_std: its standard uncertainty; what seeing the target costs, and the tolerance of its pitch where that was given.
        um_per_px_x, um_per_px_y: along the picture's x and y, None where a ruler does not show that direction.
        tilt_deg: between target and sensor, None for a ruler.
        psf_sigma_px: σ of the point spread near the middle, None where the target's edges do not tell.
        n_points: how many points the scale rests on.
        points: all that were found.
        plane: as fitted to them.
    """

    target: Target
    um_per_px: float
    um_per_px_std: float
    um_per_px_x: float | None
    um_per_px_y: float | None
    tilt_deg: float | None
    psf_sigma_px: float | None
    n_points: int
    points: TargetPoints
    plane: PlaneFit


def look_at(image: NDArray[np.uint8], target: Target, *, lens: RadialLens | None = None, pitch_std_percent: float = 0.0) -> TargetView:
    """Find the target in a picture, uint8 (height, width, 3) BGR, and read the scale from it.

    Args:
        image: as the camera gave it.
        target: what lies there.
        lens: the distortion where it is known; else it is fitted to this picture.
        pitch_std_percent: standard uncertainty of the target's own pitch, which adds to that of the scale.

    Raises:
        TargetNotFoundError: the target is not in the picture, or what was found cannot be it; the message says what to do.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise TargetNotFoundError(f"a picture of shape {image.shape} and type {image.dtype}: give uint8 (height, width, 3)")
    height, width = image.shape[:2]
    if min(height, width) < LEAST_SIDE_PX:
        raise TargetNotFoundError(f"a picture of {width}×{height} px is too small for a target: {LEAST_SIDE_PX} px a side at least")
    points = _find(image, target)
    plane = fit_plane(points, width, height, lens)
    _check(target, points, plane)
    tolerance = plane.um_per_px * pitch_std_percent / 100
    return TargetView(
        target=target,
        um_per_px=plane.um_per_px,
        um_per_px_std=math.hypot(plane.um_per_px_std, tolerance),
        um_per_px_x=plane.um_per_px_x,
        um_per_px_y=plane.um_per_px_y,
        tilt_deg=plane.tilt_deg,
        psf_sigma_px=point_spread(image, target, points, plane),
        n_points=int(plane.used.sum()),
        points=points,
        plane=plane,
    )


def _find(image: NDArray[np.uint8], target: Target) -> TargetPoints:
    # each finder is imported where it is used: the live view needs only that of the ring
    if isinstance(target, Charuco | Checker):
        from calib.finding.boards import find_board

        return find_board(image, target)
    if isinstance(target, Dots):
        from calib.finding.dots import find_dots

        return find_dots(image, target)
    if isinstance(target, Micrometer):
        from calib.finding.ruler import find_ruler

        return find_ruler(image, target)
    from calib.finding.ring import find_ring

    return find_ring(image, target)


def _check(target: Target, points: TargetPoints, plane: PlaneFit) -> None:
    """Refuse a fit that cannot be of the target."""
    n, used = len(points), int(plane.used.sum())
    if used < LEAST_USED * n:
        raise TargetNotFoundError(
            f"only {used} of {n} points of {target} lie where a flat target would have them: "
            "check which target lies there, and that it lies flat and alone in view"
        )
    largest = LARGEST_NOISE_PX
    if isinstance(target, Charuco | Checker | Dots | Micrometer):
        largest = max(0.2, min(largest, LARGEST_NOISE * 1000 * target.pitch_mm / plane.um_per_px))
    if plane.noise_px > largest:
        raise TargetNotFoundError(
            f"the points of {target} lie {plane.noise_px:.2f} px off those of a flat target on average, {largest:.2f} px at most is "
            "expected: check which target lies there, and that it lies flat and the camera still"
        )
    if plane.anisotropy > LARGEST_ANISOTROPY:
        raise TargetNotFoundError(
            f"{target} is seen drawn out by {plane.anisotropy - 1:.0%} in one direction: "
            "lay it flat under the microscope, or give the target as it was printed"
        )
    if not MIN_UM_PER_PX <= plane.um_per_px <= MAX_UM_PER_PX:
        raise TargetNotFoundError(
            f"{target} would give {plane.um_per_px:.4g} µm per px, no microscope's scale ({MIN_UM_PER_PX} to {MAX_UM_PER_PX}): "
            "check the pitch that was given"
        )
    if plane.um_per_px_std > LARGEST_STD * plane.um_per_px:
        raise TargetNotFoundError(
            f"{used} points of {target} tell the scale only to {plane.um_per_px_std / plane.um_per_px:.1%}: bring more of it into view"
        )
