"""`trichoscope run`: the daemon in the foreground, until SIGTERM or Ctrl+C."""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from runtime.config import load_settings
from runtime.errors import ConfigError, TrichoscopeError


def run(
    camera: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="Camera address: v4l2:auto, v4l2:PATH, simulated:, replay:FOLDER, replay:VIDEO.", show_default=False
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Configuration file (TOML).", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(metavar="N", help="TCP port of the page; 0 takes a free one.", show_default=False)] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="State folder: captures and their database.", show_default=False)
    ] = None,
) -> None:
    """Show the microscope's picture, measured live, on a page of this machine."""
    try:
        overrides = {
            "camera.uri": camera,
            "server.port": port,
            "store.folder": state.expanduser().absolute() if state is not None else None,
        }
        settings = load_settings(config, overrides)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error

    from runtime.daemon import Daemon  # heavy: a wrong option is told before it is imported
    from runtime.logs import log_to_stderr

    log_to_stderr()
    before = set(threading.enumerate())
    code = 0
    try:
        Daemon(settings, announce=lambda address: typer.echo(f"Trichoscope: {address}")).run()
    except TrichoscopeError as error:
        typer.echo(f"trichoscope run: {error}", err=True)
        code = 1
    if left := sorted(thread.name for thread in set(threading.enumerate()) - before):
        _end_without(left, code)
    raise typer.Exit(code)


def _end_without(threads: list[str], code: int) -> None:
    """End the process around threads that did not end in time: Python's own end aborts it where one is in OpenCV or SQLite."""
    logging.getLogger(__name__).error("ended without waiting for %s", ", ".join(threads))
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
