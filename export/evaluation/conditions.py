"""A bundle's conditions network over pictures whose grades are known: rendered frames, or a folder in AI-Hub's layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.recipe import Kind
from device.simulated.scene import render_frame
from export.datasets.aihub import load_aihub, split
from export.datasets.problems import Problems
from export.errors import EvaluationError
from export.evaluation.grades import ConditionScore, markdown, mean_macro_f1, score_conditions
from export.training.conditions.scenes import graded_frames
from runtime.bundles.reader import Bundle
from runtime.commands.pictures import read_picture
from runtime.inference.onnx import OnnxBackend
from runtime.inference.pictures import picture_tensor

Graded = tuple[NDArray[np.uint8], tuple[int, int, int]]
Part = Literal["test", "all"]
RENDERED_SEED = 910_004
MAX_MEGAPIXELS = 24.0


def rendered(count: int, seed: int = RENDERED_SEED) -> Iterator[Graded]:
    """Rendered frames whose grades can be seen (`device.simulated.graded`), from seeds that no training draws."""
    return graded_frames(count, seed)


def plain(count: int, seed: int = RENDERED_SEED) -> Iterator[Graded]:
    """Rendered frames as any seed draws them, realistic and hard in turn; their grades only shift averages, and many cannot be seen."""
    rng = np.random.default_rng([seed, 41])
    for index in range(count):
        kind: Kind = ("realistic", "hard")[index % 2]
        frame = render_frame(2**31 + int(rng.integers(2**31)), kind=kind)
        yield frame.image, frame.truth.grades


def labelled(folder: Path, *, part: Part, seed: int, strict: bool) -> tuple[int, Iterator[Graded], Problems]:
    """How many pictures of AI-Hub's layout there are to look at, these pictures, and what was wrong with others.

    `part`: "test" takes those that a training of this `seed` neither learns from nor validates on.

    Raises:
        DataError: see `export.datasets.aihub`.
    """
    pictures, problems = load_aihub(folder, strict=strict)
    chosen = list(split(pictures, seed).test) if part == "test" else pictures
    return len(chosen), ((read_picture(p.path, MAX_MEGAPIXELS), p.grades) for p in chosen), problems


def evaluate_conditions(
    bundle: Bundle, frames: Iterable[Graded], *, threads: int = 2, advance: Callable[[], None] = lambda: None
) -> tuple[ConditionScore, ...]:
    """The scores of a bundle's conditions network over `frames`, fed as the device feeds it.

    Raises:
        EvaluationError: the bundle has no such network, it answers other shapes than promised, or there is no frame.
        InferenceError: the network cannot be run.
    """
    role = bundle.manifest.roles.conditions
    if role is None:
        raise EvaluationError(f"{bundle.id}: no network for conditions in it: name a bundle with that role")
    cv2.setNumThreads(threads)
    true, presence, grades = [], [], []
    with OnnxBackend(bundle.content[role.model], name="conditions", threads=threads) as backend:
        for image, truth in frames:
            found = backend.infer({role.picture.name: picture_tensor(image, role.picture)})
            if {name: found[name].shape for name in found} != {"presence": (1, 3), "grades": (1, 3, 4)}:
                raise EvaluationError(f"{bundle.id}: the network answers other shapes than its role promises: make the bundle again")
            true.append(truth)
            presence.append(found["presence"][0])
            grades.append(found["grades"][0])
            advance()
    if not true:
        raise EvaluationError("no frame to look at: give --rendered a number above 0, or name a folder")
    return score_conditions(np.array(true, np.int64), np.stack(grades), np.stack(presence))


def as_json(what: str, bundle: str, scores: tuple[ConditionScore, ...]) -> str:
    """Everything that was measured as one JSON object."""
    return json.dumps(
        {
            "schema": "trichoscope/conditions-evaluation/1",
            "bundle": bundle,
            "data": what,
            "macro_f1": mean_macro_f1(scores),
            "conditions": {score.name: score.to_dict() for score in scores},
        },
        allow_nan=False,
    )


def as_text(what: str, scores: tuple[ConditionScore, ...]) -> str:
    """The table for people."""
    lines = [f"{what}: macro-F1 {mean_macro_f1(scores):.3f} (mean of the three)", "", markdown(scores)]
    for score in scores:
        if score.without_example:
            lines.append(f"{score.name}: no picture of grade {', '.join(map(str, score.without_example))}: nothing is said of it")
    return "\n".join(lines)
