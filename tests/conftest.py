"""What every test is held to: it leaves no thread, no asyncio task and no file descriptor behind."""

from __future__ import annotations

import asyncio
import asyncio.runners
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

SETTLE_S = 3.0  # what is ending may take so long to end; a test that leaks nothing does not wait
DESCRIPTORS = Path("/proc/self/fd")

hypothesis.settings.register_profile("unhurried", deadline=None)  # no test may fail because the machine is busy
hypothesis.settings.load_profile("unhurried")
# as in the daemon, plain tracebacks: the default draws them with every local variable, which takes seconds
structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])


def pytest_collection_finish() -> None:
    """What the imports of the tests made stays for good: taking it from the collector makes the collection after each test quick."""
    gc.collect()
    gc.freeze()


def _descriptors() -> dict[int, str]:
    """Open file descriptors and what they are; {} where the system cannot tell."""
    found = {}
    for link in list(DESCRIPTORS.iterdir()) if DESCRIPTORS.is_dir() else []:
        try:
            found[int(link.name)] = str(link.readlink())
        except OSError:
            continue  # the descriptor of the listing itself
    return found


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.is_alive()}


class _TaskLeaks(logging.Handler):
    """Collects what asyncio says of tasks that nobody ended or looked at."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "was destroyed but it is pending" in message or "exception was never retrieved" in message:
            self.found.append(message.splitlines()[0])


@pytest.fixture(autouse=True)
def leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test that leaks. Fixtures of a wider scope start before this one, and may go on after it."""
    tasks = _TaskLeaks()
    logger = logging.getLogger("asyncio")
    logger.addHandler(tasks)
    cancel_all: Callable[[asyncio.AbstractEventLoop], None] = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]

    def tell_and_cancel_all(loop: asyncio.AbstractEventLoop) -> None:
        """`asyncio.run` cancels in silence what is left at its end; here that is a leak."""
        tasks.found += [f"left at the end of asyncio.run: {task!r}" for task in asyncio.all_tasks(loop)]
        cancel_all(loop)

    monkeypatch.setattr(asyncio.runners, "_cancel_all_tasks", tell_and_cancel_all)
    threads_before, descriptors_before = _threads(), _descriptors()
    yield
    deadline = time.monotonic() + SETTLE_S
    while True:
        threads = _threads() - threads_before
        descriptors = {fd: what for fd, what in _descriptors().items() if descriptors_before.get(fd) != what}
        if not (threads or descriptors) or time.monotonic() > deadline:
            break
        gc.collect()  # what is garbage is no leak, it is a ResourceWarning
        time.sleep(0.02)
    gc.collect()
    logger.removeHandler(tasks)
    leaks = [f"thread {thread.name!r}" for thread in threads]
    leaks += [f"file descriptor {fd} ({what})" for fd, what in descriptors.items()]
    leaks += [f"task: {message}" for message in tasks.found]
    if leaks:
        pytest.fail("the test left behind: " + "; ".join(leaks), pytrace=False)
