"""Runs in the guest: keeps captures without end and writes down each that the store acknowledged; the power is cut meanwhile.

keep_captures.py FOLDER OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.runtime.store_samples import facts, measurement, picture, store


def main(folder: str, out: str) -> None:
    count = 0
    with store(Path(folder)) as opened, Path(out).open("w", buffering=1) as file:
        while True:
            count += 1
            kept = opened.add(picture(seed=count % 8), ".jpg", measurement(count % 5), facts(count))
            file.write(json.dumps({"id": kept.id, "sha256": kept.picture_sha256}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
