"""A PyTorch network as an ONNX graph with named inputs and outputs, and the proof over several shapes that it gives the network's numbers.

PyTorch's newer exporter (dynamo) keeps control flow and is used where its extra library `onnxscript` is installed; recurrent layers go
through the older, tracing one: the newer makes of them a graph that is right at the example's length alone, without a word.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.conversion.loading import first_cause, first_line
from export.conversion.onnx_graph import OPSET, finished
from export.errors import ConversionError
from runtime.inference.onnx import OnnxBackend

TOLERANCE = 1e-4
DYNAMO_OPSET = 18  # what dynamo writes; converted down it would not always be right
TYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "uint8": torch.uint8,
    "int64": torch.int64,
    "int32": torch.int32,
    "bool": torch.bool,
}
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
MAX_ELEMENTS = 64 << 20

Exporter = Literal["auto", "dynamo", "tracing"]
Axes = Mapping[str, Mapping[int, str]]


@dataclass(frozen=True)
class TensorSpec:
    """An input as the network takes it: `shape` is the example's, `dtype` one of TYPES."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


def parse_input(text: str) -> TensorSpec:
    """`NAME:1x3x256x256` or `NAME:1x3x256x256:DTYPE` as a TensorSpec.

    Raises:
        ConversionError: it is written otherwise, or is too large.
    """
    found = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_.]{0,63}):(\d{1,6}(?:x\d{1,6}){0,5})(?::([a-z0-9]+))?", text)
    if not found:
        raise ConversionError(f"--input {text!r}: not NAME:SHAPE[:DTYPE]: write for example picture:1x3x256x256:float32")
    spec = TensorSpec(found[1], tuple(int(side) for side in found[2].split("x")), found[3] or "float32")
    if spec.dtype not in TYPES:
        raise ConversionError(f"--input {text!r}: dtype {spec.dtype} is none: choose {', '.join(TYPES)}")
    if not 0 < int(np.prod(spec.shape, dtype=np.float64)) <= MAX_ELEMENTS:
        raise ConversionError(f"--input {text!r}: between one number and {MAX_ELEMENTS} make an input: give another shape")
    return spec


def parse_axes(texts: Sequence[str], inputs: Sequence[TensorSpec], *, dynamic_batch: bool) -> dict[str, dict[int, str]]:
    """Axes whose length may vary, by input: each `NAME:AXIS=LABEL`, and axis 0 of every input where `dynamic_batch`.

    Raises:
        ConversionError: no such input or axis.
    """
    known = {spec.name: spec for spec in inputs}
    axes: dict[str, dict[int, str]] = {spec.name: {0: "batch"} for spec in inputs} if dynamic_batch else {}
    for text in texts:
        found = re.fullmatch(r"([^:=]+):(\d)=([a-z][a-z0-9_]*)", text)
        if not found or found[1] not in known or int(found[2]) >= len(known[found[1]].shape):
            raise ConversionError(f"--dynamic {text!r}: not NAME:AXIS=LABEL of an input: write for example records:1=length")
        axes.setdefault(found[1], {})[int(found[2])] = found[3]
    return axes


class Ordered(nn.Module):
    """A network whose answer is a tuple of tensors in the order of `outputs`: by name of a dictionary's, else in its own order."""

    def __init__(self, network: nn.Module, outputs: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.outputs = tuple(outputs)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        found = self.network(*given)
        if isinstance(found, Tensor):
            return (found,)
        if isinstance(found, Mapping):
            return tuple(found[name] for name in self.outputs)
        return tuple(found)


def is_recurrent(network: nn.Module) -> bool:
    """Whether any layer of it is recurrent (RNN, LSTM, GRU)."""
    return any(isinstance(part, RECURRENT) for part in network.modules())


def chosen_exporter(network: nn.Module, wanted: Exporter) -> Literal["dynamo", "tracing"]:
    """The exporter for a network. Raises ConversionError where dynamo was asked for and would be wrong, or is not here."""
    here = importlib.util.find_spec("onnxscript") is not None
    if wanted == "auto":
        return "dynamo" if here and not is_recurrent(network) else "tracing"
    if wanted == "dynamo" and is_recurrent(network):
        raise ConversionError("--exporter dynamo: it makes wrong graphs of recurrent layers: take --exporter tracing")
    if wanted == "dynamo" and not here:
        raise ConversionError("--exporter dynamo: onnxscript is not installed: pip install onnxscript, or take --exporter tracing")
    return wanted


def network_onnx(
    network: nn.Module, inputs: Sequence[TensorSpec], outputs: Sequence[str], *, axes: Axes | None = None, exporter: Exporter = "auto"
) -> bytes:
    """The ONNX file of a network: slimmed, checked, IR and opset as the device's ONNX Runtime takes them.

    Args:
        axes: axes of inputs whose length may vary, with a name each; the same name is the same length.

    Raises:
        ConversionError: the network does not run on the example, has another number of outputs, or cannot be exported.
    """
    axes = axes or {}
    graph = Ordered(network, outputs).eval()
    example = tuple(_example(spec, {a: max(2, spec.shape[a]) for a in axes.get(spec.name, ())}) for spec in inputs)
    _check_runs(graph, example, outputs)
    how = chosen_exporter(network, exporter)
    buffer = io.BytesIO()
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.CRITICAL)  # it tells of each library that is not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracing exporter announces its successor; the successor, changes of PyTorch
            if how == "dynamo":
                _dynamo(graph, example, inputs, outputs, axes, buffer)
            else:
                _tracing(graph, example, inputs, outputs, axes, buffer)
            proto = onnx.load_from_string(buffer.getvalue())
    except Exception as problem:  # exporters raise nearly anything
        cause = first_cause(problem)
        raise ConversionError(
            f"the network cannot be exported ({type(cause).__name__}: {first_line(cause)}): write that part with operators that ONNX "
            f"knows, or take --exporter {'tracing' if how == 'dynamo' else 'dynamo'}"
        ) from problem
    finally:
        noisy.setLevel(level)
    return finished(proto)


def torch_parity(
    network: nn.Module, model: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[str], *, axes: Axes | None = None, seed: int = 0
) -> dict[str, float]:
    """The largest |ONNX Runtime − PyTorch| of each output on random inputs, relative to values above one.

    Each axis that may vary is tried at the example's length, at one more, twice and at 1, where the network takes that: a dynamic graph
    can be wrong at other lengths without a word.

    Raises:
        ConversionError: a difference above TOLERANCE, another shape, numbers that are none, or nothing was compared.
    """
    graph = Ordered(network, outputs).eval()
    worst: dict[str, float] = {}
    rng = np.random.default_rng(seed)
    with OnnxBackend(model, name="parity") as backend, torch.no_grad():
        for sizes in _sizes(inputs, axes or {}):
            given = {spec.name: _random(spec, sizes.get(spec.name, {}), rng) for spec in inputs}
            try:
                wanted = graph(*(torch.from_numpy(given[spec.name]) for spec in inputs))
            except Exception:  # a length that the network itself does not take proves nothing; it took the example
                continue
            found = backend.infer(given)
            for name, tensor in zip(outputs, wanted, strict=True):
                expected, got = tensor.numpy(), found[name]
                if expected.shape != got.shape or not np.isfinite(expected).all():
                    raise ConversionError(
                        f"parity: {name}: shape {got.shape} where the network gives {expected.shape}"
                        if expected.shape != got.shape
                        else f"parity: {name}: the network gives NaN or infinity on random input: take another checkpoint"
                    )
                scale = max(1.0, float(np.abs(expected).max())) if expected.size else 1.0
                apart = np.abs(got.astype(np.float64) - expected.astype(np.float64))
                worst[name] = max(worst.get(name, 0.0), float(apart.max()) / scale) if apart.size else worst.get(name, 0.0)
    if not worst:
        raise ConversionError("parity: nothing was compared: name at least one output, and an --input that the network takes")
    beyond = {name: value for name, value in worst.items() if not value <= TOLERANCE}
    if beyond:
        told = ", ".join(f"{name} {value:.3g}" for name, value in beyond.items())
        raise ConversionError(f"parity: {told} above {TOLERANCE}: the graph does not give the network's numbers: take another --exporter")
    return worst


def _dynamo(
    graph: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[TensorSpec], outputs: Sequence[str], axes: Axes, buffer: io.BytesIO
) -> None:
    labels = {label for named in axes.values() for label in named.values()}
    lengths = {label: torch.export.Dim(label, min=1, max=1 << 20) for label in labels}
    shapes = tuple({axis: lengths[label] for axis, label in axes.get(spec.name, {}).items()} for spec in inputs)
    program: Any = torch.onnx.export(
        graph,
        example,
        input_names=[spec.name for spec in inputs],
        output_names=list(outputs),
        opset_version=DYNAMO_OPSET,
        dynamo=True,
        dynamic_shapes=(shapes,) if axes else None,  # one entry: forward takes its inputs as *given
        verbose=False,
    )
    program.save(buffer)


def _tracing(
    graph: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[TensorSpec], outputs: Sequence[str], axes: Axes, buffer: io.BytesIO
) -> None:
    torch.onnx.export(
        graph,
        example,
        buffer,  # type: ignore[arg-type]
        input_names=[spec.name for spec in inputs],
        output_names=list(outputs),
        dynamic_axes={**{name: dict(named) for name, named in axes.items()}, **_output_axes(graph, example, inputs, outputs, axes)},
        opset_version=OPSET,
        dynamo=False,
    )


def _output_axes(
    graph: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[TensorSpec], outputs: Sequence[str], axes: Axes
) -> dict[str, dict[int, str]]:
    """Which axes of outputs follow which axes of inputs, found by trying: each label in turn one longer."""
    found: dict[str, dict[int, str]] = {}
    with torch.no_grad():
        before = [tensor.shape for tensor in graph(*example)]
        for label in sorted({label for named in axes.values() for label in named.values()}):
            longer = tuple(
                _example(spec, {a: tensor.shape[a] + (axes[spec.name][a] == label) for a in axes.get(spec.name, ())})
                for spec, tensor in zip(inputs, example, strict=True)
            )
            for name, old, tensor in zip(outputs, before, graph(*longer), strict=True):
                for axis, (one, other) in enumerate(zip(old, tensor.shape, strict=True)):
                    if one != other:
                        found.setdefault(name, {})[axis] = label
    return found


def _check_runs(graph: nn.Module, example: tuple[Tensor, ...], outputs: Sequence[str]) -> None:
    try:
        with torch.no_grad():
            found = graph(*example)
    except Exception as problem:  # a person's code may raise anything
        raise ConversionError(
            f"the network does not run on the example ({type(problem).__name__}: {first_line(problem)}): check --input and --output"
        ) from problem
    if len(found) != len(outputs) or not all(isinstance(tensor, Tensor) for tensor in found):
        raise ConversionError(f"the network gives {len(found)} outputs, {len(outputs)} were named: name each tensor with --output")


def _example(spec: TensorSpec, sides: Mapping[int, int]) -> Tensor:
    return torch.zeros([sides.get(axis, side) for axis, side in enumerate(spec.shape)], dtype=TYPES[spec.dtype])


def _sizes(inputs: Sequence[TensorSpec], axes: Axes) -> list[dict[str, dict[int, int]]]:
    """Lengths of the dynamic axes to try, by input and axis."""
    usual = {label: spec.shape[axis] for spec in inputs for axis, label in axes.get(spec.name, {}).items()}
    choices = [sorted({1, length, length + 1, 2 * length}) for length in usual.values()]
    return [
        {spec.name: {axis: lengths[label] for axis, label in axes.get(spec.name, {}).items()} for spec in inputs}
        for lengths in (dict(zip(usual, chosen, strict=True)) for chosen in product(*choices))
    ]


def _random(spec: TensorSpec, sides: Mapping[int, int], rng: np.random.Generator) -> NDArray[Any]:
    shape = tuple(sides.get(axis, side) for axis, side in enumerate(spec.shape))
    if spec.dtype == "float32":
        return rng.normal(0, 1, shape).astype(np.float32)
    if spec.dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    return rng.integers(0, 2, shape).astype(spec.dtype)  # categories and truth values: every vocabulary has two
