"""Runs in the guest: what the camera's own button sends to its input device, as lines of JSON.

watch_button.py OUT SECONDS
"""

from __future__ import annotations

import json
import select
import struct
import sys
import time
from pathlib import Path

EVENT = struct.Struct("llHHi")  # input_event of a 64-bit kernel: seconds, microseconds, type, code, value
EV_KEY = 1


def main(out: str, seconds: str) -> None:
    names = {path.parent.parent.name: path.read_text() for path in Path("/sys/class/input").glob("event*/device/name")}
    node = next((f"/dev/input/{event}" for event, name in names.items() if "Scalp scope" in name), None)
    end = time.monotonic() + float(seconds)
    with Path(out).open("w", buffering=1) as file:
        file.write(json.dumps({"kind": "input", "node": node}) + "\n")
        if node is None:
            return
        with Path(node).open("rb", buffering=0) as device:
            while (left := end - time.monotonic()) > 0 and select.select([device], [], [], left)[0]:
                _, _, kind, code, value = EVENT.unpack(device.read(EVENT.size))
                if kind == EV_KEY:
                    file.write(json.dumps({"kind": "key", "code": code, "value": value}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
