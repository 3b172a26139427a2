"""`trichoscope analyze`: pictures in, measurements out; one JSON object a line for machines, a table for people."""

from __future__ import annotations

import contextlib
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

from calib.field import FrameScale
from calib.scale import Scale
from runtime.analysis.diameters import CUTOFFS_UM
from runtime.analysis.measurement import CutoffProfile, Measurement
from runtime.analysis.pooled import Pooled
from runtime.analysis.pooling import pool, slim
from runtime.analysis.segmentation import Mask, Segmentation, Segmenter, given_mask
from runtime.commands.files import output_folder, write_atomically, write_png
from runtime.commands.graded import graded_table
from runtime.commands.pictures import MASK_ENDING, find_pictures, read_mask, read_picture
from runtime.commands.scales import scales_by_profile, scales_from
from runtime.commands.tables import as_csv, measurement_row, measurement_table, pooled_row, pooled_table
from runtime.config import Settings, load_settings
from runtime.errors import PictureError, TrichoscopeError
from runtime.intended_use.in_force import UseInForce, profile_in_force
from runtime.pipeline import analyse, scalp_of

if TYPE_CHECKING:
    from runtime.analysis.graders import Graders
    from runtime.analysis.instruments import Instruments

FILE_COLUMNS = 1000  # of a table that goes to no terminal; it is as wide as its content
THREADS = 2  # of the network
CLASSICAL = "classical/"  # how the name of the classical mask begins

ScaleOf = Callable[[Path, NDArray[np.uint8]], Scale | FrameScale]  # of a picture, by its file and its pixels


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
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="PROFILE.json",
            help="Calibration profile of the microscope: it gives each picture its scale, with its uncertainty.",
            show_default=False,
        ),
    ] = None,
    distance_mm: Annotated[
        float | None,
        typer.Option(metavar="D", help="With --calibration: the distance at which the pictures were taken, mm.", show_default=False),
    ] = None,
    distance_std_mm: Annotated[
        float | None,
        typer.Option(metavar="S", min=0, help="Standard uncertainty of --distance-mm.", show_default=False),
    ] = None,
    segmenter: Annotated[
        Literal["learned", "classical"],
        typer.Option(help="What finds hair: the network of a bundle, or the classical mask, which needs none."),
    ] = "learned",
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Bundle to use instead of the one that serves here.", show_default=False),
    ] = None,
    use_masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Take NAME_mask.png from here instead of segmenting.", show_default=False),
    ] = None,
    cutoff: Annotated[
        CutoffProfile,
        typer.Option(
            help="What parts terminal from vellus hair: " + ", ".join(f"{name} {um:g} µm" for name, um in CUTOFFS_UM.items()) + "."
        ),
    ] = "trichoscopy",
    pooled: Annotated[
        bool,
        typer.Option(
            "--pool",
            help="Also pool the pictures of each folder, as fields of one site, with 95 % intervals: "
            'a table for each, with --json a line of schema "trichoscope/pooled/1" after the pictures.',
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout, nothing else.")] = False,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE.csv",
            help="Also write a row a picture here, and with --pool a row a folder in FILE_pooled.csv.",
            show_default=False,
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write NAME_mask.png here, 255 where hair is.", show_default=False),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write NAME_overlay.png here, the hairs, and NAME_scalp.png, flakes, shine and redness.", show_default=False
        ),
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
        scale_of = _scales(um_per_px, calibration, distance_mm, distance_std_mm, complain)
        out_masks, out_overlay = (output_folder(folder) if folder else None for folder in (masks, overlay))
        if use_masks and not use_masks.is_dir():
            raise TrichoscopeError(f"{use_masks}: no such folder of masks: name the folder that holds the NAME_mask.png files")
        if bundle and (use_masks or segmenter == "classical"):
            other = "--use-masks" if use_masks else "--segmenter classical"
            raise TrichoscopeError(f"--bundle {bundle}: there is no use for it with {other}: leave one of them out")
        settings = load_settings()
        use = profile_in_force(settings.use, settings.store.folder)
        instruments = _instruments(settings, use, "masks" if use_masks and segmenter == "learned" else segmenter, bundle, complain)
        hair_from = use_masks or instruments.segmenter
    except TrichoscopeError as error:
        complain(str(error))
        raise typer.Exit(2) from error

    pictures, complaints = find_pictures(paths)
    for complaint in complaints:
        complain(complaint)
        failed += 1
    one = _Batch(scale_of, hair_from, instruments.graders, out_masks, out_overlay, cutoff)
    measured: list[Measurement] = []
    sites: dict[Path, list[Measurement]] = {}  # by folder, whatever way its name was written
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = len(pictures) < 2 or not messages.is_terminal
    with contextlib.closing(instruments), Progress(*columns, console=messages, transient=True, disable=quiet) as progress:
        task = progress.add_task("measuring", total=len(pictures))
        for picture in pictures:
            try:
                result = one.measure(picture)
            except TrichoscopeError as error:
                complain(str(error))
                failed += 1
            else:
                # that the classical mask stood in is told at the end, once for all pictures
                if result.segmentation.passed_over is not None and not result.models["segmenter"].startswith(CLASSICAL):
                    complain(f"{picture}: measured on the {result.segmentation.mask} mask: {result.segmentation.passed_over}")
                if as_json:
                    _print_line(result.to_json())
                if csv_file or not as_json:
                    measured.append(result.model_copy(update={"hairs": []}))
                if pooled:
                    sites.setdefault(picture.parent.resolve(), []).append(slim(result))
            progress.advance(task)
    pools = [pool(str(Path(fields[0].image).parent), fields) for fields in sites.values()]
    if as_json:
        for each in pools:
            _print_line(each.to_json())
    if csv_file:
        try:
            _write_tables(csv_file, measured, pools if pooled else None)
        except TrichoscopeError as error:
            complain(str(error))
            failed += 1
    if not as_json and measured:
        # into a file or pipe nothing is folded: names must stay whole to be found
        console = Console(width=None if sys.stdout.isatty() else FILE_COLUMNS)
        console.print(measurement_table(measured))
        if (graded := graded_table(measured, use)) is not None:
            console.print()
            console.print(graded)
        for each in pools:
            console.print()
            console.print(pooled_table(each))
    if failed:
        raise typer.Exit(1)


def _scales(
    um_per_px: str | None,
    calibration: Path | None,
    distance_mm: float | None,
    distance_std_mm: float | None,
    complain: Callable[[str], None],
) -> ScaleOf:
    """What gives each picture its scale. Raises TrichoscopeError where the options do not go together or name something unusable."""
    if calibration is not None:
        if um_per_px is not None:
            raise TrichoscopeError("--calibration and --um-per-px both give a scale: leave one of them out")
        if distance_std_mm is not None and distance_mm is None:
            raise TrichoscopeError("--distance-std-mm belongs to --distance-mm: give both, or neither")
        return scales_by_profile(calibration, distance_mm, distance_std_mm, complain)
    if distance_mm is not None or distance_std_mm is not None:
        raise TrichoscopeError("--distance-mm says nothing without a profile: give --calibration PROFILE.json too")
    stated = scales_from(um_per_px, complain)
    return lambda path, _image: stated(path)


def _write_tables(path: Path, measured: list[Measurement], pools: list[Pooled] | None) -> None:
    write_atomically(path, as_csv([measurement_row(m) for m in measured]).encode())
    if pools is not None:
        write_atomically(path.with_name(f"{path.stem}_pooled{path.suffix}"), as_csv([pooled_row(p) for p in pools]).encode())


def _instruments(
    settings: Settings,
    use: UseInForce,
    hair_from: Literal["learned", "classical", "masks"],
    bundle: Path | None,
    complain: Callable[[str], None],
) -> Instruments:
    """What finds hair and grades, as for captures. Raises BundleError where the bundle that was named cannot be used."""
    from runtime.commands.instruments import instruments_asked_for
    from runtime.logs import log_to_stderr

    log_to_stderr(logging.WARNING)  # a network that fails on a picture is told there
    return instruments_asked_for(settings, use, hair_from, bundle, complain, threads=THREADS)


class _Batch:
    """What all pictures of one call share: what their hair is found by, the folders, and which output names are taken."""

    def __init__(
        self,
        scale_of: ScaleOf,
        hair_from: Segmenter | Path,
        graders: Graders,
        masks: Path | None,
        overlay: Path | None,
        cutoff: CutoffProfile,
    ) -> None:
        """Store the arguments. `hair_from` is a segmenter, or the folder of masks to use."""
        self._scale_of, self._hair_from, self._masks, self._overlay = scale_of, hair_from, masks, overlay
        self._cutoff, self._graders = cutoff, graders
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
        scale = self._scale_of(path, image)
        result = analyse(image, name=str(path), segmentation=found, scale=scale, paper=True, cutoff=self._cutoff, graders=self._graders)
        if self._masks:
            write_png(self._masks / f"{path.stem}{MASK_ENDING}.png", found.mask.astype(np.uint8) * 255)
        if self._overlay:
            from runtime.analysis.overlay import draw_overlay  # fonts are loaded only where pictures are drawn
            from runtime.analysis.scalp.maps import draw_scalp

            write_png(self._overlay / f"{path.stem}_overlay.png", draw_overlay(image, result))
            found = found.found if isinstance(found, _Kept) else found
            indices, maps = scalp_of(image, found, FrameScale(scale) if isinstance(scale, Scale) else scale)
            write_png(self._overlay / f"{path.stem}_scalp.png", draw_scalp(image, maps, indices))
        self._written[path.stem] = path
        return result


class _Kept:
    """A segmenter for one picture that keeps what it found, for the files that are written beside the measurement."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.found: Segmentation

    @property
    def name(self) -> str:
        return self._segmenter.name

    @property
    def mask(self) -> Mask:
        return self.found.mask

    def segment(self, image: NDArray[np.uint8]) -> Segmentation:
        self.found = self._segmenter.segment(image)
        return self.found


def _print_line(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
