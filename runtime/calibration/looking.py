"""One look at a target: taken or not, and why not, in words for the person who holds the microscope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibrationError
from calib.targets import Target

if TYPE_CHECKING:
    from calib.view import TargetView

MAX_STD_SHARE = 0.01  # of the scale; a worse look says less than the next one will
MAX_TILT_DEG = 10.0  # beyond it one side of the target is out of focus at most distances
DARK, BRIGHT = 30.0, 250.0  # mean grey levels of a picture in which nothing can be found
FLAT = 4.0  # grey levels between the 5th and 95th percentile of a picture without anything in it


@dataclass(frozen=True)
class Look:
    """What a frame showed.

    Attributes:
        view: what was found of the target; None where nothing is taken of it.
        said: one line for the person: what is seen, or what is wrong and what to do.
    """

    view: TargetView | None
    said: str

    @property
    def taken(self) -> bool:
        """Whether the frame counts."""
        return self.view is not None

    @property
    def std_share(self) -> float:
        """Standard uncertainty of the scale as a share of it: the smaller, the better the look. Infinite where nothing was taken."""
        return np.inf if self.view is None else self.view.um_per_px_std / self.view.um_per_px


def look(image: NDArray[np.uint8], target: Target) -> Look:
    """Look for the target in a frame, uint8 (height, width, 3) BGR."""
    from calib.view import look_at

    try:
        view = look_at(image, target)
    except CalibrationError as error:
        return Look(None, _light(image) or str(error))
    if view.tilt_deg is not None and view.tilt_deg > MAX_TILT_DEG:
        return Look(None, f"tilted by {view.tilt_deg:.0f}°: hold the microscope square to the target, within {MAX_TILT_DEG:g}°")
    if view.um_per_px_std > MAX_STD_SHARE * view.um_per_px:
        unsure = 100 * view.um_per_px_std / view.um_per_px
        return Look(None, f"seen, but the scale is unsure by {unsure:.1f} %: focus, and let more of the target into view")
    return Look(view, described(view))


def described(view: TargetView) -> str:
    """One line: scale, points, tilt and blur of a view."""
    tilt = "" if view.tilt_deg is None else f", tilted {view.tilt_deg:.1f}°"
    blur = "" if view.psf_sigma_px is None else f", blur σ {view.psf_sigma_px:.1f} px"
    return f"{view.um_per_px:.4f} ± {view.um_per_px_std:.4f} µm/px from {view.n_points} points{tilt}{blur}"


def _light(image: NDArray[np.uint8]) -> str:
    """What is wrong with the light, where that is why nothing was found; "" where it is not."""
    green = image[::4, ::4, 1]
    mean, spread = float(green.mean()), float(np.subtract(*np.percentile(green, (95, 5))))
    if mean < DARK:
        return f"too dark (mean level {mean:.0f} of 255): switch the light on, or raise the exposure"
    if mean > BRIGHT:
        return f"too bright (mean level {mean:.0f} of 255): lower the light or the exposure"
    if spread < FLAT:
        return "nothing in the picture but one even grey: lay the target under the microscope, and focus"
    return ""
