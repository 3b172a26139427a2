"""`trichoscope-export convert u2net`: a public checkpoint, or a training of ours, as a graph or as the teacher of a bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from runtime.errors import TrichoscopeError


def u2net(
    checkpoint: Annotated[Path, typer.Argument(help="u2net.pth, u2netp.pth or one trained from them, or the folder of a training.")],
    out: Annotated[Path, typer.Option(help="A folder for the part of a bundle (role teacher), or NAME.onnx for the network alone.")],
    size_px: Annotated[str, typer.Option(help="HEIGHTxWIDTH: a graph for this size alone; for NAME.onnx.", show_default=False)] = "",
    per_kind: Annotated[int, typer.Option(min=5, max=1000, help="Rendered frames of each kind to fit to, and as many to test on.")] = 20,
) -> None:
    """Convert U²-Net or U²-Netp, whichever the checkpoint holds, and hold the graph to PyTorch's numbers at several sizes."""
    from export.conversion.part import check_part_target, write_part
    from export.conversion.u2net import load_u2net, public_part, trained_part, trained_u2net, u2net_onnx, u2net_parity
    from export.errors import ConversionError
    from runtime.commands.files import write_atomically

    try:
        size = _size(size_px)
        if out.suffix == ".onnx":
            if out.is_dir() or not out.parent.is_dir():
                raise ConversionError(f"{out}: no file can be there: name one in a folder that exists")
            network = trained_u2net(checkpoint)[0] if checkpoint.is_dir() else load_u2net(checkpoint)
            model = u2net_onnx(network, size)
            differences = u2net_parity(network, model, size)
            write_atomically(out, model)
        else:
            if size is not None:
                raise ConversionError(f"{size_px}: a teacher takes pictures of any size: leave --size-px out, or name --out NAME.onnx")
            check_part_target(out)
            part = (trained_part if checkpoint.is_dir() else public_part)(checkpoint, per_kind=per_kind)
            write_part(out, part)
            parity = "parity_"
            differences = {k.removeprefix(parity): v for k, v in part.role.metrics.items() if k.startswith(parity)}
    except TrichoscopeError as problem:
        Console(stderr=True).print(f"convert u2net: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    typer.echo(json.dumps({"written": str(out), "parity": {name: float(f"{value:.3g}") for name, value in differences.items()}}))


def _size(text: str) -> tuple[int, int] | None:
    """Height and width as written. Raises ConversionError where it is written otherwise."""
    from export.errors import ConversionError

    if not text:
        return None
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found:
        raise ConversionError(f"--size-px {text!r}: not HEIGHTxWIDTH: write for example 320x320")
    return int(found[1]), int(found[2])
