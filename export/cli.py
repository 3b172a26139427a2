"""`trichoscope-export`: the commands of the workstation. Heavy libraries are imported by the command that needs them."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from export.commands import bundle, convert, engine, evaluate, quantise, train, verify
from runtime import __version__

# what the extra `trichoscope[export]` brings
LIBRARIES = ("torch", "onnx", "onnxscript", "onnxslim", "scikit-learn", "skl2onnx", "onnxruntime")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(train.app, name="train")
app.add_typer(convert.app, name="convert")
app.command()(quantise.quantise)
app.command()(verify.verify)
app.command()(engine.engine)
app.add_typer(bundle.app, name="bundle")
app.add_typer(evaluate.app, name="evaluate")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trichoscope-export {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version_: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """From trained models to bundles that the kiosk runs; for a workstation."""


@app.command()
def libraries(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Which of the workstation's libraries are here, and in which version; exit code 1 where one is missing."""
    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for name, number in found.items():
            typer.echo(f"{name:14} {number or 'missing: pip install trichoscope[export]'}")
    if None in found.values():
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the `trichoscope-export` command."""
    app()


if __name__ == "__main__":
    main()
