"""`trichoscope-export evaluate`: methods side by side over data with truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.progress import Progress

from export.commands import evaluate_conditions, evaluate_forecast, evaluate_norwood, evaluate_severity
from runtime.errors import TrichoscopeError

app = typer.Typer(no_args_is_help=True, help="Compare methods over data with truth.")


@app.callback()
def root() -> None:
    """Compare methods over data with truth."""


@app.command()
def segmentation(
    data: Annotated[Path, typer.Argument(help="Folder with NAME.jpg or NAME.png beside NAME_mask.png (bright is hair).")],
    bundle: Annotated[list[Path] | None, typer.Option(help="Bundle to compare, again for more; the factory's where none is named.")] = None,
    flips: Annotated[bool, typer.Option("--flips", help="Bundles look at each frame mirrored three ways as well.")] = False,
    prefix: Annotated[str, typer.Option(help="Only pairs whose name begins so.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with every frame's figures instead of a table.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of the last method's best and worst frames as PNG.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Computing threads of each method.")] = 2,
) -> None:
    """Published baselines, the classical mask and bundles: F1, Jaccard, Dice, borders, centre lines, false area, time."""
    from export.errors import EvaluationError
    from export.evaluation import segmentation as methods
    from export.evaluation.pairs import find_pairs
    from runtime.analysis.learned import LearnedSegmenter
    from runtime.bundles.reader import FACTORY, read_bundle

    console = Console(stderr=True)
    cv2.setNumThreads(threads)
    learned: list[LearnedSegmenter] = []
    try:
        pairs = [pair for pair in find_pairs(data) if pair.name.startswith(prefix)]
        if not pairs:
            raise EvaluationError(f"{data}: no pair whose name begins with {prefix!r}: choose another --prefix")
        compared = methods.baseline_methods()
        for folder in bundle or ([FACTORY] if FACTORY.is_dir() else []):
            learned.append(LearnedSegmenter(read_bundle(folder), threads=threads, flips=flips))
            compared.append(methods.segmenter_method(learned[-1].name, learned[-1]))
        with Progress(console=console) as bars:
            frames = bars.add_task("frames", total=len(pairs))
            rows = methods.evaluate(pairs, compared, advance=lambda: bars.advance(frames))
        typer.echo(methods.as_json(rows) if as_json else methods.markdown(rows))
        if sheet is not None:
            methods.write_sheet(sheet, methods.sheet(pairs, compared[-1], rows[-1]))
    except TrichoscopeError as problem:
        console.print(f"evaluate segmentation: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    finally:
        for segmenter in learned:
            segmenter.close()


@app.command()
def speed(
    bundle: Annotated[Path | None, typer.Option(help="Bundle to time; the factory's where none is named.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Computing threads.")] = 2,
    rounds: Annotated[int, typer.Option(min=3, max=10_000, help="How often each is timed.")] = 30,
) -> None:
    """A bundle's segmenter on 640×480 beside U²-Netp at 320×320, in one run: JSON with milliseconds and ratios."""
    from export.evaluation.speed import compare_speed
    from runtime.bundles.reader import FACTORY, read_bundle

    try:
        found = compare_speed(read_bundle(bundle or FACTORY), threads=threads, rounds=rounds)
    except TrichoscopeError as problem:
        Console(stderr=True).print(f"evaluate speed: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    typer.echo(json.dumps(found))


app.command("forecast")(evaluate_forecast.forecast)
app.command("conditions")(evaluate_conditions.conditions)
app.command("norwood")(evaluate_norwood.norwood)
app.command("severity")(evaluate_severity.severity)
