"""The exceptions of the device layer, each saying when it is raised; messages name the thing and the remedy."""


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


class FrameDecodeError(DeviceError):
    """The encoded bytes of a frame are not a picture (short, corrupt, or not an image)."""
