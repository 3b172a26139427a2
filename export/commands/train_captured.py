"""`trichoscope-export train teacher|refiner|student`: the networks of captured fields, and the live one that learns from them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from runtime.bundles.reader import FACTORY
from runtime.errors import TrichoscopeError

if TYPE_CHECKING:  # heavy, and wanted by these commands alone
    from export.training.recipe import TrainingRecipe
    from export.training.segmenter import SegmenterTraining

PART = "part"
SMOKE_FRAMES, FRAMES = 6, 60

Recipe = Annotated[str, typer.Option(help="cpu (two cores, ≤ 3 hours), gpu, or smoke (seconds: proves that it runs).")]
Out = Annotated[Path, typer.Option(help="Folder of the training: scenes, checkpoint, curves, and the part of a bundle.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint, with its recipe and seed.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Another seed is another training.")]
Steps = Annotated[int, typer.Option(min=0, help="Another number of steps than the recipe's; 0 keeps it.")]
Scenes = Annotated[int, typer.Option(min=0, help="Another number of rendered scenes than the recipe's; 0 keeps it.")]
Live = Annotated[Path, typer.Option(help="Bundle whose live network is begun with.")]


def teacher(
    recipe: Recipe = "cpu",
    out: Out = Path("training-teacher"),
    resume: Resume = False,
    seed: Seed = 1,
    steps: Steps = 0,
    scenes: Scenes = 0,
    live: Live = FACTORY,
) -> None:
    """Train the thick network that corrects the live one on captured fields, and write the part `teacher` of a bundle."""
    with _Command("teacher", out) as command:
        from export.conversion.part import write_part
        from export.conversion.teacher import teacher_part
        from export.training.teacher import RECIPES, TeacherTraining
        from runtime.bundles.reader import read_bundle

        chosen = command.chosen(RECIPES, recipe, resume=resume, steps=steps, scenes=scenes)
        bundle = read_bundle(live)
        training = TeacherTraining.resumed(out, live=live) if chosen is None else TeacherTraining(out, chosen, seed, live=live)
        command.run(training)
        part = teacher_part(out, bundle, per_kind=command.frames(training))
        write_part(out / PART, part)


def refiner(
    recipe: Recipe = "cpu",
    out: Out = Path("training-refiner"),
    resume: Resume = False,
    seed: Seed = 1,
    steps: Steps = 0,
    scenes: Scenes = 0,
    live: Live = FACTORY,
    teacher: Annotated[Path | None, typer.Option(help="Folder of a teacher's training, to begin with its weights.")] = None,
) -> None:
    """Train the small promptable refiner (picture and points to masks), decide on rendered frames whether it is used, write its part."""
    with _Command("refiner", out) as command:
        from export.conversion.part import read_parts, write_part
        from export.conversion.refiner import refiner_part
        from export.training.refiner import RECIPES, RefinerTraining
        from runtime.bundles.reader import read_bundle

        chosen = command.chosen(RECIPES, recipe, resume=resume, steps=steps, scenes=scenes)
        bundle = read_bundle(live)
        prompting = None if teacher is None else read_parts(teacher / PART)
        training = (
            RefinerTraining.resumed(out, live=live) if chosen is None else RefinerTraining(out, chosen, seed, live=live, teacher=teacher)
        )
        command.run(training)
        part = refiner_part(out, bundle, prompting, per_kind=max(2, command.frames(training) // 3))
        write_part(out / PART, part)


def student(
    recipe: Recipe = "cpu",
    out: Out = Path("training-student"),
    resume: Resume = False,
    seed: Seed = 1,
    steps: Steps = 0,
    scenes: Scenes = 0,
    live: Live = FACTORY,
    teacher: Annotated[Path | None, typer.Option(help="Part or bundle with the role `teacher`; without one, the truth alone.")] = None,
) -> None:
    """Let the live network learn on, with a teacher's soft masks beside the truth or without, and write its bundle."""
    with _Command("student", out) as command:
        from export.conversion.part import RolePart, write_part
        from export.conversion.segmenter import segmenter_part
        from export.training.distillation import RECIPES, DistillationTraining

        chosen = command.chosen(RECIPES, recipe, resume=resume, steps=steps, scenes=scenes)
        training = (
            DistillationTraining.resumed(out, live=live, teacher=teacher)
            if chosen is None
            else DistillationTraining(out, chosen, seed, live=live, teacher=teacher)
        )
        command.run(training)
        taught = "" if teacher is None else " --teacher TEACHER"
        role, content = segmenter_part(out, per_kind=command.frames(training), command=f"student --live BUNDLE{taught}", recipes=RECIPES)
        write_part(out / PART, RolePart("segmenter", role, content))


class _Command:
    """What the three share: set-up of the process, errors as one line, progress bars."""

    def __init__(self, name: str, out: Path) -> None:
        self.name, self.out = name, out
        self.console = Console(stderr=True)

    def __enter__(self) -> _Command:
        from export.training.process import set_up

        set_up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TrichoscopeError):
            self.console.print(f"train {self.name}: {error}", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error
        if error is None:
            typer.echo(f"{self.out / PART}")

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

    def run(self, training: SegmenterTraining) -> None:
        """All the steps of a training that remain, with progress bars."""
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
        self.console.print("converting, and measuring on rendered frames that the training never saw")

    def frames(self, training: SegmenterTraining) -> int:
        """How many frames of each kind it is measured on."""
        return SMOKE_FRAMES if training.recipe.name == "smoke" else FRAMES
