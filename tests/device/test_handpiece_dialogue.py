"""The host's side of the protocol against the firmware's side, both pure: bytes pass between them at times that the test makes up."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from device.handpiece.counters import Counters
from device.handpiece.dialogue import ButtonEdge, ReferenceSession
from device.handpiece.lights import TRIES, LightDesk, Outcome
from device.handpiece.sentences import (
    ButtonSentence,
    Identity,
    LightAcknowledged,
    RangeSentence,
    SetLight,
    Trouble,
    encode,
    parse,
    wrap,
)
from device.handpiece.session import Gy53Session, SensorState, Session, TofsenseSession
from device.simulated.firmware import Firmware

STEP_S = 0.01


class Bench:
    """A session and a firmware on one clock. `lose` says which sentences of the firmware do not arrive."""

    def __init__(self, protocol: tuple[int, int] = (1, 0)) -> None:
        self.now_s = 1.0
        self.counters, self.lights, self.edges = Counters(), LightDesk(), list[ButtonEdge]()
        self.session = ReferenceSession("PORT", self.counters, self.now_ns, self.lights, self.edges.append)
        self.firmware = Firmware(self.now_s, protocol=protocol)
        self.distance_mm = 20.0
        self.lose = lambda sentence: False
        self.host_lost = False
        self.sent: list[bytes] = []

    @property
    def now_ns(self) -> int:
        return int(self.now_s * 1e9)

    @property
    def state(self) -> SensorState:
        return self.session.judge(self.now_ns).state

    def say(self, *sentences: bytes) -> None:
        for sentence in sentences:
            if not self.lose(sentence):
                self.session.receive(sentence, self.now_ns)

    def run(self, seconds: float) -> Bench:
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            command = self.session.due(self.now_ns)
            if command:
                self.sent.append(command)
            self.say(*self.firmware.due(self.now_s, self.distance_mm))
            if command and not self.host_lost:
                self.say(*self.firmware.hear(command, self.now_s))
        return self


def test_it_becomes_ready_and_measures() -> None:
    bench = Bench()
    assert bench.state == "opening"
    bench.run(0.5)
    assert bench.state == "ready" and bench.session.identity == bench.firmware.identity
    reading = bench.session.latest(bench.now_ns)
    assert reading is not None and reading.distance_mm == pytest.approx(20, abs=1) and reading.std_mm == 0.15
    assert "SIM-1" in bench.session.judge(bench.now_ns).message and bench.session.temperature_c(bench.now_ns) == 24.0
    assert bench.counters.rejected == bench.counters.noise_bytes == 0


def test_nothing_is_believed_before_it_is_known_who_speaks() -> None:
    bench = Bench()
    bench.lose = lambda sentence: b"TSIDN" in sentence
    bench.run(1.0)
    assert bench.session.latest(bench.now_ns) is None and bench.counters.readings == 0 and bench.state == "opening"
    bench.run(2.0)
    assert bench.state == "wrong-protocol" and "THQID" in bench.session.judge(bench.now_ns).message
    asked = sum(b"THQID" in sent for sent in bench.sent)
    assert 4 <= asked <= 6
    bench.run(20)
    assert sum(b"THQID" in sent for sent in bench.sent) - asked <= 5  # seldom: it may be none of ours
    bench.lose = lambda sentence: False
    bench.run(6)
    assert bench.state == "ready"


@pytest.mark.parametrize(("protocol", "remedy"), [((2, 0), "update this program"), ((0, 9), "firmware")])
def test_another_major_version_is_told_and_not_believed(protocol: tuple[int, int], remedy: str) -> None:
    bench = Bench(protocol).run(3)
    verdict = bench.session.judge(bench.now_ns)
    assert verdict.state == "wrong-version" and remedy in verdict.message and f"{protocol[0]}.{protocol[1]}" in verdict.message
    assert bench.session.latest(bench.now_ns) is None and bench.session.farewell() == b""
    assert not any(b"THLED" in sent or b"THHBT" in sent for sent in bench.sent)


def test_a_later_minor_version_is_understood_with_what_is_new_in_it() -> None:
    bench = Bench((1, 7)).run(0.5)
    bench.say(wrap("TSNEW,1,2"))
    assert bench.state == "ready" and bench.counters.unknown == 1


def test_a_reading_expires() -> None:
    bench = Bench().run(0.5)
    reading = bench.session.latest(bench.now_ns)
    assert reading is not None
    assert bench.session.latest(reading.received_ns + 200_000_000) == reading
    assert bench.session.latest(reading.received_ns + 200_000_001) is None


def test_silence_is_told_and_ends_by_itself() -> None:
    bench = Bench().run(0.5)
    bench.lose = lambda sentence: True
    bench.run(2.4)
    assert bench.state == "ready" and bench.session.latest(bench.now_ns) is None
    bench.run(0.2)
    assert bench.state == "silent" and "cable" in bench.session.judge(bench.now_ns).message
    bench.lose = lambda sentence: False
    bench.run(0.2)
    assert bench.state == "ready" and bench.session.latest(bench.now_ns) is not None


def test_a_device_that_never_says_a_word_is_silent() -> None:
    bench = Bench()
    bench.lose = lambda sentence: True
    assert [bench.run(1.2).state, bench.run(1.2).state, bench.run(1.2).state] == ["opening", "opening", "silent"]


def test_a_target_out_of_reach_is_a_reading_without_a_distance() -> None:
    bench = Bench()
    bench.distance_mm = 150
    bench.run(0.5)
    reading = bench.session.latest(bench.now_ns)
    assert reading is not None and (reading.distance_mm, reading.std_mm, reading.status) == (None, None, "no-target")


def test_an_edge_comes_once_though_it_is_sent_twice_and_lost_ones_are_counted() -> None:
    bench = Bench().run(0.5)
    bench.say(*bench.firmware.button(True, bench.now_s))
    bench.run(0.1)
    assert [(edge.button, edge.pressed) for edge in bench.edges] == [(1, True)]
    bench.lose = lambda sentence: b"TSBTN" in sentence
    bench.say(*bench.firmware.button(False, bench.now_s))
    bench.run(0.1)
    bench.lose = lambda sentence: False
    bench.say(*bench.firmware.button(True, bench.now_s))
    bench.run(0.1)
    assert [edge.pressed for edge in bench.edges] == [True, True] and bench.counters.lost_edges == 1


def test_the_first_of_the_two_may_be_lost() -> None:
    bench = Bench().run(0.5)
    bench.firmware.button(True, bench.now_s)  # the sentence itself never arrives
    bench.run(0.1)
    assert [edge.pressed for edge in bench.edges] == [True] and bench.counters.lost_edges == 0


def test_repetitions_may_come_after_newer_edges() -> None:
    bench = Bench().run(0.5)
    for _ in range(20):  # faster than any hand: each edge 10 ms after the last
        for pressed in (True, False):
            bench.say(*bench.firmware.button(pressed, bench.now_s))
            bench.run(STEP_S)
    bench.run(0.1)
    assert [edge.pressed for edge in bench.edges] == [True, False] * 20 and bench.counters.lost_edges == 0


def test_the_first_edge_after_a_restart_is_no_repetition() -> None:
    bench = Bench().run(0.5)
    bench.say(encode(ButtonSentence(1, True, 300)))
    bench.firmware = Firmware(bench.now_s)
    bench.run(STEP_S)
    bench.say(*bench.firmware.button(True, bench.now_s))
    assert len(bench.edges) == 2 and bench.counters.lost_edges == 0


def test_the_count_of_edges_goes_round() -> None:
    bench = Bench().run(0.5)
    for count in (998, 999, 0):
        bench.say(encode(ButtonSentence(1, True, count)))
    assert len(bench.edges) == 3 and bench.counters.lost_edges == 0


def test_a_light_is_set_and_acknowledged() -> None:
    bench = Bench().run(0.5)
    ticket = bench.lights.ask("uv", 60)
    bench.run(0.05)
    assert bench.lights.outcome(ticket) == Outcome(60)
    assert bench.lights.in_force == {"uv": 60} and bench.firmware.lights == {"white": 0, "cross": 0, "uv": 60}


def test_a_lost_acknowledgement_is_asked_for_again() -> None:
    bench = Bench().run(0.5)
    bench.firmware.mute_acks = TRIES - 1
    ticket = bench.lights.ask("white", 10)
    bench.run(0.15)
    assert bench.lights.outcome(ticket) is None
    bench.run(0.5)
    assert bench.lights.outcome(ticket) == Outcome(10)
    commands = [sent for sent in bench.sent if b"THLED" in sent]
    assert len(commands) == TRIES and len(set(commands)) == 1


def test_a_light_that_is_never_acknowledged_is_given_up_and_the_next_still_comes() -> None:
    bench = Bench().run(0.5)
    bench.firmware.mute_acks = TRIES
    first, second = bench.lights.ask("white", 10), bench.lights.ask("cross", 20)
    bench.run(0.8)
    failed = bench.lights.outcome(first)
    assert failed is not None and failed.level is None and "acknowledge" in failed.problem
    assert bench.lights.outcome(second) == Outcome(20)


def test_a_refusal_says_why() -> None:
    bench = Bench().run(0.5)
    bench.firmware.refusal = 2
    ticket = bench.lights.ask("white", 10)
    bench.run(0.05)
    refused = bench.lights.outcome(ticket)
    assert refused is not None and refused.level is None and "hot" in refused.problem
    bench.firmware.refusal = 44
    ticket = bench.lights.ask("white", 10)
    bench.run(0.05)
    refused = bench.lights.outcome(ticket)
    assert refused is not None and "44" in refused.problem


def test_heat_may_keep_a_light_below_what_was_asked() -> None:
    bench = Bench().run(0.5)
    bench.firmware.hottest_level = 30
    ticket = bench.lights.ask("white", 90)
    bench.run(0.05)
    assert bench.lights.outcome(ticket) == Outcome(30)


def test_only_the_last_of_commands_that_wait_for_one_light_is_sent() -> None:
    bench = Bench().run(0.5)
    first, second = bench.lights.ask("white", 10), bench.lights.ask("white", 20)
    bench.run(0.05)
    replaced = bench.lights.outcome(first)
    assert replaced is not None and replaced.level is None and "replaced" in replaced.problem
    assert bench.lights.outcome(second) == Outcome(20) and sum(b"THLED" in sent for sent in bench.sent) == 1


def test_an_acknowledgement_of_something_else_is_none() -> None:
    desk = LightDesk()
    ticket = desk.ask("white", 10)
    command = parse(desk.due(0))
    assert isinstance(command, SetLight)
    desk.acknowledged(LightAcknowledged(command.number + 1, "white", 10))
    desk.acknowledged(LightAcknowledged(command.number, "uv", 10))
    assert desk.outcome(ticket) is None
    desk.acknowledged(LightAcknowledged(command.number, "white", 10))
    assert desk.outcome(ticket) == Outcome(10)


def test_a_command_that_nobody_waits_for_any_more_is_not_sent() -> None:
    desk = LightDesk()
    flying, waiting = desk.ask("white", 10), desk.ask("uv", 50)
    assert desk.due(0)
    desk.withdraw(flying)
    desk.withdraw(waiting)
    assert desk.due(10**12) == b""


def test_lights_come_back_after_a_restart_but_not_those_that_were_to_go_out() -> None:
    bench = Bench().run(0.5)
    for light, level in (("white", 40), ("uv", 80)):
        bench.lights.ask(light, level)  # type: ignore[arg-type]
        bench.run(0.05)
    bench.firmware.mute_acks = TRIES
    bench.lights.ask("uv", 0)  # and is never acknowledged
    bench.run(3)
    bench.firmware = Firmware(bench.now_s)
    bench.run(1.5)
    assert bench.state == "ready" and bench.firmware.lights == {"white": 40, "cross": 0, "uv": 0}
    assert bench.lights.in_force == {"white": 40}


def test_a_handpiece_that_goes_away_fails_what_is_on_its_way() -> None:
    desk = LightDesk()
    flying, waiting = desk.ask("white", 10), desk.ask("uv", 50)
    desk.due(0)
    desk.abandon("it is gone")
    assert desk.outcome(flying) == desk.outcome(waiting) == Outcome(None, "it is gone")
    assert desk.due(10**12) == b""


def test_the_handpiece_darkens_when_the_host_falls_silent_and_when_it_leaves() -> None:
    bench = Bench().run(0.5)
    bench.lights.ask("uv", 60)
    bench.run(20)
    assert bench.firmware.lights["uv"] == 60  # the heartbeat keeps it
    bench.host_lost = True
    bench.run(5.5)
    assert bench.firmware.lights["uv"] == 0 and bench.lights.in_force["uv"] == 0
    bench.firmware.lights["uv"] = 60
    bench.firmware.hear(bench.session.farewell(), bench.now_s)
    assert bench.firmware.lights["uv"] == 0


def test_trouble_is_shown_as_long_as_it_is_told() -> None:
    bench = Bench().run(0.5)
    bench.say(encode(Trouble(2, "LED ring 71 C")))
    assert bench.session.trouble(bench.now_ns) == Trouble(2, "LED ring 71 C")
    bench.run(10.1)
    assert bench.session.trouble(bench.now_ns) is None


def test_a_restart_is_seen_by_its_uptime() -> None:
    bench = Bench().run(30)
    bench.firmware = Firmware(bench.now_s)
    bench.firmware.identity = replace(bench.firmware.identity, firmware="2.0")
    bench.run(0.3)
    assert bench.session.identity == bench.firmware.identity and bench.state == "ready"


def test_an_echo_of_our_own_words_is_no_handpiece() -> None:
    bench = Bench()
    for _ in range(400):
        bench.now_s += STEP_S
        bench.session.receive(bench.session.due(bench.now_ns) or b"", bench.now_ns)
    assert bench.state != "ready" and bench.counters.sentences == 0


def test_noise_between_all_sentences_leaves_readings_right() -> None:
    bench = Bench()
    draw = random.Random(11)
    bench.lose = lambda sentence: bool(bench.session.receive(draw.randbytes(draw.randrange(60)), bench.now_ns)) or draw.random() < 0.1
    for _ in range(100):
        bench.run(0.1)
        reading = bench.session.latest(bench.now_ns)
        assert reading is None or (reading.distance_mm is not None and abs(reading.distance_mm - 20) < 2)
    assert bench.state == "ready" and bench.counters.readings > 200 and bench.counters.rejected > 20


def test_damaged_sentences_are_no_readings() -> None:
    """Bits flip in every tenth byte: what slips through an eight-bit checksum must not be believed."""
    bench = Bench().run(0.5)
    draw = random.Random(12)
    for number in range(3000):
        line = bytearray(encode(RangeSentence(20.0 + number % 7, 0.15, "valid")))
        for place in range(len(line)):
            if draw.random() < 0.1:
                line[place] ^= 1 << draw.randrange(8)
        bench.now_s += 0.033
        bench.say(bytes(line))
        reading = bench.session.latest(bench.now_ns)
        assert reading is None or (reading.distance_mm is not None and abs(reading.distance_mm - 23) <= 35)
    assert bench.counters.rejected > 1000


TALK = {
    "reference": encode(Identity((1, 0), "A", "B", "1")) * 3,
    "tofsense": bytes.fromhex("57 00 ff 00 9e 8f 00 00 ad 08 00 00 03 00 ff 3a") * 3,
    "gy53": bytes.fromhex("5a 5a 15 03 01 2c 02 fb") * 3,
    "gps": b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n",
    "text": b"Marlin 2.1.2 ready\r\nok T:21.3\r\n" * 3,
    "garbage": bytes(range(128, 256)),
}
SAYS = {
    "reference": "driver=reference",
    "tofsense": "driver=tofsense",
    "gy53": "driver=gy53",
    "gps": "satellite",
    "text": "2.1.2 ready",
    "garbage": "baud",
}


@pytest.mark.parametrize("foreign", TALK)
@pytest.mark.parametrize("expected", ["reference", "tofsense", "gy53"])
def test_whoever_speaks_something_else_is_told_what_it_was(expected: str, foreign: str) -> None:
    makers = {"tofsense": TofsenseSession, "gy53": Gy53Session}
    session: Session = (
        makers[expected]("PORT", Counters(), 0)
        if expected in makers
        else ReferenceSession("PORT", Counters(), 0, LightDesk(), lambda edge: None)
    )
    for tick in range(50):
        session.receive(TALK[foreign], tick * 50_000_000)
    verdict = session.judge(50 * 50_000_000)
    if expected == foreign:
        assert verdict.state == "ready"
        return
    assert verdict.state == "wrong-protocol"
    assert "PORT" in verdict.message and session.speaks in verdict.message and SAYS[foreign] in verdict.message
    session.receive(TALK[expected], 51 * 50_000_000)
    assert session.judge(51 * 50_000_000).state == "ready"  # from anything it becomes ready by itself
