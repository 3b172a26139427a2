"""A finished training of the staging network as a part of a bundle: convert, prove at several numbers of views, measure, write down."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from device.simulated.head import draw_head, render_view
from device.simulated.head_pattern import STAGES
from device.simulated.head_shape import VIEWS
from export.conversion.golden import golden_of
from export.conversion.torch_graph import TensorSpec, network_onnx
from export.errors import ConversionError, TrainingError
from export.evaluation.norwood import Stager, StageScore, confusion_png, evaluate
from export.networks.norwood import StageNet, probabilities
from export.training import checkpoint
from export.training.norwood.heads import TEST, rendered_heads
from export.training.norwood.recipe import RECIPES
from export.training.norwood.training import CURVES
from runtime.bundles.parts import Golden, ModelCard, PictureInput
from runtime.bundles.roles import StageRole
from runtime.inference.backend import Backend
from runtime.inference.onnx import OnnxBackend
from runtime.staging.staging import ATTENTION, PRESENT, PROBABILITIES, VIEW_PROBABILITIES, stage_inputs

MODEL, GOLDEN, CONFUSION = "stage.onnx", "stage.golden.npz", "stage.confusion.png"
STAGE_CURVES = "stage.curves.png"
INPUT = "views"
OUTPUTS = (PROBABILITIES, ATTENTION, VIEW_PROBABILITIES)
TOLERANCE = 1e-4
TEST_SEED, GOLDEN_SEED = 920_001, 920_003
PARITY_VIEWS = ((0, 1, 2, 3, 4), (0, 1, 2, 3), (1, 2, 4), (0, 3), (2,))
GOLDEN_VIEWS = ((4.0, VIEWS), (2.0, ("front", "left")), (6.0, ("top",)))
DESCRIPTION = "Norwood–Hamilton stage of a head from one to five views: a small shared backbone, attention over the views, ordinal head."
LIMITS = (
    "Learnt from schematic rendered heads alone and never validated on labels of real people: on photographs its stages are no finding. "
    "Type A variants, women, diffuse loss, transplants, shaven heads, hats and hair combed over were never seen."
)


class StageGraph(nn.Module):
    """Views uint8 (n, views, side, side, 3) BGR and which are there, float32 (n, views), to the outputs in the order of OUTPUTS."""

    def __init__(self, network: StageNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, views: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.network(views.permute(0, 1, 4, 2, 3).float(), present)
        return probabilities(found.logits), found.attention, probabilities(found.view_logits)


@dataclass(frozen=True, eq=False)
class StagePart:
    """What a bundle needs of a training: the files by name, and the role that goes into the manifest."""

    content: dict[str, bytes]
    role: StageRole


def trained_network(folder: Path) -> tuple[StageNet, dict[str, Any]]:
    """The averaged network of a training's last checkpoint, and the checkpoint.

    Raises:
        TrainingError: no checkpoint, or a damaged one.
    """
    state = checkpoint.load(folder)
    try:
        network = StageNet(int(state["recipe"]["width"]))
        network.load_state_dict(state["average"])
        if not 16 <= int(state["recipe"]["side"]) <= 1024:
            raise ValueError("side")
    except (RuntimeError, KeyError, TypeError, ValueError) as problem:
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{folder}: the checkpoint does not fit this program ({first}): start anew in another folder") from problem
    return network.eval(), state


def stage_onnx(network: StageNet, side: int) -> bytes:
    """The ONNX file of a trained network for views of `side` px; any number of heads at once.

    Raises:
        ConversionError: the graph cannot be made or is not valid.
    """
    inputs = (TensorSpec(INPUT, (2, len(VIEWS), side, side, 3), "uint8"), TensorSpec(PRESENT, (2, len(VIEWS))))
    axes = {spec.name: {0: "heads"} for spec in inputs}
    return network_onnx(StageGraph(network), inputs, OUTPUTS, axes=axes)


def stage_parity(
    network: StageNet, model: bytes, side: int, *, views: Sequence[Sequence[int]] = PARITY_VIEWS, seed: int = 0
) -> dict[str, float]:
    """The largest absolute difference of each output between PyTorch and ONNX Runtime with each choice of `views`, for one and two heads.

    Raises:
        ConversionError: a difference above TOLERANCE, or nothing was compared.
    """
    rng = np.random.default_rng(seed)
    graph = StageGraph(network).eval()
    worst: dict[str, float] = {}
    with OnnxBackend(model, name="parity") as backend, torch.no_grad():
        for chosen in views:
            for heads in (1, 2):
                # flat, noisy and in between: a network sees more than noise
                level, spread = rng.uniform(30, 220, (heads, len(VIEWS), 1, 1, 3)), rng.uniform(0, 80, (heads, len(VIEWS), 1, 1, 1))
                pictures = np.clip(level + spread * rng.standard_normal((heads, len(VIEWS), side, side, 3)), 0, 255).astype(np.uint8)
                present = np.zeros((heads, len(VIEWS)), np.float32)
                present[:, list(chosen)] = 1
                found = backend.infer({INPUT: pictures, PRESENT: present})
                for name, wanted in zip(OUTPUTS, graph(torch.from_numpy(pictures), torch.from_numpy(present)), strict=True):
                    if found[name].shape != tuple(wanted.shape):
                        raise ConversionError(f"parity: {name} of {heads} heads is {found[name].shape}, not {tuple(wanted.shape)}")
                    worst[name] = max(worst.get(name, 0.0), float(np.abs(found[name] - wanted.numpy()).max()))
    if not worst:
        raise ConversionError("parity: nothing was compared: name at least one choice of views")
    beyond = {name: value for name, value in worst.items() if not value <= TOLERANCE}
    if beyond:
        raise ConversionError(f"parity: {beyond} above {TOLERANCE}: the graph does not give the network's numbers")
    return worst


def onnx_stager(backend: Backend, picture: PictureInput) -> Stager:
    """What `export.evaluation.norwood.evaluate` asks, answered by an active backend as on the device."""

    def stage(pictures: NDArray[np.uint8], present: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        wanted = (picture.width, picture.height)
        small = pictures
        if pictures.shape[3:1:-1] != wanted:
            flat = pictures.reshape(-1, *pictures.shape[2:])
            small = np.stack([cv2.resize(view, wanted, interpolation=cv2.INTER_AREA) for view in flat])
            small = small.reshape(*pictures.shape[:2], *small.shape[1:])
        found = backend.infer({picture.name: small, PRESENT: present})
        return np.asarray(found[PROBABILITIES], np.float32), np.asarray(found[ATTENTION], np.float32)

    return stage


def bundle_stage(training: Path, *, persons: int = 700, advance: Callable[[int], None] = lambda done: None) -> StagePart:
    """The part of a bundle that the training in the folder `training` makes, measured on `persons` rendered heads that it never saw.

    Raises:
        TrainingError, ConversionError: see there.
    """
    network, state = trained_network(training)
    recipe, seed, history = state["recipe"], int(state["seed"]), state["history"]
    side = int(recipe["side"])
    model = stage_onnx(network, side)
    differences = stage_parity(network, model, side)
    picture = PictureInput(name=INPUT, width=side, height=side)
    with OnnxBackend(model, name="stage") as backend:
        heads = rendered_heads(None, persons, TEST_SEED, TEST, int(recipe["render_px"]), workers=int(recipe["workers"]))
        scores = evaluate(onnx_stager(backend, picture), heads, seed=TEST_SEED, advance=advance)
    golden, golden_content = _golden(model, picture)
    role = StageRole(
        model=MODEL,
        golden=golden,
        card=_card(state, recipe, seed, history),
        metrics={key: round(value, 7) for key, value in {**figures(scores), **{f"parity_{k}": v for k, v in differences.items()}}.items()},
        picture=picture,
        views=VIEWS,
        labels=STAGES,
    )
    content = {MODEL: model, GOLDEN: golden_content, CONFUSION: confusion_png(scores, "rendered heads that no training saw")}
    if (training / CURVES).is_file():
        content[STAGE_CURVES] = (training / CURVES).read_bytes()
    return StagePart(content, role)


def figures(scores: Sequence[StageScore]) -> dict[str, float]:
    """The scores as a manifest's metrics."""
    found: dict[str, float] = {}
    for score in scores:
        name = "majority" if not score.views else f"{score.views}_views"
        if score.kappa is not None:
            found[f"kappa_{name}"] = score.kappa
        found |= {f"exact_{name}": score.exact, f"within_one_{name}": score.within_one, f"persons_{name}": float(score.persons)}
    return found


def _golden(model: bytes, picture: PictureInput) -> tuple[Golden, bytes]:
    cases: list[Mapping[str, NDArray[Any]]] = []
    role = StageRole.model_construct(picture=picture, views=VIEWS, labels=STAGES)
    for stage, views in GOLDEN_VIEWS:
        head = draw_head(GOLDEN_SEED + round(stage), stage)
        cases.append(stage_inputs(role, {view: render_view(head, view).image for view in VIEWS if view in views}))
    return golden_of(GOLDEN, model, cases)


def _card(state: Mapping[str, Any], recipe: dict[str, Any], seed: int, history: Mapping[str, Any]) -> ModelCard:
    rendered = f"{recipe['persons']} rendered schematic heads of five views, stages spread evenly; no photograph of anyone"
    return ModelCard(
        description=DESCRIPTION,
        recipe=recipe,
        seed=seed,
        steps=int(state["step"]),
        seconds=round(float(history["seconds"]), 1),
        machine=f"{platform.machine()}, {os.cpu_count()} CPU cores, {'one GPU' if torch.cuda.is_available() else 'no GPU'}",
        trained_on=str(state.get("trained_on") or rendered),
        validated_on_real_labels=False,
        licence="Apache-2.0",
        repeat=_repeat(recipe, seed, int(state["step"]), bool(state.get("trained_on"))),
        limits=LIMITS,
    )


def _repeat(recipe: Mapping[str, Any], seed: int, step: int, from_data: bool) -> str:
    usual = RECIPES[recipe["name"]].steps if recipe["name"] in RECIPES else None
    return (
        f"trichoscope-export train norwood --recipe {recipe['name']} --seed {seed}"
        + ("" if step == usual else f" --steps {step}")
        + (" --data DIR" if from_data else "")
        + " --out DIR"
    )
