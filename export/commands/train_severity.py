"""`trichoscope-export train severity`: the classifier that grades hair loss from six figures of a frame's hairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from runtime.errors import TrichoscopeError

PART, CARD = "part", "card.json"


def severity(
    recipe: Annotated[str, typer.Option(help="cpu (two cores, a quarter of an hour), or smoke (seconds: proves that it runs).")] = "cpu",
    out: Annotated[Path, typer.Option(help="Folder of the training: persons, classifier, pictures, part.")] = Path("severity-training"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the folder's training, its recipe and seed.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Another seed is another training.")] = 1,
) -> None:
    """Train the severity classifier on rendered persons, and write it with its golden rows, pictures and card."""
    # heavy, and wanted by this command alone
    from export.conversion.part import check_part_target, write_part
    from export.conversion.severity import bundle_severity
    from export.errors import TrainingError
    from export.training.severity.recipe import RECIPES
    from export.training.severity.training import TABLE, SeverityTraining, Watcher
    from runtime.commands.files import write_atomically

    console = Console(stderr=True)
    try:
        check_part_target(out / PART)
        if recipe not in RECIPES:
            raise TrainingError(f"{recipe!r} is no recipe: choose {', '.join(RECIPES)}")
        training = SeverityTraining.resumed(out) if resume else SeverityTraining.begun(out, RECIPES[recipe], seed)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bars:
            persons = bars.add_task("persons rendered and measured", total=training.recipe.persons + training.recipe.test_persons)
            training.run(
                Watcher(persons=lambda n: bars.advance(persons, n), said=lambda text: console.print(text, markup=False, highlight=False))
            )
        part = bundle_severity(out)
        write_part(out / PART, part)
        write_atomically(out / CARD, (part.role.card.model_dump_json(indent=1) + "\n").encode())
        console.print((out / TABLE).read_text(), markup=False, highlight=False, soft_wrap=True)
    except TrichoscopeError as problem:
        console.print(f"train severity: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    typer.echo(f"{out / PART}: accuracy {part.role.metrics['accuracy']:.3f} on rendered persons of unseen seeds")
