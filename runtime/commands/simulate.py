"""`trichoscope simulate`: pictures from the simulated microscope with their exact truth, and a handpiece (in `simulated_handpiece.py`)."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from device.errors import DeviceError
from device.reel import read_scales
from device.simulated.recipe import KINDS
from device.simulated.scene import MAX_PIXELS, MIN_SIDE, RenderedFrame, render_frame
from runtime.commands.files import output_folder, write_atomically, write_png
from runtime.commands.simulated_handpiece import handpiece
from runtime.errors import TrichoscopeError

SCALES = "scales.csv"

app = typer.Typer(no_args_is_help=True, help="Pictures from the simulated microscope; a simulated handpiece.")


app.command()(handpiece)


@app.callback()
def simulate() -> None:
    """Pictures from the simulated microscope; a simulated handpiece."""


@app.command()
def frames(
    n: Annotated[int, typer.Option("--n", min=1, max=1_000_000, help="How many frames.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to; made where it is missing.")],
    kind: Annotated[str, typer.Option(help=f"How difficult: {', '.join(KINDS)}.")] = "easy",
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the frames in px.")] = "640x480",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the first frame; the others follow it.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace files of the same names.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A summary as one JSON object on stdout.")] = False,
) -> None:
    """Write rendered frames: NAME.jpg, NAME_mask.png (255 where hair is seen), NAME.json (the truth), and scales.csv for all of them.

    A frame's picture is written last: where there is a NAME.jpg, its truth and mask are whole.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        width, height = parse_size(size)
        if kind not in KINDS:
            raise TrichoscopeError(f"--kind {kind}: no such kind of scene: choose {', '.join(KINDS)}")
        folder = output_folder(out)
        names = [f"{kind}_{seed + i:06d}" for i in range(n)]
        if not force:
            refuse_to_replace(folder, names)
        scales = kept_scales(folder, force)
        hairs = follicles = 0
        columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        try:
            with Progress(*columns, console=console, disable=n < 2) as progress:
                task = progress.add_task("frames", total=n)
                for i, name in enumerate(names):
                    frame = render_frame(seed + i, width=width, height=height, kind=next(k for k in KINDS if k == kind))
                    write_frame(folder, name, frame)
                    scales[f"{name}.jpg"] = frame.um_per_px
                    hairs += len(frame.truth.counted)
                    follicles += sum(f.hairs_counted > 0 for f in frame.truth.follicles)
                    progress.advance(task)
        finally:
            # also after Ctrl-C or a full disk: the frames that are whole keep their scale
            write_scales(folder / SCALES, scales)
    except TrichoscopeError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(2) from error
    summary = {"frames": n, "folder": str(folder), "kind": kind, "width_px": width, "height_px": height, "first_seed": seed}
    if as_json:
        typer.echo(json.dumps(summary | {"hair_count": hairs, "follicle_count": follicles}))
    else:
        console.print(f"{n} frames of kind {kind} in {folder}: {hairs} hairs, {follicles} follicles with hair", markup=False)


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) in px from "640x480". Raises TrichoscopeError where it is no size that can be rendered."""
    match = re.fullmatch(r"([0-9]{1,5})[x×]([0-9]{1,5})", text.strip())
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(width, height) < MIN_SIDE or width * height > MAX_PIXELS:
        raise TrichoscopeError(
            f"--size {text}: write WxH, for example 640x480; each side at least {MIN_SIDE} px, {MAX_PIXELS / 1e6:g} megapixels at most"
        )
    return width, height


def refuse_to_replace(folder: Path, names: list[str]) -> None:
    """Raise TrichoscopeError where the folder holds files of the frames to be written."""
    there = {entry.name for entry in folder.iterdir()}
    for name in names:
        for file in (f"{name}.jpg", f"{name}_mask.png", f"{name}.json"):
            if file in there:
                raise TrichoscopeError(f"{folder / file}: exists already: name another folder or --seed, or replace it with --force")


def kept_scales(folder: Path, force: bool) -> dict[str, float]:
    """The scales of frames that the folder holds already. Raises TrichoscopeError where its scales.csv is another table."""
    try:
        return read_scales(folder / SCALES)
    except (DeviceError, OSError) as error:
        if force:
            return {}
        raise TrichoscopeError(f"{error}: name another folder, or replace it with --force") from error


def write_frame(folder: Path, name: str, frame: RenderedFrame) -> None:
    """Mask, truth, and then the picture. Raises TrichoscopeError where the folder cannot be written to."""
    write_png(folder / f"{name}_mask.png", frame.mask.astype(np.uint8) * np.uint8(255))
    truth = frame.truth.to_json(f"{name}.jpg", f"{name}_mask.png")
    write_atomically(folder / f"{name}.json", json.dumps(truth, allow_nan=False).encode())
    write_atomically(folder / f"{name}.jpg", frame.jpeg)


def write_scales(path: Path, scales: dict[str, float]) -> None:
    """image,um_per_px, sorted by image. Raises TrichoscopeError where it cannot be written."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("image", "um_per_px"))
    table.writerows((name, f"{scales[name]:.4f}") for name in sorted(scales))
    write_atomically(path, text.getvalue().encode())
