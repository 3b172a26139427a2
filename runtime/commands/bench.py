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
from runtime.commands.bench_captured import captured
from runtime.commands.bench_devices import devices
from runtime.commands.bench_inference import inference
from runtime.commands.bench_scalp import scalp

if TYPE_CHECKING:
    from runtime.analysis.segmentation import Segmenter
    from runtime.bench.measurement.report import MeasurementBench

app = typer.Typer(help="Speed, memory and accuracy of the analysis, the live page and the devices.", invoke_without_command=True)

SIZES = ((640, 480), (1920, 1080))
UNSEEN_SEED = 2**32  # training draws its scenes from the seeds below 2³¹, and validates on those from there to here
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
    from runtime.bench.growth.loads import one_thread
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
    with finder, segmenter_asked_for(segmenter, bundle, threads=1) as live_finder, one_thread():
        found = _measure(kinds, range(seed, seed + frames), finder, live_finder, only, messages)
    if as_json:
        asked = {"frames_per_kind": frames, "first_seed": seed}
        served = {"segmenter": finder.name, "segmenter_problem": finder.problem, "segmenter_failures": finder.failures}
        typer.echo(json.dumps({"bench": "measurement", "machine": machine()} | asked | served | found.as_json(), indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else FILE_COLUMNS, highlight=False)
    console.print(f"Rendered frames from seed {seed} on; hair found by {finder.name}.\n", markup=False)
    for table in found.tables():
        console.print(table, "")


@app.command()
def growth(
    frames: Annotated[int, typer.Option(min=1, max=100, help="How many frames of each size and crowd; rendering takes longest.")] = 3,
    kind: Annotated[Literal["easy", "realistic", "hard"], typer.Option(help="Kind of rendered frames.")] = "realistic",
    seed: Annotated[int, typer.Option(min=0, max=2**53, help="Seed from which on frames are drawn.")] = UNSEEN_SEED,
    segmenter: Annotated[Literal["learned", "classical"], typer.Option(help="What finds hair.")] = "learned",
    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the bundle to use instead of the program's own.", show_default=False)
    ] = None,
    sizes: Annotated[
        str, typer.Option(metavar="W×H,…", help="Sizes of the equally crowded pictures, two or more.")
    ] = "320x240,480x360,640x480,960x720,1280x960,1920x1080",
    hairs: Annotated[
        str, typer.Option(metavar="N,…", help="Numbers of hairs in pictures of the largest size, two or more.")
    ] = "20,40,80,160,400",
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Also draw the curves into this file.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """How the time after the mask grows with pixels and with hairs, on one core."""
    from dataclasses import asdict

    from runtime.analysis.segmenters import segmenter_asked_for
    from runtime.bench.growth.curve import hair_loads, measure_growth, pixel_loads
    from runtime.bench.growth.loads import one_thread
    from runtime.bench.growth.picture import as_svg
    from runtime.bench.growth.report import tables
    from runtime.errors import TrichoscopeError

    asked_sizes, asked_hairs = _sizes(sizes), _numbers(hairs)
    messages = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        finder = segmenter_asked_for(segmenter, bundle, threads=1)  # as on the live page
    except TrichoscopeError as error:
        messages.print(str(error), markup=False)
        raise typer.Exit(2) from error
    if finder.problem is not None:
        messages.print(finder.problem, markup=False)
    larger, fuller = pixel_loads(asked_sizes), hair_loads(asked_hairs, max(asked_sizes, key=lambda size: size[0] * size[1]))
    with finder, one_thread(), _progress(messages) as progress:
        task = progress.add_task("time", total=frames * len({*larger, *fuller}))
        found = measure_growth(kind, seed, frames, finder, larger, fuller, lambda: progress.advance(task))
    if as_json:
        asked = {"kind": kind, "frames_per_load": frames, "first_seed": seed, "segmenter": finder.name, "segmenter_problem": finder.problem}
        typer.echo(json.dumps({"bench": "growth", "machine": machine()} | asked | asdict(found), indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else FILE_COLUMNS, highlight=False)
        console.print(f"Rendered frames from seed {seed} on; hair found by {finder.name}.\n", markup=False)
        for table in tables(found):
            console.print(table, "")
    if picture is not None:  # last: what was measured for minutes is told even where no picture can be written
        try:
            picture.write_text(as_svg(found), encoding="utf-8")
        except OSError as error:
            messages.print(f"{picture}: {error.strerror or error}: name a file in a folder that this user may write to", markup=False)
            raise typer.Exit(2) from error


@app.command()
def calibration(
    pictures: Annotated[int, typer.Option(min=2, max=10_000, help="Pictures of each kind of target; curves are a tenth as many.")] = 100,
    scalps: Annotated[int, typer.Option(min=1, max=200, help="Scalps of which hairs are compared over distances.")] = 12,
    seed: Annotated[int, typer.Option(min=0, max=2**53, help="Seed from which on pictures are drawn.")] = UNSEEN_SEED,
    only: Annotated[
        Literal["targets", "ring", "curves", "hairs"] | None, typer.Option(help="This part alone.", show_default="all four")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg", help="Also draw the hairs' thickness over distance into this file.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """Scales of targets and of the hood ring, curves over distance, and the same hairs from four distances, against exact truth."""
    from runtime.bench.calibration.report import CalibrationBench
    from runtime.bench.calibration.run import measure_calibration
    from runtime.commands.files import write_atomically
    from runtime.errors import TrichoscopeError

    messages = Console(stderr=True, soft_wrap=True, highlight=False)
    if picture is not None and only not in (None, "hairs"):
        raise typer.BadParameter("the picture shows hairs: leave --only out, or ask for hairs", param_hint="--picture")
    with _progress(messages) as progress:
        found: CalibrationBench = measure_calibration(range(seed, seed + pictures), scalps, only, progress)
    if as_json:
        asked = {"pictures_per_kind": pictures, "scalps": scalps, "first_seed": seed}
        typer.echo(json.dumps({"bench": "calibration", "machine": machine()} | asked | found.as_json(), indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else FILE_COLUMNS, highlight=False)
        for table in found.tables():
            console.print(table, "")
    if picture is not None and found.hairs is not None:
        from runtime.bench.calibration.picture import as_svg

        try:
            write_atomically(picture, as_svg(found.hairs))
        except TrichoscopeError as error:
            messages.print(str(error), markup=False)
            raise typer.Exit(2) from error


app.command()(captured)
app.command()(devices)
app.command()(inference)
app.command()(scalp)


def _sizes(text: str) -> list[tuple[int, int]]:
    """Widths and heights in px from "640x480,1920x1080"."""
    sizes = []
    for part in text.replace("×", "x").split(","):
        width, times, height = part.strip().partition("x")
        if not (times and width.isdecimal() and height.isdecimal() and all(64 <= int(side) <= 4096 for side in (width, height))):
            raise typer.BadParameter(f"{part!r} is no size: write width x height, 64 to 4096 px a side", param_hint="--sizes")
        sizes.append((int(width), int(height)))
    if len(set(sizes)) < 2:
        raise typer.BadParameter("two different sizes at least make a curve", param_hint="--sizes")
    return sizes


def _numbers(text: str) -> list[int]:
    """Numbers of hairs from "20,400"."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 5000 for part in parts) or len(set(parts)) < 2:
        raise typer.BadParameter(f"{text!r}: write two different numbers at least, 1 to 5000 each", param_hint="--hairs")
    return [int(part) for part in parts]


def _progress(messages: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal)


def _measure(
    kinds: tuple[Kind, ...], seeds: range, finder: Segmenter, live_finder: Segmenter, only: str | None, messages: Console
) -> MeasurementBench:
    """The parts asked for (`only` None: all), with their progress on `messages`; time is taken on the masks of the live page's finder."""
    from runtime.bench.growth.loads import LIVE, long_haired_seeds, measure_load
    from runtime.bench.measurement.accuracy import measure_accuracy
    from runtime.bench.measurement.repeat import measure_repeat
    from runtime.bench.measurement.report import MeasurementBench

    accuracy, repeat, speed = {}, {}, None
    with _progress(messages) as progress:
        if only in (None, "accuracy"):
            task = progress.add_task("accuracy", total=len(kinds) * len(seeds))
            accuracy = {kind: measure_accuracy(kind, seeds, finder, lambda: progress.advance(task)) for kind in kinds}
        if only in (None, "repeat"):
            twice = progress.add_task("the same field twice", total=len(kinds) * len(seeds))
            repeat = {kind: measure_repeat(kind, seeds, finder, lambda: progress.advance(twice)) for kind in kinds}
        if only in (None, "speed"):
            timed = progress.add_task("time", total=len(seeds))
            kind = "realistic" if len(kinds) > 1 else kinds[0]
            crowded = long_haired_seeds(kind, seeds.start, len(seeds))
            speed = measure_load(kind, LIVE, crowded, live_finder, lambda: progress.advance(timed))
    return MeasurementBench(accuracy, repeat, speed)
