"""`trichoscope-export train u2net`: U²-Net or U²-Netp on rendered scenes, the segmenter of the published pipeline."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from export.commands.training_run import PART, TrainingCommand

ALONE = "u2net.onnx"


class Size(str, Enum):
    """Which of the two published networks."""

    small = "small"
    full = "full"


def u2net(
    size: Annotated[Size, typer.Option(help="small: U²-Netp, 1.1 M parameters; full: U²-Net, 44.0 M.")] = Size.small,
    recipe: Annotated[str, typer.Option(help="cpu (an hour: proves the code), gpu (the real one), or smoke (seconds).")] = "cpu",
    out: Annotated[Path, typer.Option(help="Folder of the training: scenes, checkpoint, curves, part of a bundle.")] = Path(
        "u2net-training"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint, with its recipe, size and seed.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Another seed is another training.")] = 1,
    steps: Annotated[int, typer.Option(min=0, help="Another number of steps than the recipe's; 0 keeps it.")] = 0,
    per_kind: Annotated[
        int, typer.Option(min=0, max=1000, help="Rendered frames of each kind to fit to, and as many to test on; 0: the usual number.")
    ] = 0,
) -> None:
    """Train U²-Net and write it as a teacher; where it is too large for a bundle, as a network alone."""
    with TrainingCommand("u2net", out) as command:
        from export.training.u2net import RECIPES, U2NetTraining, recipe_for

        sized = {name: recipe_for(name, "full" if size is Size.full else "small") for name in RECIPES}
        chosen = command.chosen(sized, recipe, resume=resume, steps=steps, scenes=0)
        training = command.training(U2NetTraining, chosen, seed)
        command.run(training, then="converting")
        told = _written(out, per_kind or (6 if training.recipe.name == "smoke" else 20), command.console)
    typer.echo(told)


def _written(out: Path, per_kind: int, console: Console) -> str:
    """Convert the training in `out`; where its network is, and what it was measured at, as a line.

    Raises:
        TrainingError, ConversionError: it cannot be converted.
    """
    from export.conversion.part import write_part
    from export.conversion.u2net import check_fits_bundle, trained_part, trained_u2net, u2net_onnx, u2net_parity
    from export.errors import ConversionError
    from export.training.checkpoint import write_atomically

    network, _ = trained_u2net(out)
    try:
        check_fits_bundle(network.size)
    except ConversionError as problem:
        console.print(f"written as {ALONE}, and no part of a bundle: {problem}", markup=False, highlight=False, soft_wrap=True)
        model = u2net_onnx(network)
        u2net_parity(network, model)
        write_atomically(out / ALONE, model)
        return f"{out / ALONE}: {len(model) / 1e6:.0f} MB"
    console.print("measuring on rendered frames that the training never saw")
    part = trained_part(out, per_kind=per_kind)
    write_part(out / PART, part)
    dice = ", ".join(f"{name.removeprefix('dice_')} {value:.3f}" for name, value in part.role.metrics.items() if name.startswith("dice_"))
    return f"{out / PART}: Dice {dice}"
