"""`trichoscope-export evaluate forecast`: a training's networks and forests, or a bundle's forecast, on rendered persons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from runtime.errors import TrichoscopeError


def forecast(
    training: Annotated[Path | None, typer.Argument(help="Folder of a finished training; its networks and forests are compared.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Instead, a bundle whose forecast is measured; the factory's where nothing is named.")
    ] = None,
    persons: Annotated[int, typer.Option(min=50, max=200_000, help="How many rendered persons.")] = 4000,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Other persons; 0 are those of the training's own table.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Write the calibration curves as SVG.")] = None,
) -> None:
    """The paper's Table 1 with intervals, what the second branch adds, and calibration, on rendered persons."""
    from export.training.process import set_up

    set_up()
    # heavy, and wanted by this command alone
    import torch

    from export.errors import EvaluationError
    from export.evaluation.forecast import as_plain, calibration
    from export.evaluation.forecast_pictures import calibration_svg
    from export.training.forecast.batches import people
    from export.training.forecast.bundled import bundle_report
    from export.training.forecast.report import finished_networks, report, tested_people
    from export.training.forecast.training import TEST_SEED, ForecastTraining, cohort_for
    from runtime.bundles.reader import FACTORY, read_bundle
    from runtime.commands.files import write_atomically

    console = Console(stderr=True)
    try:
        torch.set_num_threads(2)
        if training is not None and bundle is not None:
            raise EvaluationError("a training and a --bundle are named: leave one of them out")
        with Progress(console=console) as bars:
            if training is not None:
                run = ForecastTraining.resumed(training)
                networks = finished_networks(run)
                total = persons + run.recipe.persons
                bar = bars.add_task("persons", total=total)
                tested = tested_people(run, lambda n: bars.advance(bar, n), TEST_SEED + seed, persons)
                forests = people(cohort_for(run.architecture, 2 * run.seed, run.recipe.persons, advance=lambda n: bars.advance(bar, n)))
                found, named = report(run, networks, tested, forests), str(training)
            else:
                opened = read_bundle(bundle or FACTORY)
                bar = bars.add_task("persons", total=persons)
                found, named = bundle_report(opened, TEST_SEED + seed, persons, lambda n: bars.advance(bar, n)), opened.id
        if picture is not None:
            bins = {name: calibration(told, found.labels) for name, told in found.told.items()}
            write_atomically(picture, calibration_svg(f"forecast of {named}, {persons} rendered persons", bins))
    except TrichoscopeError as problem:
        console.print(f"evaluate forecast: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    plain = as_plain(found.rows, found.gains) | {"of": named, "bounds": found.bounds}
    typer.echo(json.dumps(plain, allow_nan=False) if as_json else found.markdown())
