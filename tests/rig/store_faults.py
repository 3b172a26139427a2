"""The store's faults on a disk of its own with the kernel's real ext4: power cut while captures are kept, disk full, clock jump."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from tests.rig.machine import Machine
from tests.rig.table import Row
from tests.rig.watched import SLOW_S, Event

FOLDER = "/data/state"
KEPT = 40  # captures acknowledged before the power is cut
MOUNT = "systemctl start data.mount mnt-host.mount mnt-out.mount"


def store_rows(machine: Machine) -> Iterator[Row]:
    """The guest is killed and booted anew on the way: nothing else may run in it."""
    acknowledged, checked = machine.out / "acknowledged.jsonl", machine.out / "checked.jsonl"
    machine.sh(MOUNT)
    process = machine.start("keep_captures.py", FOLDER, f"/mnt/out/{acknowledged.name}")
    deadline = time.monotonic() + SLOW_S
    while not acknowledged.exists() or acknowledged.read_bytes().count(b"\n") < KEPT:
        if time.monotonic() > deadline:
            raise RuntimeError(f"fewer than {KEPT} captures in {SLOW_S:g} s: {machine.guest.result(process, 1.0)}")
        time.sleep(0.05)
    machine.cut_power()
    machine.boot()
    machine.sh(MOUNT)
    process = machine.start("check_captures.py", FOLDER, f"/mnt/out/{acknowledged.name}", f"/mnt/out/{checked.name}")
    status, text = machine.guest.result(process, 2 * SLOW_S)
    found: dict[str, Event] = (
        {event["kind"]: event for event in map(json.loads, checked.read_text().splitlines())} if checked.exists() else {}
    )
    if status != 0:
        raise RuntimeError(f"check_captures.py ended with {status}: {text[-2000:]}")
    yield _cut(found["cut"])
    yield _full(found["full"])
    yield _clock(found["clock"])


def _cut(found: Event) -> Row:
    said = f"{found['acknowledged']} captures acknowledged, {found['there']} there afterwards, {found['lost']} of the acknowledged lost"
    return Row("power cut while captures are kept", said, problem=_problem(found))


def _full(found: Event) -> Row:
    said = f"{found['said']} ({found['more']} more fitted); the next one is kept once there is room"
    return Row("disk full while captures are kept", said, problem=_problem(found) or ("" if found["said"] else "the disk never was full"))


def _clock(found: Event) -> Row:
    ordered = found["ids"] == sorted(set(found["ids"])) and found["listed"] == found["ids"][::-1]
    said = f"captures of {', '.join(taken[:10] for taken in found['taken'])} stay in the order in which they were taken"
    return Row(
        "clock jumps to 2031, then to 2001", said, problem=_problem(found) or ("" if ordered else f"out of order: {found['listed']}")
    )


def _problem(found: Event) -> str:
    if found["lost"]:
        return f"{found['lost']} acknowledged captures lost"
    return f"the store found itself damaged: {found['damage']}" if found["damage"] else ""
