"""The replayed microscope: the pictures of a folder, or a video file, handed out at camera pace as if a device sent them.

Address: `replay:PATH?fps=30&loop=1`. PATH is taken as it stands where such a path exists, else percent-decoded, so a path
with spaces needs nothing and a question mark in a name is written `%3F`. `fps` is 0.1–240 (a video's own rate by default),
`loop=0` ends after the last picture. A folder is replayed in natural order (`a2` before `a10`); files that are no pictures and
masks (`NAME_mask.png`) are passed over; `scales.csv` in it (columns `image,um_per_px`) states the scale of its pictures.
"""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import unquote

from device.camera import Camera, CameraInfo, CameraUri
from device.errors import CameraEndedError, CameraNotFoundError, CameraUriError
from device.frame import Frame
from device.pace import Pace
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
        self._pace = Pace(str(uri), self._fps)
        self._reel: FolderReel | VideoReel | None = None
        self._sequence = -1
        self.bad_files: dict[Path, str] = {}

    def cancel(self) -> None:
        """Make a waiting `read` raise CameraTimeoutError soon."""
        self._pace.cancel()

    def _open(self) -> None:
        path = find_path(self.uri.target)
        self.bad_files = {}
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
        self._pace = Pace(str(self.uri), self._fps)

    def _close(self) -> None:
        self._pace.cancel()
        if self._reel is not None:
            self._reel.close()
            self._reel = None

    def _info(self) -> CameraInfo:
        assert self._reel is not None
        width, height = self._reel.size
        return CameraInfo(driver="replay", source=str(self.uri), width=width, height=height, fps=self._fps, identity="replay")

    def _read(self, timeout_s: float) -> Frame:
        reel = self._reel
        assert reel is not None
        # whoever plays a folder once wants every picture of it; one that goes round may miss some, like a camera
        places = self._pace.wait(timeout_s, skip=self._loop)
        shot = reel.turn(places, loop=self._loop)
        if shot is None:
            raise CameraEndedError(f"{self.uri} has shown its last picture; loop=1 would begin again")
        self._sequence += places
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
