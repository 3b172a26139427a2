"""Waiting in tests for what another thread does: until it is so, or a deadline so generous that only a hang reaches it."""

import time

DEADLINE_S = 20.0


def eventually(check, within_s=DEADLINE_S):
    """The first true answer of `check()`; fails when none comes within `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while True:
        if answer := check():
            return answer
        assert time.monotonic() < deadline, f"not within {within_s} s: {getattr(check, '__doc__', None) or check}"
        time.sleep(0.005)
