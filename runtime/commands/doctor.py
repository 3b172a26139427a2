"""`trichoscope doctor`: what must be in order for the appliance to work, in a table, and what to do where it is not."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from runtime.checkup import Check

FILE_COLUMNS = 1000  # of a table that goes to no terminal; it is as wide as its content
MARKS = {"good": ("✓", "green"), "note": ("·", "yellow"), "bad": ("✗", "bold red")}


def doctor(
    what: Annotated[Literal["jetson"] | None, typer.Argument(help="jetson: what a Jetson needs, instead.", show_default=False)] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Configuration file (TOML).", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """Look whether configuration, disk, microscope, handpiece, calibration and network are in order. Exit code 1 where one is not."""
    _tell(_jetson(config) if what == "jetson" else _appliance(config), as_json)


def _jetson(config: Path | None) -> list[Check]:
    from runtime.checkup import Check
    from runtime.config import load_settings
    from runtime.errors import ConfigError
    from runtime.jetson import check_jetson

    checks, python = [], None
    try:
        python = load_settings(config).inference.python
    except ConfigError as error:
        checks = [Check("configuration", "bad", str(error))]
    with Console(stderr=True).status("looking at the board, JetPack and TensorRT"):
        return checks + check_jetson(python=python)


def _appliance(config: Path | None) -> list[Check]:
    from runtime.checkup import Check, check_all
    from runtime.config import find_file, load_settings
    from runtime.errors import ConfigError

    try:
        settings = load_settings(config)
    except ConfigError as error:
        checks = [Check("configuration", "bad", str(error))]
    else:
        file = find_file(config)
        checks = [Check("configuration", "good", "the defaults: no file" if file is None else str(file))]
        with Console(stderr=True).status("looking at disk, microscope and handpiece"), _quiet_drivers():
            checks += check_all(settings)
    return checks


def _tell(checks: list[Check], as_json: bool) -> None:
    well = all(each.verdict != "bad" for each in checks)
    if as_json:
        typer.echo(json.dumps({"ok": well, "checks": [asdict(each) for each in checks]}, indent=2, ensure_ascii=False))
    else:
        table = Table(show_header=False, show_edge=False, box=None, pad_edge=False)
        table.add_column()
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for each in checks:
            mark, style = MARKS[each.verdict]
            table.add_row(Text(mark, style), each.name, Text(each.found))
        Console(width=None if sys.stdout.isatty() else FILE_COLUMNS, highlight=False).print(table)
    raise typer.Exit(0 if well else 1)


@contextmanager
def _quiet_drivers() -> Iterator[None]:
    """What the drivers would log stands in the table."""
    drivers = logging.getLogger("device")
    before = drivers.level
    drivers.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        drivers.setLevel(before)
