import json
import resource
from pathlib import Path

import pytest

from runtime.bench.inference.overhead import NETWORK, measure_overhead
from runtime.bundles.parts import PictureInput, Tolerance, Variant
from runtime.bundles.reader import Bundle
from runtime.bundles.writer import write_bundle
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.inference.tensorrt import building
from runtime.inference.tensorrt.building import build_engine, build_engines
from runtime.inference.tensorrt.cache import EngineCache
from runtime.inference.tensorrt.errors import EngineError, RefusedError, WorkerError
from runtime.inference.tensorrt.options import BuildOptions
from runtime.inference.tensorrt.sources import engine_source, roles_of
from tests.runtime.bundle_samples import GOLDEN, MODEL, golden, segmenter_role, write_sample
from tests.runtime.tensorrt_standins import STANDIN, built, command, dark, identity, key, picture


def variants_sample(folder: Path) -> Bundle:
    """A bundle whose segmenter has an fp16 and a symmetric int8 network beside its reference."""
    from runtime.bundles.roles import Roles

    files = {"fp16": "half.onnx", "int8-symmetric": "eighth.onnx"}
    near = tuple(Tolerance(output=name, absolute=0.1) for name in ("features", "hair", "marks"))
    role = segmenter_role(variants=tuple(Variant(precision=p, model=f, tolerances=near) for p, f in files.items()))
    content = {MODEL: dark(), GOLDEN: golden()} | {file: dark(note=file) for file in files.values()}
    return write_bundle(folder, content, name="dark", release=1, minimum_version="0.1.0", roles=Roles(segmenter=role))


def test_a_bundles_engines_are_built_once(tmp_path):
    bundle, heard = write_sample(tmp_path / "bundle", model=dark()), []
    how = {"command": command(), "on_progress": lambda *told: heard.append(told)}
    (first,) = build_engines(bundle, tmp_path / "engines", **how)
    assert first.fresh and (first.role, first.file) == ("segmenter", MODEL)
    shares = [share for _, share, _ in heard]
    assert (
        shares and shares == sorted(shares) and all(0 <= share <= 1 for share in shares) and {role for role, _, _ in heard} == {"segmenter"}
    )
    plan = json.loads(first.record.plan.read_bytes())
    assert plan["profile"] == {"picture": [[1, 32, 32, 3], [1, 320, 320, 3], [1, 320, 320, 3]]}
    assert plan["flags"] == 2  # 1 << STRONGLY_TYPED
    assert plan["said"] == [["workspace", 1024 << 20], ["clear", "tf32"]] and plan["timed"] == 0
    (second,) = build_engines(bundle, tmp_path / "engines", **how)
    assert not second.fresh and second.record == first.record
    (third,) = build_engines(bundle, tmp_path / "engines", again=True, **how)
    assert third.fresh and json.loads(third.record.plan.read_bytes())["timed"] > 0  # the timings of the first build
    told = first.to_dict()
    assert (told["precision"], told["gpu"], told["fresh"]) == ("fp32", "Stand-in GPU", True) and json.loads(told["options"])[
        "typing"
    ] == "strong"


@pytest.mark.parametrize(
    ("version", "precision", "weak", "flags", "said"),
    [
        ("10.3.0", None, False, 2, []),
        ("10.13.2", "int8", False, 2, []),
        ("11.4.0", "fp16", False, 0, []),
        ("10.3.0", "fp16", True, 0, [["set", "fp16"]]),
        ("10.3.0", "int8", True, 0, [["set", "fp16"], ["set", "int8"]]),
        ("10.3.0", "fp32", True, 0, [["clear", "tf32"]]),
    ],
)
def test_precision_lies_in_the_graph_or_in_flags_where_that_is_asked_for(tmp_path, monkeypatch, version, precision, weak, flags, said):
    monkeypatch.setenv("STANDIN_VERSION", version)
    bundle = variants_sample(tmp_path / "bundle")
    (found,) = build_engines(bundle, tmp_path / "engines", precision=precision, weak=weak, command=command())
    plan = json.loads(found.record.plan.read_bytes())
    assert (plan["flags"], plan["said"][1:]) == (flags, said)
    asked = precision or "fp16"
    assert found.record.key.precision == asked and found.record.key.tensorrt == version
    assert json.loads(found.record.key.options)["typing"] == ("weak" if weak else "strong")
    assert found.file == {"fp32": MODEL, "fp16": MODEL if weak else "half.onnx", "int8": "eighth.onnx"}[asked]


def test_tensorrt_11_has_no_weak_typing(tmp_path, monkeypatch):
    monkeypatch.setenv("STANDIN_VERSION", "11.4.0")
    with pytest.raises(RefusedError, match="strongly typed networks only"):
        build_engine(identity(1), EngineCache(tmp_path), BuildOptions(typing="weak"), command=command())
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("how", "error", "why"),
    [("crash", WorkerError, "signal 9"), ("hang", WorkerError, "within 1 s"), ("refuse", RefusedError, "cannot build the network")],
)
def test_a_build_that_fails_leaves_what_was_there(tmp_path, monkeypatch, how, error, why):
    network = identity(1)
    cache = built(tmp_path, network)
    record = cache.find(key(network, BuildOptions()))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setenv("STANDIN_BUILD", how)
    monkeypatch.setattr(building, "SILENT_S", 1.0)
    with pytest.raises(error, match=why):
        build_engine(network, cache, BuildOptions(), command=command(), again=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert cache.find(record.key) == record


def test_a_disk_that_fills_while_the_worker_writes(tmp_path, monkeypatch):
    network = identity(1)
    cache = built(tmp_path, network)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setenv("STANDIN_PLAN_BYTES", "1000000")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(EngineError, match=f"{tmp_path}: File too large: the engine was not kept: free some space"):
            build_engine(network, cache, BuildOptions(), command=command(), again=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_whoever_wants_no_more_ends_the_build(tmp_path):
    def enough(share, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(identity(1), EngineCache(tmp_path), BuildOptions(), enough, command=command())
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("network", "options", "why"),
    [
        (b"not a network", BuildOptions(), "cannot read the network: no stand-in in it"),
        (identity(-1, -1), BuildOptions(), "state its least, usual and greatest shape"),
        (identity(-1, 3), BuildOptions(shapes={"x": ((1, 4), (1, 4), (1, 4))}), "does not fit"),
        (identity(-1, 3), BuildOptions(shapes={"x": ((1,), (1,), (1,))}), "state its least, usual and greatest shape"),
    ],
)
def test_networks_that_cannot_be_built_are_named(tmp_path, network, options, why):
    with pytest.raises(RefusedError, match=why) as caught:
        build_engine(network, EngineCache(tmp_path), options, command=command())
    assert caught.value.kind == "network"


@pytest.mark.parametrize("changes", [{"level": 6}, {"max_batch": 0}, {"workspace_mib": 0}, {"shapes": {"x": ((2,), (1,), (3,))}}])
def test_options_that_make_no_sense(changes):
    with pytest.raises(ValueError, match=r"level is 0 to 5|do not grow"):
        BuildOptions(**changes)


def test_roles_and_precisions_that_are_not_there(tmp_path):
    bundle = write_sample(tmp_path / "bundle")
    assert roles_of(bundle) == ("segmenter",)
    for precision, what in (("fp16", "no fp16 network"), ("int8", "no int8-symmetric network")):
        with pytest.raises(InferenceError, match=what):
            engine_source(bundle, "segmenter", precision=precision)
    with pytest.raises(InferenceError, match="has no such role"):
        build_engines(bundle, tmp_path, roles=["conditions"], command=command())
    with pytest.raises(InferenceError, match="no role of it is one for TensorRT"):
        build_engines(bundle, tmp_path, roles=[], command=command())


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_pictures_of_one_size_have_one_profile(layout):
    from runtime.inference.tensorrt.sources import _picture

    spec = PictureInput(name="p", width=320, height=256, layout=layout)
    assert _picture(spec) == {"NHWC": (256, 320, 3), "NCHW": (3, 256, 320)}[layout]


def test_the_overhead_is_measured():
    found = measure_overhead(rounds=5, standin=STANDIN)
    assert found.standin and found.rounds == 5
    assert 0 < found.p50_ms <= found.p95_ms <= found.p99_ms <= found.worst_ms and found.started_ms > 0


def test_the_network_of_the_overhead_is_one():
    with OnnxBackend(NETWORK, threads=1) as backend:
        x = picture(height=480, width=640)
        assert abs(backend.infer({"x": x})["y"] - x.mean(3)).max() < 1e-3
