"""A role's network in other precisions, each with what had to stay in float, its tolerances and what it was measured at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from export.conversion.halves import half_graph, half_nodes
from export.conversion.integers import Range, calibrated, integer_graph, integer_nodes, tensors_to_watch
from export.conversion.judging import Judge
from export.conversion.sensitivity import Found, Measured, least_left_out, steps
from export.errors import ConversionError
from runtime.bundles.golden import unpack
from runtime.bundles.parts import Tolerance, Variant
from runtime.bundles.proof import prove
from runtime.bundles.proof_ends import end_changes
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import Role, RoleName
from runtime.inference.onnx import OnnxBackend

VariantPrecision = Literal["fp16", "int8", "int8-symmetric"]
PRECISIONS: tuple[VariantPrecision, ...] = ("fp16", "int8", "int8-symmetric")
SAMPLES = 4096  # of each tensor and frame
ROOM = 2.0
"""Tolerances are this multiple of what the variant differs by on the golden inputs: another backend rounds at other places."""
LEAST = 1e-3
MORE: Mapping[VariantPrecision, float] = {"fp16": 1.0, "int8": 3.0, "int8-symmetric": 3.0}
"""How many times what the reference may change of an end figure on the golden inputs, each by itself, a variant may: they are few, and
one of them is the hardest there is. The limits proper are on the means over many frames."""

Task = Callable[[str, int], Callable[[], None]]
"""Told what begins and how many steps it has at most; returns what is to be called after each."""


@dataclass(frozen=True, eq=False)
class MadeVariant:
    """A variant and how it was found; `tested` are its figures on frames that nothing was chosen by."""

    variant: Variant
    model: bytes
    found: Found
    tested: Measured


def can_make(role: Role, precision: VariantPrecision, content: Mapping[str, bytes]) -> bool:
    """Whether any node of the role's network can be changed to that precision; trees of decisions have none."""
    model = content[role.model]
    return bool(half_nodes(model) if precision == "fp16" else integer_nodes(model))


def make_variant(bundle: Bundle, name: RoleName, precision: VariantPrecision, judge: Judge, *, task: Task) -> MadeVariant:
    """The network of a role in that precision, nodes left out until the end figures are within their limits.

    Raises:
        ConversionError: it cannot be had within the limits, or fails its own golden check.
    """
    role = bundle.manifest.roles.present()[name]
    reference = bundle.content[role.model]
    nodes, build = _maker(reference, precision, judge, task)

    end = {key: float(f"{value * MORE[precision]:.6g}") for key, value in role.golden.end.items()}

    def measure(model: bytes) -> Measured:
        """On the frames to choose by and on the golden inputs, which the device looks at."""
        measured = judge.measure(precision, model)
        golden = _golden(bundle, name, role, model)
        return Measured({**measured.figures, **golden}, measured.limits, {f"golden_{key}": value for key, value in end.items()})

    found = least_left_out(nodes, build, judge.damage, measure, advance=task(f"{name} {precision}", steps(len(nodes))))
    tested = judge.measure(precision, found.model, test=True)
    if not tested.kept():
        told = ", ".join(f"{key} {tested.figures[key]:.3g} of {limit:g}" for key, limit in tested.limits.items())
        raise ConversionError(
            f"{name}: {precision}: beyond its limits on frames that nothing was chosen by ({told}): choose by more frames"
        )
    stem = PurePath(role.model).stem
    metrics = {key: float(f"{value:.4g}") for key, value in tested.figures.items() if math.isfinite(value)}
    metrics |= {key: float(f"{found.measured.figures[key]:.4g}") for key in found.measured.firm}
    metrics |= {"nodes_changed": float(found.changed), "nodes_left_in_float": float(len(found.left_out))}
    variant = Variant(
        precision=precision,
        model=f"{stem}.{precision}.onnx",
        tolerances=_tolerances(bundle, role, found.model),
        end=end,
        metrics=metrics,
    )
    made = MadeVariant(variant, found.model, found, tested)
    prove(_with(bundle, name, role, [made]), precision=precision, roles=[name]).require()
    return made


def with_variants(role: Role, made: Sequence[MadeVariant]) -> tuple[Role, dict[str, bytes]]:
    """The role with these variants in place of others of the same precision, and their files."""
    new = {one.variant.precision: one for one in made}
    kept = [variant for variant in role.variants if variant.precision not in new]
    variants = (*kept, *(one.variant for one in made))
    ordered = tuple(sorted(variants, key=lambda variant: PRECISIONS.index(variant.precision)))
    return role.model_copy(update={"variants": ordered}), {one.variant.model: one.model for one in made}


def ranges_of(model: bytes, inputs: Sequence[Mapping[str, NDArray[Any]]], advance: Callable[[], None] = lambda: None) -> dict[str, Range]:
    """The ranges of all tensors that `integer_graph` asks for, seen on calibration inputs.

    Raises:
        ConversionError: no input, or a tensor that is not finite.
    """
    if not inputs:
        raise ConversionError("no calibration input: give at least one")
    names = tensors_to_watch(model)
    watching = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    there = {value.name for value in watching.graph.output}
    watching.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names if n not in there)
    rng = np.random.default_rng(0)
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    extremes = dict.fromkeys(names, (0.0, 0.0))
    with OnnxBackend(watching.SerializeToString(), name="calibration") as backend:
        for given in inputs:
            answers = backend.infer(given)
            for name in names:
                values = answers[name].ravel()
                if not np.isfinite(values).all():
                    raise ConversionError(f"tensor {name!r} is not finite on a calibration frame: take another checkpoint")
                samples[name].append(rng.choice(values, SAMPLES))
                low, high = extremes[name]
                extremes[name] = (min(low, float(values.min())), max(high, float(values.max())))
            advance()
    return calibrated({name: np.concatenate(parts) for name, parts in samples.items()}, extremes)


def _maker(
    reference: bytes, precision: VariantPrecision, judge: Judge, task: Task
) -> tuple[tuple[str, ...], Callable[[frozenset[str]], bytes]]:
    """The nodes that can be changed, and what makes the network with some left out."""
    if precision == "fp16":
        return half_nodes(reference), lambda left_out: half_graph(reference, left_out=left_out)
    nodes = integer_nodes(reference)
    ranges = ranges_of(reference, judge.calibration, task(f"ranges for {precision}", len(judge.calibration))) if nodes else {}
    symmetric = precision == "int8-symmetric"
    return nodes, lambda left_out: integer_graph(reference, ranges, symmetric=symmetric, left_out=left_out)


def _tolerances(bundle: Bundle, role: Role, model: bytes) -> tuple[Tolerance, ...]:
    """ROOM times what the variant differs by on the golden inputs."""
    cases = unpack(bundle.content[role.golden.file], role.golden.file)
    worst: dict[str, float] = {}
    with OnnxBackend(model, name="tolerances") as backend:
        for case in cases:
            found = backend.infer(case.inputs)
            for name, expected in case.outputs.items():
                apart = float(np.abs(found[name].astype(np.float64) - expected.astype(np.float64)).max())
                worst[name] = max(worst.get(name, 0.0), apart)
    return tuple(Tolerance(output=name, absolute=float(f"{max(LEAST, ROOM * value):.2g}")) for name, value in sorted(worst.items()))


def _golden(bundle: Bundle, name: RoleName, role: Role, model: bytes) -> dict[str, float]:
    """By how much each end figure of the golden inputs changes, as `golden_…`; endless where one has it and the other has not."""
    cases = unpack(bundle.content[role.golden.file], role.golden.file)
    with OnnxBackend(model, name="golden") as backend:
        found = [backend.infer(case.inputs) for case in cases]
    changes = end_changes(bundle, name, cases, found, tuple(role.golden.end))
    return {f"golden_{key}": math.inf if value is None else value for key, value in changes.items()}


def _with(bundle: Bundle, name: RoleName, role: Role, made: Sequence[MadeVariant]) -> Bundle:
    """The bundle with these variants, in memory."""
    changed, files = with_variants(role, made)
    roles = bundle.manifest.roles.model_copy(update={name: changed})
    return Bundle(bundle.manifest.model_copy(update={"roles": roles}), {**bundle.content, **files}, bundle.sha256)
