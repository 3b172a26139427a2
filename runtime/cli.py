"""`trichoscope`: the commands of the device. Each verb is a file in `runtime/commands/`, imported when it is used."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

# a verb's module holds a function of the verb's name, or `app` where the verb has verbs of its own
COMMANDS = (
    "analyze",
    "assess",
    "bench",
    "calibrate",
    "config",
    "devices",
    "doctor",
    "forecast",
    "models",
    "run",
    "schema",
    "simulate",
    "use",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from runtime import __version__

        typer.echo(f"trichoscope {__version__}")
        raise typer.Exit


def root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Scalp and hair measurement on the edge: a microscope frame in, measured hairs out, offline."""


def build(wanted: str | None) -> typer.Typer:
    """The command line with only the `wanted` verb on it, so that a kiosk starts in seconds; with all where it is none of them."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(root)
    needed: tuple[str, ...] = COMMANDS
    if wanted in COMMANDS:
        needed = (wanted,)
    elif wanted == "--version":
        needed = ()
    for name in needed:
        module = import_module(f"runtime.commands.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name))
    return app


def main() -> None:
    """Entry point of the `trichoscope` command."""
    build(sys.argv[1] if len(sys.argv) > 1 else None)()


if __name__ == "__main__":
    main()
