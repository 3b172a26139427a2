"""The TensorRT worker, a program of one file: `python3 -I worker.py`. It runs engines, and nothing else.

It runs beside the daemon so that a CUDA crash, or a Python that is not ours, costs a restart of this process only. It imports the standard
library, numpy, tensorrt and pycuda, and runs on Python 3.8 and newer. Requests and answers are JSON lines of bounded length on a socket
(`--control`), each with the id of its request; tensors lie in shared memory whose descriptor comes with a request. When the daemon ends,
the kernel ends this process (`--lifeline`), even amid a kernel call.

`--probe` prints what is here (driver, GPU, versions) as one JSON line and ends; exit code 1 and a reason where something is missing.
"""

# ruff: noqa: B905  (zip has no strict before Python 3.10)
from __future__ import annotations

import array
import collections
import contextlib
import ctypes
import fcntl
import hashlib
import json
import math
import mmap
import os
import platform
import runpy
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import numpy as np
except ImportError:  # told in answer to hello, after what matters more
    np = None  # type: ignore[assignment]

PROTOCOL = 1
MAX_LINE = 64 * 1024
MAX_PLAN_BYTES = 1024 * 1024 * 1024
ALIGNMENT = 256  # of tensors in shared memory
DTYPES = ("bool", "float16", "float32", "int32", "int64", "int8", "uint8")
COMPUTE_MAJOR, COMPUTE_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
SCHEDULE_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC: waiting must not cost a core
CAPTURE_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL


class Failure(Exception):  # noqa: N818  (it is what is told, not a mistake of ours)
    """What the daemon is told. `kind`: driver, library, engine, input (the worker goes on), cuda."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Driver:
    """libcuda through ctypes: asked before TensorRT is touched, which crashes without a driver, and for CUDA graphs, which pycuda lacks."""

    def __init__(self, library: Any) -> None:
        self._library, self._kind = library, "driver"

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise Failure(self._kind, f"{name} answered CUDA error {code}: check the NVIDIA driver and its GPU")

    def identity(self) -> dict[str, Any]:
        """The GPU and its driver. Raises Failure where there is none."""
        count, version, major, minor = (ctypes.c_int(0) for _ in range(4))
        self.call("cuInit", 0)
        self.call("cuDeviceGetCount", ctypes.byref(count))
        if count.value < 1:
            raise Failure("driver", "the NVIDIA driver sees no GPU: check that it is plugged in and that this user may use it")
        self.call("cuDriverGetVersion", ctypes.byref(version))
        name = ctypes.create_string_buffer(128)
        self.call("cuDeviceGetName", name, 128, 0)
        self.call("cuDeviceGetAttribute", ctypes.byref(major), COMPUTE_MAJOR, 0)
        self.call("cuDeviceGetAttribute", ctypes.byref(minor), COMPUTE_MINOR, 0)
        gpu, self._kind = name.value.decode("ascii", "replace"), "cuda"
        return {"gpu": gpu, "compute": f"{major.value}.{minor.value}", "cuda_driver": version.value}

    def captured(self, stream: int, enqueue: Callable[[], None]) -> int:
        """A CUDA graph of what `enqueue` puts on the stream; to be launched with `launch`. Raises Failure where it cannot be had."""
        graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), CAPTURE_THREAD_LOCAL)
        try:
            enqueue()
        finally:
            self.call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        try:
            self.call("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
        finally:
            self.call("cuGraphDestroy", graph)
        return ready.value or 0

    def launch(self, graph: int, stream: int) -> None:
        self.call("cuGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))

    def drop(self, graph: int) -> None:
        self.call("cuGraphExecDestroy", ctypes.c_void_p(graph))


class Libraries:
    """The driver, TensorRT and pycuda, taken in that order; each that is missing is a Failure with its remedy."""

    def __init__(self, standin: str | None) -> None:
        if standin is not None:  # the project's own tests
            sys.path.insert(0, standin)
            library = runpy.run_path(str(Path(standin) / "libcuda.py"))["LIBRARY"]
        else:
            try:
                library = ctypes.CDLL("libcuda.so.1")
            except OSError as problem:
                raise Failure("driver", f"no NVIDIA driver ({problem}): install it, or choose onnxruntime") from problem
        self.driver = Driver(library)
        self.identity = self.driver.identity()
        if np is None:
            raise Failure("library", f"{sys.executable} has no numpy: name a Python that has numpy, tensorrt and pycuda")
        try:
            import tensorrt as trt
        except Exception as problem:
            raise Failure("library", f"Python's tensorrt cannot be imported ({problem}): install JetPack's or NVIDIA's") from problem
        try:
            import pycuda.driver as cuda
            from pycuda import VERSION_TEXT
        except Exception as problem:
            raise Failure("library", f"pycuda cannot be imported ({problem}): pip install 'trichoscope[jetson]'") from problem
        self.trt: Any = trt
        self.cuda: Any = cuda
        self.identity.update(
            protocol=PROTOCOL,
            tensorrt=trt.__version__,
            pycuda=VERSION_TEXT,
            python=platform.python_version(),
            numpy=np.__version__,
            l4t=_first_line("/etc/nv_tegra_release"),
            kernel_driver=_first_line("/proc/driver/nvidia/version"),
        )

    def take_gpu(self) -> None:
        """Make the GPU's primary context, which TensorRT uses too, this thread's."""
        with contextlib.suppress(Failure, AttributeError):  # in use, or an older driver: waiting then costs more
            self.driver.call("cuDevicePrimaryCtxSetFlags_v2", 0, SCHEDULE_BLOCKING_SYNC)
        self.cuda.init()
        self._gpu = self.cuda.Device(0).retain_primary_context()
        self._gpu.push()

    def logger(self) -> Any:
        """TensorRT's logger; `errors` are its last ones, for messages."""
        trt = self.trt

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)
                self.errors: collections.deque[str] = collections.deque(maxlen=3)

            def log(self, severity: Any, msg: str) -> None:
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    self.errors.append(" ".join(msg.split())[:300])

        return Logger()


def _first_line(path: str) -> str:
    try:
        with Path(path).open(encoding="ascii", errors="replace") as file:
            return file.readline(300).strip()
    except OSError:
        return ""


class Tensor:
    """One input or output: its device memory and its pinned host memory, taken once for its greatest shape."""

    def __init__(self, cuda: Any, name: str, is_input: bool, dtype: Any, shapes: list[tuple[int, ...]]) -> None:
        self.name, self.is_input, self.dtype, (self.least, self.usual, self.most) = name, is_input, np.dtype(dtype), shapes
        count = max(math.prod(self.most), 1)
        self.host = cuda.pagelocked_empty((count,), self.dtype)
        self.host[:] = 0
        self.device = cuda.mem_alloc(count * self.dtype.itemsize)
        self.shape = self.most

    def view(self) -> np.ndarray[Any, Any]:
        return self.host[: math.prod(self.shape)]  # type: ignore[no-any-return]

    def told(self) -> dict[str, Any]:
        shapes = {"least": list(self.least), "usual": list(self.usual), "most": list(self.most)}
        return {"name": self.name, "input": self.is_input, "dtype": self.dtype.name, **shapes}


class Engine:
    """A plan, ready to run: one context, one stream, addresses that never change, and a CUDA graph once a shape has come back."""

    def __init__(self, libraries: Libraries, plan: bytes) -> None:
        trt, self._cuda, self._driver = libraries.trt, libraries.cuda, libraries.driver
        logger = libraries.logger()
        self._runtime = runtime = trt.Runtime(logger)
        self._engine = engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise Failure("engine", f"TensorRT refuses the engine: {'; '.join(logger.errors) or 'no reason given'}")
        self._context = context = engine.create_execution_context()
        if context is None:
            raise Failure("cuda", f"no execution context, most often for want of GPU memory: {'; '.join(logger.errors)}")
        self._stream = self._cuda.Stream()
        self._graph, self._graph_refused, self._runs = 0, "", 0
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        profiles = {name: [tuple(shape) for shape in engine.get_tensor_profile_shape(name, 0)] for name in inputs}
        for name in inputs:
            shape = tuple(engine.get_tensor_shape(name))
            if -1 not in shape:  # what a profile says of a fixed shape is no matter
                profiles[name] = [shape] * 3
        for name in inputs:
            context.set_input_shape(name, profiles[name][2])
        context.infer_shapes()
        self.tensors: list[Tensor] = []
        for name in names:
            shape = tuple(context.get_tensor_shape(name))
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
            if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE or -1 in shape or dtype not in DTYPES:
                raise Failure("engine", f"tensor {name!r} ({dtype} {shape}) is not one that we can pass")
            self.tensors.append(Tensor(self._cuda, name, name in inputs, dtype, profiles.get(name, [shape] * 3)))
            if not context.set_tensor_address(name, int(self.tensors[-1].device)):
                raise Failure("engine", f"tensor {name!r} takes no address")
        for _ in range(2):  # kernels are loaded by the first run, and the graph is made by the second: before anyone waits for them
            self.run({tensor.name: tensor.usual for tensor in self.tensors if tensor.is_input})

    def told(self) -> dict[str, Any]:
        return {"tensors": [tensor.told() for tensor in self.tensors], "graph": bool(self._graph), "graph_refused": self._graph_refused}

    def run(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """From the inputs' host memory, in these shapes, to the outputs'."""
        inputs = [tensor for tensor in self.tensors if tensor.is_input]
        if any(tensor.shape != shapes[tensor.name] for tensor in inputs):
            self._reshape(inputs, shapes)
        for tensor in inputs:
            self._cuda.memcpy_htod_async(tensor.device, tensor.view(), self._stream)
        if self._graph:
            self._driver.launch(self._graph, self._stream.handle)
        else:
            self._enqueue()
        self._fetch()
        self._runs += 1
        if self._runs == 2 and not self._graph_refused:
            self._capture()

    def _reshape(self, inputs: list[Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
        if self._graph:
            self._driver.drop(self._graph)
        self._graph, self._runs = 0, 0
        for tensor in inputs:
            tensor.shape = ()  # where this fails half way, the next run starts it anew
        for tensor in inputs:
            if not self._context.set_input_shape(tensor.name, shapes[tensor.name]):
                raise Failure("input", f"input {tensor.name!r}: TensorRT refuses the shape {shapes[tensor.name]}")
        missing = self._context.infer_shapes()
        if missing:
            raise Failure("input", f"the shapes of {', '.join(missing)} are not determined")
        for tensor in self.tensors:
            shape = tuple(self._context.get_tensor_shape(tensor.name))
            if -1 in shape or math.prod(shape) > tensor.host.size:
                raise Failure("engine", f"tensor {tensor.name!r} has the shape {shape}")
            tensor.shape = shape

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise Failure("cuda", "TensorRT could not run the engine")

    def _fetch(self) -> None:
        for tensor in self.tensors:
            if not tensor.is_input:
                self._cuda.memcpy_dtoh_async(tensor.view(), tensor.device, self._stream)
        self._stream.synchronize()

    def _capture(self) -> None:
        """A graph of the run just done, kept only where it gives the same bytes; not to have one is no failure."""
        outputs = [tensor for tensor in self.tensors if not tensor.is_input]
        plain = [tensor.view().tobytes() for tensor in outputs]
        try:
            graph = self._driver.captured(self._stream.handle, self._enqueue)
            self._driver.launch(graph, self._stream.handle)
            self._fetch()
            same = plain == [tensor.view().tobytes() for tensor in outputs]
            if not same:
                self._driver.drop(graph)
        except (Failure, AttributeError) as problem:
            self._graph_refused = str(problem)[:200]
        else:
            self._graph, self._graph_refused = (graph, "") if same else (0, "the graph's result differs from the plain run's")
        if not self._graph:  # the run that a caller waits for is done again, plainly: what lies in the outputs is of the attempt
            self._enqueue()
            self._fetch()


class Worker:
    """Answers requests, one at a time."""

    def __init__(self, standin: str | None) -> None:
        self._standin = standin
        self._libraries: Libraries | None = None
        self._loaded: Engine | None = None
        self._arena: mmap.mmap | None = None

    def answer(self, request: dict[str, Any], memory: mmap.mmap | None) -> dict[str, Any]:
        do = request.get("do")
        if do == "hello":
            self._libraries = Libraries(self._standin)
            return self._libraries.identity
        if self._libraries is None:
            raise Failure("input", "say hello first")
        if do == "load":
            self._libraries.take_gpu()
            self._loaded = Engine(self._libraries, _plan(request["plan"], request["sha256"]))
            return self._loaded.told()
        if do == "arena" and memory is not None:
            self._arena = memory
            return {}
        if do == "infer" and self._loaded is not None and self._arena is not None:
            return {"outputs": self._infer(self._loaded, self._arena, request)}
        raise Failure("input", f"{do!r} cannot be done now")

    def _infer(self, loaded: Engine, arena: mmap.mmap, request: dict[str, Any]) -> list[dict[str, Any]]:
        given = {one["name"]: one for one in request["inputs"]}
        inputs = [tensor for tensor in loaded.tensors if tensor.is_input]
        if sorted(given) != sorted(tensor.name for tensor in inputs) or len(given) != len(request["inputs"]):
            raise Failure("input", f"inputs {sorted(given)}: the engine takes {sorted(tensor.name for tensor in inputs)}")
        for tensor in inputs:
            one = given[tensor.name]
            shape, bounds = tuple(one["shape"]), list(zip(tensor.least, tensor.most))
            if one["dtype"] != tensor.dtype.name or len(shape) != len(bounds):
                raise Failure("input", f"input {tensor.name!r}: {one['dtype']} {shape}: it is {tensor.dtype.name} of {bounds}")
            if any(not low <= side <= high for side, (low, high) in zip(shape, bounds)):
                raise Failure("input", f"input {tensor.name!r}: {shape} is not within {tensor.least} and {tensor.most}")
            count = math.prod(shape)
            if not 0 <= one["offset"] <= len(arena) - count * tensor.dtype.itemsize:
                raise Failure("input", f"input {tensor.name!r} lies outside the shared memory")
            tensor.host[:count] = np.frombuffer(arena, tensor.dtype, count, one["offset"])
        loaded.run({tensor.name: tuple(given[tensor.name]["shape"]) for tensor in inputs})
        told, at = [], int(request["room"])
        for tensor in [one for one in loaded.tensors if not one.is_input]:
            content = tensor.view()
            if not 0 <= at <= len(arena) - content.nbytes:
                raise Failure("input", f"output {tensor.name!r} does not fit into the shared memory")
            np.frombuffer(arena, tensor.dtype, content.size, at)[:] = content
            told.append({"name": tensor.name, "dtype": tensor.dtype.name, "shape": list(tensor.shape), "offset": at})
            at += -(-content.nbytes // ALIGNMENT) * ALIGNMENT
        return told


def _plan(path: str, sha256: str) -> bytes:
    """The bytes that were verified are the bytes that are deserialised."""
    with Path(path).open("rb") as file:
        plan = file.read(MAX_PLAN_BYTES + 1)
    if hashlib.sha256(plan).hexdigest() != sha256:
        raise Failure("engine", f"{path}: its SHA-256 is not the one on record: build it again")
    return plan


def serve(control: socket.socket, standin: str | None) -> None:
    """Until the daemon closes its end."""
    worker, rest = Worker(standin), b""
    while True:
        line, rest, descriptors = _line(control, rest)
        request, memory = json.loads(line), None
        if descriptors:
            memory = mmap.mmap(descriptors[0], os.fstat(descriptors[0]).st_size)
            for descriptor in descriptors:
                os.close(descriptor)
        try:
            answer = worker.answer(request, memory)
        except Failure as problem:
            answer = {"error": str(problem)[:2000], "kind": problem.kind}
        except Exception as problem:  # whatever CUDA or TensorRT raise: the daemon decides, most often by ending this process
            answer = {"error": f"{type(problem).__name__}: {problem}"[:2000], "kind": "cuda"}
        control.sendall(json.dumps({"id": request["id"], **answer}).encode() + b"\n")


def _line(control: socket.socket, rest: bytes) -> tuple[bytes, bytes, list[int]]:
    """The next line, what came after it, and the descriptors that came with it. Ends the process where the daemon has gone."""
    descriptors = array.array("i")
    while b"\n" not in rest:
        if len(rest) > MAX_LINE:
            sys.exit(f"a line longer than {MAX_LINE} bytes")
        content, extra, _, _ = control.recvmsg(MAX_LINE, socket.CMSG_SPACE(4 * 4))
        if not content:
            os._exit(0)  # no destructors: the kernel gives everything back, and CUDA's may hang
        for level, kind, data in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        rest += content
    line, _, rest = rest.partition(b"\n")
    return line, rest, list(descriptors)


def main(arguments: list[str]) -> int:
    """The exit code."""
    given = dict(zip(arguments[::2], arguments[1::2])) if len(arguments) % 2 == 0 else {}
    if arguments[:1] == ["--probe"]:
        try:
            print(json.dumps(Libraries(None if len(arguments) < 3 else arguments[2]).identity))
        except Failure as problem:
            print(problem, file=sys.stderr)
            return 1
        return 0
    if "--control" not in given or "--lifeline" not in given:
        print(__doc__)
        return 0 if arguments == ["--help"] else 2
    lifeline = int(given["--lifeline"])  # nothing is ever sent on it: its end is SIGIO, whose default is to end the process
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    try:
        if os.read(lifeline, 1) == b"":
            return 0  # the daemon ended before we asked to be told
    except BlockingIOError:
        pass
    serve(socket.socket(fileno=int(given["--control"])), given.get("--standin"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
