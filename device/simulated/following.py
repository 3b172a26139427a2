"""The simulated microscope in the simulated hand: the small file that tells where the hand is, and what distance and light then show.

`trichoscope simulate handpiece --follow FILE` rewrites FILE about 20 times a second (a new file is renamed over the old one, so that it
is always whole) and removes it at the end; the camera `simulated:?hand=FILE` reads it. It is one JSON object: `distance_mm` from the range
sensor to the skin, `lights` (levels of white, cross and uv, 0…100, or null where the microscope shines by itself), and `monotonic_s` of
the machine's monotonic clock, the same in all its processes.

The camera is a pinhole behind the range sensor, so that everything in view shrinks as the distance from the pinhole grows: `ratio` here is
that distance over the one in contact, for which the scenes are rendered and on which the lens is focused.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from device.handpiece.sentences import Light
from device.simulated.hand import PLACES_MM
from device.simulated.plate import PlateView
from device.simulated.sensor import Image

CONTACT_MM = PLACES_MM["contact"]
PINHOLE_MM = 7.0  # from the range sensor back to the pinhole, of a camera without a plate
AWAY_MM = 60.0  # further off, the hand has been lifted, and comes down on the next scalp
MOST_MM = 1000.0
CLOSEST = 0.25  # ratio: nothing comes nearer to the pinhole, whatever a file says
MAX_BYTES = 4096  # of the file; ours has about 100
LOOK_S = 0.05  # between two looks at the file
STALE_S = 1.0
FULL_BLUR_PX = 12.0  # σ of what is infinitely far off, in a picture 640 px wide
GAMMA = 2.2  # grey levels go with this root of the light
# the light on the skin in contact at full level, BGR, 1 that for which the scenes are rendered
LAMPS_BGR: dict[Light, tuple[float, float, float]] = {"white": (1.0, 1.0, 1.0), "cross": (0.45, 0.45, 0.45), "uv": (0.3, 0.03, 0.12)}
ROOM = 0.0008  # what other light there is
GLOSS_LEVEL, GLOSS_SHARE = 185.0, 0.5  # of what is brighter than this, crossed polarisers take that share


@dataclass(frozen=True)
class HandState:
    """What the file tells: `lights` None where the microscope shines by itself; `monotonic_s` when it was so."""

    distance_mm: float
    lights: Mapping[Light, int] | None
    monotonic_s: float


@dataclass(frozen=True, eq=False)
class Held:
    """How the camera is held at one moment.

    Attributes:
        slot: how often it has been lifted off.
        ratio: distance over that in contact, pinhole to skin: what 1 px of the skin's picture has grown to.
        table: uint8 (1, 256, 3), the grey level, BGR, that this light leaves of each.
    """

    slot: int
    ratio: float
    table: Image

    def blur_px(self, width: int) -> float:
        """σ of the defocus in a picture of `width` px."""
        return blur_at(self.ratio, width)


class HandFollower:
    """Looks at the file of a hand, at most every LOOK_S. One thread calls it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._looked_s = -LOOK_S
        self._state: HandState | None = None
        self._slot, self._away = 0, True

    def look(self, now_s: float, pinhole_mm: float = PINHOLE_MM) -> Held | None:
        """How the camera is held at `now_s` (monotonic); None where the file is absent or damaged, or older than STALE_S."""
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._state = read_state(self._file)
        state = self._state
        if state is None or abs(now_s - state.monotonic_s) > STALE_S:  # one from the future is of before the last start of the machine
            return None
        away = state.distance_mm > AWAY_MM
        self._slot += away and not self._away
        self._away = away
        ratio = ratio_at(state.distance_mm, pinhole_mm)
        return Held(self._slot, ratio, light_table(state.lights, ratio))


def read_state(file: Path) -> HandState | None:
    """What the file tells, however old; None where it is absent, unreadable, no plain file, over MAX_BYTES, or damaged."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a named pipe must not hold up the camera
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            content = os.read(descriptor, MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return None
    return None if len(content) > MAX_BYTES else decode_state(content)


def decode_state(content: bytes) -> HandState | None:
    """The state in the bytes of a file, None where they are damaged."""
    try:
        read = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict) or "lights" not in read:
        return None
    distance, lights, at = (read.get(name) for name in ("distance_mm", "lights", "monotonic_s"))
    if not (_within(distance, MOST_MM) and _within(at, 1e12)):
        return None
    if lights is None:
        return HandState(float(distance), None, float(at))
    if not isinstance(lights, dict) or not all(_within(lights.get(light), 100) for light in get_args(Light)):
        return None
    return HandState(float(distance), {light: int(lights[light]) for light in get_args(Light)}, float(at))


def write_state(file: Path, state: HandState) -> None:
    """Put the state in the place of the file. Raises OSError where that cannot be written."""
    told = {
        "distance_mm": round(min(state.distance_mm, MOST_MM), 4),
        "lights": None if state.lights is None else dict(state.lights),
        "monotonic_s": state.monotonic_s,
    }
    fresh = _fresh(file)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as out:
        out.write(json.dumps(told).encode())
    fresh.replace(file)


@contextmanager
def state_file(file: Path | None) -> Iterator[Callable[[HandState], None]]:
    """What writes the states; the file is gone afterwards. With None, nothing is written."""
    if file is None:
        yield lambda state: None
        return
    try:
        yield lambda state: write_state(file, state)
    finally:
        for left in (file, _fresh(file)):
            left.unlink(missing_ok=True)


def ratio_at(distance_mm: float, pinhole_mm: float = PINHOLE_MM) -> float:
    """(distance + pinhole) / (contact + pinhole): the scale, µm per px, at this distance over that in contact."""
    return max(CLOSEST, (distance_mm + pinhole_mm) / (CONTACT_MM + pinhole_mm))


def blur_at(ratio: float, width: int) -> float:
    """σ in px of the defocus: of a thin lens, the blur circle goes with the difference of the distances over the distance."""
    return FULL_BLUR_PX * width / 640 * abs(1 - 1 / ratio)


def light_table(lights: Mapping[Light, int] | None, ratio: float) -> Image:
    """The grey levels, uint8 (1, 256, 3) BGR, that the light leaves: it falls off with the square of the distance; None is full white."""
    levels: Mapping[Light, int] = {"white": 100} if lights is None else lights
    each = {light: np.array(lamp) * levels.get(light, 0) / 100 for light, lamp in LAMPS_BGR.items()}
    total = np.sum(list(each.values()), axis=0)
    crossed = 0.0 if not total.any() else float(each["cross"].sum() / total.sum())
    gains = (total / ratio**2 + ROOM) ** (1 / GAMMA)
    grey = np.arange(256.0)
    grey -= GLOSS_SHARE * crossed * np.maximum(0.0, grey - GLOSS_LEVEL)
    return np.asarray(np.rint(np.clip(grey[:, None] * gains, 0, 255)), np.uint8)[None]


def lit(image: Image, table: NDArray[np.uint8]) -> Image:
    """The picture, uint8 (height, width, 3), in the light of a `light_table`."""
    return np.asarray(cv2.LUT(image, table), np.uint8)


def zoomed(image: Image, middle: tuple[float, float], ratio: float, size: tuple[int, int]) -> Image:
    """A window of `size` (width, height) with `middle`, px of `image`, in its middle, whose pixels are `ratio` of those of `image`.

    uint8 (height, width, 3). Beyond its edges the picture is mirrored.
    """
    x, y = middle
    step = max(1, int(ratio))
    if step > 1:  # its pixels are averages; what a whole number of them leaves over at the edge is cut off
        height, width = (side - side % step for side in image.shape[:2])
        image = np.asarray(cv2.resize(image[:height, :width], (width // step, height // step), interpolation=cv2.INTER_AREA), np.uint8)
        x, y, ratio = (x - (step - 1) / 2) / step, (y - (step - 1) / 2) / step, ratio / step
    way = np.array([[ratio, 0, x - ratio * (size[0] - 1) / 2], [0, ratio, y - ratio * (size[1] - 1) / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, way, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def seen_from(view: PlateView, ratio: float) -> PlateView:
    """A plate's view with the skin or target `ratio` times as far off: every ray meets it so much further out. A rim stays as it is."""
    return replace(view, x_um=view.x_um * np.float32(ratio), y_um=view.y_um * np.float32(ratio))


def defocused(image: Image, sigma_px: float) -> Image:
    """The picture under a Gaussian of σ `sigma_px`; a wide one is laid over a smaller picture, which is cheaper and looks the same."""
    if sigma_px < 0.3:
        return image
    step = max(1, int(sigma_px / 2))
    size = (image.shape[1], image.shape[0])
    coarse = image if step == 1 else cv2.resize(image, (size[0] // step, size[1] // step), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), sigma_px / step)
    return np.asarray(coarse if step == 1 else cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _fresh(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}.new")


def _within(value: object, most: float) -> TypeGuard[float]:
    """Whether it is a number 0…most; NaN is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most
