"""What the replayed microscope plays: a folder of pictures or a video, turned on picture by picture with bounded memory."""

from __future__ import annotations

import csv
import math
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import cv2
import structlog

from device.errors import CameraLostError, CameraNotFoundError, DeviceError
from device.picturefile import (
    MAX_PICTURE_BYTES,
    MAX_PICTURE_PIXELS,
    PREVIEW_QUALITY,
    NotAPictureError,
    encode_jpeg,
    encode_preview,
    inspect_picture,
)

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {".avi", ".mkv", ".mov", ".mp4", ".m4v", ".webm", ".mjpeg", ".mjpg"}
CACHE_BYTES = 64 * 2**20  # encoded pictures kept in memory; the least recently shown are dropped first
MAX_SCALES_BYTES = 4 * 2**20

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Shot:
    """What one turn of a reel gives: the JPEG for the preview, other encoded bytes if the picture is no JPEG, its name and scale."""

    source: str
    jpeg: bytes
    encoded: bytes | None
    um_per_px: float | None


class FolderReel:
    """The usable pictures of a folder, in natural order. Holds encoded bytes only, at most CACHE_BYTES of them."""

    def __init__(self, folder: Path, bad_files: dict[Path, str]) -> None:
        """Look through `folder`.

        Raises:
            CameraNotFoundError: the folder cannot be read or holds no usable picture.
        """
        self.folder = folder
        self._bad = bad_files
        try:
            self._paths = sorted((p for p in folder.iterdir() if is_replayable(p)), key=natural_key)
            self._scales = read_scales(folder / "scales.csv")
        except OSError as error:
            raise CameraNotFoundError(f"the folder {folder} cannot be read ({error.strerror}): check its permissions") from error
        self._cache: OrderedDict[Path, tuple[tuple[int, int], Shot]] = OrderedDict()
        self._place = -1
        first = self.turn(1, loop=False)
        if first is None:
            file, reason = next(iter(self._bad.items()), (folder, ""))
            told = f" ({len(self._bad)} unusable, the first is {file.name}: {reason})" if self._bad else ""
            raise CameraNotFoundError(
                f"the folder {folder} holds no usable picture{told}: put {', '.join(sorted(PICTURE_SUFFIXES))} files into it"
            )
        self.size = inspect_picture(first.encoded or first.jpeg)
        self._place -= 1

    def turn(self, by: int, *, loop: bool) -> Shot | None:
        """The picture `by` places on, or the next usable one after it; None after the last (loop=False), or when none is usable."""
        place = self._place + by
        for _ in range(len(self._paths)):
            if place >= len(self._paths) and not loop:
                return None
            path = self._paths[place % len(self._paths)]
            shot = self._shot(path)
            if shot is not None:
                self._place = place % len(self._paths) if loop else place
                return shot
            place += 1
        if loop and self._paths:
            raise CameraLostError(f"no picture in {self.folder} is usable any more; put pictures into it and open it again")
        return None

    def close(self) -> None:
        """Forget the cached bytes."""
        self._cache.clear()

    def _shot(self, path: Path) -> Shot | None:
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            kept = self._cache.get(path)
            if kept is not None and kept[0] == stamp:
                self._cache.move_to_end(path)
                return kept[1]
            if stat.st_size > MAX_PICTURE_BYTES:
                raise NotAPictureError(f"{stat.st_size / 2**20:.0f} MiB is too much for a picture")
            shot = self._load(path)
        except (OSError, NotAPictureError) as error:
            if path not in self._bad:
                self._bad[path] = str(error)
                _log.warning("picture skipped", file=str(path), reason=str(error), unusable=len(self._bad))
            return None
        self._bad.pop(path, None)  # it was replaced by a good one meanwhile
        self._keep(path, stamp, shot)
        return shot

    def _load(self, path: Path) -> Shot:
        content = path.read_bytes()
        inspect_picture(content)
        scale = self._scales.get(path.name)
        if content.startswith(b"\xff\xd8"):  # by content: a PNG may be named .jpg
            return Shot(str(path), content, None, scale)
        return Shot(str(path), encode_preview(content), content, scale)

    def _keep(self, path: Path, stamp: tuple[int, int], shot: Shot) -> None:
        self._cache[path] = (stamp, shot)
        self._cache.move_to_end(path)
        total = sum(len(s.jpeg) + len(s.encoded or b"") for _, s in self._cache.values())
        while total > CACHE_BYTES and len(self._cache) > 1:
            _, (_, dropped) = self._cache.popitem(last=False)
            total -= len(dropped.jpeg) + len(dropped.encoded or b"")


class VideoReel:
    """A video, decoded forward only and one picture at a time. `size` is (width, height) px, `fps` its own rate where it states one."""

    def __init__(self, path: Path) -> None:
        """Open the video and decode its first picture.

        Raises:
            CameraNotFoundError: no video, none that can be decoded, or its pictures are too large.
        """
        self.path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.size = (width, height)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(rate) if math.isfinite(rate) and 0.1 <= rate <= 240 else None
        fault = f"its pictures of {width}×{height} px are too large" if width * height > MAX_PICTURE_PIXELS else None
        if fault is None and not self._capture.grab():
            fault = "it is damaged, or of a format that OpenCV cannot decode"
        if fault is not None:
            self._capture.release()
            raise CameraNotFoundError(f"the video {path} cannot be replayed: {fault}; convert it to MP4 (H.264) or MJPEG")
        self._grabbed = True  # the first picture waits to be retrieved

    def turn(self, by: int, *, loop: bool) -> Shot | None:
        """The picture `by` places on; None after the last (loop=False).

        Raises:
            CameraLostError: the video, wound back, gives nothing any more.
        """
        steps = by
        if self._grabbed:
            self._grabbed = False
            steps -= 1
        for _ in range(steps):
            if not self._capture.grab():
                if not loop:
                    return None
                self._wind_back()
        done, image = self._capture.retrieve()
        if not done:
            raise CameraLostError(f"the video {self.path} has a picture that cannot be decoded: convert it to MP4 (H.264)")
        try:
            jpeg = encode_jpeg(image, PREVIEW_QUALITY)
        except NotAPictureError as error:
            raise CameraLostError(f"the video {self.path}: {error}") from error
        return Shot(str(self.path), jpeg, None, None)

    def close(self) -> None:
        """Release the file."""
        self._capture.release()

    def _wind_back(self) -> None:
        self._capture.release()
        self._capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not self._capture.grab():
            raise CameraLostError(f"the video {self.path} cannot be read any more: was it moved or overwritten?")


def is_replayable(path: Path) -> bool:
    """Whether a file of a folder is to be shown: a picture by its suffix, neither hidden nor a mask."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and not path.stem.endswith("_mask") and path.is_file()


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Order in which people count: digits by value, the rest by letter."""
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [(1, int(part), "") if part.isdecimal() and part.isascii() else (0, 0, part) for part in parts] + [(2, 0, path.name)]


def read_scales(path: Path) -> dict[str, float]:
    """File name → µm per px from a scales.csv with the columns `image` and `um_per_px`; empty where there is none.

    Rows that are no positive number are left out with a warning.

    Raises:
        DeviceError: the file is no such table.
    """
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_SCALES_BYTES:
        raise DeviceError(f"{path} is larger than {MAX_SCALES_BYTES >> 20} MiB: it should be a table image,um_per_px")
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            table = csv.DictReader(lines)
            if not {"image", "um_per_px"} <= set(table.fieldnames or ()):
                raise DeviceError(f"{path} lacks the columns image,um_per_px in its first line")
            rows = [(row["image"], row["um_per_px"]) for row in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DeviceError(f"{path} is not a CSV table in UTF-8 ({error}): save it again as image,um_per_px") from error
    scales: dict[str, float] = {}
    for name, text in rows:
        try:
            value = float(text)
        except (TypeError, ValueError):
            value = math.nan
        if name and math.isfinite(value) and value > 0:
            scales[name] = value
        else:
            _log.warning("scale ignored", file=str(path), image=name, um_per_px=text)
    return scales
