from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import SentenceError
from device.handpiece import gy53, tofsense
from device.handpiece.counters import Counters
from device.handpiece.frames import FrameFramer
from device.handpiece.framing import Framed, SentenceFramer
from device.handpiece.readings import STALE_NS, Agreement, Reading
from device.handpiece.sentences import MAX_LENGTH, Heartbeat, RangeSentence, Sentence, UnknownSentence, encode, wrap

VECTOR = bytes.fromhex("57 00 ff 00 9e 8f 00 00 ad 08 00 00 03 00 ff 3a")  # of the maker's manual
RANGE = RangeSentence(23.41, 0.15, "valid")


def framed(*pieces: bytes) -> tuple[list[Framed[Sentence]], Counters]:
    counters = Counters()
    framer = SentenceFramer(counters)
    return [found for piece in pieces for found in framer.feed(piece)], counters


@given(st.lists(st.integers(0, 4000).map(Heartbeat), min_size=1, max_size=8), st.data())
def test_however_the_bytes_are_cut_into_reads_all_sentences_come(beats: list[Heartbeat], data: st.DataObject) -> None:
    stream = b"".join(map(encode, beats))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    found, counters = framed(*(stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)))
    assert [f.item for f in found] == beats
    assert [f.after_noise for f in found] == [True] + [False] * (len(beats) - 1)
    assert counters.rejected == counters.noise_bytes == 0


@given(st.binary(max_size=300), st.integers(0, 23))
def test_no_noise_in_front_of_a_whole_sentence_takes_it_along(noise: bytes, cut: int) -> None:
    sentence = encode(RANGE)
    found, counters = framed(noise, sentence[:cut], sentence)
    assert found[-1] == Framed(RANGE, True)
    assert counters.noise_bytes == len(noise) + cut - sum(len(encode(f.item)) for f in found[:-1])


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"$TSRNG,23.4" + encode(RANGE), "cut"),
        (b"$TSHBT,12*38\r\n", "checksum"),
        (b"$TSHBT,12\xff*39\r\n", "character"),
        (b"$TSHBT,12*39\n", "character"),
        (b"$TSHBT,12*39\r\r\n", "character"),
        (b"$" + b"A" * 200, "length"),
        (wrap("GPGGA,1"), "talker"),
        (encode(RANGE)[:-5] + b"\r\n", "form"),
        (wrap("TSRNG,1,2,3"), "field"),
        (wrap("THQID"), "talker"),  # our own words come back: an echo
    ],
)
def test_what_is_refused_is_counted_by_reason(stream: bytes, reason: str) -> None:
    _, counters = framed(stream)
    assert counters.rejects[reason] == 1 and counters.rejected == 1


def test_a_kind_that_is_unknown_is_counted_and_no_noise() -> None:
    found, counters = framed(encode(RANGE), wrap("TSNEW,1"), encode(RANGE))
    assert [f.after_noise for f in found] == [True, False, False]
    assert isinstance(found[1].item, UnknownSentence)
    assert (counters.sentences, counters.unknown, counters.rejected) == (3, 1, 0)


def test_the_buffers_are_bounded() -> None:
    text, binary = SentenceFramer(Counters()), FrameFramer(tofsense.HEADER, tofsense.SIZE, tofsense.decode, Counters())
    draw = random.Random(3)
    for _ in range(300):
        for noise in (b"$" * 500, b"$" + b"A" * draw.randrange(200), b"\x57" * 300, VECTOR[: draw.randrange(16)], draw.randbytes(77)):
            text.feed(noise)
            binary.feed(noise)
            assert len(text._buffer) < MAX_LENGTH and len(binary._buffer) < tofsense.SIZE


def test_the_vector_of_the_tofsense_manual() -> None:
    frame = tofsense.decode(VECTOR)
    assert (frame.distance_mm, frame.status, frame.system_time_ms, frame.signal_strength) == (2221, "valid", 36766, 3)
    assert frame.id == 0 and frame.precision_cm is None
    assert tofsense.encode(2221, system_time_ms=36766) == VECTOR


def test_a_gy53_frame() -> None:
    frame = bytes.fromhex("5a 5a 15 03 01 2c 02 fb")
    assert gy53.encode(300, mode=2) == frame
    assert gy53.decode(frame) == gy53.Gy53Frame(300, "valid", 2)
    assert gy53.decode(gy53.encode(8190)).distance_mm is None


@pytest.mark.parametrize("frame", [tofsense.encode(30_000), tofsense.encode(20, status=77), tofsense.encode(2**24 - 1)])
def test_what_a_tofsense_cannot_mean_is_refused(frame: bytes) -> None:
    with pytest.raises(SentenceError) as told:
        tofsense.decode(frame)
    assert told.value.reason == "field"


@pytest.mark.parametrize("distance_mm", [4001, 8179, 8192, 65535])
def test_what_a_gy53_cannot_mean_is_refused(distance_mm: int) -> None:
    with pytest.raises(SentenceError):
        gy53.decode(gy53.encode(distance_mm))


@given(st.binary(max_size=60), st.integers(0, 15), st.integers(1, 200))
def test_a_frame_that_begins_inside_a_false_one_is_found(noise: bytes, cut: int, distance_mm: int) -> None:
    counters = Counters()
    framer = FrameFramer(tofsense.HEADER, tofsense.SIZE, tofsense.decode, counters)
    frame = tofsense.encode(distance_mm, system_time_ms=1)
    found = framer.feed(noise + frame[:cut]) + framer.feed(frame)
    assert found[-1].item.distance_mm == distance_mm


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_noise_to_every_framer_raises_nothing_and_every_byte_is_accounted_for(pieces: list[bytes]) -> None:
    total = sum(map(len, pieces))
    for make in (
        SentenceFramer,
        lambda counters: FrameFramer(tofsense.HEADER, tofsense.SIZE, tofsense.decode, counters),
        lambda counters: FrameFramer(gy53.HEADER, gy53.SIZE, gy53.decode, counters),
    ):
        counters = Counters()
        framer = make(counters)
        found = [framed for piece in pieces for framed in framer.feed(piece)]
        if not found:
            assert counters.noise_bytes + len(framer._buffer) == total


def reading(distance_mm: float | None, at_ms: float) -> Reading:
    known = distance_mm is not None
    return Reading(distance_mm, 1.0 if known else None, "valid" if known else "no-target", int(at_ms * 1e6))


def test_readings_are_believed_at_once_until_noise_comes() -> None:
    agreement = Agreement()
    assert not agreement.admits(reading(20, 0), True)  # the line was opened: anything may have gone before
    assert agreement.admits(reading(21, 30), False)
    assert agreement.admits(reading(300, 60), False)  # a jump in an undisturbed stream
    assert agreement.admits(reading(301, 90), True)  # after noise, but like the one before
    assert not agreement.admits(reading(20, 120), True)  # after noise, and unlike
    assert agreement.admits(reading(22, 150), True)  # two agree against the noise
    assert not agreement.admits(reading(22, 150 + STALE_NS / 1e6 + 1), True)  # too long ago to vouch
    assert not agreement.admits(reading(None, 400), False)
    assert agreement.admits(reading(None, 430), False)


def test_made_up_readings_among_noise_are_not_believed() -> None:
    agreement = Agreement()
    assert not any(agreement.admits(reading((20.0, 90.0, 400.0)[place % 3], 30.0 * place), True) for place in range(500))
