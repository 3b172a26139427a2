"""`trichoscope-export verify`: a bundle's or part's golden data through a backend, its numbers kept as JSON and as a page with a plot."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console
from rich.progress import Progress

from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from runtime.bundles.parts import Precision
    from runtime.bundles.roles import RoleName


class BackendChoice(str, Enum):
    """What computes."""

    onnxruntime = "onnxruntime"


class PrecisionChoice(str, Enum):
    """Which network of each role."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"
    int8_symmetric = "int8-symmetric"


def verify(
    source: Annotated[Path, typer.Argument(help="A bundle, or a part of one.")],
    backend: Annotated[BackendChoice, typer.Option(help="What computes.")] = BackendChoice.onnxruntime,
    precision: Annotated[list[PrecisionChoice] | None, typer.Option(help="Again for more; all that are there where none is named.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Only these roles.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for the numbers (JSON), a page (Markdown) and a plot.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a precision instead of tables.")] = False,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Computing threads.")] = 2,
) -> None:
    """Prove networks by their golden data: each output, and what comes of it. Exit code 1 where anything is beyond its tolerance."""
    from export.conversion.part import read_parts
    from runtime.bundles.proof import prove
    from runtime.bundles.proof_report import markdown, write_report
    from runtime.inference.onnx import OnnxBackend

    console = Console(stderr=True)
    try:
        bundle = read_parts(source)
        there = {variant.precision for one in bundle.manifest.roles.present().values() for variant in one.variants}
        every = [p.value for p in PrecisionChoice if p.value == "fp32" or p.value in there]
        wanted = [p.value for p in precision] if precision else every
        roles = None if role is None else cast("list[RoleName]", role)
        proofs = []
        with Progress(console=console) as bars:
            bar = bars.add_task("precisions", total=len(wanted))
            for which in wanted:
                proofs.append(
                    prove(
                        bundle,
                        make_backend=lambda model: OnnxBackend(model, name=backend.value, threads=threads),
                        precision=cast("Precision", which),
                        roles=roles,
                    )
                )
                bars.advance(bar)
        if report is not None:
            write_report(report, proofs)
    except TrichoscopeError as problem:
        console.print(f"verify: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    if as_json:
        for proof in proofs:
            typer.echo(proof.to_json())
    else:
        typer.echo(markdown(proofs).rpartition("![")[0].rstrip())
    failed = [proof for proof in proofs if not proof.passed]
    for proof in failed:
        console.print(f"verify: {source}: {proof.precision}: {proof.failures()[0]}", markup=False, highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)
