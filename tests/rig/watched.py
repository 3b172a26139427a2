"""A program of ours that runs in the guest: started, listened to through its log on the shared folder, ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.rig.machine import Machine

POLL_S = 0.02
SLOW_S = 60.0  # after which nothing is to be hoped for; emulation on a busy machine takes its time, so this is no measure of the driver

Event = dict[str, Any]


class Watched:
    """Reads the program's log line by line as it grows."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = 0
        self._events: list[Event] = []
        self._marked = 0
        self._mark_s = time.monotonic()
        self.counts: Event = {}  # the latest

    def mark(self) -> None:
        """From here on: `until` looks at what comes after this, and counts its seconds from this."""
        self._take()
        self._marked, self._mark_s = len(self._events), time.monotonic()

    def until(self, wanted: Callable[[Event], bool], within_s: float = SLOW_S) -> tuple[Event, float] | None:
        """(the first line after the mark that is wanted, seconds from the mark until it was seen), None in time-out."""
        at = self._marked
        while True:
            self._take()
            now = time.monotonic()
            for event in self._events[at:]:
                if wanted(event):
                    return event, event["seen"] - self._mark_s
            at = len(self._events)
            if now - self._mark_s > within_s:
                return None
            time.sleep(POLL_S)

    def until_state(self, *states: str, within_s: float = SLOW_S) -> tuple[Event, float] | None:
        """As `until`, for a change into one of the states."""
        return self.until(lambda event: event["kind"] == "state" and event["state"] in states, within_s)

    def since_mark(self, kind: str) -> list[Event]:
        """The lines of that kind that came after the mark."""
        self._take()
        return [event for event in self._events[self._marked :] if event["kind"] == kind]

    def all(self, kind: str) -> list[Event]:
        """Every line of that kind."""
        self._take()
        return [event for event in self._events if event["kind"] == kind]

    def next_counts(self) -> Event:
        """Counts made wholly after this call; the mark stays. Raises RuntimeError where none come."""
        before = len(self.all("counts"))
        deadline = time.monotonic() + SLOW_S
        while len(counts := self.all("counts")) < before + 2:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the guest's program has counted nothing for {SLOW_S:g} s")
            time.sleep(POLL_S)
        return counts[-1]

    def _take(self) -> None:
        if not self._log.exists():
            return
        with self._log.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            event: Event = {**json.loads(line), "seen": time.monotonic()}
            self._events.append(event)
            if event["kind"] == "counts":
                self.counts = event


@contextmanager
def watched(machine: Machine, program: str, *arguments: str) -> Iterator[Watched]:
    """Run `guest/PROGRAM ADDRESS… OUT …` in the guest; `{out}` and `{stop}` in the arguments become its log and the file that ends it."""
    name = Path(program).stem
    log, stop = machine.out / f"{name}.jsonl", machine.out / f"{name}.stop"
    for path in (log, stop):
        path.unlink(missing_ok=True)
    places = {"out": f"/mnt/out/{log.name}", "stop": f"/mnt/out/{stop.name}"}
    process = machine.start(program, *(argument.format(**places) for argument in arguments))
    try:
        yield Watched(log)
    finally:
        stop.touch()
        status, text = machine.guest.result(process, SLOW_S)
        if status != 0:
            raise RuntimeError(f"{program} ended with {status} in the guest: {text[-2000:]}")
