"""`trichoscope-export train`: label-free training on rendered scenes."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from export.commands import train_captured, train_conditions, train_forecast, train_norwood, train_severity, train_u2net
from runtime.errors import TrichoscopeError

NAME_OF_BUNDLE = "hair-live"

app = typer.Typer(no_args_is_help=True, help="Train a network on rendered scenes, without labels.")


@app.callback()
def root() -> None:
    """Train a network on rendered scenes, without labels."""


@app.command()
def segmenter(
    recipe: Annotated[str, typer.Option(help="cpu (two cores, ≤ 90 minutes), gpu, or smoke (seconds: proves that it runs).")] = "cpu",
    out: Annotated[Path, typer.Option(help="Folder of the training: scenes, checkpoint, curves, bundle.")] = Path("training"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint, with its recipe and seed.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Another seed is another training.")] = 1,
    steps: Annotated[int, typer.Option(min=0, help="Another number of steps than the recipe's; 0 keeps it.")] = 0,
) -> None:
    """Train the live segmenter and write its bundle."""
    from export.training.process import set_up

    set_up()
    # heavy, and wanted by this command alone
    import torch

    from export.conversion.segmenter import bundle_segmenter
    from export.errors import TrainingError
    from export.training.checkpoint import NAME
    from export.training.recipe import RECIPES
    from export.training.segmenter import SegmenterTraining, Watcher, device_for
    from runtime.bundles.writer import check_target

    console = Console(stderr=True)
    try:
        check_target(out / "bundle", NAME_OF_BUNDLE)
        if recipe not in RECIPES:
            raise TrainingError(f"{recipe!r} is no recipe: choose {', '.join(RECIPES)}")
        chosen = dataclasses.replace(RECIPES[recipe], steps=steps or RECIPES[recipe].steps)
        # on two cores the process that cuts crops needs a third of one: all of them compute
        torch.set_num_threads(max(1, os.cpu_count() or 2))
        if resume:
            training = SegmenterTraining.resumed(out)
        elif (out / NAME).exists():
            raise TrainingError(f"{out / NAME}: a training is here already: --resume it, or name another folder with --out")
        else:
            training = SegmenterTraining(out, chosen, seed, device=device_for(chosen))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as bars:
            scenes = bars.add_task("scenes", total=training.recipe.scenes, note="")
            done = bars.add_task("steps", total=training.recipe.steps, completed=training.progress.step, note="")
            training.run(
                Watcher(
                    scenes=lambda n: bars.advance(scenes, n),
                    step=lambda step, loss: bars.update(done, completed=step, note=f"loss {loss:.3f}"),
                    validated=lambda step, dice: console.print(f"step {step}: Dice " + ", ".join(f"{k} {v:.3f}" for k, v in dice.items())),
                )
            )
        console.print("converting, and measuring on rendered frames that the training never saw")
        bundle = bundle_segmenter(
            out, out / "bundle", name=NAME_OF_BUNDLE, release=1, per_kind=6 if training.recipe.name == "smoke" else 60
        )
    except TrichoscopeError as problem:
        console.print(f"train segmenter: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    typer.echo(f"{out / 'bundle'}: {bundle.id}")


app.command("forecast")(train_forecast.forecast)
app.command("conditions")(train_conditions.conditions)
app.command("norwood")(train_norwood.norwood)
app.command("severity")(train_severity.severity)
app.command("u2net")(train_u2net.u2net)
app.command("teacher")(train_captured.teacher)
app.command("refiner")(train_captured.refiner)
app.command("student")(train_captured.student)
