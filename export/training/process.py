"""How a training's processes are set up before the first array: memory that is kept, threads that sleep while they wait.

A step frees and asks for a hundred megabytes of activations. Left alone, the C library gives them back to the kernel and has every
page cleared again, a fifth of the time on two cores; and computing threads that spin while they wait take a core from the process that
cuts crops.
"""

from __future__ import annotations

import ctypes
import os
import sys

KEPT_BYTES, STEP_BYTES = 2_000_000_000, 256 << 20
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h of the GNU C library


def set_up() -> None:
    """For this process and those that it starts. Before torch is imported; what the environment already says stands."""
    wanted = {
        "MALLOC_MMAP_MAX_": 0,
        "MALLOC_TRIM_THRESHOLD_": KEPT_BYTES,
        "MALLOC_TOP_PAD_": STEP_BYTES,
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": 0,
    }
    for name, value in wanted.items():
        os.environ.setdefault(name, str(value))
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # another C library has none, and does well enough
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, STEP_BYTES)):
            mallopt(option, value)
