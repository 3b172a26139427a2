"""TensorRT's worker on a machine without TensorRT: the command that runs it on stand-ins, and networks that both sides know."""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from runtime.inference.tensorrt.cache import BuildFiles, EngineCache, EngineKey, key_of
from runtime.inference.tensorrt.options import BuildOptions
from runtime.inference.tensorrt.process import WORKER, WorkerCommand
from tests.runtime.bundle_samples import _field, dark_is_hair

STANDIN = Path(__file__).parent / "tensorrt_standin"
DIES, HANGS, FAILS, IS_SLOW = 201, 202, 203, 204  # as in the stand-in
DARK_OPTIONS = BuildOptions(shapes={"picture": ((1, 32, 32, 3), (1, 64, 96, 3), (1, 128, 160, 3))})


def command(**changes: object) -> WorkerCommand:
    """The real worker on stand-ins."""
    return WorkerCommand(**({"python": sys.executable, "standin": STANDIN} | changes))  # type: ignore[arg-type]


def standin_network(function: str, inputs: dict[str, tuple[str, list[int]]], *, moody: bool = False) -> bytes:
    """What only the stand-in takes for a network."""
    return b"no ONNX: STANDIN" + json.dumps({"inputs": inputs, "function": function, "moody": moody}).encode()


def dark(function: str = "dark", note: str = "") -> bytes:
    """A real ONNX file of `dark_is_hair`, which the stand-in runs too; its first number may put the stand-in into a mood."""
    told = {"inputs": {"picture": ["uint8", [1, -1, -1, 3]]}, "function": function, "moody": True, "note": note}
    return dark_is_hair() + _field(6, "STANDIN" + json.dumps(told))


def identity(*shape: int, dtype: str = "float32", moody: bool = False) -> bytes:
    return standin_network("identity", {"x": (dtype, list(shape))}, moody=moody)


@functools.cache
def machine() -> dict[str, Any]:
    """What the worker tells of the stand-ins."""
    found = subprocess.run(
        [sys.executable, "-I", str(WORKER), "--probe", "--standin", str(STANDIN)], capture_output=True, check=True, timeout=60
    )
    told: dict[str, Any] = json.loads(found.stdout)
    return told


def key(network: bytes, options: BuildOptions) -> EngineKey:
    return key_of(network, machine(), options.precision, options.for_builder())


def built(folder: Path, network: bytes, options: BuildOptions | None = None) -> EngineCache:
    """A cache that holds the network's engine, as the stand-in would have built it."""
    cache, options = EngineCache(folder), options or BuildOptions()
    program, _ = json.JSONDecoder().raw_decode(network[network.index(b"STANDIN{") + 7 :].decode("utf-8", "replace"))
    shapes = dict(options.shapes)
    for name, (_, shape) in program["inputs"].items():
        if shape[0] == -1 and name not in shapes:
            shapes[name] = ((1, *shape[1:]), (1, *shape[1:]), (options.max_batch, *shape[1:]))
    plan = json.dumps(program | {"profile": shapes}).encode()

    def build(files: BuildFiles) -> dict[str, Any]:
        files.plan.write_bytes(plan)
        return {"size": len(plan), "sha256": hashlib.sha256(plan).hexdigest(), "seconds": 0.0}

    cache.keep(key(network, options), build)
    return cache


def picture(first: int = 0, *, height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    """uint8 (1, height, width, 3), whose first number is `first`."""
    found = np.random.default_rng(seed).integers(0, 200, (1, height, width, 3), np.uint8)
    found[0, 0, 0, 0] = first
    return found
