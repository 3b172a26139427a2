"""A network in 8-bit integers (INT8), written as explicit QuantizeLinear and DequantizeLinear nodes around what is to be computed so.

Two forms, for the two kinds of machine: x86 wants unsigned activations with a zero point and biases as 32-bit integers (ONNX Runtime
then fuses each convolution); TensorRT demands signed, symmetric activations and takes biases as they are. Weights are signed, symmetric
and scaled by channel in both. Scales come from `Ranges` that were seen on calibration frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.conversion.graph_edit import Graph, attribute
from export.conversion.onnx_graph import checked

SUMS = ("Conv", "Gemm", "MatMul")
OPERATORS = frozenset({*SUMS, "Add"})
ACTIVATIONS = frozenset({"Clip", "Relu"})
PASSES_ON = frozenset({"Resize", "DepthToSpace", "SpaceToDepth", "Transpose", "Reshape", "MaxPool", "Squeeze", "Unsqueeze", "Flatten"})
"""Operators whose output has the values of their input, and so its scale (Resize where it takes the nearest)."""
WEIGHT_STEPS, NARROW_STEPS = 127, 63
"""Largest weight. x86 CPUs without VNNI add two 16-bit products that overflow with larger ones: 7 bits give the same numbers on all."""
LARGEST_BIAS = 2.0**30


@dataclass(frozen=True)
class Range:
    """Between which values a tensor is to be told apart: `low` ≤ 0 ≤ `high`, and `most` of their size for symmetric scales."""

    low: float
    high: float
    most: float


Ranges = Mapping[str, Range]


def integer_nodes(model: bytes) -> tuple[str, ...]:
    """Names of the nodes that can be computed in integers, in the graph's order."""
    graph = Graph(model)
    captured = graph.captured()
    return tuple(node.name for node in graph.nodes if _can(graph, node, captured))


def tensors_to_watch(model: bytes) -> tuple[str, ...]:
    """The tensors whose ranges `integer_graph` may ask for."""
    graph = Graph(model)
    every = {node.name for node in graph.nodes if _can(graph, node, graph.captured())}
    return tuple(sorted(_activations(graph, every, outputs=True)))


def integer_graph(
    model: bytes, ranges: Ranges, *, symmetric: bool, narrow_weights: bool = False, left_out: frozenset[str] = frozenset()
) -> bytes:
    """`model` with all nodes that can be in integers but those `left_out` (by name).

    Args:
        symmetric: TensorRT's form; else that of x86.
        narrow_weights: 7 bits.

    Raises:
        ConversionError: the graph that was made is not valid.
    """
    graph = Graph(model)
    captured = graph.captured()
    chosen = {node.name for node in graph.nodes if node.name not in left_out and _can(graph, node, captured)}
    watched = _activations(graph, chosen, outputs=not symmetric)
    scales = _scales(graph, watched, ranges, symmetric)
    made: list[Any] = []
    through: dict[str, str] = {}
    weights: dict[tuple[str, int], tuple[str, NDArray[np.float32]]] = {}
    for name in sorted(graph.inputs & watched):
        made += _pair(graph, name, scales[name], symmetric, through)
    dropped = set() if symmetric else _done_by_saturation(graph, watched, scales)
    for node in graph.nodes:
        names = list(node.input)
        if node.output[0] in dropped:
            made += _pair(graph, node.output[0], scales[node.output[0]], symmetric, through, source=names[0])
            continue
        if node.name in chosen and node.op_type in SUMS and names[1] in graph.constants:
            axis = _channel_axis(node)
            bias = graph.constants.get(names[2]) if len(names) > 2 and names[2] else None
            integer_bias = bias is not None and not symmetric
            key = (node.name if integer_bias else names[1], axis)  # an integer bias may need a coarser scale than others of this weight
            if key not in weights:
                sizes = _weight_scales(graph.constants[names[1]], axis, NARROW_STEPS if narrow_weights else WEIGHT_STEPS)
                if integer_bias and bias is not None:
                    sizes = np.maximum(sizes, np.abs(bias) / (LARGEST_BIAS * scales[names[0]][0])).astype(np.float32)
                weights[key] = (_weight(graph, names[1], axis, sizes, narrow_weights, made), sizes)
            node.input[1], sizes = weights[key]
            if integer_bias and bias is not None:
                node.input[2] = _bias(graph, names[2], bias, np.float32(scales[names[0]][0]) * sizes, made)
        for place, name in enumerate(names):
            if name in through:
                node.input[place] = through[name]
        made.append(node)
        for name in node.output:
            if name in watched:
                made += _pair(graph, name, scales[name], symmetric, through)
    return checked(graph.finish(made))


def calibrated(samples: Mapping[str, NDArray[np.float32]], extremes: Mapping[str, tuple[float, float]]) -> dict[str, Range]:
    """The range of each tensor: of those between nothing and its extremes, the one that loses least of its `samples` in the mean square."""
    shares = np.concatenate([np.linspace(1, 0.5, 11), [0.4, 0.3]])
    found = {}
    for name, values in samples.items():
        low, high = min(extremes[name][0], 0.0), max(extremes[name][1], 0.0)
        most = max(-low, high)
        losses = [_loss(values, low * share, high * share, 255) for share in shares]
        symmetric = [_loss(values, -most * share, most * share, 254) for share in shares]
        share, other = float(shares[int(np.argmin(losses))]), float(shares[int(np.argmin(symmetric))])
        found[name] = Range(low * share, high * share, most * other)
    return found


def _loss(values: NDArray[np.float32], low: float, high: float, steps: int) -> float:
    scale = max((high - low) / steps, 1e-12)
    told = np.clip(np.rint((values - low) / scale), 0, steps) * scale + low
    return float(np.mean((told - values) ** 2))


def _can(graph: Graph, node: Any, captured: set[str]) -> bool:
    """Whether a node can be computed in integers."""
    if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
        return False
    names = list(node.input)
    if captured & {*names, *node.output} or not all(graph.is_float(name) for name in (*names[:2], *node.output)):
        return False
    if node.op_type == "Add":
        return not set(names) & set(graph.constants)
    if names[0] in graph.constants or names[1] not in graph.constants:
        return False
    if len(names) > 2 and names[2] and (names[2] not in graph.constants or graph.constants[names[2]].ndim != 1):
        return False
    if node.op_type == "Gemm":
        return attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0 and not attribute(node, "transA", 0)
    return node.op_type == "Conv" or graph.constants[names[1]].ndim == 2


def _activations(graph: Graph, chosen: set[str], *, outputs: bool) -> set[str]:
    """Tensors to be told apart in 8 bits: inputs of the chosen nodes, and where `outputs`, what leaves them behind their activation."""
    consumers = graph.consumers()
    found: set[str] = set()
    for node in graph.nodes:
        if node.name not in chosen:
            continue
        found |= {name for name in node.input[:2] if name not in graph.constants}
        if not outputs:
            continue
        name = node.output[0]
        followers = consumers.get(name, [])
        if len(followers) == 1 and followers[0].op_type in ACTIVATIONS and name not in graph.outputs:
            name = followers[0].output[0]
        found.add(name)
    return found - graph.outputs - graph.captured()


def _scales(graph: Graph, watched: set[str], ranges: Ranges, symmetric: bool) -> dict[str, tuple[float, int]]:
    """Scale and zero point of each tensor; what only passes values on keeps them."""
    producers = graph.producers()
    found: dict[str, tuple[float, int]] = {}

    def of(name: str) -> tuple[float, int]:
        if name not in found:
            maker = producers.get(name)
            same = maker is not None and maker.op_type in PASSES_ON and maker.input[0] in watched
            if same and maker is not None and (maker.op_type != "Resize" or attribute(maker, "mode", b"nearest") == b"nearest"):
                found[name] = of(maker.input[0])
            elif symmetric:
                found[name] = (max(ranges[name].most, 1e-6) / 127, 0)
            else:
                # a hair less: an activation that clips to this range is then known to do nothing, and is fused away
                scale = max(ranges[name].high - ranges[name].low, 1e-6) / 255 * (1 - 1e-6)
                found[name] = (scale, int(np.clip(round(-ranges[name].low / scale), 0, 255)))
        return found[name]

    for name in sorted(watched):
        of(name)
    return found


def _done_by_saturation(graph: Graph, watched: set[str], scales: Mapping[str, tuple[float, int]]) -> set[str]:
    """Watched outputs of activations that cut no more than the 8 bits do: without them ONNX Runtime can fuse what comes before."""
    found = set()
    consumers = graph.consumers()
    for node in graph.nodes:
        if node.op_type not in ACTIVATIONS or node.output[0] not in watched or len(consumers[node.input[0]]) != 1:
            continue
        if node.input[0] in graph.outputs | graph.inputs:
            continue
        scale, zero = scales[node.output[0]]
        low, high = -np.inf, np.inf
        if node.op_type == "Relu":
            low = 0.0
        else:
            bounds = [graph.constants.get(name) if name else None for name in (*node.input[1:], "", "")[:2]]
            if any(bound is None and name for bound, name in zip(bounds, node.input[1:], strict=False)):
                continue  # bounds that are computed
            low, high = (default if bound is None else float(bound) for bound, default in zip(bounds, (low, high), strict=True))
        if low <= -zero * scale and (255 - zero) * scale <= high:
            found.add(node.output[0])
    return found


def _pair(
    graph: Graph, name: str, scale: tuple[float, int], symmetric: bool, through: dict[str, str], source: str | None = None
) -> list[Any]:
    """The two nodes that take a tensor to 8 bits and back; `through` then holds the name behind them."""
    kind = np.int8 if symmetric else np.uint8
    size = graph.add_constant(f"{name}_scale", np.array(scale[0], np.float32))
    zero = graph.add_constant(f"{name}_zero", np.array(scale[1], kind))
    integer, back = graph.fresh(f"{name}_8bit"), graph.fresh(f"{name}_back")
    through[name] = back
    return [
        onnx.helper.make_node("QuantizeLinear", [source or name, size, zero], [integer], name=f"quantise_{integer}"),
        onnx.helper.make_node("DequantizeLinear", [integer, size, zero], [back], name=f"dequantise_{back}"),
    ]


def _channel_axis(node: Any) -> int:
    """Along which axis of a node's weight its output channels lie."""
    if node.op_type == "Conv":
        return 0
    return 0 if node.op_type == "Gemm" and attribute(node, "transB", 0) else 1


def _weight_scales(weight: NDArray[Any], axis: int, steps: int) -> NDArray[np.float32]:
    others = tuple(a for a in range(weight.ndim) if a != axis)
    return np.asarray(np.maximum(np.abs(weight).max(others) / steps, 1e-10), np.float32)


def _weight(graph: Graph, name: str, axis: int, sizes: NDArray[np.float32], narrow: bool, made: list[Any]) -> str:
    weight = graph.constants[name]
    steps = NARROW_STEPS if narrow else WEIGHT_STEPS
    shape = [-1 if a == axis else 1 for a in range(weight.ndim)]
    integers = np.clip(np.rint(weight / sizes.reshape(shape)), -steps, steps).astype(np.int8)
    return _back(graph, name, integers, sizes, np.zeros(len(sizes), np.int8), axis, made)


def _bias(graph: Graph, name: str, bias: NDArray[Any], sizes: NDArray[np.float32], made: list[Any]) -> str:
    integers = np.rint(bias.astype(np.float64) / sizes).astype(np.int32)
    return _back(graph, name, integers, sizes, np.zeros(len(sizes), np.int32), 0, made)


def _back(
    graph: Graph, name: str, integers: NDArray[Any], sizes: NDArray[np.float32], zeros: NDArray[Any], axis: int, made: list[Any]
) -> str:
    """Integers as a constant and the node that makes floats of them; the name of the floats."""
    constants: Sequence[str] = [
        graph.add_constant(f"{name}_8bit" if integers.dtype == np.int8 else f"{name}_32bit", integers),
        graph.add_constant(f"{name}_scale", sizes),
        graph.add_constant(f"{name}_zero", zeros),
    ]
    back = graph.fresh(f"{name}_back")
    made.append(onnx.helper.make_node("DequantizeLinear", list(constants), [back], name=f"dequantise_{back}", axis=axis))
    return back
