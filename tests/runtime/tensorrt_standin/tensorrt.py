"""Stands in for TensorRT, in the names and signatures of its real API (a test holds them against it).

An "ONNX file" is any bytes that hold `STANDIN{…}` as JSON: the inputs (type and shape, -1 for a free side) and one of FUNCTIONS. A plan is
that JSON and the profile. With "moody" the first number of the first input may make the engine end, hang or fail. STANDIN_VERSION: the
version it claims. STANDIN_PLAN_BYTES: how large a plan is made. STANDIN_BUILD: "crash", "hang" or "refuse".
"""

import json
import os
import signal
import time

import numpy as np

__version__ = os.environ.get("STANDIN_VERSION", "10.3.0")
DIES, HANGS, FAILS, IS_SLOW = 201, 202, 203, 204


def _dark(given):
    picture = given["picture"]
    grey = picture.astype(np.float32).mean(axis=3)[:, None]
    hair = (1 / (1 + np.exp(-np.float32(0.2) * (np.float32(100) - grey)))).astype(np.float32)
    half = hair[:, :, : hair.shape[2] // 2 * 2, : hair.shape[3] // 2 * 2]
    half = half.reshape(half.shape[0], 1, half.shape[2] // 2, 2, -1, 2).mean(axis=(3, 5))
    marks = np.concatenate([half, half, half - half], axis=1)
    return {"hair": hair, "marks": marks, "features": picture.astype(np.float32).mean(axis=(1, 2))}


FUNCTIONS = {
    "dark": _dark,
    "identity": lambda given: {"y": given["x"]},
    "first plane": lambda given: {"y": given["x"].reshape(-1)[: given["x"].size // 3].astype(np.float32).reshape(given["x"].shape[:3])},
    "wrong dark": lambda given: {name: value + 0.25 for name, value in _dark(given).items()},
}


class DataType:
    FLOAT, HALF, INT8, INT32, BOOL, UINT8, INT64 = "float32", "float16", "int8", "int32", "bool", "uint8", "int64"


class TensorIOMode:
    INPUT, OUTPUT = "input", "output"


class TensorLocation:
    DEVICE, HOST = "device", "host"


class NetworkDefinitionCreationFlag:
    STRONGLY_TYPED = 1


class MemoryPoolType:
    WORKSPACE = "workspace"


class BuilderFlag:
    TF32 = "tf32"
    if not __version__.startswith("11"):
        FP16, INT8 = "fp16", "int8"


def nptype(trt_type):
    return np.dtype(trt_type).type


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class IProgressMonitor:
    pass


class IHostMemory(bytes):
    pass


class ITimingCache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return IHostMemory(self.content + b"+")


class IOptimizationProfile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, input, min, opt, max):
        self.shapes[input] = [list(min), list(opt), list(max)]


class ITensor:
    def __init__(self, name, shape):
        self.name, self.shape = name, tuple(shape)


class INetworkDefinition:
    def __init__(self, flags):
        self.flags, self.program = flags, None

    @property
    def num_inputs(self):
        return len(self.program["inputs"])

    def get_input(self, index):
        name = list(self.program["inputs"])[index]
        return ITensor(name, self.program["inputs"][name][1])


class ParserError:
    def desc(self):
        return "no stand-in in it"


class OnnxParser:
    def __init__(self, network, logger):
        self._network = network
        self.num_errors = 0

    def parse(self, model, path=None):
        at = bytes(model).find(b"STANDIN{")
        if at < 0:
            self.num_errors = 1
            return False
        self._network.program, _ = json.JSONDecoder().raw_decode(bytes(model)[at + 7 :].decode("utf-8", "replace"))
        return True

    def get_error(self, index):
        return ParserError()


class IBuilderConfig:
    def __init__(self):
        self.said, self.profile, self.timing_cache, self.progress_monitor, self.builder_optimization_level = [], None, None, None, 3

    def set_memory_pool_limit(self, pool, pool_size):
        self.said.append([pool, pool_size])

    def set_flag(self, flag):
        self.said.append(["set", flag])

    def clear_flag(self, flag):
        self.said.append(["clear", flag])

    def add_optimization_profile(self, profile):
        self.profile = profile
        return 0

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self.timing_cache = cache
        return True

    def get_timing_cache(self):
        return self.timing_cache


class Builder:
    def __init__(self, logger):
        assert isinstance(logger, ILogger)

    def create_network(self, flags=0):
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        monitor, how = config.progress_monitor, os.environ.get("STANDIN_BUILD")
        monitor.phase_start("Building", None, 4)
        for step in range(4):
            monitor.phase_start("Timing", "Building", 2)
            for inner in range(2):
                assert monitor.step_complete("Timing", inner)
                time.sleep(0.03)
            monitor.phase_finish("Timing")
            assert monitor.step_complete("Building", step)
            if how == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "hang":
                time.sleep(60)
        monitor.phase_finish("Building")
        if how == "refuse":
            return None
        program = dict(network.program, flags=network.flags, said=config.said, timed=len(config.timing_cache.content))
        program["profile"] = {} if config.profile is None else config.profile.shapes
        content = json.dumps(program).encode()
        return IHostMemory(content.ljust(int(os.environ.get("STANDIN_PLAN_BYTES", "0"))))


class Runtime:
    def __init__(self, logger):
        if "STANDIN_ASKED" not in os.environ:
            os.abort()  # as the real one does where no driver has answered

    def deserialize_cuda_engine(self, serialized_engine):
        return ICudaEngine(json.loads(serialized_engine))


class ICudaEngine:
    def __init__(self, program):
        self.program = program
        self.inputs = list(program["inputs"])
        self.outputs = {name: str(value.dtype) for name, value in self.run(self.zeros(1)).items()}
        self.num_io_tensors = len(self.inputs) + len(self.outputs)

    def zeros(self, which):
        return {name: np.zeros(self.get_tensor_profile_shape(name, 0)[which], self.program["inputs"][name][0]) for name in self.inputs}

    def run(self, given):
        return FUNCTIONS[self.program["function"]](given)

    def get_tensor_name(self, index):
        return (self.inputs + list(self.outputs))[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return self.program["inputs"][name][0] if name in self.inputs else self.outputs[name]

    def get_tensor_shape(self, name):
        return tuple(self.program["inputs"][name][1])

    def get_tensor_location(self, name):
        return TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name, profile_index):
        return self.program["profile"].get(name, [self.program["inputs"][name][1]] * 3)

    def create_execution_context(self):
        return IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine):
        self.engine, self.shapes, self.addresses = engine, {}, {}

    def set_input_shape(self, name, shape):
        self.shapes[name] = tuple(shape)
        return True

    def infer_shapes(self):
        given = {name: np.zeros(self.shapes[name], self.engine.program["inputs"][name][0]) for name in self.engine.inputs}
        self.shapes.update({name: value.shape for name, value in self.engine.run(given).items()})
        return []

    def get_tensor_shape(self, name):
        return self.shapes[name]

    def set_tensor_address(self, name, memory):
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        import pycuda.driver as cuda

        stream = cuda.STREAMS[stream_handle]
        if stream.captured is None:
            self._run(cuda.MEMORY)
        else:
            stream.captured.append(lambda: self._run(cuda.MEMORY))
        return True

    def _run(self, memory):
        given = {}
        for name in self.engine.inputs:
            dtype, shape = np.dtype(self.engine.program["inputs"][name][0]), self.shapes[name]
            content = memory[self.addresses[name]][: int(np.prod(shape)) * dtype.itemsize]
            given[name] = content.view(dtype).reshape(shape)
        if self.engine.program.get("moody"):
            _mood(int(next(iter(given.values())).flat[0]))
        for name, value in self.engine.run(given).items():
            content = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
            memory[self.addresses[name]][: content.size] = content


def _mood(first):
    if first == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    if first == HANGS:
        time.sleep(60)
    if first == FAILS:
        raise RuntimeError("an illegal memory access was encountered")
    if first == IS_SLOW:
        time.sleep(0.4)
