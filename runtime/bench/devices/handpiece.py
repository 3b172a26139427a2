"""The serial side under abuse: random bytes into every parser, and a plug that is pulled and put back a thousand times.

`trichoscope bench devices` prints what comes out. Nothing here asserts: a figure that is wrong is a figure all the same.
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.handpiece import gy53, tofsense
from device.handpiece.counters import Counters
from device.handpiece.dialogue import ReferenceSession
from device.handpiece.handpiece import Handpiece
from device.handpiece.lights import LightDesk
from device.handpiece.port import PortPatience
from device.handpiece.sentences import Identity, RangeSentence, encode
from device.handpiece.session import Gy53Session, Session, TofsenseSession
from device.handpiece.uri import parse_handpiece_uri
from device.simulated.handpiece import HandpieceSimulator

CHUNK = 512  # bytes of a read
SENTENCE_NS = 33_000_000
TRUE_MM = 23
LONGEST_NOISE = 400
WARM_UP = 50  # cycles before the first figure is taken: allocators and caches fill
PAGE = os.sysconf("SC_PAGE_SIZE")
CYCLE_DEADLINE_S = 10.0


@dataclass(frozen=True)
class NoiseResult:
    """One parser and its random bytes.

    Attributes:
        framed, false_readings: sentences or frames, and readings, that it found in `noise_bytes` random bytes: all of them false.
        exceptions: that it raised.
        expected_framed_per_million: what random bytes pass on average, computed from the format.
        trials: how often a burst of noise, ending in the beginning of a sentence, was followed by true sentences.
        lost_most, held_most: of the true sentences after a burst, how many at most were not recognised; how many at most came before the
            first reading (one that follows noise waits until another agrees).
        ns_per_byte: processor time.
    """

    parser: str
    noise_bytes: int
    framed: int
    false_readings: int
    exceptions: int
    expected_framed_per_million: float
    trials: int
    lost_most: int
    held_most: int
    ns_per_byte: float


@dataclass(frozen=True)
class ReplugResult:
    """The driver on a pseudo-terminal that hangs up and comes back under another node.

    Attributes:
        cycles: hang-ups; `returned`: how many were followed by a reading within CYCLE_DEADLINE_S.
        descriptors, threads: (before, after) the cycles, the warm-up left out; `resident_kib` likewise.
        resident_slope_kib: growth of the resident memory per 1,000 cycles, straight line through all of them.
        return_ms_median, return_ms_most: from the plug's return to the first reading.
    """

    cycles: int
    returned: int
    descriptors: tuple[int, int]
    threads: tuple[int, int]
    resident_kib: tuple[int, int]
    resident_slope_kib: float
    return_ms_median: float
    return_ms_most: float


@dataclass(frozen=True)
class _Parser:
    """A parser under test: `begin` makes a session that would hand readings on, `sentences` are true ones without end."""

    name: str
    begin: Callable[[Counters], Session]
    sentences: Callable[[], Iterator[bytes]]
    expected_per_million: float


def measure_noise(noise_bytes: int = 1_000_000, trials: int = 1000, seed: int = 1) -> list[NoiseResult]:
    """Random bytes into each parser, and bursts of them between true sentences."""
    return [_measure_parser(parser, noise_bytes, trials, seed) for parser in _PARSERS]


def measure_replug(cycles: int = 1000) -> ReplugResult:
    """Pull the plug and put it back, `cycles` times; each time the driver must find it again and measure."""
    patience = PortPatience(first_retry_s=0.01, longest_retry_s=0.1)
    # filled in place: lists that grow would show as growth of the driver's memory
    returns_ms, resident = np.ones(WARM_UP + cycles), np.ones(WARM_UP + cycles)
    with tempfile.TemporaryDirectory(prefix="trichoscope-bench-") as folder:
        link = Path(folder) / "handpiece"
        with HandpieceSimulator(link=link) as simulator, Handpiece(parse_handpiece_uri(f"pty:{link}"), patience=patience) as sensor:
            simulator.do("contact", 0)
            _until(lambda: sensor.latest() is not None)
            before = (0, 0)
            returned = 0
            for cycle in range(WARM_UP + cycles):
                if cycle == WARM_UP:
                    before, returned = (_descriptors(), threading.active_count()), 0
                simulator.do("hangup", 0)  # it is back, with another terminal, at the simulator's next look
                began = time.monotonic()
                opened = sensor.status.opened
                came = _until(lambda opened=opened: sensor.status.opened > opened and sensor.latest() is not None)  # type: ignore[misc]
                returned += came
                returns_ms[cycle] = (time.monotonic() - began) * 1e3
                resident[cycle] = _resident_kib()
            after = (_descriptors(), threading.active_count())
    returns_ms, resident = returns_ms[WARM_UP:], resident[WARM_UP:]
    slope = float(np.polyfit(np.arange(cycles), resident, 1)[0]) * 1000
    return ReplugResult(
        cycles,
        returned,
        (before[0], after[0]),
        (before[1], after[1]),
        (int(resident[0]), int(resident[-1])),
        round(slope, 1),
        round(float(np.median(returns_ms)), 1),
        round(float(returns_ms.max()), 1),
    )


def _measure_parser(parser: _Parser, noise_bytes: int, trials: int, seed: int) -> NoiseResult:
    draw = random.Random(seed)
    counters = Counters()
    session = parser.begin(counters)
    known = counters.sentences  # what `begin` fed
    exceptions = 0
    began = time.process_time_ns()
    for start in range(0, noise_bytes, CHUNK):
        try:
            session.receive(draw.randbytes(min(CHUNK, noise_bytes - start)), start)
        except Exception:
            exceptions += 1
    spent_ns = time.process_time_ns() - began
    bursts = [_burst(parser, draw) for _ in range(trials)]
    return NoiseResult(
        parser.name,
        noise_bytes,
        counters.sentences - known,
        counters.readings,
        exceptions,
        parser.expected_per_million,
        trials,
        max(lost for lost, _ in bursts),
        max(held for _, held in bursts),
        round(spent_ns / noise_bytes, 1),
    )


def _burst(parser: _Parser, draw: random.Random) -> tuple[int, int]:
    """(true sentences lost, true sentences before the first reading) after noise whose end is the beginning of a sentence."""
    counters = Counters()
    session = parser.begin(counters)
    sentences = parser.sentences()
    beginning = next(sentences)
    noise = draw.randbytes(draw.randrange(LONGEST_NOISE)) + beginning[: draw.randrange(len(beginning))]
    session.receive(noise, 0)
    before = counters.sentences
    lost = held = 0
    for number in range(1, 6):
        session.receive(next(sentences), number * SENTENCE_NS)
        lost = max(lost, number - (counters.sentences - before))
        held += counters.readings == 0
    return lost, held


def _reference(counters: Counters) -> Session:
    session = ReferenceSession("bench", counters, 0, LightDesk(), lambda edge: None)
    session.receive(encode(Identity((1, 0), "BENCH", "0", "0")), 0)  # before it is known who speaks, nothing is a reading
    return session


def _ranges() -> Iterator[bytes]:
    while True:
        yield encode(RangeSentence(float(TRUE_MM), 0.15, "valid"))


def _tofsense_frames() -> Iterator[bytes]:
    time_ms = 0
    while True:
        time_ms += 33
        yield tofsense.encode(TRUE_MM, system_time_ms=time_ms)


def _gy53_frames() -> Iterator[bytes]:
    while True:
        yield gy53.encode(TRUE_MM)


# what random bytes pass: fixed bytes, checksum, and the share of contents that the driver admits
_REFERENCE_PER_MILLION = 1e6 * 256.0 ** -len(b"$TS*hh\r\n") * (26 / 256) ** 3  # of a kind that is unknown; the others are rarer yet
_TOFSENSE_PER_MILLION = 1e6 * 2.0**-24 * (tofsense.MAX_DISTANCE_MM + 1) / 2**24 * len(tofsense.STATUSES) / 256
_GY53_PER_MILLION = 1e6 * 2.0**-40 * (gy53.MAX_DISTANCE_MM + 1 + gy53.NOTHING_TO_MM - gy53.NOTHING_FROM_MM + 1) / 2**16

_PARSERS = (
    _Parser("reference", _reference, _ranges, _REFERENCE_PER_MILLION),
    _Parser("tofsense", lambda counters: TofsenseSession("bench", counters, 0), _tofsense_frames, _TOFSENSE_PER_MILLION),
    _Parser("gy53", lambda counters: Gy53Session("bench", counters, 0), _gy53_frames, _GY53_PER_MILLION),
)


def _until(check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + CYCLE_DEADLINE_S
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE // 1024
