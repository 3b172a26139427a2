"""The handpiece on a pseudo-terminal: the driver's own code from the kernel's bytes upwards."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from device.errors import HandpieceNotReadyError, LightError
from device.handpiece.handpiece import QUEUED_EDGES, Handpiece
from device.handpiece.port import PortPatience
from device.handpiece.uri import parse_handpiece_uri
from device.simulated.handpiece import HandpieceSimulator
from tests.eventually import eventually

QUICK = PortPatience(first_retry_s=0.01, longest_retry_s=0.05)


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[HandpieceSimulator]:
    with HandpieceSimulator(rate_hz=50, link=tmp_path / "handpiece") as simulator:
        simulator.do("contact", 0)
        yield simulator


@pytest.fixture
def handpiece(simulator: HandpieceSimulator) -> Iterator[Handpiece]:
    with Handpiece(parse_handpiece_uri(f"pty:{simulator.path}"), patience=QUICK) as handpiece:
        handpiece.wait_until_ready(20)
        yield handpiece


def test_it_says_who_it_is(handpiece: Handpiece) -> None:
    identity = handpiece.status.identity
    assert identity is not None and (identity.protocol, identity.model, identity.serial) == ((1, 0), "SIM-1", "000001")
    assert eventually(lambda: handpiece.temperature_c) == 24.0
    assert handpiece.trouble is None


def test_a_press_comes_with_its_moment(handpiece: Handpiece, simulator: HandpieceSimulator) -> None:
    before = time.monotonic_ns()
    simulator.do("press", 0.05)
    down, up = handpiece.next_edge(20), handpiece.next_edge(20)
    assert down is not None and up is not None and (down.pressed, up.pressed) == (True, False)
    assert before < down.received_ns < up.received_ns
    assert handpiece.next_edge(0) is None


def test_the_oldest_edges_are_dropped_when_nobody_takes_them(handpiece: Handpiece, simulator: HandpieceSimulator) -> None:
    presses = QUEUED_EDGES // 2 + 3
    for _ in range(presses):
        wanted = simulator.firmware._edges + 2
        simulator.do("press", 0)
        eventually(lambda wanted=wanted: simulator.firmware._edges == wanted)
    eventually(lambda: handpiece.counters.dropped_edges == 2 * presses - QUEUED_EDGES)
    kept = [handpiece.next_edge(0) for _ in range(QUEUED_EDGES)]
    assert None not in kept and handpiece.next_edge(0) is None
    assert kept[-1] is not None and not kept[-1].pressed


def test_lights_are_set_acknowledged_and_put_out_at_the_end(simulator: HandpieceSimulator) -> None:
    with Handpiece(parse_handpiece_uri(f"pty:{simulator.path}"), patience=QUICK) as handpiece:
        handpiece.wait_until_ready(20)
        assert handpiece.set_light("white", 100) == 100 and handpiece.set_light("uv", 7) == 7
        assert handpiece.lights == {"white": 100, "uv": 7} and simulator.lights == {"white": 100, "cross": 0, "uv": 7}
    eventually(lambda: not any(simulator.lights.values()))


def test_a_light_that_is_not_acknowledged_is_an_error_at_its_deadline(handpiece: Handpiece, simulator: HandpieceSimulator) -> None:
    simulator.firmware.mute_acks = 1000
    with pytest.raises(LightError, match=r"uv light was not set to 5.*answer within 0\.05 s"):
        handpiece.set_light("uv", 5, deadline_s=0.05)
    with pytest.raises(LightError, match="did not acknowledge"):
        handpiece.set_light("uv", 5, deadline_s=20)
    simulator.firmware.mute_acks = 0
    simulator.firmware.refusal = 2
    with pytest.raises(LightError, match="hot"):
        handpiece.set_light("uv", 5)


@pytest.mark.parametrize(("light", "level"), [("red", 5), ("uv", -1), ("uv", 101)])
def test_lights_and_levels_that_do_not_exist_are_refused(handpiece: Handpiece, light: str, level: int) -> None:
    with pytest.raises(ValueError, match="white, cross, uv"):
        handpiece.set_light(light, level)  # type: ignore[arg-type]


def test_a_light_waits_no_longer_than_the_plug_is_in(handpiece: Handpiece, simulator: HandpieceSimulator) -> None:
    simulator.firmware.mute_acks = 1000
    failed: list[Exception] = []

    def ask() -> None:
        try:
            handpiece.set_light("uv", 5, deadline_s=60)
        except LightError as error:
            failed.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    eventually(lambda: simulator.lights["uv"] == 5)
    simulator.do("hangup", 0.2)
    asker.join(20)
    assert failed and "plug" in str(failed[0])


def test_lights_come_back_with_the_plug(handpiece: Handpiece, simulator: HandpieceSimulator) -> None:
    handpiece.set_light("cross", 55)
    simulator.do("hangup", 0.1)
    eventually(lambda: handpiece.status.opened == 2 and simulator.lights["cross"] == 55)
    eventually(lambda: handpiece.lights == {"cross": 55})


def test_what_cannot_be_asked_of_an_absent_handpiece(tmp_path: Path) -> None:
    with Handpiece(parse_handpiece_uri(f"pty:{tmp_path}/none"), patience=QUICK) as handpiece:
        eventually(lambda: handpiece.status.state == "absent")
        with pytest.raises(HandpieceNotReadyError, match="not there"):
            handpiece.set_light("white", 1)
        assert handpiece.next_edge(0.01) is None and handpiece.lights == {} and handpiece.temperature_c is None


def test_a_wrong_version_is_told(handpiece: Handpiece, simulator: HandpieceSimulator) -> None:
    simulator.do("version", 3)
    status = eventually(lambda: (status := handpiece.status).state == "wrong-version" and status)
    assert "3.0" in status.message and "update this program" in status.message
    with pytest.raises(HandpieceNotReadyError, match=r"3\.0"):
        handpiece.wait_until_ready(60)
    assert handpiece.latest() is None
    simulator.do("version", 1)
    eventually(lambda: handpiece.status.state == "ready")


def test_another_protocol_is_named(tmp_path: Path) -> None:
    with (
        HandpieceSimulator(speaks="tofsense") as simulator,
        Handpiece(parse_handpiece_uri(f"pty:{simulator.path}"), patience=QUICK) as handpiece,
        pytest.raises(HandpieceNotReadyError, match=r"TOFSense.*driver=tofsense"),
    ):
        handpiece.wait_until_ready(20)


def test_a_port_in_use_is_refused_and_had_when_it_is_free(simulator: HandpieceSimulator) -> None:
    holder = serial.Serial(simulator.path, exclusive=True)
    with Handpiece(parse_handpiece_uri(f"pty:{simulator.path}"), patience=QUICK) as handpiece:
        with pytest.raises(HandpieceNotReadyError, match="in use by another program"):
            handpiece.wait_until_ready(20)
        assert handpiece.status.state == "refused"
        holder.close()
        eventually(lambda: handpiece.status.state == "ready")


def test_a_name_that_leads_elsewhere_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "by-id"
    with HandpieceSimulator(seed=1) as first, HandpieceSimulator(seed=2) as second:
        link.symlink_to(first.path)
        with Handpiece(parse_handpiece_uri(f"serial:{link}"), patience=QUICK) as handpiece:
            handpiece.wait_until_ready(20)
            link.unlink()
            link.symlink_to(second.path)
            eventually(lambda: (status := handpiece.status).opened == 2 and status.state == "ready")


def test_what_nobody_reads_at_the_other_end_does_not_stop_the_thread() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        with Handpiece(parse_handpiece_uri(f"pty:{os.ttyname(slave)}"), patience=QUICK) as handpiece:
            eventually(lambda: handpiece.status.port is not None)
            os.set_blocking(slave, False)

            def nothing_goes_out() -> bool:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        os.write(slave, b"x")  # as if the host had written until the line was full; the kernel makes room late
                return handpiece.counters.unsent >= 1

            eventually(nothing_goes_out)
            assert handpiece.status.beat_ns > 0
    finally:
        os.close(slave)
        os.close(master)


def test_a_fault_of_the_program_is_a_state_and_given_up_in_the_end(
    simulator: HandpieceSimulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("a bug")

    patience = PortPatience(first_retry_s=0.001, longest_retry_s=0.002, restart_budget=2)
    handpiece = Handpiece(parse_handpiece_uri(f"pty:{simulator.path}"), patience=patience)
    monkeypatch.setattr(handpiece, "_new_session", crash)
    with caplog.at_level(logging.CRITICAL), handpiece:
        status = eventually(lambda: (status := handpiece.status).gave_up and status)
        assert status.state == "failed" and "a bug" in status.message and "start the program again" in status.message


def test_whoever_listens_hears_of_changes_and_readings_and_may_fail(simulator: HandpieceSimulator) -> None:
    heard = threading.Event()

    def listen() -> None:
        heard.set()
        raise RuntimeError("the listener's own affair")

    with Handpiece(parse_handpiece_uri(f"pty:{simulator.path}"), patience=QUICK, listener=listen) as handpiece:
        handpiece.wait_until_ready(20)
        heard.clear()
        eventually(heard.is_set)  # a reading
        assert handpiece.status.state == "ready"


def test_a_hundred_replugs_leave_nothing_behind(handpiece: Handpiece, simulator: HandpieceSimulator) -> None:
    """The thousand are in `trichoscope bench devices`."""

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208

    before = held()
    for cycle in range(2, 102):
        simulator.do("hangup", 0)
        eventually(lambda cycle=cycle: handpiece.status.opened == cycle and handpiece.latest() is not None)
    assert held() == before
