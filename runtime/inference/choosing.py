"""Which backend runs a network: TensorRT's worker with ONNX Runtime behind it, or ONNX Runtime alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import structlog

from runtime.bundles.proof import prove as prove_bundle
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import RoleName
from runtime.inference.backend import Array, Backend
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.inference.tensorrt.backend import TensorRtBackend
from runtime.inference.tensorrt.cache import EngineCache
from runtime.inference.tensorrt.options import BuildOptions, EnginePrecision
from runtime.inference.tensorrt.process import WorkerCommand
from runtime.inference.tensorrt.serving import RestartPolicy, ServingBackend
from runtime.inference.tensorrt.sources import ROLES, engine_source

log = structlog.get_logger(__name__)

BackendKind = Literal["auto", "onnxruntime", "tensorrt"]
GPU_NODES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvhost-ctrl-gpu", "/dev/nvmap")


def gpu_in_sight() -> bool:
    """Whether the kernel shows an NVIDIA GPU; no library is loaded to find out."""
    return any(Path(node).exists() for node in GPU_NODES)


def choose_backend(
    model: bytes,
    *,
    kind: BackendKind,
    threads: int,
    cache_folder: Path,
    name: str,
    variant_model: bytes | None = None,
    options: BuildOptions | None = None,
    prove: Callable[[Backend], None] | None = None,
    command: WorkerCommand | None = None,
    policy: RestartPolicy | None = None,
) -> Backend:
    """A backend for one network, not active.

    Args:
        model: the fp32 reference's bytes, verified by the caller; ONNX Runtime runs it.
        kind: "auto" takes TensorRT where there is a GPU; with "tensorrt" its state says what is missing. Both answer every call.
        threads: of ONNX Runtime.
        cache_folder: of the engines.
        variant_model: what the engine was built from, None for `model`.
        options: with which the engine was built.
        prove: raises a TrichoscopeError where a fresh engine's numbers are not right.
        command, policy: of the worker; the defaults are for the daemon.
    """
    reference = OnnxBackend(model, name=name, threads=threads)
    if kind == "onnxruntime" or (kind == "auto" and command is None and not gpu_in_sight()):
        return reference
    cache = EngineCache(cache_folder)
    source, chosen = variant_model or model, options or BuildOptions()
    return ServingBackend(
        reference,
        lambda: TensorRtBackend(source, cache, chosen, name=f"{name} (TensorRT)", command=command),
        cache,
        name=name,
        prove=prove,
        policy=policy,
    )


def choose_for_role(
    bundle: Bundle,
    role: RoleName,
    *,
    kind: BackendKind,
    threads: int,
    cache_folder: Path,
    precision: EnginePrecision | None = None,
    weak: bool = False,
    command: WorkerCommand | None = None,
    policy: RestartPolicy | None = None,
) -> Backend:
    """The backend of a bundle's role, not active: an engine serves once it gives the golden outputs within the role's tolerances.

    Args:
        precision, weak: of the engine, as it was built (`runtime.inference.tensorrt.building.build_engines`). With "auto" and a precision
            that the bundle has not, ONNX Runtime serves.

    Raises:
        InferenceError: the bundle has no such role or, with "tensorrt", no network of that precision.
    """
    present = bundle.manifest.roles.present().get(role)
    if present is None:
        raise InferenceError(f"{bundle.id}: {role}: the bundle has no such role: choose another bundle")
    model = bundle.content[present.model]
    if kind == "onnxruntime" or role not in ROLES:
        return OnnxBackend(model, name=role, threads=threads)
    try:
        source = engine_source(bundle, role, precision=precision, weak=weak)
    except InferenceError as problem:
        if kind == "tensorrt":
            raise
        log.warning("ONNX Runtime serves", role=role, why=str(problem))
        return OnnxBackend(model, name=role, threads=threads)

    def prove(backend: Backend) -> None:
        prove_bundle(bundle, make_backend=lambda _: _Lent(backend), precision=source.proven_as, roles=[role]).require()

    return choose_backend(
        model,
        kind=kind,
        threads=threads,
        cache_folder=cache_folder,
        name=role,
        variant_model=source.model,
        options=source.options,
        prove=prove,
        command=command,
        policy=policy,
    )


class _Lent(Backend):
    """A backend that is active already, for one who activates and deactivates what he is given."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend.name)
        self._backend = backend

    def _activate(self) -> None:
        self._backend.activate()

    def _infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return self._backend.infer(inputs)

    def _deactivate(self) -> None:
        pass
