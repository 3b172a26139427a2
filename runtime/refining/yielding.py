"""How work in the background steps back: its thread behind those of the live picture, its memory to the system when it is done."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from typing import Final

NICER: Final = 5
"""How much nicer than the rest of the program the thread is: its share of a core that it has to share is about a quarter. With 10 it
would be a tenth, and a field's deadline would be missed while the live picture is measured."""
NICEST: Final = 19
REST: Final = 0.4
"""Of the time that a field took, how long the thread rests after it. Priority alone does not help the live picture, which loses a quarter
of its rate to a busy second core; resting between fields leaves it less than a fifth behind, however fast the button is pressed."""


def yield_to_others() -> None:
    """Lower the priority of the calling thread, on Linux, where each thread has its own; elsewhere nothing is done. Never raises."""
    if not hasattr(os, "setpriority") or not hasattr(threading, "get_native_id"):
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):  # not allowed, or no such notion: then it is as important as the others
        os.setpriority(os.PRIO_PROCESS, thread, min(NICEST, os.getpriority(os.PRIO_PROCESS, thread) + NICER))


def give_memory_back() -> None:
    """Hand what was freed back to the system, with glibc, which keeps it otherwise. Takes milliseconds; never raises."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
