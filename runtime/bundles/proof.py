"""The proof that a backend gives a bundle's numbers: golden inputs through it, each output and the end figures held to the fp32 reference.

The same function runs on the workstation and on the device before a bundle serves; it needs numpy and the backend, nothing of the
workstation. The reference is one for all: the outputs that travel in the bundle, made by the fp32 network when it was built. A proof
keeps its numbers, and one that compared nothing has failed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundles.errors import BundleError
from runtime.bundles.golden import GoldenCase, unpack
from runtime.bundles.interface import Network, networks_of
from runtime.bundles.parts import Precision, Tolerance
from runtime.bundles.proof_ends import end_changes
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import Role, RoleName
from runtime.errors import TrichoscopeError
from runtime.inference.backend import Backend
from runtime.inference.errors import InferenceError

SCHEMA = "trichoscope/proof/1"
NEAR_NOTHING = 1e-3
"""Relative differences are taken to at least this, so that an expected zero does not make each of them endless."""

MakeBackend = Callable[[bytes], Backend]


@dataclass(frozen=True)
class OutputRow:
    """One output of one role's network, over all golden cases.

    Attributes:
        role: "refiner decoder" for a role's second network.
        compared: how many numbers.
        max_abs: greatest |found − expected|; None where nothing could be compared.
        max_rel: greatest |found − expected| / max(|expected|, NEAR_NOTHING).
        used: greatest share of the tolerance that was used; the row passes up to 1.
        case, place: where that was: the case's number and the index in the output.
        problem: why it fails where no number says so.
    """

    role: str
    output: str
    compared: int
    max_abs: float | None
    max_rel: float | None
    used: float | None
    case: int | None
    place: tuple[int, ...] | None
    absolute: float | None
    relative: float | None
    passed: bool
    problem: str | None = None


@dataclass(frozen=True)
class EndRow:
    """One end figure of one role: by how much it changed at most, and by how much it may. `change` is None where it cannot be had."""

    role: str
    metric: str
    change: float | None
    allowed: float
    passed: bool
    problem: str | None = None


@dataclass(frozen=True)
class Proof:
    """What was compared, with its numbers.

    Attributes:
        problems: what failed before or beside the comparing, each as `ROLE: what: remedy`.
        inference_ms: mean time of one golden case by role, the first included.
        milliseconds: of the whole proof.
    """

    bundle: str
    precision: str
    backend: str
    rows: tuple[OutputRow, ...]
    ends: tuple[EndRow, ...]
    problems: tuple[str, ...]
    inference_ms: Mapping[str, float]
    milliseconds: float

    @property
    def passed(self) -> bool:
        """Whether something was compared and everything was as near as it must be."""
        return bool(self.rows) and not self.problems and all(row.passed for row in self.rows) and all(row.passed for row in self.ends)

    def failures(self) -> tuple[str, ...]:
        """What failed, a line each, for people."""
        lines = list(self.problems)
        for row in self.rows:
            if not row.passed:
                why = row.problem or (
                    f"off by {_short(row.max_abs)} ({_short(row.used)} times what is allowed) in case {row.case} at {list(row.place or ())}"
                )
                lines.append(f"{row.role}: output {row.output!r}: {why}")
        for end in self.ends:
            if not end.passed:
                lines.append(f"{end.role}: {end.metric}: {end.problem or f'changed by {_short(end.change)}, {end.allowed} is allowed'}")
        if not lines and not self.rows:
            lines.append("nothing was compared")
        return tuple(lines)

    def require(self) -> None:
        """Raises BundleError with what failed first, where something did."""
        if not self.passed:
            failed = self.failures()
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            raise BundleError(
                f"{self.bundle}: {self.precision} on {self.backend}: {failed[0]}{more}: "
                "do not use it here; make the bundle again, or choose another backend"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: no NaN, no infinity."""
        plain: dict[str, Any] = _rounded({"schema": SCHEMA, "passed": self.passed, **asdict(self), "failures": self.failures()})
        return plain

    def to_json(self) -> str:
        """All numbers as one JSON object, a line."""
        return json.dumps(self.to_dict(), allow_nan=False)


def prove(
    bundle: Bundle,
    *,
    make_backend: MakeBackend | None = None,
    precision: Precision = "fp32",
    roles: Collection[RoleName] | None = None,
) -> Proof:
    """Run each role's golden inputs through a backend and compare with the reference's answers.

    Nothing that the bundle says or the backend does raises: it is a failure with its reason.

    Args:
        make_backend: from a network's ONNX bytes; ONNX Runtime on the CPU where None.
        precision: of the networks; with another one than fp32 and no `roles`, the roles that have such a variant.
        roles: those to prove; all where None.
    """
    began = time.perf_counter()
    make = make_backend or _onnxruntime
    rows: list[OutputRow] = []
    ends: list[EndRow] = []
    problems: list[str] = []
    inference_ms: dict[str, float] = {}
    names: set[str] = set()
    present = bundle.manifest.roles.present()
    wanted = [name for name in present if precision == "fp32" or _has(present[name], precision)] if roles is None else list(roles)
    if not wanted:
        problems.append(f"{precision}: no role has such a network, nothing was compared: make one with trichoscope-export quantise")
    for name in wanted:
        role = present.get(name)
        if role is None or not _has(role, precision):
            what = "no such role in the bundle" if role is None else f"it has no {precision} network"
            problems.append(f"{name}: {what}: name another, or make it with trichoscope-export")
            continue
        for network in networks_of(role):
            if not _has(network, precision):
                continue  # a decoder is fp32 whatever its encoder is, and is proven with that
            called = f"{name} {network.label}".rstrip()
            try:
                cases = unpack(bundle.content[network.golden.file], network.golden.file)
                found, ms, backend = _answers(bundle.content[_model(network, precision)], cases, make)
            except (BundleError, InferenceError) as problem:
                problems.append(f"{called}: {problem}")
                continue
            names.add(backend)
            inference_ms[called] = ms
            rows += _compared(called, network, precision, cases, found)
            ends += _ends(bundle, name, called, allowed_ends(network, precision), cases, found)
    backend_name = ", ".join(sorted(names)) or "none"
    return Proof(
        bundle.id, precision, backend_name, tuple(rows), tuple(ends), tuple(problems), inference_ms, (time.perf_counter() - began) * 1e3
    )


Answer = Mapping[str, NDArray[Any]]


def _onnxruntime(model: bytes) -> Backend:
    from runtime.inference.onnx import OnnxBackend

    return OnnxBackend(model, name="onnxruntime", threads=2)


def _has(network: Role | Network, precision: Precision) -> bool:
    return precision == "fp32" or any(variant.precision == precision for variant in network.variants)


def _model(network: Network, precision: Precision) -> str:
    """The file of the network of that precision."""
    return next((variant.model for variant in network.variants if variant.precision == precision), network.model)


def _tolerances(network: Network, precision: Precision) -> tuple[Tolerance, ...]:
    return next((variant.tolerances for variant in network.variants if variant.precision == precision), network.golden.tolerances)


def _answers(model: bytes, cases: Sequence[GoldenCase], make: MakeBackend) -> tuple[list[Answer], float, str]:
    """What the backend says of each case, the mean milliseconds of a case, and the backend's name."""
    try:
        backend = make(model)
        with backend:
            began = time.perf_counter()
            found: list[Answer] = [{k: np.array(v) for k, v in backend.infer(case.inputs).items()} for case in cases]
            return found, (time.perf_counter() - began) * 1e3 / len(cases), backend.name
    except (BundleError, InferenceError):
        raise
    except Exception as problem:  # a backend's own library may raise anything, and none of it may end the daemon
        raise InferenceError(f"the backend failed: {type(problem).__name__}: {problem}") from problem


def _compared(name: str, network: Network, precision: Precision, cases: Sequence[GoldenCase], found: Sequence[Answer]) -> list[OutputRow]:
    """A row for each output that is promised, expected, or has a tolerance."""
    tolerances = {tolerance.output: tolerance for tolerance in _tolerances(network, precision)}
    outputs = {*network.interface.outputs, *tolerances, *(output for case in cases for output in case.outputs)}
    return [_row(name, output, tolerances.get(output), cases, found) for output in sorted(outputs)]


def _row(name: str, output: str, tolerance: Tolerance | None, cases: Sequence[GoldenCase], found: Sequence[Answer]) -> OutputRow:
    def failed(problem: str) -> OutputRow:
        absolute, relative = (None, None) if tolerance is None else (tolerance.absolute, tolerance.relative)
        return OutputRow(name, output, 0, None, None, None, None, None, absolute, relative, False, problem)

    if tolerance is None:
        return failed("it has no tolerance: make the bundle again")
    compared, max_abs, max_rel = 0, 0.0, 0.0
    worst: tuple[float, int, tuple[int, ...]] = (-1.0, 0, ())
    for number, (case, answer) in enumerate(zip(cases, found, strict=True)):
        if output not in case.outputs:
            return failed(f"golden case {number} does not hold it, nothing was compared: make the bundle again")
        if output not in answer:
            return failed("the backend does not give it")
        expected, got = case.outputs[output], answer[output]
        if expected.shape != got.shape:
            return failed(f"its shape is {got.shape} in case {number}, {expected.shape} was expected")
        if got.dtype.kind not in "fiub" or not np.isfinite(got).all():
            return failed(f"it is not finite in case {number}")
        if not np.isfinite(expected).all():
            return failed(f"the reference of case {number} is not finite: make the bundle again")
        size = np.abs(expected.astype(np.float64))
        apart = np.abs(got.astype(np.float64) - expected.astype(np.float64))
        allowed = tolerance.absolute + tolerance.relative * size
        used = np.divide(apart, allowed, out=np.where(apart > 0, np.inf, 0.0), where=allowed > 0)
        place = np.unravel_index(int(used.argmax()), used.shape)
        compared += apart.size
        max_abs = max(max_abs, float(apart.max()))
        max_rel = max(max_rel, float((apart / np.maximum(size, NEAR_NOTHING)).max()))
        if float(used[place]) > worst[0]:
            worst = (float(used[place]), number, tuple(int(i) for i in place))
    if not compared:
        return failed("nothing was compared: make the bundle again")
    return OutputRow(
        name, output, compared, max_abs, max_rel, worst[0], worst[1], worst[2], tolerance.absolute, tolerance.relative, worst[0] <= 1
    )


def allowed_ends(network: Role | Network, precision: Precision) -> dict[str, float]:
    """By how much each end figure may change in that precision."""
    own = next((variant.end for variant in network.variants if variant.precision == precision), {})
    return {**network.golden.end, **own}


def _ends(
    bundle: Bundle, role: RoleName, name: str, allowed: Mapping[str, float], cases: Sequence[GoldenCase], found: Sequence[Answer]
) -> list[EndRow]:
    """A row for each end figure that the manifest names. `name`: of the network, as the rows have it."""
    if not allowed:
        return []
    try:
        changes = end_changes(bundle, role, cases, found, tuple(allowed))
    except Exception as problem:  # of golden data of another form the stages may make anything
        why = str(problem) if isinstance(problem, TrichoscopeError) else f"it cannot be had ({type(problem).__name__}: {problem})"
        return [EndRow(name, metric, None, limit, False, why) for metric, limit in allowed.items()]
    rows = []
    for metric, limit in allowed.items():
        change = changes.get(metric)
        if metric not in changes:
            rows.append(EndRow(name, metric, None, limit, False, "this program has no such end figure: update it"))
        elif change is None or not math.isfinite(change):
            rows.append(EndRow(name, metric, None, limit, False, "one has it and the other has not"))
        else:
            rows.append(EndRow(name, metric, change, limit, change <= limit))
    return rows


def _short(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"


def _rounded(value: Any) -> Any:
    """`value` with floats of seven digits and null for what is not finite."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return value
