"""The simulated handpiece: a hand and a firmware behind a pseudo-terminal, with the faults of cables and plugs on demand.

What opens the terminal's path cannot tell it from a device; the driver's own code runs. It also plays the two range sensors off the shelf.
`simulated:?script=STEPS&rate=30&seed=7` as a handpiece address runs one inside the program, with the driver on it.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import select
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal

from typing_extensions import Self  # typing.Self needs 3.11

from device.handpiece import gy53, tofsense
from device.handpiece.handpiece import Handpiece
from device.handpiece.port import PortPatience
from device.handpiece.sentences import PROTOCOL, Light
from device.handpiece.uri import HandpieceUri
from device.simulated.firmware import FAR_MM, Firmware
from device.simulated.hand import DEFAULT_SCRIPT, PLACES_MM, Hand, Step, parse_script

TICK_S = 0.01
STOP_DEADLINE_S = 1.0
PRESS_S = 0.15
REPLUG_S = 0.2  # between attempts
DEFAULT_MOVEMENT_S = 1.0
LONGEST_LAG_S = 5.0  # a machine that slept does not make up for more of the script than this
READ_BYTES = 4096

Speaks = Literal["reference", "tofsense", "gy53"]

# what a script or a key may do beside moving; the number behind the colon is of …
FAULTS = {
    "press": "seconds that the button is held",
    "noise": "random bytes thrown in",
    "cut": "sentences to cut in the middle",
    "checksum": "sentences to send with a wrong checksum",
    "silence": "seconds without a word",
    "version": "the protocol's major version to claim, after a restart",
    "restart": "nothing: the firmware starts anew",
    "hangup": "seconds for which the plug is out",
}


class HandpieceSimulator:
    """A handpiece at the other end of a pseudo-terminal for as long as the context is open. Every method may be called by any thread.

    Attributes:
        path: of the terminal: `link` where one was given, which also leads to the terminal after a hang-up; else the node itself,
            another one after each hang-up.
    """

    def __init__(
        self, *, speaks: Speaks = "reference", script: str = "", rate_hz: float = 30.0, seed: int = 7, link: Path | None = None
    ) -> None:
        """Store the arguments; an empty script leaves the hand at rest. The script is followed round and round.

        Raises:
            HandpieceUriError: the script cannot be understood.
        """
        self._steps = parse_script(script, frozenset(FAULTS)) if script else []
        self._speaks = speaks
        self._rate_hz = rate_hz
        self._seed = seed
        self._link = link
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulated-handpiece", daemon=True)
        self._random = random.Random(seed)
        self.hand = Hand(seed)
        self._protocol = PROTOCOL
        self._firmware = self._start_firmware()
        self._master: int | None = None
        self._slave: int | None = None  # held open, so that the terminal outlives whoever opens and closes it
        self._path = ""
        self._replug_s = math.inf
        self._silent_until_s = 0.0
        self._release_s = math.inf
        self._frame_s = 0.0
        self._cut = self._wrong = 0
        self._next_step, self._step_s = 0, 0.0

    def __enter__(self) -> Self:
        self._firmware = self._start_firmware()
        self._plug()
        self._step_s = self._frame_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(STOP_DEADLINE_S)
        self._unplug()

    @property
    def path(self) -> str:
        """Where to open it."""
        return self._path if self._link is None else str(self._link)

    @property
    def lights(self) -> dict[Light, int]:
        """The levels that shine; a copy."""
        with self._lock:
            return dict(self._firmware.lights)

    @property
    def firmware(self) -> Firmware:
        """The present one; a restart makes another."""
        return self._firmware

    @property
    def distance_mm(self) -> float:
        """From the range sensor to the skin, now."""
        with self._lock:
            return self.hand.distance_mm(time.monotonic())

    def do(self, action: str, amount: float | None = None) -> None:
        """A movement of the hand (`amount`: seconds it takes) or one of FAULTS, now."""
        now_s = time.monotonic()
        with self._lock:
            if action in PLACES_MM:
                self.hand.move(action, now_s, DEFAULT_MOVEMENT_S if amount is None else amount)
            else:
                self._actions[action](amount, now_s)

    @property
    def _actions(self) -> dict[str, Callable[[float | None, float], None]]:
        return {
            "press": self._press,
            "noise": lambda amount, now_s: self._write(self._random.randbytes(200 if amount is None else int(amount))),
            "cut": lambda amount, now_s: setattr(self, "_cut", self._cut + int(amount or 1)),
            "checksum": lambda amount, now_s: setattr(self, "_wrong", self._wrong + int(amount or 1)),
            "silence": lambda amount, now_s: setattr(self, "_silent_until_s", now_s + (1.0 if amount is None else amount)),
            "version": self._claim_version,
            "restart": lambda amount, now_s: self._restart(),
            "hangup": self._hang_up,
        }

    def _press(self, amount: float | None, now_s: float) -> None:
        if self._release_s == math.inf:
            self._send(self._firmware.button(True, now_s))
        self._release_s = now_s + (PRESS_S if amount is None else amount)

    def _claim_version(self, amount: float | None, now_s: float) -> None:
        self._protocol = (2 if amount is None else min(int(amount), 99), 0)
        self._restart()

    def _restart(self) -> None:
        self._firmware = self._start_firmware()
        self._release_s = math.inf

    def _start_firmware(self) -> Firmware:
        return Firmware(time.monotonic(), rate_hz=self._rate_hz, seed=self._seed, protocol=self._protocol)

    def _hang_up(self, amount: float | None, now_s: float) -> None:
        self._unplug()
        self._restart()  # without power it is dark
        self._replug_s = now_s + (1.0 if amount is None else amount)

    def _plug(self) -> None:
        """A new terminal, and the link to it. Raises OSError, with nothing left open, where there is no room or the link cannot be made."""
        self._master, self._slave = os.openpty()
        try:
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self._path = os.ttyname(self._slave)
            if self._link is not None:  # a new link over the old one, as udev does it
                fresh = self._link.with_name(self._link.name + ".new")
                fresh.unlink(missing_ok=True)
                fresh.symlink_to(self._path)
                fresh.replace(self._link)
        except OSError:
            self._unplug()
            raise

    def _unplug(self) -> None:
        for descriptor in (self._master, self._slave):
            if descriptor is not None:
                os.close(descriptor)
        self._master = self._slave = None
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stopping.is_set():
            master = self._master
            if master is None:
                self._stopping.wait(TICK_S)
            else:
                with contextlib.suppress(OSError, ValueError):  # hung up by another thread meanwhile
                    select.select([master], [], [], TICK_S)
            with self._lock:
                self._live(time.monotonic())

    def _live(self, now_s: float) -> None:
        """Everything that has become due."""
        if now_s - self._step_s > LONGEST_LAG_S:
            self._step_s = now_s
        while self._steps and now_s >= self._step_s:
            step = self._steps[self._next_step]
            self._next_step = (self._next_step + 1) % len(self._steps)
            self._begin(step)
        if now_s >= self._replug_s:
            self._replug_s = now_s + REPLUG_S
            with contextlib.suppress(OSError):  # the link's folder is gone, for one: try again
                self._restart()
                self._plug()
                self._replug_s = math.inf
        if now_s >= self._release_s:
            self._release_s = math.inf
            self._send(self._firmware.button(False, now_s))
        heard = self._read()
        if self._speaks == "reference":
            if heard:
                self._send(self._firmware.hear(heard, now_s))
            self._send(self._firmware.due(now_s, self.hand.distance_mm(now_s)))
        elif now_s >= self._frame_s:
            self._frame_s = max(self._frame_s + 1 / self._rate_hz, now_s)
            self._send([self._frame(self.hand.distance_mm(now_s), now_s)])

    def _begin(self, step: Step) -> None:
        moves = step.action in PLACES_MM
        self.do(step.action, step.amount)
        # time passes during movements; what is done to the handpiece happens while the hand goes on
        self._step_s += (DEFAULT_MOVEMENT_S if step.amount is None else max(step.amount, TICK_S)) if moves else TICK_S

    def _frame(self, distance_mm: float, now_s: float) -> bytes:
        seen = distance_mm <= FAR_MM
        if self._speaks == "gy53":
            return gy53.encode(round(distance_mm) if seen else gy53.NOTHING_TO_MM)
        return tofsense.encode(round(distance_mm), status=0 if seen else 14, system_time_ms=int(now_s * 1000))

    def _send(self, sentences: list[bytes]) -> None:
        if time.monotonic() < self._silent_until_s:
            return
        for sentence in sentences:
            if self._cut > 0:
                self._cut -= 1
                self._write(sentence[: self._random.randrange(1, len(sentence) - 2)])
            elif self._wrong > 0:
                self._wrong -= 1
                at = len(sentence) // 2
                self._write(sentence[:at] + bytes([sentence[at] ^ 0x01]) + sentence[at + 1 :])
            else:
                self._write(sentence)

    def _write(self, data: bytes) -> None:
        """Overflow policy: what nobody reads is lost, as on a UART."""
        if self._master is not None:
            with contextlib.suppress(OSError):
                os.write(self._master, data)

    def _read(self) -> bytes:
        if self._master is None:
            return b""
        try:
            return os.read(self._master, READ_BYTES)
        except OSError:
            return b""


class SimulatedHandpiece(Handpiece):
    """The driver of the reference protocol on a simulator of its own: `simulated:?script=STEPS&rate=30&seed=7`."""

    def __init__(self, uri: HandpieceUri, *, patience: PortPatience | None = None, listener: Callable[[], None] = lambda: None) -> None:
        uri.refuse_unknown_options({"script", "rate", "seed"})
        rate_hz, seed = uri.number("rate", 30, low=1, high=100), uri.number("seed", 7, low=0, high=2**31 - 1)
        self._script, self._rate_hz, self._seed = uri.options.get("script", DEFAULT_SCRIPT), rate_hz, seed
        self._make()  # a script that cannot be understood is told before anything opens
        self.simulator: HandpieceSimulator | None = None
        super().__init__(uri, patience=patience, listener=listener)

    def _make(self) -> HandpieceSimulator:
        return HandpieceSimulator(script=self._script, rate_hz=self._rate_hz, seed=self._seed)

    def find(self) -> str:
        """Where the simulator's terminal is now."""
        return "" if self.simulator is None else self.simulator.path

    def _open(self) -> None:
        self.simulator = self._make()
        self.simulator.__enter__()
        super()._open()

    def _close(self) -> None:
        super()._close()
        if self.simulator is not None:
            self.simulator.__exit__(None, None, None)
            self.simulator = None
