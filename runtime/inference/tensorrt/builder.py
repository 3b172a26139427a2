"""The builder of TensorRT engines, a program of one file: `python3 -I builder.py`. It builds one engine, and ends.

It imports the standard library and tensorrt, and runs on Python 3.8 and newer, beside the daemon for the worker's reasons. What to build is
the JSON of `--request`; the network and the timings of earlier builds lie in the memory of descriptor `--network`; the plan and the timings
that were taken go to files that the daemon has made. Progress and the outcome are JSON lines on a socket (`--control`). When the daemon
ends, the kernel ends this process (`--lifeline`).
"""

# ruff: noqa: B905  (zip has no strict before Python 3.10)
from __future__ import annotations

import collections
import ctypes
import errno
import fcntl
import hashlib
import json
import math
import mmap
import os
import runpy
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

UNTOLD = "no reason given"
SAY_EVERY_S = 0.2
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Say = Any  # a function that takes an answer, a dict, and sends it


class Failure(Exception):  # noqa: N818  (it is what is told, not a mistake of ours)
    """What the daemon is told. `kind`: driver, library, network, disk."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def tensorrt(standin: str | None) -> Any:
    """TensorRT, once the driver has answered: without one it crashes. Raises Failure where either is missing."""
    try:
        if standin is not None:  # the project's own tests
            sys.path.insert(0, standin)
            library = runpy.run_path(str(Path(standin) / "libcuda.py"))["LIBRARY"]
        else:
            library = ctypes.CDLL("libcuda.so.1")
    except OSError as problem:
        raise Failure("driver", f"no NVIDIA driver ({problem}): install it, or choose onnxruntime") from problem
    count = ctypes.c_int(0)
    if library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count)) or count.value < 1:
        raise Failure("driver", "the NVIDIA driver sees no GPU: check that it is plugged in and that this user may use it")
    try:
        import tensorrt as trt
    except Exception as problem:
        raise Failure("library", f"Python's tensorrt cannot be imported ({problem}): install JetPack's or NVIDIA's") from problem
    return trt


def logger_of(trt: Any) -> Any:
    """TensorRT's logger; `errors` are its last ones, for messages."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: collections.deque[str] = collections.deque(maxlen=3)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(msg.split())[:300])

    return Logger()


def _monitor(trt: Any, say: Say) -> Any:
    """Reports how far a build is: the outermost phase's steps, and within a step the phase inside it, and so on."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._open: dict[str, list[Any]] = {}
            self._furthest = 0.0
            self._said = -math.inf
            self._lock = threading.Lock()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._open[phase_name] = [parent_phase, max(int(num_steps), 1), 0]
                self._say(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                if phase_name in self._open:
                    self._open[phase_name][2] = int(step) + 1
                self._say(phase_name)
            return True

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._open.pop(phase_name, None)

        def _share(self, name: str, depth: int = 0) -> float:
            _, steps, done = self._open[name]
            inner = [self._share(other, depth + 1) for other, (parent, _, _) in self._open.items() if parent == name and depth < 8]
            return float(min((done + max(inner, default=0.0)) / steps, 1.0))

        def _say(self, name: str) -> None:
            outer = [phase for phase, (parent, _, _) in self._open.items() if parent not in self._open]
            self._furthest = max([self._furthest] + [self._share(phase) for phase in outer[:1]])
            if time.monotonic() - self._said >= SAY_EVERY_S:
                self._said = time.monotonic()
                say({"progress": round(self._furthest, 4), "phase": str(name)[:100]})

    return Monitor()


def build(trt: Any, request: dict[str, Any], onnx: bytes, timing: bytes, say: Say) -> dict[str, Any]:
    """ONNX to a plan in the file `request["plan"]`; the timings that were taken go to `request["timing"]`."""
    logger, options = logger_of(trt), request["options"]
    strong, precision = options["typing"] == "strong", options["precision"]
    major = int(trt.__version__.split(".")[0])
    if not strong and major >= 11:
        raise Failure("library", f"TensorRT {trt.__version__} builds strongly typed networks only: choose typing strong")
    builder = trt.Builder(logger)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if strong and major < 11 else 0
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        found = [parser.get_error(index).desc() for index in range(min(parser.num_errors, 3))]
        raise Failure("network", f"TensorRT {trt.__version__} cannot read the network: {'; '.join(found)[:600] or UNTOLD}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options["workspace_mib"] << 20)
    config.builder_optimization_level = options["level"]
    if precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # 10 bits of mantissa are not fp32
    if not strong and precision != "fp32":
        if hasattr(trt.BuilderFlag, "FP16"):
            config.set_flag(trt.BuilderFlag.FP16)
        if precision == "int8" and hasattr(trt.BuilderFlag, "INT8"):
            config.set_flag(trt.BuilderFlag.INT8)
    if _profile_set(builder, network, options, profile := builder.create_optimization_profile()):
        config.add_optimization_profile(profile)
    timing_cache = config.create_timing_cache(timing)
    if timing_cache is None or not config.set_timing_cache(timing_cache, False):  # of another version or GPU: start anew
        config.set_timing_cache(config.create_timing_cache(b""), False)
    monitor = _monitor(trt, say)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Failure("network", f"TensorRT {trt.__version__} cannot build the network: {'; '.join(logger.errors) or UNTOLD}")
    taken = config.get_timing_cache()
    if taken is not None:
        _write(request["timing"], memoryview(taken.serialize()))
    content = memoryview(plan)
    _write(request["plan"], content)
    return {"size": content.nbytes, "sha256": hashlib.sha256(content).hexdigest()}


def _profile_set(builder: Any, network: Any, options: dict[str, Any], profile: Any) -> bool:
    """Whether an input has free sides; `profile` then holds the least, the usual and the greatest shape of each such input."""
    free = False
    for index in range(network.num_inputs):
        entry = network.get_input(index)
        shape = tuple(entry.shape)
        if -1 not in shape:
            continue
        free = True
        asked = options["shapes"].get(entry.name)
        if asked is None and -1 not in shape[1:]:
            asked = [(1, *shape[1:]), (1, *shape[1:]), (options["max_batch"], *shape[1:])]
        if asked is None or any(len(one) != len(shape) for one in asked):
            raise Failure("network", f"input {entry.name!r} has free sides {shape}: state its least, usual and greatest shape")
        if any(side not in (-1, given) for one in asked for side, given in zip(shape, one)):
            raise Failure("network", f"input {entry.name!r} is {shape}, which {asked} does not fit")
        least, usual, most = (tuple(int(side) for side in one) for one in asked)
        profile.set_shape(entry.name, least, usual, most)
    return free


def _write(path: str, content: memoryview) -> None:
    """Into a file that the daemon has made, down to the disk."""
    try:
        with Path(path).open("r+b", buffering=0) as file:
            content = content.cast("B")
            while len(content):
                content = content[file.write(content) :]
            os.fsync(file.fileno())
    except OSError as problem:
        if problem.errno in DISK:
            raise Failure("disk", f"{Path(path).parent}: {problem.strerror}") from problem
        raise


def main(arguments: list[str]) -> int:
    """The exit code: 0 also where the build failed and the daemon was told why."""
    given = dict(zip(arguments[::2], arguments[1::2]))
    if not {"--control", "--lifeline", "--request", "--network"} <= set(given):
        print(__doc__)
        return 0 if arguments == ["--help"] else 2
    lifeline = int(given["--lifeline"])  # nothing is ever sent on it: its end is SIGIO, whose default is to end the process
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    control, sending = socket.socket(fileno=int(given["--control"])), threading.Lock()

    def say(answer: dict[str, Any]) -> None:
        with sending:  # progress comes from TensorRT's threads
            control.sendall(json.dumps({"id": 1, **answer}).encode() + b"\n")

    try:
        request = json.loads(given["--request"])
        descriptor = int(given["--network"])
        memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        onnx, timing = memory.read(request["onnx_size"]), memory.read(request["timing_size"])
        say(build(tensorrt(given.get("--standin")), request, onnx, timing, say))
    except Failure as problem:
        say({"error": str(problem)[:2000], "kind": problem.kind})
    except Exception as problem:  # whatever TensorRT raises
        say({"error": f"{type(problem).__name__}: {problem}"[:2000], "kind": "cuda"})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
