"""`trichoscope-export evaluate`: methods side by side over data with truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cv2
import typer
from rich.console import Console
from rich.progress import Progress

from export.commands import evaluate_conditions, evaluate_forecast, evaluate_norwood, evaluate_prompts, evaluate_severity
from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from export.evaluation.pairs import Frame

app = typer.Typer(no_args_is_help=True, help="Compare methods over data with truth.")


@app.callback()
def root() -> None:
    """Compare methods over data with truth."""


@app.command()
def segmentation(
    data: Annotated[
        Path | None, typer.Argument(help="Folder with NAME.jpg or NAME.png beside NAME_mask.png (bright is hair); none with --rendered.")
    ] = None,
    bundle: Annotated[
        list[Path] | None, typer.Option(help="Bundle, or part of one, to compare, again for more; the factory's where none is named.")
    ] = None,
    flips: Annotated[bool, typer.Option("--flips", help="Live networks look at each frame mirrored three ways as well.")] = False,
    prefix: Annotated[str, typer.Option(help="Only pairs whose name begins so.")] = "",
    rendered: Annotated[int, typer.Option(min=0, max=10_000, help="Rendered frames of each kind, of unseen seeds, in place of DATA.")] = 0,
    baselines: Annotated[bool, typer.Option(help="The published masks and our classical one, too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with every frame's figures instead of a table.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of the last method's best and worst frames as PNG.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Computing threads of each method.")] = 2,
) -> None:
    """Published baselines, the classical mask, and of bundles and their parts each network and ensemble that is in them: F1, Jaccard,
    Dice, borders, centre lines, false area, time. A refiner that comes alone is prompted by what was named before it.
    """
    from export.conversion.part import read_parts
    from export.errors import EvaluationError
    from export.evaluation import segmentation as methods
    from export.evaluation.pairs import KINDS, find_pairs, paired_frames, rendered_frames
    from export.evaluation.ways import Prompting, name_of, ways_of
    from runtime.bundles.reader import FACTORY

    console = Console(stderr=True)
    cv2.setNumThreads(threads)
    try:
        if (data is None) == (rendered == 0):
            raise EvaluationError("nothing, or two things, to compare over: name either a folder with pairs or --rendered with a number")
        pairs = [] if data is None else [pair for pair in find_pairs(data) if pair.name.startswith(prefix)]
        if data is not None and not pairs:
            raise EvaluationError(f"{data}: no pair whose name begins with {prefix!r}: choose another --prefix")
        with ExitStack() as stack:
            compared = methods.baseline_methods() if baselines else []
            prompting: Prompting | None = None
            for folder in bundle or ([FACTORY] if FACTORY.is_dir() else []):
                read = read_parts(folder)
                name = name_of(folder, read)
                found, prompting = ways_of(read, stack, name=name, threads=threads, flips=flips, prompting=prompting)
                compared += found
            bars = stack.enter_context(Progress(console=console))
            bar = bars.add_task("frames", total=len(pairs) or rendered * len(KINDS))

            def frames() -> Iterator[Frame]:
                return paired_frames(pairs) if pairs else rendered_frames(rendered)

            rows = methods.evaluate(frames(), compared, advance=lambda: bars.advance(bar))
            bars.stop()
            typer.echo(methods.as_json(rows) if as_json else methods.markdown(rows))
            if sheet is not None:
                methods.write_sheet(sheet, methods.sheet(frames(), compared[-1], rows[-1]))
    except TrichoscopeError as problem:
        console.print(f"evaluate segmentation: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem


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
app.command("prompts")(evaluate_prompts.prompts)
