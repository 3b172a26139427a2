"""Reading and rewiring ONNX graphs: names, element types, constants and who consumes what, for the makers of other precisions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

FLOAT = TensorProto.FLOAT


class Graph:
    """A parsed network that is about to be changed. Every node has a name of its own; types are those of the graph as it came."""

    def __init__(self, model: bytes) -> None:
        self.proto: Any = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
        graph = self.proto.graph
        self.constants: dict[str, NDArray[Any]] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.inputs = {value.name for value in graph.input}
        self.outputs = {value.name for value in graph.output}
        self.types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
        self.types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        self.taken = {name for node in graph.node for name in (*node.input, *node.output)} | set(self.constants)
        seen: Counter[str] = Counter()
        for number, node in enumerate(graph.node):
            name = node.name or f"{node.op_type}_{number}"
            seen[name] += 1
            node.name = name if seen[name] == 1 else f"{name}_{number}"

    @property
    def nodes(self) -> list[Any]:
        """The nodes in their order."""
        return list(self.proto.graph.node)

    def is_float(self, name: str) -> bool:
        """Whether the tensor is known to be float32."""
        return self.types.get(name) == FLOAT

    def opset(self) -> int:
        """Of the operators of ONNX itself."""
        return max(int(entry.version) for entry in self.proto.opset_import if entry.domain in ("", "ai.onnx"))

    def producers(self) -> dict[str, Any]:
        """The node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    def consumers(self) -> dict[str, list[Any]]:
        """The nodes that read each tensor; a node with subgraphs reads what they read."""
        found: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in {*node.input, *_captured(node)}:
                found.setdefault(name, []).append(node)
        return found

    def captured(self) -> set[str]:
        """Tensors that subgraphs (of loops and conditions) read: they are never changed."""
        return {name for node in self.nodes for name in _captured(node)}

    def fresh(self, wish: str) -> str:
        """A name that no tensor has yet; it is taken now."""
        name, number = wish, 1
        while name in self.taken:
            number += 1
            name = f"{wish}_{number}"
        self.taken.add(name)
        return name

    def add_constant(self, wish: str, values: NDArray[Any]) -> str:
        """A new constant's name."""
        name = self.fresh(wish)
        self.proto.graph.initializer.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def finish(self, nodes: list[Any]) -> Any:
        """The graph with these nodes, without constants that nobody reads and without types that may no longer hold."""
        graph = self.proto.graph
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(kept)
        read = {name for node in kept for name in {*node.input, *_captured(node)}} | self.outputs
        constants = [tensor for tensor in graph.initializer if tensor.name in read]
        del graph.initializer[:]
        graph.initializer.extend(constants)
        del graph.value_info[:]
        return self.proto


def attribute(node: Any, name: str, default: Any) -> Any:
    """A node's attribute, or the default."""
    return next((onnx.helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)


def _captured(node: Any) -> set[str]:
    names: set[str] = set()
    for entry in node.attribute:
        for graph in (entry.g, *entry.graphs) if entry.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) else ():
            for inner in graph.node:
                names |= {*inner.input, *_captured(inner)}
    return names
