"""The daemon, put together: which parts there are, the order in which they start, and that they end in reverse, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FrameType
from typing import TypeVar

import cv2
import structlog

from device.camera import make_camera
from device.capture import CaptureLoop, Patience
from device.errors import CameraUriError, HandpieceUriError
from device.handpiece.uri import make_handpiece
from device.ring import FrameRing
from device.slot import LatestFrameSlot
from runtime import __version__
from runtime.analysis.instruments import InUse
from runtime.analysis.segmenters import MakeBackend
from runtime.api.app import make_app
from runtime.api.bridge import Bridge
from runtime.api.parts import Deadlines, Parts
from runtime.api.server import PageServer, address_of, bind_port
from runtime.bundles.reader import Bundle
from runtime.bundles.trial import ModelStore
from runtime.config import Settings
from runtime.errors import TrichoscopeError
from runtime.inference.choosing import choose_for_role
from runtime.inference.tensorrt.process import WorkerCommand
from runtime.intended_use.in_force import profile_in_force
from runtime.store.captures import CaptureStore
from runtime.workers.analysis import AnalysisWorker
from runtime.workers.calibrating import FrameScaler
from runtime.workers.captures import CaptureWorker
from runtime.workers.handpiece import HandpieceWatch
from runtime.workers.keeping import Keeper
from runtime.workers.measuring import FrameMeasurer
from runtime.workers.models import ModelKeeper, Wanted
from runtime.workers.notify import ServiceManager
from runtime.workers.shutter import Shutter
from runtime.workers.watchdog import Supervisor

log = structlog.get_logger(__name__)

Entered = TypeVar("Entered")

# A thread that computes in Python holds the interpreter for this long before another gets its turn. At the default of 5 ms a
# frame waits for several such turns on its way to the page; shorter than 1 ms the switching itself begins to cost.
SWITCH_INTERVAL_S = 0.001


class DaemonError(TrichoscopeError):
    """A part of the daemon could not be started, or gave up while it ran; the message names the part and the remedy."""


class StopRequestedError(BaseException):
    """SIGTERM or SIGINT while the parts are being started: ends that at once, like KeyboardInterrupt, and unwinds what stands."""


class StopSignal:
    """SIGTERM and SIGINT: while the parts start they interrupt, later they ask for the end, as often as they come."""

    def __init__(self, stop: Callable[[], None]) -> None:
        """`stop` asks for the end; it is called by the main thread, between any two of its steps."""
        self._stop = stop
        self._interrupts = True

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take the two signals while the context is open. Outside the main thread there is nothing to take."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._take) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop_gently(self) -> None:
        """From here on the server is there to be stopped. While it serves uvicorn takes the signals, and hands them on at its end."""
        self._interrupts = False

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._interrupts:
            self._interrupts = False
            raise StopRequestedError(signal.Signals(number).name)
        self._stop()


class Daemon:
    """The daemon for one configuration. `run` does not return before it is told to stop."""

    def __init__(self, settings: Settings, *, announce: Callable[[str], None]) -> None:
        """Store the arguments. `announce` is called with the address of the page as soon as it is served."""
        self._settings = settings
        self._announce = announce
        self._server: PageServer | None = None
        self._stop_wanted = False
        self._lost_part: str | None = None

    def run(self) -> None:
        """Start the parts, serve, and end them in reverse.

        Raises:
            TrichoscopeError: a part could not be started or gave up; the message names it and the remedy.
        """
        stop_signal = StopSignal(self.stop)
        with stop_signal.caught():
            try:
                with ExitStack() as stack:
                    self._start_and_serve(stack, stop_signal)
            except StopRequestedError as error:
                log.info("stopped while starting", signal=str(error))
        if self._lost_part is not None:
            raise DaemonError(f"{self._lost_part}: the daemon ended so that it can be started afresh")

    def stop(self) -> None:
        """Have `run` return soon. Any thread."""
        self._stop_wanted = True
        if self._server is not None:
            self._server.stop()

    def _start_and_serve(self, stack: ExitStack, stop_signal: StopSignal) -> None:
        settings = self._settings
        threads = _share_the_processor(settings.analysis.opencv_threads)
        bound = _start(stack, "server", contextlib.closing(bind_port(settings.server.host, settings.server.port)))
        manager = _start(stack, "service manager", ServiceManager())
        parts = self._start_parts(stack, manager, threads)

        def serving() -> None:
            manager.say_ready()
            log.info("serving", address=address_of(bound), camera=settings.camera.uri, version=__version__)
            self._announce(address_of(bound))

        def stopping() -> None:
            """All at once, and before the connections end: the daemon has two seconds in all, not for each part."""
            log.info("stopping")
            self._stop_wanted = True  # first: from here on a thread that has ended is no part that gave up
            if parts.handpiece is not None:
                parts.handpiece.ask_to_stop()
            parts.capture.ask_to_stop()
            parts.shutter.ask_to_stop()
            parts.captures.ask_to_stop()
            parts.analysis.ask_to_stop()
            parts.models.ask_to_stop()

        app = make_app(parts, port=bound.getsockname()[1], max_clients=settings.server.max_clients)
        self._server = PageServer(app, serving, stopping)
        _start(stack, "supervision", Supervisor(parts.reports, manager, nudge=parts.bridge.wake, end=self._lose_part))
        stop_signal.stop_gently()
        if self._stop_wanted:  # before there was a server to tell
            return
        asyncio.run(self._server.serve_on(bound, parts.bridge))

    def _start_parts(self, stack: ExitStack, manager: ServiceManager, threads: int) -> Parts:
        settings = self._settings
        supervision = settings.supervision
        try:
            make_camera(settings.camera.uri)  # an address that no driver understands is a mistake, not a missing camera
        except CameraUriError as error:
            raise DaemonError(f"camera: {error}") from error
        try:
            sensor = make_handpiece(settings.handpiece.uri)
        except HandpieceUriError as error:
            raise DaemonError(f"handpiece: {error}") from error
        bridge, slot, ring = Bridge(), LatestFrameSlot(), FrameRing()
        store = _start(stack, "store", CaptureStore(settings.store.folder, settings.store, on_progress=manager.extend_start))

        models = _start(
            stack,
            "models",
            ModelKeeper(
                ModelStore(settings.models_folder, settings.models, configured=settings.analysis.bundle),
                _wanted(settings, threads),
                trial_s=settings.models.trial_s,
                on_progress=manager.extend_start,
            ),
        )
        for use, segmenter in (("live", models.live.now.segmenter), ("captures", models.captures.now.segmenter)):
            log.info("segmenter", use=use, name=segmenter.name)
            if segmenter.problem is not None:
                log.warning("the learned segmenter is not used", use=use, why=segmenter.problem)

        patience = Patience(
            frame_s=settings.camera.read_timeout_s,
            longest_retry_s=settings.camera.reopen_delay_s,
            first_restart_s=supervision.restart_delay_s,
            longest_restart_s=supervision.max_restart_delay_s,
            restart_budget=supervision.restart_budget,
            restart_window_s=supervision.restart_window_s,
        )
        capture = CaptureLoop(settings.camera.uri, slot, patience=patience, listener=bridge.wake, ring=ring)
        handpiece = None
        if sensor is not None:
            handpiece = HandpieceWatch(
                sensor,
                lambda pressed_ns: shutter.press(None, pressed_ns),
                offset_mm=settings.handpiece.range_offset_mm,
                listener=bridge.wake,
            )
        scaler = FrameScaler(
            settings.calibration,
            settings.profiles_folder,
            lambda: capture.status.camera,
            distance_at=(lambda moment_ns: None) if handpiece is None else handpiece.distance_at,
        )

        def measurer(instruments: InUse, *, paper: bool) -> FrameMeasurer:
            return FrameMeasurer(
                instruments,
                scale_of=scaler,
                cutoff=settings.analysis.cutoff(),
                paper=paper,
                max_megapixels=settings.analysis.max_megapixels,
            )

        captures = CaptureWorker(
            Keeper(measurer(models.captures, paper=True), store, scaler.controls_of),
            store.probe,
            probe_every_s=supervision.store_probe_s,
            stop_deadline_s=supervision.stop_deadline_s,
        )
        analysis = AnalysisWorker(
            slot, measurer(models.live, paper=False), listener=bridge.wake, stop_deadline_s=supervision.stop_deadline_s
        )
        shutter = Shutter(
            ring,
            slot,
            captures,
            streaming=lambda: capture.status.state == "streaming",
            stop_deadline_s=supervision.stop_deadline_s,
        )
        for name, part in (("captures", captures), ("analysis", analysis), ("capture", capture), ("shutter", shutter)):
            _start(stack, name, part)
        models.watch(lambda: captures.idle_s)
        if handpiece is not None:
            _start(stack, "handpiece", handpiece)
        return Parts(
            slot=slot,
            capture=capture,
            analysis=analysis,
            captures=captures,
            shutter=shutter,
            models=models,
            use=lambda: profile_in_force(settings.use, settings.store.folder),
            handpiece=handpiece,
            scaler=scaler,
            store=store,
            bridge=bridge,
            deadlines=Deadlines(
                capture_s=2 * max(patience.longest_retry_s, patience.longest_restart_s),
                analysis_s=supervision.analysis_deadline_s,
                store_s=supervision.store_probe_s + supervision.store_deadline_s,
            ),
        )

    def _lose_part(self, why: str) -> None:
        """A part has given up: end everything, so that the service manager starts it afresh."""
        if not self._stop_wanted:
            log.critical("a part gave up", part=why)
            self._lost_part = why
        self.stop()


def _wanted(settings: Settings, threads: int) -> Wanted:
    """What the threads are to measure with, as the configuration asks for it."""
    inference = settings.inference

    def backend(bundle: Bundle) -> MakeBackend:
        return lambda _model: choose_for_role(
            bundle,
            "segmenter",
            kind=inference.backend,
            threads=threads,
            cache_folder=settings.engines_folder,
            precision=None if inference.precision == "auto" else inference.precision,
            weak=inference.weakly_typed,
            command=None if inference.python is None else WorkerCommand(python=str(inference.python)),
        )

    return Wanted(
        classical=settings.analysis.segmenter == "classical",
        roles=lambda: profile_in_force(settings.use, settings.store.folder).roles,
        threads=threads,
        backend=backend,
    )


def _start(stack: ExitStack, name: str, part: AbstractContextManager[Entered]) -> Entered:
    """Enter a part, to be left in reverse order; where that fails, the error names the part."""
    try:
        return stack.enter_context(part)
    except TrichoscopeError as error:
        raise DaemonError(f"{name}: {error}") from error
    except Exception as error:
        log.exception("a part could not be started", part=name)
        raise DaemonError(f"{name}: could not be started ({error!r}): read the log above") from error


def _share_the_processor(wanted_threads: int) -> int:
    """Keep the analysis from starving the preview: OpenCV leaves a core to capture and server, and threads switch often.

    Returns:
        The threads that the network may use: all cores, for it computes without the interpreter's lock, and in short bursts. On two
        cores with the page open that gave 26 results a second instead of 18, the preview as before.
    """
    cores = len(os.sched_getaffinity(0))
    cv2.setNumThreads(max(1, min(wanted_threads, cores - 1)))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return min(wanted_threads, cores)
