"""Looks over an ONNX file before any inference library sees it: versions, operators, sizes, names. Needs no ONNX library.

A library that parses a hostile file may crash or take all memory; here nothing is nested, every list is bounded, and every weight is
looked at. Format: onnx.proto of https://github.com/onnx/onnx (IR version 10).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundles.operators import (
    FACTORS,
    MAX_ELEMENTS,
    MAX_FACTOR,
    MAX_IR,
    MAX_OPSETS,
    MAX_SIDE,
    OPERATORS,
    SHAPES,
    SIDES,
    WITH_GRAPHS,
)
from runtime.bundles.tensors import Tensor, read_tensor
from runtime.bundles.trees import check_trees
from runtime.bundles.wire import Field, Span, Wire

MAX_NODES = 20_000
MAX_ENDS = 16  # inputs of a graph, and outputs
MAX_ATTRIBUTES = 64
INNER = "a graph within the graph (If, Loop, Scan or the like)"

MODEL = {
    1: Field("ir_version", "number"),
    2: Field("producer_name"),
    3: Field("producer_version"),
    4: Field("domain"),
    5: Field("model_version", "number"),
    6: Field("doc_string"),
    7: Field("graph", "message"),
    8: Field("opset_import", "messages"),
    14: Field("metadata_props", "messages"),
    20: Field("training_info", refused="a graph for training"),
    25: Field("functions", refused="functions of its own"),
    26: Field("configuration", refused="instructions for several devices"),
}
OPSET = {1: Field("domain", "text"), 2: Field("version", "number")}
GRAPH = {
    1: Field("node", "messages"),
    2: Field("name"),
    5: Field("initializer", "messages"),
    10: Field("doc_string"),
    11: Field("input", "messages"),
    12: Field("output", "messages"),
    13: Field("value_info", "messages"),
    14: Field("quantization_annotation", refused="quantization beside the graph, not in it"),
    15: Field("sparse_initializer", refused="sparse weights"),
    16: Field("metadata_props", "messages"),
}
NODE = {
    1: Field("input", "texts"),
    2: Field("output", "texts"),
    3: Field("name"),
    4: Field("op_type", "text"),
    5: Field("attribute", "messages"),
    6: Field("doc_string"),
    7: Field("domain", "text"),
    8: Field("overload", "text"),
    9: Field("metadata_props", "messages"),
    10: Field("device_configurations", refused="instructions for several devices"),
}
ATTRIBUTE = {
    1: Field("name", "text"),
    2: Field("f", "float"),
    3: Field("i", "number"),
    4: Field("s"),
    5: Field("t", "message"),
    6: Field("g", refused=INNER),
    7: Field("floats", "floats"),
    8: Field("ints", "numbers"),
    9: Field("strings", "blobs"),
    10: Field("tensors", refused="an attribute of several tensors"),
    11: Field("graphs", refused=INNER),
    13: Field("doc_string"),
    14: Field("tp", refused="an attribute that is a type"),
    15: Field("type_protos", refused="an attribute that is a type"),
    20: Field("type", "number"),
    21: Field("ref_attr_name", refused="functions of its own"),
    22: Field("sparse_tensor", refused="sparse weights"),
    23: Field("sparse_tensors", refused="sparse weights"),
}
VALUE = {1: Field("name", "text"), 2: Field("type", "message"), 3: Field("doc_string"), 4: Field("metadata_props", "messages")}
NO_TENSOR = "a value that is no tensor"
TYPE = {
    1: Field("tensor_type", "message"),
    4: Field("sequence_type", refused=NO_TENSOR),
    5: Field("map_type", refused=NO_TENSOR),
    6: Field("denotation"),
    7: Field("opaque_type", refused=NO_TENSOR),
    8: Field("sparse_tensor_type", refused=NO_TENSOR),
    9: Field("optional_type", refused=NO_TENSOR),
}
TENSOR_TYPE = {1: Field("elem_type", "number"), 2: Field("shape", "message")}
SHAPE = {1: Field("dim", "messages")}
DIM = {1: Field("dim_value", "number"), 2: Field("dim_param"), 3: Field("denotation")}


@dataclass(frozen=True)
class Value:
    """What goes into a graph, or comes out: element type (TensorProto.DataType) and sides, None where one may vary.

    `shape` is None where even the number of sides is not said.
    """

    kind: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Graph:
    """What an ONNX file holds, as far as it was looked at.

    Attributes:
        opsets: version by domain.
        operators: how many nodes there are of each, by "domain.operator".
        weights: numbers in its constant tensors.
    """

    ir: int
    opsets: Mapping[str, int]
    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]
    operators: Mapping[str, int]
    weights: int


def read_graph(data: bytes, where: str) -> Graph:
    """The graph of an ONNX file, looked over; `where` names it in errors.

    Raises:
        BundleError: it is none, or holds anything that a bundle's network may not.
    """
    wire = Wire(data, where)
    if not data:
        raise wire.refuse("empty")
    model = wire.message(Span(0, len(data)), MODEL, "the model")
    ir, opsets = _versions(wire, model)
    if "graph" not in model:
        raise wire.refuse("no graph in it")
    graph = wire.message(model["graph"], GRAPH, "the graph")
    constants: dict[str, Tensor] = {}
    for span in graph.get("initializer", []):
        tensor = read_tensor(wire, span)
        if not tensor.name or tensor.name in constants:
            raise wire.refuse(f"a weight without a name, or two of the name {tensor.name[:64]!r}")
        constants[tensor.name] = tensor
    inputs, outputs = (_values(wire, graph.get(way, []), way) for way in ("input", "output"))
    if doubled := inputs.keys() & constants.keys():
        raise wire.refuse(f"{min(doubled)[:64]!r} is an input and a weight")
    for span in graph.get("value_info", []):
        _value(wire, span)
    checker = _Nodes(wire, opsets, inputs, constants)
    nodes = graph.get("node", [])
    if not 1 <= len(nodes) <= MAX_NODES:
        raise wire.refuse(f"{len(nodes)} nodes, 1 to {MAX_NODES} are taken")
    for span in nodes:
        checker.take(span)
    for name in outputs:
        if name not in checker.known:
            raise wire.refuse(f"nothing makes its output {name[:64]!r}")
    return Graph(ir, opsets, inputs, outputs, checker.operators, checker.weights)


def _versions(wire: Wire, model: dict[str, Any]) -> tuple[int, dict[str, int]]:
    ir = int(model.get("ir_version", 0))
    if not 3 <= ir <= MAX_IR:
        raise wire.refuse(f"IR version {ir}, 3 to {MAX_IR} are taken")
    opsets: dict[str, int] = {}
    for span in model.get("opset_import", []):
        found = wire.message(span, OPSET, "an opset")
        domain, version = found.get("domain", ""), int(found.get("version", 0))
        domain = "" if domain == "ai.onnx" else domain
        if domain not in MAX_OPSETS:
            raise wire.refuse(f"operators of the domain {domain[:64]!r}, only ai.onnx and ai.onnx.ml are taken")
        if opsets.get(domain, version) != version:  # skl2onnx says the same twice
            raise wire.refuse(f"the domain {domain or 'ai.onnx'!r} comes twice, with different opsets")
        if not 1 <= version <= MAX_OPSETS[domain]:
            raise wire.refuse(f"opset {version} of {domain or 'ai.onnx'}, at most {MAX_OPSETS[domain]} is taken")
        opsets[domain] = version
    if not opsets:
        raise wire.refuse("no opset in it")
    return ir, opsets


def _values(wire: Wire, spans: list[Span], way: str) -> dict[str, Value]:
    if not 1 <= len(spans) <= MAX_ENDS:
        raise wire.refuse(f"{len(spans)} {way}s, 1 to {MAX_ENDS} are taken")
    found: dict[str, Value] = {}
    for span in spans:
        name, value = _value(wire, span)
        if not name or name in found:
            raise wire.refuse(f"an {way} without a name, or two of the name {name[:64]!r}")
        found[name] = value
    return found


def _value(wire: Wire, span: Span) -> tuple[str, Value]:
    found = wire.message(span, VALUE, "a value")
    name = found.get("name", "")
    type_ = wire.message(found["type"], TYPE, "a type") if "type" in found else {}
    tensor = wire.message(type_["tensor_type"], TENSOR_TYPE, "a type") if "tensor_type" in type_ else {}
    if "shape" not in tensor:
        return name, Value(int(tensor.get("elem_type", 0)), None)
    sides: list[int | None] = []
    for dim in wire.message(tensor["shape"], SHAPE, "a shape").get("dim", []):
        side = wire.message(dim, DIM, "a side").get("dim_value")
        if side is not None and side > MAX_ELEMENTS:
            raise wire.refuse(f"value {name[:64]!r} has a side of {side}, at most {MAX_ELEMENTS} is taken")
        sides.append(None if side is None else int(side))
    whole = 1
    for side in sides:
        whole *= side or 1
    if whole > MAX_ELEMENTS:
        raise wire.refuse(f"value {name[:64]!r} has {whole:.3g} elements, at most {MAX_ELEMENTS} are taken")
    return name, Value(int(tensor.get("elem_type", 0)), tuple(sides))


class _Nodes:
    """Takes one node after the other, in the file's order, which must be the order of computing."""

    def __init__(self, wire: Wire, opsets: Mapping[str, int], inputs: Mapping[str, Value], constants: Mapping[str, Tensor]) -> None:
        self.known = {"", *inputs, *constants}
        self.operators: Counter[str] = Counter()
        self.weights = sum(tensor.values.size for tensor in constants.values())
        self._wire = wire
        self._opsets = opsets
        self._inputs = inputs
        self._constants: dict[str, NDArray[Any]] = {name: t.values for name, t in constants.items() if t.values.size <= 16}

    def take(self, span: Span) -> None:
        """Raises BundleError where the node is not one that a bundle's network may have."""
        wire = self._wire
        node = wire.message(span, NODE, "a node")
        operator, domain = node.get("op_type", ""), node.get("domain", "")
        domain = "" if domain == "ai.onnx" else domain
        if operator in WITH_GRAPHS:
            raise wire.refuse(f"{INNER}: {operator}")
        if domain not in OPERATORS or domain not in self._opsets:
            raise wire.refuse(f"operators of the domain {domain[:64]!r}, only ai.onnx and ai.onnx.ml are taken, with their opset")
        if operator not in OPERATORS[domain] or node.get("overload"):
            raise wire.refuse(f"the operator {operator[:64]!r} of {domain or 'ai.onnx'} is none that a bundle may use")
        self.operators[f"{domain or 'ai.onnx'}.{operator}"] += 1
        inputs, outputs = node.get("input", []), node.get("output", [])
        for name in inputs:
            if name not in self.known:
                raise wire.refuse(f"{operator} takes {name[:64]!r}, which nothing before it makes")
        for name in outputs:
            if name and name in self.known:
                raise wire.refuse(f"{operator} makes {name[:64]!r}, which is there already")
            self.known.add(name)
        attributes = self._attributes(operator, node.get("attribute", []), outputs)
        self._bounded(operator, inputs)
        if operator in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
            highest = check_trees(wire, attributes, "class" if operator.endswith("Classifier") else "target")
            given = self._inputs.get(inputs[0] if inputs else "")
            if given is not None and given.shape and given.shape[-1] is not None and highest >= given.shape[-1]:
                raise wire.refuse(f"a tree that asks for feature {highest} of {given.shape[-1]}")

    def _attributes(self, operator: str, spans: list[Span], outputs: list[str]) -> dict[str, dict[str, Any]]:
        wire = self._wire
        if len(spans) > MAX_ATTRIBUTES:
            raise wire.refuse(f"{operator} with {len(spans)} attributes")
        found: dict[str, dict[str, Any]] = {}
        for span in spans:
            attribute = wire.message(span, ATTRIBUTE, "an attribute")
            name = attribute.get("name", "")
            if not name or name in found:
                raise wire.refuse(f"{operator} with an attribute without a name, or two of the name {name[:64]!r}")
            found[name] = attribute
            if name in SIDES:
                numbers = wire.numbers(attribute.get("ints", []))
                if max(int(numbers.max(initial=0)), int(attribute.get("i", 0))) > MAX_SIDE:
                    raise wire.refuse(f"{operator}: {name} beyond 0 to {MAX_SIDE}")
            spans_of_floats = [*attribute.get("floats", []), *([attribute["f"]] if "f" in attribute else [])]
            if spans_of_floats:
                floats = wire.floats(spans_of_floats)
                if np.isnan(floats).any() or (name != "nodes_values" and np.isinf(floats).any()):  # a threshold may be beyond all numbers
                    raise wire.refuse(f"{operator}: {name}: weights that are no finite numbers (NaN or infinite)")
                self.weights += floats.size
            if "t" in attribute:
                tensor = read_tensor(wire, attribute["t"])
                self.weights += tensor.values.size
                if operator == "Constant" and outputs and tensor.values.size <= 16:
                    self._constants[outputs[0]] = tensor.values
            elif operator == "Constant" and outputs and name == "value_ints":
                self._constants[outputs[0]] = wire.numbers(attribute.get("ints", [])).astype(np.int64)
        return found

    def _bounded(self, operator: str, inputs: list[str]) -> None:
        """Refuse constant shapes and factors that ask for tensors larger than any of ours."""
        place = SHAPES.get(operator)
        if place is not None and place < len(inputs) and inputs[place] in self._constants:
            whole = 1
            for side in self._constants[inputs[place]].tolist():
                whole *= max(int(side), 1)
            if whole > MAX_ELEMENTS:
                raise self._wire.refuse(f"{operator} asks for {whole:.3g} elements, at most {MAX_ELEMENTS} are taken")
        if operator == "Pad" and len(inputs) > 1 and inputs[1] in self._constants:
            pads = [abs(int(side)) for side in self._constants[inputs[1]].tolist()]
            if max(pads, default=0) > MAX_SIDE:
                raise self._wire.refuse(f"Pad: pads beyond {MAX_SIDE}")
        place = FACTORS.get(operator)
        if place is not None and place < len(inputs) and inputs[place] in self._constants:
            factors = self._constants[inputs[place]]
            if factors.size and float(np.max(factors)) > MAX_FACTOR:
                raise self._wire.refuse(f"{operator} enlarges by more than {MAX_FACTOR:g}")
