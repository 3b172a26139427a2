"""The handpiece's faults, one after the other, on the kernel's real ftdi_sio: what device.handpiece makes of each."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.rig.handset import DISTANCE_MM, Handset, Harm, Mode, handset
from tests.rig.machine import Machine
from tests.rig.table import Row
from tests.rig.watched import SLOW_S, Event, Watched, watched

ADDRESS = "serial:auto"
AWAY_S = 2.0
MANY = 5
LEVEL = 40


def handpiece_rows(machine: Machine) -> Iterator[Row]:
    """Every fault of the handpiece; it measures again after each."""
    path = machine.guest.path("hand")
    with handset(path) as hand, watched(machine, "watch_handpiece.py", ADDRESS, "{out}", str(DISTANCE_MM), "{stop}") as log:
        yield _plugged_in(hand, log)
        yield _pulled(machine, hand, log)
        yield _speaks(hand, log, "satellite", "wrong-protocol", "wrong protocol on the port: a satellite receiver's")
        yield _speaks(hand, log, "tofsense", "wrong-protocol", "wrong protocol on the port: a range sensor's")
        yield _speaks(hand, log, "next-version", "wrong-version", "the protocol's next version")
        yield _speaks(hand, log, "silent", "silent", "says nothing any more")
        yield _harmed(hand, log, "cut", "sentences cut short, one in five")
        yield _harmed(hand, log, "checksum", "one bit wrong, in one sentence in five")
        yield _harmed(hand, log, "noise", "40 random bytes in one sentence in five")
        yield _leaks(log)


def _plugged_in(hand: Handset, log: Watched) -> Row:
    log.mark()
    ready = log.until_state("ready")
    light = log.until(lambda event: event["kind"] == "light")
    problem = "" if ready else f"not ready in {SLOW_S:g} s: {log.counts.get('state')}"
    if not problem and (light is None or light[0].get("level") != LEVEL or hand.firmware.lights["white"] != LEVEL):
        problem = f"the white light was not set to {LEVEL}: {light and light[0]}"
    said = f"ready: {ready[0]['message']}; white light set to {LEVEL} and acknowledged" if ready else ""
    return Row("none: handpiece found by itself", said, through=_through(log), problem=problem)


def _pulled(machine: Machine, hand: Handset, log: Watched) -> Row:
    through = _through(log)
    log.mark()
    machine.guest.unplug("hand")
    hand.become("unplugged")
    seen = log.until_state("absent")
    time.sleep(AWAY_S)
    hand.become("reference")  # without power it was dark
    log.mark()
    machine.guest.plug_hand()
    back = log.until_state("ready")
    deadline = time.monotonic() + SLOW_S
    while back and hand.firmware.lights["white"] != LEVEL and time.monotonic() < deadline:
        time.sleep(0.05)
    row = _row("adapter pulled while reading, put back", log, seen, back, through)
    if row.passed and hand.firmware.lights["white"] != LEVEL:
        return Row(row.fault, row.said, row.seen_s, row.back_s, row.node_s, row.through, "the light was not set again")
    return row


def _speaks(hand: Handset, log: Watched, mode: Mode, state: str, fault: str) -> Row:
    through = _through(log)
    log.mark()
    hand.become(mode)
    seen = log.until_state(state)
    time.sleep(AWAY_S)
    log.mark()
    hand.become("reference")
    back = log.until_state("ready")
    return _row(fault, log, seen, back, through)


def _harmed(hand: Handset, log: Watched, harm: Harm, fault: str) -> Row:
    start, through = log.next_counts(), _through(log)
    log.mark()
    hand.harm = harm

    def refused(counts: Event) -> int:
        return int(counts["rejected"] + counts["noise_bytes"] - start["rejected"] - start["noise_bytes"])

    first = log.until(lambda event: event["kind"] == "counts" and refused(event) > 0)
    many = log.until(
        lambda event: event["kind"] == "counts" and refused(event) >= MANY and event["readings"] >= start["readings"] + MANY,
    )
    time.sleep(AWAY_S)
    hand.harm = ""
    end = log.next_counts()
    grown = {name: end[name] - start[name] for name in ("readings", "rejected", "withheld", "noise_bytes")}
    said = "; ".join((f"{grown['readings']} readings", f"{grown['rejected']} sentences refused", f"{grown['withheld']} readings withheld"))
    said = f"ready; {said}; {grown['noise_bytes']} bytes of noise"
    problem = "" if many else f"fewer than {MANY} refused, or no readings beside them, in {SLOW_S:g} s"
    if left := log.since_mark("state"):
        problem = problem or f"no longer ready: {left[0]['message']}"
    return Row(fault, said, first[1] if first else None, None, None, _through(log) - through, problem or _not_through(log, through))


def _leaks(log: Watched) -> Row:
    log.next_counts()
    ready = [event for event in log.all("counts") if event["state"] == "ready"]
    first, last = ready[0], ready[-1]
    pairs = [(first[name], last[name]) for name in ("descriptors", "threads")]
    said = f"{pairs[0][0]} descriptors and {pairs[1][0]} threads then, {pairs[0][1]} and {pairs[1][1]} now"
    return Row(
        "after all of that: descriptors, threads", said, problem="" if all(now <= then for then, now in pairs) else "something leaked"
    )


def _row(fault: str, log: Watched, seen: tuple[Event, float] | None, back: tuple[Event, float] | None, through: int) -> Row:
    said = f"{seen[0]['state']}: {seen[0]['message']}" if seen else ""
    problem = "" if seen else f"not noticed in {SLOW_S:g} s: {log.counts.get('state')}"
    problem = problem or ("" if back else f"not ready again in {SLOW_S:g} s: {log.counts.get('state')}")
    log.next_counts()
    return Row(
        fault,
        said,
        seen[1] if seen else None,
        back[1] if back else None,
        None,
        _through(log) - through,
        problem or _not_through(log, through),
    )


def _through(log: Watched) -> int:
    return int(log.counts.get("through", 0))


def _not_through(log: Watched, before: int) -> str:
    grown = _through(log) - before
    return f"{grown} readings that nobody sent" if grown else ""
