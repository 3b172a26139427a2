"""Engines on the disk: each under the hash of all that it depends on, whole or not there, never used for anything else.

An engine is two files, `KEY.plan` and `KEY.json`. The record is written last, repeats the key, and holds the plan's SHA-256: an engine
without a record that fits is no engine. One build at a time writes to a folder. When the folder holds more than its limit, the engines
that were used longest ago go first; the one just built stays.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.inference.tensorrt.errors import EngineError, EngineMissingError

LIMIT_BYTES = 1024 * 1024 * 1024
LOCK_DEADLINE_S = 0.3
"""Who asks whether a build is at work holds the lock for a moment, too."""
MAX_RECORD_BYTES = 64 * 1024
MAX_TIMING_BYTES = 64 * 1024 * 1024
MAX_PLAN_BYTES = 1024 * 1024 * 1024
PLAN, RECORD, TIMING, PART = ".plan", ".json", ".timing", ".part"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REMEDY = "run `trichoscope models build`"


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on.

    Attributes:
        onnx_sha256: of the network's file.
        tensorrt: its version.
        gpu, compute: name and compute capability of the GPU.
        cuda_driver, kernel_driver, l4t: the driver's CUDA version, the kernel module's line, JetPack's release; "" where there is none.
        precision: fp32, fp16 or int8.
        options: of the builder, as JSON with sorted keys.
    """

    onnx_sha256: str
    tensorrt: str
    gpu: str
    compute: str
    cuda_driver: int
    kernel_driver: str
    l4t: str
    precision: str
    options: str

    @property
    def digest(self) -> str:
        """SHA-256 of the whole key, the engine's file name."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def machine(self) -> str:
        """SHA-256 of what timings depend on: the same for all networks of this machine."""
        told = [self.tensorrt, self.gpu, self.compute, self.cuda_driver, self.kernel_driver, self.l4t]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def key_of(onnx: bytes, identity: dict[str, Any], precision: str, options: dict[str, Any]) -> EngineKey:
    """The key of a network on the machine that a worker told of in `identity`."""
    return EngineKey(
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
        precision=precision,
        options=json.dumps(options, sort_keys=True),
        cuda_driver=int(identity["cuda_driver"]),
        **{name: str(identity[name])[:300] for name in ("tensorrt", "gpu", "compute", "kernel_driver", "l4t")},
    )


@dataclass(frozen=True)
class EngineRecord:
    """An engine that is whole: where its plan lies, and what it is."""

    key: EngineKey
    plan: Path
    size: int
    sha256: str
    seconds: float


@dataclass(frozen=True)
class BuildFiles:
    """Where a build writes: empty files that are there, and go if it fails."""

    plan: Path
    timing: Path


class EngineCache:
    """The folder of engines, made when something is first put in."""

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder.absolute()  # the worker is at work in another
        self._limit_bytes = limit_bytes

    def holds(self, key: EngineKey) -> bool:
        """Whether a record lies there; cheap, says nothing of its being whole."""
        return (self.folder / (key.digest + RECORD)).exists()

    def building(self) -> bool:
        """Whether a build is writing to the folder, of this or of another process."""
        with contextlib.suppress(OSError), (self.folder / "lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def find(self, key: EngineKey) -> EngineRecord:
        """The engine under `key`, verified byte by byte, and noted as used.

        Raises:
            EngineMissingError: none is there, it is of another key, truncated or changed; one that is damaged is removed by the next build.
        """
        record_path, plan = self.folder / (key.digest + RECORD), self.folder / (key.digest + PLAN)
        try:
            record = json.loads(_read(record_path, MAX_RECORD_BYTES))
            told = EngineRecord(EngineKey(**record["key"]), plan, int(record["size"]), str(record["sha256"]), float(record["seconds"]))
        except FileNotFoundError as problem:
            raise EngineMissingError(f"{self.folder}: no engine of this network for this machine: {REMEDY}", key) from problem
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
            raise EngineMissingError(f"{record_path}: not a record of an engine ({problem}): {REMEDY}", key) from problem
        if told.key != key:
            raise EngineMissingError(f"{record_path}: it records an engine of another key: {REMEDY}", key)
        try:
            content = _read(plan, MAX_PLAN_BYTES)
        except (OSError, ValueError) as problem:
            raise EngineMissingError(f"{plan}: {problem}: {REMEDY}", key) from problem
        if len(content) != told.size or hashlib.sha256(content).hexdigest() != told.sha256:
            raise EngineMissingError(f"{plan}: {len(content)} bytes that are not those on record, truncated or changed: {REMEDY}", key)
        with contextlib.suppress(OSError):  # a folder that is read-only has no order of use
            os.utime(record_path)
        return told

    def timing(self, key: EngineKey) -> bytes:
        """The timings of this machine's earlier builds, b"" where there are none or they are damaged."""
        with contextlib.suppress(OSError, ValueError):
            content = _read(self.folder / (key.machine + TIMING), MAX_TIMING_BYTES)
            if hashlib.sha256(content[32:]).digest() == content[:32]:
                return content[32:]
        return b""

    def keep(self, key: EngineKey, build: Callable[[BuildFiles], dict[str, Any]]) -> EngineRecord:
        """Let `build` write a plan and take it in.

        `build` answers with the plan's `size` and `sha256` as it wrote them, and with the `seconds` that it took.

        Raises:
            EngineError: another build is at work, the folder cannot be written to, or the disk is full; what was there before still is.
        """
        with self._alone():
            parts = BuildFiles(self.folder / (key.digest + PLAN + PART), self.folder / (key.machine + ".taken" + PART))
            try:
                for part in (parts.plan, parts.timing):
                    part.touch(mode=0o644)
                return self._take_in(key, parts, build(parts))
            except OSError as problem:
                raise self._failed(problem) from problem
            finally:
                self._sweep()

    def full(self, why: str) -> EngineError:
        """What to raise where the disk filled while an engine was written."""
        return EngineError(f"{why}: the engine was not kept: free some space on that disk and build again")

    def _take_in(self, key: EngineKey, parts: BuildFiles, told: dict[str, Any]) -> EngineRecord:
        content = _read(parts.plan, MAX_PLAN_BYTES)
        if not content or len(content) != told["size"] or hashlib.sha256(content).hexdigest() != told["sha256"]:
            raise EngineError(f"{parts.plan}: the plan on the disk is not what was built: check that disk and build again")
        del content
        timing = _read(parts.timing, MAX_TIMING_BYTES)
        if timing:
            part = self._part(key.machine + TIMING, hashlib.sha256(timing).digest() + timing)
            part.replace(self.folder / (key.machine + TIMING))
        record = EngineRecord(key, self.folder / (key.digest + PLAN), int(told["size"]), str(told["sha256"]), float(told["seconds"]))
        written = {"key": asdict(key), "size": record.size, "sha256": record.sha256, "seconds": record.seconds}
        part = self._part(key.digest + RECORD, (json.dumps(written, indent=1) + "\n").encode())
        (self.folder / (key.digest + RECORD)).unlink(missing_ok=True)  # from here on the disk needs no more room
        parts.plan.replace(record.plan)
        part.replace(self.folder / (key.digest + RECORD))
        self._sync()
        self._evict(key)
        return record

    def _part(self, name: str, content: bytes) -> Path:
        part = self.folder / (name + PART)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return part

    def _sync(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _evict(self, kept: EngineKey) -> None:
        """Least recently used first, until the folder is within its limit. Timings of a machine that this one no longer is go too."""
        for path in list(self.folder.glob("*" + TIMING)):
            if path.stem != kept.machine:
                path.unlink(missing_ok=True)
        sizes = {path: path.stat().st_size for path in self.folder.iterdir() if path.suffix in (PLAN, RECORD, TIMING)}
        records = sorted(
            (path for path in sizes if path.suffix == RECORD and path.stem != kept.digest), key=lambda path: path.stat().st_mtime_ns
        )
        held = sum(sizes.values())
        for record in records:
            if held <= self._limit_bytes:
                return
            plan = record.with_suffix(PLAN)
            for path in (record, plan):  # the record first: a plan without one is no engine
                path.unlink(missing_ok=True)
                held -= sizes.get(path, 0)

    def _sweep(self) -> None:
        """Remove what a build left behind, this one or one that a power cut ended, and plans without a record."""
        with contextlib.suppress(OSError):
            for path in list(self.folder.iterdir()):
                if path.suffix == PART or (path.suffix == PLAN and not path.with_suffix(RECORD).exists()):
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / "lock").open("wb")
        except OSError as problem:
            raise self._failed(problem) from problem
        with file:
            deadline = time.monotonic() + LOCK_DEADLINE_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as problem:
                    if time.monotonic() > deadline:
                        raise EngineError(f"{self.folder}: another build is at work there: wait until it is done") from problem
                time.sleep(0.01)
            yield

    def _failed(self, problem: OSError) -> EngineError:
        if problem.errno in FULL:
            return self.full(f"{self.folder}: {problem.strerror}")
        return EngineError(f"{self.folder}: cannot be written to ({problem.strerror}): check its rights, or name another folder")


def _read(path: Path, most: int) -> bytes:
    """A plain file of at most `most` bytes; links and pipes are not followed. Raises OSError or ValueError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise ValueError("no plain file, or larger than it may be")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(most)
    finally:
        os.close(descriptor)
