"""The daemon as a person sees it: its page open in a browser, how many pictures and results come, and how old they are."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from websockets.sync.client import connect

from runtime.bench.browser import open_page
from runtime.bench.processes import end
from runtime.errors import TrichoscopeError

START_DEADLINE_S = 30.0
SETTLE_S = 4.0  # scenes are rendered and caches filled at first
TICKS = os.sysconf("SC_CLK_TCK")


def bench_live(camera: str, seconds: float, slow_ms: float) -> dict[str, Any]:
    """Watch the page for some seconds.

    Args:
        camera: camera address of the daemon.
        seconds: how long to watch, after the start has settled.
        slow_ms: with a value above 0, also a client that acknowledges each picture so late.

    Returns:
        Rates and ages as the page and the daemon count them, processor share and memory of the daemon.

    Raises:
        TrichoscopeError: the daemon or Chromium did not start.
    """
    with _daemon(camera) as (process, address), open_page(address) as page:
        time.sleep(SETTLE_S)
        slow: dict[str, Any] | None = None
        before_s, began = _processor_s(process.pid), time.monotonic()
        memory = [_memory_mib(process.pid)]
        stop = threading.Event()
        watcher = threading.Thread(target=_sample_memory, args=(process.pid, memory, stop))
        watcher.start()
        try:
            if slow_ms > 0:
                slow = _slow_client(address, seconds, slow_ms)
            else:
                time.sleep(seconds)
            in_page = page.evaluate("window.trichoscopeStats ? window.trichoscopeStats() : null")
        finally:
            stop.set()
            watcher.join()
        used = (_processor_s(process.pid) - before_s) / (time.monotonic() - began)
        with urllib.request.urlopen(f"{address}api/status", timeout=5) as answer:
            status = json.load(answer)
        return {
            "camera": camera,
            "seconds": seconds,
            "page": in_page,
            "daemon": status,
            "slow_client": slow,
            "daemon_cores": round(used, 2),
            "daemon_memory_mib": {
                "first": memory[0],
                "last": memory[-1],
                "peak": max(memory),
                "quarters_mean": [round(float(part.mean()), 1) for part in np.array_split(memory, 4) if len(part)],  # growth shows here
            },
        }


@contextmanager
def _daemon(camera: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with tempfile.TemporaryDirectory(prefix="trichoscope-bench-") as state:
        command = [sys.executable, "-m", "runtime.cli", "run", "--camera", camera, "--port", "0", "--state", state]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            yield process, _address(process)
        finally:
            end(process)
            if process.stdout:
                process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    killer = threading.Timer(START_DEADLINE_S, process.kill)  # ends the read below
    killer.start()
    try:
        for line in process.stdout:
            if found := re.search(r"http://\S+/", line):
                return found.group()
    finally:
        killer.cancel()
    raise TrichoscopeError(f"the daemon did not start within {START_DEADLINE_S:g} s: try `trichoscope run` to see why")


def _slow_client(address: str, seconds: float, slow_ms: float) -> dict[str, Any]:
    """A client that takes `slow_ms` for each picture; how old its pictures are when it has them, by the daemon's own clock."""
    socket = f"ws{address.removeprefix('http')}api/live"
    ages: list[float] = []
    deadline = time.monotonic() + seconds
    with connect(socket, compression=None, max_size=2**24, open_timeout=5) as connection:
        while time.monotonic() < deadline:
            message = connection.recv(timeout=5)
            if isinstance(message, bytes):
                (size,) = struct.unpack_from(">I", message)
                header = json.loads(message[4 : 4 + size])
                time.sleep(slow_ms / 1e3)
                ages.append(header["age_ms"] + slow_ms)
                connection.send(json.dumps({"type": "ack", "number": header["number"]}))
            elif (text := json.loads(message)).get("type") == "result":
                connection.send(json.dumps({"type": "ack_result", "sequence": text["sequence"]}))
    return {"pictures": len(ages), "age_ms": {"p50": round(float(np.median(ages)), 1), "p95": round(float(np.percentile(ages, 95)), 1)}}


def _sample_memory(pid: int, into: list[float], stop: threading.Event) -> None:
    while not stop.wait(1.0):
        into.append(_memory_mib(pid))


def _memory_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
