"""`trichoscope-export evaluate severity`: a bundle's grades of hair loss on rendered persons of unseen seeds."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from runtime.errors import TrichoscopeError


def severity(
    bundle: Annotated[Path | None, typer.Option(help="Bundle, or part of one; the factory's where none is named.")] = None,
    persons: Annotated[int, typer.Option(min=4, max=10_000, help="Rendered persons, a quarter of each grade.")] = 80,
    fields: Annotated[int, typer.Option(min=1, max=20, help="Frames of each person.")] = 2,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Other persons with another seed; trainings draw none of them.")] = 2,
    keep: Annotated[Path | None, typer.Option(help="Folder in which measured persons are kept, for the next time.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that render and measure.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Grades of hair loss against true ones: accuracy, F1, kappa, Brier, calibration, live and on captures."""
    from export.conversion.part import read_parts
    from export.evaluation.severity import markdown
    from export.evaluation.severity_bundle import as_json as told
    from export.evaluation.severity_bundle import evaluate_bundle
    from export.severity_scenes import draw_persons
    from export.training.severity.measuring import measure_persons
    from runtime.analysis.severity import SeverityGrader
    from runtime.bundles.reader import FACTORY

    console = Console(stderr=True)
    try:
        read = read_parts(bundle or FACTORY)
        SeverityGrader(read).close()  # before minutes are spent
        with ExitStack() as stack:
            folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="severity-")))
            bars = stack.enter_context(Progress(console=console))
            done = bars.add_task("persons rendered and measured", total=persons)
            drawn = list(draw_persons(persons, seed, test=True))
            rows = measure_persons(folder, drawn, fields=fields, workers=workers, advance=lambda n: bars.advance(done, n))
        scores, confusions = evaluate_bundle(read, rows)
    except TrichoscopeError as problem:
        console.print(f"evaluate severity: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    typer.echo(told(read.id, scores, confusions) if as_json else markdown(scores))
