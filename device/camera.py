"""The contract that every microscope camera keeps, whatever drives it, and the way from an address to a driver."""

from __future__ import annotations

import abc
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import TracebackType
from urllib.parse import parse_qsl

from typing_extensions import Self  # typing.Self needs 3.11

from device.errors import CameraUriError, DeviceError
from device.frame import Frame

# scheme → "module:class"; imported when an address asks for it, so that no driver costs those who do not use it
DRIVERS = {
    "replay": "device.replay:ReplayCamera",
    "simulated": "device.simulated.camera:SimulatedCamera",
    "v4l2": "device.v4l2.camera:V4l2Camera",
}


@dataclass(frozen=True)
class CameraUri:
    """A camera address taken apart: `scheme:target?option=value&…`."""

    scheme: str
    target: str
    options: dict[str, str]

    def __str__(self) -> str:
        query = "&".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.scheme}:{self.target}" + (f"?{query}" if query else "")

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        """The option as a number within [low, high].

        Raises:
            CameraUriError: not a number, or outside the range.
        """
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:  # also refuses NaN
            raise CameraUriError(f"{self}: {name}={text} is not a number between {low:g} and {high:g}")
        return value

    def refuse_unknown_options(self, known: set[str]) -> None:
        """Raise CameraUriError where the address carries an option that its driver does not know."""
        if unknown := sorted(set(self.options) - known):
            raise CameraUriError(f"{self}: unknown option {unknown[0]!r}; this camera knows {', '.join(sorted(known))}")


ControlValues = Mapping[str, int | float | bool | str]  # camera controls by name


@dataclass(frozen=True)
class CameraInfo:
    """What an open camera says of itself. Sizes in px, rate in frames per second.

    Attributes:
        identity: tells this microscope from every other and stays the same from day to day: a calibration profile belongs to it.
        controls: what is locked of exposure, white balance, sharpening …; a profile holds under the same ones only.
        opened_ns: `time.monotonic_ns()` before it was opened; a frame from before that is not of this camera.
    """

    driver: str
    source: str
    width: int
    height: int
    fps: float
    identity: str
    controls: ControlValues = field(default_factory=dict)
    opened_ns: int = 0


class Camera(abc.ABC):
    """A source of frames. The constructor only stores; entering the context opens the hardware, leaving it always closes it.

    `read` is called by one thread. `cancel` may be called by any thread and makes a waiting `read` return soon.
    Subclasses write `_open`, `_close` and `_read`; the public methods check.
    """

    def __init__(self, uri: CameraUri) -> None:
        self.uri = uri
        self._is_open = False
        self._opened_ns = 0

    def __enter__(self) -> Self:
        if self._is_open:
            raise DeviceError(f"{self.uri} is open already")
        self._opened_ns = time.monotonic_ns()
        self._open()
        self._is_open = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_open = False
        self._close()

    @property
    def info(self) -> CameraInfo:
        """What the open camera says of itself. Raises DeviceError when it is not open."""
        self._require_open()
        return replace(self._info(), opened_ns=self._opened_ns)

    def read(self, timeout_s: float) -> Frame:
        """Wait for the next frame, at most `timeout_s` seconds.

        Raises:
            CameraTimeoutError: none came in time.
            CameraEndedError: there will be no more frames.
            CameraLostError: the camera went away.
            DeviceError: the camera is not open.
        """
        self._require_open()
        if not timeout_s > 0:
            raise ValueError(f"a camera is read with a deadline above 0 s, not {timeout_s}")
        return self._read(timeout_s)

    @property
    def dropped(self) -> int:
        """Pictures that came since the camera was opened and were not handed out, being damaged. Any thread."""
        return 0

    def lock_controls(self, values: ControlValues | None = None) -> ControlValues:
        """Switch automatic exposure, white balance and focus off and hold them, at `values` of an earlier lock, else as they are now.

        Called by the thread that reads. What holds now is returned, and stands in `info`; {} of a camera without controls.

        Raises:
            CameraLostError: the camera went away.
            DeviceError: the camera is not open.
        """
        self._require_open()
        return self._lock_controls(values)

    def release_controls(self) -> None:
        """Undo `lock_controls`. Called by the thread that reads; raises as it does."""
        self._require_open()
        self._release_controls()

    @abc.abstractmethod
    def cancel(self) -> None:
        """Make a `read` that waits in another thread raise CameraTimeoutError soon. Idempotent; safe when closed."""

    @abc.abstractmethod
    def _open(self) -> None: ...

    @abc.abstractmethod
    def _close(self) -> None: ...

    @abc.abstractmethod
    def _info(self) -> CameraInfo: ...

    @abc.abstractmethod
    def _read(self, timeout_s: float) -> Frame: ...

    def _lock_controls(self, values: ControlValues | None) -> ControlValues:
        return {}

    def _release_controls(self) -> None:
        return

    def _require_open(self) -> None:
        if not self._is_open:
            raise DeviceError(f"{self.uri} is not open: use it as a context manager")


def parse_uri(text: str) -> CameraUri:
    """Take a camera address apart.

    Raises:
        CameraUriError: no scheme, an unknown scheme, an option without a value or given twice.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in DRIVERS:
        raise CameraUriError(f"{text!r} is no camera address: begin with {', '.join(f'{s}:' for s in sorted(DRIVERS))}")
    target, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise CameraUriError(f"{text!r}: options are written name=value&name=value ({error})") from error
    options = dict(pairs)
    if len(options) != len(pairs):
        raise CameraUriError(f"{text!r}: an option is given twice")
    return CameraUri(scheme, target, options)


def make_camera(text: str) -> Camera:
    """The driver for an address, not yet opened.

    Raises:
        CameraUriError: the address cannot be understood.
    """
    uri = parse_uri(text)
    module, _, name = DRIVERS[uri.scheme].partition(":")
    camera: Camera = getattr(import_module(module), name)(uri)
    return camera
