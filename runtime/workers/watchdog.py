"""Supervision: what state each part is in, whether it gets on, and the systemd watchdog, fed only while all of them do.

A part *gets on* when its beat moved within its deadline: a frame or an attempt to open the camera, a result or no frame to
measure, a real write to the store, an answer of the event loop. A camera that is absent is a state, and its part gets on by
looking for it. A part that has given up ends the daemon, since only a fresh start can help.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import structlog
from typing_extensions import Self  # typing.Self needs 3.11

from runtime.workers.notify import ServiceManager

log = structlog.get_logger(__name__)

PartName = Literal["capture", "analysis", "store", "server"]

LONGEST_CHECK_PERIOD_S = 1.0


@dataclass(frozen=True)
class PartReport:
    """One part at one moment.

    Attributes:
        message: for a person; with what to do where something must be done.
        ok: it does its work, or is in a state that is no failure.
        beat_ns: `time.monotonic_ns()` when it last got on; None where nothing is expected of it any more.
        deadline_s: how old the beat may be.
        given_up: only a restart of the daemon can help.
    """

    name: PartName
    state: str
    message: str
    ok: bool
    beat_ns: int | None
    deadline_s: float
    given_up: bool = False

    def gets_on(self, now_ns: int) -> bool:
        """Whether its beat is fresh at `now_ns`."""
        return self.beat_ns is None or now_ns - self.beat_ns <= self.deadline_s * 1e9

    def judged(self, now_ns: int) -> PartReport:
        """The same, with `ok` false and a message where the part is stuck."""
        if self.beat_ns is None or self.gets_on(now_ns):
            return self
        age_s = (now_ns - self.beat_ns) / 1e9
        message = f"stuck for {age_s:.0f} s (allowed: {self.deadline_s:g} s); last state: {self.message}"
        return PartReport(self.name, "stuck", message, False, self.beat_ns, self.deadline_s, self.given_up)


class Supervisor:
    """Looks at all parts, feeds the watchdog, and ends the daemon where a part has given up."""

    def __init__(
        self,
        look: Callable[[], list[PartReport]],
        manager: ServiceManager,
        *,
        nudge: Callable[[], None] = lambda: None,
        end: Callable[[str], None] = lambda _why: None,
        period_s: float | None = None,
    ) -> None:
        """Store the arguments.

        `look` gives the reports of all parts; `nudge` makes the event loop give a sign of life; `end` ends the daemon for the reason
        given. All are called by the supervisor's thread.
        """
        self._look = look
        self._manager = manager
        self._nudge = nudge
        self._end = end
        longest_s = LONGEST_CHECK_PERIOD_S if period_s is None else period_s
        self._period_s = min(longest_s, manager.watchdog_s / 4) if manager.watchdog_s else longest_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(1.0)

    def health(self) -> list[PartReport]:
        """All parts, judged now. Any thread."""
        now_ns = time.monotonic_ns()
        return [report.judged(now_ns) for report in self._look()]

    def _run(self) -> None:
        said: str | None = None
        while not self._stopping.wait(self._period_s):
            try:
                said = self._check(said)
            except Exception:  # then the watchdog is not fed, which is what it is for
                log.exception("the supervision itself failed")

    def _check(self, said: str | None) -> str:
        """One round; the status line that systemd was told."""
        self._nudge()
        reports = self.health()
        if lost := [r for r in reports if r.given_up]:
            self._end(f"{lost[0].name}: {lost[0].message}")
        stuck = [r for r in reports if r.state == "stuck"]
        if not stuck:
            self._manager.feed_watchdog()
        status = "; ".join(f"{r.name} {r.state}" + ("" if r.ok else f": {r.message}") for r in (stuck or reports))
        kinds = "; ".join(f"{r.name} {r.state}" for r in reports)
        if kinds != said:
            (log.warning if any(not r.ok for r in reports) else log.info)("parts", status=status)
            self._manager.say_status(status)
        return kinds
