"""A U²-Net as a graph that takes camera pictures as they are, and as a teacher: of a training of ours, or of a public checkpoint.

Public checkpoints (u2net.pth, u2netp.pth) hold a state dict; it is read by the weights-only unpickler, its size is told from its
shapes, and nothing in it is run. A U²-Net says where hair is and nothing of centre lines, openings and faint hair: its `marks` are 0,
and the role says so, so that the live mask's stand. It is made without a live network to hold it against, so nothing says that it is
better on captures, and `use` is False; `evaluate segmentation` shows how it does beside one.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.conversion.loading import PREFIXES, RETRAIN, State, first_line, load_state
from export.conversion.onnx_graph import INPUT, OUTPUTS, to_onnx
from export.conversion.part import RolePart
from export.conversion.segmenter import FIT_SEED, INPUT_SPEC, PREPROCESSING, TEST_SEED, segmenter_golden, tested
from export.conversion.teacher import card_of, looked_at
from export.conversion.torch_graph import TensorSpec, torch_parity
from export.conversion.trust import fit_trust
from export.errors import ConversionError, TrainingError
from export.networks.live import MARKS
from export.networks.u2net import INNER, Sides, Size, U2Net, official_input
from export.scenes import bald_frames, validation_frames
from export.training import checkpoint
from export.training.recipe import TrainingRecipe
from export.training.segmenter import CURVES
from export.training.u2net import RECIPES, size_of
from runtime.bundles.parts import MAX_FILE_BYTES, ModelCard
from runtime.bundles.roles import TeacherRole

MODEL, GOLDEN = "u2net.onnx", "u2net.golden.npz"
THRESHOLD = 0.5
NEVER_FAINT = 1.0
EXAMPLE_PX = (96, 64)
"""Height and width at which a graph for any size is traced; its numbers are compared at these, at one more, twice these, and at 1."""
SIDE_PX = (32, 4096)
"""Shortest and longest side of a graph of one size."""
TELLING = "stage1.rebnconv1.conv_s1.weight"
"""Both sizes have it, with other shapes."""
COUNTED = "num_batches_tracked"
"""Of a batch norm: PyTorch 0.4.0, which the published checkpoints were made with, kept none, and inference needs none."""
WHICH = "name u2net.pth or u2netp.pth, a checkpoint of a network trained from them, or the folder of a training"
DESCRIPTION = "Finds hair in captured fields: U²-Net (Qin et al. 2020), {} size; of centre lines, openings and faint hair it says nothing."
LIMITS = (
    "Learnt from rendered scenes alone and not validated on labels of real patients. Fine translucent hair and hair far out of focus "
    "are found in part; frames of another kind (dry-cut hair ends, wounds, tattoos) were never seen. Too slow for the live picture."
)
LIMITS_OF_OTHERS = (
    "Not trained here: what it learnt from is not known to us, only that it gives its checkpoint's numbers. The figures are measured on "
    "rendered frames. Too slow for the live picture."
)


class CameraU2Net(nn.Module):
    """A U²-Net with the published preparation of its picture before it and probabilities behind it, its six side maps left out.

    uint8 (1, height, width, 3) BGR to hair (1, 1, height, width), 0…1, marks (1, MARKS, height / 2, width / 2, rounded up), 0, and
    features (1, FEATURES).
    """

    def __init__(self, network: U2Net) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found: Sides = self.network(official_input(picture.permute(0, 3, 1, 2).float()))
        hair = torch.sigmoid(found.fused)
        nothing = hair[:, :, ::2, ::2] * 0.0
        return hair, torch.cat([nothing] * MARKS, 1), found.features


def load_u2net(path: Path) -> U2Net:
    """The network of a checkpoint with the published names, of the size that its shapes say; `module.` and the like before all of them
    are taken off.

    Raises:
        ConversionError: no such file, damaged, a pickle with code, another architecture, or numbers that are none.
    """
    state = _bare(load_state(path))
    first = state.get(TELLING)
    size = None if first is None or first.ndim != 4 else next((size for size, inner in INNER.items() if len(first) == inner), None)
    if size is None:
        raise ConversionError(f"{path}: the network in it is no U²-Net, its weights begin with {_some(state)}: {WHICH}")
    network = U2Net(size)
    own = network.state_dict()
    state |= {name: tensor for name, tensor in own.items() if name.endswith(COUNTED) and name not in state}
    missing, strange = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [name for name in own if name in state and own[name].shape != state[name].shape]
    for what, names in (("it lacks", missing), ("U²-Net has no", strange), ("of another shape:", shapes)):
        if names:
            told = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
            raise ConversionError(f"{path}: like U²-Net, {size} size, but another network ({what} {told}): {WHICH}")
    try:
        network.load_state_dict(state)
    except (RuntimeError, NotImplementedError) as problem:  # tensors that are sparse, or without numbers
        raise ConversionError(f"{path}: weights that are no plain numbers ({first_line(problem)}): {RETRAIN}") from problem
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ConversionError(f"{path}: {name} holds NaN or infinity: take an earlier checkpoint")
    return network.eval()


def _bare(state: State) -> State:
    """The weights under their published names: what wrappers put before all of them is taken off, again and again."""
    while prefix := next((p for p in PREFIXES if state and all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _some(state: State) -> str:
    return ", ".join(f"{name[:40]!r}" for name in list(state)[:2])


def trained_u2net(folder: Path) -> tuple[U2Net, dict[str, Any]]:
    """The averaged network of a training's last checkpoint, and the checkpoint.

    Raises:
        TrainingError: no checkpoint, a damaged one, or that of another network.
    """
    state = checkpoint.load(folder)
    try:
        network = U2Net(size_of(TrainingRecipe(**state["recipe"])))
        network.load_state_dict(state["average"])
    except (RuntimeError, KeyError, TypeError, ValueError) as problem:
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{folder}: the checkpoint does not fit this program ({first}): start anew in another folder") from problem
    return network.eval(), state


def u2net_onnx(network: U2Net, size_px: tuple[int, int] | None = None) -> bytes:
    """The ONNX file of a network: for pictures of any size, or of `size_px` (height, width) alone.

    Raises:
        ConversionError: the graph is not valid, or nothing of that size can be looked at.
    """
    if size_px is not None and not all(SIDE_PX[0] <= side <= SIDE_PX[1] for side in size_px):
        raise ConversionError(f"{size_px[0]}x{size_px[1]} px: sides of {SIDE_PX[0]} to {SIDE_PX[1]} px are taken: give others")
    height, width = size_px or EXAMPLE_PX
    axes = {
        INPUT: {1: "height", 2: "width"},
        "hair": {2: "height", 3: "width"},
        "marks": {2: "half_height", 3: "half_width"},
    }
    example = torch.zeros((1, height, width, 3), dtype=torch.uint8)
    return to_onnx(CameraU2Net(network).eval(), example, INPUT, OUTPUTS, {} if size_px else axes)


def u2net_parity(network: U2Net, model: bytes, size_px: tuple[int, int] | None = None) -> dict[str, float]:
    """The largest difference of each output between PyTorch and ONNX Runtime; of a graph for any size, at sixteen sizes, odd ones too.

    Raises:
        ConversionError: a difference above the tolerance, or nothing was compared.
    """
    spec = TensorSpec(INPUT, (1, *(size_px or EXAMPLE_PX), 3), "uint8")
    axes = {} if size_px else {INPUT: {1: "height", 2: "width"}}
    return torch_parity(CameraU2Net(network), model, [spec], OUTPUTS, axes=axes)


def check_fits_bundle(size: Size) -> None:
    """Whether a bundle may carry the graph of that size: to be asked before anything is computed.

    Raises:
        ConversionError: it is larger than any file of a bundle.
    """
    with torch.device("meta"):
        weights = sum(tensor.numel() * tensor.element_size() for tensor in U2Net(size).parameters())
    if weights > MAX_FILE_BYTES:
        raise ConversionError(
            f"U²-Net, {size} size: {weights / 1e6:.0f} MB, files of a bundle have {MAX_FILE_BYTES / 1e6:.0f} MB at most: "
            "take the small size, or write the network alone as NAME.onnx"
        )


def trained_part(training: Path, *, per_kind: int) -> RolePart:
    """The teacher of a training in the folder `training`, as `u2net_part` makes it.

    Raises:
        TrainingError, ConversionError: see there.
    """
    network, state = trained_u2net(training)
    card = card_of(training, state, DESCRIPTION.format(network.size), LIMITS, _repeat(network.size, state))
    more = {f"u2net.{CURVES}": (training / CURVES).read_bytes()} if (training / CURVES).is_file() else {}
    return u2net_part(network, card, per_kind=per_kind, more=more)


def public_part(path: Path, *, per_kind: int) -> RolePart:
    """The teacher of a checkpoint that was made elsewhere.

    Raises:
        ConversionError: see `load_u2net` and `u2net_part`.
    """
    network = load_u2net(path)
    card = ModelCard(
        description=DESCRIPTION.format(network.size),
        recipe={"architecture": f"U²-Net, {network.size} size", "checkpoint_sha256": sha256(path.read_bytes()).hexdigest()},
        seed=0,
        steps=0,
        seconds=0.0,
        machine="not known",
        trained_on="not known: a checkpoint that was made elsewhere",
        validated_on_real_labels=False,
        licence="that of its checkpoint",
        repeat="trichoscope-export convert u2net CHECKPOINT --out FOLDER",
        limits=LIMITS_OF_OTHERS,
    )
    return u2net_part(network, card, per_kind=per_kind)


def u2net_part(network: U2Net, card: ModelCard, *, per_kind: int, more: dict[str, bytes] | None = None) -> RolePart:
    """A network as a teacher: converted, proven, its trust fitted to rendered frames and measured on others.

    Args:
        per_kind: rendered frames of each kind to fit to; as many others are tested on.
        more: other files to travel with it.

    Raises:
        ConversionError: it is too large for a bundle, or cannot be converted or fitted.
    """
    check_fits_bundle(network.size)
    model = u2net_onnx(network)
    differences = u2net_parity(network, model)
    samples = list(looked_at(model, validation_frames(per_kind, FIT_SEED)))
    trust, fitted = fit_trust(samples, THRESHOLD, NEVER_FAINT)
    frames = chain(validation_frames(per_kind, TEST_SEED), bald_frames(max(2, per_kind // 3), TEST_SEED))
    metrics = tested(looked_at(model, frames), trust, THRESHOLD, NEVER_FAINT)
    metrics |= {f"parity_{name}": value for name, value in differences.items()} | {"reliability_fit_mae": fitted["reliability_mae"]}
    golden, golden_file = segmenter_golden(model, GOLDEN)
    role = TeacherRole(
        model=MODEL,
        golden=golden,
        card=card,
        input=INPUT_SPEC,
        preprocessing=PREPROCESSING,
        threshold=THRESHOLD,
        faint_threshold=NEVER_FAINT,
        trust=trust,
        marks=False,
        metrics={key: round(value, 7) for key, value in metrics.items()},
    )
    return RolePart("teacher", role, {MODEL: model, GOLDEN: golden_file, **(more or {})})


def _repeat(size: Size, state: dict[str, Any]) -> str:
    """The command that makes a training again."""
    recipe, step = state["recipe"], int(state["step"])
    usual = RECIPES.get(recipe["name"])
    steps = "" if usual is not None and recipe["steps"] == usual.steps else f" --steps {recipe['steps']}"
    stopped = "" if step == recipe["steps"] else f" (stopped at step {step})"
    return f"trichoscope-export train u2net --size {size} --recipe {recipe['name']}{steps} --seed {state['seed']} --out TRAINING{stopped}"
