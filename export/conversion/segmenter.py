"""A finished training as a bundle: convert, prove, measure on rendered frames that no training saw, fit the trust, write."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from device.simulated.recipe import Kind
from device.simulated.scene import RenderedFrame, render_frame
from export.conversion.golden import golden_of
from export.conversion.onnx_graph import INPUT, live_onnx, parity
from export.conversion.trust import Sample, best_thresholds, fit_trust, mask_dice, rank_correlation
from export.errors import TrainingError
from export.networks.live import FAINT, STRIDE, LiveNet
from export.scenes import bald_frames, validation_frames
from export.training import checkpoint
from export.training.recipe import RECIPES, TrainingRecipe
from export.training.segmenter import CURVES, SCENES
from runtime.analysis.learned import LearnedSegmenter, padded, reduced, uncertainty_figures
from runtime.bundles.parts import Golden, ModelCard
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import InputSpec, Preprocessing, Roles, SegmenterRole, Trust
from runtime.bundles.writer import write_bundle

MODEL = "segmenter.onnx"
GOLDEN = "segmenter.npz"
GOLDEN_FRAMES: tuple[tuple[Kind, int], ...] = (
    ("easy", 2**32 - 1),
    ("realistic", 2**32 - 2),
    ("hard", 2**32 - 3),
)
"""Kinds, and seeds beyond those that training can draw."""
GOLDEN_SIZE = (320, 240)
END = {"dice": 0.01, "hair_count": 1.0, "median_width": 0.02}
"""What a backend may change of the end figures on the golden frames: shares, hairs, share of the width."""
INPUT_SPEC = InputSpec(name=INPUT, colour="BGR", layout="NHWC", dtype="uint8", stride=STRIDE, min_side=128)
PREPROCESSING = Preprocessing(longest_side=960, padding="reflect", normalised_in_graph=True)
"""Hair of 60 to 100 µm is then 4 to 20 px wide on every device that we know: what the network has learnt."""
FIT_SEED, TEST_SEED = 900_001, 900_002  # rendered frames that neither training nor validation draws
DESCRIPTION = "Finds hair in pictures of the scalp: thin MobileNetV2-style U-Net, with heat maps of centre lines and follicle openings."
LIMITS = (
    "Learnt from rendered scenes alone and not validated on labels of real patients. Fine translucent hair and hair far out of focus "
    "are found in part; frames of another kind (dry-cut hair ends, wounds, tattoos) were never seen."
)


def trained_network(folder: Path) -> tuple[LiveNet, dict[str, Any]]:
    """The averaged network of a training's last checkpoint, and the checkpoint.

    Raises:
        TrainingError: no checkpoint, or a damaged one.
    """
    state = checkpoint.load(folder)
    try:
        network = LiveNet(int(state["recipe"]["base_channels"]))
        network.load_state_dict(state["average"])
    except (RuntimeError, KeyError, TypeError, ValueError) as problem:
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{folder}: the checkpoint does not fit this program ({first}): start anew in another folder") from problem
    return network.eval(), state


def bundle_segmenter(training: Path, target: Path, *, name: str, release: int, per_kind: int = 60) -> Bundle:
    """Write the bundle `target` from the training in the folder `training`.

    `per_kind` rendered frames of each kind are fitted to, and as many others are tested on.

    Raises:
        TrainingError, ConversionError, BundleError: see there; a bundle that is in `target` stays.
    """
    role, content = segmenter_part(training, per_kind=per_kind)
    bundle = write_bundle(target, content, name=name, release=release, minimum_version="0.1.0", roles=Roles(segmenter=role))
    LearnedSegmenter(bundle).close()  # what cannot be opened is no bundle
    return bundle


def segmenter_part(
    training: Path, *, per_kind: int = 60, command: str = "segmenter", recipes: Mapping[str, TrainingRecipe] = RECIPES
) -> tuple[SegmenterRole, dict[str, bytes]]:
    """The role of the training in the folder `training`, and its files: converted, proven, measured, its trust fitted.

    `command` and `recipes` are what made it: `trichoscope-export train …`.

    Raises:
        TrainingError, ConversionError: see there.
    """
    network, state = trained_network(training)
    model = live_onnx(network)
    differences = parity(network, model)
    recipe, seed, history = state["recipe"], int(state["seed"]), state["history"]
    samples = list(_samples(network, validation_frames(per_kind, FIT_SEED)))
    threshold, faint_threshold = best_thresholds(samples)
    trust, fitted = fit_trust(samples, threshold, faint_threshold)
    card = ModelCard(
        description=DESCRIPTION,
        recipe=recipe,
        seed=seed,
        steps=int(state["step"]),
        seconds=round(float(history["seconds"]), 1),
        machine=f"{platform.machine()}, {os.cpu_count()} CPU cores, {'one GPU' if torch.cuda.is_available() else 'no GPU'}",
        trained_on=trained_on(training),
        validated_on_real_labels=False,
        licence="Apache-2.0",
        repeat=_repeat(recipe, seed, int(state["step"]), command, recipes),
        limits=LIMITS,
    )
    frames = chain(validation_frames(per_kind, TEST_SEED), bald_frames(max(2, per_kind // 3), TEST_SEED))
    metrics = tested(_samples(network, frames), trust, threshold, faint_threshold)
    metrics |= {f"parity_{k}": v for k, v in differences.items()} | {"reliability_fit_mae": fitted["reliability_mae"]}
    golden, golden_file = segmenter_golden(model)
    role = SegmenterRole(
        model=MODEL,
        golden=golden,
        card=card,
        input=INPUT_SPEC,
        preprocessing=PREPROCESSING,
        threshold=threshold,
        faint_threshold=faint_threshold,
        trust=trust,
        metrics={key: round(value, 7) for key, value in metrics.items()},
    )
    content = {MODEL: model, GOLDEN: golden_file}
    if (training / CURVES).is_file():
        content[CURVES] = (training / CURVES).read_bytes()
    return role, content


def segmenter_golden(model: bytes, file: str = GOLDEN) -> tuple[Golden, bytes]:
    """Golden data, named `file`, of the ONNX bytes of a segmenter or teacher: rendered frames that no training draws, one of each kind."""
    width, height = GOLDEN_SIZE
    frames = (render_frame(seed, width=width, height=height, kind=kind).image for kind, seed in GOLDEN_FRAMES)
    return golden_of(file, model, [{INPUT: padded(reduced(frame, PREPROCESSING), INPUT_SPEC)} for frame in frames], end=END)


def _repeat(recipe: dict[str, Any], seed: int, step: int, command: str, recipes: Mapping[str, TrainingRecipe]) -> str:
    """The command that makes this training again."""
    usual = recipes.get(recipe["name"])
    changed = [f" --{name} {recipe[name]}" for name in ("steps", "scenes") if usual is None or recipe[name] != getattr(usual, name)]
    stopped = "" if step == recipe["steps"] else f" (stopped at step {step})"
    return f"trichoscope-export train {command} --recipe {recipe['name']}{''.join(changed)} --seed {seed} --out TRAINING{stopped}"


def trained_on(training: Path) -> str:
    """What the scenes were, and by which versions of the renderer; scenes of several are there where it changed in between."""
    versions = sorted({path.name.partition("-")[0] for path in (training / SCENES).glob("v*.npy")}, key=lambda v: (len(v), v))
    return f"rendered scenes of the simulated microscope ({', renderer '.join(['no real picture', *versions])})"


@torch.no_grad()
def _samples(network: LiveNet, frames: Iterable[RenderedFrame]) -> Iterator[Sample]:
    cv2.setNumThreads(1)
    for frame in frames:
        found = network(torch.from_numpy(np.ascontiguousarray(frame.image.transpose(2, 0, 1))[None]).float())
        soft, faintness = torch.sigmoid(found.hair)[0, 0].numpy(), torch.sigmoid(found.marks)[0, FAINT].numpy()
        yield Sample(frame.truth.kind, soft, faintness, found.features[0].numpy(), frame.mask)


def tested(samples: Iterable[Sample], trust: Trust, threshold: float, faint_threshold: float) -> dict[str, float]:
    """Dice, rank correlation of the reliability with it, and false area, by kind, on frames that nothing was fitted to."""
    weights = np.array(trust.weights)
    rows: dict[str, list[tuple[float, float]]] = {}
    false_area = []
    for sample in samples:
        mask = sample.found(threshold, faint_threshold)
        if not sample.truth.any():
            false_area.append(float(np.mean(mask)))
            continue
        reliability = float(np.clip(weights[:-1] @ uncertainty_figures(sample.soft) + weights[-1], 0, 1))
        rows.setdefault(sample.kind, []).append((mask_dice(mask, sample.truth), reliability))
    metrics = {}
    for kind, pairs in rows.items():
        table = np.array(pairs)
        metrics[f"dice_{kind}"] = float(table[:, 0].mean())
        metrics[f"reliability_rank_correlation_{kind}"] = rank_correlation(table[:, 0], table[:, 1])
    if false_area:
        metrics["false_area_without_hair"] = float(np.mean(false_area))
    return metrics
