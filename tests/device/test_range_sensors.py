"""What every range sensor keeps, whatever drives it: run on all drivers over pseudo-terminals, and on the simulated handpiece."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from device.errors import DeviceError, HandpieceNotReadyError
from device.handpiece import dialogue, session
from device.handpiece.port import PortPatience
from device.handpiece.range_sensor import RangeSensor
from device.handpiece.readings import Reading
from device.handpiece.uri import DRIVERS, make_handpiece
from device.simulated.handpiece import HandpieceSimulator, SimulatedHandpiece, Speaks
from tests.eventually import eventually

QUICK = PortPatience(first_retry_s=0.01, longest_retry_s=0.05)
SPEAKS: tuple[Speaks, ...] = ("reference", "tofsense", "gy53")


@dataclass
class Kind:
    """One driver with the simulator at its other end. `simulator()` is there once the sensor is open."""

    sensor: RangeSensor
    simulator: Callable[[], HandpieceSimulator]


@pytest.fixture(params=[*SPEAKS, "simulated"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    if request.param == "simulated":
        own = make_handpiece("simulated:?script=contact:0,contact:3600&rate=50")
        assert isinstance(own, SimulatedHandpiece)

        def simulator() -> HandpieceSimulator:
            assert own.simulator is not None
            return own.simulator

        yield Kind(own, simulator)
        return
    link = tmp_path / "handpiece"
    with HandpieceSimulator(speaks=request.param, rate_hz=50, link=link) as other:
        other.do("contact", 0)
        sensor = make_handpiece(f"pty:{link}?driver={request.param}")
        assert sensor is not None
        yield Kind(sensor, lambda: other)


def measured(sensor: RangeSensor) -> Reading:
    return eventually(lambda: sensor.latest())


def test_every_driver_is_under_contract() -> None:
    assert set(SPEAKS) == set(DRIVERS)


def test_it_measures_what_the_hand_does(kind: Kind) -> None:
    with kind.sensor as sensor:
        assert sensor.wait_until_ready(10).state == "ready"
        first = measured(sensor)
        assert first.status == "valid" and first.distance_mm is not None and first.std_mm is not None
        assert abs(first.distance_mm - 18) < 2 and first.std_mm > 0
        later = eventually(lambda: (reading := sensor.latest()) and reading.received_ns > first.received_ns and reading)
        assert later.received_ns > first.received_ns
        counters = sensor.counters
    assert counters.readings >= 2 and counters.sentences >= counters.readings and counters.bytes_in > 0


def test_nothing_in_reach_is_no_distance(kind: Kind) -> None:
    with kind.sensor as sensor:
        measured(sensor)
        kind.simulator().do("withdraw", 0)
        reading = eventually(lambda: (found := sensor.latest()) and found.distance_mm is None and found)
        assert reading.status == "no-target" and reading.std_mm is None


def test_a_silent_sensor_has_no_reading_and_says_so(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (session, dialogue):
        monkeypatch.setattr(module, "SILENT_NS", 300_000_000)
    with kind.sensor as sensor:
        measured(sensor)
        kind.simulator().do("silence", 1)
        eventually(lambda: sensor.latest() is None)
        assert "cable" in eventually(lambda: (status := sensor.status).state == "silent" and status).message
        assert measured(sensor).distance_mm and sensor.status.state == "ready"


def test_noise_is_no_reading(kind: Kind) -> None:
    with kind.sensor as sensor:
        measured(sensor)
        draw = random.Random(4)
        for _ in range(20):
            kind.simulator().do("noise", draw.randrange(500))
            kind.simulator().do(draw.choice(("cut", "checksum")))
            reading = eventually(lambda: sensor.latest())
            assert reading.distance_mm is not None and abs(reading.distance_mm - 18) < 3
        eventually(lambda: sensor.counters.noise_bytes > 1000)
        assert sensor.status.state == "ready"


def test_it_comes_back_by_itself_after_unplugging(kind: Kind) -> None:
    with kind.sensor as sensor:
        measured(sensor)
        for times in range(2, 4):
            kind.simulator().do("hangup", 0.3)
            status = eventually(lambda: (status := sensor.status).state == "absent" and status)
            assert sensor.latest() is None and status.port is None and "plug" in status.message
            assert measured(sensor).distance_mm
            assert sensor.status.opened == times


def test_a_sensor_that_is_not_open_has_nothing(kind: Kind) -> None:
    sensor = kind.sensor
    assert sensor.latest() is None
    with sensor, pytest.raises(DeviceError, match="open already"):
        sensor.__enter__()
    assert sensor.latest() is None and sensor.status.port is None


def test_it_closes_twice_and_opens_again(kind: Kind) -> None:
    for _ in range(2):
        with kind.sensor as sensor:
            measured(sensor)
            assert sensor.status.opened == 1  # counted anew
        sensor.__exit__(None, None, None)


def test_any_thread_may_ask(kind: Kind) -> None:
    with kind.sensor as sensor:
        measured(sensor)
        failures: list[BaseException] = []

        def ask() -> None:
            try:
                for _ in range(300):
                    sensor.latest()
                    assert sensor.status.state == "ready" and sensor.counters.readings > 0
            except BaseException as error:
                failures.append(error)

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(20)
        assert not failures


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_missing_port_is_a_state_and_not_an_error(driver: str, tmp_path: Path) -> None:
    sensor = make_handpiece(f"serial:{tmp_path}/nothing?driver={driver}")
    assert sensor is not None
    with sensor:
        status = eventually(lambda: (status := sensor.status).state == "absent" and status)
        assert str(tmp_path) in status.message and sensor.latest() is None
        with pytest.raises(HandpieceNotReadyError, match="nothing"):
            sensor.wait_until_ready(0.01)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_path_that_is_no_port_is_refused_with_its_name(driver: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no port")
    for path, named in ((f"{tmp_path}/file", "no serial port"), ("/dev/null", "no serial port"), (f"{tmp_path}", "no serial port")):
        sensor = make_handpiece(f"serial:{path}?driver={driver}")
        assert sensor is not None
        with sensor, pytest.raises(HandpieceNotReadyError, match=named) as told:
            sensor.wait_until_ready(20)
        assert path in str(told.value)
