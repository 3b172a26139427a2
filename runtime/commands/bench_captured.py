"""`trichoscope bench captured`: what a bundle's teacher and refiner cost on captured fields."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from runtime.bench.captured import CapturedFigures, Times

UNSEEN_SEED = 2**32  # as in bench.py: from here on no seed was trained or tuned on


def captured(
    fields: Annotated[int, typer.Option(min=1, max=200, help="How many rendered fields.")] = 8,
    kind: Annotated[Literal["easy", "realistic", "hard"], typer.Option(help="Kind of rendered fields.")] = "hard",
    seed: Annotated[int, typer.Option(min=0, max=2**53, help="Seed of the first field; the others follow it.")] = UNSEEN_SEED,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long each rate of the live picture is watched.")] = 10.0,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of the live network; the others have one.")] = 2,
    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Bundle to use instead of the program's own.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """Better masks of captured fields: time, what the live picture loses meanwhile, and memory."""
    from runtime.bench.captured import CapturedPlan, measure_captured
    from runtime.bundles.reader import FACTORY, read_for_use
    from runtime.commands.bench import machine
    from runtime.errors import TrichoscopeError

    messages = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        with messages.status("reading the bundle") as status:
            used = read_for_use(FACTORY if bundle is None else bundle)
            found = measure_captured(used, CapturedPlan(kind, seed, fields, seconds, threads), status.update)
    except TrichoscopeError as error:
        messages.print(str(error), markup=False)
        raise typer.Exit(1) from error
    if as_json:
        asked = {"bundle": used.id, "kind": kind, "fields": fields, "first_seed": seed, "seconds": seconds, "threads": threads}
        typer.echo(json.dumps({"bench": "captured", "machine": machine()} | asked | found.as_json(), indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(f"{used.id}, rendered {kind} fields from seed {seed} on.\n", markup=False)
    for table in _tables(found):
        console.print(table, "")
    if not found.given_back:
        console.print("The memory of their networks was not given back.")
    for reason, count in found.passed_over.items():
        console.print(f"passed over {count}×: {reason}", markup=False)


def _tables(found: CapturedFigures) -> tuple[Table, Table]:
    def row(what: str, times: Times, masks: dict[str, int] | None = None) -> tuple[str, str, str, str]:
        told = ", ".join(f"{count} {mask}" for mask, count in (masks or {}).items())
        p50, p95 = ("—" if each is None else f"{each:.0f}" for each in (times.p50_ms, times.p95_ms))
        return what, p50, p95, told

    times = Table("a field", "p50 ms", "p95 ms", "masks")
    times.add_row(*row("live mask", found.live))
    times.add_row(*row("opening a network", found.opening))
    times.add_row(*row("teacher", found.teacher))
    times.add_row(*row("refiner", found.refiner))
    times.add_row(*row("whole", found.whole, found.masks))
    times.add_row(*row("whole, beside the live picture", found.whole_busy, found.busy_masks))
    rest = Table("live pictures a second", "", "memory, MB", "")
    rest.add_row("alone", f"{found.rate_alone:.1f}", "before", f"{found.before_mb:.0f}")
    rest.add_row(
        "beside the work on better masks", f"{found.rate_beside_work:.1f} ({-found.slowed:+.0%})", "at most", f"{found.most_mb:.0f}"
    )
    rest.add_row("beside whole captures", f"{found.rate_beside_captures:.1f}", "after", f"{found.after_mb:.0f}")
    return times, rest
