"""Golden data: inputs of a network and what its fp32 reference answers, in one file that travels with the model.

The file is an NPZ of plain arrays, `CASE/in/TENSOR` and `CASE/out/TENSOR`; sizes are checked before anything is unpacked, and no
pickle is ever read.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundles.errors import BundleError

MAX_CASES = 64
MAX_UNPACKED_BYTES = 128 * 1024 * 1024
KINDS = "fiub"  # floats, signed and unsigned whole numbers, truth values
NUMBER_DIGITS = 4  # of a case's number: Python takes long to read thousands of digits, and refuses more
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others take as much memory for unpacking as the file asks for


@dataclass(frozen=True, eq=False)
class GoldenCase:
    """One input of a network and the reference's answer, arrays by tensor name."""

    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]


def pack(cases: Sequence[GoldenCase]) -> bytes:
    """The file of `cases`, the same bytes for the same cases.

    Raises:
        BundleError: there is no case, or more than MAX_CASES.
    """
    if not 1 <= len(cases) <= MAX_CASES:
        raise BundleError(f"golden data: {len(cases)} cases: give 1 to {MAX_CASES}")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, case in enumerate(cases):
            for way, arrays in (("in", case.inputs), ("out", case.outputs)):
                for name, array in sorted(arrays.items()):
                    entry = zipfile.ZipInfo(f"{number}/{way}/{name}.npy")  # of 1980: the time of packing is no part of the content
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    content = io.BytesIO()
                    np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
                    archive.writestr(entry, content.getvalue())
    return out.getvalue()


def unpack(content: bytes, where: str) -> tuple[GoldenCase, ...]:
    """The cases of a file; `where` names it in errors.

    Raises:
        BundleError: no such file, too much in it, a case without input or output, an array that is no array of finite numbers.
    """
    remedy = "make the bundle again"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_CASES * 32 or sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
                raise BundleError(f"{where}: golden data of more than {MAX_UNPACKED_BYTES} bytes unpacked: {remedy}")
            if any(entry.compress_type not in PACKED for entry in entries):
                raise BundleError(f"{where}: golden data that are compressed otherwise than by deflate: {remedy}")
            if len({entry.filename for entry in entries}) != len(entries):
                raise BundleError(f"{where}: an array comes twice: {remedy}")
            arrays = {entry.filename: _array(archive.read(entry)) for entry in entries}
    except BundleError:
        raise
    except Exception as problem:  # a damaged archive raises what its parts raise
        raise BundleError(f"{where}: not golden data ({problem}): {remedy}") from problem
    sorted_by_case: dict[int, tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]] = {}
    for name, array in arrays.items():
        number, _, rest = name.partition("/")
        way, _, tensor = rest.partition("/")
        if (
            not (number.isascii() and number.isdigit() and len(number) <= NUMBER_DIGITS)
            or way not in ("in", "out")
            or not tensor.endswith(".npy")
        ):
            raise BundleError(f"{where}: {name[:64]!r} belongs to no case: {remedy}")
        if (
            array.dtype.kind not in KINDS
            or not array.dtype.isnative
            or array.size == 0
            or (array.dtype.kind == "f" and not np.isfinite(array).all())
        ):
            raise BundleError(f"{where}: {name[:64]!r} is no array of finite numbers as this processor has them: {remedy}")
        sorted_by_case.setdefault(int(number), ({}, {}))[way == "out"][tensor.removesuffix(".npy")] = array
    cases = [GoldenCase(*sorted_by_case[number]) for number in sorted(sorted_by_case)]
    if not 1 <= len(cases) <= MAX_CASES or not all(case.inputs and case.outputs for case in cases):
        raise BundleError(f"{where}: {len(cases)} cases, or one without input or output: nothing could be compared: {remedy}")
    return tuple(cases)


def _array(content: bytes) -> NDArray[Any]:
    """The array of an NPY file. Raises ValueError before anything is allocated where it says another size than it has."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"NPY version {version}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"an array of {dtype} {shape} in {len(content)} bytes")
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array
