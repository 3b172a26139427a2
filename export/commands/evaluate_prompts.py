"""`trichoscope-export evaluate prompts`: four ways to prompt a refiner, and what its masks and the ensembles are worth."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cv2
import typer
from rich.console import Console
from rich.progress import Progress

from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from runtime.analysis.learned import LearnedSegmenter
    from runtime.bundles.reader import Bundle


def prompts(
    data: Annotated[
        Path | None, typer.Argument(help="Folder with NAME.jpg or NAME.png beside NAME_mask.png (bright is hair); none with --rendered.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle, or part of one, whose refiner is asked; the factory's if none.")] = None,
    live: Annotated[
        Path | None,
        typer.Option(help="Bundle or part whose segmenter (or teacher, if it has none) prompts; else the bundle's own, or the factory's."),
    ] = None,
    rendered: Annotated[int, typer.Option(min=0, max=10_000, help="Rendered frames of each kind, of unseen seeds, in place of DATA.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with every frame's figures instead of a table.")] = False,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Computing threads.")] = 2,
) -> None:
    """Prompts of a refiner chosen in four ways (Table 5 of ScalpVision): F1, Jaccard, Dice of its mask and of two ensembles with ours."""
    from export.conversion.part import read_parts
    from export.errors import EvaluationError
    from export.evaluation import pairs as pairs_of
    from export.evaluation import prompt_ablation as ablation
    from export.evaluation.pairs import find_pairs
    from runtime.bundles.reader import FACTORY
    from runtime.refining.refiner import open_refiner

    console = Console(stderr=True)
    cv2.setNumThreads(threads)
    try:
        if (data is None) == (rendered == 0):
            raise EvaluationError("nothing, or two things, to compare over: name either a folder with pairs or --rendered with a number")
        read = read_parts(bundle or FACTORY)
        role = read.manifest.roles.refiner
        if role is None:
            raise EvaluationError(f"{bundle or FACTORY}: it has no refiner: name another bundle or part with --bundle")
        with ExitStack() as stack:
            refiner = open_refiner(read, threads=threads)
            stack.callback(refiner.close)
            if live is not None:
                read = read_parts(live)
            elif read.manifest.roles.segmenter is None:
                read = read_parts(FACTORY)
            segmenter = stack.enter_context(_segmenter(read, threads))
            pairs = [] if data is None else find_pairs(data)
            total = len(pairs) or rendered * len(pairs_of.KINDS)
            frames = pairs_of.rendered_frames(rendered) if data is None else pairs_of.paired_frames(pairs)
            bars = stack.enter_context(Progress(console=console))
            bar = bars.add_task("frames", total=total)
            found = ablation.ablate(frames, segmenter, refiner, role.threshold, advance=lambda: bars.advance(bar))
    except TrichoscopeError as problem:
        console.print(f"evaluate prompts: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    typer.echo(ablation.as_json(found) if as_json else ablation.markdown(found))


def _segmenter(bundle: Bundle, threads: int) -> LearnedSegmenter:
    """What gives the mask that prompts, as captures have it: the live network with the frame mirrored three ways as well."""
    from runtime.analysis.learned import LearnedSegmenter

    roles = bundle.manifest.roles
    if roles.segmenter is None and roles.teacher is not None:
        return LearnedSegmenter(bundle, role="teacher", threads=threads, flips=roles.teacher.flips)
    return LearnedSegmenter(bundle, threads=threads, flips=True)
