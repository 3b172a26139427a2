"""The tensors inside an ONNX file: as large as they say, of numbers, finite, and nowhere else than in the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runtime.bundles.wire import Field, Span, Wire

DTYPES: Final[dict[int, Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    4: np.dtype("<u2"),
    5: np.dtype("<i2"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    9: np.dtype("?"),
    10: np.dtype("<f2"),
    11: np.dtype("<f8"),
    12: np.dtype("<u4"),
    13: np.dtype("<u8"),
}
"""TensorProto.DataType: what is taken of it; neither texts nor complex numbers nor types of a byte and less that newer opsets brought."""
MAX_RANK = 8
MAX_ELEMENTS = 64 * 1024 * 1024  # a file holds no more bytes

OUTSIDE = "its weights lie in another file (external data), which nobody has verified"
TENSOR = {
    1: Field("dims", "numbers"),
    2: Field("data_type", "number"),
    3: Field("segment", refused="a tensor in segments"),
    4: Field("float_data", "floats"),
    5: Field("int32_data", "numbers"),
    6: Field("string_data", refused="a tensor of texts"),
    7: Field("int64_data", "numbers"),
    8: Field("name", "text"),
    9: Field("raw_data"),
    10: Field("double_data", "doubles"),
    11: Field("uint64_data", "numbers"),
    12: Field("doc_string"),
    13: Field("external_data", refused=OUTSIDE),
    14: Field("data_location", "number"),
    16: Field("metadata_props", "messages"),
}
TYPED: Final = {1: "float_data", 11: "double_data", 7: "int64_data", 12: "uint64_data", 13: "uint64_data"}  # the rest: int32_data


@dataclass(frozen=True, eq=False)
class Tensor:
    """A constant of a graph; `values` is a view of the file where it can be, flat."""

    name: str
    shape: tuple[int, ...]
    values: NDArray[Any]


def read_tensor(wire: Wire, span: Span) -> Tensor:
    """The tensor in `span`.

    Raises:
        BundleError: its type is not taken, it is larger or smaller than it says, not finite, or elsewhere.
    """
    found = wire.message(span, TENSOR, "a tensor")
    name = found.get("name", "")
    what = f"tensor {name[:64]!r}"
    if found.get("data_location", 0):
        raise wire.refuse(OUTSIDE)
    code = found.get("data_type", 0)
    dtype = DTYPES.get(code)
    if dtype is None:
        raise wire.refuse(f"{what}: element type {code} is not taken")
    dims = wire.numbers(found.get("dims", []))
    if dims.size > MAX_RANK:
        raise wire.refuse(f"{what}: {dims.size} dimensions, at most {MAX_RANK} are taken")
    count = 1
    for side in dims.tolist():  # whole numbers of any size
        count *= side
    if count > MAX_ELEMENTS:
        raise wire.refuse(f"{what}: it says {count:.3g} elements, at most {MAX_ELEMENTS} are taken")
    typed = TYPED.get(code, "int32_data")
    used = [key for key in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data") if key in found]
    if len(used) > 1 or (used and used[0] not in ("raw_data", typed)):
        raise wire.refuse(f"{what}: its numbers are written in the wrong place")
    if "raw_data" in found:
        raw = wire.raw(found["raw_data"])
        values = raw.view(dtype) if raw.size == count * dtype.itemsize else np.zeros(0, dtype)
    elif typed == "float_data":
        values = wire.floats(found.get(typed, []))
    elif typed == "double_data":
        values = wire.doubles(found.get(typed, []))
    else:
        values = _narrowed(wire.numbers(found.get(typed, [])), dtype)
    if values.size != count:
        raise wire.refuse(f"{what}: it says {count} elements and has others")
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise wire.refuse(f"{what}: weights that are no finite numbers (NaN or infinite)")
    return Tensor(name, tuple(dims.tolist()), values)


def _narrowed(numbers: NDArray[np.uint64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers as they stand in int32_data, int64_data or uint64_data, as `dtype`; halves stand there as their bits."""
    if dtype == np.dtype("<f2"):
        return numbers.astype(np.uint16).view(dtype)
    return numbers.astype(dtype)
