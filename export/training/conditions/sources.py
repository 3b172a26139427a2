"""What a training of the conditions network learns from and what it is validated on: rendered scalps, or a labelled data set.

Generated pictures join what is learnt from, and only that.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.datasets.aihub import load_aihub, split
from export.datasets.generated import load_generated
from export.errors import TrainingError
from export.networks.scalp_net import SIZES
from export.training.cache import make_folder
from export.training.checkpoint import write_atomically
from export.training.conditions.recipe import ConditionsRecipe
from export.training.conditions.samples import Source, read_source
from export.training.conditions.scenes import graded_frames, render_graded_scenes
from export.training.conditions.training import Validation
from runtime.bundles.parts import PictureInput
from runtime.inference.pictures import picture_tensor

SCENES, VALIDATION = "scenes", "validation.npz"
VALIDATION_SEED = 910_001
MAX_VALIDATION_BYTES = 2 * 1024**3


@dataclass(frozen=True, eq=False)
class Gathered:
    """Sources, validation, and what there is to say about the data, a line each."""

    sources: tuple[Source, ...]
    validation: Validation
    notes: tuple[str, ...]


def gather(
    folder: Path,
    recipe: ConditionsRecipe,
    seed: int,
    *,
    data: Path | None = None,
    generated: Path | None = None,
    strict: bool = False,
    advance: Callable[[int], None] = lambda done: None,
) -> Gathered:
    """What the training in `folder` learns from: the AI-Hub layout `data`, or rendered scenes where None; and `generated` pictures.

    `advance` is told how many more scenes or frames are rendered.

    Raises:
        TrainingError: scenes cannot be rendered or kept.
        DataError: a data set cannot be used, or something is wrong with it and the user asked for strictness.
    """
    make_folder(folder)
    notes: list[str] = []
    if data is None:
        workers = max(1, recipe.workers + 1)
        scenes = render_graded_scenes(folder / SCENES, recipe.scenes, seed, workers=workers, advance=advance)
        sources = [Source(path, grades, "rendered") for path, grades in scenes]
        validation = _rendered_validation(folder, recipe, advance)
    else:
        pictures, problems = load_aihub(data, strict=strict)
        parts = split(pictures, seed)
        notes += [f"{data}: {line}" for line in problems.lines()]
        notes.append(
            f"{data}: {len(parts.training)} to learn from, {len(parts.validation)} to validate, {len(parts.test)} kept for the test"
        )
        sources = [Source(p.path, p.grades, "labelled") for p in parts.training]
        shown = [Source(p.path, p.grades, "labelled") for p in parts.validation]
        validation = Validation(
            np.concatenate([picture_tensor(read_source(source), _spec(recipe)) for source in shown]),
            np.array([source.grades for source in shown], np.int64),
        )
    if generated is not None:
        more, problems = load_generated(generated, strict=strict)
        notes += [f"{generated}: {line}" for line in problems.lines()]
        notes.append(f"{generated}: {len(more)} generated pictures to learn from beside {len(sources)} others")
        sources += [Source(path, grades, "generated") for path, grades in more]
    return Gathered(tuple(sources), validation, tuple(notes))


def _spec(recipe: ConditionsRecipe) -> PictureInput:
    height, width = SIZES[recipe.backbone]
    return PictureInput(name="picture", width=width, height=height)


def _rendered_validation(folder: Path, recipe: ConditionsRecipe, advance: Callable[[int], None]) -> Validation:
    """Whole frames of unseen scalps, rendered once for a folder."""
    path = folder / VALIDATION
    spec = _spec(recipe)
    kept = _kept(path, (recipe.validation, spec.height, spec.width, 3))
    if kept is not None:
        advance(recipe.validation)
        return kept
    pictures, grades = [], []
    for frame, truth in graded_frames(recipe.validation, VALIDATION_SEED):
        pictures.append(picture_tensor(frame, spec))
        grades.append(truth)
        advance(1)
    made = Validation(np.concatenate(pictures), np.array(grades, np.int64))
    content = io.BytesIO()
    np.savez(content, pictures=made.pictures, grades=made.grades)
    write_atomically(path, content.getvalue())
    return made


def _kept(path: Path, shape: tuple[int, ...]) -> Validation | None:
    """The frames of an earlier start; None where there are none, or others than wanted."""
    try:
        if path.stat().st_size > MAX_VALIDATION_BYTES:
            raise TrainingError(f"{path}: larger than any validation: delete the file, it is made again")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:  # of a damaged file NumPy would leave open its own
            pictures, grades = kept["pictures"], kept["grades"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    whole = pictures.shape == shape and pictures.dtype == np.uint8 and grades.shape == (shape[0], 3) and grades.dtype == np.int64
    return Validation(pictures, grades) if whole and grades.min() >= 0 and grades.max() <= 3 else None
