import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend, providers_here
from tests.eventually import eventually
from tests.runtime.bundle_samples import FLOAT, _field, _int, _node, _value, dark_is_hair


def test_activate_infer_deactivate():
    backend = OnnxBackend(dark_is_hair(), name="dark", threads=1)
    picture = np.full((1, 32, 64, 3), 200, np.uint8)
    picture[:, :, :32] = 10
    with pytest.raises(InferenceError, match="activate"):
        backend.infer({"picture": picture})
    with backend:
        assert backend.active
        backend.activate()  # twice does nothing
        found = backend.infer({"picture": picture})
        assert set(found) == {"hair", "marks", "features"}
        assert found["hair"].shape == (1, 1, 32, 64)
        assert found["hair"][..., :32].min() > 0.99
        assert found["hair"][..., 32:].max() < 0.01
        assert backend.infer({"picture": picture[:, :, :32]})["hair"].shape == (1, 1, 32, 32)
    assert not backend.active
    backend.deactivate()
    with backend:
        assert np.array_equal(backend.infer({"picture": picture})["hair"], found["hair"])


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"picture": np.zeros((1, 0, 32, 3), np.uint8)},
        {"other": np.zeros((1, 32, 32, 3), np.uint8)},
        {"picture": np.zeros((1, 32, 32, 3), np.float32)},
        {"picture": np.zeros((32, 32, 3), np.uint8)},
    ],
    ids=["none", "empty", "name", "type", "rank"],
)
def test_wrong_inputs_are_inference_errors(inputs):
    with OnnxBackend(dark_is_hair(), threads=1) as backend, pytest.raises(InferenceError):
        backend.infer(inputs)


@pytest.mark.parametrize("model", [b"", b"not a network", dark_is_hair()[:100]], ids=["empty", "text", "truncated"])
def test_what_is_no_network_is_an_inference_error(model):
    backend = OnnxBackend(model, name="broken", threads=1)
    with pytest.raises(InferenceError, match="broken"):
        backend.activate()
    assert not backend.active


def _network(*parts: bytes) -> bytes:
    return _field(1, 8) + _field(8, _field(1, "") + _field(2, 17)) + _field(7, b"".join(parts) + _field(2, "network"))


def test_weights_outside_the_verified_bytes_are_not_looked_for(tmp_path, monkeypatch):
    (tmp_path / "weights").write_bytes(np.ones((64, 64), np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    place = b"".join(_field(13, _field(1, key) + _field(2, value)) for key, value in (("location", "weights"), ("length", "16384")))
    model = _network(
        _node("MatMul", ["x", "w"], ["y"]),
        _field(5, _field(1, 64) + _field(1, 64) + _field(2, FLOAT) + _field(8, "w") + place + _field(14, 1)),
        _value(11, "x", FLOAT, [1, 64]),
        _value(12, "y", FLOAT, [1, 64]),
    )
    with pytest.raises(InferenceError, match=r"External data|cannot get file size"):
        OnnxBackend(model, threads=1).activate()


def test_a_network_that_wants_too_much_memory_is_told_by_us_alone(capfd):
    whole = 7
    model = _network(_node("ConstantOfShape", ["x"], ["y"]), _value(11, "x", whole, [1]), _value(12, "y", FLOAT, ["n"]))
    with OnnxBackend(model, threads=1) as backend, pytest.raises(InferenceError, match="ONNX Runtime failed"):
        backend.infer({"x": np.array([10**14], np.int64)})
    assert capfd.readouterr() == ("", "")  # nothing past our log


def test_outputs_that_are_no_numbers_are_an_inference_error():
    text = 8
    model = _network(_node("Cast", ["x"], ["y"], _int("to", text)), _value(11, "x", FLOAT, [1]), _value(12, "y", text, [1]))
    row = _network(
        _node("SequenceConstruct", ["x"], ["y"]),
        _value(11, "x", FLOAT, [1]),
        _field(12, _field(1, "y") + _field(2, _field(4, _field(1, _field(1, _field(1, FLOAT) + _field(2, _field(1, _field(1, 1)))))))),
    )
    for network in (model, row):
        with OnnxBackend(network, threads=1) as backend, pytest.raises(InferenceError, match="'y' is no array of numbers"):
            backend.infer({"x": np.zeros(1, np.float32)})


@pytest.mark.parametrize("threads", [0, 65])
def test_absurd_threads(threads):
    with pytest.raises(ValueError, match="threads"):
        OnnxBackend(dark_is_hair(), threads=threads)


def test_running_a_network_leaves_nothing_in_the_home_folder(tmp_path):
    # ONNX Runtime's builds keep a device id and a queue of events there, for their maker
    model = tmp_path / "dark.onnx"
    model.write_bytes(dark_is_hair())
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "import sys, pathlib, numpy; from runtime.inference.onnx import OnnxBackend\n"
        "with OnnxBackend(pathlib.Path(sys.argv[1]).read_bytes(), threads=1) as backend:\n"
        "    backend.infer({'picture': numpy.zeros((1, 32, 32, 3), numpy.uint8)})\n"
    )
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "CI", "XDG_"))} | {"HOME": str(home)}
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", program, str(model)], env=variables, cwd=root, check=True, timeout=60)
    assert list(home.rglob("*")) == []


def test_the_threads_of_a_session_stay_on_the_cores_that_were_named():
    core = max(os.sched_getaffinity(0))
    before = {int(task.name) for task in Path("/proc/self/task").iterdir()}
    with OnnxBackend(dark_is_hair(), threads=3, cores=[core]) as backend:
        backend.infer({"picture": np.zeros((1, 64, 64, 3), np.uint8)})
        made = {int(task.name) for task in Path("/proc/self/task").iterdir()} - before
        assert len(made) == 2
        # each thread moves itself when it first runs
        eventually(lambda: {frozenset(os.sched_getaffinity(task)) for task in made} == {frozenset({core})})
    with pytest.raises(ValueError, match="name at least one"):
        OnnxBackend(dark_is_hair(), cores=[])


def test_the_processor_is_always_among_the_providers():
    assert "CPUExecutionProvider" in providers_here()
