import os
import re
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.inference.errors import InferenceError
from runtime.inference.tensorrt import backend as backend_module
from runtime.inference.tensorrt.backend import TensorRtBackend
from runtime.inference.tensorrt.cache import EngineCache
from runtime.inference.tensorrt.errors import EngineMissingError, RefusedError, UnfitInputError, WorkerError
from runtime.inference.tensorrt.options import BuildOptions
from runtime.inference.tensorrt.process import WorkerCommand
from tests.runtime.tensorrt_standins import (
    DARK_OPTIONS,
    DIES,
    FAILS,
    HANGS,
    IS_SLOW,
    built,
    command,
    dark,
    identity,
    picture,
    standin_network,
)


def backend_of(cache: EngineCache, network: bytes, options: BuildOptions | None = None, **how: object) -> TensorRtBackend:
    return TensorRtBackend(network, cache, options or BuildOptions(), command=command(), **how)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A worker that many tests ask: float32 (1…4, 3, 5) comes back as it is."""
    network, options = identity(-1, 3, 5), BuildOptions(max_batch=4)
    cache = built(tmp_path_factory.mktemp("engines"), network, options)
    with backend_of(cache, network, options, infer_deadline_s=20) as backend:
        yield backend


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_what_goes_in_comes_out(shared, batch, seed):
    x = np.frombuffer(np.random.default_rng(seed).bytes(batch * 60), np.float32).reshape(batch, 3, 5)  # NaN and infinities too
    y = shared.infer({"x": x})["y"]
    assert y.dtype == np.float32 and y.shape == x.shape
    assert y.tobytes() == x.tobytes()


def test_an_answer_stays_after_the_next(shared):
    first = shared.infer({"x": np.ones((1, 3, 5), np.float32)})["y"]
    shared.infer({"x": np.zeros((4, 3, 5), np.float32)})
    assert (first == 1).all() and first.flags.writeable and first.flags.owndata


def test_inputs_that_do_not_lie_in_one_piece_are_taken(shared):
    x = np.arange(60, dtype=np.float32).reshape(5, 3, 4).T[:4]
    np.testing.assert_array_equal(shared.infer({"x": x})["y"], x)


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"x": np.zeros((1, 3, 5), np.float64)}, "is float64"),
        ({"x": np.zeros((1, 3, 5), ">f4")}, None),
        ({"x": np.zeros((5, 3, 5), np.float32)}, "takes float32 from"),
        ({"x": np.zeros((1, 3, 6), np.float32)}, "takes float32 from"),
        ({"x": np.zeros((3, 5), np.float32)}, "takes float32 from"),
        ({"y": np.zeros((1, 3, 5), np.float32)}, "the engine takes"),
        ({"x": np.zeros((1, 3, 5), np.float32), "z": np.zeros(1)}, "the engine takes"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_worker_goes_on(shared, inputs, why):
    before = shared.pid
    if why is None:  # numpy's name of a type does not tell the order of its bytes
        assert (shared.infer(inputs)["y"] == 0).all()
    else:
        with pytest.raises(UnfitInputError, match=why):
            shared.infer(inputs)
    assert shared.pid == before
    assert (shared.infer({"x": np.ones((2, 3, 5), np.float32)})["y"] == 1).all()


def test_the_worker_checks_what_it_is_told_too(shared):
    worker, one = shared._worker, {"name": "x", "dtype": "float32", "shape": [1, 3, 5], "offset": 0}
    for changes, room in [
        ({"dtype": "int32"}, 256),
        ({"shape": [9, 3, 5]}, 256),
        ({"shape": [3, 5]}, 256),
        ({"offset": 10**9}, 256),
        ({"offset": -4}, 256),
        ({"name": "q"}, 256),
        ({}, 10**9),
        ({}, -256),
    ]:
        with pytest.raises(UnfitInputError):
            worker.ask({"do": "infer", "inputs": [one | changes], "room": room}, deadline_s=20)
    assert worker.ask({"do": "infer", "inputs": [one], "room": 256}, deadline_s=20)["outputs"][0]["shape"] == [1, 3, 5]


@pytest.mark.parametrize("dtype", ["bool", "float16", "int64"])
def test_every_type_passes(tmp_path, dtype):
    network = identity(2, 3, dtype=dtype)
    with backend_of(built(tmp_path, network), network) as backend:
        x = np.arange(6).reshape(2, 3).astype(dtype)
        y = backend.infer({"x": x})["y"]
    assert y.dtype == x.dtype and (y == x).all()


def test_a_type_that_we_cannot_pass_is_refused(tmp_path):
    network = identity(2, 3, dtype="float64")
    cache = built(tmp_path, network)
    with pytest.raises(RefusedError, match="not one that we can pass") as caught:
        backend_of(cache, network).activate()
    assert caught.value.kind == "engine"


def test_shapes_follow_the_picture_and_graphs_follow_the_shapes(tmp_path):
    network = dark()
    with backend_of(built(tmp_path, network, DARK_OPTIONS), network, DARK_OPTIONS) as backend:
        assert backend.loaded.graph
        for height, width in [(64, 96), (64, 96), (64, 96), (128, 160), (32, 32), (32, 32), (32, 32), (64, 96)]:
            x = picture(height=height, width=width, seed=height)
            found = backend.infer({"picture": x})
            assert found["hair"].shape == (1, 1, height, width) and found["marks"].shape == (1, 3, height // 2, width // 2)
            np.testing.assert_allclose(found["features"], x.mean((1, 2)), rtol=1e-5)
        assert backend.loaded is not None
    assert backend.loaded is None and backend.pid is None


@pytest.mark.parametrize(("graph", "why"), [("none", "CUDA error 801"), ("wrong", "differs from the plain run's")])
def test_without_a_graph_the_numbers_are_right_all_the_same(tmp_path, monkeypatch, graph, why):
    monkeypatch.setenv("STANDIN_GRAPH", graph)
    network = identity(2, 3)
    with backend_of(built(tmp_path, network), network) as backend:
        assert not backend.loaded.graph and why in backend.loaded.graph_refused
        for turn in range(4):
            x = np.full((2, 3), turn, np.float32)
            np.testing.assert_array_equal(backend.infer({"x": x})["y"], x)


@pytest.mark.parametrize(
    ("first", "error", "why"),
    [
        (DIES, WorkerError, r"ended \(signal 9\)"),
        (HANGS, WorkerError, "did not answer within 0.5 s"),
        (FAILS, RefusedError, "illegal memory access"),
    ],
)
def test_a_failing_engine_is_an_error_and_activating_anew_helps(tmp_path, first, error, why):
    network = identity(1, 4, dtype="uint8", moody=True)
    backend = backend_of(built(tmp_path, network), network)
    with backend, pytest.raises(error, match=why):
        backend.infer({"x": np.full((1, 4), first, np.uint8)})
    with backend:
        assert (backend.infer({"x": np.full((1, 4), 7, np.uint8)})["y"] == 7).all()


def test_a_late_answer_is_never_taken_for_the_next(tmp_path):
    network = identity(1, 4, dtype="uint8", moody=True)
    backend = backend_of(built(tmp_path, network), network, infer_deadline_s=0.2)
    with backend:
        with pytest.raises(WorkerError, match=r"within 0\.2 s"):
            backend.infer({"x": np.full((1, 4), IS_SLOW, np.uint8)})
        for _ in range(3):  # the one that was late has been ended
            with pytest.raises(WorkerError, match="does not run"):
                backend.infer({"x": np.full((1, 4), 7, np.uint8)})


def test_killed_in_mid_inference(tmp_path):
    network = identity(1, 4, dtype="uint8", moody=True)
    with backend_of(built(tmp_path, network), network, infer_deadline_s=30) as backend:
        killer = threading.Timer(0.1, os.kill, (backend.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(WorkerError, match="signal 9"):
            backend.infer({"x": np.full((1, 4), HANGS, np.uint8)})
        killer.join()


def test_an_interrupted_start_fails(tmp_path):
    network = identity(1, 4)
    backend = backend_of(built(tmp_path, network), network)
    backend.interrupt()
    with pytest.raises(WorkerError):
        backend.activate()
    assert backend.pid is None


def test_no_engine_no_worker_left(tmp_path):
    backend = backend_of(EngineCache(tmp_path / "none"), identity(1))
    with pytest.raises(EngineMissingError, match="trichoscope models build"):
        backend.activate()
    assert backend.pid is None and not backend.active and backend.key is not None


def test_a_plan_that_changes_after_it_was_verified_is_not_deserialised(tmp_path, monkeypatch):
    network = identity(1, 4)
    cache = built(tmp_path, network)
    find = EngineCache.find

    def found_then_changed(self, key):
        record = find(self, key)
        record.plan.write_bytes(record.plan.read_bytes().replace(b"identity", b"identitx"))
        return record

    monkeypatch.setattr(EngineCache, "find", found_then_changed)
    with pytest.raises(RefusedError, match="not the one on record"):
        backend_of(cache, network).activate()


def test_tensors_beyond_the_bound_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(backend_module, "MAX_ARENA_BYTES", 1000)
    network = identity(1, 1000)
    with pytest.raises(InferenceError, match="more than 1000"):
        backend_of(built(tmp_path, network), network).activate()


# a worker that is all protocol: it starts in a fraction of the real one's time, and can be told to lie
LIAR = """
import array, json, socket, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
control = socket.socket(fileno=int(given["--control"]))
machine = dict(protocol=1, tensorrt="10.3.0", gpu="g", compute="8.7", cuda_driver=1, kernel_driver="", l4t="")
tensors = [dict(name=n, input=n == "x", dtype="uint8", least=[2], usual=[2], most=[2]) for n in "xy"]
outputs = [dict(name="y", dtype="uint8", shape=[2], offset=256)]
LIE
while True:
    line, extra, _, _ = control.recvmsg(65536, 64)
    if not line:
        break
    request = json.loads(line)
    answer = {"hello": machine, "load": dict(tensors=tensors, graph=False), "arena": {}, "infer": dict(outputs=outputs)}[request["do"]]
    control.sendall(json.dumps(dict(answer, id=request["id"])).encode() + b"\\n")
"""


class _Found(EngineCache):
    def find(self, key):
        return type("Record", (), {"plan": "none", "sha256": "none"})


def liar(folder: Path, lie: str = "") -> TensorRtBackend:
    file = folder / "liar.py"
    file.write_text(LIAR.replace("LIE", lie))
    return TensorRtBackend(b"", _Found(folder), BuildOptions(), command=WorkerCommand(python=sys.executable, file=file))


@pytest.mark.parametrize(
    "lie",
    [
        'outputs[0]["offset"] = 10**12',
        'outputs[0]["offset"] = -256',
        'outputs[0]["offset"] = 0',
        'outputs[0]["offset"] = 257',
        'outputs[0]["offset"] = 256.0',
        'outputs[0]["offset"] = True',
        'outputs[0]["shape"] = [10**9]',
        'outputs[0]["shape"] = [-1]',
        'outputs[0]["shape"] = [1, 1]',
        'outputs[0]["shape"] = "ab"',
        'outputs[0]["dtype"] = "float32"',
        'outputs[0]["name"] = "z"',
        "outputs.append(outputs[0])",
        "outputs.clear()",
        "outputs = None",
        "outputs[0] = 5",
    ],
)
def test_outputs_that_cannot_be_true_are_not_read(tmp_path, lie):
    with liar(tmp_path, lie) as backend:
        with pytest.raises(WorkerError, match="outputs are not the engine's"):
            backend.infer({"x": np.zeros(2, np.uint8)})
        assert backend.pid is None


@pytest.mark.parametrize(
    "lie",
    [
        'tensors[0]["dtype"] = "object"',
        'tensors[0]["most"] = [-5]',
        'tensors[0]["most"] = [2**40]',
        "tensors = tensors * 40",
        "tensors = 5",
        'machine["cuda_driver"] = "x"',
        'del machine["gpu"]',
    ],
)
def test_an_engine_that_cannot_be_true_is_not_used(tmp_path, lie):
    backend = liar(tmp_path, lie)
    with pytest.raises(WorkerError, match="reinstall the program"):
        backend.activate()
    assert backend.pid is None


def test_fifty_restarts_leave_nothing_behind(tmp_path):
    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), len(re.findall("memfd:trichoscope", Path("/proc/self/maps").read_text()))

    backend, before = liar(tmp_path), held()
    for turn in range(50):
        backend.activate()
        backend.infer({"x": np.zeros(2, np.uint8)})
        if turn % 2:
            os.kill(backend.pid, signal.SIGKILL)
            with pytest.raises(WorkerError):
                while True:  # the answer to a request may be on its way already
                    backend.infer({"x": np.zeros(2, np.uint8)})
        backend.deactivate()
    assert held() == before
    assert not [path for path in Path("/dev/shm").iterdir() if "trichoscope" in path.name]


def test_two_inputs_and_their_places(tmp_path):
    network = standin_network("identity", {"x": ("float32", [3]), "unused": ("int64", [100])})
    with backend_of(built(tmp_path, network), network) as backend:
        x = np.array([1, 2, 3], np.float32)
        for order in ({"x": x, "unused": np.ones(100, np.int64)}, {"unused": np.full(100, 9, np.int64), "x": x}):
            np.testing.assert_array_equal(backend.infer(order)["y"], x)
