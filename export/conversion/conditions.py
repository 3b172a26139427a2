"""A finished training of the conditions network as a part of a bundle: convert, prove, measure on frames that no training saw."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.conversion.golden import golden_of
from export.conversion.part import RolePart
from export.conversion.torch_graph import TOLERANCE, TensorSpec, network_onnx
from export.errors import ConversionError, TrainingError
from export.evaluation.grades import mean_macro_f1, score_conditions
from export.networks.conditions import CONDITIONS, GRADES
from export.networks.scalp_net import ScalpNet, SmallBackbone
from export.training import checkpoint
from export.training.conditions.recipe import RECIPES, ConditionsRecipe
from export.training.conditions.scenes import graded_frames
from export.training.conditions.training import CONFUSIONS, CURVES, new_network
from runtime.bundles.parts import ModelCard, PictureInput
from runtime.bundles.roles import ConditionsRole
from runtime.inference.onnx import OnnxBackend
from runtime.inference.pictures import picture_tensor

MODEL, GOLDEN = "conditions.onnx", "conditions.golden.npz"
INPUT, OUTPUTS = "picture", ("presence", "grades")
TEST_SEED, GOLDEN_SEED = 910_002, 910_003  # frames that neither training nor validation draws
GOLDEN_FRAMES = 2
CHANGED_SHARE = 0.17  # of the golden grades that another precision may answer otherwise: one of six
PARITY_BATCHES = (1, 2, 5)
LOOKS: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (1, 2))
"""Axes of a picture that are mirrored in each look."""
DESCRIPTION = "Grades dandruff, sebum and erythema of a scalp picture, 0 to 3, and says whether each is there (ScalpVision, 3.3)."
LIMITS = (
    "Learnt from rendered scalps alone and not validated on labels of real patients. Grades of dandruff stand for the share of the picture "
    "that flakes cover, of sebum for the share that shines, of erythema for redness as the camera shows it: a wrong white balance "
    "shifts it, and on very dark skin it cannot be seen."
)


class CameraGraph(nn.Module):
    """uint8 (n, height, width, 3) BGR to presence float32 (n, 3) and grades float32 (n, 3, 4), probabilities.

    Of the small backbone they are means over the picture and its three mirror images: a sparse scatter of sparks falls differently into
    the network's cells each time, and the device has time for it.
    """

    def __init__(self, network: ScalpNet) -> None:
        super().__init__()
        self.network = network
        self.looks = LOOKS if isinstance(network.backbone, SmallBackbone) else ((),)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        found = self.network(torch.cat([picture.flip(axes) if axes else picture for axes in self.looks]))
        presence, grades = torch.sigmoid(found.presence), torch.softmax(found.grades, 2)
        looks = len(self.looks)
        return presence.reshape(looks, -1, len(CONDITIONS)).mean(0), grades.reshape(looks, -1, len(CONDITIONS), GRADES).mean(0)


def conditions_onnx(network: ScalpNet) -> bytes:
    """The ONNX file of a trained network, for pictures of its size in batches of any length.

    Raises:
        ConversionError: the graph is not valid.
    """
    given = TensorSpec(INPUT, (2, *network.size, 3), "uint8")
    return network_onnx(CameraGraph(network), [given], OUTPUTS, axes={INPUT: {0: "batch"}})


def conditions_parity(network: ScalpNet, model: bytes, *, batches: Sequence[int] = PARITY_BATCHES, seed: int = 0) -> dict[str, float]:
    """The largest absolute difference of each output between PyTorch and ONNX Runtime over random pictures, in batches of these lengths.

    Raises:
        ConversionError: a difference above TOLERANCE, or nothing was compared.
    """
    rng = np.random.default_rng(seed)
    graph = CameraGraph(network).eval()
    worst: dict[str, float] = {}
    with OnnxBackend(model, name="parity") as backend, torch.no_grad():
        for length in batches:
            # flat, noisy and in between: a network sees more than noise
            level, spread = rng.uniform(30, 220, (length, 1, 1, 3)), rng.uniform(0, 80, (length, 1, 1, 1))
            picture = np.clip(level + spread * rng.standard_normal((length, *network.size, 3)), 0, 255).astype(np.uint8)
            found = backend.infer({INPUT: picture})
            for name, wanted in zip(OUTPUTS, graph(torch.from_numpy(picture)), strict=True):
                if found[name].shape != tuple(wanted.shape):
                    raise ConversionError(f"parity: {name} of {length} pictures is {found[name].shape}, not {tuple(wanted.shape)}")
                worst[name] = max(worst.get(name, 0.0), float(np.abs(found[name] - wanted.numpy()).max()))
    if not worst:
        raise ConversionError("parity: nothing was compared: name at least one batch")
    beyond = {name: value for name, value in worst.items() if not value <= TOLERANCE}
    if beyond:
        raise ConversionError(f"parity: {beyond} above {TOLERANCE}: the graph does not give the network's numbers")
    return worst


def trained_network(folder: Path) -> tuple[ScalpNet, dict[str, Any]]:
    """The averaged network of a training's last checkpoint, and the checkpoint.

    Raises:
        TrainingError: no checkpoint, or a damaged one.
    """
    state = checkpoint.load(folder)
    try:
        network = new_network(ConditionsRecipe(**state["recipe"]))
        network.load_state_dict(state["average"])
    except (RuntimeError, KeyError, TypeError, ValueError) as problem:
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{folder}: the checkpoint does not fit this program ({first}): start anew in another folder") from problem
    return network.eval(), state


def picture_input(network: ScalpNet) -> PictureInput:
    """How the device is to feed a network."""
    height, width = network.size
    return PictureInput(name=INPUT, width=width, height=height)


def bundle_conditions(training: Path, *, frames: int = 384) -> RolePart:
    """The part of a bundle that the training in the folder `training` makes, measured on `frames` rendered frames.

    Raises:
        TrainingError, ConversionError: see there.
    """
    network, state = trained_network(training)
    model = conditions_onnx(network)
    differences = conditions_parity(network, model)
    spec = picture_input(network)
    metrics = {f"parity_{name}": value for name, value in differences.items()} | _tested(model, spec, frames)
    shown = [frame for frame, _ in graded_frames(GOLDEN_FRAMES, GOLDEN_SEED)]
    cases = [{INPUT: picture_tensor(frame, spec)} for frame in shown]
    golden, golden_content = golden_of(GOLDEN, model, cases, end={"conditions": CHANGED_SHARE})
    recipe, seed, history, learnt_from = state["recipe"], int(state["seed"]), state["history"], state["learnt_from"]
    origins = ", ".join(sorted(learnt_from["grades"]))
    card = ModelCard(
        description=DESCRIPTION,
        recipe={key: int(value) if isinstance(value, bool) else value for key, value in recipe.items()},
        seed=seed,
        steps=int(state["step"]),
        seconds=round(float(history["seconds"]), 1),
        machine=f"{platform.machine()}, {os.cpu_count()} CPU cores, {'one GPU' if torch.cuda.is_available() else 'no GPU'}",
        trained_on=f"{learnt_from['pictures']} pictures ({origins}); rendered ones are of the simulated microscope",
        validated_on_real_labels=False,
        licence="Apache-2.0",
        repeat=_repeat(recipe, seed, int(state["step"])),
        limits=LIMITS,
    )
    role = ConditionsRole(
        model=MODEL,
        golden=golden,
        card=card,
        metrics={key: round(value, 7) for key, value in metrics.items()},
        picture=spec,
        conditions=("dandruff", "sebum", "erythema"),
        labels=("good", "mild", "moderate", "severe"),
    )
    content = {MODEL: model, GOLDEN: golden_content}
    for name in (CURVES, CONFUSIONS):
        if (training / name).is_file():
            content[f"conditions-{name}"] = (training / name).read_bytes()
    return RolePart("conditions", role, content)


def conditions_part(training: Path, *, per_kind: int = 60) -> tuple[ConditionsRole, dict[str, bytes]]:
    """Role and files as `bundle_conditions` makes them, for the table of trainings; six frames to each of `per_kind`."""
    part = bundle_conditions(training, frames=6 * per_kind)
    assert isinstance(part.role, ConditionsRole)
    return part.role, dict(part.content)


def _tested(model: bytes, spec: PictureInput, frames: int) -> dict[str, float]:
    """Macro-F1, accuracy and κ by condition of the graph on rendered frames that nothing was fitted to."""
    grades, presence, found = [], [], []
    with OnnxBackend(model, name="conditions", threads=max(1, min(8, os.cpu_count() or 1))) as backend:
        for frame, truth in graded_frames(frames, TEST_SEED):
            said = backend.infer({INPUT: picture_tensor(frame, spec)})
            grades.append(truth)
            presence.append(said["presence"])
            found.append(said["grades"])
    scores = score_conditions(np.array(grades, np.int64), np.concatenate(found), np.concatenate(presence))
    metrics = {"macro_f1_rendered": mean_macro_f1(scores), "frames_rendered": float(frames)}
    for score in scores:
        metrics[f"macro_f1_{score.name}"] = score.figures.macro_f1
        metrics[f"majority_macro_f1_{score.name}"] = score.majority.macro_f1
        metrics[f"accuracy_{score.name}"] = score.figures.accuracy
        if score.figures.kappa is not None:
            metrics[f"kappa_{score.name}"] = score.figures.kappa
    return metrics


def _repeat(recipe: dict[str, Any], seed: int, step: int) -> str:
    """The command that makes this training again."""
    usual = RECIPES.get(recipe["name"])
    options = ""
    if usual is not None:
        steps, more = recipe["steps"] - recipe.get("more", 0), recipe.get("more", 0)
        for option, value, usually in (("steps", steps, usual.steps), ("more", more, 0), ("backbone", recipe["backbone"], usual.backbone)):
            if value != usually:
                options += f" --{option} {value}"
        if recipe["ordinal"] != usual.ordinal:
            options += " --ordinal"
    stopped = "" if step == recipe["steps"] else f" (stopped at step {step})"
    return f"trichoscope-export train conditions --recipe {recipe['name']}{options} --seed {seed} --out TRAINING{stopped}"
