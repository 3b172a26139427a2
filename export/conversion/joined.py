"""The thick network joined to the live one that it is averaged with, or corrects: one graph that takes camera pictures as they are."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import compose
from torch import Tensor, nn

from export.conversion.onnx_graph import INPUT, OPSET, TOLERANCE, finished
from export.errors import ConversionError
from export.networks.live import MARKS
from export.networks.thick import PROMPTS, STRIDE, ThickNet
from runtime.inference.onnx import OnnxBackend

POINTS, MASKS, IOU = "prompts", "masks", "iou"
LIVE, LIVE_MARKS = "live_hair", "live_marks"  # the live network's answers, inside the joined graph
PARITY_SIZES = ((64, 64), (96, 160), (480, 640))


class CorrectingGraph(nn.Module):
    """Picture uint8 (1, height, width, 3) BGR and the live network's hair and marks to probabilities of the teacher, or of the refiner.

    A network that saw the picture alone is averaged with the live one: their errors differ.
    """

    def __init__(self, network: ThickNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor, hair: Tensor, marks: Tensor, prompts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        found = self.network(picture.permute(0, 3, 1, 2).float(), hair, marks, prompts)
        if prompts is None or found.iou is None:
            own = torch.sigmoid(found.masks), torch.sigmoid(found.marks)
            return ((own[0] + hair) / 2, (own[1] + marks) / 2) if self.network.alone else own
        return torch.sigmoid(found.masks), torch.sigmoid(found.iou)


def teacher_onnx(network: ThickNet, live: bytes) -> bytes:
    """The ONNX file of a teacher, for the inputs and outputs of a live segmenter; `live` are the bytes of the one that it corrects.

    Raises:
        ConversionError: the graphs do not fit together, or are not valid.
    """
    return _joined(network, live, {"hair": "hair", "marks": "marks"})


def refiner_onnx(network: ThickNet, live: bytes) -> bytes:
    """The ONNX file of a refiner of the kind "maps": picture and prompts to masks and their predicted IoU. Raises as `teacher_onnx`."""
    return _joined(network, live, {MASKS: MASKS, IOU: IOU})


def _joined(network: ThickNet, live: bytes, outputs: dict[str, str]) -> bytes:
    correcting = _correcting(network, tuple(outputs))
    first = compose.add_prefix(onnx.load_from_string(live), "live_")
    second = compose.add_prefix(correcting, "thick_")
    first.ir_version = second.ir_version = min(first.ir_version, second.ir_version)
    try:
        both = compose.merge_models(first, second, io_map=[(LIVE, "thick_hair_in"), (LIVE_MARKS, "thick_marks_in")])
    except ValueError as problem:
        raise ConversionError(f"the live network does not fit the one that corrects it: {problem}: name another live bundle") from problem
    renamed = {"live_picture": INPUT, "thick_picture": INPUT, f"thick_{POINTS}": POINTS, "live_features": "features"}
    renamed |= {f"thick_{name}": final for name, final in outputs.items()}
    graph = both.graph
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for values in (graph.input, graph.output):
        kept: dict[str, Any] = {}
        for value in values:
            value.name = renamed.get(value.name, value.name)
            kept.setdefault(value.name, value)
        wanted = {INPUT, POINTS} if values is graph.input else {*outputs.values(), *(() if network.prompts else ("features",))}
        del values[:]
        values.extend(value for name, value in kept.items() if name in wanted)
    return finished(both)


def _correcting(network: ThickNet, outputs: Sequence[str]) -> Any:
    """The correcting network alone, as a parsed graph, with the inputs "picture", "hair_in", "marks_in" (and "prompts")."""
    height, width = 3 * STRIDE, 4 * STRIDE
    example = [
        torch.zeros((1, height, width, 3), dtype=torch.uint8),
        torch.zeros((1, 1, height, width)),
        torch.zeros((1, MARKS, height // 2, width // 2)),
    ]
    names = [INPUT, "hair_in", "marks_in"]
    if network.prompts:
        example.append(torch.zeros((1, PROMPTS, height, width)))
        names.append(POINTS)
    full, half = {2: "height", 3: "width"}, {2: "half_height", 3: "half_width"}
    axes = {INPUT: {1: "height", 2: "width"}, "hair_in": full, "marks_in": half, POINTS: full, "hair": full, MASKS: full, "marks": half}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor, which wants one more dependency
        torch.onnx.export(
            CorrectingGraph(network).eval(),
            tuple(example),
            buffer,  # type: ignore[arg-type]
            input_names=names,
            output_names=list(outputs),
            dynamic_axes={name: axes[name] for name in (*names, *outputs) if name in axes},
            opset_version=OPSET,
            dynamo=False,
        )
    return onnx.load_from_string(buffer.getvalue())


def parity(
    network: ThickNet, live: bytes, model: bytes, *, sizes: Sequence[tuple[int, int]] = PARITY_SIZES, seed: int = 0
) -> dict[str, float]:
    """The largest absolute difference of each output between PyTorch, fed with the live network's maps, and the joined graph.

    Raises:
        ConversionError: a difference above TOLERANCE, or nothing was compared.
    """
    rng = np.random.default_rng(seed)
    graph = CorrectingGraph(network).eval()
    names = (MASKS, IOU) if network.prompts else ("hair", "marks")
    worst: dict[str, float] = {}
    with OnnxBackend(live, name="live") as first, OnnxBackend(model, name="parity") as backend, torch.no_grad():
        for height, width in sizes:
            picture: NDArray[np.uint8] = rng.integers(0, 256, (1, height, width, 3), np.uint8)
            given: dict[str, NDArray[Any]] = {INPUT: picture}
            if network.prompts:
                given[POINTS] = (rng.random((1, PROMPTS, height, width)) < 0.02).astype(np.float32)
            maps = first.infer({INPUT: picture})
            rest = [torch.from_numpy(np.array(part)) for part in (picture, maps["hair"], maps["marks"], *list(given.values())[1:])]
            found = backend.infer(given)
            for name, wanted in zip(names, graph(*rest), strict=True):
                worst[name] = max(worst.get(name, 0.0), float(np.abs(found[name] - wanted.numpy()).max()))
    if not worst:
        raise ConversionError("parity: nothing was compared: name at least one size")
    beyond = {name: value for name, value in worst.items() if not value <= TOLERANCE}
    if beyond:
        raise ConversionError(f"parity: {beyond} above {TOLERANCE}: the graph does not give the network's numbers")
    return worst
