import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from tests.runtime.bundle_samples import dark_is_hair


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
