"""Runs in the guest: the handpiece driver on one address, its states and counts as lines of JSON, until the file STOP appears.

watch_handpiece.py ADDRESS OUT DISTANCE_MM STOP. The hand rests at DISTANCE_MM: a reading well away from it is one that nobody sent.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from device.errors import DeviceError
from device.handpiece.handpiece import Handpiece
from device.handpiece.uri import parse_handpiece_uri

LOOK_EVERY_S = 0.05
COUNT_EVERY_S = 0.25
DEADLINE_S = 900.0
NEAR_MM = 3.0  # twenty standard uncertainties
LEVEL = 40
LIGHT_S = 10.0  # emulation is slow; our own deadline for a light is shorter


def main(address: str, out: str, distance_mm: str, stop: str) -> None:
    foreign = [0]

    def look() -> None:
        reading = handpiece.latest()
        if reading is not None and reading.distance_mm is not None:
            foreign[0] += abs(reading.distance_mm - float(distance_mm)) > NEAR_MM

    handpiece = Handpiece(parse_handpiece_uri(address), listener=look)
    with Path(out).open("w", buffering=1) as file:

        def tell(**what: object) -> None:
            file.write(json.dumps(what) + "\n")

        said = ("", "")
        lit = False
        began = counted = time.monotonic()
        with handpiece:
            while not Path(stop).exists() and time.monotonic() < began + DEADLINE_S:
                time.sleep(LOOK_EVERY_S)
                status = handpiece.status
                if (status.state, status.message) != said:
                    said = (status.state, status.message)
                    tell(kind="state", state=status.state, message=status.message)
                if status.state == "ready" and not lit:
                    lit = True
                    try:
                        tell(kind="light", level=handpiece.set_light("white", LEVEL, deadline_s=LIGHT_S))
                    except DeviceError as error:
                        tell(kind="light", problem=str(error))
                if time.monotonic() - counted >= COUNT_EVERY_S:
                    counted = time.monotonic()
                    counters = handpiece.counters
                    tell(
                        kind="counts",
                        state=status.state,
                        readings=counters.readings,
                        rejected=counters.rejected,
                        noise_bytes=counters.noise_bytes,
                        withheld=counters.withheld,
                        through=foreign[0],
                        present=handpiece.latest() is not None,
                        descriptors=len(list(Path("/proc/self/fd").iterdir())),
                        threads=threading.active_count(),
                    )
        tell(kind="end")


if __name__ == "__main__":
    main(*sys.argv[1:])
