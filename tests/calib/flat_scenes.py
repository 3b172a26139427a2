"""Targets under the simulated lens, with truth, for the tests of finders and fits."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.drawing import draw_target, flat_picture
from calib.targets import Target, parse_target
from device.simulated.faults import CameraFaults
from device.simulated.flat import Flat, grey_flat, photograph_flat
from device.simulated.lens import Lens

SHARP = CameraFaults(defocus_px=0.9, noise=0.008, jpeg_quality=92)
WORN = CameraFaults(
    vignetting=0.25, motion_px=1.2, motion_rad=0.7, defocus_px=1.0, chroma_px=0.35, noise=0.015, sharpen=0.6, jpeg_quality=82
)


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture of a target, how it was taken, and where a place of the target (mm from its middle) is seen in it (px)."""

    image: NDArray[np.uint8]
    target: Target
    lens: Lens
    flat: Flat

    @property
    def um_per_px(self) -> float:
        return self.lens.centre_um_per_px

    def seen(self, mm: NDArray[np.float64]) -> NDArray[np.float64]:
        plane = self.flat.on_plane(np.asarray(mm, np.float64) * 1000)
        return self.lens.project(np.column_stack([plane, np.zeros(len(plane))]))[0]


def lens(
    width: int = 640, height: int = 480, tilt_deg: tuple[float, float] = (3.0, -2.0), k1: float = 0.3, distance_mm: float = 18.0
) -> Lens:
    tilt = math.radians(tilt_deg[0]), math.radians(tilt_deg[1])
    return Lens(width, height, 1900 * width / 640, distance_mm, tilt, k1, -1.0, (2.0, -3.0))


def scene(
    text: str,
    pitch_px: float,
    *,
    under: Lens | None = None,
    turn: float = 0.4,
    shift_px: tuple[float, float] = (9.0, -5.0),
    faults: CameraFaults = SHARP,
    larger: float = 1.3,
    seed: int = 1,
) -> Scene:
    """A picture of the target `text`, in which {p} stands for its pitch and {m} for three quarters of it, mm; `pitch_px` is seen.

    `larger` is the side of the sheet over the diagonal of the picture.
    """
    under = under or lens()
    um = under.centre_um_per_px
    pitch_um = round(um * pitch_px, 1)
    target = parse_target(text.format(p=pitch_um / 1000, m=0.75 * pitch_um / 1000, u=pitch_um))
    side = larger * math.hypot(under.width, under.height) * um / 1000
    # a whole number of pixels a pitch: edges of the drawing lie where they are said to
    fine = pitch_um / (2 * math.ceil(pitch_um / (um / 3) / 2))
    flat = grey_flat(flat_picture(draw_target(target, side, side), fine), fine, turn, (shift_px[0] * um, shift_px[1] * um))
    return Scene(photograph_flat(flat, under, faults, np.random.default_rng(seed)), target, under, flat)


def off_truth(pixels: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the nearest true place to each pixel, px (n, 2)."""
    nearest = np.argmin(np.sum((pixels[:, None] - truth[None]) ** 2, 2), 1)
    return pixels - truth[nearest]
