"""The focal length that views of a tilted target tell by themselves, whatever its pitch: by it a wrong pitch is seen.

A plane tilted by θ is drawn out to 1/cos θ along the tilt, and its scale, √|det J| ∝ depth^(3/2), changes by 1.5·tan θ/f a pixel (compare
`calib.tilt`). Both together give f in px from each view; a curve of scales over distances gives it as 1000/b, in which the pitch is. The
two agree with the focus locked. Refocused on u, f of the perspective is larger by u/(u − F) (thin lens of focal length F).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calib.errors import CurveError
from calib.plane import PlaneFit
from calib.profile_parts import FocusMode

LEAST_DRAWN_OUT = 4e-4  # 1.6° of tilt, where noise of 1e-4 still leaves the focal length to an eighth
DRAWN_OUT_STDS = 6.0  # and at least so many relative standard errors of the scale
SAME_WAY = math.cos(math.radians(25))  # drawn out and sloping along one direction; pixels that are not square do not
LEAST_VIEWS = 3
LEAST_SHARE = 0.6  # of the tilted views go the same way, else there is more to it than tilt
LARGEST_SCATTER = 0.25  # of ln f among them
# the perspective's focal length over the curve's: between these no pitch is called wrong
LEAST_RATIO = 1 / 1.4
MOST_RATIO: dict[FocusMode, float] = {"locked": 1.6, "refocused": 2.2}


def perspective_focal_px(planes: Sequence[PlaneFit]) -> float | None:
    """The focal length in px that most tilted views agree on; None where too few are tilted, or they do not agree."""
    tilted = [told for plane in planes if plane.tilt_deg is not None and (told := _told(plane)) is not None]
    focal = np.array([focal for focal, along in tilted if along >= SAME_WAY])
    if len(focal) < max(LEAST_VIEWS, LEAST_SHARE * len(tilted)):
        return None
    logs = np.log(focal)
    middle = float(np.median(logs))
    if 1.4826 * float(np.median(np.abs(logs - middle))) > LARGEST_SCATTER:
        return None
    return math.exp(middle)


def refuse_wrong_pitch(planes: Sequence[PlaneFit], curve_focal_px: float, focus_mode: FocusMode) -> None:
    """Raise CurveError where the views' perspective cannot be that of the lens which the curve's slope describes."""
    focal = perspective_focal_px(planes)
    if focal is None:
        return
    ratio = focal / curve_focal_px
    if not LEAST_RATIO <= ratio <= MOST_RATIO[focus_mode]:
        raise CurveError(
            f"the perspective in the pictures is that of a focal length of {focal:.0f} px, the scales over the distances that of "
            f"{curve_focal_px:.0f} px: implausible for the lens: check the pitch of the target (about {1 / ratio:.2g} of the one stated "
            "would fit), and that the distances are in mm"
        )


def _told(plane: PlaneFit) -> tuple[float, float] | None:
    """(focal length in px, |cosine| between the directions of drawing out and of slope); None for a view that is hardly tilted."""
    slope = np.array(plane.slope_per_px)
    steep = float(np.hypot(*slope))
    stretched, along = _drawn_out(plane)
    if stretched - 1 < max(LEAST_DRAWN_OUT, DRAWN_OUT_STDS * plane.um_per_px_std / plane.um_per_px) or steep == 0:
        return None
    return 1.5 * math.sqrt(stretched**2 - 1) / steep, abs(float(along @ slope)) / steep


def _drawn_out(plane: PlaneFit) -> tuple[float, NDArray[np.float64]]:
    """Ratio of the larger to the smaller principal scale in the middle, and the direction (2,) of the larger in the picture."""
    mapped = plane.homography @ np.append(plane.lens.undistort(np.array([plane.lens.middle_px]))[0], 1.0)
    jacobian = (plane.homography[:2, :2] - np.outer(mapped[:2] / mapped[2], plane.homography[2, :2])) / mapped[2]
    _, singular, directions = np.linalg.svd(jacobian)
    return float(singular[0] / singular[1]), np.asarray(directions[0], np.float64)
