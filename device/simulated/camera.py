"""The simulated microscope as a live camera: a window that a hand moves over scalps rendered beforehand, sent as JPEG like a UVC device.

Address: `simulated:[KIND]?seed=7&fps=30&width=640&height=480&scenes=4`, KIND easy, realistic (default), hard or bald. A frame depends on
the address and its sequence alone, once the scenes are rendered: the window's way, tremor, focus, light and noise are all functions of it.
Every SCENE_S seconds the hand lifts the microscope (the picture blurs and darkens) and sets it down on the next scalp.

`plate=FILE.png` lays a flat picture of known scale into view (plate.py): a hood's rim, if parts of it are clear, with the scalp in its
opening, or a calibration target instead of the scalp. The camera then is a pinhole with distortion: of `um_per_px` (in the middle),
`distance` (mm) and `focal` (px) two tell the third; without them it is FOCAL_WIDTHS of focal length at the scale of the first scene,
or at TARGET_MM above a target. All scenes have that scale. A target trembles in the hand, and is never lifted.

`hand=FILE` follows the hand of `trichoscope simulate handpiece --follow FILE` (following.py): what its distance and light would show, and
the scale at that distance; the next scalp comes after it was lifted off. While there is no such file, all is as without.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import structlog
from numpy.typing import NDArray

from device.camera import Camera, CameraInfo, CameraUri
from device.errors import CameraUriError
from device.frame import Frame
from device.pace import Pace
from device.simulated.backdrop import RENDER_PIXELS, Backdrop, BackdropPlan, fetch_backdrop
from device.simulated.following import CONTACT_MM, PINHOLE_MM, HandFollower, Held, defocused, lit, seen_from, zoomed
from device.simulated.lens import Lens, vignette
from device.simulated.plate import Plate, PlateView, read_plate, view_plate
from device.simulated.recipe import KINDS, Kind
from device.simulated.scene import RenderStoppedError, scene_um_per_px
from device.simulated.sensor import Image, jpeg_bytes

SCENE_S = 20.0
LIFT_S = 0.45  # how long lifting takes, and setting down
FIRST_PIXELS = 600_000  # what the slowest of the machines meant renders within the 3 s until the first frame
JPEG_QUALITY = 85
NOISE_SPREAD = 2.0  # grey levels, of a webcam sensor under bright LEDs
NOISE_MARGIN = 64
STOP_DEADLINE_S = 1.0  # rendering looks whether it should stop between two subjects, every few hundred ms at most
STEADY = 0.86  # share of the room around the window that the hand uses
PLATE_OPTIONS = ("plate", "um_per_px", "distance", "focal")
FOCAL_WIDTHS = 3.0  # focal length of the camera with a plate, in widths of the picture
TARGET_MM = 20.0
DISTORTION = 0.3, -0.9  # of its lens: 1.2 % of pincushion at the corners
TARGET_TILT_RAD = 0.02  # at most, about either axis: nobody holds it quite level
SWAY_PX = 24.0  # how far the hand moves a target to and fro

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Pose:
    """Where and how the window is at one sequence.

    Attributes:
        slot: how many scenes came before; `x`, `y` the window's upper left corner, 0…1 of the room there is, plus `shake_px`.
        blur_px: focus breathing; `lift` 0 on the skin to 1 lifted off; `gain` brightness.
    """

    slot: int
    x: float
    y: float
    shake_px: tuple[float, float]
    blur_px: float
    lift: float
    gain: float


class SimulatedCamera(Camera):
    """A camera that needs no device. Opening renders the first scene (or reads it from the cache), a thread renders the others."""

    def __init__(self, uri: CameraUri) -> None:
        super().__init__(uri)
        uri.refuse_unknown_options({"seed", "fps", "width", "height", "scenes", "hand", *PLATE_OPTIONS})
        kind = uri.target or "realistic"
        if kind not in (*KINDS, "bald"):
            raise CameraUriError(f"{uri}: {kind!r} is no kind of scalp: choose {', '.join(KINDS)} or bald")
        self._bald = kind == "bald"
        self._kind: Kind = next((k for k in KINDS if k == kind), "realistic")
        self._seed = _whole(uri, "seed", 7, 0, 2**31 - 1)
        self._fps = uri.number("fps", 30.0, low=0.1, high=240.0)
        self._width = _whole(uri, "width", 640, 160, 1920)
        self._height = _whole(uri, "height", 480, 120, 1440)
        self._count = _whole(uri, "scenes", 4, 1, 16)
        self._check_plate()
        if self.uri.options.get("hand") == "":
            raise CameraUriError(f"{uri}: say which hand, hand=FILE of `trichoscope simulate handpiece --follow FILE`")
        self._hand: HandFollower | None = None
        self._view: PlateView | None = None
        self._pace = Pace(str(uri), self._fps)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._backdrops: dict[int, Backdrop] = {}  # by scene; -1 is the small first one
        self._shown = (-1, -1)  # (slot, scene) on the stage
        self._sequence = -1
        self._more: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._less: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._shade: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._phases: NDArray[np.float64] = np.empty(0)

    def cancel(self) -> None:
        """Make a waiting `read` raise CameraTimeoutError soon."""
        self._pace.cancel()

    def _open(self) -> None:
        self._stop = threading.Event()  # a new one: a thread that missed its deadline must not take up rendering again
        rng = np.random.default_rng([self._seed, 11])
        self._phases = rng.uniform(0, 2 * math.pi, 16)
        self._make_grain(rng)
        self._view = None
        if (file := self.uri.options.get("plate")) is not None:
            plate = read_plate(Path(file).expanduser())
            self._view = view_plate(plate, self._lens(plate))
        hand = self.uri.options.get("hand")
        self._hand = None if hand is None else HandFollower(Path(hand).expanduser())
        self._sequence = -1
        self._pace = Pace(str(self.uri), self._fps)
        if self._view is not None and self._view.target is not None:
            return  # no scalp to render
        self._backdrops = {-1: fetch_backdrop(self._plan_first(), lambda: False)}
        self._shown = (0, -1)
        self._thread = threading.Thread(
            target=self._render_others, args=(self._stop, self._backdrops), name="simulated-scenes", daemon=True
        )
        self._thread.start()

    def _close(self) -> None:
        self._stop.set()
        self._pace.cancel()
        if self._thread is not None:
            self._thread.join(STOP_DEADLINE_S)
            if self._thread.is_alive():
                _log.warning("rendering did not stop in time", camera=str(self.uri), deadline_s=STOP_DEADLINE_S)
            self._thread = None
        self._backdrops = {}

    def _info(self) -> CameraInfo:
        return CameraInfo(
            driver="simulated", source=str(self.uri), width=self._width, height=self._height, fps=self._fps, identity="simulated"
        )

    def _read(self, timeout_s: float) -> Frame:
        self._sequence += self._pace.wait(timeout_s, skip=True)
        pose = pose_at(self._sequence / self._fps, self._phases)
        held = None if self._hand is None else self._hand.look(time.monotonic(), self._pinhole_mm())
        if held is None:
            image, um_per_px = self._see(pose)
        else:
            pose = replace(pose, slot=held.slot, lift=0.0, gain=1.0)
            image, um_per_px = self._see(pose, held)
            image = lit(image, held.table)
        return Frame(
            sequence=self._sequence,
            captured_ns=time.monotonic_ns(),
            source=str(self.uri),
            jpeg=jpeg_bytes(self._expose(image, pose), JPEG_QUALITY),
            stated_um_per_px=um_per_px,
        )

    def _pinhole_mm(self) -> float:
        """From the range sensor back to the pinhole; the lens over a plate has it where that says, in contact."""
        return PINHOLE_MM if self._view is None else self._view.lens.distance_mm - CONTACT_MM

    def _see(self, pose: Pose, held: Held | None = None) -> tuple[Image, float]:
        """What lies before the lens, uint8 (height, width, 3), in focus but for what is lifted, and its µm per px in the middle.

        Held in a hand, the pixels are larger by the ratio of the distances from the pinhole, and so is the scale:
        that in contact × (distance + pinhole) / (contact + pinhole).
        """
        view = self._view
        ratio, blur_px = (1.0, 0.0) if held is None else (held.ratio, held.blur_px(self._width))
        if view is not None and held is not None:
            view = seen_from(view, ratio)
        if view is not None and view.target is not None:
            um_per_px = view.lens.centre_um_per_px
            way = (pose.x - 0.5, pose.y - 0.5)
            x, y = ((SWAY_PX * part + shake) * um_per_px for part, shake in zip(way, pose.shake_px, strict=True))
            return defocused(_focused(view.see_target((x, y)), pose, lifted=False), blur_px), um_per_px * ratio
        backdrop = self._backdrop_for(pose.slot)
        corner = self._corner(pose, backdrop)
        middle = (corner[0] + (self._width - 1) / 2, corner[1] + (self._height - 1) / 2)
        um_per_px = backdrop.um_per_px_at(*middle)
        if view is not None:
            scalp = defocused(_focused(view.see_scalp(backdrop.image, um_per_px, middle), pose), blur_px)
            return view.lay_over(scalp), view.lens.centre_um_per_px * ratio
        if held is not None:
            window = zoomed(backdrop.image, middle, ratio, (self._width, self._height))
            return defocused(_focused(window, pose), blur_px), um_per_px * ratio
        left, top = math.floor(corner[0]), math.floor(corner[1])
        part = backdrop.image[top : top + self._height + 2, left : left + self._width + 2]
        shift = np.array([[1, 0, corner[0] - left], [0, 1, corner[1] - top]], np.float64)
        size = (self._width, self._height)
        image = cv2.warpAffine(part, shift, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
        return _focused(np.asarray(image, np.uint8), pose), um_per_px

    def _check_plate(self) -> None:
        """Raise CameraUriError where the options of a plate make no sense; the file is looked at when the camera is opened."""
        given = [name for name in PLATE_OPTIONS[1:] if name in self.uri.options]
        if given and "plate" not in self.uri.options:
            raise CameraUriError(f"{self.uri}: {given[0]} is that of a plate: say which, plate=FILE.png")
        if len(given) == 3:
            raise CameraUriError(f"{self.uri}: two of um_per_px, distance and focal tell the third: leave one out")
        if self.uri.options.get("plate") == "":
            raise CameraUriError(f"{self.uri}: say which plate, plate=FILE.png")
        self._scale = self.uri.number("um_per_px", math.nan, low=1.0, high=60.0)
        self._distance_mm = self.uri.number("distance", math.nan, low=1.0, high=200.0)
        self._focal_px = self.uri.number("focal", math.nan, low=100.0, high=20000.0)

    def _lens(self, plate: Plate) -> Lens:
        """The lens of the camera with a plate."""
        scale, distance_mm, focal_px = self._scale, self._distance_mm, self._focal_px
        if math.isnan(focal_px):
            both = not (math.isnan(scale) or math.isnan(distance_mm))
            focal_px = 1000 * distance_mm / scale if both else FOCAL_WIDTHS * self._width
        tilt = (0.0, 0.0)
        if plate.opacity is None:
            a, b = (TARGET_TILT_RAD * math.sin(float(phase)) for phase in self._phases[12:14])
            tilt = (a, b)
        if math.isnan(distance_mm):
            if math.isnan(scale):
                scale = 1000 * TARGET_MM / focal_px if plate.opacity is None else self._own_scale()
            distance_mm = scale * focal_px / 1000
        return Lens(self._width, self._height, focal_px, distance_mm, tilt, *DISTORTION)

    def _own_scale(self) -> float:
        """µm per px of the first scene where nobody asks for another."""
        return scene_um_per_px(self._seed * 100, self._kind) * 640 / self._width

    def _corner(self, pose: Pose, backdrop: Backdrop) -> tuple[float, float]:
        """The window's upper left corner in px of the backdrop."""
        room_x = backdrop.image.shape[1] - self._width - 1
        room_y = backdrop.image.shape[0] - self._height - 1
        x = min(max(pose.x * room_x + pose.shake_px[0], 0.0), room_x)
        y = min(max(pose.y * room_y + pose.shake_px[1], 0.0), room_y)
        return x, y

    def _expose(self, image: Image, pose: Pose) -> Image:
        """One frame, uint8 (height, width, 3), of what was seen: light and noise; in eight bits throughout, it is the cheapest."""
        gain = 1.0 if self._view is not None and self._view.target is not None else pose.gain
        image = np.asarray(cv2.multiply(image, self._shade, scale=gain / 255), np.uint8)
        rng = np.random.default_rng([self._seed, self._sequence])
        x, y = (int(v) for v in rng.integers(0, NOISE_MARGIN, 2))
        grain = (slice(y, y + self._height), slice(x, x + self._width))
        return np.asarray(cv2.subtract(cv2.add(image, self._more[grain]), self._less[grain]), np.uint8)

    def _make_grain(self, rng: np.random.Generator) -> None:
        """Noise tiles, what to add and what to take away, a margin larger than a frame; and the vignette as eight-bit factors."""
        shape = (self._height + NOISE_MARGIN, self._width + NOISE_MARGIN)
        fine = rng.standard_normal(shape, dtype=np.float32)[..., None] * np.float32(0.75)
        colour = rng.standard_normal((shape[0] // 2 + 1, shape[1] // 2 + 1, 3), dtype=np.float32)
        grain = (fine + cv2.resize(colour, shape[::-1]) * np.float32(0.8)) * np.float32(NOISE_SPREAD)
        self._more = np.rint(np.clip(grain, 0, 40)).astype(np.uint8)
        self._less = np.rint(np.clip(-grain, 0, 40)).astype(np.uint8)
        fall = vignette((self._height, self._width), 0.16, (float(rng.normal(0, 0.1)), float(rng.normal(0, 0.1))))
        self._shade = np.repeat(np.rint(np.clip(fall, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)

    def _backdrop_for(self, slot: int) -> Backdrop:
        """The scalp of a slot; the one on the stage stays while the next is not yet rendered."""
        if slot != self._shown[0]:
            scene = slot % self._count
            if scene in self._backdrops:
                self._shown = (slot, scene)
        return self._backdrops[self._shown[1]]

    def _plan_first(self) -> BackdropPlan:
        """The scene shown first: with little room around the window, and rendered smaller where the window itself is large."""
        width, height = round(self._width * 1.3), round(self._height * 1.3)
        shrink = min(1.0, math.sqrt(FIRST_PIXELS / (width * height)))
        return BackdropPlan(self._seed * 100, self._kind, self._bald, width, height, self._width, shrink, self._scene_scale())

    def _scene_scale(self) -> float | None:
        return None if self._view is None else self._view.lens.centre_um_per_px

    def _plan(self, scene: int) -> BackdropPlan:
        grow = min(2.0, max(1.1, math.sqrt(RENDER_PIXELS / (self._width * self._height))))
        width, height = round(self._width * grow), round(self._height * grow)
        shrink = min(1.0, math.sqrt(RENDER_PIXELS / (width * height)))
        return BackdropPlan(self._seed * 100 + scene, self._kind, self._bald, width, height, self._width, shrink, self._scene_scale())

    def _render_others(self, stop: threading.Event, backdrops: dict[int, Backdrop]) -> None:
        with contextlib.suppress(AttributeError, OSError):  # Linux can make one thread yield to the others; elsewhere it need not
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        try:
            for scene in (*range(1, self._count), 0):
                if stop.is_set():
                    return
                backdrops[scene] = fetch_backdrop(self._plan(scene), stop.is_set)
        except RenderStoppedError:
            return
        except Exception:  # the first scene goes on; what happened must still be seen
            _log.exception("scenes could not be rendered", camera=str(self.uri))


def _focused(image: Image, pose: Pose, lifted: bool = True) -> Image:
    """The picture as much out of focus as the pose is, `lifted` or not."""
    if lifted and pose.lift > 0.02:
        size = (image.shape[1], image.shape[0])
        small = max(2.0, 1 + 14 * pose.lift)
        coarse = cv2.resize(image, (round(size[0] / small), round(size[1] / small)), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(cv2.GaussianBlur(coarse, (3, 3), 0), size, interpolation=cv2.INTER_LINEAR), np.uint8)
    if pose.blur_px > 0.3:
        return np.asarray(cv2.GaussianBlur(image, (3, 3) if pose.blur_px < 0.8 else (5, 5), pose.blur_px), np.uint8)
    return image


def pose_at(t_s: float, phases: NDArray[np.float64]) -> Pose:
    """The pose of the hand `t_s` seconds after the start; `phases` (≥ 12,) in radians tell one hand from another."""

    def wave(period_s: float, phase: int) -> float:
        return math.sin(2 * math.pi * t_s / period_s + float(phases[phase]))

    slot = int(t_s // SCENE_S)
    within = t_s - slot * SCENE_S
    # lifted around each change of scene, but not at the very start
    near = min(within if slot > 0 else SCENE_S, SCENE_S - within)
    lift = max(0.0, 1 - near / LIFT_S)
    lift = lift * lift * (3 - 2 * lift)
    shake_x = 0.55 * wave(0.29, 4) + 0.8 * wave(0.83, 5) + 0.25 * wave(0.117, 6)
    shake_y = 0.55 * wave(0.31, 7) + 0.8 * wave(0.91, 8) + 0.25 * wave(0.109, 9)
    return Pose(
        slot=slot,
        x=0.5 + STEADY / 2 * (0.75 * wave(47.0, 0) + 0.25 * wave(19.0, 1)),
        y=0.5 + STEADY / 2 * (0.75 * wave(53.0, 2) + 0.25 * wave(23.0, 3)),
        shake_px=(shake_x, shake_y),
        blur_px=0.45 + 0.35 * wave(7.0, 10),
        lift=lift,
        gain=(1 + 0.015 * wave(5.3, 11) + 0.006 * wave(0.71, 0)) * (1 - 0.35 * lift),
    )


def _whole(uri: CameraUri, name: str, default: int, low: int, high: int) -> int:
    value = uri.number(name, default, low=low, high=high)
    if value != int(value):
        raise CameraUriError(f"{uri}: {name}={uri.options[name]} is not a whole number")
    return int(value)
