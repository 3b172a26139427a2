"""ONNX files that no bundle may hold, each with words of its refusal; the rest of such a bundle is in order."""

from __future__ import annotations

import struct

import numpy as np

from tests.runtime.bundle_samples import FLOAT, UINT8, _constant, _field, _int, _ints, _node, _value, _varint, dark_is_hair

NEGATIVE = 2**64 - 1  # −1 as protobuf writes it


def tensor(kind: int, dims: list[int], *fields: bytes, name: str = "t") -> bytes:
    """An initializer."""
    return _field(5, b"".join(_field(1, side) for side in dims) + _field(2, kind) + _field(8, name) + b"".join(fields))


def raw(values: np.ndarray) -> bytes:
    return _field(9, values.tobytes())


def floats(name: str, *values: float) -> bytes:
    return _field(1, name) + b"".join(_varint(7 << 3 | 5) + struct.pack("<f", value) for value in values) + _field(20, 6)


def strings(name: str, *values: str) -> bytes:
    return _field(1, name) + b"".join(_field(9, value) for value in values) + _field(20, 8)


def external(*pairs: tuple[str, str]) -> bytes:
    entries = b"".join(_field(13, _field(1, key) + _field(2, value)) for key, value in pairs)
    return tensor(FLOAT, [4], entries, _field(14, 1))


def inner(depth: int = 1) -> bytes:
    """An If with graphs in graphs."""
    graph = _node("Identity", ["hair"], ["x"])
    for _ in range(depth):
        graph = _field(1, _field(1, "hair") + _field(2, "y") + _field(4, "If") + _field(5, _field(1, "then_branch") + _field(6, graph)))
    return graph


def node_of(domain: str, kind: str) -> bytes:
    return _field(1, _field(1, "hair") + _field(2, "other") + _field(4, kind) + _field(7, domain))


def trees(**changes: bytes) -> bytes:
    """A classifier of one tree with three nodes on `features`, attributes by name."""
    lists = {
        "nodes_treeids": _ints("nodes_treeids", [0, 0, 0]),
        "nodes_nodeids": _ints("nodes_nodeids", [0, 1, 2]),
        "nodes_featureids": _ints("nodes_featureids", [0, 0, 0]),
        "nodes_truenodeids": _ints("nodes_truenodeids", [1, 0, 0]),
        "nodes_falsenodeids": _ints("nodes_falsenodeids", [2, 0, 0]),
        "nodes_modes": strings("nodes_modes", "BRANCH_LEQ", "LEAF", "LEAF"),
        "nodes_values": floats("nodes_values", 0.5, 0.0, 0.0),
        "class_treeids": _ints("class_treeids", [0, 0]),
        "class_nodeids": _ints("class_nodeids", [1, 2]),
        "class_ids": _ints("class_ids", [0, 1]),
        "class_weights": floats("class_weights", 1.0, 1.0),
        "classlabels_int64s": _ints("classlabels_int64s", [0, 1]),
    } | changes
    body = _field(1, "features") + _field(2, "label") + _field(2, "chances") + _field(4, "TreeEnsembleClassifier")
    return _field(1, body + _field(7, "ai.onnx.ml") + b"".join(_field(5, attribute) for attribute in lists.values()))


ML = (("", 17), ("ai.onnx.ml", 3))
SHAPE = tensor(7, [2], raw(np.array([10**6, 10**6], np.int64)), name="big")
GOOD = dark_is_hair()

BAD_GRAPHS: dict[str, tuple[bytes, str]] = {
    "no protocol buffer": (b"no network at all", "no protocol buffer|not known here"),
    "cut short": (GOOD[:-9], "cut off"),
    "noise": (bytes(range(256)) * 4, "no protocol buffer|not known here|damaged"),
    "no graph": (_field(1, 8) + _field(8, _field(1, "") + _field(2, 17)), "no graph"),
    "two graphs": (GOOD + _field(7, _field(2, "other")), "graph comes twice"),
    "two versions": (GOOD + _field(1, 8), "ir_version comes twice"),
    "a number written too long": (b"\x08\x88\x00" + GOOD[2:], "damaged"),
    "a field that nobody knows": (dark_is_hair(beside=_field(99, 1)), "field 99 is not known"),
    "a newer IR": (dark_is_hair(ir=11), "IR version 11"),
    "an IR of none": (dark_is_hair(ir=NEGATIVE), "IR version"),
    "a newer opset": (dark_is_hair(opsets=[("", 19)]), "opset 19"),
    "a newer opset of ai.onnx.ml": (dark_is_hair(opsets=[("", 17), ("ai.onnx.ml", 6)]), "opset 6"),
    "no opset": (dark_is_hair(opsets=[]), "no opset"),
    "two opsets": (dark_is_hair(opsets=[("", 17), ("ai.onnx", 16)]), "different opsets"),
    "a custom domain": (dark_is_hair(opsets=[("", 17), ("com.evil", 1)]), "domain 'com.evil'"),
    "a node of a custom domain": (dark_is_hair(more=node_of("com.microsoft", "FusedConv")), "domain 'com.microsoft'"),
    "a node of a domain without an opset": (dark_is_hair(more=node_of("ai.onnx.ml", "Scaler")), "with their opset"),
    "functions": (dark_is_hair(beside=_field(25, _field(1, "f"))), "functions"),
    "training": (dark_is_hair(beside=_field(20, b"")), "training"),
    "a forbidden operator": (
        dark_is_hair(more=_node("StringNormalizer", ["hair"], ["x"])),
        "'StringNormalizer'.*none that a bundle may use",
    ),
    "an operator of sequences": (dark_is_hair(more=_node("SequenceConstruct", ["hair"], ["x"])), "'SequenceConstruct'"),
    "a branch": (dark_is_hair(more=inner()), "graph within the graph"),
    "a loop": (dark_is_hair(more=_node("Loop", ["hair"], ["x"])), "graph within the graph"),
    "graphs in graphs": (dark_is_hair(more=inner(2000)), "graph within the graph"),
    "weights outside": (dark_is_hair(more=external(("location", "../../../etc/passwd"))), "external data"),
    "weights in another file of the bundle": (dark_is_hair(more=external(("location", "segmenter.npz"))), "external data"),
    "weights said to be elsewhere": (dark_is_hair(more=tensor(FLOAT, [1], _field(14, 1))), "external data"),
    "a giant tensor": (dark_is_hair(more=tensor(FLOAT, [2**40, 2**20], raw(np.zeros(1, np.float32)))), "says .* elements"),
    "a tensor of a negative size": (dark_is_hair(more=tensor(FLOAT, [NEGATIVE], raw(np.zeros(1, np.float32)))), "says .* elements"),
    "a tensor larger than its numbers": (dark_is_hair(more=tensor(FLOAT, [1000], raw(np.zeros(4, np.float32)))), "says 1000 elements"),
    "a tensor with numbers twice": (
        dark_is_hair(more=tensor(FLOAT, [1], raw(np.zeros(1, np.float32)), _field(4, struct.pack("<f", 1)))),
        "wrong place",
    ),
    "a tensor of many sides": (dark_is_hair(more=tensor(FLOAT, [1] * 30, raw(np.zeros(1, np.float32)))), "30 dimensions"),
    "a tensor of texts": (dark_is_hair(more=tensor(8, [1], _field(6, "x"))), "tensor of texts"),
    "a tensor of an unknown type": (dark_is_hair(more=tensor(99, [1], raw(np.zeros(1, np.uint8)))), "element type 99"),
    "sparse weights": (dark_is_hair(more=_field(15, b"")), "sparse"),
    "weights that are no numbers": (dark_is_hair(more=_constant("t", [float("nan")], [1])), "no finite numbers"),
    "endless weights": (dark_is_hair(more=tensor(FLOAT, [1], _field(4, struct.pack("<f", float("inf"))))), "no finite numbers"),
    "halves that are no numbers": (dark_is_hair(more=tensor(10, [1], raw(np.array([np.nan], np.float16)))), "no finite numbers"),
    "halves as bits that are no numbers": (dark_is_hair(more=tensor(10, [1], _field(5, _varint(0x7E00)))), "no finite numbers"),
    "doubles that are no numbers": (dark_is_hair(more=tensor(11, [1], _field(10, struct.pack("<d", float("-inf"))))), "no finite numbers"),
    "an attribute that is no number": (
        dark_is_hair(more=_node("LeakyRelu", ["hair"], ["x"], _field(1, "alpha") + b"\x15" + struct.pack("<f", float("nan")))),
        "no finite numbers",
    ),
    "two weights of a name": (dark_is_hair(more=_constant("level", [1.0], [1])), "two of the name 'level'"),
    "an input that is a weight": (dark_is_hair(more=_constant("picture", [1.0], [1])), "an input and a weight"),
    "an operand that nothing makes": (dark_is_hair(more=_node("Relu", ["nowhere"], ["x"])), "which nothing before it makes"),
    "a result made twice": (dark_is_hair(more=_node("Relu", ["hair"], ["hair"])), "there already"),
    "an output that nothing makes": (dark_is_hair(more=_value(12, "gold", FLOAT, [1])), "nothing makes its output"),
    "an input that is no tensor": (dark_is_hair(more=_field(11, _field(1, "list") + _field(2, _field(4, b"")))), "no tensor"),
    "an input of another name": (dark_is_hair(picture="photo"), "its inputs are photo, picture are expected"),
    "another input beside": (dark_is_hair(more=_value(11, "secret", UINT8, [1])), "its inputs are picture, secret"),
    "another type of input": (
        GOOD.replace(_value(11, "picture", UINT8, [1, "h", "w", 3]), _value(11, "picture", 3, [1, "h", "w", 3])),
        "uint8",
    ),
    "a missing output": (
        GOOD.replace(_value(12, "marks", FLOAT, [1, 3, "h2", "w2"]), _value(12, "float", FLOAT, [1, 3, "h2", "w2"])),
        "marks is missing",
    ),
    "a giant result": (dark_is_hair(more=SHAPE + _node("ConstantOfShape", ["big"], ["x"])), "asks for .* elements"),
    "a giant enlargement": (dark_is_hair(more=SHAPE + _node("Tile", ["features", "big"], ["x"])), "asks for .* elements"),
    "a giant resizing": (
        dark_is_hair(more=_constant("times", [1.0, 1.0, 9999.0, 9999.0], [4]) + _node("Resize", ["hair", "", "times"], ["x"])),
        "enlarges by more",
    ),
    "giant borders": (dark_is_hair(more=_node("MaxPool", ["hair"], ["x"], _ints("pads", [0, 0, 2**40, 0]))), "pads beyond"),
    "a negative stride": (dark_is_hair(more=_node("MaxPool", ["hair"], ["x"], _ints("strides", [NEGATIVE, 1]))), "strides beyond"),
    "a declared size of a terabyte": (dark_is_hair(more=_value(13, "x", FLOAT, [2**20, 2**20])), "elements"),
    "an attribute twice": (dark_is_hair(more=_node("Softmax", ["hair"], ["x"], _int("axis", 1), _int("axis", 2))), "two of the name"),
    "an endless name": (dark_is_hair(more=_node("x" * 100_000, ["hair"], ["x"])), "a text of 100000 bytes"),
    "a name that is no text": (dark_is_hair(more=_field(1, _field(1, b"\xff\xfe") + _field(4, "Relu"))), "not UTF-8"),
    "trees in a circle": (
        dark_is_hair(opsets=ML, more=trees(nodes_truenodeids=_ints("nodes_truenodeids", [0, 0, 0]))),
        "child is not behind its parent",
    ),
    "trees with a child beyond": (
        dark_is_hair(opsets=ML, more=trees(nodes_falsenodeids=_ints("nodes_falsenodeids", [7, 0, 0]))),
        "child is not behind its parent",
    ),
    "trees of unlike lists": (dark_is_hair(opsets=ML, more=trees(nodes_values=floats("nodes_values", 0.5))), "not as long as each other"),
    "trees of a leaf that is not there": (
        dark_is_hair(opsets=ML, more=trees(class_nodeids=_ints("class_nodeids", [1, 0]))),
        "leaf that is not there",
    ),
    "trees of a giant feature": (
        dark_is_hair(opsets=ML, more=trees(nodes_featureids=_ints("nodes_featureids", [10**6, 0, 0]))),
        "features or classes",
    ),
    "trees of an unknown mode": (
        dark_is_hair(opsets=ML, more=trees(nodes_modes=strings("nodes_modes", "BRANCH_LEQ", "LEAF", "LEAVE"))),
        "mode that cannot be",
    ),
    "trees of a mode without end": (
        dark_is_hair(opsets=ML, more=trees(nodes_modes=strings("nodes_modes", "BRANCH_LEQ", "LEAF", "LEAF" * 90))),
        "mode that cannot be",
    ),
    "trees of a node twice": (
        dark_is_hair(opsets=ML, more=trees(nodes_nodeids=_ints("nodes_nodeids", [0, 1, 1]))),
        "not numbered in order",
    ),
    "trees of NaN": (dark_is_hair(opsets=ML, more=trees(class_weights=floats("class_weights", 1.0, float("nan")))), "no finite numbers"),
}
