"""A bundle's networks on every backend that is here: milliseconds, frames a second, memory, energy, and parity to one reference.

The reference is the fp32 model on ONNX Runtime with one thread. Backends take turns round by round, so that other work on the machine
slows all alike; energy is measured in a run of its own for each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.simulated.scene import render_frame
from runtime.bench.inference.energy import EnergyMeter
from runtime.bundles.golden import unpack
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import Role, RoleName, SegmenterRole
from runtime.errors import TrichoscopeError
from runtime.inference.backend import Backend
from runtime.inference.onnx import OnnxBackend, providers_here

FRAME_SEED = 2**32 + 7
FRAME_SIZE = (640, 480)
WARM_UP = 3
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Row:
    """One role on one backend; `problem` says why the rest is null.

    Attributes:
        memory_mb: resident memory of this process (a worker's included) that the backend added.
        joules: of the whole board for one inference, where a Jetson tells.
        parity: greatest absolute difference from the reference, relative to the greatest value of an output where that is above 1.
    """

    role: str
    precision: str
    backend: str
    p50_ms: float | None = None
    p95_ms: float | None = None
    fps: float | None = None
    memory_mb: float | None = None
    joules: float | None = None
    parity: float | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A backend to be tried: its name, the precision of the model that it gets, and how it is made."""

    name: str
    precision: str
    make: Callable[[], Backend]


def inputs_of(bundle: Bundle, role: Role) -> Arrays:
    """What a role's network is timed with: a rendered frame of 640×480 for what finds hair, its first golden input for the others."""
    if isinstance(role, SegmenterRole):
        width, height = FRAME_SIZE
        return {role.input.name: render_frame(FRAME_SEED, width=width, height=height, kind="realistic").image[None]}
    return unpack(bundle.content[role.golden.file], f"{bundle.id}: {role.golden.file}")[0].inputs


def onnx_candidates(bundle: Bundle, role: Role, threads: Sequence[int]) -> Iterator[Candidate]:
    """ONNX Runtime in every form that is here: each number of threads, each provider, each variant made for processors."""
    model = bundle.content[role.model]
    for count in threads:
        yield Candidate(f"onnxruntime, {count} threads", "fp32", _maker(model, threads=count))
    for provider in providers_here()[1:]:
        yield Candidate(f"onnxruntime, {provider.removesuffix('ExecutionProvider')}", "fp32", _maker(model, provider=provider))
    for variant in role.variants:
        if variant.precision != "int8-symmetric":
            yield Candidate(
                f"onnxruntime, {max(threads)} threads", variant.precision, _maker(bundle.content[variant.model], threads=max(threads))
            )


def _maker(model: bytes, **how: Any) -> Callable[[], Backend]:
    return lambda: OnnxBackend(model, name="bench", **how)


def compare(
    bundle: Bundle,
    *,
    threads: Sequence[int] = (1, 2),
    rounds: int = 50,
    more: Callable[[RoleName], Sequence[Candidate]] = lambda name: (),
    advance: Callable[[str], None] = lambda what: None,
) -> list[Row]:
    """Every role of `bundle` on every backend; `more` gives those beside ONNX Runtime. `advance` is told what begins."""
    rows = []
    for name, role in bundle.manifest.roles.present().items():
        advance(name)
        inputs = inputs_of(bundle, role)
        with OnnxBackend(bundle.content[role.model], name="reference", threads=1) as reference:
            wanted = reference.infer(inputs)
        rows += _measured(name, [*onnx_candidates(bundle, role, threads), *more(name)], inputs, wanted, rounds)
    return rows


def _measured(role: str, candidates: Sequence[Candidate], inputs: Arrays, wanted: Arrays, rounds: int) -> list[Row]:
    rows: dict[int, Row] = {}
    ready: dict[int, tuple[Backend, float, float]] = {}
    with ExitStack() as stack:
        for place, each in enumerate(candidates):
            before = resident_mb()
            try:
                backend = stack.enter_context(each.make())
                found = backend.infer(inputs)
            except TrichoscopeError as problem:
                rows[place] = Row(role, each.precision, each.name, problem=str(problem))
                continue
            ready[place] = (backend, max(0.0, resident_mb() - before), _parity(found, wanted))
        times: dict[int, list[float]] = {place: [] for place in ready}
        for turn in range(rounds + WARM_UP):
            for place, (backend, _, _) in ready.items():
                began = time.perf_counter()
                backend.infer(inputs)
                if turn >= WARM_UP:
                    times[place].append((time.perf_counter() - began) * 1e3)
        for place, (backend, memory, parity) in ready.items():
            p50, p95 = (float(v) for v in np.percentile(times[place], (50, 95)))
            each = candidates[place]
            rows[place] = Row(
                role,
                each.precision,
                each.name,
                p50_ms=round(p50, 3),
                p95_ms=round(p95, 3),
                fps=round(1e3 / p50, 1),
                memory_mb=round(memory, 1),
                joules=_joules(backend, inputs, rounds),
                parity=float(f"{parity:.3g}"),
            )
    return [rows[place] for place in sorted(rows)]


def _joules(backend: Backend, inputs: Arrays, rounds: int) -> float | None:
    """Of one inference; the rail's readings come 20 times a second, so the run lasts a second at least where there is a rail."""
    with EnergyMeter() as meter:
        done, until = 0, time.monotonic() + (1.0 if meter.there else 0.0)
        while (done < rounds and meter.there) or time.monotonic() < until:
            backend.infer(inputs)
            done += 1
    return None if meter.joules is None or not done else round(meter.joules / done, 4)


def _parity(found: Arrays, wanted: Arrays) -> float:
    worst = 0.0
    for name, expected in wanted.items():
        scale = max(1.0, float(np.abs(expected).max()))
        worst = max(worst, float(np.abs(np.asarray(found[name], np.float64) - expected).max()) / scale)
    return worst


def resident_mb() -> float:
    """Resident memory of this process and its children, MB."""
    total = 0
    for process in [Path("/proc/self"), *_children()]:
        try:
            total += int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):  # it ended meanwhile
            continue
    return total / 2**20


def _children() -> Iterator[Path]:
    for task in Path("/proc/self/task").iterdir():
        try:
            yield from (Path("/proc") / child for child in (task / "children").read_text().split())
        except OSError:
            continue
