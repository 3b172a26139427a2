"""`trichoscope-export bundle`: trainings as bundles, and what is in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from runtime.errors import TrichoscopeError

app = typer.Typer(no_args_is_help=True, help="Make and inspect bundles.")


def _failed(command: str, problem: TrichoscopeError) -> typer.Exit:
    Console(stderr=True).print(f"bundle {command}: {problem}", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(1)


@app.command()
def segmenter(
    training: Annotated[Path, typer.Argument(help="Folder of a training; its last checkpoint is taken.")],
    out: Annotated[Path, typer.Argument(help="Folder of the bundle; one that is there is replaced.")],
    name: Annotated[str, typer.Option(help="Name of the bundle: small letters, digits, hyphens.")] = "hair-live",
    release: Annotated[int, typer.Option(min=1, max=2**31, help="Release number; it only ever grows.")] = 1,
    per_kind: Annotated[int, typer.Option(min=5, help="Rendered frames of each kind to fit the trust to, and as many to test on.")] = 60,
) -> None:
    """Convert a training's averaged network, prove it, measure it and write its bundle."""
    from export.conversion.segmenter import bundle_segmenter
    from runtime.bundles.writer import check_target

    try:
        check_target(out, name)
        made = bundle_segmenter(training, out, name=name, release=release, per_kind=per_kind)
    except TrichoscopeError as problem:
        raise _failed("segmenter", problem) from problem
    typer.echo(f"{out}: {made.id}")


@app.command()
def inspect(folder: Annotated[Path, typer.Argument(help="Folder of a bundle.")]) -> None:
    """Verify a bundle's files and print its manifest."""
    from runtime.bundles.reader import read_bundle

    try:
        bundle = read_bundle(folder)
    except TrichoscopeError as problem:
        raise _failed("inspect", problem) from problem
    typer.echo(bundle.manifest.to_json(), nl=False)
