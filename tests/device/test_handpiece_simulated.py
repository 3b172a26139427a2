from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from device.handpiece.counters import Counters
from device.handpiece.framing import SentenceFramer
from device.handpiece.sentences import Heartbeat, Identity, RangeSentence, Temperature
from device.simulated.firmware import Firmware
from device.simulated.hand import DEFAULT_SCRIPT, PLACES_MM, Hand, Step, parse_script
from device.simulated.handpiece import FAULTS, HandpieceSimulator
from tests.eventually import eventually


def test_the_hand_goes_where_the_script_says_without_jumps() -> None:
    hand = Hand(3)
    for at_s, movement in ((0.0, "approach"), (2.0, "tremble"), (4.0, "contact"), (6.0, "withdraw")):
        hand.move(movement, at_s, 1.5)
        course = [hand.distance_mm(at_s + ms / 1000) for ms in range(2000)]
        assert all(abs(a - b) < 0.6 for a, b in pairwise(course))  # 0.6 m/s
        assert course[-1] == pytest.approx(PLACES_MM[movement], abs=2.1)
        spread = max(course[-500:]) - min(course[-500:])
        assert spread < 0.2 if movement == "contact" else spread > 0.3


def test_a_movement_may_begin_before_the_last_has_ended() -> None:
    hand = Hand()
    hand.move("approach", 0, 1)
    before = hand.distance_mm(0.5)
    hand.move("withdraw", 0.5, 1)
    assert hand.distance_mm(0.5) == pytest.approx(before)


def test_the_same_seed_trembles_alike() -> None:
    assert Hand(5).distance_mm(1.234) == Hand(5).distance_mm(1.234) != Hand(6).distance_mm(1.234)


def test_a_script_is_a_list_of_steps() -> None:
    assert parse_script("approach:1.5, press ,hangup:0", frozenset(FAULTS)) == [
        Step("approach", 1.5),
        Step("press", None),
        Step("hangup", 0.0),
    ]
    assert len(parse_script(DEFAULT_SCRIPT, frozenset(FAULTS))) > 4


def test_the_firmware_speaks_at_the_times_of_the_protocol() -> None:
    firmware = Firmware(100.0, rate_hz=30)
    framer, counts = SentenceFramer(Counters()), {Identity: 0, Heartbeat: 0, RangeSentence: 0, Temperature: 0}
    for tick in range(1, 1001):
        for line in firmware.due(100.0 + tick / 100, 20.0):
            for framed in framer.feed(line):
                counts[type(framed.item)] += 1
    assert counts[Identity] == 1 and counts[Heartbeat] in (10, 11) and counts[Temperature] in (2, 3)
    assert 295 <= counts[RangeSentence] <= 305


def test_what_was_slept_through_is_not_made_up_for() -> None:
    firmware = Firmware(0.0, rate_hz=50)
    firmware.due(0.0, 20.0)
    assert len(firmware.due(1000.0, 20.0)) == 3  # one range, one heartbeat, one temperature


def test_the_link_leads_to_the_terminal_after_a_hang_up_too(tmp_path: Path) -> None:
    link = tmp_path / "handpiece"
    link.symlink_to("/nowhere")  # left by one that was killed
    with HandpieceSimulator(link=link) as simulator:
        assert simulator.path == str(link) and link.exists()
        simulator.do("hangup", 0.05)
        assert not link.is_symlink()
        eventually(link.exists)
    assert list(tmp_path.iterdir()) == []


def test_a_script_goes_round_and_round_with_faults_in_it() -> None:
    script = "contact:0.02,press:0,noise:100,cut:2,checksum,silence:0.01,version:1,restart,hangup:0.01,withdraw:0.02"
    with HandpieceSimulator(script=script) as simulator:
        for movement in ("contact", "withdraw", "contact", "withdraw"):
            eventually(lambda movement=movement: simulator.hand.movement == movement)


def test_nobody_needs_to_listen() -> None:
    """Nobody opens the terminal: what is sent goes nowhere, and the simulator goes on."""
    with HandpieceSimulator(rate_hz=100) as simulator:
        for _ in range(200):
            simulator.do("noise", random.Random(1).randrange(3000))
        simulator.do("approach", 0)
        assert simulator.distance_mm < 40
