import hashlib
import json
import os
import resource
import threading
from dataclasses import fields, replace

import pytest

from runtime.inference.tensorrt.cache import EngineCache, key_of
from runtime.inference.tensorrt.errors import EngineError, EngineMissingError

MACHINE = {"tensorrt": "10.3.0", "gpu": "Orin", "compute": "8.7", "cuda_driver": 12060, "kernel_driver": "540.4", "l4t": "R36"}
KEY = key_of(b"network", MACHINE, "fp16", {"level": 3})


def kept(cache, key=KEY, plan=b"plan", timing=b""):
    def build(files):
        files.plan.write_bytes(plan)
        files.timing.write_bytes(timing)
        return {"size": len(plan), "sha256": hashlib.sha256(plan).hexdigest(), "seconds": 1.5}

    return cache.keep(key, build)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_kept_is_found(tmp_path):
    cache = EngineCache(tmp_path / "made" / "when used")
    assert not cache.holds(KEY)
    record = kept(cache, timing=b"timings")
    assert cache.find(KEY) == record and record.plan.read_bytes() == b"plan" and record.seconds == 1.5
    assert cache.holds(KEY) and cache.timing(KEY) == b"timings"
    assert names(cache.folder) == sorted([f"{KEY.digest}.json", f"{KEY.digest}.plan", f"{KEY.machine}.timing", "lock"])
    assert json.loads(record.plan.with_suffix(".json").read_text())["sha256"] == hashlib.sha256(b"plan").hexdigest()


@pytest.mark.parametrize("field", [field.name for field in fields(KEY)])
def test_every_part_of_the_key_makes_another_engine(tmp_path, field):
    cache = EngineCache(tmp_path)
    kept(cache)
    value = getattr(KEY, field)
    other = replace(KEY, **{field: value + 1 if isinstance(value, int) else value + "x"})
    assert other.digest != KEY.digest
    with pytest.raises(EngineMissingError, match="no engine of this network for this machine") as caught:
        cache.find(other)
    assert caught.value.key == other


def test_an_engine_under_another_keys_name_is_refused(tmp_path):
    cache, other = EngineCache(tmp_path), replace(KEY, tensorrt="11.4.0")
    record = kept(cache)
    for suffix in (".plan", ".json"):
        record.plan.with_suffix(suffix).rename(tmp_path / (other.digest + suffix))
    with pytest.raises(EngineMissingError, match="another key"):
        cache.find(other)


@pytest.mark.parametrize("plan", [b"pla", b"plan ", b"plam", b""])
def test_a_plan_that_is_not_the_one_on_record_is_refused(tmp_path, plan):
    cache = EngineCache(tmp_path)
    kept(cache).plan.write_bytes(plan)
    with pytest.raises(EngineMissingError, match="truncated or changed"):
        cache.find(KEY)


@pytest.mark.parametrize("record", [b"", b"{", b"[" * 60000, b"{}", b"[]", b"null", b"\xff", b"x" * 100_000, b'{"key": {"a": 1}}'])
def test_a_record_that_is_none_is_refused_and_a_build_puts_it_right(tmp_path, record):
    cache = EngineCache(tmp_path)
    kept(cache).plan.with_suffix(".json").write_bytes(record)
    with pytest.raises(EngineMissingError, match="not a record of an engine"):
        cache.find(KEY)
    kept(cache, plan=b"new")
    assert cache.find(KEY).plan.read_bytes() == b"new"


@pytest.mark.parametrize("suffix", [".plan", ".json"])
def test_links_and_pipes_are_not_followed(tmp_path, suffix):
    cache = EngineCache(tmp_path)
    path = kept(cache).plan.with_suffix(suffix)
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    with pytest.raises(EngineMissingError):
        cache.find(KEY)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(EngineMissingError):
        cache.find(KEY)


def test_damaged_timings_are_none(tmp_path):
    cache = EngineCache(tmp_path)
    kept(cache, timing=b"timings")
    path = tmp_path / f"{KEY.machine}.timing"
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.timing(KEY) == b""
    assert cache.timing(replace(KEY, gpu="other")) == b""


def test_timings_are_for_all_networks_of_a_machine_and_for_no_other(tmp_path):
    cache = EngineCache(tmp_path)
    kept(cache, timing=b"timings")
    assert cache.timing(replace(KEY, onnx_sha256="0" * 64, precision="fp32")) == b"timings"
    kept(cache, replace(KEY, tensorrt="11.4.0"), timing=b"newer")
    assert cache.timing(KEY) == b""  # of a TensorRT that is gone


def test_the_engine_used_longest_ago_goes_first(tmp_path):
    keys = [replace(KEY, onnx_sha256=str(n) * 64) for n in range(4)]
    cache = EngineCache(tmp_path, limit_bytes=3 * 5000)
    for n, key in enumerate(keys[:3]):
        record = kept(cache, key, plan=b"x" * 4000)
        os.utime(record.plan.with_suffix(".json"), ns=(n * 10**9, n * 10**9))
    cache.find(keys[0])  # used just now
    kept(cache, keys[3], plan=b"x" * 4000)
    assert [cache.holds(key) for key in keys] == [True, False, True, True]
    kept(cache, replace(KEY, onnx_sha256="9" * 64), plan=b"x" * 20000)
    assert not any(cache.holds(key) for key in keys)  # the one just built stays, whatever its size
    assert cache.find(replace(KEY, onnx_sha256="9" * 64))


def test_a_disk_that_fills_while_the_plan_is_written(tmp_path):
    cache = EngineCache(tmp_path)
    kept(cache, plan=b"old", timing=b"timings")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        for key in (KEY, replace(KEY, precision="int8")):
            with pytest.raises(EngineError, match=r"free some space on that disk and build again"):
                kept(cache, key, plan=b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert cache.find(KEY).plan.read_bytes() == b"old"


@pytest.mark.parametrize("fails_at", range(3))
def test_a_disk_that_fills_after_the_plan_was_written(tmp_path, monkeypatch, fails_at):
    cache = EngineCache(tmp_path)
    kept(cache, plan=b"old", timing=b"timings")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > fails_at:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(EngineError, match="No space left on device"):
            kept(cache, plan=b"new", timing=b"more")
    changed = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    if fails_at < 2:
        assert changed.pop(f"{KEY.machine}.timing") in (before.pop(f"{KEY.machine}.timing"), hashlib.sha256(b"more").digest() + b"more")
        assert changed == before
    else:  # all is written, only the folder's own fsync failed
        assert cache.find(KEY).plan.read_bytes() == b"new"


def test_a_plan_that_reads_otherwise_than_it_was_written_is_not_kept(tmp_path):
    cache = EngineCache(tmp_path)

    def build(files):
        files.plan.write_bytes(b"plan")
        return {"size": 4, "sha256": "0" * 64, "seconds": 1}

    with pytest.raises(EngineError, match="not what was built"):
        cache.keep(KEY, build)
    assert names(tmp_path) == ["lock"]


def test_what_a_power_cut_left_is_swept_away(tmp_path):
    cache = EngineCache(tmp_path)
    (tmp_path / f"{'a' * 64}.plan.part").write_bytes(b"half")
    (tmp_path / f"{'b' * 64}.plan").write_bytes(b"without a record")
    kept(cache)
    assert names(tmp_path) == sorted([f"{KEY.digest}.json", f"{KEY.digest}.plan", "lock"])


def test_one_build_at_a_time(tmp_path):
    cache, inside, go_on = EngineCache(tmp_path), threading.Event(), threading.Event()

    def build(files):
        inside.set()
        assert go_on.wait(20)
        files.plan.write_bytes(b"plan")
        return {"size": 4, "sha256": hashlib.sha256(b"plan").hexdigest(), "seconds": 1}

    assert not cache.building()
    first = threading.Thread(target=cache.keep, args=(KEY, build))
    first.start()
    try:
        assert inside.wait(20)
        assert cache.building()
        with pytest.raises(EngineError, match="another build is at work"):
            kept(EngineCache(tmp_path), replace(KEY, precision="fp32"))
    finally:
        go_on.set()
        first.join()
    assert not cache.building()
    assert cache.holds(KEY)


def test_a_folder_that_cannot_be_one(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    cache = EngineCache(tmp_path / "file" / "engines")
    with pytest.raises(EngineError, match="check its rights, or name another folder"):
        kept(cache)
    with pytest.raises(EngineMissingError):
        cache.find(KEY)
    assert not cache.holds(KEY) and not cache.building()
