"""How `trichoscope-export train` runs a training of a network that finds hair: its process, its progress, its errors."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typing_extensions import Self  # typing.Self needs 3.11

from runtime.errors import TrichoscopeError

if TYPE_CHECKING:  # heavy, and wanted by these commands alone
    from export.training.recipe import TrainingRecipe
    from export.training.segmenter import SegmenterTraining

PART = "part"
Training = TypeVar("Training", bound="SegmenterTraining")


class TrainingCommand:
    """A command that trains a network that finds hair: set-up of its process, errors as one line, progress bars.

    Args:
        name: of the command, for its errors.
        out: the training's folder.
    """

    def __init__(self, name: str, out: Path) -> None:
        self.name, self.out = name, out
        self.console = Console(stderr=True)

    def __enter__(self) -> Self:
        from export.training.process import set_up

        set_up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TrichoscopeError):
            self.console.print(f"train {self.name}: {error}", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error

    def chosen(self, recipes: Mapping[str, TrainingRecipe], name: str, *, resume: bool, steps: int, scenes: int) -> TrainingRecipe | None:
        """The recipe of a new training, None where one goes on.

        Raises:
            TrainingError: no such recipe, or a training is in the folder already.
        """
        from export.conversion.part import check_part_target
        from export.errors import TrainingError
        from export.training.checkpoint import NAME

        check_part_target(self.out / PART)
        if resume:
            return None
        if name not in recipes:
            raise TrainingError(f"{name!r} is no recipe: choose {', '.join(recipes)}")
        if (self.out / NAME).exists():
            raise TrainingError(f"{self.out / NAME}: a training is here already: --resume it, or name another folder with --out")
        usual = recipes[name]
        return dataclasses.replace(usual, steps=steps or usual.steps, scenes=scenes or usual.scenes)

    def training(
        self, kind: type[Training], chosen: TrainingRecipe | None, seed: int, *, sources: Mapping[str, str] | None = None, **more: Any
    ) -> Training:
        """A new training by the recipe, on the device that it is for; the folder's where None, with its own recipe and seed.

        Args:
            sources: SHA-256 of the networks that it learns from, by the option that names each; one that goes on must have begun with them.
            more: what trainings of this kind take beside.

        Raises:
            TrainingError: no checkpoint to go on from, a damaged one, or one that began with other networks.
        """
        from export.training.segmenter import device_for

        if chosen is None:
            return kind.resumed(self.out, sources=sources, **more)
        training = kind(self.out, chosen, seed, device=device_for(chosen), **more)
        training.sources = dict(sources or {})
        return training

    def run(
        self, training: SegmenterTraining, *, then: str = "converting, and measuring on rendered frames that the training never saw"
    ) -> None:
        """All the steps of a training that remain, with progress bars; `then` tells what comes after them."""
        import torch

        from export.training.segmenter import Watcher

        torch.set_num_threads(max(1, os.cpu_count() or 2))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console) as bars:
            scenes = bars.add_task("scenes", total=training.recipe.scenes, note="")
            done = bars.add_task("steps", total=training.recipe.steps, completed=training.progress.step, note="")
            training.run(
                Watcher(
                    scenes=lambda n: bars.advance(scenes, n),
                    step=lambda step, loss: bars.update(done, completed=step, note=f"loss {loss:.3f}"),
                    validated=lambda step, dice: self.console.print(
                        f"step {step}: Dice " + ", ".join(f"{k} {v:.3f}" for k, v in dice.items())
                    ),
                )
            )
        self.console.print(then)
