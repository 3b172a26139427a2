"""The replayed microscope: the pictures of a folder, or a video file, handed out at camera pace as if a device sent them.

Address: `replay:PATH?fps=30&loop=1`. PATH is taken as it stands where such a path exists, else percent-decoded, so a path
with spaces needs nothing and a question mark in a name is written `%3F`. `fps` is 0.1–240 (a video's own rate by default),
`loop=0` ends after the last picture. A folder is replayed in natural order (`a2` before `a10`); files that are no pictures and
masks (`NAME_mask.png`) are passed over; `scales.csv` in it (columns `image,um_per_px`) states the scale of its pictures.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from urllib.parse import unquote

from device.camera import Camera, CameraInfo, CameraUri
from device.errors import CameraEndedError, CameraNotFoundError, CameraTimeoutError, CameraUriError
from device.frame import Frame
from device.reel import VIDEO_SUFFIXES, FolderReel, VideoReel


class ReplayCamera(Camera):
    """Plays a folder of pictures or a video. Frames that the reader was too late for are skipped, as a camera would.

    Attributes:
        bad_files: files that could not be used so far, path → reason. They are skipped, reported once, never fatal.
    """

    def __init__(self, uri: CameraUri) -> None:
        super().__init__(uri)
        uri.refuse_unknown_options({"fps", "loop"})
        self._fps = uri.number("fps", 30.0, low=0.1, high=240.0)
        loop = uri.number("loop", 1, low=0, high=1)
        if loop not in (0, 1):
            raise CameraUriError(f"{uri}: loop is 0 (stop after the last picture) or 1 (begin again)")
        if not uri.target:
            raise CameraUriError(f"{uri}: say what to replay, replay:FOLDER or replay:VIDEO")
        self._loop = bool(loop)
        self._cancelled = threading.Event()
        self._reel: FolderReel | VideoReel | None = None
        self._sequence = -1
        self._next_s = 0.0
        self.bad_files: dict[Path, str] = {}

    def cancel(self) -> None:
        """Make a waiting `read` raise CameraTimeoutError soon."""
        self._cancelled.set()

    def _open(self) -> None:
        path = find_path(self.uri.target)
        self.bad_files = {}
        self._cancelled.clear()
        if path.is_dir():
            self._reel = FolderReel(path, self.bad_files)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            self._reel = VideoReel(path)
            if "fps" not in self.uri.options and self._reel.fps is not None:
                self._fps = self._reel.fps
        else:
            raise CameraNotFoundError(
                f"{path} is neither a folder nor a video ({', '.join(sorted(VIDEO_SUFFIXES))}); "
                "put the pictures into a folder and replay that"
            )
        self._sequence = -1
        self._next_s = time.monotonic()

    def _close(self) -> None:
        self._cancelled.set()
        if self._reel is not None:
            self._reel.close()
            self._reel = None

    def _info(self) -> CameraInfo:
        assert self._reel is not None
        width, height = self._reel.size
        return CameraInfo(driver="replay", source=str(self.uri), width=width, height=height, fps=self._fps)

    def _read(self, timeout_s: float) -> Frame:
        reel = self._reel
        assert reel is not None
        wait_s = self._next_s - time.monotonic()
        cancelled = self._cancelled.wait(min(max(wait_s, 0.0), timeout_s))
        self._cancelled.clear()
        if cancelled or wait_s > timeout_s:
            raise CameraTimeoutError(f"{self.uri}: " + ("reading was cancelled" if cancelled else f"no frame within {timeout_s:g} s"))
        late_s = time.monotonic() - self._next_s
        missed = int(late_s * self._fps) if late_s > 0 else 0
        if not self._loop:
            missed = 0  # whoever plays a folder once wants every picture of it
        shot = reel.turn(missed + 1, loop=self._loop)
        if shot is None:
            raise CameraEndedError(f"{self.uri} has shown its last picture; loop=1 would begin again")
        self._sequence += missed + 1
        # a reader of loop=0 that falls behind shifts the whole schedule instead of bunching frames
        self._next_s = max(self._next_s + (missed + 1) / self._fps, time.monotonic() - 1 / self._fps)
        return Frame(
            sequence=self._sequence,
            captured_ns=time.monotonic_ns(),
            source=shot.source,
            jpeg=shot.jpeg,
            encoded=shot.encoded,
            stated_um_per_px=shot.um_per_px,
        )


def find_path(target: str) -> Path:
    """The file or folder that the target of a replay address names.

    Raises:
        CameraNotFoundError: neither the target as it stands nor its percent-decoded form exists.
    """
    try:
        for text in (target, unquote(target)):
            path = Path(text).expanduser()
            if path.exists():
                return path
    except (OSError, ValueError, RuntimeError) as error:  # name too long, NUL byte, ~ of an unknown user
        raise CameraNotFoundError(f"{target!r} is no path that can be replayed: {error}") from error
    raise CameraNotFoundError(f"there is no {target}: replay:PATH names an existing folder of pictures, or a video")
