"""Our uses of TensorRT's Python API against its real bindings of three versions, which are made importable for this test alone."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.inference.tensorrt.process import BUILDER, WORKER
from tests.runtime.tensorrt_standins import STANDIN
from tests.runtime.tensorrt_uses import GATED, OBJECTS, complaints, parameters, uses

MAKE = Path(__file__).resolve().parents[2].parent / "shared" / "tensorrt-api" / "make.sh"
VERSIONS = ("10.3.0", "10.13.2.6", "11.4.0.106")
SOURCE = WORKER.read_text() + "\n\n" + BUILDER.read_text().replace("from __future__ import annotations\n", "")
PYCUDA = {"Device", "Stream", "init", "mem_alloc", "memcpy_dtoh_async", "memcpy_htod_async", "pagelocked_empty"}
"""Looked up in pycuda's source (2024.1 to 2026.1): there is no way to import it without CUDA."""


@pytest.fixture(scope="module")
def apis(tmp_path_factory):
    """What each version's bindings say of themselves."""
    if not MAKE.is_file():
        pytest.skip("the script that makes TensorRT's bindings importable is not beside this checkout")
    folder = tmp_path_factory.mktemp("tensorrt-api")
    made = subprocess.run(["bash", str(MAKE), str(folder)], env=_environment(), capture_output=True, text=True, timeout=110)
    missing = [version for version in VERSIONS if not (folder / version).is_dir()]
    if made.returncode and missing:
        pytest.skip(f"TensorRT's bindings {missing[0]} cannot be had, most often for want of a network: {made.stderr.strip()[-200:]}")
    assert made.returncode == 0, made.stderr
    return {version: json.loads((folder / f"{version}.json").read_text()) for version in VERSIONS}


def _environment():
    import os

    return os.environ | {"PYTHON": sys.executable}


def test_every_use_is_in_all_three_versions(apis):
    for version, api in apis.items():
        assert api["__version__"] == version
        assert complaints(SOURCE, api) == [], version
        used = {use.what for use in uses(SOURCE, api)}
        assert len(used) > 55, sorted(used)
        classes = {what.partition(".")[0] for what in used}
        assert set(OBJECTS.values()) <= classes, "a class of OBJECTS is not used: take it out"
        assert {"ParserError.desc", "ILogger.log", "IProgressMonitor.step_complete", "IExecutionContext.execute_async_v3"} <= used


def test_what_is_gated_is_gone_where_that_is_said(apis):
    for what, gone in GATED.items():
        owner, _, member = what.partition(".")
        for version, api in apis.items():
            assert (member in api[owner]["members"]) != version.startswith(gone), (what, version)


@pytest.mark.parametrize(
    ("ours", "wrong", "complaint"),
    [
        ("context.execute_async_v3(", "context.execute_async_v2(", "execute_async_v2 is not there"),
        ("TensorIOMode.INPUT", "TensorIOMode.IN", "TensorIOMode.IN is not there"),
        ("trt.OnnxParser(network, logger)", "trt.OnnxParser(network)", "OnnxParser: 1 arguments"),
        (
            "config.set_timing_cache(timing_cache, False)",
            "config.set_timing_cache(timing_cache, ignore=False)",
            "set_timing_cache: 1 arguments",
        ),
        ("config.builder_optimization_level =", "config.optimization_level =", "IBuilderConfig.optimization_level is not there"),
        ("network = builder.create_network(flags)", "parser = builder.create_network(flags)", "parser is said to be OnnxParser"),
        (".desc()", ".description()", "ParserError.description is not there"),
        ("def log(self, severity: Any, msg: str)", "def log(self, severity: Any, message: str)", "ILogger.log"),
        ("def phase_finish(", "def phase_end(", "IProgressMonitor.phase_end is not there"),
        ('if hasattr(trt.BuilderFlag, "FP16"):', "if True:", "BuilderFlag.FP16 is used without asking for it"),
        ("trt.MemoryPoolType.WORKSPACE", "trt.MemoryPoolTypes.WORKSPACE", "MemoryPoolTypes.WORKSPACE is not there"),
        ("profile.set_shape(entry.name, least, usual, most)", "profile.set_shape(entry.name, least, most)", "set_shape: 3 arguments"),
    ],
)
def test_a_wrong_use_is_found(apis, ours, wrong, complaint):
    assert ours in SOURCE
    for api in apis.values():
        assert any(complaint in found for found in complaints(SOURCE.replace(ours, wrong, 1), api)), complaints(
            SOURCE.replace(ours, wrong), api
        )


def test_the_stand_in_is_like_the_real_one(apis):
    """Else the tests on it would prove a program that nobody can run."""
    own = {"ITimingCache.content", "INetworkDefinition.program"}
    for node in ast.parse((STANDIN / "tensorrt.py").read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for version, api in apis.items():
            members = api[node.name]["members"]
            for part in node.body:
                names = (
                    [target.id for target in part.targets[0].elts]
                    if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Tuple)
                    else []
                )
                for name in names:
                    assert name in members, (version, node.name, name)
                if not isinstance(part, ast.FunctionDef) or part.name.startswith("_") or f"{node.name}.{part.name}" in own:
                    continue
                if (node.name, part.name) in {("ICudaEngine", "zeros"), ("ICudaEngine", "run")}:
                    continue
                assert part.name in members, (version, node.name, part.name)
                ours = [argument.arg for argument in part.args.args[1:]]
                signature = next((line for line in members[part.name].splitlines() if " -> " in line), None)
                if signature is not None:
                    real = [name for name, _ in parameters(signature)]
                    assert ours == real[: len(ours)], (version, node.name, part.name, real)


def test_pycuda_is_used_as_looked_up():
    used = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Attribute) and (
            (isinstance(node.value, ast.Name) and node.value.id == "cuda")
            or (isinstance(node.value, ast.Attribute) and node.value.attr in ("cuda", "_cuda"))
        ):
            used.add(node.attr)
    assert used == PYCUDA
