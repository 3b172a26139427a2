"""`make rig-test`: boots the guest, plays every fault, prints the table. Exit status 1 when a row fails, 0 where the rig cannot run here.

The rig is looked for in RIG (else ../shared/rig), its image in RIG_WORK (else trichoscope-rig in the cache folder).
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable, Iterator

from tests.rig.camera_faults import camera_rows
from tests.rig.handpiece_faults import handpiece_rows
from tests.rig.machine import Machine, Unavailable, booted
from tests.rig.store_faults import store_rows
from tests.rig.table import Row, as_dict, as_markdown, as_text

PARTS: dict[str, Callable[[Machine], Iterator[Row]]] = {"camera": camera_rows, "handpiece": handpiece_rows, "store": store_rows}
KERNEL = "uname -r; /opt/venv/bin/python -c 'import cv2, numpy, serial; print(cv2.__version__, numpy.__version__, serial.__version__)'"


def main() -> int:
    parser = argparse.ArgumentParser(prog="rig-test", description=(__doc__ or "").splitlines()[0])
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the table as JSON")
    form.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--only", choices=sorted(PARTS), help="one part")
    wanted = parser.parse_args()
    began = time.monotonic()
    rows: list[Row] = []
    try:
        with booted() as machine:
            kernel = machine.sh(KERNEL).split()
            for name, play in PARTS.items():
                if wanted.only in (None, name):
                    rows += _played(name, play, machine)
    except Unavailable as reason:
        print(json.dumps({"skipped": str(reason)}) if wanted.json else f"rig-test skipped: {reason}")
        return 0
    about = {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "kernel": kernel[0],
        "guest_versions": dict(zip(("opencv", "numpy", "pyserial"), kernel[1:], strict=False)),
        "took_s": round(time.monotonic() - began, 1),
    }
    if wanted.json:
        print(json.dumps({**about, "rows": [as_dict(row) for row in rows]}, indent=2, ensure_ascii=False))
    else:
        print(as_markdown(rows) if wanted.markdown else as_text(rows))
        print(f"\n{about['date']}, kernel {about['kernel']} under QEMU without KVM, {about['took_s']} s in all")
    return 0 if rows and all(row.passed for row in rows) else 1


def _played(name: str, play: Callable[[Machine], Iterator[Row]], machine: Machine) -> list[Row]:
    """The rows of one part; where the playing itself breaks off, that is a row that fails."""
    rows: list[Row] = []
    try:
        for row in play(machine):
            rows.append(row)
            print(f"{'ok  ' if row.passed else 'FAIL'} {name}: {row.fault}", file=sys.stderr, flush=True)
    except (RuntimeError, OSError, KeyError, TimeoutError) as error:
        rows.append(Row(f"{name}: the test broke off", "", problem=f"{type(error).__name__}: {error}"))
    return rows


if __name__ == "__main__":
    sys.exit(main())
