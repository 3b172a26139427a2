"""`trichoscope bench scalp`: flakes, shine and redness beside known grades. `bench.py` has it among its verbs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

UNSEEN_SEED = 2**32  # as in bench.py: from here on no seed was trained or tuned on


def scalp(
    frames: Annotated[int, typer.Option(min=4, max=1000, help="How many rendered frames of each kind.")] = 40,
    seed: Annotated[int, typer.Option(min=0, max=2**53, help="Seed of the first frame; the others follow it.")] = UNSEEN_SEED,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--frames-in", metavar="DIR", help="Pictures with NAME.json (conditions) instead of rendered ones.", show_default=False
        ),
    ] = None,
    segmenter: Annotated[Literal["learned", "classical"], typer.Option(help="What finds hair.")] = "learned",
    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the bundle to use instead of the program's own.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """Rank correlation of the measured flakes, shine and redness with known grades, and their time on one core."""
    from device.simulated.recipe import KINDS
    from runtime.analysis.segmenters import segmenter_asked_for
    from runtime.bench import scalp as bench
    from runtime.bench.growth.loads import one_thread
    from runtime.commands.bench import machine
    from runtime.errors import TrichoscopeError

    messages = Console(stderr=True, soft_wrap=True, highlight=False)
    seeds = range(seed, seed + frames)

    def pictures() -> Iterator[bench.GradedPicture]:
        if folder is not None:
            yield from bench.from_folder(folder)
            return
        for kind in KINDS:
            yield from bench.rendered(kind, seeds)
            yield from bench.graded(kind, seeds)

    done = 0
    try:
        with segmenter_asked_for(segmenter, bundle, threads=1) as finder, one_thread(), messages.status("frames") as status:

            def advance() -> None:
                nonlocal done
                done += 1
                status.update(f"{done} frames")

            found = bench.measure_ranks(pictures(), finder, advance)
            name, problem = finder.name, finder.problem
    except TrichoscopeError as error:
        messages.print(str(error), markup=False)
        raise typer.Exit(1) from error
    if problem is not None:
        messages.print(problem, markup=False)
    if as_json:
        figures = [asdict(each) for each in found]
        typer.echo(json.dumps({"bench": "scalp", "machine": machine(), "segmenter": name, "figures": figures}, indent=2))
        return
    table = Table(
        "frames", "hair", "n", *(f"{each}: Spearman" for each in bench.NAMES), *(f"{each} reliable" for each in bench.NAMES), "ms"
    )
    for row in found:
        correlations = ("—" if row.spearman[each] is None else f"{row.spearman[each]:+.2f}" for each in bench.NAMES)
        trusted = (f"{row.reliable[each]:.0%}" for each in bench.NAMES)
        table.add_row(row.group, row.hair, str(row.frames), *correlations, *trusted, f"{row.ms_p50:.0f}")
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)
