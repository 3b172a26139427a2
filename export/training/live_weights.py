"""The live network of a bundle as a PyTorch network that can be trained on.

A bundle holds the network with its batch norms folded into the convolutions before them. They are unfolded again: statistics are
measured on pictures, and scale and shift chosen so that the network gives the same numbers, folded or not, and learns as it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from export.errors import TrainingError
from export.networks.live import LiveNet

PREFIX = "network."  # of the names of layers that kept theirs in the graph
BATCH = 8


def live_weights(model: bytes, pictures: Sequence[NDArray[np.uint8]]) -> LiveNet:
    """The network of the ONNX bytes `model`, as `export.conversion.onnx_graph.live_onnx` makes them.

    Args:
        pictures: uint8 (height, width, 3) BGR, all of one size, sides multiples of the network's stride: what statistics are measured on.

    Raises:
        TrainingError: the graph is of another network.
    """
    constants, folded = _weights(model)
    if not folded:
        raise TrainingError("the live network has no folded convolutions: it is none of ours: name another bundle with --live")
    network = LiveNet(int(folded[0][0].shape[0])).eval()
    kept = {name.removeprefix(PREFIX): torch.from_numpy(np.array(value)) for name, value in constants.items() if name.startswith(PREFIX)}
    missing, unexpected = network.load_state_dict(kept, strict=False)
    pairs = _normed(network)
    fits = len(pairs) == len(folded) and all(
        conv.weight.shape == weight.shape for (conv, _), (weight, _) in zip(pairs, folded, strict=True)
    )
    unnormed = {name for name in missing if not _belongs(name, network, pairs)}
    if unexpected or unnormed or not fits:
        raise TrainingError("the live network is of another shape than this program's: name another bundle with --live")
    for (conv, norm), (weight, bias) in zip(pairs, folded, strict=True):
        with torch.no_grad():
            conv.weight.copy_(torch.from_numpy(np.array(weight)))
            norm.running_mean.zero_()  # type: ignore[union-attr]
            norm.running_var.fill_(1 - norm.eps)  # type: ignore[union-attr]
            norm.weight.fill_(1.0)
            norm.bias.copy_(torch.from_numpy(np.array(bias)))
    _measure(network, pairs, pictures)
    return network


def _weights(model: bytes) -> tuple[dict[str, NDArray[Any]], list[tuple[NDArray[Any], NDArray[Any]]]]:
    """Constants by name, and weight and bias of the folded convolutions in the order in which the network runs them.

    The exporter numbers folded constants in that order; layers without a norm keep their names.
    """
    graph = onnx.load_from_string(model).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    numbered = []
    for node in graph.node:
        if node.op_type != "Conv" or node.input[1].startswith(PREFIX):
            continue
        number = node.input[1].rpartition("_")[2]
        if len(node.input) < 3 or not number.isdigit() or node.input[1] not in constants or node.input[2] not in constants:
            raise TrainingError(f"the live network's convolution {node.name!r} is none of ours: name another bundle with --live")
        numbered.append((int(number), constants[node.input[1]], constants[node.input[2]]))
    return constants, [(weight, bias) for _, weight, bias in sorted(numbered, key=lambda entry: entry[0])]


def _normed(network: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions that a batch norm follows, in order: that of definition, which is that of running."""
    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d))]
    return [(a, b) for a, b in pairwise(layers) if isinstance(a, nn.Conv2d) and isinstance(b, nn.BatchNorm2d)]


def _belongs(name: str, network: nn.Module, pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]]) -> bool:
    layer = network.get_submodule(name.rpartition(".")[0])
    return any(layer is conv or layer is norm for conv, norm in pairs)


@torch.no_grad()
def _measure(network: LiveNet, pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]], pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Give each norm the statistics that its convolution has over `pictures`, and the scale and shift that undo them."""
    sums: dict[nn.Module, list[Tensor]] = {conv: [] for conv, _ in pairs}

    def seen(layer: nn.Module, _: object, output: Tensor) -> None:
        sums[layer].append(torch.stack([output.mean((0, 2, 3)), (output * output).mean((0, 2, 3))]))

    handles = [conv.register_forward_hook(seen) for conv, _ in pairs]
    for first in range(0, len(pictures), BATCH):
        batch = np.stack([picture.transpose(2, 0, 1) for picture in pictures[first : first + BATCH]])
        network(torch.from_numpy(batch).float())
    for handle in handles:
        handle.remove()
    for conv, norm in pairs:
        mean, square = torch.stack(sums[conv]).mean(0)
        spread = (square - mean * mean).clamp(min=1e-6)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(spread)  # type: ignore[union-attr]
        norm.weight.copy_(torch.sqrt(spread + norm.eps))
        norm.bias.add_(mean)
