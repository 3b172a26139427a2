"""The controls of a camera: what it has, within which ranges; reading, setting, and holding all automatics still for a visit.

Names are those that `v4l2-ctl` prints today, whatever the kernel at hand calls them; values are the driver's own whole numbers
(`exposure_time_absolute` in units of 100 µs, `white_balance_temperature` in kelvin, a menu by its number). A control that a camera lacks
is never an error. All of it is called by the thread that reads the camera.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from device.errors import ControlError
from device.v4l2 import structs
from device.v4l2.kernel import Kernel
from device.v4l2.troubles import lost, reason

log = logging.getLogger(__name__)

ControlKind = Literal["integer", "boolean", "menu"]
KINDS: dict[int, ControlKind] = {
    structs.CTRL_INTEGER: "integer",
    structs.CTRL_BOOLEAN: "boolean",
    structs.CTRL_MENU: "menu",
    structs.CTRL_INTEGER_MENU: "menu",
}
USER, CAMERA = 0x00980900, 0x009A0900  # V4L2_CID_BASE, V4L2_CID_CAMERA_CLASS_BASE
NAMES = {
    USER + 0: "brightness",
    USER + 1: "contrast",
    USER + 2: "saturation",
    USER + 3: "hue",
    USER + 12: "white_balance_automatic",
    USER + 14: "red_balance",
    USER + 15: "blue_balance",
    USER + 16: "gamma",
    USER + 18: "gain_automatic",
    USER + 19: "gain",
    USER + 24: "power_line_frequency",
    USER + 25: "hue_automatic",
    USER + 26: "white_balance_temperature",
    USER + 27: "sharpness",
    USER + 28: "backlight_compensation",
    USER + 32: "brightness_automatic",
    CAMERA + 1: "auto_exposure",
    CAMERA + 2: "exposure_time_absolute",
    CAMERA + 3: "exposure_dynamic_framerate",
    CAMERA + 10: "focus_absolute",
    CAMERA + 12: "focus_automatic_continuous",
    CAMERA + 13: "zoom_absolute",
    CAMERA + 17: "iris_absolute",
}
# automatic → its value for "by hand", and what it then leaves to the hand
AUTOMATICS: dict[str, tuple[int, tuple[str, ...]]] = {
    "auto_exposure": (1, ("exposure_time_absolute", "iris_absolute")),  # V4L2_EXPOSURE_MANUAL
    "exposure_dynamic_framerate": (0, ()),
    "gain_automatic": (0, ("gain",)),
    "white_balance_automatic": (0, ("white_balance_temperature", "red_balance", "blue_balance")),
    "focus_automatic_continuous": (0, ("focus_absolute",)),
    "hue_automatic": (0, ("hue",)),
    "brightness_automatic": (0, ("brightness",)),
}
OF_ITSELF = {name: automatic for automatic, (_, names) in AUTOMATICS.items() for name in names}  # what an automatic governs
HIDDEN = structs.CTRL_FLAG_DISABLED | structs.CTRL_FLAG_WRITE_ONLY
MAX_CONTROLS = 128


@dataclass(frozen=True)
class Control:
    """A control that a camera has. `choices` of a menu: number → the driver's words.

    Attributes:
        value: at the time of asking, None where the camera does not tell; `active` False while an automatic governs it.
    """

    id: int
    name: str
    kind: ControlKind
    low: int
    high: int
    step: int
    default: int
    value: int | None
    active: bool
    settable: bool
    volatile: bool
    choices: Mapping[int, str] = field(default_factory=dict)

    def refuse(self, value: int) -> None:
        """Raise ControlError unless the control takes the value."""
        if self.choices:
            if value not in self.choices:
                offered = ", ".join(f"{number} ({words})" for number, words in self.choices.items())
                raise ControlError(f"{self.name}={value}: this camera takes {offered}")
        elif not (self.low <= value <= self.high and (value - self.low) % max(1, self.step) == 0):
            steps = f" in steps of {self.step}" if self.step > 1 else ""
            raise ControlError(f"{self.name}={value}: this camera takes {self.low} to {self.high}{steps}")


class Controls:
    """The controls of one open camera."""

    def __init__(self, kernel: Kernel, fd: int, node: str) -> None:
        """Store the arguments; nothing is asked yet."""
        self._kernel = kernel
        self._fd = fd
        self._node = node
        self._released: dict[str, int] = {}  # how the automatics stood before they were locked

    def read(self) -> list[Control]:
        """Every control that is a number, a switch or a menu, in the driver's order. Raises CameraLostError when the camera is gone."""
        found: dict[str, Control] = {}
        number = 0
        for _ in range(MAX_CONTROLS):
            described = structs.ControlDescription(id=number | structs.CTRL_FLAG_NEXT)
            if not self._ask(structs.QUERY_EXT_CTRL, described) or described.id <= number:
                break
            number = int(described.id)
            if described.type in KINDS and not described.flags & HIDDEN:
                control = self._control(described)
                found.setdefault(control.name, control)
        return [*found.values()]

    def recorded(self) -> dict[str, int | bool]:
        """What holds still: the value of each control that neither an automatic nor the camera itself changes."""
        return {
            each.name: bool(each.value) if each.kind == "boolean" else each.value
            for each in self.read()
            if each.value is not None and each.active and not each.volatile
        }

    def write(self, name: str, value: int) -> bool:
        """Set a control, its automatic switched off first; whether the camera has it.

        Raises:
            ControlError: the camera takes other values, or refuses; says which.
            CameraLostError: the camera is gone.
        """
        controls = {each.name: each for each in self.read()}
        control = controls.get(name)
        if control is None:
            log.info("%s has no control %s", self._node, name)
            return False
        control.refuse(value)
        automatic = controls.get(OF_ITSELF.get(name, ""))
        if automatic is not None and automatic.value not in (None, AUTOMATICS[automatic.name][0]):
            self._send(automatic, AUTOMATICS[automatic.name][0])
        if not self._send(control, value):
            raise ControlError(f"{self._node} refuses {name}={value}: unplug the microscope and plug it in again, or leave {name} alone")
        return True

    def lock(self, values: Mapping[str, int | bool] | None = None) -> dict[str, int | bool]:
        """Switch every automatic off and hold its controls at `values`, else at what the automatic had come to; what holds now.

        A control that the camera refuses to change is logged and stays. Raises CameraLostError when the camera is gone.
        """
        controls = {each.name: each for each in self.read()}
        by_hand = {name: controls[name] for name in AUTOMATICS if name in controls and controls[name].settable}
        for name, control in by_hand.items():
            manual = AUTOMATICS[name][0]
            if control.value is None or control.value == manual or (control.choices and manual not in control.choices):
                continue
            if self._send(control, manual):
                self._released.setdefault(name, control.value)
                for governed in (controls[each] for each in AUTOMATICS[name][1] if each in controls):
                    if governed.value is not None and not (values and governed.name in values):
                        self._send(governed, governed.value)
        for name, value in (values or {}).items():
            wanted = controls.get(name)
            if wanted is not None and wanted.settable and name not in by_hand:
                self._send(wanted, int(value))
        return self.recorded()

    def release(self) -> None:
        """Give back to the automatics what `lock` took from them. Raises CameraLostError when the camera is gone."""
        controls = {each.name: each for each in self.read()}
        for name, value in self._released.items():
            if name in controls:
                self._send(controls[name], value)
        self._released = {}

    def _control(self, described: structs.ControlDescription) -> Control:
        kind = KINDS[described.type]
        number, flags = int(described.id), int(described.flags)
        shown = structs.text(described.name)
        value = structs.ControlValue(id=number)
        return Control(
            id=number,
            name=NAMES.get(number) or "_".join("".join(c if c.isalnum() else " " for c in shown.lower()).split()) or f"0x{number:08x}",
            kind=kind,
            low=int(described.minimum),
            high=int(described.maximum),
            step=int(described.step),
            default=int(described.default_value),
            value=int(value.value) if self._ask(structs.G_CTRL, value) else None,
            active=not flags & structs.CTRL_FLAG_INACTIVE,
            settable=not flags & structs.CTRL_FLAG_READ_ONLY,
            volatile=bool(flags & structs.CTRL_FLAG_VOLATILE),
            choices=self._choices(described) if kind == "menu" else {},
        )

    def _choices(self, described: structs.ControlDescription) -> dict[int, str]:
        found = {}
        for index in range(max(0, int(described.minimum)), min(int(described.maximum), MAX_CONTROLS) + 1):
            item = structs.MenuItem(id=described.id, index=index)
            if self._ask(structs.QUERYMENU, item):  # menus have gaps
                is_number = described.type == structs.CTRL_INTEGER_MENU
                found[index] = str(item.item.value) if is_number else structs.text(item.item.name)
        return found

    def _send(self, control: Control, value: int) -> bool:
        try:
            self._kernel.ioctl(self._fd, structs.S_CTRL, structs.ControlValue(id=control.id, value=value))
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise lost(self._node, error) from error
            log.warning("%s refuses %s=%d (%s)", self._node, control.name, value, reason(error))
            return False
        return True

    def _ask(self, request: int, argument: object) -> bool:
        try:
            self._kernel.ioctl(self._fd, request, argument)
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise lost(self._node, error) from error
            return False
        return True
