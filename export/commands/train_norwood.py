"""`trichoscope-export train norwood`: the network that stages a head from its views."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from export.training.norwood.heads import Heads

CARD, PART = "card.json", "part"


def norwood(
    recipe: Annotated[str, typer.Option(help="cpu (two cores, ten minutes), gpu, or smoke (seconds: proves that it runs).")] = "cpu",
    out: Annotated[Path, typer.Option(help="Folder of the training: heads, checkpoint, curves, part of a bundle.")] = Path(
        "norwood-training"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint, with its recipe and seed.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Another seed is another training.")] = 1,
    steps: Annotated[int, typer.Option(min=0, help="Another number of steps than the recipe's; 0 keeps it.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option(help="Photographs, a folder a person with annotation.json, in place of rendered heads.", show_default=False),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse data with any fault instead of skipping what is faulty.")] = False,
    persons: Annotated[int, typer.Option(min=0, max=100_000, help="Rendered heads to test on; 0 keeps the usual number.")] = 0,
) -> None:
    """Train the staging network and write it with its golden data and card as a part of a bundle."""
    from export.training.process import set_up

    set_up()
    # heavy, and wanted by this command alone
    import torch

    from export.conversion.norwood import bundle_stage
    from export.conversion.part import RolePart, check_part_target, write_part
    from export.errors import TrainingError
    from export.training.checkpoint import NAME, write_atomically
    from export.training.norwood.recipe import RECIPES
    from export.training.norwood.training import StageTraining, Watcher, device_for

    console = Console(stderr=True)
    try:
        check_part_target(out / PART)
        if recipe not in RECIPES:
            raise TrainingError(f"{recipe!r} is no recipe: choose {', '.join(RECIPES)}")
        if strict and data is None:
            raise TrainingError("--strict says nothing of rendered heads: give --data too, or leave it out")
        chosen = dataclasses.replace(RECIPES[recipe], steps=steps or RECIPES[recipe].steps)
        torch.set_num_threads(max(1, os.cpu_count() or 2))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as bars:
            given, words = None, ""
            if data is not None:
                given, words = _photographs(data, seed, chosen.render_px, strict, bars, console)
            if resume:
                training = StageTraining.resumed(out, data=given, trained_on=words)
            elif (out / NAME).exists():
                raise TrainingError(f"{out / NAME}: a training is here already: --resume it, or name another folder with --out")
            else:
                training = StageTraining(out, chosen, seed, device=device_for(chosen), data=given, trained_on=words)
            heads = bars.add_task("heads", total=0 if given else training.recipe.persons + training.recipe.validation_persons, note="")
            done = bars.add_task("steps", total=training.recipe.steps, completed=training.progress.step, note="")
            training.run(
                Watcher(
                    heads=lambda n: bars.advance(heads, n),
                    step=lambda step, loss: bars.update(done, completed=step, note=f"loss {loss:.3f}"),
                    validated=lambda step, kappa: console.print(
                        f"step {step}: kappa " + ", ".join(f"{k} {v:.3f}" for k, v in kappa.items())
                    ),
                )
            )
            tested = persons or (14 if training.recipe.name == "smoke" else 700)
            testing = bars.add_task("testing", total=5 * tested, note="rendered heads that the training never saw")
            part = bundle_stage(out, persons=tested, advance=lambda n: bars.advance(testing, n))
        write_part(out / PART, RolePart("stage", part.role, part.content))
        write_atomically(out / CARD, (part.role.card.model_dump_json(indent=1) + "\n").encode())
    except TrichoscopeError as problem:
        console.print(f"train norwood: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    told = ", ".join(f"{name} {part.role.metrics[name]:.3f}" for name in ("kappa_5_views", "kappa_2_views") if name in part.role.metrics)
    typer.echo(f"{out / PART}: {told}")


def _photographs(folder: Path, seed: int, side: int, strict: bool, bars: Progress, console: Console) -> tuple[tuple[Heads, Heads], str]:
    """Persons to learn from and to validate on, and what they are in words; faults are told.

    Raises:
        DataError: the set cannot be used, or has faults and is to be strict.
    """
    from hashlib import sha256

    from export.datasets.norwood import load, read_set, split

    persons, problems = read_set(folder, strict=strict)
    parts = split(persons, seed)
    learnt, checked = parts["training"], parts["validation"]
    reading = bars.add_task("photographs", total=len(learnt) + len(checked), note="")
    loaded = []
    for part in (learnt, checked):
        heads, unreadable = load(part, side, strict=strict, advance=lambda n: bars.advance(reading, n))
        loaded.append(heads)
        for line in unreadable.lines():
            console.print(f"{folder}: {line}", markup=False, highlight=False, soft_wrap=True)
    for line in problems.lines():
        console.print(f"{folder}: {line}", markup=False, highlight=False, soft_wrap=True)
    told = sha256("\n".join(f"{p.key} {p.grade}" for p in persons).encode()).hexdigest()[:12]
    words = f"{len(loaded[0])} persons of a labelled set ({told}), {len(loaded[1])} others to validate on; split by person"
    return (loaded[0], loaded[1]), words
