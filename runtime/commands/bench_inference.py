"""`trichoscope bench inference`: a bundle's networks on every backend that is here. `bench.py` has it among its verbs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def inference(
    bundle: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Bundle to run instead of the one that serves here.", show_default=False)
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Configuration file (TOML).", show_default=False)] = None,
    threads: Annotated[int, typer.Option(min=0, max=64, help="The larger number of threads, 0: one a core; one is always timed too.")] = 0,
    rounds: Annotated[int, typer.Option(min=5, max=10_000, help="How often each is timed.")] = 50,
    standin: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that stands in for TensorRT, to time the way to its worker.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Every role on ONNX Runtime (threads, providers, variants) and the TensorRT worker: time, memory, energy, parity."""
    from runtime.bench.inference.compare import compare
    from runtime.bench.inference.engines import engine_candidates, worker_overhead
    from runtime.commands.bench import machine
    from runtime.commands.instruments import bundle_asked_for
    from runtime.config import load_settings
    from runtime.errors import TrichoscopeError

    messages = Console(stderr=True)
    counts = sorted({1, threads or len(os.sched_getaffinity(0))})
    try:
        with messages.status("reading the bundle") as status:
            settings = load_settings(config)
            found = bundle_asked_for(settings, bundle, lambda words: typer.echo(words, err=True))
            rows = compare(
                found,
                threads=counts,
                rounds=rounds,
                more=lambda name: engine_candidates(found, name, settings.engines_folder, settings.inference.python),
                advance=lambda what: status.update(f"timing: {what}"),
            )
            status.update("timing: the way to the worker and back")
            overhead = worker_overhead(standin)
    except TrichoscopeError as error:
        typer.echo(f"bench inference: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(
            json.dumps(
                {"bench": "inference", "machine": machine(), "bundle": found.id, "rows": [asdict(row) for row in rows], "worker": overhead},
                indent=2,
            )
        )
        return
    table = Table(title=found.id)
    for column in ("role", "precision", "backend", "p50 ms", "p95 ms", "per s", "MB", "J", "parity"):
        table.add_column(column)
    for row in rows:
        figures = (row.p50_ms, row.p95_ms, row.fps, row.memory_mb, row.joules, row.parity)
        table.add_row(row.role, row.precision, row.backend, *("–" if figure is None else f"{figure:g}" for figure in figures))
        if row.problem is not None:
            messages.print(f"{row.role} on {row.backend}: {row.problem}", markup=False, highlight=False, soft_wrap=True)
    Console().print(table)
    if overhead is not None:
        stood_in = " (TensorRT stood in for)" if overhead["standin"] else ""
        typer.echo(f"a frame to the worker and back{stood_in}: {overhead['p50_ms']:.2f} ms, p95 {overhead['p95_ms']:.2f} ms")
