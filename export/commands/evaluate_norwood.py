"""`trichoscope-export evaluate norwood`: a training's or a bundle's staging on rendered heads, or on a labelled set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from export.training.norwood.heads import Heads

RENDER_PX = 128


def norwood(
    training: Annotated[Path | None, typer.Argument(help="Folder of a training, or a part of a bundle.", show_default=False)] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Instead, a bundle whose staging is measured; the factory's where nothing is named.", show_default=False),
    ] = None,
    persons: Annotated[int, typer.Option(min=7, max=100_000, help="How many rendered heads.")] = 700,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Other heads; 0 are those of the card's figures.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option(help="A labelled set, a folder a person with annotation.json, in place of rendered heads.", show_default=False),
    ] = None,
    part: Annotated[str, typer.Option(help="Of --data: test (by the split of --seed), or all.")] = "test",
    strict: Annotated[bool, typer.Option("--strict", help="Refuse data with any fault instead of skipping what is faulty.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Write the confusion matrices as PNG.", show_default=False)] = None,
) -> None:
    """Quadratic kappa, exact and adjacent grades with five to one view, beside the majority class."""
    from export.conversion.part import is_part, read_part
    from export.errors import EvaluationError
    from export.evaluation import norwood as figures
    from runtime.bundles.reader import FACTORY, read_bundle
    from runtime.bundles.roles import StageRole
    from runtime.inference.onnx import OnnxBackend

    console = Console(stderr=True)
    try:
        if training is not None and bundle is not None:
            raise EvaluationError("a training and a --bundle are named: leave one of them out")
        role: Any
        if training is not None:
            found = read_part(training if is_part(training) else training / "part")
            role, content, name = found.role, found.content, str(training)
        else:
            opened = read_bundle(bundle or FACTORY)
            role, content, name = opened.manifest.roles.stage, opened.content, opened.id
        if not isinstance(role, StageRole):
            raise EvaluationError(f"{name}: it has no role `stage`: name a bundle or a training that has")
        from export.conversion.norwood import onnx_stager

        with Progress(console=console) as bars:
            heads, about = _labelled(data, part, seed, strict, console) if data is not None else _rendered(persons, seed, bars)
            bar = bars.add_task("staging", total=int(sum((heads.present.sum(axis=1) >= count).sum() for count in range(1, 6))))
            with OnnxBackend(content[role.model], name=name) as backend:
                stager = onnx_stager(backend, role.picture)
                scores = figures.evaluate(stager, heads, seed=about["seed"], advance=lambda n: bars.advance(bar, n))
        if picture is not None:
            figures.write_confusion(picture, scores, about["on"])
    except TrichoscopeError as problem:
        console.print(f"evaluate norwood: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    typer.echo(figures.as_json(name, scores, about) if as_json else figures.markdown(scores))


def _rendered(persons: int, seed: int, bars: Progress) -> tuple[Heads, dict[str, Any]]:
    from export.conversion.norwood import TEST_SEED
    from export.training.norwood.heads import TEST, rendered_heads

    bar = bars.add_task("heads", total=persons)
    heads = rendered_heads(None, persons, TEST_SEED + seed, TEST, RENDER_PX, workers=2, advance=lambda n: bars.advance(bar, n))
    return heads, {"on": f"{persons} rendered heads that no training saw", "seed": TEST_SEED + seed}


def _labelled(folder: Path, part: str, seed: int, strict: bool, console: Console) -> tuple[Heads, dict[str, Any]]:
    """The persons of a set, and what was wrong with it.

    Raises:
        DataError, EvaluationError: the set cannot be used, or `part` is none.
    """
    from export.datasets.norwood import load, read_set, split
    from export.errors import EvaluationError

    if part not in ("test", "all"):
        raise EvaluationError(f"--part {part}: choose test or all")
    persons, problems = read_set(folder, strict=strict)
    chosen = persons if part == "all" else split(persons, seed)["test"]
    heads, unreadable = load(chosen, RENDER_PX, strict=strict)
    for line in (*problems.lines(), *unreadable.lines()):
        console.print(f"{folder}: {line}", markup=False, highlight=False, soft_wrap=True)
    return heads, {"on": f"{len(heads)} persons of a labelled set", "seed": seed, "problems": {**problems.count, **unreadable.count}}
