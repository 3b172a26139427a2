"""`trichoscope bench`: speed, memory and accuracy, so that a figure in the README is one command away."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from device.simulated.recipe import KINDS, Kind

if TYPE_CHECKING:
    from runtime.analysis.segmentation import Segmenter
    from runtime.bench.measurement.report import MeasurementBench

app = typer.Typer(help="Speed, memory and accuracy of the analysis and of the live page.", invoke_without_command=True)

SIZES = ((640, 480), (1920, 1080))
UNSEEN_SEED = 2**32  # training draws its scenes from the seeds below 2³¹, and validates on those from there to here
GROWTH_FRAMES = 3  # a load at most; rendering the large ones takes longest
FILE_COLUMNS = 1000  # of a table that goes to no terminal; it is as wide as its content


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    from importlib.metadata import version

    from runtime import __version__

    libraries = {name: version(name) for name in ("numpy", "opencv-python-headless", "scikit-image", "scipy", "onnxruntime")}
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "trichoscope": __version__,
    } | libraries


@app.callback()
def analysis(
    context: typer.Context,
    frames: Annotated[int, typer.Option(min=2, max=1000, help="How many frames of each size.")] = 40,
    kind: Annotated[Literal["easy", "realistic", "hard"], typer.Option(help="Kind of rendered frames.")] = "realistic",
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads that OpenCV and the network may use.")] = 1,
    segmenter: Annotated[Literal["learned", "classical"], typer.Option(help="What finds hair.")] = "learned",
    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the bundle to use instead of the program's own.", show_default=False)
    ] = None,
) -> None:
    """The analysis of one frame, stage by stage, at 640×480 and 1920×1080."""
    if context.invoked_subcommand is not None:
        return
    from runtime.bench.analysis import BenchPlan, bench_size
    from runtime.errors import TrichoscopeError

    console = Console(stderr=True)
    results = []
    try:
        for width, height in SIZES:
            plan = BenchPlan(width, height, frames, kind, threads, segmenter, None if bundle is None else str(bundle))
            with console.status(f"{width}×{height}: {frames} frames"):
                results.append(bench_size(plan))
    except TrichoscopeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    problem = results[0]["segmenter_problem"]
    if problem is not None:
        typer.echo(problem, err=True)
    typer.echo(json.dumps({"bench": "analysis", "machine": machine(), "threads": threads, "sizes": results}, indent=2))


@app.command()
def live(
    camera: Annotated[str, typer.Option(help="Camera address.")] = "simulated:",
    seconds: Annotated[float, typer.Option(min=2, max=3600, help="How long to watch.")] = 20.0,
    slow_ms: Annotated[float, typer.Option(min=0, max=5000, help="A browser that takes this long for each picture.")] = 0.0,
) -> None:
    """The daemon with its page open in headless Chromium: preview rate, results, age of the picture, memory of the daemon."""
    from runtime.bench.live import bench_live
    from runtime.errors import TrichoscopeError

    try:
        with Console(stderr=True).status(f"the page on {camera} for {seconds:g} s"):
            result = bench_live(camera, seconds, slow_ms)
    except TrichoscopeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(json.dumps({"bench": "live", "machine": machine()} | result, indent=2))


@app.command()
def measurement(
    frames: Annotated[int, typer.Option(min=1, max=1000, help="How many frames (and fields seen twice) of each kind.")] = 10,
    kind: Annotated[
        Literal["easy", "realistic", "hard"] | None, typer.Option(help="This kind of rendered frames alone.", show_default="all three")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**53, help="Seed of the first frame; the others follow it. The default is unknown to the network.")
    ] = UNSEEN_SEED,
    segmenter: Annotated[Literal["learned", "classical"], typer.Option(help="What finds hair.")] = "learned",
    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the bundle to use instead of the program's own.", show_default=False)
    ] = None,
    only: Annotated[Literal["accuracy", "repeat", "speed"] | None, typer.Option(help="This part alone.", show_default="all three")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """Counts, widths and follicles beside the truth of rendered frames, how they repeat, and the time they take on one core."""
    from runtime.analysis.segmenters import segmenter_asked_for
    from runtime.bench.measurement.growth import one_thread
    from runtime.errors import TrichoscopeError

    messages = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        finder = segmenter_asked_for(segmenter, bundle, threads=1, thorough=True)  # as for captures
    except TrichoscopeError as error:
        messages.print(str(error), markup=False)
        raise typer.Exit(2) from error
    if finder.problem is not None:
        messages.print(finder.problem, markup=False)
    kinds = KINDS if kind is None else (kind,)
    with finder, one_thread():
        found = _measure(kinds, range(seed, seed + frames), finder, only, messages)
    if as_json:
        asked = {"frames_per_kind": frames, "first_seed": seed}
        served = {"segmenter": finder.name, "segmenter_problem": finder.problem, "segmenter_failures": finder.failures}
        typer.echo(json.dumps({"bench": "measurement", "machine": machine()} | asked | served | found.as_json(), indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else FILE_COLUMNS, highlight=False)
    console.print(f"Rendered frames from seed {seed} on; hair found by {finder.name}.\n", markup=False)
    for table in found.tables():
        console.print(table, "")


def _measure(kinds: tuple[Kind, ...], seeds: range, finder: Segmenter, only: str | None, messages: Console) -> MeasurementBench:
    """The parts asked for (`only` None: all), with their progress on `messages`."""
    from runtime.bench.measurement.accuracy import measure_accuracy
    from runtime.bench.measurement.growth import LIVE, LOADS, measure_speed
    from runtime.bench.measurement.repeat import measure_repeat
    from runtime.bench.measurement.report import MeasurementBench

    accuracy, repeat, speed = {}, {}, None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        if only in (None, "accuracy"):
            task = progress.add_task("accuracy", total=len(kinds) * len(seeds))
            accuracy = {kind: measure_accuracy(kind, seeds, finder, lambda: progress.advance(task)) for kind in kinds}
        if only in (None, "repeat"):
            twice = progress.add_task("the same field twice", total=len(kinds) * len(seeds))
            repeat = {kind: measure_repeat(kind, seeds, finder, lambda: progress.advance(twice)) for kind in kinds}
        if only in (None, "speed"):
            growing = min(len(seeds), GROWTH_FRAMES)
            timed = progress.add_task("time", total=len(seeds) + len(LOADS) * growing)
            kind = "realistic" if len(kinds) > 1 else kinds[0]
            speed = measure_speed(kind, seeds.start, len(seeds), growing, finder, LIVE, LOADS, lambda: progress.advance(timed))
    return MeasurementBench(accuracy, repeat, speed)
