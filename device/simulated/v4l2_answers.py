"""How the simulated kernel answers each ioctl of V4L2, one function a request; errors are OSError with the number that Linux gives."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from device.simulated.v4l2_device import SimulatedControl, SimulatedFormat
from device.v4l2 import structs

if TYPE_CHECKING:
    from device.simulated.v4l2_kernel import Handle, SimulatedKernel

MAX_BUFFERS = 32


def fail(number: int) -> None:
    """Raise OSError of a number, unless it is 0."""
    if number:
        raise OSError(number, os.strerror(number))


def query_capability(kernel: SimulatedKernel, handle: Handle, answer: structs.Capability) -> None:
    """Who it is and what the node does."""
    device = handle.device
    answer.driver = device.driver.encode()[:15]
    answer.card = device.name.encode()[:31]
    answer.bus_info = f"usb-simulated-{device.port}".encode()[:31]
    answer.capabilities = device.driver_caps | (structs.CAP_META_CAPTURE if device.metadata else 0) | structs.CAP_DEVICE_CAPS
    answer.device_caps = structs.CAP_META_CAPTURE | structs.CAP_STREAMING if handle.metadata else device.driver_caps


def enumerate_formats(kernel: SimulatedKernel, handle: Handle, answer: structs.FormatDescription) -> None:
    """The formats by index."""
    if answer.index >= len(handle.device.formats):
        fail(errno.EINVAL)
    answer.pixelformat = structs.fourcc(handle.device.formats[answer.index].code)


def enumerate_sizes(kernel: SimulatedKernel, handle: Handle, answer: structs.FrameSize) -> None:
    """The sizes of a format by index."""
    known = _format(handle, answer.pixel_format)
    if answer.index >= len(known.sizes):
        fail(errno.EINVAL)
    answer.type = structs.DISCRETE
    answer.size.values[0], answer.size.values[1] = known.sizes[answer.index]


def enumerate_intervals(kernel: SimulatedKernel, handle: Handle, answer: structs.FrameInterval) -> None:
    """The rates of a format and size by index."""
    known = _format(handle, answer.pixel_format)
    if (answer.width, answer.height) not in known.sizes or answer.index >= (1 if known.any_rate else len(known.fps)):
        fail(errno.EINVAL)
    if known.any_rate:
        answer.type = structs.CONTINUOUS
        answer.intervals[0], answer.intervals[1] = _interval(max(known.fps)), _interval(min(known.fps))
    else:
        answer.type = structs.DISCRETE
        answer.intervals[0] = _interval(known.fps[answer.index])


def get_format(kernel: SimulatedKernel, handle: Handle, answer: structs.Format) -> None:
    """The format that is set."""
    code, width, height = handle.picture
    answer.pix.pixelformat, answer.pix.width, answer.pix.height = structs.fourcc(code), width, height
    answer.pix.bytesperline = 2 * width if code == "YUYV" else 0
    answer.pix.sizeimage = 2 * width * height


def set_format(kernel: SimulatedKernel, handle: Handle, answer: structs.Format) -> None:
    """Set the format; what is not offered becomes the first that is."""
    faults = handle.device.faults
    fail(faults.format_errno)
    kernel.own(handle)
    if handle.maps:
        fail(errno.EBUSY)
    wanted = (structs.fourcc_name(answer.pix.pixelformat), answer.pix.width, answer.pix.height)
    known = {each.code: each for each in handle.device.formats}
    code = wanted[0] if wanted[0] in known else next(iter(known), "MJPG")
    sizes = known[code].sizes if code in known else ((640, 480),)
    if faults.other_picture:
        sizes = tuple(each for each in sizes if each != wanted[1:])
    size = wanted[1:] if wanted[1:] in sizes else sizes[0]
    handle.picture = (code, int(size[0]), int(size[1]))
    get_format(kernel, handle, answer)


def set_parameters(kernel: SimulatedKernel, handle: Handle, answer: structs.StreamParameters) -> None:
    """Set the rate, to the nearest that is offered."""
    asked = answer.timeperframe
    known = next((each for each in handle.device.formats if each.code == handle.picture[0]), None)
    if known is None or not asked.numerator or not asked.denominator:
        fail(errno.EINVAL)
        return
    fps = asked.denominator / asked.numerator
    if known.any_rate:
        handle.fps = min(max(fps, min(known.fps)), max(known.fps))
    else:
        handle.fps = min(known.fps, key=lambda each: abs(each - fps))
    get_parameters(kernel, handle, answer)


def get_parameters(kernel: SimulatedKernel, handle: Handle, answer: structs.StreamParameters) -> None:
    """The rate that is set."""
    answer.capability = structs.CAP_TIMEPERFRAME
    answer.timeperframe = _interval(handle.fps)


def request_buffers(kernel: SimulatedKernel, handle: Handle, answer: structs.RequestBuffers) -> None:
    """Allocate buffers, or free them with a count of 0; mapped ones cannot be freed."""
    if answer.count:
        fail(handle.device.faults.buffers_errno)
        kernel.own(handle)
    if handle.streaming or any(not each.closed for each in handle.maps):
        fail(errno.EBUSY)
    handle.maps, handle.length = [], 2 * handle.picture[1] * handle.picture[2]
    handle.length += -handle.length % 4096
    handle.queued.clear()
    handle.done.clear()
    handle.reserved = min(int(answer.count), MAX_BUFFERS)
    answer.count = handle.reserved
    if not answer.count:
        kernel.disown(handle)


def query_buffer(kernel: SimulatedKernel, handle: Handle, answer: structs.Buffer) -> None:
    """Where a buffer is to be mapped."""
    if answer.index >= handle.reserved:
        fail(errno.EINVAL)
    answer.length = handle.length
    answer.m.offset = answer.index * handle.length


def queue_buffer(kernel: SimulatedKernel, handle: Handle, answer: structs.Buffer) -> None:
    """Give a buffer to the camera."""
    if answer.index >= handle.reserved or answer.index in handle.queued or any(each.index == answer.index for each in handle.done):
        fail(errno.EINVAL)
    handle.queued.append(int(answer.index))


def dequeue_buffer(kernel: SimulatedKernel, handle: Handle, answer: structs.Buffer) -> None:
    """Take the oldest full buffer."""
    fail(handle.device.faults.dequeue_errno)
    if not handle.streaming:
        fail(errno.EINVAL)
    handle.advance(kernel.now_ns())
    if not handle.done:
        fail(errno.EAGAIN)
    full = handle.done.popleft()
    ctypes.memmove(ctypes.byref(answer), ctypes.byref(full), ctypes.sizeof(structs.Buffer))


def start(kernel: SimulatedKernel, handle: Handle, answer: Any) -> None:
    """Let the camera send."""
    faults = handle.device.faults
    if not faults.refused_formats or handle.picture[0] in faults.refused_formats:
        fail(faults.start_errno)
    if not handle.reserved:
        fail(errno.EINVAL)
    handle.streaming, handle.sequence = True, 0
    handle.next_ns = kernel.now_ns()


def stop(kernel: SimulatedKernel, handle: Handle, answer: Any) -> None:
    """Stop it; every buffer is the program's again."""
    handle.streaming = False
    handle.queued.clear()
    handle.done.clear()


def describe_control(kernel: SimulatedKernel, handle: Handle, answer: structs.ControlDescription) -> None:
    """A control, or the next one."""
    known = handle.device.controls
    number = answer.id & ~structs.CTRL_FLAG_NEXT
    if answer.id & structs.CTRL_FLAG_NEXT:
        number = next((each for each in sorted(known) if each > number), 0)
    if number not in known:
        fail(errno.EINVAL)
    control = known[number]
    answer.id, answer.type, answer.name = number, control.kind, control.name.encode()[:31]
    answer.minimum, answer.maximum, answer.step, answer.default_value = control.low, control.high, control.step, control.default
    answer.flags = control.flags | (0 if _by_hand(known, control) else structs.CTRL_FLAG_INACTIVE)


def query_menu(kernel: SimulatedKernel, handle: Handle, answer: structs.MenuItem) -> None:
    """An entry of a menu."""
    control = handle.device.controls.get(answer.id)
    if control is None or answer.index not in control.choices:
        fail(errno.EINVAL)
        return
    answer.item.name = control.choices[answer.index].encode()[:31]


def get_control(kernel: SimulatedKernel, handle: Handle, answer: structs.ControlValue) -> None:
    """The value of a control."""
    control = handle.device.controls.get(answer.id)
    if control is None:
        fail(errno.EINVAL)
        return
    fail(control.errno)
    answer.value = control.value


def set_control(kernel: SimulatedKernel, handle: Handle, answer: structs.ControlValue) -> None:
    """Set a control; one that an automatic governs refuses."""
    known = handle.device.controls
    control = known.get(answer.id)
    if control is None:
        fail(errno.EINVAL)
        return
    fail(control.errno)
    if not _by_hand(known, control):
        fail(errno.EACCES)
    if not control.low <= answer.value <= control.high:
        fail(errno.ERANGE)
    control.value = int(answer.value)


def _by_hand(known: dict[int, SimulatedControl], control: SimulatedControl) -> bool:
    if control.governor is None or control.governor[0] not in known:
        return True
    return known[control.governor[0]].value == control.governor[1]


def _format(handle: Handle, code: int) -> SimulatedFormat:
    for each in handle.device.formats:
        if structs.fourcc(each.code) == code:
            return each
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _interval(fps: float) -> structs.Fraction:
    """Seconds a frame, in 100 ns as UVC counts them where the rate is no whole number."""
    exact = 1 / Fraction(fps).limit_denominator(1000)
    return structs.Fraction(exact.numerator, exact.denominator)


ANSWERS: dict[int, Callable[[SimulatedKernel, Handle, Any], None]] = {
    structs.QUERYCAP: query_capability,
    structs.ENUM_FMT: enumerate_formats,
    structs.ENUM_FRAMESIZES: enumerate_sizes,
    structs.ENUM_FRAMEINTERVALS: enumerate_intervals,
    structs.G_FMT: get_format,
    structs.S_FMT: set_format,
    structs.G_PARM: get_parameters,
    structs.S_PARM: set_parameters,
    structs.REQBUFS: request_buffers,
    structs.QUERYBUF: query_buffer,
    structs.QBUF: queue_buffer,
    structs.DQBUF: dequeue_buffer,
    structs.STREAMON: start,
    structs.STREAMOFF: stop,
    structs.QUERY_EXT_CTRL: describe_control,
    structs.QUERYMENU: query_menu,
    structs.G_CTRL: get_control,
    structs.S_CTRL: set_control,
}
