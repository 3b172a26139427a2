"""What goes into V4L2's ioctls and comes out: layouts of the structures, and request numbers computed from their sizes.

From `<linux/videodev2.h>` and `<asm-generic/ioctl.h>`, for 64-bit Linux, where x86-64 and aarch64 lay everything out alike; only what
this package asks for. Reserved fields are left at 0, as the interface demands.
"""

from __future__ import annotations

import ctypes
from typing import Any

VIDEO_MAJOR = 81  # Documentation/admin-guide/devices.txt

U8, U16, U32, S32, S64, U64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_int32, ctypes.c_int64, ctypes.c_uint64


class Capability(ctypes.Structure):
    """v4l2_capability. `device_caps` is of this node, `capabilities` of the whole device."""

    _fields_ = (
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", U32),
        ("capabilities", U32),
        ("device_caps", U32),
        ("reserved", U32 * 3),
    )


class FormatDescription(ctypes.Structure):
    """v4l2_fmtdesc."""

    _fields_ = (
        ("index", U32),
        ("type", U32),
        ("flags", U32),
        ("description", ctypes.c_char * 32),
        ("pixelformat", U32),
        ("mbus_code", U32),
        ("reserved", U32 * 3),
    )


class Fraction(ctypes.Structure):
    """v4l2_fract; as an interval, seconds a frame."""

    _fields_ = (("numerator", U32), ("denominator", U32))


class _SizeUnion(ctypes.Union):
    _fields_ = (("values", U32 * 6),)  # discrete: width, height; else min, max, step of width, then of height


class FrameSize(ctypes.Structure):
    """v4l2_frmsizeenum."""

    _fields_ = (("index", U32), ("pixel_format", U32), ("type", U32), ("size", _SizeUnion), ("reserved", U32 * 2))


class FrameInterval(ctypes.Structure):
    """v4l2_frmivalenum. Discrete: the first of `intervals`; else shortest, longest, step."""

    _fields_ = (
        ("index", U32),
        ("pixel_format", U32),
        ("width", U32),
        ("height", U32),
        ("type", U32),
        ("intervals", Fraction * 3),
        ("reserved", U32 * 2),
    )


class PixelFormat(ctypes.Structure):
    """v4l2_pix_format."""

    _fields_ = (
        ("width", U32),
        ("height", U32),
        ("pixelformat", U32),
        ("field", U32),
        ("bytesperline", U32),
        ("sizeimage", U32),
        ("colorspace", U32),
        ("priv", U32),
        ("flags", U32),
        ("ycbcr_enc", U32),
        ("quantization", U32),
        ("xfer_func", U32),
    )


class Format(ctypes.Structure):
    """v4l2_format. The union holds pointers in other members, hence the gap before it."""

    _fields_ = (("type", U32), ("_gap", U32), ("pix", PixelFormat), ("_rest", U8 * (200 - ctypes.sizeof(PixelFormat))))


class StreamParameters(ctypes.Structure):
    """v4l2_streamparm with its member `capture`."""

    _fields_ = (
        ("type", U32),
        ("capability", U32),
        ("capturemode", U32),
        ("timeperframe", Fraction),
        ("extendedmode", U32),
        ("readbuffers", U32),
        ("_rest", U8 * 176),
    )


class RequestBuffers(ctypes.Structure):
    """v4l2_requestbuffers."""

    _fields_ = (("count", U32), ("type", U32), ("memory", U32), ("capabilities", U32), ("flags", U8), ("reserved", U8 * 3))


class _TimeValue(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("microseconds", ctypes.c_long))


class _TimeCode(ctypes.Structure):
    _fields_ = (("type", U32), ("flags", U32), ("parts", U8 * 8))


class _Memory(ctypes.Union):
    _fields_ = (("offset", U32), ("userptr", ctypes.c_ulong))


class Buffer(ctypes.Structure):
    """v4l2_buffer."""

    _fields_ = (
        ("index", U32),
        ("type", U32),
        ("bytesused", U32),
        ("flags", U32),
        ("field", U32),
        ("timestamp", _TimeValue),
        ("timecode", _TimeCode),
        ("sequence", U32),
        ("memory", U32),
        ("m", _Memory),
        ("length", U32),
        ("reserved2", U32),
        ("request_fd", S32),
    )


class ControlValue(ctypes.Structure):
    """v4l2_control."""

    _fields_ = (("id", U32), ("value", S32))


class ControlDescription(ctypes.Structure):
    """v4l2_query_ext_ctrl."""

    _fields_ = (
        ("id", U32),
        ("type", U32),
        ("name", ctypes.c_char * 32),
        ("minimum", S64),
        ("maximum", S64),
        ("step", U64),
        ("default_value", S64),
        ("flags", U32),
        ("elem_size", U32),
        ("elems", U32),
        ("nr_of_dims", U32),
        ("dims", U32 * 4),
        ("reserved", U32 * 32),
    )


class _MenuUnion(ctypes.Union):
    _pack_ = 1
    _fields_ = (("name", ctypes.c_char * 32), ("value", S64))


class MenuItem(ctypes.Structure):
    """v4l2_querymenu, which the kernel packs."""

    _pack_ = 1
    _fields_ = (("id", U32), ("index", U32), ("item", _MenuUnion), ("reserved", U32))


def _request(direction: int, number: int, structure: type[Any]) -> int:
    """_IOC(direction, 'V', number, size): 8 bits number, 8 bits type, 14 bits size, 2 bits direction."""
    return direction << 30 | ctypes.sizeof(structure) << 16 | ord("V") << 8 | number


_WRITE, _READ = 1, 2
_BOTH = _WRITE | _READ

QUERYCAP = _request(_READ, 0, Capability)
ENUM_FMT = _request(_BOTH, 2, FormatDescription)
G_FMT = _request(_BOTH, 4, Format)
S_FMT = _request(_BOTH, 5, Format)
REQBUFS = _request(_BOTH, 8, RequestBuffers)
QUERYBUF = _request(_BOTH, 9, Buffer)
QBUF = _request(_BOTH, 15, Buffer)
DQBUF = _request(_BOTH, 17, Buffer)
STREAMON = _request(_WRITE, 18, ctypes.c_int)
STREAMOFF = _request(_WRITE, 19, ctypes.c_int)
G_PARM = _request(_BOTH, 21, StreamParameters)
S_PARM = _request(_BOTH, 22, StreamParameters)
G_CTRL = _request(_BOTH, 27, ControlValue)
S_CTRL = _request(_BOTH, 28, ControlValue)
QUERYMENU = _request(_BOTH, 37, MenuItem)
ENUM_FRAMESIZES = _request(_BOTH, 74, FrameSize)
ENUM_FRAMEINTERVALS = _request(_BOTH, 75, FrameInterval)
QUERY_EXT_CTRL = _request(_BOTH, 103, ControlDescription)

CAP_VIDEO_CAPTURE = 0x00000001
CAP_META_CAPTURE = 0x00800000
CAP_STREAMING = 0x04000000
CAP_DEVICE_CAPS = 0x80000000

VIDEO_CAPTURE = 1  # v4l2_buf_type
MEMORY_MMAP = 1
FIELD_ANY, FIELD_NONE = 0, 1
DISCRETE, CONTINUOUS, STEPWISE = 1, 2, 3  # v4l2_frmsizetypes, v4l2_frmivaltypes
CAP_TIMEPERFRAME = 0x1000

BUF_FLAG_ERROR = 0x0040
BUF_FLAG_TIMESTAMP_MASK = 0xE000
BUF_FLAG_TIMESTAMP_MONOTONIC = 0x2000

CTRL_INTEGER, CTRL_BOOLEAN, CTRL_MENU, CTRL_INTEGER_MENU = 1, 2, 3, 9
CTRL_FLAG_DISABLED, CTRL_FLAG_READ_ONLY, CTRL_FLAG_INACTIVE = 0x0001, 0x0004, 0x0010
CTRL_FLAG_WRITE_ONLY, CTRL_FLAG_VOLATILE = 0x0040, 0x0080
CTRL_FLAG_NEXT = 0x80000000


def fourcc(name: str) -> int:
    """The number of a four-character code such as "MJPG"."""
    return int.from_bytes(name.encode("ascii").ljust(4), "little")


def fourcc_name(number: int) -> str:
    """The four characters; what cannot be shown becomes "?"."""
    return "".join(chr(b) if 32 < b < 127 else "?" for b in (number & 0x7FFFFFFF).to_bytes(4, "little").rstrip(b" "))


def text(raw: bytes) -> str:
    """A name as a driver gives it, fit for showing: what is no UTF-8 becomes "?", and control characters are dropped."""
    return "".join(c for c in raw.decode("utf-8", "replace") if c.isprintable()).strip()
