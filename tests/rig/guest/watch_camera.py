"""Runs in the guest: CaptureLoop on one camera address, what it says and counts as lines of JSON, until the file STOP appears.

watch_camera.py ADDRESS OUT PICTURES STOP. PICTURES holds the JPEGs that the virtual camera sends: a frame that is none of them,
byte by byte, got through damaged, whatever our own check of it says.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time
from pathlib import Path

from device.camera import Camera, parse_uri
from device.capture import CaptureLoop
from device.frame import Frame
from device.slot import LatestFrameSlot
from device.v4l2.camera import V4l2Camera

LOOK_EVERY_S = 0.05
COUNT_EVERY_S = 0.25
DEADLINE_S = 900.0  # nobody may be left to end this


class CheckedSlot(LatestFrameSlot):
    """A slot that looks at every frame, also at those that nobody takes."""

    def __init__(self, sent: set[bytes]) -> None:
        super().__init__()
        self._sent = sent
        self.foreign = 0

    def put(self, frame: Frame) -> None:
        """Count the frame that was not sent so, then publish it."""
        self.foreign += frame.jpeg not in self._sent
        super().put(frame)


def main(address: str, out: str, pictures: str, stop: str) -> None:
    sent = {path.read_bytes() for path in Path(pictures).glob("*.jpg")}
    slot = CheckedSlot(sent)
    cameras: list[V4l2Camera] = []

    def make(text: str) -> Camera:
        cameras[:] = [V4l2Camera(parse_uri(text))]
        return cameras[0]

    with Path(out).open("w", buffering=1) as file:
        lock = threading.Lock()

        def tell(**what: object) -> None:
            with lock:
                file.write(json.dumps(what) + "\n")

        said = [("", "")]

        def note() -> None:
            status = loop.status
            if (status.state, status.message) != said[0]:
                said[0] = (status.state, status.message)
                tell(kind="state", state=status.state, message=status.message)

        loop = CaptureLoop(address, slot, make=make, listener=note)
        nodes: list[str] = []
        began = counted = time.monotonic()
        with loop:
            while not Path(stop).exists() and time.monotonic() < began + DEADLINE_S:
                time.sleep(LOOK_EVERY_S)
                seen = sorted(str(path) for path in Path("/dev").glob("video*"))
                if seen != nodes:
                    nodes = seen
                    tell(kind="nodes", nodes=nodes)
                if time.monotonic() - counted >= COUNT_EVERY_S:
                    counted = time.monotonic()
                    status = loop.status
                    tell(
                        kind="counts",
                        state=status.state,
                        frames=status.frames,
                        lost=status.lost,
                        damaged=status.damaged,
                        opened=status.opened,
                        through=slot.foreign,
                        flaws=dataclasses.asdict(cameras[0].counts) if cameras else {},
                        descriptors=len(list(Path("/proc/self/fd").iterdir())),
                        threads=threading.active_count(),
                    )
        tell(kind="end", alive=loop.alive)


if __name__ == "__main__":
    main(*sys.argv[1:])
