"""A network in half precision (FP16): the precision lies in the graph, as casts and fp16 constants, so that every backend reads it there.

Inputs and outputs stay as they are. Only operators that are known to do well in half precision are changed; what sums or exponentiates
over many values (softmax, means, norms, recurrent layers) stays in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from export.conversion.graph_edit import FLOAT, Graph
from export.conversion.onnx_graph import checked

HALF = TensorProto.FLOAT16
SUMS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
BY_ELEMENT = frozenset({"Add", "Sub", "Mul", "Div", "Neg", "Abs", "Min", "Max", "Where", "Erf", "BatchNormalization"})
ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu"})
POOLS = frozenset({"MaxPool", "AveragePool", "Resize"})
SHAPES = frozenset({"Concat", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Gather", "Expand", "Pad"})
OPERATORS = SUMS | BY_ELEMENT | ACTIVATIONS | POOLS | SHAPES | {"DepthToSpace", "SpaceToDepth", "Identity"}
STAYS_FLOAT = {"Resize": (1, 2)}
"""Inputs of an operator that are float32 whatever the rest is."""
LARGEST, SMALLEST = 6.0e4, 6.1e-5
"""Constants beyond half precision keep their node in float32; parts of a constant below its normal range only lose digits."""


def half_nodes(model: bytes) -> tuple[str, ...]:
    """Names of the nodes that can be computed in half precision, in the graph's order."""
    graph = Graph(model)
    kept = graph.captured()
    return tuple(node.name for node in graph.nodes if _can(graph, node, kept))


def half_graph(model: bytes, *, left_out: frozenset[str] = frozenset()) -> bytes:
    """`model` with all nodes that can be in half precision but those `left_out` (by name).

    Raises:
        ConversionError: the graph that was made is not valid.
    """
    graph = Graph(model)
    kept = graph.captured()
    halves = {node.name for node in graph.nodes if node.name not in left_out and _can(graph, node, kept)}
    source = {name: node.name in halves for node in graph.nodes for name in node.output}  # whether a tensor is made in half precision
    renamed = {name: graph.fresh(f"{name}_half") for node in graph.nodes if node.name in halves for name in node.output}
    made: list[Any] = []
    there: dict[tuple[str, int], str] = {}

    def as_type(name: str, wanted: int) -> str:
        """The tensor in that precision, cast where it is made in the other."""
        is_half = source.get(name, False)
        if not name or (not is_half and not graph.is_float(name)):
            return name
        if is_half == (wanted == HALF):
            return renamed[name] if is_half else name
        if (name, wanted) not in there:
            if name in graph.constants:
                there[name, wanted] = graph.add_constant(f"{name}_half", graph.constants[name].astype(np.float16))
            else:
                # an output of the graph keeps its name; the cast to it is made at once
                cast = name if is_half else graph.fresh(f"{name}_as_half")
                made.append(onnx.helper.make_node("Cast", [renamed[name] if is_half else name], [cast], name=f"cast_{cast}", to=wanted))
                there[name, wanted] = cast
        return there[name, wanted]

    for node in graph.nodes:
        half = node.name in halves
        stays = STAYS_FLOAT.get(node.op_type, ())
        for place, name in enumerate(node.input):
            node.input[place] = as_type(name, HALF if half and place not in stays else FLOAT)
        names = list(node.output)
        if half:
            for place, name in enumerate(names):
                node.output[place] = renamed[name]
        made.append(node)
        for name in names:
            if half and name in graph.outputs:
                as_type(name, FLOAT)
    return checked(graph.finish(made))


def _can(graph: Graph, node: Any, captured: set[str]) -> bool:
    """Whether a node can be computed in half precision: an operator that does well, float32 in and out, constants in range."""
    if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx") or captured & set(node.output):
        return False
    floats = [name for place, name in enumerate(node.input) if graph.is_float(name) and place not in STAYS_FLOAT.get(node.op_type, ())]
    if not floats or not all(graph.is_float(name) for name in node.output):
        return False
    for name in floats:
        values = graph.constants.get(name)
        if values is None or not values.size:
            continue
        size = np.abs(values)
        if float(size.max()) > LARGEST or (values.size == 1 and 0 < float(size.max()) < SMALLEST):
            return False
    return True
