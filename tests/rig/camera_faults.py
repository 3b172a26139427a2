"""The microscope's faults, one after the other, on the kernel's real uvcvideo: what CaptureLoop and device.v4l2 make of each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from tests.rig.machine import Machine
from tests.rig.table import Row
from tests.rig.watched import SLOW_S, Event, Watched, watched

ADDRESS = "v4l2:/dev/v4l/by-id/usb-Rig_Scalp_scope__virtual__RIG0001-video-index0?format=mjpg"
UNTOUCHED_S = 5.0
AWAY_S = 2.0
MANY = 5  # damaged pictures, of which so many must be noticed
SHOWS_AS = {"drop": ("no_end", "torn", "short"), "garbage": ("zeroed",), "error": ("gaps", "error_flag")}  # in FrameCounts
EVERY = 5  # one picture in five is damaged
KEY_CAMERA = 212
BUTTON_S = 30
HOG = "exec v4l2-ctl -d /dev/video0 --set-fmt-video=width=640,height=480,pixelformat=MJPG --stream-mmap >/dev/null 2>&1"


def camera_rows(machine: Machine) -> Iterator[Row]:
    """Every fault of the camera; the stream is sound again after each."""
    hog = machine.guest.start(HOG)
    time.sleep(AWAY_S)
    with watched(machine, "watch_camera.py", ADDRESS, "{out}", "/mnt/host/pictures/640x480", "{stop}") as log:
        try:
            yield _held(machine, log, hog)
            yield _no_fault(log)
            yield _unplugged(machine, log)
            yield _elsewhere(machine, log)
            yield _frozen(machine, log)
            yield _damaged(machine, log, "drop", "JPEGs cut in half, one in five, without an error flag")
            yield _damaged(machine, log, "garbage", "JPEGs with their bytes zeroed, one in five")
            yield _damaged(machine, log, "error", "payload error bit, one picture in five")
            yield _only_damaged(machine, log)
            yield _refused(machine, log)
            yield _refused_while_binding(machine, log)
            yield _button(machine, log)
            yield _leaks(log)
        finally:
            for command in ("freeze 0", "drop 0", "garbage 0", "error 0", "refuse 0"):
                machine.camera.command(command)


def _held(machine: Machine, log: Watched, hog: int) -> Row:
    log.mark()
    seen = log.until_state("busy")
    log.mark()
    machine.sh(f"kill {hog}")
    back = log.until_state("streaming")
    return _row("another program streams from it, then ends", log, seen, back, seen_s=None)


def _no_fault(log: Watched) -> Row:
    log.mark()
    through = _through(log)
    time.sleep(UNTOUCHED_S)
    counts = log.next_counts()
    left = log.since_mark("state")
    frames = counts["frames"]
    problem = f"left streaming: {left[0]['message']}" if left else "" if frames else "no frame came"
    problem = problem or _not_through(log, through)
    said = f"streaming; {frames} frames so far, {log.counts.get('lost')} missing, {log.counts.get('damaged')} dropped as damaged"
    return Row(f"none, for {UNTOUCHED_S:g} s", said, through=_through(log) - through, problem=problem)


def _unplugged(machine: Machine, log: Watched) -> Row:
    through = _through(log)
    log.mark()
    machine.camera.command("unplug")
    seen = log.until_state("absent")
    time.sleep(AWAY_S)
    log.mark()
    machine.camera.command("plug")
    back = log.until_state("streaming")
    return _row("unplugged in mid-stream, plugged in again", log, seen, back, through=through, replugged=True)


def _elsewhere(machine: Machine, log: Watched) -> Row:
    """Another program keeps the old node open over the unplugging, so that the kernel gives the camera another number."""
    through = _through(log)
    before = _nodes(log)
    holder = machine.guest.start(f"exec 9<>{before[0]}; exec sleep 600" if before else "exec sleep 600")
    time.sleep(1.0)
    log.mark()
    machine.camera.command("unplug")
    seen = log.until_state("absent")
    time.sleep(AWAY_S)
    log.mark()
    machine.camera.command("plug")
    back = log.until_state("streaming")
    after = _nodes(log)
    machine.sh(f"kill {holder}")
    row = _row("the same, and back as another /dev/videoN", log, seen, back, through=through, replugged=True)
    if row.passed and before == after:
        return _failed(row, f"the kernel gave it the same nodes: {before}; nothing was tested")
    return row


def _frozen(machine: Machine, log: Watched) -> Row:
    through = _through(log)
    log.mark()
    machine.camera.command("freeze 1")
    seen = log.until_state("frozen")
    time.sleep(AWAY_S)
    log.mark()
    machine.camera.command("freeze 0")
    back = log.until_state("streaming")
    return _row("frozen while streaming, then thawed", log, seen, back, through=through)


def _damaged(machine: Machine, log: Watched, command: str, fault: str) -> Row:
    """One picture in five is damaged: it is dropped or never comes, the stream goes on."""
    start = log.next_counts()
    through = _through(log)
    log.mark()
    machine.camera.command(f"{command} {EVERY}")

    def short(counts: Event) -> int:
        return int(sum(counts["flaws"].get(name, 0) - start["flaws"].get(name, 0) for name in SHOWS_AS[command]))

    first = log.until(lambda event: event["kind"] == "counts" and short(event) > 0)
    many = log.until(lambda event: event["kind"] == "counts" and short(event) >= MANY)
    machine.camera.command(f"{command} 0")
    time.sleep(1.0)
    end = log.next_counts()
    left = log.since_mark("state")
    grown = {name: n - start["flaws"].get(name, 0) for name, n in end["flaws"].items()}
    grown = {name: n for name, n in grown.items() if n > 0 and name != "good"}
    what = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in grown.items())
    problem = "" if many else f"fewer than {MANY} such pictures were noticed in {SLOW_S:g} s"
    if left:
        problem = problem or f"the stream was given up: {left[0]['message']}"
    said = f"streaming; of {end['frames'] - start['frames'] + sum(grown.values())} pictures: {what or 'nothing noticed'}"
    return Row(fault, said, first[1] if first else None, None, None, _through(log) - through, problem or _not_through(log, through))


def _only_damaged(machine: Machine, log: Watched) -> Row:
    through = _through(log)
    log.mark()
    machine.camera.command("garbage 1")
    seen = log.until_state("frozen")
    time.sleep(AWAY_S)
    log.mark()
    machine.camera.command("garbage 0")
    back = log.until_state("streaming")
    return _row("every JPEG zeroed, then none", log, seen, back, through=through)


def _refused(machine: Machine, log: Watched) -> Row:
    """A frozen camera is opened anew, and then will not negotiate a picture; later it will."""
    through = _through(log)
    machine.camera.command("refuse 1")
    log.mark()
    machine.camera.command("freeze 1")
    if log.until_state("frozen"):
        log.mark()
    seen = log.until_state("refused")
    machine.camera.command("freeze 0")
    time.sleep(AWAY_S)
    log.mark()
    machine.camera.command("refuse 0")
    back = log.until_state("streaming")
    return _row("negotiation refused, then granted", log, seen, back, through=through)


def _refused_while_binding(machine: Machine, log: Watched) -> Row:
    """uvcvideo negotiates while it binds: a camera that refuses then gets no node, which is a camera that is not there."""
    through = _through(log)
    log.mark()
    machine.camera.command("unplug")
    log.until_state("absent")
    machine.camera.command("refuse 1")
    time.sleep(AWAY_S)
    log.mark()
    machine.camera.command("plug")
    time.sleep(2 * AWAY_S)
    went_on = log.until_state("streaming", within_s=0.0)
    said = log.all("state")[-1]
    machine.camera.command("refuse 0")
    machine.camera.command("unplug")
    time.sleep(AWAY_S)
    log.mark()
    machine.camera.command("plug")
    back = log.until_state("streaming")
    row = _row("negotiation refused at plugging in; plugged in again", log, (said, 0.0), back, through=through, seen_s=None, replugged=True)
    return _failed(row, "it streamed from a camera that refuses to") if went_on else row


def _button(machine: Machine, log: Watched) -> Row:
    path = machine.out / "button.jsonl"
    path.unlink(missing_ok=True)
    through = _through(log)
    process = machine.start("watch_button.py", f"/mnt/out/{path.name}", str(BUTTON_S))
    deadline = time.monotonic() + SLOW_S
    while time.monotonic() < deadline and not (path.exists() and path.read_text().endswith("\n")):
        time.sleep(0.1)
    time.sleep(1.0)
    log.mark()
    pressed_s = time.monotonic()
    machine.camera.command("button")
    keys: list[Event] = []
    seen_s = None
    while time.monotonic() < pressed_s + BUTTON_S / 2 and len(keys) < 2:
        keys = [event for event in map(json.loads, path.read_text().splitlines()) if event["kind"] == "key"]
        seen_s = time.monotonic() - pressed_s if keys and seen_s is None else seen_s
        time.sleep(0.02)
    machine.sh(f"kill {process}")
    pairs = [(event["code"], event["value"]) for event in keys]
    problem = "" if pairs == [(KEY_CAMERA, 1), (KEY_CAMERA, 0)] else f"expected KEY_CAMERA down and up on the input device, got {pairs}"
    if left := log.since_mark("state"):
        problem = problem or f"the stream was given up: {left[0]['message']}"
    said = "streaming; KEY_CAMERA 1, 0 on the camera's input device (read by a probe: no driver of ours takes it yet)"
    return Row("snapshot button pressed while streaming", said, seen_s, None, None, _through(log) - through, problem)


def _leaks(log: Watched) -> Row:
    """Descriptors and threads while streaming, at the beginning and after all of that."""
    log.mark()
    log.next_counts()
    streaming = [event for event in log.all("counts") if event["state"] == "streaming"]
    if len(streaming) < 2:
        return Row("after all of that: descriptors, threads", "", problem="the stream is down")
    first, last = streaming[1], streaming[-1]
    pairs = [(first[name], last[name]) for name in ("descriptors", "threads")]
    said = f"opened {last['opened']} times; {pairs[0][0]} descriptors and {pairs[1][0]} threads then, {pairs[0][1]} and {pairs[1][1]} now"
    problem = "" if all(now <= then for then, now in pairs) else "something leaked"
    return Row("after all of that: descriptors, threads", said, problem=problem)


def _row(
    fault: str,
    log: Watched,
    seen: tuple[Event, float] | None,
    back: tuple[Event, float] | None,
    *,
    through: int = 0,
    seen_s: float | None = -1.0,
    replugged: bool = False,
) -> Row:
    """The row of a fault that ends the stream and gives it back."""
    said = f"{seen[0]['state']}: {seen[0]['message']}" if seen else ""
    problem = "" if seen else f"not noticed in {SLOW_S:g} s"
    problem = problem or ("" if back else f"the stream did not come back in {SLOW_S:g} s: {log.counts.get('state')}")
    node = log.until(lambda event: event["kind"] == "nodes" and bool(event["nodes"]), 0.0) if replugged else None
    log.next_counts()
    return Row(
        fault,
        said,
        seen_s=(seen[1] if seen else None) if seen_s is not None else None,
        back_s=back[1] if back else None,
        node_s=node[1] if node else None,
        through=_through(log) - through,
        problem=problem or _not_through(log, through),
    )


def _failed(row: Row, problem: str) -> Row:
    return Row(row.fault, row.said, row.seen_s, row.back_s, row.node_s, row.through, problem)


def _nodes(log: Watched) -> list[str]:
    listed = log.all("nodes")
    return list(listed[-1]["nodes"]) if listed else []


def _through(log: Watched) -> int:
    return int(log.counts.get("through", 0))


def _not_through(log: Watched, before: int) -> str:
    grown = _through(log) - before
    return f"{grown} damaged frames got through" if grown else ""
