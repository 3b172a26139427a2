"""Golden data of a network: inputs through its fp32 reference, packed with the tolerances that every backend is held to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.parts import Golden, Tolerance
from runtime.inference.onnx import OnnxBackend

STEP = 2.0**-17
"""Answers are rounded to this: a thirteenth of the tolerance, and a file half as large."""
FP32_TOLERANCE = 1e-4


def golden_cases(model: bytes, inputs: Iterable[Mapping[str, NDArray[Any]]]) -> list[GoldenCase]:
    """Each of `inputs` (arrays by tensor name) with what the ONNX bytes `model` answer on ONNX Runtime.

    Raises:
        InferenceError: the network cannot be run.
    """
    with OnnxBackend(model, name="golden", threads=1) as backend:
        return [GoldenCase(dict(given), {k: _rounded(v) for k, v in backend.infer(given).items()}) for given in inputs]


def golden_of(
    file: str, model: bytes, inputs: Iterable[Mapping[str, NDArray[Any]]], *, end: Mapping[str, float] | None = None
) -> tuple[Golden, bytes]:
    """The manifest's entry of golden data and the content of its file."""
    cases = golden_cases(model, inputs)
    tolerances = tuple(Tolerance(output=name, absolute=FP32_TOLERANCE, relative=FP32_TOLERANCE) for name in sorted(cases[0].outputs))
    return Golden(file=file, tolerances=tolerances, end=dict(end or {})), pack(cases)


def _rounded(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind != "f":
        return values
    return np.asarray(np.rint(values / STEP) * STEP, values.dtype)
