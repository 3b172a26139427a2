"""The larger scenes over which the live simulated camera moves its window: rendered once, kept on disk, a file each.

The cache lies in `$XDG_CACHE_HOME/trichoscope/scenes` (`~/.cache` by default), holds at most CACHE_BYTES (the least recently used go
first), and is a convenience: where it cannot be read or written, scenes are rendered anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import structlog
from numpy.typing import NDArray

from device.simulated.lens import defocus
from device.simulated.recipe import RENDERER_VERSION, Kind
from device.simulated.scene import render_scene, scene_um_per_px
from device.simulated.sensor import Image

SPARSER = 0.55  # see render_scene
CACHE_BYTES = 192 * 2**20
MAX_ENTRY_BYTES = 64 * 2**20
RENDER_PIXELS = 2_600_000  # larger scenes would need over half a gigabyte while they are painted

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class BackdropPlan:
    """What to render: `width` × `height` px of the backdrop, through a window `window_width` px wide; `shrink` < 1 renders smaller.

    `um_per_px` of the window, None for that which the seed draws.
    """

    seed: int
    kind: Kind
    bald: bool
    width: int
    height: int
    window_width: int
    shrink: float = 1.0
    um_per_px: float | None = None

    @property
    def key(self) -> str:
        """Names the picture that this plan gives with this renderer and these libraries."""
        text = f"{RENDERER_VERSION}|{np.__version__}|{cv2.__version__}|{self}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class Backdrop:
    """A scene as the live camera uses it: uint8 (height, width, 3) BGR without noise and vignetting.

    Attributes:
        scales_um_per_px: float64 (25, 33), scale of the skin at a grid over the picture, corners included.
    """

    image: Image
    scales_um_per_px: NDArray[np.float64]

    def um_per_px_at(self, x: float, y: float) -> float:
        """µm per px of the skin at a picture position, bilinear in the grid."""
        rows, columns = self.scales_um_per_px.shape
        gx = min(max(x / (self.image.shape[1] - 1), 0.0), 1.0) * (columns - 1)
        gy = min(max(y / (self.image.shape[0] - 1), 0.0), 1.0) * (rows - 1)
        i, j = min(int(gy), rows - 2), min(int(gx), columns - 2)
        part = self.scales_um_per_px[i : i + 2, j : j + 2]
        down, right = gy - i, gx - j
        return float(np.array([1 - down, down]) @ part @ np.array([1 - right, right]))


def fetch_backdrop(plan: BackdropPlan, should_stop: Callable[[], bool]) -> Backdrop:
    """The backdrop of a plan, from the cache or rendered and then kept.

    Raises:
        RenderStoppedError: `should_stop` said so while it was rendered.
    """
    folder = cache_folder()
    path = None if folder is None else folder / f"{plan.key}.npz"
    if path is not None and (kept := _load(path, plan)) is not None:
        return kept
    backdrop = render_backdrop(plan, should_stop)
    if path is not None:
        try:
            _keep(path, backdrop)
        except OSError as error:
            _log.info("scene not cached", folder=str(path.parent), reason=str(error))
    return backdrop


def render_backdrop(plan: BackdropPlan, should_stop: Callable[[], bool]) -> Backdrop:
    """Render the backdrop of a plan. Raises RenderStoppedError where `should_stop` says so meanwhile."""
    width, height = round(plan.width * plan.shrink), round(plan.height * plan.shrink)
    drawn = scene_um_per_px(plan.seed, plan.kind) * 640 / plan.window_width
    um_per_px = (drawn if plan.um_per_px is None else plan.um_per_px) / plan.shrink
    scene = render_scene(
        plan.seed,
        width=width,
        height=height,
        kind=plan.kind,
        um_per_px=um_per_px,
        bald=plan.bald,
        sparser=SPARSER,
        hooded=False,
        should_stop=should_stop,
    )
    recipe = scene.recipe
    lit = scene.picture * (np.array(recipe.tint_bgr, np.float32) * np.float32(recipe.gain))
    blurred = defocus(np.clip(lit, 0, 1, out=lit), 0.7 * recipe.defocus_px * plan.window_width * plan.shrink / 640)
    image = np.asarray(cv2.convertScaleAbs(blurred, alpha=255), np.uint8)
    scales = scene.lens.scales_um_per_px
    if (width, height) != (plan.width, plan.height):
        image = np.asarray(cv2.resize(image, (plan.width, plan.height), interpolation=cv2.INTER_CUBIC), np.uint8)
        scales = scales * (width / plan.width)
    return Backdrop(image, scales)


def cache_folder() -> Path | None:
    """Where scenes are kept; None where no home is known."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(root) if Path(root).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "trichoscope" / "scenes"


def _load(path: Path, plan: BackdropPlan) -> Backdrop | None:
    try:
        if path.stat().st_size > MAX_ENTRY_BYTES:
            return None
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            encoded, scales = kept["image"], kept["scales"]
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        if image is None or image.shape != (plan.height, plan.width, 3) or scales.shape != (25, 33):
            raise ValueError("another size than planned")
        os.utime(path)  # the least recently used are dropped first
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError, KeyError, EOFError, zipfile.BadZipFile, cv2.error) as error:
        _log.info("cached scene ignored", file=str(path), reason=str(error))
        return None
    return Backdrop(np.asarray(image, np.uint8), np.asarray(scales, np.float64))


def _keep(path: Path, backdrop: Backdrop) -> None:
    """Write atomically: a temporary file beside it, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    done, encoded = cv2.imencode(".png", backdrop.image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done or encoded.nbytes > MAX_ENTRY_BYTES - 65536:
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, image=encoded.ravel(), scales=backdrop.scales_um_per_px)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    _trim(path.parent)


def _trim(folder: Path) -> None:
    files = []
    for file in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may trim at the same time
            if file.suffix in (".npz", ".tmp"):
                files.append((file.stat().st_mtime, file.stat().st_size, file))
    total = sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if total <= CACHE_BYTES:
            return
        with contextlib.suppress(OSError):
            file.unlink()
        total -= size
