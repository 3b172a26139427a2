"""`trichoscope-export train conditions`: the network that grades dandruff, sebum and erythema."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from runtime.errors import TrichoscopeError

CARD, PART = "card.json", "part"


def conditions(
    recipe: Annotated[str, typer.Option(help="cpu (two cores, half an hour), gpu, or smoke (seconds: proves that it runs).")] = "cpu",
    out: Annotated[Path, typer.Option(help="Folder of the training: scenes, checkpoint, curves, network.")] = Path("conditions-training"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint, with its recipe and seed.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Another seed is another training.")] = 1,
    steps: Annotated[int, typer.Option(min=0, help="Another number of steps than the recipe's; 0 keeps it.")] = 0,
    more: Annotated[int, typer.Option(min=0, help="So many steps after the recipe, from half its peak; also of a finished one.")] = 0,
    backbone: Annotated[str, typer.Option(help="small, densenet169 or efficientformerv2_s0; the recipe's where empty.")] = "",
    ordinal: Annotated[bool, typer.Option("--ordinal", help="Cumulative logits: grades are in order.")] = False,
    weights: Annotated[Path | None, typer.Option(help="State dict of the backbone by timm's names, to begin with.")] = None,
    data: Annotated[Path | None, typer.Option(help="Graded pictures in AI-Hub's layout in place of rendered scenes.")] = None,
    generated: Annotated[Path | None, typer.Option(help="Folder of generated pictures with grades.csv, to learn from as well.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse data with any fault instead of skipping what is faulty.")] = False,
) -> None:
    """Train the network that grades dandruff, sebum and erythema, and write it with its golden data and card."""
    from export.training.process import set_up

    set_up()
    # heavy, and wanted by this command alone
    import torch

    from export.conversion.conditions import bundle_conditions
    from export.conversion.part import check_part_target, write_part
    from export.errors import TrainingError
    from export.networks.scalp_net import SIZES
    from export.training.checkpoint import NAME, write_atomically
    from export.training.conditions.recipe import RECIPES
    from export.training.conditions.sources import gather
    from export.training.conditions.training import ConditionsTraining, Watcher, device_for

    console = Console(stderr=True)
    try:
        check_part_target(out / PART)
        if recipe not in RECIPES:
            raise TrainingError(f"{recipe!r} is no recipe: choose {', '.join(RECIPES)}")
        if backbone and backbone not in SIZES:
            raise TrainingError(f"{backbone!r} is no backbone: choose {', '.join(SIZES)}")
        usual = RECIPES[recipe]
        chosen = dataclasses.replace(
            usual,
            steps=(steps or usual.steps) + more,
            more=more,
            backbone=backbone or usual.backbone,
            ordinal=ordinal or usual.ordinal,
        )
        torch.set_num_threads(max(1, os.cpu_count() or 2))
        if resume:
            training = ConditionsTraining.resumed(out, more=more)
        elif (out / NAME).exists():
            raise TrainingError(f"{out / NAME}: a training is here already: --resume it, or name another folder with --out")
        else:
            training = ConditionsTraining(out, chosen, seed, device=device_for(chosen), weights=weights)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as bars:
            scenes = bars.add_task("scenes", total=0 if data else training.recipe.scenes + training.recipe.validation, note="")
            gathered = gather(
                out,
                training.recipe,
                training.seed,
                data=data,
                generated=generated,
                strict=strict,
                advance=lambda n: bars.advance(scenes, n),
            )
            for note in gathered.notes:
                console.print(note, markup=False, highlight=False, soft_wrap=True)
            done = bars.add_task("steps", total=training.recipe.steps, completed=training.progress.step, note="")
            training.run(
                gathered.sources,
                gathered.validation,
                Watcher(
                    step=lambda step, loss: bars.update(done, completed=step, note=f"loss {loss:.3f}"),
                    validated=lambda step, f1: console.print(f"step {step}: macro-F1 " + ", ".join(f"{k} {v:.3f}" for k, v in f1.items())),
                ),
            )
        console.print("converting, and measuring on rendered frames that the training never saw")
        part = bundle_conditions(out, frames=16 if training.recipe.name == "smoke" else 384)
        write_part(out / PART, part)
        write_atomically(out / CARD, (part.role.card.model_dump_json(indent=1) + "\n").encode())
    except TrichoscopeError as problem:
        console.print(f"train conditions: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    typer.echo(f"{out / PART}: macro-F1 {part.role.metrics['macro_f1_rendered']:.3f} on rendered frames")
