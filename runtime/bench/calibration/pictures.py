"""Pictures of targets whose scale is known exactly: drawn, laid under a pinhole with distortion and tilt, and taken by a faulty camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.drawing import draw_target, flat_picture
from calib.targets import Charuco, Checker, Dots, Micrometer, Target
from device.simulated.faults import draw_faults
from device.simulated.flat import FINER, grey_flat, photograph_flat
from device.simulated.lens import Lens

WIDTH, HEIGHT = 640, 480
NEAREST_MM, FARTHEST_MM = 5.0, 40.0
MOST_TILT_RAD = math.radians(5.0)
SHEET = 1.7  # of the field's width: a turned and shifted sheet still fills the frame
KINDS = ("charuco", "checker", "dots", "micrometer")
# pitches that are sold or can be printed, mm, and how many px they may have in the picture
PITCHES_MM = {
    "charuco": ((0.1, 0.2, 0.5, 1.0, 2.0), (34.0, 130.0)),
    "checker": ((0.1, 0.2, 0.5, 1.0, 2.0), (20.0, 90.0)),
    "dots": ((0.05, 0.1, 0.2, 0.5, 1.0), (13.0, 60.0)),
    "micrometer": ((0.01, 0.05, 0.1, 0.2, 0.5), (7.0, 40.0)),
}
MARKER_SHARE = 0.75


@dataclass(frozen=True)
class Optics:
    """A microscope: its focal length in px and what its lens does, whatever the distance."""

    focal_px: float
    k1: float
    k2: float
    offset_px: tuple[float, float]

    def lens(self, distance_mm: float, tilt_rad: tuple[float, float] = (0.0, 0.0)) -> Lens:
        """The lens at a distance."""
        return Lens(WIDTH, HEIGHT, self.focal_px, distance_mm, tilt_rad, self.k1, self.k2, self.offset_px)


@dataclass(frozen=True, eq=False)
class TruePicture:
    """A picture of a target, uint8 (height, width, 3) BGR, and the scale at its middle in the target's plane."""

    image: NDArray[np.uint8]
    target: Target
    um_per_px: float


def draw_optics(rng: np.random.Generator) -> Optics:
    """A microscope of an ordinary kind."""
    k1 = float(rng.uniform(-0.4, 0.4))
    x, y = (float(v) for v in rng.normal(0.0, 2.5, 2))
    return Optics(float(rng.uniform(1500, 2300)), k1, float(-np.sign(k1) * rng.uniform(0.0, 1.2)), (x, y))


def draw_kind(kind: str, um_per_px: float, rng: np.random.Generator) -> Target:
    """A target of the kind whose pitch suits the scale."""
    pitches, (least, most) = PITCHES_MM[kind]
    fit = [pitch for pitch in pitches if least <= 1000 * pitch / um_per_px <= most]
    pitch = float(rng.choice(fit)) if fit else min(pitches, key=lambda p: abs(math.log(1000 * p / um_per_px / math.sqrt(least * most))))
    if kind == "charuco":
        return Charuco(14, 11, pitch, MARKER_SHARE * pitch, "DICT_5X5_250")
    if kind == "checker":
        return Checker(pitch)
    return Dots(pitch) if kind == "dots" else Micrometer(1000 * pitch)


def picture_of(target: Target, lens: Lens, rng: np.random.Generator, *, shift_share: float = 0.15, square_on: bool = False) -> TruePicture:
    """The target anyhow turned and shifted under the lens; `square_on` lays it as a careful person would."""
    um = lens.centre_um_per_px
    side_mm = SHEET * WIDTH * um / 1000
    fine = um / FINER
    ruler = isinstance(target, Micrometer)
    drawing = draw_target(target, side_mm, side_mm / 2 if ruler else side_mm)
    turn = float(rng.uniform(-0.1, 0.1)) if square_on else float(rng.uniform(0, 2 * math.pi))
    shift = rng.uniform(-1, 1, 2) * shift_share * np.array([WIDTH, HEIGHT]) * um
    flat = grey_flat(flat_picture(drawing, fine), fine, turn, (float(shift[0]), float(shift[1])))
    return TruePicture(photograph_flat(flat, lens, draw_faults(rng), rng), target, um)


def any_picture(kind: str, seed: int) -> TruePicture:
    """A picture of a target of the kind by a microscope of its own at 5–40 mm, tilted by up to 5°."""
    rng = np.random.default_rng([seed, KINDS.index(kind), 5])
    optics = draw_optics(rng)
    distance = float(np.exp(rng.uniform(math.log(NEAREST_MM), math.log(FARTHEST_MM))))
    return picture_of(draw_kind(kind, 1000 * distance / optics.focal_px, rng), optics.lens(distance, draw_tilt(rng)), rng)


def draw_tilt(rng: np.random.Generator) -> tuple[float, float]:
    """Up to 5° in any direction."""
    angle, direction = MOST_TILT_RAD * math.sqrt(float(rng.random())), float(rng.uniform(0, 2 * math.pi))
    return angle * math.cos(direction), angle * math.sin(direction)
