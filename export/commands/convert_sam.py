"""`trichoscope-export convert sam`: the user's checkpoint of SAM or MobileSAM as a refiner, a pair of ONNX networks."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from runtime.errors import TrichoscopeError


class KindOption(str, Enum):
    """Of which kind a checkpoint is."""

    auto = "auto"
    vit_b = "vit_b"
    vit_l = "vit_l"
    vit_h = "vit_h"
    mobile = "mobile"


class PrecisionOption(str, Enum):
    """Of the networks."""

    fp32 = "fp32"
    fp16 = "fp16"


class CombinationOption(str, Enum):
    """What is made of the mask that prompted and the refiner's."""

    both = "and"
    weighed = "weighed"


def sam(
    checkpoint: Annotated[Path, typer.Argument(help="PyTorch's or a safetensors file; nothing in it is run.")],
    out: Annotated[
        Path,
        typer.Option(help="A folder for the part of a bundle; or NAME.onnx: NAME.encoder.onnx and NAME.decoder.onnx, for other programs."),
    ],
    kind: Annotated[KindOption, typer.Option(help="auto tells it from the names; MobileSAM alone fits into a bundle.")] = KindOption.auto,
    precision: Annotated[
        PrecisionOption,
        typer.Option(
            help="fp16: of two files, both; of a part, the encoder beside that in fp32, which captures are refined with all the same."
        ),
    ] = PrecisionOption.fp32,
    side: Annotated[int, typer.Option(help="Of the square picture, px; below 1024, faster and coarser, for MobileSAM alone.")] = 1024,
    combination: Annotated[CombinationOption, typer.Option(help="Of its mask and the one that prompted.")] = CombinationOption.both,
    use: Annotated[bool, typer.Option("--use", help="Serve captures with it: once it was measured to be better.")] = False,
) -> None:
    """Convert a checkpoint of SAM or MobileSAM to a refiner: encoder and decoder, held to PyTorch's numbers."""
    # heavy, and wanted by this command alone
    from export.conversion.part import check_part_target, write_part
    from export.conversion.sam import STEPS, check_size, half_pair, sam_pair, sam_part
    from export.conversion.sam_weights import check_side, read_checkpoint
    from export.errors import ConversionError
    from runtime.commands.files import write_atomically

    console = Console(stderr=True)
    asked = None if kind is KindOption.auto else kind.value
    pair_alone = out.suffix == ".onnx"
    files = {name: out.with_suffix(f".{name}.onnx") for name in ("encoder", "decoder")}
    try:
        if not pair_alone:
            check_part_target(out)
        elif not out.parent.is_dir() or any(file.is_dir() for file in files.values()):
            raise ConversionError(f"{out}: no files can be there: name one in a folder that exists")
        check_side(asked, side)
        if asked is not None:
            check_size(asked, bundled=not pair_alone)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as bars:
            bar = bars.add_task("reading", total=STEPS)

            def told(what: str) -> None:
                bars.update(bar, advance=1, description=what)

            read = read_checkpoint(checkpoint, kind=asked, side=side)
            check_size(read.kind, bundled=not pair_alone)
            written: dict[str, Any]
            if pair_alone:
                pair = sam_pair(read.network, told=told)
                told("writing")
                pair = half_pair(pair) if precision is PrecisionOption.fp16 else pair
                write_atomically(files["encoder"], pair.encoder)
                write_atomically(files["decoder"], pair.decoder)
                parity, written = pair.parity, {name: str(file) for name, file in files.items()}
            else:
                part = sam_part(read, precision=precision.value, combination=combination.value, use=use, told=told)
                write_part(out, part)
                parity = {name.removeprefix("parity_"): value for name, value in part.role.metrics.items()}
                written = {"part": str(out)}
            bars.update(bar, completed=STEPS, description="written")
    except TrichoscopeError as problem:
        console.print(f"convert sam: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    typer.echo(json.dumps({"kind": read.kind, "written": written, "parity": {k: float(f"{v:.3g}") for k, v in parity.items()}}))
