"""Energy that a Jetson's own power monitor tells: watts of its input rail from the INA3221's files (what `tegrastats` shows as VDD_IN)."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from types import TracebackType

SENSORS = Path("/sys/bus/i2c/drivers/ina3221")
RAILS = ("VDD_IN", "VIN_SYS_5V0", "VDD_IN_TOTAL")  # the input rail's name by board
EVERY_S = 0.05
MAX_BYTES = 64


def rail_of(sensors: Path = SENSORS) -> tuple[Path, Path] | None:
    """The files of the input rail's voltage (mV) and current (mA); None where no such monitor is."""
    for label in sorted(sensors.glob("*/hwmon/hwmon*/in*_label")):
        if _text(label) in RAILS:
            number = label.name.removeprefix("in").removesuffix("_label")
            volts, amperes = label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input")
            if volts.is_file() and amperes.is_file():
                return volts, amperes
    return None


class EnergyMeter:
    """Joules that the whole board draws while the context is open: the mean of its readings times the time; null without a monitor."""

    def __init__(self, sensors: Path = SENSORS, every_s: float = EVERY_S) -> None:
        self._rail = rail_of(sensors)
        self._every_s = every_s
        self._watts: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read, name="energy", daemon=True)
        self._began = self._seconds = 0.0

    def __enter__(self) -> EnergyMeter:
        self._began = time.monotonic()
        if self._rail is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._seconds = time.monotonic() - self._began
        if self._rail is not None:
            self._thread.join(1.0)

    @property
    def there(self) -> bool:
        """Whether this board tells."""
        return self._rail is not None

    @property
    def joules(self) -> float | None:
        """What was drawn, null where nothing could be read."""
        return sum(self._watts) / len(self._watts) * self._seconds if self._watts else None

    def _read(self) -> None:
        assert self._rail is not None
        volts, amperes = self._rail
        while True:
            with contextlib.suppress(ValueError):  # a monitor that is gone or says nonsense
                self._watts.append(float(_text(volts)) * float(_text(amperes)) * 1e-6)
            if self._done.wait(self._every_s):
                return


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""
