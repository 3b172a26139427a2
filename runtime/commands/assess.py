"""`trichoscope assess`: the Norwood–Hamilton stage of a head from its views, front, top, back, left and right."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from runtime.config import Settings
    from runtime.intended_use.in_force import UseInForce
    from runtime.staging.result import StageResult

FILE_COLUMNS = 1000  # of a table that goes to no terminal; it is as wide as its content
THREADS = 2  # of the network


def assess(
    views: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Folder with front, top, back, left and right as .jpg or .png; some may be missing.", show_default=False
        ),
    ],
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Bundle to use instead of the one that serves here.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "--overlay",
            metavar="DIR",
            help="Keep the views here, their faces hidden, with stage.png (what each view said) and stage.json.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Configuration file (TOML).", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """Stage the hair loss of a head; in the clinical profile of use only.

    A view that cannot be used gives one line on stderr and exit code 1; the others are still staged.
    """
    messages = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        settings, use = _in_force(config)
        from runtime.commands.instruments import bundle_asked_for
        from runtime.staging.keeping import keep
        from runtime.staging.staging import Stager
        from runtime.staging.views import read_views

        stager = Stager(bundle_asked_for(settings, bundle, lambda said: messages.print(said, markup=False)), threads=THREADS)
        found = read_views(views)
        for complaint in found.complaints:
            messages.print(complaint, markup=False)
        with stager:
            result = stager.stage(found.pictures, folder=str(views), failed=found.failed)
        if out is not None:
            keep(result, found.pictures, out, source=views)
    except TrichoscopeError as problem:
        messages.print(f"assess: {problem}", markup=False)
        raise typer.Exit(1) from problem
    if as_json:
        typer.echo(result.to_json())
    else:
        _tell(result, use)
    if found.failed:
        raise typer.Exit(1)


def _in_force(config: Path | None) -> tuple[Settings, UseInForce]:
    """The configuration and its profile of use, which must be one that stages.

    Raises:
        TrichoscopeError: the configuration cannot be used, or the profile in force offers no stage.
    """
    from runtime.config import load_settings
    from runtime.intended_use.in_force import REMEDY, profile_in_force

    settings = load_settings(config)
    use = profile_in_force(settings.use, settings.store.folder)
    if not use.allows("stage"):
        raise TrichoscopeError(use.notice or f'the {use.profile} profile offers no stage: set use.profile = "clinical" and {REMEDY}')
    return settings, use


def _tell(result: StageResult, use: UseInForce) -> None:
    console = Console(width=None if sys.stdout.isatty() else FILE_COLUMNS, highlight=False)
    words = use.words.get("stage")
    console.print(f"{words.name if words else 'stage'} {result.stage}", style="bold")
    shares = "  ".join(f"{name} {share:.2f}" for name, share in result.probabilities.items())
    console.print(f"probabilities: {shares}", markup=False)
    table = Table(show_edge=False, pad_edge=False, box=None)
    for heading in ("view", "weight", "said alone", "its probability"):
        table.add_column(heading)
    for name, said in result.views.items():
        alone = "–" if said.stage is None or said.probabilities is None else f"{said.probabilities[said.stage]:.2f}"
        table.add_row(name, f"{said.attention:.2f}", said.stage or "–", alone)
    console.print(table)
    for word, names in (("missing", result.missing), ("could not be used", result.failed)):
        if names:
            console.print(f"{word}: {', '.join(names)}", markup=False)
    console.print(f"bundle: {result.bundle}", markup=False)
    console.print(f"validated on real labels: {'true' if result.validated_on_real_labels else 'false'}", markup=False)
    if not result.validated_on_real_labels:
        console.print(use.not_validated, markup=False)
