"""Ending the programs that the bench started, whatever state they are in."""

from __future__ import annotations

import subprocess
from typing import Any

POLITE_S = 10.0


def end(process: subprocess.Popen[Any]) -> None:
    """Ask a child to stop, kill it where it does not, and collect it. Raises TimeoutExpired where even that fails."""
    process.terminate()
    try:
        process.wait(timeout=POLITE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=POLITE_S)
