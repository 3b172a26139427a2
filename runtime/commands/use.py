"""`trichoscope use`: what the program may be used for, who declared it, and how a declaration is made and withdrawn."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from runtime.commands.config import FileOption
from runtime.errors import TrichoscopeError
from runtime.intended_use.settings import UseSettings

app = typer.Typer(no_args_is_help=True, help="The intended use: show, declare, withdraw.", pretty_exceptions_enable=False)

StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="The state folder; else the configuration's.", show_default=False)
]
OperatorOption = Annotated[str, typer.Option("--operator", metavar="NAME", help="The person who does this; it is recorded.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask: for machines. The text counts as read.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]


@app.command()
def show(config: FileOption = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """The profile in force, its text and words, and the declaration behind it."""
    from runtime.intended_use.in_force import profile_in_force

    try:
        settings, folder = _asked(config, state)
        found = profile_in_force(settings, folder)
    except TrichoscopeError as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps({"asked": settings.profile} | found.as_api(), ensure_ascii=False))
        return
    typer.echo(f"profile in force: {found.profile} (text of intended use, version {found.version})")
    if found.declaration is not None:
        typer.echo(f"declared by {found.declaration.operator}, {found.declaration.declared_utc:%Y-%m-%d %H:%M} UTC")
    if found.notice is not None:
        typer.echo(found.notice, err=True)
    typer.echo(f"\n{found.statement}\n\nroles that may load: {', '.join(sorted(found.roles))}\n")
    width = max(map(len, found.words))
    for key, words in found.words.items():
        typer.echo(f"  {key:<{width}}  {words.name}" + (f": {', '.join(words.grades)}" if words.grades else ""))


@app.command()
def declare(
    operator: OperatorOption, config: FileOption = None, state: StateOption = None, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Declare the clinical use: shows the text, asks, and records who declared it and when."""
    from runtime.intended_use.declaration import declare as record
    from runtime.intended_use.text import packaged_text

    try:
        settings, folder = _asked(config, state)
        text = packaged_text()
        typer.echo(f"Clinical use, version {text.version}:\n\n{text.profiles.clinical.statement.strip()}\n", err=True)
        if not yes:
            _confirm(f"{operator}: do you declare this use?")
        declaration = record(folder, text, operator)
    except TrichoscopeError as error:
        _fail(error)
    if as_json:
        typer.echo(declaration.model_dump_json(by_alias=True))
    else:
        typer.echo(
            f"declared by {declaration.operator} for version {declaration.text_version}; in force as soon as nobody works at the kiosk"
        )
    if settings.profile != "clinical":
        typer.echo('the configuration asks for wellness: write profile = "clinical" in its table [use]', err=True)


@app.command()
def withdraw(
    operator: OperatorOption, config: FileOption = None, state: StateOption = None, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Withdraw the declaration: wellness is in force as soon as nobody works at the kiosk. Who did it and when is recorded."""
    from runtime.intended_use.declaration import withdraw as end

    try:
        _, folder = _asked(config, state)
        if not yes:
            _confirm("Withdraw the declaration of clinical use?")
        done = end(folder, operator)
    except TrichoscopeError as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps({"withdrawn": done}))
    else:
        typer.echo("withdrawn" if done else "nothing to withdraw: no declaration is in the state folder")


def _asked(config: Path | None, state: Path | None) -> tuple[UseSettings, Path]:
    """The settings of use, and the state folder."""
    from runtime.config import load_settings

    settings = load_settings(config)
    return settings.use, settings.store.folder if state is None else state


def _confirm(question: str) -> None:
    """Ask on the terminal; exits with 1 where the answer is no, or nobody can answer."""
    if not sys.stdin.isatty():
        raise TrichoscopeError("use: nobody is there to confirm: run it on a terminal, or with --yes")
    if not typer.confirm(question, err=True):
        typer.echo("nothing was changed", err=True)
        raise typer.Exit(1)


def _fail(error: TrichoscopeError) -> NoReturn:
    typer.echo(str(error), err=True)
    raise typer.Exit(1) from error
