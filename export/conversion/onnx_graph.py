"""A network as an ONNX graph that takes camera pictures as they are, and the proof that the graph gives the network's numbers.

The tracing exporter is used: it needs nothing beyond PyTorch, and a fully convolutional network has no control flow that it could
lose; parity is checked at sizes other than the traced one all the same.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxslim
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.errors import ConversionError
from export.networks.live import STRIDE, LiveNet
from runtime.inference.onnx import OnnxBackend

INPUT, OUTPUTS = "picture", ("hair", "marks", "features")
OPSET, IR = 17, 10  # what the oldest ONNX Runtime that we run on (1.20) takes
MAX_OPSET, DOMAINS = 18, frozenset({"ai.onnx", "ai.onnx.ml"})
TOLERANCE = 1e-4
PARITY_SIZES = ((64, 64), (96, 160), (480, 640), (544, 960))


class CameraGraph(nn.Module):
    """The live network with its picture's layout before it and probabilities behind it.

    uint8 (1, height, width, 3) BGR to hair (1, 1, height, width), marks (1, MARKS, height / 2, width / 2), both 0…1, and features (1, c).
    """

    def __init__(self, network: LiveNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.network(picture.permute(0, 3, 1, 2).float())
        return torch.sigmoid(found.hair), torch.sigmoid(found.marks), found.features


def live_onnx(network: LiveNet) -> bytes:
    """The ONNX file of a trained network; sides of its input may be any multiple of STRIDE.

    Raises:
        ConversionError: the graph is not valid.
    """
    graph = CameraGraph(network).eval()
    example = torch.zeros((1, 3 * STRIDE, 4 * STRIDE, 3), dtype=torch.uint8)
    axes = {
        INPUT: {1: "height", 2: "width"},
        "hair": {2: "height", 3: "width"},
        "marks": {2: "half_height", 3: "half_width"},
    }
    return to_onnx(graph, example, INPUT, OUTPUTS, axes)


def to_onnx(graph: nn.Module, example: Tensor, name: str, outputs: Sequence[str], axes: dict[str, dict[int, str]]) -> bytes:
    """Trace, slim and check `graph`; IR and opset as the device's ONNX Runtime takes them.

    Raises:
        ConversionError: the checker refuses the graph.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor, which wants one more dependency
        torch.onnx.export(
            graph,
            (example,),
            buffer,  # type: ignore[arg-type]
            input_names=[name],
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        proto = onnx.load_from_string(buffer.getvalue())
    return finished(proto)


def finished(proto: onnx.ModelProto) -> bytes:
    """Slim and check a graph, and stamp the IR that old runtimes take; the bytes of its file.

    Raises:
        ConversionError: the checker refuses it, or it needs an opset or operators that the device does not take, or other files.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        slim: Any = onnxslim.slim(proto)
    return checked(slim)


def checked(proto: Any) -> bytes:
    """The bytes of a graph that needs no slimming, checked and stamped as `finished` does. Raises ConversionError as that."""
    proto.ir_version = min(proto.ir_version, IR)
    proto.doc_string = ""
    del proto.metadata_props[:]
    for part in (*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]  # where in the source each node comes from: paths of the workstation among it
    opsets = {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import}
    used = {node.domain or "ai.onnx" for node in proto.graph.node}
    if used - DOMAINS:
        raise ConversionError(f"operators of {', '.join(sorted(used - DOMAINS))}: the device runs those of ONNX alone: write it otherwise")
    if opsets.get("ai.onnx", 0) > MAX_OPSET:
        raise ConversionError(f"opset {opsets['ai.onnx']}: the device takes {MAX_OPSET} at most: export it with an older one")
    for entry in [entry for entry in proto.opset_import if (entry.domain or "ai.onnx") not in used | {"ai.onnx"}]:
        proto.opset_import.remove(entry)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        raise ConversionError(f"the graph is not valid ONNX: {str(problem).strip().splitlines()[0]}: export it otherwise") from problem
    return bytes(proto.SerializeToString())


def parity(network: LiveNet, model: bytes, *, sizes: Sequence[tuple[int, int]] = PARITY_SIZES, seed: int = 0) -> dict[str, float]:
    """The largest absolute difference of each output between PyTorch and ONNX Runtime over random pictures of the `sizes`.

    Features are compared relative to their largest value, probabilities as they are.

    Raises:
        ConversionError: a difference above TOLERANCE, or nothing was compared.
    """
    rng = np.random.default_rng(seed)
    graph = CameraGraph(network).eval()
    worst: dict[str, float] = {}
    with OnnxBackend(model, name="parity") as backend, torch.no_grad():
        for height, width in sizes:
            picture: NDArray[np.uint8] = rng.integers(0, 256, (1, height, width, 3), np.uint8)
            found = backend.infer({INPUT: picture})
            for name, wanted in zip(OUTPUTS, graph(torch.from_numpy(picture)), strict=True):
                expected = wanted.numpy()
                scale = max(1.0, float(np.abs(expected).max()))
                worst[name] = max(worst.get(name, 0.0), float(np.abs(found[name] - expected).max()) / scale)
    if not worst:
        raise ConversionError("parity: nothing was compared: name at least one size")
    beyond = {name: value for name, value in worst.items() if not value <= TOLERANCE}
    if beyond:
        raise ConversionError(f"parity: {beyond} above {TOLERANCE}: the graph does not give the network's numbers")
    return worst
