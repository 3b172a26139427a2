"""The daemon's end of the worker: it starts the process, asks it one thing at a time, and ends it at the first breach of the protocol.

Every wait has a deadline. An answer that is late, too long, no JSON, or of another request ends the worker: one that may be out of step
is never asked again, so that no old answer is taken for a new one.
"""

from __future__ import annotations

import array
import contextlib
import importlib.util
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.inference.tensorrt.errors import RefusedError, UnfitInputError, WorkerError

WORKER = Path(__file__).with_name("worker.py")
BUILDER = Path(__file__).with_name("builder.py")
PROTOCOL = 1
MAX_LINE = 64 * 1024
START_DEADLINE_S = 60.0  # Python, numpy, TensorRT and the driver, from a slow disk
END_DEADLINE_S = 0.2  # a caller waits for it; what the kernel cannot end at once is looked after later
TAIL_BYTES = 2000

_unended: list[subprocess.Popen[bytes]] = []  # killed, and still held by the kernel, as a hung GPU driver does


@dataclass(frozen=True)
class WorkerCommand:
    """How the worker is started.

    Attributes:
        python: the interpreter, None for the first of ours and `python3` that has TensorRT.
        standin: a folder of modules that stand in for TensorRT, pycuda and the driver: for the project's tests, and no setting.
        file: the program.
    """

    python: str | None = None
    standin: Path | None = None
    file: Path = WORKER

    @classmethod
    def configured(cls, python: Path | None) -> WorkerCommand:
        """With the interpreter that `[inference] python` names; ours or the system's where it names none."""
        return cls(python=None if python is None else str(python))

    def arguments(self) -> list[str]:
        """The command without its descriptors."""
        return [self.python or _interpreter(), "-I", str(self.file)]


def _interpreter() -> str:
    """Ours where it has both libraries (a virtual environment with JetPack's packages), else the system's."""
    if all(importlib.util.find_spec(name) for name in ("tensorrt", "pycuda")):
        return sys.executable
    return shutil.which("python3", path="/usr/bin:/bin") or sys.executable


class WorkerProcess:
    """A worker that runs from `start` to `end`. One thread asks; any thread may call `interrupt`."""

    def __init__(self, command: WorkerCommand, name: str) -> None:
        self._command = command
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lifeline: socket.socket | None = None
        self._said: int | None = None  # what the process writes for people
        self._tail = b""
        self._rest = b""
        self._ids = itertools.count(1)
        self._interrupted = False

    @property
    def pid(self) -> int | None:
        """Of the process, None where none runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> dict[str, Any]:
        """Launch it and greet it: what it says of the GPU, the driver and the libraries' versions.

        Raises:
            WorkerError: it does not start, or speaks another protocol.
            RefusedError: no driver, no GPU, or a library is missing.
        """
        self.launch()
        try:
            identity = self.ask({"do": "hello"}, deadline_s=START_DEADLINE_S)
        except RefusedError:
            self.end()
            raise
        if identity.get("protocol") != PROTOCOL:
            self.end()
            raise WorkerError(
                f"{self._name}: the worker speaks protocol {identity.get('protocol')!r:.20}, not {PROTOCOL}: reinstall the program"
            )
        return identity

    def launch(self, more: Sequence[str] = (), descriptors: Sequence[int] = ()) -> None:
        """Run the program, with `more` arguments and these descriptors.

        Raises:
            WorkerError: it does not start.
        """
        _reap()
        ours, theirs = socket.socketpair()
        line, their_line = socket.socketpair()
        said, to_say = os.pipe()
        self._control, self._lifeline, self._said, self._tail, self._rest = ours, line, said, b"", b""
        os.set_blocking(said, False)
        os.set_blocking(to_say, False)  # a worker that writes more than anyone reads loses its words, and never waits
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment.setdefault("CUDA_MODULE_LOADING", "LAZY")
        arguments = self._command.arguments()
        arguments += ["--control", str(theirs.fileno()), "--lifeline", str(their_line.fileno()), *more]
        if self._command.standin is not None:
            arguments += ["--standin", str(self._command.standin)]
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=to_say,
                stderr=to_say,
                pass_fds=(theirs.fileno(), their_line.fileno(), *descriptors),
                env=environment,
                cwd="/",
            )
        except OSError as problem:
            self.end()
            raise WorkerError(
                f"{self._name}: {arguments[0]} cannot be started ({problem.strerror}): name a Python 3 that has TensorRT"
            ) from problem
        finally:
            theirs.close()
            their_line.close()
            os.close(to_say)
        if self._interrupted:  # before there was a process to be killed
            self._process.kill()

    def ask(self, request: dict[str, Any], *, deadline_s: float, descriptor: int | None = None) -> dict[str, Any]:
        """The answer to one request.

        Args:
            deadline_s: for all of it.
            descriptor: of shared memory that goes with the request.

        Raises:
            WorkerError: the worker has gone, or has been ended for being late or out of step.
            RefusedError, UnfitInputError: it says no, and can be asked again.
        """
        number = next(self._ids)
        deadline = time.monotonic() + deadline_s
        with self._in_step(deadline_s) as control:
            self._send(control, json.dumps({"id": number, **request}).encode() + b"\n", descriptor, deadline)
            answer = self._answer(control, number, deadline)
        return self._agreed(answer)

    def outcome(self, *, silence_s: float, on_progress: Callable[[float, str], None]) -> dict[str, Any]:
        """What a program that does one thing says in the end.

        Args:
            silence_s: how long it may go without a sign of progress.
            on_progress: is told of each: the share that is done, 0…1, and what is being done.

        Raises:
            WorkerError, RefusedError: as `ask`.
        """
        while True:
            with self._in_step(silence_s) as control:
                answer = self._answer(control, 1, time.monotonic() + silence_s)
                if "progress" not in answer:
                    break
                share, what = min(max(float(answer["progress"]), 0.0), 1.0), str(answer.get("phase", ""))[:100]
            try:
                on_progress(share, what)
            except BaseException:  # who listens wants no more of it
                self.end()
                raise
        return self._agreed(answer)

    @contextlib.contextmanager
    def _in_step(self, deadline_s: float) -> Iterator[socket.socket]:
        """The socket to talk on. Whatever goes wrong meanwhile ends the worker, which may be out of step."""
        if self._control is None:
            raise WorkerError(f"{self._name}: the worker does not run")
        try:
            yield self._control
        except (OSError, ValueError, TypeError) as problem:  # a socket's timeout is an OSError, no JSON is a ValueError
            why = f"did not answer within {deadline_s:g} s" if isinstance(problem, TimeoutError) else str(problem) or type(problem).__name__
            raise WorkerError(f"{self._name}: the worker {why}{self._last_words()}") from problem
        except BaseException:  # Ctrl-C
            self.end()
            raise

    def _agreed(self, answer: dict[str, Any]) -> dict[str, Any]:
        if "error" in answer:
            kind, message = str(answer.get("kind"))[:20], f"{self._name}: {str(answer['error'])[:2000]}"
            raise UnfitInputError(message) if kind == "input" else RefusedError(message, kind)
        return answer

    def interrupt(self) -> None:
        """Kill the process from another thread, for good: whoever asks it, or starts it, gets a WorkerError."""
        self._interrupted = True
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        """Kill the process and give everything back. Does nothing where none runs."""
        self._drain()
        process, self._process = self._process, None
        for end in (self._control, self._lifeline):
            if end is not None:
                end.close()
        if self._said is not None:
            os.close(self._said)
        self._control = self._lifeline = self._said = None
        if process is not None:
            process.kill()
            try:
                process.wait(END_DEADLINE_S)
            except subprocess.TimeoutExpired:
                _unended.append(process)

    def _send(self, control: socket.socket, line: bytes, descriptor: int | None, deadline: float) -> None:
        if len(line) > MAX_LINE:
            raise ValueError(f"cannot be asked in {len(line)} bytes")
        control.settimeout(_left(deadline))
        if descriptor is not None:
            sent = control.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
            line = line[sent:]
        if line:
            control.sendall(line)

    def _answer(self, control: socket.socket, number: int, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._rest:
            if len(self._rest) > MAX_LINE:
                raise ValueError(f"sent more than {MAX_LINE} bytes without an end")
            control.settimeout(_left(deadline))
            content = control.recv(MAX_LINE)
            if not content:
                raise ValueError("ended")
            self._rest += content
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise ValueError("sent what is no JSON") from problem
        if not isinstance(answer, dict) or type(answer.get("id")) is not int or answer["id"] != number:
            raise ValueError(f"answered something else than request {number}")
        return answer

    def _last_words(self) -> str:
        """How the process ended and the last of what it wrote; ends it."""
        process = self._process
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02 if self._control is not None else 0)
        code = None if process is None else process.returncode
        self.end()
        words = " ".join(self._tail.decode("utf-8", "replace").split())[-300:]
        how = "" if code is None else f" (signal {-code})" if code < 0 else f" (exit code {code})"
        return how + (f"; it wrote: {words}" if words else "")

    def _drain(self) -> None:
        if self._said is None:
            return
        with contextlib.suppress(BlockingIOError):
            while content := os.read(self._said, 65536):
                self._tail = (self._tail + content)[-TAIL_BYTES:]


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _reap() -> None:
    """Look after processes that were killed and had not ended yet."""
    _unended[:] = [process for process in _unended if process.poll() is None]
