"""Weights kept in half precision and computed with in float32: a file of half the size that every machine runs at the same speed.

Unlike a network in half precision (`export.conversion.halves`) nothing is computed otherwise: ONNX Runtime turns the weights into float32
once, as it loads them. They lose digits from the eleventh binary one on, so what a part says of itself is measured on this graph.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.conversion.onnx_graph import checked

LEAST_VALUES: Final = 1024
"""Smaller tensors are thresholds, shapes and shifts: nothing is gained by them."""
LARGEST: Final = 6.0e4
"""Of a half's range; a tensor with larger values is left as it is."""


def with_half_weights(model: bytes) -> bytes:
    """`model` with its large float32 constants kept as float16, each behind a cast to float32.

    Raises:
        ConversionError: the graph that was made is not valid.
    """
    proto = onnx.load_from_string(model)
    graph = proto.graph
    kept, casts = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else np.empty(0)
        if values.size < LEAST_VALUES or not np.abs(values).max() <= LARGEST:
            kept.append(tensor)
            continue
        short = f"{tensor.name}_half"
        kept.append(numpy_helper.from_array(values.astype(np.float16), short))
        casts.append(helper.make_node("Cast", [short], [tensor.name], name=f"{tensor.name}_whole", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    return checked(proto)
