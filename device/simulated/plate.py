"""A plate under the simulated microscope: any flat picture of known µm per px, as a PNG file whose pHYs says its resolution.

A plate with clear parts (alpha) is a hood's rim: fixed to the camera, the scalp is seen through its opening. An opaque one is a
calibration target on the table, which replaces the scalp and moves under the camera. This module knows nothing of what is printed on it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

from device.errors import CameraNotFoundError, CameraUriError
from device.picturefile import MAX_PICTURE_BYTES, NotAPictureError, inspect_picture, picture_size
from device.simulated.fields import Picture, smooth_field
from device.simulated.flat import FINER, KNOTS, Flat, see_flat
from device.simulated.lens import Lens, defocus
from device.simulated.scene import Scene
from device.simulated.sensor import Image

WALL = 0.07  # brightness of what lies beyond a hood's rim
BLACK, WHITE = 0.06, 0.85  # of print and paper under the microscope's light, as in flat.py
MAX_RIM_PIXELS = 16_000_000  # as floats that is 200 MB, and twice that is needed
SCALES_UM = (0.2, 100.0)  # per px of a plate: finer nobody draws, coarser no microscope needs
OUT_OF_FOCUS_PX = 0.7  # σ, of a rim in a picture 640 px wide
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, eq=False)
class Plate:
    """A flat picture of known scale.

    Attributes:
        image: uint8 (height, width, 3) BGR as printed, 0 black ink, 255 white paper.
        opacity: uint8 (height, width), 0 where it is clear; None where all of it is opaque.
        um_per_px: of `image`.
    """

    image: NDArray[np.uint8]
    opacity: NDArray[np.uint8] | None
    um_per_px: float


def rim_plate(picture: NDArray[np.float32], um_per_px: float, hole_um: float) -> Plate:
    """A plate of a grey picture, float32 (height, width) 0…1, with a round opening of `hole_um` in its middle."""
    height, width = picture.shape
    x, y = (np.arange(side) - (side - 1) / 2 for side in (width, height))
    inside_px = hole_um / 2 / um_per_px - np.hypot(x[None], y[:, None])
    opacity = np.asarray(np.rint(255 * np.clip(0.5 - inside_px, 0, 1)), np.uint8)
    return Plate(np.repeat(np.asarray(np.rint(picture * 255), np.uint8)[..., None], 3, axis=2), opacity, um_per_px)


def see_plate(plate: Plate, lens: Lens, turn_rad: float = 0.0, shift_um: tuple[float, float] = (0.0, 0.0)) -> tuple[Picture, Picture]:
    """(the plate under the lens, float32 (height, width, 3) BGR 0…1; how opaque it is there, float32 (height, width, 1))."""
    printed = plate.image * np.float32((WHITE - BLACK) / 255) + np.float32(BLACK)
    rim = plate.opacity is not None
    seen = see_flat(Flat(np.asarray(printed, np.float32), plate.um_per_px, turn_rad, shift_um, WALL if rim else WHITE), lens)
    if plate.opacity is None:
        return seen, np.ones((lens.height, lens.width, 1), np.float32)
    veil = np.repeat((plate.opacity * np.float32(1 / 255))[..., None], 3, axis=2)
    return seen, see_flat(Flat(veil, plate.um_per_px, turn_rad, shift_um, 1.0), lens)[..., :1]


def ringed_scene(
    scene: Scene,
    plate: Plate,
    lens: Lens,
    *,
    turn_rad: float = 0.0,
    shift_um: tuple[float, float] = (0.0, 0.0),
    crossing: float = 0.3,
    seed: int = 0,
) -> Picture:
    """A scalp seen through the opening of a plate, before any fault of lens and sensor: float32 (height, width, 3) BGR 0…1.

    Args:
        scene: rendered in the size and at the scale of `lens` (`render_scene(…, um_per_px=lens.centre_um_per_px, hooded=False)`).
        plate: at most a third of the lens's µm per px.
        crossing: share of the picture in which hair lies over the plate; elsewhere it lies under it. `seed` says where.
    """
    rim, opacity = see_plate(plate, lens, turn_rad, shift_um)
    rng = np.random.default_rng([seed, 29])
    height, width = scene.mask.shape
    where = smooth_field(rng, (height, width), 90.0 * width / 640)
    over = scene.mask & (where > np.quantile(where, 1 - crossing)) if crossing > 0 else np.zeros_like(scene.mask)
    hair = cv2.GaussianBlur(over.astype(np.float32), (0, 0), 0.6 * width / 640)[..., None]
    opacity = opacity * (1 - hair)
    return np.asarray(scene.picture + (rim - scene.picture) * opacity, np.float32)


@dataclass(frozen=True, eq=False)
class PlateView:
    """A plate as the live camera uses it, in eight bits, all that can be made beforehand.

    Attributes:
        lens: through which it is seen.
        x_um, y_um: float32 (height, width), which place of the plane each pixel sees.
        target: the picture of an opaque plate, uint8 (…, …, 3) BGR, and its µm per px; None for a rim.
        rim: uint8 (height, width, 3), what a rim adds to the picture, and `veil`, how much of the scalp it lets through, 255 all.
    """

    lens: Lens
    x_um: NDArray[np.float32]
    y_um: NDArray[np.float32]
    target: tuple[Image, float] | None
    rim: Image | None
    veil: Image | None

    def see_target(self, shift_um: tuple[float, float]) -> Image:
        """The opaque plate moved by `shift_um`, uint8 (height, width, 3)."""
        assert self.target is not None
        image, um_per_px = self.target
        height, width = image.shape[:2]
        middle = (width - 1) / 2 - shift_um[0] / um_per_px, (height - 1) / 2 - shift_um[1] / um_per_px
        return self._sample(image, um_per_px, middle, cv2.BORDER_CONSTANT)

    def see_scalp(self, image: Image, um_per_px: float, middle: tuple[float, float]) -> Image:
        """Skin of `um_per_px` with the place `middle`, px of `image`, in the middle, uint8 (height, width, 3)."""
        return self._sample(image, um_per_px, middle, cv2.BORDER_REPLICATE)

    def lay_over(self, image: Image) -> Image:
        """A picture of the scalp with the rim over it."""
        if self.rim is None or self.veil is None:
            return image
        return np.asarray(cv2.add(cv2.multiply(image, self.veil, scale=1 / 255), self.rim), np.uint8)

    def _sample(self, image: Image, um_per_px: float, middle: tuple[float, float], border: int) -> Image:
        x = self.x_um * np.float32(1 / um_per_px) + np.float32(middle[0])
        y = self.y_um * np.float32(1 / um_per_px) + np.float32(middle[1])
        paper = (round(255 * WHITE),) * 3
        return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=border, borderValue=paper), np.uint8)


def read_plate(path: Path) -> Plate:
    """The plate in a PNG file.

    Raises:
        CameraNotFoundError: there is no such file, or it cannot be read.
        CameraUriError: it is no PNG, is too large or damaged, or does not say how large its pixels are.
    """
    try:
        if not path.is_file():
            raise CameraNotFoundError(f"there is no plate {path}: plate=FILE.png names a picture drawn by `trichoscope calibrate target`")
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise CameraUriError(f"plate {path} is over {MAX_PICTURE_BYTES // 2**20} MB: draw it at fewer dots per inch")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise CameraNotFoundError(f"plate {path} cannot be read: {error}") from error
    try:
        width, height = picture_size(content)
        um_per_px = png_um_per_px(content)
        inspect_picture(content)  # refuses one with too many pixels before decoding it
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise NotAPictureError("cannot be decoded")
    except (NotAPictureError, cv2.error) as error:
        raise CameraUriError(f"plate {path}: {error}: draw it with `trichoscope calibrate target KIND --bare --out FILE.png`") from error
    if image.dtype != np.uint8:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
    channels = 1 if image.ndim == 2 else image.shape[2]
    opacity = np.ascontiguousarray(image[..., 3]) if channels == 4 else None
    colour = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if channels == 1 else np.ascontiguousarray(image[..., :3])
    clear = opacity is not None and bool((opacity < 128).any())
    if clear and width * height > MAX_RIM_PIXELS:
        most = f"{MAX_RIM_PIXELS // 10**6} megapixels"
        raise CameraUriError(f"plate {path}: {width}×{height} px with clear parts are over {most}: draw it at fewer dots per inch")
    return Plate(np.asarray(colour, np.uint8), np.asarray(opacity, np.uint8) if clear else None, um_per_px)


def png_um_per_px(content: bytes) -> float:
    """µm per px that the header of a PNG states (chunk pHYs, pixels per metre; PNG specification, 11.3.4.3).

    Raises:
        NotAPictureError: no PNG, or it states none, or one that differs in x and y or cannot be a target's.
    """
    if not content.startswith(PNG_SIGNATURE):
        raise NotAPictureError("is no PNG")
    at = len(PNG_SIGNATURE)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IDAT":
            break
        if kind == b"pHYs" and length == 9 and at + 17 <= len(content):
            across, down, unit = struct.unpack_from(">IIB", content, at + 8)
            if unit != 1 or across != down or not SCALES_UM[0] <= 1e6 / max(across, 1) <= SCALES_UM[1]:
                raise NotAPictureError(f"its pixels ({across}×{down} per unit {unit}) are not of {SCALES_UM[0]:g} to {SCALES_UM[1]:g} µm")
            return 1e6 / float(across)
        at += length + 12
    raise NotAPictureError("it does not say how large its pixels are (no pHYs)")


def view_plate(plate: Plate, lens: Lens) -> PlateView:
    """The plate prepared for the live camera."""
    y, x = np.linspace(0, lens.height - 1, KNOTS[0]), np.linspace(0, lens.width - 1, KNOTS[1])
    gx, gy = np.meshgrid(x, y)
    plane = lens.on_skin(np.stack([gx.ravel(), gy.ravel()], 1))
    x_um, y_um = (
        RectBivariateSpline(y, x, plane[:, axis].reshape(KNOTS))(np.arange(lens.height), np.arange(lens.width)).astype(np.float32)
        for axis in (0, 1)
    )
    if plate.opacity is None:
        half = _reduced(plate, lens.centre_um_per_px / 2)
        light = np.array([BLACK + (WHITE - BLACK) * level / 255 for level in range(256)])
        printed = cv2.LUT(half.image, np.asarray(np.rint(255 * light), np.uint8))
        # a pixel of the camera averages over its area, two by two of these
        return PlateView(lens, x_um, y_um, (np.asarray(cv2.blur(printed, (2, 2), anchor=(0, 0)), np.uint8), half.um_per_px), None, None)
    rim, opacity = see_plate(_reduced(plate, lens.centre_um_per_px / FINER), lens)
    sigma = OUT_OF_FOCUS_PX * lens.width / 640
    covered = defocus(np.asarray(np.repeat(opacity, 3, axis=2), np.float32), sigma)
    added = defocus(np.asarray(rim * opacity, np.float32), sigma)
    whole = [np.asarray(np.rint(255 * np.clip(part, 0, 1)), np.uint8) for part in (added, 1 - covered)]
    return PlateView(lens, x_um, y_um, None, whole[0], whole[1])


def _reduced(plate: Plate, um_per_px: float) -> Plate:
    """The plate with larger pixels, of `um_per_px` at most, where its own are half as large or less.

    By a whole number, to which it is padded, so that its scale stays exact; its middle moves by less than one of the new pixels.
    """
    step = int(um_per_px / plate.um_per_px)
    if step < 2:
        return plate
    height, width = plate.image.shape[:2]

    def smaller(picture: Image) -> Image:
        padded = cv2.copyMakeBorder(picture, 0, -height % step, 0, -width % step, cv2.BORDER_REPLICATE)
        size = padded.shape[1] // step, padded.shape[0] // step
        return np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), np.uint8)

    return Plate(smaller(plate.image), None if plate.opacity is None else smaller(plate.opacity), plate.um_per_px * step)
