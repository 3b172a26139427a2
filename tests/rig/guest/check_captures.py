"""Runs in the guest after the power cut: what the store still has of what it acknowledged; then a full disk, then a clock that jumps.

check_captures.py FOLDER ACKNOWLEDGED OUT. One JSON object a fault.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from runtime.errors import StoreError
from runtime.store.captures import CaptureStore
from tests.runtime.store_samples import facts, measurement, picture, store

CHUNK = bytes(65536)
CLOCKS = ("2031-05-06 07:08:09", "2001-02-03 04:05:06")


def main(folder: str, acknowledged: str, out: str) -> None:
    state = Path(folder)
    whole = Path(acknowledged).read_bytes()
    kept = [json.loads(line) for line in whole[: whole.rfind(b"\n") + 1].splitlines()]
    with Path(out).open("w", buffering=1) as file:
        for name, play in (("cut", _after_the_cut), ("full", _full), ("clock", _clock)):
            file.write(json.dumps({"kind": name, **play(state, kept)}) + "\n")


def _lost(opened: CaptureStore, kept: list[dict[str, Any]]) -> int:
    """How many acknowledged captures are not there, or not as they were."""
    lost = 0
    for each in kept:
        try:
            opened.get(each["id"])
            opened.measurement(each["id"])
            lost += hashlib.sha256(opened.picture(each["id"]).read_bytes()).hexdigest() != each["sha256"]
        except (StoreError, OSError):
            lost += 1
    return lost


def _after_the_cut(state: Path, kept: list[dict[str, Any]]) -> dict[str, Any]:
    with store(state) as opened:
        health = opened.health()
        return {"acknowledged": len(kept), "lost": _lost(opened, kept), "there": health.captures, "damage": str(opened.damage or "")}


def _full(state: Path, kept: list[dict[str, Any]]) -> dict[str, Any]:
    fill = state.parent / "fill"
    with store(state) as opened:
        try:
            with fill.open("wb", buffering=0) as file:
                while True:
                    file.write(CHUNK)
                    os.fsync(file.fileno())
        except OSError:
            pass  # full, which is what was wanted
        said, more = "", 0
        try:
            for more in range(500):
                added = opened.add(picture(seed=more % 8), ".jpg", measurement(), facts(more))
                kept.append({"id": added.id, "sha256": added.picture_sha256})
        except StoreError as error:
            said = f"{type(error).__name__}: {error}"
        fill.unlink()
        after = opened.add(picture(), ".jpg", measurement(), facts())
        kept.append({"id": after.id, "sha256": after.picture_sha256})
    with store(state) as again:
        return {"said": said, "more": more, "lost": _lost(again, kept), "damage": str(again.damage or "")}


def _clock(state: Path, kept: list[dict[str, Any]]) -> dict[str, Any]:
    with store(state) as opened:
        rows = [opened.add(picture(), ".jpg", measurement(), facts())]
        for clock in CLOCKS:
            subprocess.run(["date", "-s", clock], check=True, stdout=subprocess.DEVNULL)
            rows.append(opened.add(picture(), ".jpg", measurement(), facts()))
        listed = [row.id for row in opened.list(limit=len(rows))]
    with store(state) as again:
        lost = _lost(again, kept + [{"id": row.id, "sha256": row.picture_sha256} for row in rows])
    ids = [row.id for row in rows]
    return {"ids": ids, "listed": listed, "taken": [row.taken_utc for row in rows], "lost": lost, "damage": str(opened.damage or "")}


if __name__ == "__main__":
    main(*sys.argv[1:])
