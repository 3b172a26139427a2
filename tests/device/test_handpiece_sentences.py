from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import device.handpiece
from device.errors import SentenceError
from device.handpiece.sentences import (
    LIGHTS,
    MAX_LENGTH,
    AskIdentity,
    ButtonSentence,
    Heartbeat,
    HostHeartbeat,
    Identity,
    Leave,
    LightAcknowledged,
    LightChanged,
    LightRefused,
    RangeSentence,
    Sentence,
    SetLight,
    Temperature,
    Trouble,
    UnknownSentence,
    encode,
    parse,
    wrap,
)

PROTOCOL = Path(device.handpiece.__file__).with_name("PROTOCOL.md")

names = st.text("ABCXYZabcxyz0189._-", min_size=1, max_size=16)
mm = st.integers(0, 500_000).map(lambda hundredths: hundredths / 100)
std = st.integers(1, 100_000).map(lambda hundredths: hundredths / 100)
numbers, levels, codes, lights = st.integers(0, 999), st.integers(0, 100), st.integers(1, 99), st.sampled_from(LIGHTS)
sentences: st.SearchStrategy[Sentence] = st.one_of(
    st.builds(Identity, st.tuples(st.integers(0, 99), st.integers(0, 99)), names, names, names),
    st.builds(Heartbeat, st.integers(0, 2**32 - 1)),
    st.builds(RangeSentence, mm, std, st.sampled_from(("valid", "weak"))),
    st.builds(RangeSentence, st.none(), st.none(), st.sampled_from(("no-target", "fault"))),
    st.builds(ButtonSentence, st.integers(1, 9), st.booleans(), numbers),
    st.builds(Temperature, st.integers(-9999, 9999).map(lambda tenths: tenths / 10)),
    st.builds(Trouble, codes, st.text("ABz09 ._:/-", max_size=40)),
    st.builds(LightAcknowledged, numbers, lights, levels),
    st.builds(LightRefused, numbers, codes),
    st.builds(LightChanged, lights, levels),
    st.just(AskIdentity()),
    st.just(HostHeartbeat()),
    st.builds(SetLight, numbers, lights, levels),
    st.just(Leave()),
)


@given(sentences)
def test_what_is_encoded_is_parsed_again(sentence: Sentence) -> None:
    line = encode(sentence)
    assert line.endswith(b"\r\n") and len(line) <= MAX_LENGTH and line.isascii()
    assert parse(line) == sentence
    assert parse(line[:-2]) == sentence


def test_the_example_of_the_issue() -> None:
    assert parse(b"$TSRNG,23.41,0.15,A*01\r\n") == RangeSentence(23.41, 0.15, "valid")


def test_every_vector_of_the_protocol_page_is_a_sentence_of_a_kind_of_its_own() -> None:
    vectors = re.findall(r"^    (\$T.*\*[0-9A-F]{2})$", PROTOCOL.read_text(encoding="utf-8"), re.MULTILINE)
    kinds = {type(parse(vector.encode())) for vector in vectors}
    assert len(vectors) == 14 and len(kinds) == 13 and UnknownSentence not in kinds
    for printed in re.findall(r"'(\$TH[^']*)\\r\\n'", PROTOCOL.read_text(encoding="utf-8")):
        parse(printed.encode())


@pytest.mark.parametrize(
    "body",
    [
        "TSRNG,23.41,0.15",  # a field is missing
        "TSRNG,23.41,0.15,A,",  # one too many
        "TSRNG,23.41,0.15,B",
        "TSRNG,23.41,0.15,a",
        "TSRNG,23.41,,A",
        "TSRNG,,,A",
        "TSRNG,23.41,0.15,N",  # no target, and yet a distance
        "TSRNG,+23.41,0.15,A",
        "TSRNG,-23.41,0.15,A",
        "TSRNG,023.41,0.15,A",
        "TSRNG,23,0.15,A",
        "TSRNG,.41,0.15,A",
        "TSRNG,23.,0.15,A",
        "TSRNG,23.4141,0.15,A",
        "TSRNG,2e1,0.15,A",
        "TSRNG,nan,0.15,A",
        "TSRNG, 23.41,0.15,A",
        "TSRNG,23.41,0.00,A",  # a σ of 0 is a lie
        "TSRNG,5000.01,0.15,A",
        "TSRNG,23.41,1000.1,A",
        "TSHBT,-1",
        "TSHBT,01",
        "TSHBT,99999999999",
        "TSBTN,0,D,1",
        "TSBTN,1,X,1",
        "TSBTN,1,D,1000",
        "TSTMP,31",
        "TSTMP,31.55",
        "TSERR,0,nothing",
        "TSERR,1,a" + "b" * 40,
        "TSACK,1,W,101",
        "TSACK,1,R,10",
        "TSNAK,1000,1",
        "TSIDN,1,REF-1,A,1",
        "TSIDN,1.0,REF 1,A,1",
        "TSIDN,1.0,,A,1",
        "TSIDN,1.0,ABCDEFGHIJKLMNOPQ,A,1",
        "THQID,1",
        "THLED,1,W,-5",
    ],
)
def test_what_is_not_exactly_of_its_form_is_refused(body: str) -> None:
    with pytest.raises(SentenceError) as told:
        parse(wrap(body))
    assert told.value.reason == "field"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "form"),
        (b"$", "form"),
        (b"$*00", "form"),
        (b"$TSHBT,12*38", "checksum"),
        (b"$TSHBT,12*3f\r\n", "form"),  # lower case
        (b"$TSHBT,12\r\n", "form"),
        (b"$TSHBT,12*3", "form"),
        (b"TSHBT,12*39", "form"),
        (b"$TSHBT,1\x002*39", "form"),
        (b"$TSHBT,12*39\n", "form"),
        (wrap("GPGGA,123519"), "talker"),
        (wrap("TSrng,1"), "talker"),
        (wrap("TSRNGE,1"), "talker"),
        (wrap("TSHBT," + "1" * 80), "form"),
    ],
)
def test_lines_that_are_no_sentences_say_why(line: bytes, reason: str) -> None:
    with pytest.raises(SentenceError) as told:
        parse(line)
    assert told.value.reason == reason and len(str(told.value)) < 400


def test_a_kind_from_the_future_is_no_error() -> None:
    assert parse(wrap("TSNEW,whatever,it,says")) == UnknownSentence("TSNEW")


@pytest.mark.parametrize(
    "sentence",
    [RangeSentence(-1.0, 0.1, "valid"), RangeSentence(23.0, None, "valid"), Identity((1, 0), "a,b", "1", "1"), Trouble(1, "50 €")],
)
def test_what_the_protocol_cannot_carry_is_not_sent(sentence: Sentence) -> None:
    with pytest.raises(SentenceError):
        encode(sentence)


@given(st.binary(max_size=120))
def test_any_bytes_are_a_sentence_or_a_refusal(data: bytes) -> None:
    for line in (data, b"$" + data, b"$TSRNG," + data):
        try:
            parse(line)
        except SentenceError as error:
            assert error.reason in {"form", "checksum", "talker", "field"}


@given(sentences, st.data())
def test_one_damaged_character_is_always_seen(sentence: Sentence, data: st.DataObject) -> None:
    line = bytearray(encode(sentence))
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SentenceError):
        parse(bytes(line))
