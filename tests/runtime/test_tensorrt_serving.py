import os
import signal
import threading
import time

import numpy as np
import pytest

from runtime.errors import TrichoscopeError
from runtime.inference import choosing
from runtime.inference.choosing import choose_backend, choose_for_role
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.inference.tensorrt.cache import EngineCache
from runtime.inference.tensorrt.serving import RestartPolicy, ServingBackend
from runtime.inference.tensorrt.sources import engine_source
from tests.eventually import eventually
from tests.runtime.bundle_samples import write_sample
from tests.runtime.tensorrt_standins import DARK_OPTIONS, DIES, FAILS, HANGS, IS_SLOW, built, command, dark, picture

QUICK = RestartPolicy(most=3, window_s=600, first_wait_s=0.02, longest_wait_s=0.1, look_every_s=0.02)
WAIT_S = 30.0


def serving(folder, **changes) -> ServingBackend:
    how = {"kind": "tensorrt", "threads": 1, "cache_folder": folder, "name": "segmenter", "options": DARK_OPTIONS, "command": command()}
    found = choose_backend(dark(), **(how | {"policy": QUICK} | changes))
    assert isinstance(found, ServingBackend)
    return found


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """A folder with the engine of `dark`; read by the tests, never changed."""
    return built(tmp_path_factory.mktemp("engines"), dark(), DARK_OPTIONS).folder


@pytest.fixture(scope="module")
def reference():
    with OnnxBackend(dark(), threads=1) as backend:
        yield lambda x: backend.infer({"picture": x})


def assert_right(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4)


def test_tensorrt_serves_once_it_is_ready_and_the_reference_until_then(engines, reference):
    with serving(engines) as backend:
        x = picture()
        assert_right(backend.infer({"picture": x}), reference(x))
        assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message
        answered = backend.status()
        assert_right(backend.infer({"picture": x}), reference(x))
        status = backend.status()
        assert (status.serving, status.state, status.restarts) == ("tensorrt", "serving", 0)
        assert status.by_tensorrt == answered.by_tensorrt + 1 and status.by_reference == answered.by_reference
        pid = backend.worker_pid
    assert backend.state == "off"
    assert eventually(lambda: not os.path.exists(f"/proc/{pid}"))  # noqa: PTH110


@pytest.mark.parametrize("first", [DIES, HANGS, FAILS])
def test_the_call_whose_worker_fails_is_answered_by_the_reference(engines, reference, first):
    with serving(engines) as backend:
        assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message
        x = picture(first)
        assert_right(backend.infer({"picture": x}), reference(x))
        assert backend.status().by_reference == 1
        assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message
        assert backend.status().restarts == 1
        assert_right(backend.infer({"picture": picture()}), reference(picture()))
        assert backend.status().by_tensorrt == 1


def test_killed_in_mid_inference_again_and_again_none_wrong_none_lost(engines, reference):
    policy = RestartPolicy(most=100, window_s=600, first_wait_s=0.01, longest_wait_s=0.01, look_every_s=0.02)
    with serving(engines, policy=policy) as backend:
        answers = 0
        for turn in range(3):
            assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message
            pid = backend.worker_pid
            killer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
            x = picture(IS_SLOW, seed=turn)
            killer.start()
            assert_right(backend.infer({"picture": x}), reference(x))
            killer.join()
            for seed in range(5):  # while it starts anew
                x = picture(seed=seed)
                assert_right(backend.infer({"picture": x}), reference(x))
            answers += 6
        status = backend.status()
        assert status.by_tensorrt + status.by_reference == answers
        assert status.by_reference >= 3


def test_a_size_that_the_engine_does_not_take_is_no_failure(engines, reference):
    with serving(engines) as backend:
        assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message
        pid, x = backend.worker_pid, picture(height=160, width=224)
        assert_right(backend.infer({"picture": x}), reference(x))
        assert (backend.status().serving, backend.status().by_reference, backend.worker_pid) == ("tensorrt", 1, pid)


def test_what_no_backend_takes_is_an_error_and_everything_goes_on(engines):
    with serving(engines) as backend:
        assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message
        with pytest.raises(InferenceError, match="ONNX Runtime failed"):
            backend.infer({"other": picture()})
        assert backend.status().serving == "tensorrt"


def test_restarts_are_bounded(engines, reference):
    with serving(engines) as backend:
        for _ in range(QUICK.most):
            assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message
            backend.infer({"picture": picture(DIES)})
        assert not backend.wait_for("serving", timeout_s=0.3)  # it rests for the window
        status = backend.status()
        assert (status.state, status.serving, status.restarts) == ("failing", "onnxruntime", QUICK.most - 1)
        assert "signal 9" in status.message and "ONNX Runtime serves" in status.message
        assert_right(backend.infer({"picture": picture(DIES)}), reference(picture(DIES)))
    with backend:  # another activation begins anew
        assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message


def test_waits_grow_and_are_bounded():
    policy = RestartPolicy(first_wait_s=1, longest_wait_s=10)
    assert [policy.wait_s(n) for n in (0, 1, 2, 3, 4, 5, 60)] == [1, 1, 2, 4, 8, 10, 10]


def test_an_engine_that_is_missing_is_waited_for(tmp_path, reference):
    with serving(tmp_path) as backend:
        assert backend.wait_for("missing", timeout_s=WAIT_S), backend.message
        assert "trichoscope models build" in backend.message
        assert_right(backend.infer({"picture": picture()}), reference(picture()))
        built(tmp_path, dark(), DARK_OPTIONS)
        assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message
        assert backend.status().restarts == 0


def test_an_engine_that_is_being_built_is_told(tmp_path):
    cache = EngineCache(tmp_path)
    with serving(tmp_path) as backend:
        assert backend.wait_for("missing", timeout_s=WAIT_S), backend.message
        with cache._alone():
            assert backend.wait_for("building", timeout_s=WAIT_S)
        assert backend.wait_for("missing", timeout_s=WAIT_S)


def test_a_damaged_engine_is_not_used_and_its_replacement_is(tmp_path):
    cache = built(tmp_path, dark(), DARK_OPTIONS)
    plan = next(tmp_path.glob("*.plan"))
    plan.write_bytes(plan.read_bytes()[:-1])
    with serving(tmp_path) as backend:
        assert backend.wait_for("missing", timeout_s=WAIT_S), backend.message
        assert "truncated or changed" in backend.message
        assert not backend.wait_for("serving", timeout_s=0.2)
        built(cache.folder, dark(), DARK_OPTIONS)
        assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message


def test_without_a_driver_the_reference_serves_and_nothing_is_tried_again(engines, reference, monkeypatch):
    monkeypatch.setenv("STANDIN_DRIVER", "none")
    with serving(engines) as backend:
        assert backend.wait_for("absent", timeout_s=WAIT_S), backend.message
        eventually(lambda: not backend._thread.is_alive())
        assert_right(backend.infer({"picture": picture()}), reference(picture()))
        assert "cuInit" in backend.message


def test_a_gpu_that_fails_at_work_is_tried_again(engines, reference, monkeypatch):
    """As opposed to one that is not there."""
    monkeypatch.setenv("STANDIN_GRAPH", "breaks")
    with serving(engines) as backend:
        assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message
        assert_right(backend.infer({"picture": picture()}), reference(picture()))
        monkeypatch.setenv("STANDIN_GRAPH", "")
        assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message
        assert (backend.status().restarts, backend.status().by_reference) == (1, 1)
        assert_right(backend.infer({"picture": picture()}), reference(picture()))


def test_a_worker_that_never_starts_is_tried_a_bounded_number_of_times(engines, reference):
    with serving(engines, command=command(python="/nowhere/python3")) as backend:
        assert backend.wait_for("failing", timeout_s=WAIT_S)
        eventually(lambda: len(backend._failures) == QUICK.most)
        assert_right(backend.infer({"picture": picture()}), reference(picture()))
        assert "cannot be started" in backend.message
        time.sleep(0.2)
        assert len(backend._failures) == QUICK.most


def test_an_engine_whose_numbers_are_wrong_does_not_serve(tmp_path, reference):
    wrong = dark("wrong dark")
    built(tmp_path, wrong, DARK_OPTIONS)

    def prove(backend):
        if abs(backend.infer({"picture": picture()})["hair"] - reference(picture())["hair"]).max() > 1e-3:
            raise TrichoscopeError("off by much")

    with serving(tmp_path, variant_model=wrong, prove=prove) as backend:
        assert backend.wait_for("refused", timeout_s=WAIT_S), backend.message
        assert_right(backend.infer({"picture": picture()}), reference(picture()))
        assert backend.worker_pid is None


def test_an_engine_that_ends_while_it_is_proven_is_tried_again(engines):
    tried = []

    def prove(backend):
        tried.append(backend.pid)
        if len(tried) == 1:
            try:
                backend.infer({"picture": picture(DIES)})
            except InferenceError as problem:
                raise TrichoscopeError("as a proof tells it") from problem

    with serving(engines, prove=prove) as backend:
        assert backend.wait_for("serving", timeout_s=WAIT_S), backend.message
        assert len(set(tried)) == 2


def test_closing_does_not_wait_for_a_start(engines, monkeypatch):
    monkeypatch.setattr(ServingBackend, "_proven", staticmethod(lambda backend, prove: prove(backend)))
    inside = threading.Event()

    def prove(backend):
        inside.set()
        backend.infer({"picture": picture(HANGS)})

    backend = serving(engines, prove=prove)
    with backend:
        assert inside.wait(WAIT_S)
    assert backend.state == "off" and backend.worker_pid is None


def test_activated_and_closed_at_once_again_and_again(engines):
    backend = serving(engines)
    for _ in range(3):
        with backend:
            backend.infer({"picture": picture()})
    assert backend.state == "off"


def test_which_backend_is_chosen(tmp_path, monkeypatch):
    how = {"threads": 1, "cache_folder": tmp_path, "name": "n"}
    assert isinstance(choose_backend(dark(), kind="onnxruntime", **how), OnnxBackend)
    monkeypatch.setattr(choosing, "GPU_NODES", (str(tmp_path / "none"),))
    assert isinstance(choose_backend(dark(), kind="auto", **how), OnnxBackend)
    assert isinstance(choose_backend(dark(), kind="tensorrt", **how), ServingBackend)
    monkeypatch.setattr(choosing, "GPU_NODES", (str(tmp_path),))
    assert isinstance(choose_backend(dark(), kind="auto", **how), ServingBackend)


@pytest.mark.parametrize(("function", "state"), [("dark", "serving"), ("wrong dark", "refused")])
def test_a_bundles_role_serves_once_its_golden_numbers_are_right(tmp_path, function, state):
    bundle = write_sample(tmp_path / "bundle", model=dark(function))
    source = engine_source(bundle, "segmenter")
    built(tmp_path / "engines", source.model, source.options)
    backend = choose_for_role(
        bundle, "segmenter", kind="tensorrt", threads=1, cache_folder=tmp_path / "engines", command=command(), policy=QUICK
    )
    with backend:
        assert isinstance(backend, ServingBackend)
        assert backend.wait_for(state, timeout_s=WAIT_S), backend.message
        if state == "refused":
            assert "segmenter: output 'features': off by 0.25" in backend.message


def test_a_role_that_the_bundle_has_not(tmp_path):
    bundle = write_sample(tmp_path / "bundle")
    with pytest.raises(InferenceError, match="has no such role"):
        choose_for_role(bundle, "stage", kind="auto", threads=1, cache_folder=tmp_path)
    assert isinstance(choose_for_role(bundle, "segmenter", kind="onnxruntime", threads=1, cache_folder=tmp_path), OnnxBackend)


def test_a_precision_that_the_bundle_has_not(tmp_path):
    bundle = write_sample(tmp_path / "bundle")
    how = {"threads": 1, "cache_folder": tmp_path, "precision": "int8", "command": command()}
    assert isinstance(choose_for_role(bundle, "segmenter", kind="auto", **how), OnnxBackend)
    with pytest.raises(InferenceError, match="no int8-symmetric network"):
        choose_for_role(bundle, "segmenter", kind="tensorrt", **how)
