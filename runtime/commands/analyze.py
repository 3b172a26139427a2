"""`trichoscope analyze`: pictures in, measurements out; one JSON object a line for machines, a table for people."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from calib.scale import Scale
from runtime.analysis.measurement import Measurement
from runtime.analysis.segmentation import Mask, Segmentation, Segmenter, given_mask
from runtime.commands.files import output_folder, write_atomically, write_png
from runtime.commands.pictures import MASK_ENDING, find_pictures, read_mask, read_picture
from runtime.commands.scales import scales_from
from runtime.errors import PictureError, TrichoscopeError
from runtime.pipeline import analyse

if TYPE_CHECKING:
    from runtime.analysis.fallback import FallingBackSegmenter

FILE_COLUMNS = 1000  # of a table that goes to no terminal; it is as wide as its content
THREADS = 2  # of the network


def analyze(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Pictures, or folders of them.", show_default=False)],
    um_per_px: Annotated[
        str | None,
        typer.Option(
            metavar="X|SCALES.csv",
            help="µm per pixel of all pictures, or a CSV file with the columns image,um_per_px.",
            show_default=False,
        ),
    ] = None,
    segmenter: Annotated[
        Literal["learned", "classical"],
        typer.Option(help="What finds hair: the network of a bundle, or the classical mask, which needs none."),
    ] = "learned",
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the bundle to use instead of the program's own.", show_default=False),
    ] = None,
    use_masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Take NAME_mask.png from here instead of segmenting.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout, nothing else.")] = False,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write a row a picture here.", show_default=False)
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write NAME_mask.png here, 255 where hair is.", show_default=False),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write NAME_overlay.png here: the picture with what was found.", show_default=False),
    ] = None,
) -> None:
    """Measure the hair in pictures.

    A picture that cannot be measured gives one line on stderr and exit code 1 at the end; the others still come out.
    """
    messages = Console(stderr=True, soft_wrap=True, highlight=False)
    failed = 0

    def complain(message: str) -> None:
        messages.print(message, markup=False)

    try:
        scale_of = scales_from(um_per_px, complain)
        out_masks, out_overlay = (output_folder(folder) if folder else None for folder in (masks, overlay))
        if use_masks and not use_masks.is_dir():
            raise TrichoscopeError(f"{use_masks}: no such folder of masks: name the folder that holds the NAME_mask.png files")
        if bundle and (use_masks or segmenter == "classical"):
            other = "--use-masks" if use_masks else "--segmenter classical"
            raise TrichoscopeError(f"--bundle {bundle}: there is no use for it with {other}: leave one of them out")
        hair_from = use_masks or _segmenter(segmenter, bundle, complain)
    except TrichoscopeError as error:
        complain(str(error))
        raise typer.Exit(2) from error

    pictures, complaints = find_pictures(paths)
    for complaint in complaints:
        complain(complaint)
        failed += 1
    one = _Batch(scale_of, hair_from, out_masks, out_overlay)
    measured: list[Measurement] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    closing = contextlib.nullcontext() if isinstance(hair_from, Path) else hair_from
    quiet = len(pictures) < 2 or not messages.is_terminal
    with closing, Progress(*columns, console=messages, transient=True, disable=quiet) as progress:
        task = progress.add_task("measuring", total=len(pictures))
        for picture in pictures:
            try:
                result = one.measure(picture)
            except TrichoscopeError as error:
                complain(str(error))
                failed += 1
            else:
                if as_json:
                    _print_line(result.to_json())
                if csv_file or not as_json:
                    measured.append(result.model_copy(update={"hairs": []}))
            progress.advance(task)
    if csv_file:
        try:
            write_atomically(csv_file, _as_csv(measured).encode())
        except TrichoscopeError as error:
            complain(str(error))
            failed += 1
    if not as_json and measured:
        # into a file or pipe nothing is folded: names must stay whole to be found
        Console(width=None if sys.stdout.isatty() else FILE_COLUMNS).print(_as_table(measured))
    if failed:
        raise typer.Exit(1)


def _segmenter(kind: Literal["learned", "classical"], bundle: Path | None, complain: Callable[[str], None]) -> FallingBackSegmenter:
    """What finds hair, as for captures. Raises BundleError where the bundle that was named cannot be used."""
    from runtime.analysis.segmenters import segmenter_asked_for  # brings ONNX Runtime
    from runtime.logs import log_to_stderr

    log_to_stderr(logging.WARNING)  # a network that fails on a picture is told there
    made = segmenter_asked_for(kind, bundle, threads=THREADS, flips=True)
    if made.problem is not None:
        complain(made.problem)
    return made


class _Batch:
    """What all pictures of one call share: what their hair is found by, the folders, and which output names are taken."""

    def __init__(self, scale_of: Callable[[Path], Scale], hair_from: Segmenter | Path, masks: Path | None, overlay: Path | None) -> None:
        """Store the arguments. `hair_from` is a segmenter, or the folder of masks to use."""
        self._scale_of, self._hair_from, self._masks, self._overlay = scale_of, hair_from, masks, overlay
        self._written: dict[str, Path] = {}

    def measure(self, path: Path) -> Measurement:
        """Read, measure and write what was asked for. Raises TrichoscopeError naming the picture and the remedy."""
        image = read_picture(path)
        if (self._masks or self._overlay) and (other := self._written.get(path.stem)) is not None:
            raise PictureError(f"{path}: {other} has the same stem, and their masks and overlays would overwrite each other: rename one")
        height, width = image.shape[:2]
        found: Segmentation | _Kept
        if isinstance(self._hair_from, Path):
            found = given_mask(read_mask(self._hair_from / f"{path.stem}{MASK_ENDING}.png", width, height))
        else:
            found = _Kept(self._hair_from)
        result = analyse(image, name=str(path), segmentation=found, scale=self._scale_of(path), paper=True)
        if self._masks:
            write_png(self._masks / f"{path.stem}{MASK_ENDING}.png", found.mask.astype(np.uint8) * 255)
        if self._overlay:
            from runtime.analysis.overlay import draw_overlay  # fonts are loaded only where pictures are drawn

            write_png(self._overlay / f"{path.stem}_overlay.png", draw_overlay(image, result))
        self._written[path.stem] = path
        return result


class _Kept:
    """A segmenter for one picture that keeps the mask, which is written to a file beside the measurement."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.mask: Mask

    @property
    def name(self) -> str:
        return self._segmenter.name

    def segment(self, image: NDArray[np.uint8]) -> Segmentation:
        found = self._segmenter.segment(image)
        self.mask = found.mask
        return found


def _print_line(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None


def _row(m: Measurement) -> dict[str, object]:
    """The figures of a picture, flat; None where a figure could not be had."""
    um, density, follicles, kinds = m.diameter_um, m.density_per_cm2, m.follicle_density_per_cm2, m.terminal_vellus
    paper = m.paper
    return {
        "image": m.image,
        "width_px": m.width_px,
        "height_px": m.height_px,
        "um_per_px": m.scale.um_per_px,
        "scale_source": m.scale.source,
        "hair_count": m.hair_count,
        "hair_count_std": m.hair_count_std,
        "rooted_hair_count": m.rooted_hair_count,
        "hair_count_in_frame": m.hair_count_in_frame,
        "follicle_count": m.follicle_count,
        "follicle_count_std": m.follicle_count_std,
        "area_cm2": m.area_cm2,
        "density_per_cm2": density and density.value,
        "density_std_frame": density and density.std_frame,
        "density_std_site": density and density.std_site,
        "density_rule": density and density.rule,
        "follicle_density_per_cm2": follicles and follicles.value,
        "diameter_px_median": m.diameter_px.median,
        "diameter_um_n": um and um.n,
        "diameter_um_mean": um and um.mean,
        "diameter_um_median": um and um.median,
        "diameter_um_sd": um and um.sd,
        "terminal": kinds and kinds.terminal,
        "vellus": kinds and kinds.vellus,
        "paper_thickness_n": paper and paper.thickness_px.n,
        "paper_thickness_mean_px": paper and paper.thickness_px.mean,
        "paper_thickness_median_px": paper and paper.thickness_px.median,
        "paper_thickness_mean_iqr_px": paper and paper.thickness_px.mean_iqr,
        "paper_thickness_median_iqr_px": paper and paper.thickness_px.median_iqr,
        "paper_line_count": paper and paper.line_count,
        "quality_ok": m.quality.ok,
        "quality_reasons": "; ".join(m.quality.reasons),
        "reliability": m.segmentation.reliability,
        "total_ms": m.timing_ms["total"],
    }


def _as_csv(measured: list[Measurement]) -> str:
    text = io.StringIO(newline="")
    rows = [_row(m) for m in measured]
    if rows:
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def _as_table(measured: list[Measurement]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("picture", overflow="fold")
    for title in ("hairs", "follicles", "hairs/cm²", "diameter (median)", "terminal", "quality"):
        table.add_column(title, justify="left" if title == "quality" else "right")
    for m in measured:
        density, um, kinds = m.density_per_cm2, m.diameter_um, m.terminal_vellus
        known = kinds.terminal + kinds.vellus if kinds else 0
        table.add_row(
            m.image,
            f"{m.hair_count} ± {m.hair_count_std:.0f}",
            f"{m.follicle_count} ± {m.follicle_count_std:.0f}",
            "—" if density is None else f"{density.value:.0f}" + ("" if density.std_site is None else f" ± {density.std_site:.0f}"),
            _length(um.median, "µm") if um else _length(m.diameter_px.median, "px"),
            f"{kinds.terminal / known:.0%}" if kinds and known else "—",
            "good" if m.quality.ok else ", ".join(m.quality.reasons),
        )
    return table


def _length(value: float | None, unit: str) -> str:
    return "—" if value is None else f"{value:.1f} {unit}"
