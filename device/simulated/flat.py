"""Anything flat under the simulated lens: a picture of known µm per px, laid down, turned and shifted, seen with distortion and tilt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

from device.simulated.faults import Faults
from device.simulated.fields import Picture
from device.simulated.lens import Lens
from device.simulated.scene import photograph
from device.simulated.sensor import Image

KNOTS = (25, 33)  # of the spline through the lens's own projection; it is smooth, the spline's error is below 1e-5 px
FINER = 3  # samples a side of each pixel


@dataclass(frozen=True, eq=False)
class Flat:
    """A flat picture, its middle where the optical axis meets the plane.

    Attributes:
        picture: float32 (height, width, 3) BGR 0…1.
        um_per_px: of `picture`; at most a third of the lens's scale, or its own pixels are seen.
        turn_rad: clockwise as seen; `shift_um` moves it right and down after that.
        around: brightness of the plane beyond the picture.
    """

    picture: Picture
    um_per_px: float
    turn_rad: float = 0.0
    shift_um: tuple[float, float] = (0.0, 0.0)
    around: float = 0.85

    def places(self, world_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where points (n, 2) of the plane, µm, lie in `picture`, px (n, 2)."""
        c, s = math.cos(self.turn_rad), math.sin(self.turn_rad)
        own = (world_um - self.shift_um) @ np.array([[c, -s], [s, c]])
        middle = (self.picture.shape[1] - 1) / 2, (self.picture.shape[0] - 1) / 2
        return np.asarray(own / self.um_per_px + middle, np.float64)

    def on_plane(self, own_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where points (n, 2) of the flat picture, µm from its middle, lie on the plane, µm (n, 2)."""
        c, s = math.cos(self.turn_rad), math.sin(self.turn_rad)
        return np.asarray(own_um @ np.array([[c, s], [-s, c]]) + self.shift_um, np.float64)


def grey_flat(picture: NDArray[np.float32], um_per_px: float, turn_rad: float = 0.0, shift_um: tuple[float, float] = (0.0, 0.0)) -> Flat:
    """A flat of a grey picture, float32 (height, width) 0…1, printed: black at 0.06, white at 0.85."""
    printed = np.asarray(0.06 + 0.79 * picture, np.float32)
    return Flat(np.repeat(printed[..., None], 3, axis=2), um_per_px, turn_rad, shift_um)


def see_flat(flat: Flat, lens: Lens) -> Picture:
    """The flat under the lens, float32 (height, width, 3) BGR 0…1, before any fault of lens and sensor; pixels average their area."""
    y, x = np.linspace(-0.5, lens.height - 0.5, KNOTS[0]), np.linspace(-0.5, lens.width - 0.5, KNOTS[1])
    gx, gy = np.meshgrid(x, y)
    places = flat.places(lens.on_skin(np.stack([gx.ravel(), gy.ravel()], 1)))
    fine_y = (np.arange(lens.height * FINER) + 0.5) / FINER - 0.5
    fine_x = (np.arange(lens.width * FINER) + 0.5) / FINER - 0.5
    maps = [RectBivariateSpline(y, x, places[:, axis].reshape(KNOTS))(fine_y, fine_x).astype(np.float32) for axis in (0, 1)]
    fine = cv2.remap(flat.picture, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(flat.around,) * 3)
    return np.asarray(cv2.resize(fine, (lens.width, lens.height), interpolation=cv2.INTER_AREA), np.float32)


def photograph_flat(flat: Flat, lens: Lens, faults: Faults, rng: np.random.Generator) -> Image:
    """The picture that a camera takes of the flat, uint8 (height, width, 3) BGR, decoded from its JPEG."""
    jpeg = photograph(see_flat(flat, lens), faults, rng, larger=lens.width / 640)
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
