"""`trichoscope-export evaluate conditions`: a bundle's grades of dandruff, sebum and erythema beside always answering the commonest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from runtime.errors import TrichoscopeError


def conditions(
    data: Annotated[Path | None, typer.Argument(help="Folder in AI-Hub's layout; rendered frames where none is named.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle, or part of one; the factory's where none is named.")] = None,
    rendered: Annotated[int, typer.Option(min=1, max=100_000, help="How many rendered frames.")] = 384,
    plain: Annotated[bool, typer.Option("--plain", help="Rendered frames as any seed draws them: grades need not be visible.")] = False,
    part: Annotated[str, typer.Option(help="Of a folder: test (devices that a training of this seed left out) or all.")] = "test",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the training whose test part is meant.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse data with any fault instead of skipping what is faulty.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    confusions: Annotated[Path | None, typer.Option(help="Write the confusion matrices as SVG.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Computing threads.")] = 2,
) -> None:
    """Grades of conditions against true ones: accuracy, macro-F1, recall by grade, quadratic kappa."""
    from export.conversion.part import read_parts
    from export.errors import EvaluationError
    from export.evaluation import conditions as evaluation
    from export.evaluation.grades import confusions_svg
    from runtime.bundles.reader import FACTORY
    from runtime.commands.files import write_atomically

    console = Console(stderr=True)
    try:
        if part not in ("test", "all"):
            raise EvaluationError(f"--part {part!r}: choose test or all")
        read = read_parts(bundle or FACTORY)
        if data is None:
            count, frames = rendered, evaluation.plain(rendered) if plain else evaluation.rendered(rendered)
            what = f"{rendered} rendered frames{', grades as any seed draws them' if plain else ''}"
        else:
            count, frames, problems = evaluation.labelled(data, part="test" if part == "test" else "all", seed=seed, strict=strict)
            what = f"{count} pictures of {data.name}"
            for line in problems.lines():
                console.print(f"{data}: {line}", markup=False, highlight=False, soft_wrap=True)
        with Progress(console=console) as bars:
            done = bars.add_task("pictures", total=count)
            scores = evaluation.evaluate_conditions(read, frames, threads=threads, advance=lambda: bars.advance(done))
        if confusions is not None:
            write_atomically(confusions, confusions_svg(what, scores).encode())
    except TrichoscopeError as problem:
        console.print(f"evaluate conditions: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    typer.echo(evaluation.as_json(what, read.id, scores) if as_json else evaluation.as_text(what, scores))
