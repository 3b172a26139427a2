"""How long to wait before trying again: longer each time, up to a limit; and how many failures in a while are too many."""

from __future__ import annotations

import time
from collections import deque


class Backoff:
    """Waiting times in seconds: `first_s`, doubled each time, never above `longest_s`. Owned by one thread."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = min(first_s, longest_s)
        self._longest_s = longest_s
        self._next_s = self._first_s

    def next_s(self) -> float:
        """The next waiting time."""
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._longest_s)
        return wait_s

    def reset(self) -> None:
        """Things went well: begin at `first_s` again."""
        self._next_s = self._first_s


class FailureBudget:
    """At most `budget` failures within `window_s` seconds are forgiven. Owned by one thread."""

    def __init__(self, budget: int, window_s: float) -> None:
        self._budget = budget
        self._window_ns = int(window_s * 1e9)
        self._failures: deque[int] = deque(maxlen=budget + 1)

    def spend(self, now_ns: int | None = None) -> bool:
        """Count a failure at `now_ns` (`time.monotonic_ns()` unless given); whether it is still forgiven."""
        now = time.monotonic_ns() if now_ns is None else now_ns
        while self._failures and now - self._failures[0] > self._window_ns:
            self._failures.popleft()
        self._failures.append(now)
        return len(self._failures) <= self._budget
