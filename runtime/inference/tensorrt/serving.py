"""The backend that always answers: TensorRT's worker while it works, ONNX Runtime with the fp32 reference while it does not.

A call whose worker ends, hangs or errs is answered by the reference, in the same call. A thread of its own starts the worker, waits for
an engine that is missing, and starts the worker anew after a failure: later each time, and a bounded number of times in a window.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import structlog

from runtime.errors import TrichoscopeError
from runtime.inference.backend import Array, Backend
from runtime.inference.errors import InferenceError
from runtime.inference.tensorrt.backend import TensorRtBackend
from runtime.inference.tensorrt.cache import EngineCache, EngineKey
from runtime.inference.tensorrt.errors import EngineMissingError, RefusedError, UnfitInputError

log = structlog.get_logger(__name__)

State = Literal["off", "starting", "serving", "missing", "building", "failing", "absent", "refused"]
STOP_DEADLINE_S = 2.0


@dataclass(frozen=True)
class RestartPolicy:
    """How often the worker is started anew.

    Attributes:
        most, window_s: no more than `most` failures within `window_s`; then it rests until the oldest is that old.
        first_wait_s, longest_wait_s: before the first start after a failure, doubled for each further one in the window.
        look_every_s: how often a missing engine is looked for.
    """

    most: int = 5
    window_s: float = 600.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0
    look_every_s: float = 5.0

    def wait_s(self, failures: int) -> float:
        """Before the start after so many failures in the window."""
        return min(self.first_wait_s * 2.0 ** max(failures - 1, 0), self.longest_wait_s)


@dataclass(frozen=True)
class ServingStatus:
    """What a status page shows.

    Attributes:
        serving: who answers the next call.
        state: off; starting; serving (TensorRT); missing or building (its engine); failing (it is tried again); absent (no driver, GPU or
            TensorRT) and refused (its numbers are not right): until the next activation.
        message: for a person, with what to do where something must be done.
        restarts: of the worker after a failure, since activation.
        by_tensorrt, by_reference: calls answered, since activation.
    """

    serving: Literal["tensorrt", "onnxruntime"]
    state: State
    message: str
    restarts: int
    by_tensorrt: int
    by_reference: int


class ServingBackend(Backend):
    """TensorRT with a reference behind it.

    Args:
        reference: answers while TensorRT cannot; active as long as this is.
        make: a TensorRT backend that is not active; called by the thread for each start.
        cache: where its engine will appear.
        prove: raises a TrichoscopeError where a fresh engine's numbers are not right; it then does not serve.
    """

    def __init__(
        self,
        reference: Backend,
        make: Callable[[], TensorRtBackend],
        cache: EngineCache,
        *,
        name: str = "serving",
        prove: Callable[[Backend], None] | None = None,
        policy: RestartPolicy | None = None,
    ) -> None:
        super().__init__(name)
        self._reference = reference
        self._make = make
        self._cache = cache
        self._prove = prove
        self._policy = policy or RestartPolicy()
        self._changed = threading.Condition()  # guards what follows
        self._activation = 0
        self._starting: TensorRtBackend | None = None
        self._worker: TensorRtBackend | None = None
        self._state: State = "off"
        self._message = "not active"
        self._failures: deque[float] = deque(maxlen=64)
        self._restarts = self._by_tensorrt = self._by_reference = 0
        self._thread: threading.Thread | None = None

    def status(self) -> ServingStatus:
        """At this moment; any thread may ask."""
        with self._changed:
            serving: Literal["tensorrt", "onnxruntime"] = "onnxruntime" if self._worker is None else "tensorrt"
            return ServingStatus(serving, self._state, self._message, self._restarts, self._by_tensorrt, self._by_reference)

    @property
    def state(self) -> State:
        """As in `status`."""
        return self.status().state

    @property
    def message(self) -> str:
        """As in `status`."""
        return self.status().message

    @property
    def worker_pid(self) -> int | None:
        """Of the worker that serves."""
        with self._changed:
            return None if self._worker is None else self._worker.pid

    def wait_for(self, *states: State, timeout_s: float) -> bool:
        """Until the state is one of these; False where it is not within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._state in states, timeout_s)

    def _activate(self) -> None:
        self._reference.activate()
        with self._changed:
            self._failures.clear()
            self._restarts = self._by_tensorrt = self._by_reference = 0
        self._tell("starting", "TensorRT's worker is starting; ONNX Runtime serves")
        self._thread = threading.Thread(target=self._look_after, args=(self._activation,), name=f"tensorrt {self.name}", daemon=True)
        self._thread.start()

    def _infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with self._changed:
            worker = self._worker
        if worker is not None:
            try:
                found = worker.infer(inputs)
            except UnfitInputError as problem:  # another size than the engine was built for: no fault of the worker
                log.debug("the reference answers", backend=self.name, why=str(problem))
            except InferenceError as problem:
                self._failed(worker, problem)
            else:
                self._by_tensorrt += 1
                return found
        answer = self._reference.infer(inputs)
        self._by_reference += 1
        return answer

    def _failed(self, worker: TensorRtBackend, problem: InferenceError) -> None:
        worker.deactivate()
        with self._changed:
            self._worker = None
            self._failures.append(time.monotonic())
        self._tell("failing", f"{problem}; ONNX Runtime serves")

    def _deactivate(self) -> None:
        with self._changed:
            self._activation += 1
            starting, worker, self._worker = self._starting, self._worker, None
            self._changed.notify_all()
        if starting is not None:
            starting.interrupt()
        if worker is not None:
            worker.deactivate()
        if self._thread is not None:
            self._thread.join(STOP_DEADLINE_S)
            self._thread = None
        self._reference.deactivate()
        self._tell("off", "not active")

    def _tell(self, state: State, message: str, activation: int | None = None) -> None:
        """Say so to who asks; what the thread of an activation that is over says is not heard."""
        with self._changed:
            if activation not in (None, self._activation):
                return
            news = (state, message) != (self._state, self._message)
            self._state, self._message = state, message
            self._changed.notify_all()
        if news:
            tell = log.warning if state in ("failing", "refused") else log.info
            tell("inference backend", backend=self.name, state=state, message=message)

    def _look_after(self, activation: int) -> None:
        """The thread: start the worker, sleep while it serves, start it anew; ends where only another activation can help."""
        started_before = False
        while self._rest(activation):
            if started_before:
                with self._changed:
                    self._restarts += 1
            started_before = True
            backend = self._make()
            with self._changed:
                if activation != self._activation:
                    return
                self._starting = backend
            try:
                try:
                    self._start(backend, activation)
                finally:
                    with self._changed:
                        self._starting = None
            except EngineMissingError as problem:
                started_before = False
                if not self._wait_for_engine(activation, problem.key, str(problem)):
                    return
            except RefusedError as problem:
                if problem.kind in ("driver", "library"):
                    self._tell("absent", f"{problem}; ONNX Runtime serves", activation)
                    return
                self._start_failed(activation, str(problem))
            except InferenceError as problem:
                self._start_failed(activation, str(problem))
            except TrichoscopeError as problem:
                self._tell("refused", f"{problem}; ONNX Runtime serves", activation)
                return
            except Exception as problem:  # a mistake of ours must not end the thread in silence
                log.exception("inference backend", backend=self.name)
                self._start_failed(activation, f"{self.name}: {type(problem).__name__}: {problem}")

    def _start(self, backend: TensorRtBackend, activation: int) -> None:
        """Activate, prove and hand over. Raises what activation or the proof raise."""
        backend.activate()
        try:
            if self._prove is not None:
                self._proven(backend, self._prove)
            with self._changed:
                if activation != self._activation:
                    backend.deactivate()
                    return
                self._worker = backend
                self._tell("serving", "TensorRT serves", activation)  # before anyone can find it failing and say so
        except BaseException:
            backend.deactivate()
            raise

    @staticmethod
    def _proven(backend: TensorRtBackend, prove: Callable[[Backend], None]) -> None:
        try:
            prove(backend)
        except TrichoscopeError as problem:
            if backend.pid is None:  # it did not answer wrongly, it ended
                raise InferenceError(str(problem)) from problem
            raise

    def _start_failed(self, activation: int, why: str) -> None:
        with self._changed:
            self._failures.append(time.monotonic())
        self._tell("failing", f"{why}; ONNX Runtime serves", activation)

    def _rest(self, activation: int) -> bool:
        """Wait until a worker is to be started; False where none is any more."""
        with self._changed:
            self._changed.wait_for(lambda: activation != self._activation or self._worker is None)
            while activation == self._activation:
                now = time.monotonic()
                recent = [at for at in self._failures if now - at < self._policy.window_s]
                wait = self._policy.wait_s(len(recent)) - (now - recent[-1]) if recent else 0.0
                if len(recent) >= self._policy.most:
                    wait = self._policy.window_s - (now - recent[-self._policy.most])
                if wait <= 0:
                    return True
                self._changed.wait(wait)
            return False

    def _wait_for_engine(self, activation: int, key: EngineKey, why: str) -> bool:
        damaged = self._cache.holds(key)  # it lies there and is no engine: wait until it is another
        before = _stamp(self._cache, key)
        while True:
            building = self._cache.building()
            what = "an engine is being built" if building else why
            self._tell("building" if building else "missing", f"{what}; ONNX Runtime serves", activation)
            with self._changed:
                if self._changed.wait_for(lambda: activation != self._activation, self._policy.look_every_s):
                    return False
            if self._cache.holds(key) and (not damaged or _stamp(self._cache, key) != before):
                return True


def _stamp(cache: EngineCache, key: EngineKey) -> int:
    try:
        return (cache.folder / f"{key.digest}.json").stat().st_mtime_ns
    except OSError:
        return 0
