"""`trichoscope-export train teacher|refiner|student`: the networks of captured fields, and the live one that learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from export.commands.training_run import PART, TrainingCommand
from runtime.bundles.reader import FACTORY

if TYPE_CHECKING:  # heavy, and wanted by these commands alone
    from export.training.segmenter import SegmenterTraining

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
    with TrainingCommand("teacher", out) as command:
        from export.conversion.part import write_part
        from export.conversion.teacher import teacher_part
        from export.training.sources import network_sha256
        from export.training.teacher import RECIPES, TeacherTraining
        from runtime.bundles.reader import read_bundle

        chosen = command.chosen(RECIPES, recipe, resume=resume, steps=steps, scenes=scenes)
        bundle = read_bundle(live)
        sources = {"live": network_sha256(live, "segmenter")}
        training = command.training(TeacherTraining, chosen, seed, sources=sources, live=live)
        command.run(training)
        part = teacher_part(out, bundle, per_kind=_frames(training))
        write_part(out / PART, part)
    typer.echo(f"{out / PART}")


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
    with TrainingCommand("refiner", out) as command:
        from export.conversion.part import read_parts, write_part
        from export.conversion.refiner import refiner_part
        from export.training.refiner import RECIPES, RefinerTraining
        from export.training.sources import network_sha256
        from runtime.bundles.reader import read_bundle

        chosen = command.chosen(RECIPES, recipe, resume=resume, steps=steps, scenes=scenes)
        bundle = read_bundle(live)
        prompting = None if teacher is None else read_parts(teacher / PART)
        sources = {"live": network_sha256(live, "segmenter")}
        if teacher is not None:
            sources["teacher"] = network_sha256(teacher / PART, "teacher")
        training = command.training(RefinerTraining, chosen, seed, sources=sources, live=live, teacher=teacher)
        command.run(training)
        part = refiner_part(out, bundle, prompting, per_kind=max(2, _frames(training) // 3))
        write_part(out / PART, part)
    typer.echo(f"{out / PART}")


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
    with TrainingCommand("student", out) as command:
        from export.conversion.part import RolePart, write_part
        from export.conversion.segmenter import segmenter_part
        from export.training.distillation import RECIPES, DistillationTraining
        from export.training.sources import network_sha256

        chosen = command.chosen(RECIPES, recipe, resume=resume, steps=steps, scenes=scenes)
        sources = {"live": network_sha256(live, "segmenter")}
        if teacher is not None:
            sources["teacher"] = network_sha256(teacher, "teacher")
        training = command.training(DistillationTraining, chosen, seed, sources=sources, live=live, teacher=teacher)
        command.run(training)
        taught = "" if teacher is None else " --teacher TEACHER"
        role, content = segmenter_part(out, per_kind=_frames(training), command=f"student --live BUNDLE{taught}", recipes=RECIPES)
        write_part(out / PART, RolePart("segmenter", role, content))
    typer.echo(f"{out / PART}")


def _frames(training: SegmenterTraining) -> int:
    """How many frames of each kind a training is measured on."""
    return SMOKE_FRAMES if training.recipe.name == "smoke" else FRAMES
