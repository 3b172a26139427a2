"""The exceptions of the device layer, each saying when it is raised; messages name the thing and the remedy."""

from __future__ import annotations

from typing import Literal


class DeviceError(Exception):
    """Base of everything that `device` raises on purpose."""


class CameraUriError(DeviceError):
    """A camera address cannot be understood, or names something that no driver serves."""


class CameraNotFoundError(DeviceError):
    """The camera that an address names is not there (unplugged, no such folder). Trying again later is sensible."""


class CameraTimeoutError(DeviceError):
    """No frame came before the deadline; the camera may be frozen. Trying again is sensible."""


class CameraEndedError(DeviceError):
    """A camera of finite length (a replay with loop=0) has given its last frame. Trying again is not sensible."""


class CameraLostError(DeviceError):
    """The camera was there and went away while streaming; close it and open it again."""


class CameraBusyError(DeviceError):
    """Another program holds the camera. It can be had once that program lets go."""


class CameraBandwidthError(DeviceError):
    """The USB bus has no room for the camera's pictures. Another port, or a smaller picture, helps."""


class CameraRefusedError(DeviceError):
    """The camera is there and does not do as it is told: it breaks off negotiating or starting. Plugging it in anew often helps."""


class CameraModeError(DeviceError):
    """The camera offers no picture that this program can take, or not the one that was asked for. Trying again is not sensible."""


class CameraDeniedError(DeviceError):
    """This user may not open the camera."""


class NotACameraError(DeviceError):
    """The address names something that is no camera: a file, another device, or the node of a camera that carries only metadata."""


class ControlError(DeviceError):
    """A camera control was asked for a value that it does not take."""


class FrameDecodeError(DeviceError):
    """The encoded bytes of a frame are not a picture (short, corrupt, or not an image)."""


class HandpieceUriError(DeviceError):
    """A handpiece address cannot be understood, or names something that no driver serves."""


class PortError(DeviceError):
    """A serial port is not there (`absent`), or is there and cannot be used (`refused`). Trying again later is sensible."""

    def __init__(self, state: Literal["absent", "refused"], message: str) -> None:
        super().__init__(message)
        self.state = state


class SentenceError(DeviceError):
    """Bytes from a serial line are no sentence or frame of its protocol; `reason` is one word, under which it is counted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class HandpieceNotReadyError(DeviceError):
    """Something was asked of a handpiece that is absent, silent, of another protocol or version, or not yet known."""


class LightError(DeviceError):
    """A light command was refused by the handpiece, or not acknowledged in time. The level in force is as it was, or unknown."""
