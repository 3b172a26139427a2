"""`trichoscope-export engine`: a bundle's networks as TensorRT engines for this workstation's GPU.

Such an engine runs nowhere else: it fits the GPU, TensorRT and driver that it was built with. A device builds its own (`trichoscope models
build`); here they are for measuring, and to see before anything is shipped that TensorRT takes the networks.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from runtime.bundles.roles import RoleName


class EnginePrecisionChoice(str, Enum):
    """Which network of each role."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


def engine(
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder or a file.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the engines; made where it is missing.")] = Path("engines"),
    precision: Annotated[
        EnginePrecisionChoice | None,
        typer.Option(help="fp16 where the bundle has it, else fp32, where none is named; int8 is the symmetric one.", show_default=False),
    ] = None,
    role: Annotated[list[str] | None, typer.Option(help="Only these roles.", show_default=False)] = None,
    weak: Annotated[bool, typer.Option("--weak", help="TensorRT 10 chooses the types by flags instead of the graph.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Build also what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Build a bundle's TensorRT engines for the GPU of this machine."""
    from runtime.bundles.reader import read_bundle
    from runtime.inference.tensorrt.building import build_engines

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        read = read_bundle(bundle)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def told(name: str, share: float, what: str) -> None:
                if name not in tasks:
                    tasks[name] = bars.add_task(name, total=1.0)
                bars.update(tasks[name], completed=share, description=f"{name}: {what}")

            built = build_engines(
                read,
                out,
                roles=None if role is None else cast("list[RoleName]", role),
                precision=None if precision is None else precision.value,
                weak=weak,
                again=again,
                on_progress=told,
            )
    except TrichoscopeError as problem:
        console.print(f"engine: {problem}", markup=False)
        raise typer.Exit(1) from problem
    if as_json:
        typer.echo(json.dumps({"bundle": read.id, "engines": [one.to_dict() for one in built]}))
        return
    for one in built:
        how = f"built in {one.record.seconds:.0f} s" if one.fresh else "was there"
        typer.echo(f"{one.role}: {one.record.key.precision}, {one.record.size / 1e6:.1f} MB, {how}: {one.record.plan}")
