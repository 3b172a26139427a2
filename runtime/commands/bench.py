"""`trichoscope bench`: speed and memory as JSON, so that a figure in the README is one command away."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

app = typer.Typer(help="Speed and memory of the analysis and of the live page, as JSON.", invoke_without_command=True)

SIZES = ((640, 480), (1920, 1080))


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
