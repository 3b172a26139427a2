"""A page open in headless Chromium, asked by its own debugging protocol; nothing is needed but Chromium and a WebSocket."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from runtime.bench.processes import end
from runtime.errors import TrichoscopeError

START_DEADLINE_S = 30.0
ANSWER_DEADLINE_S = 10.0
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # Chromium refuses to run as root with it; the only page is our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,800",
    "--remote-debugging-port=0",
)


class Page:
    """One open page."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._asked = 0

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and wait for its answer. Raises TrichoscopeError in time-out or on an error."""
        self._asked += 1
        self._connection.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        deadline = time.monotonic() + ANSWER_DEADLINE_S
        while (left := deadline - time.monotonic()) > 0:
            answer = json.loads(self._connection.recv(timeout=left))
            if answer.get("id") == self._asked:
                if "error" in answer:
                    raise TrichoscopeError(f"Chromium refused {method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
        raise TrichoscopeError(f"Chromium did not answer {method} within {ANSWER_DEADLINE_S:g} s")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, as JSON."""
        answer = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise TrichoscopeError(f"the page failed at {expression}: {answer['exceptionDetails'].get('text')}")
        return answer["result"].get("value")


@contextmanager
def open_page(address: str) -> Iterator[Page]:
    """Open `address` in a fresh headless Chromium; closed, and its profile removed, at the end.

    Raises:
        TrichoscopeError: Chromium is not installed, or did not start in time.
    """
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        raise TrichoscopeError(f"{PROGRAMS[0]} is not installed, so the page cannot be opened; on Debian: apt-get install chromium")
    with ExitStack() as stack:
        profile = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trichoscope-bench-", ignore_cleanup_errors=True)))
        chromium = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        stack.callback(end, chromium)
        connection = stack.enter_context(connect(_page_socket(profile), max_size=2**24, compression=None))
        yield Page(connection)


def _page_socket(profile: Path) -> str:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        try:
            port = (profile / "DevToolsActivePort").read_text().splitlines()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=2) as answer:
                pages = [target for target in json.load(answer) if target["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
        except (OSError, IndexError, ValueError):
            pass  # not yet
        time.sleep(0.1)
    raise TrichoscopeError(f"Chromium did not start within {START_DEADLINE_S:g} s")
