"""`trichoscope-export train forecast`: the hybrid CNN–LSTM forecast with its baselines and controls, on rendered persons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from runtime.errors import TrichoscopeError

SHIPPED, PART = "device", "part"


def forecast(
    recipe: Annotated[str, typer.Option(help="cpu (two cores, ≤ 10 minutes), gpu, or smoke (seconds: proves that it runs).")] = "cpu",
    architecture: Annotated[str, typer.Option(help="device (what a bundle ships), or paper (256×256 px, 17 million weights).")] = "device",
    head: Annotated[str, typer.Option(help="risk (high or low), or stage (four grades).")] = "risk",
    out: Annotated[Path, typer.Option(help="Folder of the training: checkpoints, table, pictures, and the bundle's part.")] = Path(
        "training"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoints, with its recipe and seed.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Another seed is another training.")] = 1,
) -> None:
    """Train the forecast, its CNN-only, LSTM-only and random-forest baselines and its controls; write the part of a bundle."""
    from export.training.process import set_up

    set_up()
    # heavy, and wanted by this command alone
    import torch

    from export.conversion.forecast import GOLDEN, MODEL, bundle_forecast, proven
    from export.conversion.part import RolePart, check_part_target, write_part
    from export.errors import TrainingError
    from export.training.forecast.recipe import RECIPES
    from export.training.forecast.report import report, tested_people, write_report
    from export.training.forecast.training import PLAN, ForecastTraining, Watcher

    console = Console(stderr=True)
    try:
        if recipe not in RECIPES:
            raise TrainingError(f"{recipe!r} is no recipe: choose {', '.join(RECIPES)}")
        check_part_target(out / PART)
        torch.set_num_threads(2)
        if resume:
            training = ForecastTraining.resumed(out)
        elif (out / PLAN).exists():
            raise TrainingError(f"{out / PLAN}: a training is here already: --resume it, or name another folder with --out")
        else:
            training = ForecastTraining(out, RECIPES[recipe], seed, architecture=architecture, head=head)  # type: ignore[arg-type]
        chosen = training.recipe
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as bars:
            persons = bars.add_task("persons", total=chosen.persons + chosen.validated + chosen.tested, note="")
            tasks: dict[str, TaskID] = {}

            def begun(task: str, steps: int) -> None:
                tasks[task] = bars.add_task(task, total=steps, note="")

            def drawn(more: int) -> None:
                bars.advance(persons, more)

            def stepped(task: str, step: int, loss: float) -> None:
                bars.update(tasks[task], completed=step, note=f"loss {loss:.3f}")

            trained = training.run(Watcher(drawn=drawn, begun=begun, step=stepped))
            tested = tested_people(training, drawn)
        console.print("measuring on persons that the training never saw, forests among the methods")
        found = report(training, trained.networks, tested, trained.learnt)
        write_report(training, found, trained.histories)
        if training.architecture == SHIPPED:
            model, role, golden = bundle_forecast(out, found)
            write_part(out / PART, RolePart("forecast", role, {MODEL: model, GOLDEN: golden}))
            console.print(f"written: {out / PART}", markup=False, highlight=False, soft_wrap=True)
        else:
            *_, model, differences = proven(training)
            worst = max(differences.values())
            console.print(f"{len(model)} bytes of ONNX, parity within {worst:.1e}: too large for a bundle, which ships {SHIPPED!r}")
    except TrichoscopeError as problem:
        console.print(f"train forecast: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    typer.echo(found.markdown())
