"""The camera's side: what the capture thread costs, and a microscope that is pulled out and put back a thousand times, on a fake kernel.

`trichoscope bench devices` prints what comes out. Nothing here asserts: a figure that is wrong is a figure all the same.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.camera import parse_uri
from device.capture import CaptureLoop, Patience
from device.choosing import choose_frame
from device.ring import FrameRing
from device.sharpness import grey_of, sharpness_of
from device.simulated.v4l2_device import PICTURES, SimulatedDevice, paint
from device.simulated.v4l2_kernel import SimulatedKernel
from device.slot import LatestFrameSlot
from device.v4l2.camera import V4l2Camera
from runtime.bench.growth.loads import one_thread

WARM_UP_FRAMES = 30  # before the first figure is taken
WARM_UP_CYCLES = 50
CYCLE_DEADLINE_S = 10.0
PAGE = os.sysconf("SC_PAGE_SIZE")
ADDRESS = "v4l2:/dev/v4l/by-id/usb-Trichoscope_Scalp_scope_SIM0001-video-index0"


@dataclass(frozen=True)
class CaptureResult:
    """The capture thread at the simulated camera's rate, nobody decoding.

    Attributes:
        frames: published in `seconds`; `lost`, `damaged`: as the capture loop counts them.
        jpeg_bytes: of a picture, on average.
        core_share: processor time of the capture thread, the fake kernel's own included, as a share of one core.
        interval_ms_p99: between two frames leaving the driver; 33.3 at 30 a second.
    """

    width: int
    height: int
    fps: float
    seconds: float
    frames: int
    lost: int
    damaged: int
    jpeg_bytes: float
    core_share: float
    interval_ms_p99: float


@dataclass(frozen=True)
class ReplugResult:
    """A microscope pulled out and put back while it streams, each time under another number.

    Attributes:
        cycles: how often; `returned`: how many were followed by a picture within CYCLE_DEADLINE_S.
        descriptors, threads, resident_kib: (before, after) the cycles, the warm-up left out; `mappings` those of the fake kernel.
        resident_slope_kib: growth of the resident memory per 1,000 cycles, straight line through all of them.
        seen_ms_most: from pulling to the state absent; `return_ms_median`, `return_ms_most` from the return to the state streaming.
    """

    cycles: int
    returned: int
    descriptors: tuple[int, int]
    threads: tuple[int, int]
    mappings: tuple[int, int]
    resident_kib: tuple[int, int]
    resident_slope_kib: float
    seen_ms_most: float
    return_ms_median: float
    return_ms_most: float


@dataclass(frozen=True)
class ChoiceResult:
    """The right frame around a button's press, at 640×480 and 30 frames a second, chosen while the capture loop runs.

    Attributes:
        presses: how often; `looked_at_least`: fewest frames judged for one.
        late_ms_median, late_ms_most: from the capture of the last frame of the window to the choice.
        sharpness_ms: what judging one picture's sharpness takes; `decode_ms` its decoding in grey before that.
    """

    presses: int
    looked_at_least: int
    late_ms_median: float
    late_ms_most: float
    sharpness_ms: float
    decode_ms: float


def measure_choice(presses: int = 20) -> ChoiceResult:
    """Press the button, again and again."""
    kernel, ring = SimulatedKernel(), FrameRing()
    kernel.plug(SimulatedDevice())
    address = f"{ADDRESS}?width=640&height=480&fps=30&format=mjpg"
    with CaptureLoop(address, LatestFrameSlot(), make=lambda text: V4l2Camera(parse_uri(text), kernel), ring=ring):
        ring.after(0, CYCLE_DEADLINE_S)
        time.sleep(1.0)  # until the ring is full
        choices = [choose_frame(ring, time.monotonic_ns()) for _ in range(presses)]
    frame = choices[-1].frame
    grey = grey_of(frame)
    late_ms = [each.late_ms for each in choices]
    with one_thread():
        sharpness_ms = min(timeit.repeat(lambda: sharpness_of(grey), number=1, repeat=100)) * 1e3
        decode_ms = min(timeit.repeat(lambda: grey_of(frame), number=1, repeat=100)) * 1e3
    return ChoiceResult(
        presses=presses,
        looked_at_least=min(each.looked_at for each in choices),
        late_ms_median=float(np.median(late_ms)),
        late_ms_most=max(late_ms),
        sharpness_ms=sharpness_ms,
        decode_ms=decode_ms,
    )


def measure_capture(seconds: float = 60.0, width: int = 640, height: int = 480, fps: float = 30.0) -> CaptureResult:
    """Let the capture loop stream for some seconds."""
    kernel = SimulatedKernel()
    kernel.plug(SimulatedDevice())
    processor_ns: list[int] = []
    at_ns: list[int] = []
    sizes = [len(paint(number, "MJPG", width, height)) for number in range(PICTURES)]  # painted before, so that painting is not timed
    done = threading.Event()
    slot = LatestFrameSlot()

    def note() -> None:
        """On the capture thread, after each frame."""
        processor_ns.append(time.thread_time_ns())
        at_ns.append(time.monotonic_ns())
        if len(at_ns) > WARM_UP_FRAMES + seconds * fps:
            done.set()

    address = f"{ADDRESS}?width={width}&height={height}&fps={fps:g}&format=mjpg"
    with CaptureLoop(address, slot, make=lambda text: V4l2Camera(parse_uri(text), kernel), listener=note) as loop:
        done.wait(seconds + WARM_UP_FRAMES / fps + CYCLE_DEADLINE_S)
        status = loop.status
    at, used = np.array(at_ns[WARM_UP_FRAMES:]), np.array(processor_ns[WARM_UP_FRAMES:])
    took_ns = int(at[-1] - at[0]) if len(at) > 1 else 0
    return CaptureResult(
        width=width,
        height=height,
        fps=fps,
        seconds=took_ns / 1e9,
        frames=max(0, len(at) - 1),
        lost=status.lost,
        damaged=status.damaged,
        jpeg_bytes=float(np.mean(sizes)),
        core_share=float(used[-1] - used[0]) / took_ns if took_ns else 0.0,
        interval_ms_p99=float(np.percentile(np.diff(at), 99) / 1e6) if took_ns else 0.0,
    )


def measure_replug(cycles: int = 1000) -> ReplugResult:
    """Pull the microscope out and put it back, `cycles` times; each time the loop must notice, find it again and stream."""
    kernel, device = SimulatedKernel(), SimulatedDevice()
    kernel.plug(device)
    patience = Patience(first_retry_s=0.001, longest_retry_s=0.01)
    changed = threading.Condition()

    def note() -> None:
        with changed:
            changed.notify_all()

    loop = CaptureLoop(
        f"{ADDRESS}?width=64&height=48&fps=240",
        LatestFrameSlot(),
        make=lambda text: V4l2Camera(parse_uri(text), kernel),
        patience=patience,
        listener=note,
        plugged_in=kernel.present,
    )

    def until(state: str) -> bool:
        with changed:
            return changed.wait_for(lambda: loop.status.state == state, CYCLE_DEADLINE_S)

    seen_ms: list[float] = []
    return_ms: list[float] = []
    resident: list[int] = []
    returned = 0
    before = (0, 0, 0)
    with _quiet(), loop:
        until("streaming")
        for cycle in range(WARM_UP_CYCLES + cycles):
            if cycle == WARM_UP_CYCLES:
                before, returned = _held(kernel), 0
                seen_ms, return_ms, resident = [], [], [_resident_kib()]
            pulled = time.monotonic()
            kernel.unplug(device)
            until("absent")
            put_back = time.monotonic()
            kernel.plug(device, cycle % 4)
            returned += until("streaming")
            seen_ms.append((put_back - pulled) * 1e3)
            return_ms.append((time.monotonic() - put_back) * 1e3)
            resident.append(_resident_kib())
        after = _held(kernel)
    return ReplugResult(
        cycles=cycles,
        returned=returned,
        descriptors=(before[0], after[0]),
        threads=(before[1], after[1]),
        mappings=(before[2], after[2]),
        resident_kib=(resident[0], resident[-1]),
        resident_slope_kib=float(np.polyfit(np.arange(len(resident)), resident, 1)[0] * 1000),
        seen_ms_most=max(seen_ms),
        return_ms_median=float(np.median(return_ms)),
        return_ms_most=max(return_ms),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Two thousand warnings that a camera came and went are no news here."""
    log = logging.getLogger("device")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _held(kernel: SimulatedKernel) -> tuple[int, int, int]:
    """Descriptors, threads, mappings."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), kernel.open_mappings


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE // 1024
