"""A finished training of the teacher as a part of a bundle: joined, proven, measured on frames that no training saw, its trust fitted."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from device.simulated.scene import RenderedFrame
from export.conversion.evidence import teacher_evidence
from export.conversion.half_weights import with_half_weights
from export.conversion.joined import parity, teacher_onnx
from export.conversion.onnx_graph import INPUT
from export.conversion.part import RolePart, as_bundle
from export.conversion.segmenter import (
    FIT_SEED,
    INPUT_SPEC,
    PREPROCESSING,
    TEST_SEED,
    segmenter_golden,
    tested,
    trained_on,
)
from export.conversion.trust import Sample, best_thresholds, fit_trust
from export.errors import TrainingError
from export.networks.thick import ThickNet
from export.scenes import bald_frames, validation_frames
from export.training import checkpoint
from export.training.recipe import TrainingRecipe
from export.training.segmenter import CURVES
from export.training.teacher import RECIPES
from runtime.analysis.learned import padded
from runtime.bundles.parts import ModelCard
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import TeacherRole
from runtime.inference.backend import as_float32
from runtime.inference.onnx import OnnxBackend

MODEL, GOLDEN = "teacher.onnx", "teacher.golden.npz"
FAINT = 2  # channel of the marks
EVIDENCE_SHARE = 3
"""Of the frames: each is looked at by two networks and measured twice to decide whether the teacher is used."""
DESCRIPTION = (
    "Finds hair in captured fields: a U-Net of dense convolutions and the live network, which it holds in itself, averaged; "
    "the teacher of the live network."
)
LIMITS = (
    "Learnt from rendered scenes alone and not validated on labels of real patients. Fine translucent hair and hair far out of focus "
    "are found in part; frames of another kind (dry-cut hair ends, wounds, tattoos) were never seen. Too slow for the live picture."
)


def trained_thick(folder: Path, *, prompts: int = 0, masks: int = 1) -> tuple[ThickNet, dict[str, Any]]:
    """The averaged network of a training's last checkpoint, and the checkpoint.

    Raises:
        TrainingError: no checkpoint, a damaged one, or that of another network.
    """
    state = checkpoint.load(folder)
    try:
        alone = not prompts and state["recipe"].get("withheld", 0) == 1
        network = ThickNet(int(state["recipe"]["base_channels"]), prompts=prompts, masks=masks, alone=alone)
        network.load_state_dict(state["average"])
    except (RuntimeError, KeyError, TypeError, ValueError) as problem:
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{folder}: the checkpoint does not fit this program ({first}): start anew in another folder") from problem
    return network.eval(), state


def live_network(live: Bundle) -> bytes:
    """The ONNX bytes of the live network of a bundle. Raises TrainingError where it has none."""
    role = live.manifest.roles.segmenter
    if role is None:
        raise TrainingError(f"{live.id}: no segmenter in this bundle: name the one that was corrected with --live")
    return live.content[role.model]


def teacher_part(training: Path, live: Bundle, *, per_kind: int = 60) -> RolePart:
    """The part of the training in the folder `training`.

    Args:
        live: the bundle whose live network was corrected.
        per_kind: rendered frames of each kind that thresholds and trust are fitted to; as many others are tested on, and on a third as
            many it is decided whether it is used.

    Raises:
        TrainingError, ConversionError: see there.
    """
    network, state = trained_thick(training)
    corrected = live_network(live)
    model = teacher_onnx(network, corrected)
    differences = parity(network, corrected, model)
    model = with_half_weights(model)
    samples = list(looked_at(model, validation_frames(per_kind, FIT_SEED)))
    threshold, faint_threshold = best_thresholds(samples)
    trust, fitted = fit_trust(samples, threshold, faint_threshold)
    frames = chain(validation_frames(per_kind, TEST_SEED), bald_frames(max(2, per_kind // 3), TEST_SEED))
    metrics = tested(looked_at(model, frames), trust, threshold, faint_threshold)
    metrics |= {f"parity_{name}": value for name, value in differences.items()} | {"reliability_fit_mae": fitted["reliability_mae"]}
    golden, golden_file = segmenter_golden(model, GOLDEN)
    role = TeacherRole(
        model=MODEL,
        golden=golden,
        card=card_of(training, state, DESCRIPTION, LIMITS, repeat_of("teacher", state, live, RECIPES)),
        input=INPUT_SPEC,
        preprocessing=PREPROCESSING,
        threshold=threshold,
        faint_threshold=faint_threshold,
        trust=trust,
    )
    content = {MODEL: model, GOLDEN: golden_file}
    if (training / CURVES).is_file():
        content[f"teacher.{CURVES}"] = (training / CURVES).read_bytes()
    use, found = teacher_evidence(as_bundle(RolePart("teacher", role, content)), live, per_kind=max(2, per_kind // EVIDENCE_SHARE))
    metrics |= found
    decided = role.model_copy(update={"use": use, "metrics": {key: round(value, 7) for key, value in metrics.items()}})
    return RolePart("teacher", decided, content)


def looked_at(model: bytes, frames: Iterable[RenderedFrame]) -> Iterator[Sample]:
    """What the ONNX bytes `model` say of each frame, with its truth."""
    with OnnxBackend(model, name="teacher", threads=max(1, min(8, os.cpu_count() or 1))) as backend:
        for frame in frames:
            height, width = frame.image.shape[:2]
            found = backend.infer({INPUT: padded(frame.image, INPUT_SPEC)})
            soft, marks = as_float32(found["hair"])[0, 0, :height, :width], as_float32(found["marks"])[0, :, : height // 2, : width // 2]
            yield Sample(frame.truth.kind, np.array(soft), np.array(marks[FAINT]), np.array(found["features"][0]), frame.mask)


def repeat_of(command: str, state: dict[str, Any], live: Bundle, recipes: Mapping[str, TrainingRecipe], more: str = "") -> str:
    """The command that makes a training again; `live` is the bundle that it corrects, `recipes` the command's, `more` its other options."""
    recipe, step = state["recipe"], int(state["step"])
    usual = recipes.get(recipe["name"])
    changed = [f" --{name} {recipe[name]}" for name in ("steps", "scenes") if usual is None or recipe[name] != getattr(usual, name)]
    stopped = "" if step == recipe["steps"] else f" (stopped at step {step})"
    return (
        f"trichoscope-export train {command} --recipe {recipe['name']}{''.join(changed)} --seed {state['seed']} "
        f"--live BUNDLE{more} --out TRAINING{stopped}; BUNDLE is {live.manifest.name}/{live.manifest.release}"
    )


def card_of(training: Path, state: dict[str, Any], description: str, limits: str, repeat: str) -> ModelCard:
    """The model card of a training of the thick network."""
    return ModelCard(
        description=description,
        recipe=state["recipe"],
        seed=int(state["seed"]),
        steps=int(state["step"]),
        seconds=round(float(state["history"]["seconds"]), 1),
        machine=f"{platform.machine()}, {os.cpu_count()} CPU cores, {'one GPU' if torch.cuda.is_available() else 'no GPU'}",
        trained_on=trained_on(training),
        validated_on_real_labels=False,
        licence="Apache-2.0",
        repeat=repeat,
        limits=limits,
    )
