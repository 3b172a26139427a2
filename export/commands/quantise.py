"""`trichoscope-export quantise`: a part's or bundle's networks in half precision and in 8-bit integers, held to their end figures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from export.conversion.variants import MadeVariant
    from runtime.bundles.roles import Role, RoleName


class Which(str, Enum):
    """A precision to make."""

    fp16 = "fp16"
    int8 = "int8"
    int8_symmetric = "int8-symmetric"


def quantise(
    source: Annotated[Path, typer.Argument(help="A part of a bundle, or a bundle.")],
    out: Annotated[Path | None, typer.Option(help="Where to write it with its variants; the source itself where not named.")] = None,
    precision: Annotated[list[Which] | None, typer.Option(help="fp16, int8 (x86), int8-symmetric (TensorRT); again for more.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Only these roles of a bundle.")] = None,
    per_kind: Annotated[int, typer.Option(min=1, help="Rendered frames of each of three kinds to choose by.")] = 4,
    test_per_kind: Annotated[int, typer.Option(min=1, help="Others of each kind to state the figures on.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with every figure and node.")] = False,
) -> None:
    """Make variants whose precision lies in the graph; nodes that hurt stay in float until the end figures are within limits."""
    from export.conversion.judging import judge_of
    from export.conversion.part import read_parts, replace_roles
    from export.conversion.variants import PRECISIONS, can_make, make_variant, with_variants
    from export.errors import ConversionError

    console = Console(stderr=True)
    wanted = [p for p in PRECISIONS if not precision or p in [which.value for which in precision]]
    told: dict[str, Any] = {}
    try:
        bundle = read_parts(source)
        roles = bundle.manifest.roles.present()
        strange = [name for name in role or [] if name not in roles]
        if strange:
            raise ConversionError(f"{source}: it has no role {strange[0]!r}: name of {', '.join(roles)}")
        changed: dict[RoleName, Role] = {}
        added: dict[str, bytes] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as bars:

            def task(what: str, total: int) -> Callable[[], None]:
                bar = bars.add_task(what, total=total)
                return lambda: bars.advance(bar)

            for name, one in roles.items():
                if role and name not in role:
                    continue
                if name == "refiner" and not role:
                    console.print("refiner: nothing here can judge it in another precision: it stays as it is", markup=False)
                    continue
                possible = [which for which in wanted if can_make(one, which, bundle.content)]
                for which in wanted:
                    if which not in possible:
                        console.print(f"{name}: no node of its network can be {which}: it stays as it is", markup=False, highlight=False)
                if not possible:
                    continue
                judge = judge_of(bundle, name, per_kind=per_kind, test_per_kind=test_per_kind)
                made = []
                for which in possible:
                    began = time.monotonic()
                    made.append(make_variant(bundle, name, which, judge, task=task))
                    for bar in bars.tasks:  # fewer steps were needed than there might have been
                        bars.update(bar.id, total=bar.completed)
                    told.setdefault(name, {})[which] = _figures(made[-1], time.monotonic() - began)
                changed[name], files = with_variants(one, made)
                added |= files
        if not changed:
            raise ConversionError(f"{source}: no network of it can be in another precision: name another")
        replace_roles(source, bundle, changed, added, out=out or source)
    except TrichoscopeError as problem:
        console.print(f"quantise: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    if as_json:
        typer.echo(json.dumps(told))
        return
    for said, variants in told.items():
        for variant, figures in variants.items():
            shown = ", ".join(f"{key} {value:.3g} (≤ {figures['limits'][key]:g})" for key, value in figures["within_limits"].items())
            left = len(figures["left_in_float"])
            typer.echo(f"{said} {variant}: {figures['bytes']} bytes, {figures['changed']} nodes changed, {left} left in float; {shown}")


def _figures(made: MadeVariant, seconds: float) -> dict[str, Any]:
    """What is told of one variant, plain values."""
    limits = dict(made.tested.limits)
    return {
        "file": made.variant.model,
        "bytes": len(made.model),
        "changed": made.found.changed,
        "left_in_float": list(made.found.left_out),
        "within_limits": {key: made.tested.figures[key] for key in limits},
        "limits": limits,
        "figures": dict(made.variant.metrics),
        "tolerances": {tolerance.output: tolerance.absolute for tolerance in made.variant.tolerances},
        "tries": [list(one) for one in made.found.tries],
        "damage": {key: float(f"{value:.4g}") for key, value in made.found.damage.items()},
        "seconds": round(seconds, 1),
    }
