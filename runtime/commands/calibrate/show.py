"""`trichoscope calibrate show`: a profile for people, as JSON, and as a picture."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from runtime.commands.calibrate.fit import FILE_COLUMNS, write_picture
from runtime.commands.calibrate.options import JsonOption, PictureOption, messages, picture_file, refusals


def show(
    profile: Annotated[Path, typer.Argument(metavar="PROFILE.json", help="A calibration profile.", show_default=False)],
    picture: PictureOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a profile holds: what it belongs to, curve, lens, pictures and their residuals, and how long it is valid."""
    from rich.text import Text

    from calib.profile import read_profile
    from runtime.commands.calibrate.tables import curve_in_words, facts_table, views_table

    console = messages()
    with refusals(console, profile):
        picture_file(picture)
        found = read_profile(profile)
        if picture is not None:
            write_picture(picture, found)
    if found.expired_at(datetime.now(timezone.utc)):
        console.print(f"{profile}: expired on {found.expires_utc:%Y-%m-%d}: calibrate anew", markup=False)
    if as_json:
        typer.echo(found.to_json(), nl=False)
        return
    page = Console(width=None if sys.stdout.isatty() else FILE_COLUMNS, highlight=False)
    page.print(facts_table(found), "")
    for line in curve_in_words(found):
        page.print(Text(line))
    page.print(views_table(found))
